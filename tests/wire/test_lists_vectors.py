"""The vectors of stripes and overrides: what the code makes of them, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.samples import content_of, spec_of_address
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.model import PageRef, SegmentId
from usenetsyncd.wire.columns import PageReader
from usenetsyncd.wire.overrides import OVERRIDES, Override
from usenetsyncd.wire.page_lists import ListFormat
from usenetsyncd.wire.stripes import STRIPES, Stripe

Vector = dict[str, Any]
PATH = Path(__file__).parent.parent / "vectors" / "lists.json"
VECTORS: list[Vector] = json.loads(PATH.read_text("ascii"))["vectors"]
LISTS: dict[int, ListFormat[Any]] = {3: STRIPES, 4: OVERRIDES}


def shown(row: Stripe | Override) -> Vector:
    if isinstance(row, Override):
        return {"at": spec_of_address(row.at), "message_id": row.message_id}
    members = [[member.segment.hex(), member.length] for member in row.members]
    return {"members": members, "parity": [segment.hex() for segment in row.parity]}


def obey_page(vector: Vector) -> Vector:
    page = PageReader(content_of(vector["page"]))
    home = SegmentId(bytes.fromhex(vector["home"]))
    if page.level == 1:
        branches = LISTS[page.tree].decode_branches(page, home)
        return {"branches": [[b.ref.segment.hex(), b.ref.offset, b.ref.length, b.count] for b in branches]}
    if page.level:
        # Nothing asks for such a page: it is refused where a root page or a page of rows should be.
        LISTS[page.tree].open_root(PageRef(home, 0, 0), lambda ref: b"")
    return {"rows": list(map(shown, LISTS[page.tree].decode_rows(page)))}


def obey_list(vector: Vector) -> Vector:
    contents = {bytes.fromhex(name): content_of(spec) for name, spec in vector["segments"].items()}

    def load(ref: PageRef) -> bytes:
        return contents[ref.segment][ref.offset : ref.offset + ref.length]

    segment, offset, length = vector["root"]
    root = PageRef(SegmentId(bytes.fromhex(segment)), offset, length)
    return {"rows": list(map(shown, LISTS[vector["tree"]].read(root, load)))}


OBEY = {"page": obey_page, "list": obey_list}


@pytest.mark.parametrize(
    "vector", VECTORS, ids=[f"{v['do']} {v.get('why', 'that is right')}" for v in VECTORS]
)
def test_a_list_is_read_or_refused_as_its_vector_says(vector: Vector) -> None:
    if vector["expect"] == "ok":
        made = OBEY[vector["do"]](vector)
        assert made == {name: vector[name] for name in made}
        return
    with pytest.raises(UsenetSyncError) as raised:
        OBEY[vector["do"]](vector)
    assert raised.value.code == vector["error"], str(raised.value)


def test_more_vectors_fail_than_succeed() -> None:
    expected = [vector["expect"] for vector in VECTORS]
    assert expected.count("error") >= expected.count("ok") > 5
