"""Vectors of content, blocks, sealed bodies and articles.

Bodies are forged here step by step, from docs/format.md rather than through wire.seal, so that a vector can be
wrong in one place only.
"""

import hmac
import struct
import zlib

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.samples import (
    BOMB_ZSTD,
    OK,
    READ_SECRET,
    READER,
    STRANGER,
    TEXT,
    TEXT_LZMA,
    TEXT_LZMA_HUNGRY,
    TEXT_ZSTD,
    TEXT_ZSTD_UNSIZED,
    ZEROS,
    ZEROS_ZSTD,
    Vector,
    error,
    spec_of,
    spec_of_address,
    spec_of_body,
)
from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.wire import head, keys
from usenetsyncd.wire.article import build_article
from usenetsyncd.wire.block import padme
from usenetsyncd.wire.segment import FileHasher, content_hash, split


def make_content() -> list[Vector]:
    """Hashes of content and of files, slices, size classes."""
    identity = READER.identity
    vectors: list[Vector] = []
    for content in (b"", b"a", TEXT, ZEROS):
        hashed = content_hash(identity, content)
        base = {"do": "hash", "k_id": identity.hex(), "content": spec_of(content)}
        vectors.append(base | {"hash": hashed.hex(), "segment_id": hashed[:16].hex()} | OK)
    for size in (1, 768_000, 768_001, 2_000_000):
        hasher = FileHasher(identity)
        slices = [hasher.add_slice(bytes(length)).hex() for _, length in split(size)]
        base = {"do": "file", "k_id": identity.hex(), "content": {"hex": "00", "times": size}}
        vectors.append(base | {"slices": slices, "hash": hasher.digest().hex()} | OK)
    sizes = (1, 4_096, 4_097, 5_000, 65_536, 65_537, 99_999, 700_000, 768_012)
    vectors.append({"do": "size_class", "sizes": [[size, padme(size)] for size in sizes]} | OK)
    return vectors


def block_of(
    content: bytes, codec: int = 0, stored: bytes | None = None, kind: int = 1, version: int = 1,
    reserved: int = 0, content_len: int | None = None, stored_len: int | None = None, whole: int | None = None,
    padding: bytes = b"",
) -> bytes:  # fmt: skip
    """A block with any field wrong."""
    stored = content if stored is None else stored
    lengths = (
        len(content) if content_len is None else content_len,
        len(stored) if stored_len is None else stored_len,
    )
    block = struct.pack(">BBBBII", version, kind, codec, reserved, *lengths) + stored
    return (block + padding).ljust(padme(len(block)) if whole is None else whole, b"\0")


def _frame(window: int) -> bytes:
    """A zstd frame of the letter a in one raw block, with any window descriptor (RFC 8878 3.1.1)."""
    return bytes.fromhex(f"28b52ffd 80 {window:02x} 01000000 090000 61")


def make_blocks() -> list[Vector]:
    """Blocks that open, and blocks that a holder of the keys could seal but nobody may accept."""
    vectors: list[Vector] = []
    for content, codec, stored in (
        (b"a", 0, None),
        (TEXT, 0, None),
        (TEXT, 1, TEXT_ZSTD),
        (TEXT, 2, TEXT_LZMA),
        (ZEROS, 1, ZEROS_ZSTD),
        (ZEROS, 0, None),
        (bytes(4_084), 0, None),
        (bytes(4_085), 0, None),
        (b"a", 1, _frame(0x50)),
    ):
        block = spec_of(block_of(content, codec, stored))
        vectors.append({"kind": 1, "block": block, "content": spec_of(content)} | OK)
    for block_bytes, code, why in _bad_blocks():
        vectors.append({"kind": 1, "block": spec_of(block_bytes)} | error(code, why))
    return vectors


