"""The second reader obeys every test vector: the right result, or the error by its name."""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.reader.lists import Override, Stripe, list_rows, read_list_page
from tests.reader.newsserver import yenc_decode
from tests.reader.pages import (
    FILE,
    LINK,
    Entry,
    ExtentBranch,
    FarExtents,
    Walk,
    extents_of,
    read_page,
    unpack,
)
from tests.reader.parity import encode, rebuild
from tests.reader.people import Identity, identity_fingerprint, read_card, unwrap
from tests.reader.sealed import (
    Address,
    Keys,
    Refused,
    decode_block,
    derive,
    file_hash,
    fingerprint_of,
    keyed_blake3,
    must,
    names,
    open_body,
    size_class,
    verify,
)
from tests.reader.signed import read_access, read_envelope, read_head

VECTORS = Path(__file__).parent.parent / "vectors"
Vector = dict[str, Any]


def vectors(name: str) -> list[Vector]:
    return json.loads((VECTORS / f"{name}.json").read_text())["vectors"]


def raw(given: str | dict[str, Any]) -> bytes:
    """Bytes as section 15 writes them."""
    if isinstance(given, str):
        return bytes.fromhex(given)
    short = (
        bytes.fromhex(given["hex"]) * given.get("times", 1)
        if "hex" in given
        else base64.b64decode(given["base64"])
    )
    return short + bytes(given.get("pad_to", len(short)) - len(short))


def address(vector: Vector) -> Address:
    given = vector["address"]
    return Address(given["kind"], bytes.fromhex(given["id"]), given["copy"], given["generation"])


