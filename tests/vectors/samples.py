"""What all vectors are made of: fixed secrets and contents, and how vectors write bytes and addresses."""

import base64
from typing import Any

from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.wire import keys

Vector = dict[str, Any]

MASTER = bytes(range(32))
UID = bytes(range(0x40, 0x50))
SECRET = keys.folder_secret(MASTER, UID)
SIGNER = keys.signing_key(SECRET)
STRANGER = keys.signing_key(keys.folder_secret(MASTER, b"another folder.."))
READ_SECRET = keys.read_secret(SECRET, 1)
READER = keys.read_keys(READ_SECRET, SIGNER.fingerprint)
SHARE_SECRET = bytes(range(0x80, 0x98))
SHARE = keys.share_keys(SHARE_SECRET, SIGNER.fingerprint)

TEXT = b"All work and no play makes Jack a dull boy.\n" * 200  # 8,800 bytes
ZEROS = bytes(768_000)
# What zstd 1.5.7 (level 3) and xz 5.4.1 make of TEXT, and zstd of ZEROS.
TEXT_ZSTD = bytes.fromhex(
    "28b52ffd606021ad0100c402416c6c20776f726b20616e64206e6f20706c6179206d616b6573204a61636b20612064756c6c20626f792e0a01008c118f5765"
)
TEXT_LZMA = bytes.fromhex(
    "fd377a585a000000ff12d9410200210110000000a8708e86e0225f00545d00209b2c4077379c6bfff28c3862b0f90735a2bb1873c55b2943d87aa9608397671eff0bd4269a82e4a62442230d5f47c349f23acb9990cb8dbf1bcd1626039da666b94af480dbbc56f6a8bbc7151b4205a971a90000000168e0440000005f51501ba8000afc020000000000595a"
)
ZEROS_ZSTD = bytes.fromhex(
    "28b52ffda000b80b005400001000000100fbff39c0020200100002001000020010000200100003c00d00"
)
# The same text by a compressor that leaves the size of its content out of the frame.
TEXT_ZSTD_UNSIZED = bytes.fromhex(
    "28b52ffd0020ad0100c402416c6c20776f726b20616e64206e6f20706c6179206d616b6573204a61636b20612064756c6c20626f792e0a01008c118f5765"
)
# 4 MiB of zeros, with the window that this needs; and with a 64 MiB dictionary asked for.
BOMB_ZSTD = bytes.fromhex(
    "28b52ffd8058000040005400001000000100fbff39c00202001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100002001000020010000200100003001000"
)
TEXT_LZMA_HUNGRY = bytes.fromhex(
    "fd377a585a000000ff12d941020021011c00000010cf58cce0225f00545d00209b2c4077379c6bfff28c3862b0f90735a2bb1873c55b2943d87aa9608397671eff0bd4269a82e4a62442230d5f47c349f23acb9990cb8dbf1bcd1626039da666b94af480dbbc56f6a8bbc7151b4205a971a90000000168e0440000005f51501ba8000afc020000000000595a"
)


def content_of(spec: Vector) -> bytes:
    """Bytes as vectors write them: hex, or hex repeated, then zeros up to a length."""
    content = bytes.fromhex(spec["hex"]) * spec.get("times", 1)
    return content.ljust(spec.get("pad_to", 0), b"\0")


def spec_of(content: bytes) -> Vector:
    """The shortest way to write ``content``."""
    for period in (1, 44):
        if len(content) > period and content == content[:period] * (len(content) // period):
            return {"hex": content[:period].hex(), "times": len(content) // period}
    bare = content.rstrip(b"\0")
    if len(content) - len(bare) > 16:
        return {"hex": bare.hex(), "pad_to": len(content)}
    return {"hex": content.hex()}


def body_of(spec: Vector) -> bytes:
    """An article's body or block as vectors write it: base64, then zeros up to a length."""
    return base64.b64decode(spec["base64"], validate=True).ljust(spec.get("pad_to", 0), b"\0")


def spec_of_body(body: bytes) -> Vector:
    """The shorter way to write ``body``."""
    bare = body.rstrip(b"\0")
    if len(body) - len(bare) > 16:
        return {"base64": base64.b64encode(bare).decode(), "pad_to": len(body)}
    return {"base64": base64.b64encode(body).decode()}


def address_of(spec: Vector) -> ArticleAddress:
    """An address as vectors write it."""
    return ArticleAddress(
        ArticleKind(spec["kind"]), bytes.fromhex(spec["id"]), spec["copy"], spec["generation"]
    )


def spec_of_address(at: ArticleAddress) -> Vector:
    """How vectors write an address."""
    return {"kind": int(at.kind), "id": at.id.hex(), "copy": at.copy, "generation": at.generation}


def error(code: str, why: str) -> Vector:
    """The outcome of a vector that must fail."""
    return {"expect": "error", "error": code, "why": why}


OK: Vector = {"expect": "ok"}