def _bad_blocks() -> list[tuple[bytes, str, str]]:
    bad = "format_error"
    return [
        (b"", bad, "empty"),
        (block_of(b"a")[:11], bad, "shorter than its header"),
        (block_of(b"a", version=0), bad, "version 0"),
        (block_of(b"a", version=2), "newer_format", "version 2"),
        (block_of(b"a", kind=2), bad, "an index segment where file content was asked for"),
        (block_of(b"a", reserved=1), bad, "reserved byte set"),
        (block_of(b"a", codec=3), "newer_format", "codec 3"),
        (block_of(b""), "limit_exceeded", "no content"),
        (block_of(b"", 1, TEXT_ZSTD, content_len=768_001), "limit_exceeded", "768,001 bytes of content"),
        (block_of(b"a", content_len=2), bad, "stored as it is, but two lengths"),
        (block_of(b"a", stored_len=5_000), bad, "stored bytes beyond the block's end"),
        (block_of(b"a", stored_len=2**32 - 1), bad, "stored bytes beyond the block's end"),
        (block_of(b"a", whole=5_120), bad, "a larger size class than its own"),
        (block_of(b"a", whole=100), bad, "no size class"),
        (block_of(b"a", padding=b"\0\1"), bad, "padding that is not zero"),
        (block_of(TEXT, 1, TEXT_ZSTD, content_len=8_799), bad, "frame holds more than the block says"),
        (block_of(TEXT, 1, TEXT_ZSTD, content_len=8_801), bad, "frame holds less than the block says"),
        (block_of(TEXT, 1, TEXT_ZSTD_UNSIZED), bad, "frame does not say how long its content is"),
        (block_of(TEXT, 1, TEXT_ZSTD[:-1]), bad, "frame cut short"),
        (block_of(TEXT, 1, TEXT_ZSTD + b"\0"), bad, "a byte after the frame"),
        (block_of(TEXT, 1, TEXT), bad, "not a zstd frame"),
        (block_of(b"a", 1, _frame(0x58)), "limit_exceeded", "asks for a window of 2 MiB"),
        (block_of(TEXT, 1, BOMB_ZSTD), bad, "4 MiB in a frame of a block of 8,800 bytes"),
        (block_of(TEXT, 2, TEXT_LZMA, content_len=8_799), bad, "stream holds more than the block says"),
        (block_of(TEXT, 2, TEXT_LZMA, content_len=8_801), bad, "stream holds less than the block says"),
        (block_of(TEXT, 2, TEXT_LZMA[:-1]), bad, "stream cut short"),
        (block_of(TEXT, 2, TEXT_LZMA + b"\0"), bad, "a byte after the stream"),
        (block_of(TEXT, 2, TEXT), bad, "not an xz stream"),
        (block_of(TEXT, 2, TEXT_LZMA_HUNGRY), "limit_exceeded", "asks for a dictionary of 64 MiB"),
    ]


def forge(
    at: ArticleAddress, block: bytes, content: bytes, stored: bytes | None = None,
    read: keys.ReadKeys = READER, commit: bytes | None = None,
) -> bytes:  # fmt: skip
    """Seal ``block``, whatever it is, as docs/format.md 6 says; ``commit`` puts a false one in its place."""
    place = keys.encode_address(at)
    stored_hash = bytes(32) if stored is None else blake3(stored, key=read.identity).digest()
    hash32 = blake3(content, key=read.identity).digest()
    message = b"usenetsync/1 commit\0" + read.fingerprint + place + hash32 + block[:12]
    message += struct.pack(">I", len(block)) + stored_hash
    commit = commit or hmac.digest(read.sealing, message, "sha256")
    first = hmac.digest(read.sealing, b"usenetsync/1 key\0" + place + commit + b"\1", "sha256")
    second = hmac.digest(read.sealing, first + b"usenetsync/1 key\0" + place + commit + b"\2", "sha256")
    aad = b"usenetsync/1 body\0" + read.fingerprint + place
    return commit + AESGCM(first).encrypt(second[:12], block, aad)


def _at(content: bytes, copy: int = 0, generation: int = 0, kind: int = 1) -> ArticleAddress:
    return ArticleAddress(ArticleKind(kind), content_hash(READER.identity, content)[:16], copy, generation)


def make_seals() -> list[Vector]:
    """Article bodies, before yEnc."""
    base = {
        "fingerprint": READER.fingerprint.hex(), "k_id": READER.identity.hex(), "k_seg": READER.sealing.hex()
    }  # fmt: skip
    small = b"a small file"
    good = [
        (_at(small), small, block_of(small), None),
        (_at(small, copy=1), small, block_of(small), None),
        (_at(small, generation=1), small, block_of(small), None),
        (_at(small, kind=2), small, block_of(small, kind=2), None),
        (_at(small, kind=5), small, block_of(small, kind=5), None),
        (_at(TEXT), TEXT, block_of(TEXT, 1, TEXT_ZSTD), TEXT_ZSTD),
        (_at(TEXT), TEXT, block_of(TEXT, 2, TEXT_LZMA), TEXT_LZMA),
        (_at(ZEROS), ZEROS, block_of(ZEROS, 1, ZEROS_ZSTD), ZEROS_ZSTD),
        (head.head_address(1, 1), small, block_of(small, kind=3), None),
    ]
    vectors = []
    for at, content, block, stored in good:
        body = forge(at, block, content, stored)
        vectors.append(base | _sealed(at, body) | {"content": spec_of(content)} | OK)
    for at, body, code, why in _bad_seals(small):
        vectors.append(base | _sealed(at, body) | error(code, why))
    return vectors


