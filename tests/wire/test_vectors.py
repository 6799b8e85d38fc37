"""The vectors of docs/format.md: what the code makes, and what it obeys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.directories import spec_of_directory
from tests.vectors.make_vectors import FILES, render
from tests.vectors.samples import address_of, body_of, content_of
from tests.vectors.signed import spec_of_envelope, spec_of_head
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.model import ArticleAddress, ArticleKind, Fingerprint
from usenetsyncd.wire import access, directory, head, identity, keys, membership
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.block import decode_block, padme
from usenetsyncd.wire.parity import encode_parity, rebuild_members
from usenetsyncd.wire.seal import open_sealed
from usenetsyncd.wire.segment import FileHasher, content_hash, segment_id, split

Vector = dict[str, Any]
HERE = Path(__file__).parent.parent / "vectors"


def unhex(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector[name])


def obey_keys(vector: Vector) -> Vector:
    if vector["do"] == "verify":
        keys.verify_signature(*(unhex(vector, name) for name in ("public", "signature", "message")))
        return {}
    if vector["do"] == "share":
        read = keys.share_keys(unhex(vector, "s"), Fingerprint(unhex(vector, "fingerprint")))
        made = {}
    else:
        secret = keys.folder_secret(unhex(vector, "m"), unhex(vector, "folder_uid"))
        signer = keys.signing_key(secret)
        r = keys.read_secret(secret, vector["epoch"])
        read = keys.read_keys(r, signer.fingerprint)
        made = {"w": secret, "public": signer.public, "fingerprint": signer.fingerprint, "r": r}
    made |= {"k_id": read.identity, "k_seg": read.sealing, "k_loc": read.location}
    return {name: content.hex() for name, content in made.items()}


def obey_names(vector: Vector) -> Vector:
    address = vector["address"]
    at = ArticleAddress(
        ArticleKind(address["kind"]), unhex(address, "id"), address["copy"], address["generation"]
    )
    name = keys.name_article(unhex(vector, "k_loc"), at)
    assert name.message_id == keys.message_id_of(unhex(vector, "k_loc"), at)
    return {
        "address_bytes": keys.encode_address(at).hex(),
        "message_id": name.message_id,
        "subject": name.subject,
        "from": name.poster,
        "file_name": name.file_name,
    }


def obey_content(vector: Vector) -> Vector:
    if vector["do"] == "size_class":
        return {"sizes": [[size, padme(size)] for size, _ in vector["sizes"]]}
    content, identity = content_of(vector["content"]), unhex(vector, "k_id")
    if vector["do"] == "hash":
        hashed = content_hash(identity, content)
        return {"hash": hashed.hex(), "segment_id": segment_id(hashed).hex()}
    hasher = FileHasher(identity)
    slices = [hasher.add_slice(content[at : at + length]).hex() for at, length in split(len(content))]
    return {"slices": slices, "hash": hasher.digest().hex()}


def obey_block(vector: Vector) -> Vector:
    _, content = decode_block(content_of(vector["block"]), bytes(32), ArticleKind(vector["kind"]))
    assert content == content_of(vector["content"])
    return {}


def obey_seal(vector: Vector) -> Vector:
    read = keys.ReadKeys(
        Fingerprint(unhex(vector, "fingerprint")), unhex(vector, "k_id"), unhex(vector, "k_seg"), b""
    )
    content = open_sealed(read, address_of(vector["address"]), body_of(vector["body"]))
    assert content == content_of(vector["content"])
    return {}


def obey_head(vector: Vector) -> Vector:
    content, at = unhex(vector, "content"), address_of(vector["address"]) if "address" in vector else None
    one = head.decode_head(content, Fingerprint(unhex(vector, "fingerprint")), at)
    return {"head": spec_of_head(one), "head_hash": head.head_hash(content).hex()}


def obey_envelope(vector: Vector) -> Vector:
    content, at = unhex(vector, "content"), address_of(vector["address"]) if "address" in vector else None
    one = membership.decode_envelope(content, Fingerprint(unhex(vector, "fingerprint")), at)
    return {"envelope": spec_of_envelope(one)}


def obey_share(vector: Vector) -> Vector:
    one = membership.decode_envelope(unhex(vector, "envelope"), Fingerprint(unhex(vector, "fingerprint")))
    who = identity.Identity(unhex(vector, "identity")) if "identity" in vector else None
    return {"r": membership.unwrap(one, unhex(vector, "s"), vector.get("passphrase"), who).hex()}


def obey_card(vector: Vector) -> Vector:
    if vector["do"] == "identity":
        one = identity.Identity(unhex(vector, "i"))
        told = {"e": one.encryption_public.hex(), "v": one.signing_public.hex()}
        return told | {"fingerprint": one.fingerprint.hex(), "words": identity.spoken(one.fingerprint)}
    card = identity.read_card(vector["text"])
    told = {"name": card.name, "fingerprint": card.fingerprint.hex()}
    return told | {"made_s": card.made_s, "words": identity.spoken(card.fingerprint)}


def obey_access(vector: Vector) -> Vector:
    kind, secret, fingerprint = access.decode_access(vector["string"])
    return {"kind": kind.value, "secret": secret.hex(), "fingerprint": fingerprint.hex()}


def obey_article(vector: Vector) -> Vector:
    assert decode_body(body_of(vector["block"])) == body_of(vector["body"])
    return {}


def obey_parity(vector: Vector) -> Vector:
    if vector["do"] == "encode":
        made = encode_parity(list(map(content_of, vector["data"])), vector["parity"])
        assert made == list(map(content_of, vector.get("made", ())))
        return {}
    blocks = {int(position): content_of(spec) for position, spec in vector["blocks"].items()}
    members = rebuild_members(vector["lengths"], vector["parity"], blocks)
    assert members == {int(at): content_of(spec) for at, spec in vector.get("members", {}).items()}
    return {}


def obey_directory(vector: Vector) -> Vector:
    made = directory.directory_keys(unhex(vector, "m"))
    if vector["do"] == "keys":
        read = made.reading
        told = {"public": made.signing.public, "fingerprint": made.signing.fingerprint}
        told |= {"k_id": read.identity, "k_seg": read.sealing, "k_loc": read.location}
        return {name: content.hex() for name, content in told.items()}
    one = directory.decode_directory(unhex(vector, "content"), made, address_of(vector["address"]))
    return {"directory": spec_of_directory(one)}


OBEY: dict[str, Callable[[Vector], Vector]] = {
    "keys.json": obey_keys,
    "names.json": obey_names,
    "content.json": obey_content,
    "block.json": obey_block,
    "seal.json": obey_seal,
    "head.json": obey_head,
    "envelope.json": obey_envelope,
    "access.json": obey_access,
    "share.json": obey_share,
    "card.json": obey_card,
    "article.json": obey_article,
    "parity.json": obey_parity,
    "directory.json": obey_directory,
}


def load(name: str) -> list[Vector]:
    vectors: list[Vector] = json.loads((HERE / name).read_text("ascii"))["vectors"]
    return vectors


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_on_disk_are_what_the_code_makes(name: str) -> None:
    assert (HERE / name).read_text("ascii") == render(name)


@pytest.mark.parametrize("name", OBEY)
def test_every_vector_is_obeyed(name: str) -> None:
    for number, vector in enumerate(load(name)):
        if vector["expect"] == "ok":
            made = OBEY[name](vector)
            assert made == {field: vector[field] for field in made}, f"vector {number}"
            continue
        with pytest.raises(UsenetSyncError) as raised:
            OBEY[name](vector)
        assert raised.value.code == vector["error"], f"vector {number}: {vector['why']}"


def test_at_least_half_of_all_vectors_must_fail() -> None:
    expected = [vector["expect"] for name in FILES for vector in load(name)]
    assert expected.count("error") >= expected.count("ok")
