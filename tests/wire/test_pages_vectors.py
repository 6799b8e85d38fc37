"""The vectors of core index pages: what the code makes of them, and what it refuses."""

import json
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.samples import content_of
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.model import Entry, Extent, PageRef, SegmentId, SpilledExtents
from usenetsyncd.wire.branches import Branch, decode_branches
from usenetsyncd.wire.columns import ENTRY_TREE, PageReader, decompress_page
from usenetsyncd.wire.entries import decode_leaf
from usenetsyncd.wire.extent_tree import ExtentBranch, decode_extent_branches, decode_extents
from usenetsyncd.wire.pages import find_entry, iter_extents, read_tree, tree_totals, walk_pages

Vector = dict[str, Any]
PATH = Path(__file__).parent.parent / "vectors" / "pages.json"
FORMAT = Path(__file__).parent.parent.parent / "docs" / "format.md"
VECTORS: list[Vector] = json.loads(PATH.read_text("ascii"))["vectors"]


def spec_of_ref(ref: PageRef | Extent) -> list[object]:
    return [ref.segment.hex(), ref.offset, ref.length]


def spec_of_entry(entry: Entry) -> Vector:
    extents: object
    if isinstance(entry.extents, SpilledExtents):
        extents = {"root": spec_of_ref(entry.extents.root), "count": entry.extents.count}
        extents["digest"] = entry.extents.digest.hex()
    else:
        assert isinstance(entry.extents, tuple)
        extents = [spec_of_ref(extent) for extent in entry.extents]
    return {
        "path": entry.path.hex(),
        "kind": int(entry.kind),
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "mode": entry.mode,
        "content_hash": entry.content_hash.hex(),
        "extents": extents,
        "target": entry.target.hex(),
        "link_group": entry.link_group.hex(),
        "sparse": entry.sparse,
        "owner": [entry.owner.uid, entry.owner.gid] if entry.owner else None,
        "xattrs": [[name.hex(), value.hex()] for name, value in entry.xattrs],
    }


def spec_of_branch(branch: Branch) -> Vector:
    totals = branch.totals
    return {
        "last": branch.last.hex(),
        "ref": spec_of_ref(branch.ref),
        "files": totals.files,
        "folders": totals.folders,
        "symlinks": totals.symlinks,
        "bytes": totals.bytes,
    }


def spec_of_extent_branch(branch: ExtentBranch) -> Vector:
    return {
        "ref": spec_of_ref(branch.ref),
        "count": branch.count,
        "bytes": branch.size,
        "digest": branch.digest.hex(),
    }


def obey_frame(vector: Vector) -> Vector:
    assert decompress_page(content_of(vector["stored"])) == content_of(vector["page"])
    return {}


def obey_page(vector: Vector) -> Vector:
    page = PageReader(content_of(vector["page"]))
    home = SegmentId(bytes.fromhex(vector["home"]))
    made: Vector = {"level": page.level}
    if page.tree == ENTRY_TREE and page.level:
        return made | {"branches": list(map(spec_of_branch, decode_branches(page, home)))}
    if page.tree == ENTRY_TREE:
        return made | {"entries": list(map(spec_of_entry, decode_leaf(page, home)))}
    if page.level:
        branches = decode_extent_branches(page, home)
        return made | {"extent_branches": list(map(spec_of_extent_branch, branches))}
    return made | {"extents": list(map(spec_of_ref, decode_extents(page)))}


def obey_tree(vector: Vector) -> Vector:
    contents = {bytes.fromhex(name): content_of(spec) for name, spec in vector["segments"].items()}

    def load(ref: PageRef) -> bytes:
        return contents[ref.segment][ref.offset : ref.offset + ref.length]

    segment, offset, length = vector["root"]
    root = PageRef(SegmentId(bytes.fromhex(segment)), offset, length)
    entries = list(read_tree(root, load))
    streamed = [tuple(spec_of_ref(extent)) for entry in entries for extent in iter_extents(entry, load)]
    for entry in entries:
        assert find_entry(root, load, entry.path) == entry
    assert len(set(walk_pages(root, load))) >= 1
    totals = tree_totals(root, load)
    return {
        "entries": list(map(spec_of_entry, entries)),
        "streamed": [[*extent, len(list(same))] for extent, same in groupby(streamed)],
        "totals": [totals.files, totals.folders, totals.symlinks, totals.bytes],
    }


OBEY: dict[str, Callable[[Vector], Vector]] = {"frame": obey_frame, "page": obey_page, "tree": obey_tree}


@pytest.mark.parametrize(
    "vector", VECTORS, ids=[f"{v['do']} {v.get('why', 'that is right')}" for v in VECTORS]
)
def test_a_page_is_read_or_refused_as_its_vector_says(vector: Vector) -> None:
    if vector["expect"] == "ok":
        made = OBEY[vector["do"]](vector)
        promised = made.keys() & vector.keys()
        assert promised or vector["do"] == "frame"
        assert {name: made[name] for name in promised} == {name: vector[name] for name in promised}
        return
    with pytest.raises(UsenetSyncError) as raised:
        OBEY[vector["do"]](vector)
    assert raised.value.code == vector["error"], str(raised.value)


def test_more_vectors_fail_than_succeed() -> None:
    expected = [vector["expect"] for vector in VECTORS]
    assert expected.count("error") >= expected.count("ok") > 8


def test_the_annotated_page_of_the_document_is_a_vector() -> None:
    example = FORMAT.read_text("utf-8").split("### 12.5 Example", 1)[1].split("### 12.6", 1)[0]
    page = b""
    for offset, content in re.findall(
        r"^ *(\d+)  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", example, re.MULTILINE
    ):
        assert int(offset) == len(page)
        page += bytes.fromhex(content)
    assert page in [
        content_of(vector["page"]) for vector in VECTORS if vector["expect"] == "ok" and "page" in vector
    ]