def _sealed(at: ArticleAddress, body: bytes) -> Vector:
    return {"address": spec_of_address(at), "body": spec_of_body(body)}


def flip(body: bytes, at: int, mask: int = 1) -> bytes:
    return body[:at] + bytes((body[at] ^ mask,)) + body[at + 1 :]


def _bad_seals(small: bytes) -> list[tuple[ArticleAddress, bytes, str, str]]:
    at, broken = _at(small), "seal_broken"
    body = forge(at, block_of(small), small)
    other = b"another file"
    stranger = keys.read_keys(READ_SECRET, STRANGER.fingerprint)
    parity = _at(small, kind=5)
    return [
        (at, b"", broken, "empty"),
        (at, body[:47], broken, "shorter than commit and tag"),
        (at, body[:-1], broken, "cut by one byte"),
        (at, body + b"\0", broken, "one byte too long"),
        (at, body + bytes(770_096), "seal_broken", "longer than any body"),
        (at, flip(body, 0), broken, "commit altered"),
        (at, flip(body, 32), broken, "ciphertext altered"),
        (at, flip(body, -1 + len(body), 0x80), broken, "tag altered"),
        (_at(small, copy=1), body, broken, "offered as another copy"),
        (_at(small, generation=1), body, broken, "offered as another generation"),
        (_at(small, kind=2), body, broken, "offered as another kind"),
        (_at(other), body, broken, "offered as another segment"),
        (at, forge(at, block_of(small), small, read=stranger), broken, "sealed for another folder"),
        (at, forge(at, block_of(small), small, commit=bytes(32)), broken, "opens, but not committed to"),
        (at, forge(at, block_of(small), small, stored=small), broken, "committed to another stored form"),
        (at, forge(at, block_of(other), other), "content_mismatch", "a reader's substitute for the content"),
        (parity, forge(parity, block_of(other, kind=5), other), "content_mismatch", "other parity"),
        (at, forge(at, block_of(small, version=2), small), "newer_format", "block of version 2"),
        (at, forge(at, block_of(small, padding=b"x"), small), "format_error", "padding that is not zero"),
    ]


def make_articles() -> list[Vector]:
    """Articles as ARTICLE and BODY bring them (dot-stuffed, no final dot), and the body inside."""
    small = b"a small file"
    at = _at(small)
    body = forge(at, block_of(small), small)
    name = keys.name_article(READER.location, at)
    article = build_article(name, ("alt.binaries.backup", "alt.binaries.test"), body).block()
    start = article.index(b"\r\n\r\n") + 4
    lines = article[start:]
    crc32 = f"{zlib.crc32(body):08x}".encode()
    wrong_crc = f"{zlib.crc32(body) ^ 1:08x}".encode()
    vectors: list[Vector] = [
        {"block": spec_of_body(article), "body": spec_of_body(body)} | OK,
        {"block": spec_of_body(lines), "body": spec_of_body(body)} | OK,
    ]
    for block, why in (
        (b"", "empty"),
        (article[: start - 2], "headers only"),
        (lines.replace(b"crc32=" + crc32, b"crc32=" + wrong_crc), "another CRC32"),
        (lines.replace(b"=yend size=4144", b"=yend size=4145"), "two sizes"),
        (lines.replace(b"size=4144", b"size=4143"), "a false size in both places"),
        (lines[: lines.index(b"=yend")], "no =yend line"),
        (lines[: len(lines) // 2], "cut in the middle"),
        (lines.replace(b"=ybegin line", b"=ybegin part=1 total=2 line"), "one part of several"),
    ):
        vectors.append({"block": spec_of_body(block)} | error("format_error", why))
    oversize = lines.replace(b"size=4144", b"size=9999999")
    vectors.append({"block": spec_of_body(oversize)} | error("limit_exceeded", "says that it has 10 MB"))
    return vectors