def shown(value: object) -> object:
    """A value as JSON shows it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [shown(part) for part in value]
    if isinstance(value, FarExtents):
        return {"root": shown(value.root), "count": value.count, "digest": value.digest.hex()}
    if isinstance(value, ExtentBranch):
        return {
            "ref": shown(value.page),
            "count": value.count,
            "bytes": value.total,
            "digest": value.digest.hex(),
        }
    if isinstance(value, Stripe):
        return {"members": shown(value.members), "parity": shown(value.parity)}
    if isinstance(value, Override):
        return {"at": shown_dict(asdict(value.at)), "message_id": value.message_id}
    if isinstance(value, Entry):
        return {name: shown(getattr(value, name)) for name in Entry.__dataclass_fields__}
    return value


def do_keys(v: Vector) -> object:
    if v["do"] == "verify":
        verify(raw(v["public"]), raw(v["signature"]), raw(v["message"]))
        return {}
    if v["do"] == "share":
        keys = Keys.of(raw(v["s"]), raw(v["fingerprint"]), share=True)
        return {"k_id": keys.identity.hex(), "k_seg": keys.sealing.hex(), "k_loc": keys.location.hex()}
    w = derive(raw(v["m"]), "folder", raw(v["folder_uid"]))
    must(1 <= v["epoch"] < 1 << 32, "limit_exceeded")
    r = derive(w, "read", v["epoch"].to_bytes(4, "big"))
    keys = Keys.of(r, fingerprint_of(raw(v["public"])))
    found = {"w": w, "r": r, "k_id": keys.identity, "k_seg": keys.sealing, "k_loc": keys.location}
    return shown_dict(found | {"fingerprint": keys.fingerprint})


def shown_dict(values: dict[str, Any]) -> dict[str, object]:
    return {name: shown(value) for name, value in values.items()}


def do_names(v: Vector) -> object:
    encoded = address(v).encode()
    found = names(raw(v["k_loc"]), address(v))
    return dict(zip(("message_id", "subject", "from", "file_name"), found, strict=True)) | {
        "address_bytes": encoded.hex()
    }


def do_content(v: Vector) -> object:
    if v["do"] == "size_class":
        return {"sizes": [[n, size_class(n)] for n, _ in v["sizes"]]}
    key, content = raw(v["k_id"]), raw(v["content"])
    if v["do"] == "hash":
        found = keyed_blake3(key, content)
        return {"hash": found.hex(), "segment_id": found[:16].hex()}
    slices = [keyed_blake3(key, content[at : at + 768_000]) for at in range(0, len(content), 768_000)]
    return {"slices": shown(slices), "hash": file_hash(key, slices).hex()}


def do_block(v: Vector) -> object:
    assert decode_block(v["kind"], raw(v["block"]))[0] == raw(v.get("content", ""))
    return {}


def do_seal(v: Vector) -> object:
    keys = Keys(raw(v["fingerprint"]), raw(v["k_id"]), raw(v["k_seg"]), b"")
    assert open_body(keys, address(v), raw(v["body"])) == raw(v.get("content", ""))
    return {}


def do_head(v: Vector) -> object:
    at = v.get("address")
    id_ = b"" if at is None else bytes.fromhex(at["id"])
    found = None if at is None else (int.from_bytes(id_[:4], "big"), int.from_bytes(id_[4:12], "big"))
    return {"head": shown_dict(asdict(read_head(raw(v["content"]), raw(v["fingerprint"]), found)))}


def do_envelope(v: Vector) -> object:
    at = v.get("address")
    found = None if at is None else int.from_bytes(bytes.fromhex(at["id"])[:8], "big")
    return {"envelope": shown_dict(asdict(read_envelope(raw(v["content"]), raw(v["fingerprint"]), found)))}


def do_share(v: Vector) -> object:
    fingerprint = raw(v["fingerprint"])
    who = Identity.of(raw(v["identity"])) if "identity" in v else None
    envelope = read_envelope(raw(v["envelope"]), fingerprint)
    return {"r": unwrap(envelope, fingerprint, raw(v["s"]), v.get("passphrase"), who).hex()}


def do_card(v: Vector) -> object:
    if v["do"] == "card":
        return shown_dict(asdict(read_card(v["text"])))
    one = Identity.of(raw(v["i"]))
    return {"e": one.e.hex(), "v": one.v.hex(), "fingerprint": identity_fingerprint(one.e, one.v).hex()}


def do_access(v: Vector) -> object:
    return dict(zip(("kind", "secret", "fingerprint"), map(shown, read_access(v["string"])), strict=True))


def do_article(v: Vector) -> object:
    assert yenc_decode(raw(v["block"])) == raw(v.get("body", ""))
    return {}


def do_pages(v: Vector) -> object:
    if v["do"] == "frame":
        assert unpack(raw(v["stored"])) == raw(v.get("page", ""))
        return {}
    if v["do"] == "page":
        tree, level, rows = read_page(raw(v["page"]), raw(v["home"]))
        if tree == 1 and level:
            kinds = ("files", "folders", "symlinks", "bytes")
            made = [
                {"last": b.last.hex(), "ref": shown(b.page)} | dict(zip(kinds, b.totals, strict=True))
                for b in rows
            ]
            return {"level": level, "branches": made}
        name = "entries" if tree == 1 else "extent_branches" if level else "extents"
        return {"level": level, name: shown(rows)}
    segments = {bytes.fromhex(name): raw(content) for name, content in v["segments"].items()}
    return tree_of(segments.__getitem__, v)


def tree_of(load: Callable[[bytes], bytes], v: Vector) -> dict[str, object]:
    segment, offset, length = v["root"]
    entries = list(Walk(load).entries((bytes.fromhex(segment), offset, length)))
    streamed: list[list[Any]] = []
    for entry in entries:
        for extent in shown([*extents_of(entry, load)]):
            if streamed and streamed[-1][:3] == extent:
                streamed[-1][3] += 1
            else:
                streamed.append([*extent, 1])
    kinds = [sum(e.kind == kind for e in entries) for kind in (FILE, 2, LINK)]
    found = {
        "entries": shown(entries),
        "streamed": streamed,
        "totals": [*kinds, sum(e.size for e in entries)],
    }
    return {name: value for name, value in found.items() if name in v} if v["expect"] == "ok" else found


def do_parity(v: Vector) -> object:
    if v["do"] == "encode":
        assert encode([raw(one) for one in v["data"]], v["parity"]) == [raw(one) for one in v.get("made", ())]
        return {}
    blocks = {int(position): raw(content) for position, content in v["blocks"].items()}
    made = rebuild(v["lengths"], v["parity"], blocks)
    assert made == {int(position): raw(content) for position, content in v.get("members", {}).items()}
    return {}


def do_lists(v: Vector) -> object:
    if v["do"] == "page":
        _, level, found = read_list_page(raw(v["page"]), raw(v["home"]))
        if level:
            return {"branches": [[*shown(place), count] for place, count in found]}
        return {"rows": shown(found)}
    segments = {bytes.fromhex(name): raw(content) for name, content in v["segments"].items()}
    segment, offset, length = v["root"]
    root = (bytes.fromhex(segment), offset, length)
    return {"rows": shown(list(list_rows(v["tree"], root, segments.__getitem__, strict=True)))}


READERS: dict[str, Callable[[Vector], object]] = {
    "keys": do_keys,
    "names": do_names,
    "content": do_content,
    "block": do_block,
    "seal": do_seal,
    "head": do_head,
    "envelope": do_envelope,
    "access": do_access,
    "share": do_share,
    "card": do_card,
    "article": do_article,
    "pages": do_pages,
    "parity": do_parity,
    "lists": do_lists,
}


@pytest.mark.parametrize("name", READERS)
def test_the_second_reader_obeys_the_vectors(name: str) -> None:
    disobeyed = []
    for number, vector in enumerate(vectors(name)):
        try:
            found = READERS[name](vector)
            assert vector["expect"] == "ok", "it was taken"
            assert {key: vector[key] for key in found} == found
        except Refused as refused:
            if vector.get("error") != refused.name:
                disobeyed.append((number, vector.get("why"), vector.get("error"), str(refused)))
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as failed:
            disobeyed.append((number, vector.get("why"), vector.get("error"), repr(failed)[:600]))
    assert disobeyed == []
