"""Writes the test vectors of docs/format.md: ``python -m tests.vectors.make_vectors``."""

import json
from pathlib import Path

from tests.vectors.directories import make_directories
from tests.vectors.lists import make_lists
from tests.vectors.pages import make_pages
from tests.vectors.parity import make_parity
from tests.vectors.people import make_cards, make_shares
from tests.vectors.samples import (
    MASTER,
    OK,
    READER,
    SECRET,
    SHARE,
    SHARE_SECRET,
    SIGNER,
    STRANGER,
    UID,
    Vector,
    error,
    spec_of_address,
)
from tests.vectors.sealed import make_articles, make_blocks, make_content, make_seals
from tests.vectors.signed import make_access, make_envelopes, make_heads
from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.wire import head, keys, membership

HERE = Path(__file__).parent


def make_keys() -> list[Vector]:
    """The key tree from M, and from S."""
    vectors: list[Vector] = []
    for epoch in (1, 2, 2**32 - 1):
        secret = keys.read_secret(SECRET, epoch)
        vectors.append(_tree(epoch) | _three(keys.read_keys(secret, SIGNER.fingerprint)) | OK)
    vectors += [_tree(epoch) | error("limit_exceeded", "epochs are 1 to 2^32 - 1") for epoch in (0, 2**32)]
    share = {"do": "share", "s": SHARE_SECRET.hex(), "fingerprint": SIGNER.fingerprint.hex()}
    vectors.append(share | _three(SHARE) | OK)
    short = share | {"fingerprint": SIGNER.fingerprint.hex()[:-2]}
    vectors.append(short | error("format_error", "a fingerprint has 16 bytes"))
    return vectors + _signatures()


def _tree(epoch: int) -> Vector:
    tree: Vector = {"do": "tree", "m": MASTER.hex(), "folder_uid": UID.hex(), "epoch": epoch}
    if 0 < epoch < 2**32:
        tree |= {
            "w": SECRET.hex(),
            "public": SIGNER.public.hex(),
            "fingerprint": SIGNER.fingerprint.hex(),
            "r": keys.read_secret(SECRET, epoch).hex(),
        }
    return tree


def _three(read: keys.ReadKeys) -> Vector:
    return {"k_id": read.identity.hex(), "k_seg": read.sealing.hex(), "k_loc": read.location.hex()}


def _signatures() -> list[Vector]:
    message = b"a message"
    signature = SIGNER.sign(message)
    good: Vector = {
        "do": "verify", "public": SIGNER.public.hex(), "message": message.hex(), "signature": signature.hex()
    }  # fmt: skip
    wrong = [
        ({"message": b"A message".hex()}, "another message"),
        ({"public": STRANGER.public.hex()}, "another key"),
        ({"signature": signature[:-1].hex()}, "63 bytes"),
        ({"signature": bytes(64).hex()}, "zeros"),
    ]
    return [good | OK, *(good | change | error("bad_signature", why) for change, why in wrong)]


def make_names() -> list[Vector]:
    """What a news server sees, from K_loc and an address."""
    good = [
        ArticleAddress(ArticleKind.DATA, bytes(range(16))),
        ArticleAddress(ArticleKind.DATA, bytes(range(16)), 1, 0),
        ArticleAddress(ArticleKind.DATA, bytes(range(16)), 255, 65_535),
        ArticleAddress(ArticleKind.INDEX, bytes(range(16))),
        ArticleAddress(ArticleKind.PARITY, bytes(range(16))),
        head.head_address(1, 118),
        membership.envelope_address(3, copy=1),
    ]
    base = {"k_loc": READER.location.hex()}
    vectors = [base | _named(at) | OK for at in good]
    address = spec_of_address(good[0])
    for change, code, why in (
        ({"id": bytes(15).hex()}, "format_error", "an id has 16 bytes"),
        ({"id": bytes(17).hex()}, "format_error", "an id has 16 bytes"),
        ({"id": ""}, "format_error", "an id has 16 bytes"),
        ({"copy": 256}, "limit_exceeded", "copies are 0 to 255"),
        ({"generation": 65_536}, "limit_exceeded", "generations are 0 to 65,535"),
        ({"generation": -1}, "limit_exceeded", "generations are 0 to 65,535"),
    ):
        vectors.append(base | {"address": address | change} | error(code, why))
    return vectors


def _named(at: ArticleAddress) -> Vector:
    name = keys.name_article(READER.location, at)
    return {
        "address": spec_of_address(at),
        "address_bytes": keys.encode_address(at).hex(),
        "message_id": name.message_id,
        "subject": name.subject,
        "from": name.poster,
        "file_name": name.file_name,
    }


FILES = {
    "keys.json": make_keys,
    "names.json": make_names,
    "content.json": make_content,
    "block.json": make_blocks,
    "seal.json": make_seals,
    "head.json": make_heads,
    "envelope.json": make_envelopes,
    "directory.json": make_directories,
    "access.json": make_access,
    "share.json": make_shares,
    "card.json": make_cards,
    "article.json": make_articles,
    "pages.json": make_pages,
    "parity.json": make_parity,
    "lists.json": make_lists,
}


def render(name: str) -> str:
    """One file of vectors as it stands on disk: a vector a line."""
    lines = ",\n".join(json.dumps(vector) for vector in FILES[name]())
    return f'{{"format": 1, "vectors": [\n{lines}\n]}}\n'


def main() -> None:
    """Write all files."""
    for name in FILES:
        (HERE / name).write_text(render(name), encoding="ascii")


if __name__ == "__main__":
    main()
