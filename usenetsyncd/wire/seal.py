"""Sealing: a block becomes an article body that opens only at its own address, and back.

A (key, nonce) is derived from everything that decides the block, so it can never meet a second one.
Source: docs/format.md 6; docs/decisions/0002; vectors/seal.json.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from usenetsyncd.errors import ContentMismatch, SealBroken
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, Compression
from usenetsyncd.wire.block import (
    HEADER,
    MAX_BLOCK_BYTES,
    MIN_BLOCK_BYTES,
    Block,
    BlockBuilder,
    decode_block,
    padme,
)
from usenetsyncd.wire.keys import Bytes, ReadKeys, encode_address, expand, label
from usenetsyncd.wire.segment import content_hash

COMMIT_BYTES = 32
TAG_BYTES = 16
OVERHEAD_BYTES = COMMIT_BYTES + TAG_BYTES
MIN_BODY_BYTES = OVERHEAD_BYTES + MIN_BLOCK_BYTES
MAX_BODY_BYTES = OVERHEAD_BYTES + MAX_BLOCK_BYTES

_COMMIT = label("commit")
_KEY = label("key")
_AAD = label("body")
_AS_IT_IS = bytes(32)
_KEY_NONCE_BYTES = 32 + 12
_CONTENT_ADDRESSED = frozenset({ArticleKind.DATA, ArticleKind.INDEX, ArticleKind.PARITY})


def _commitment(keys: ReadKeys, place: bytes, block: Block) -> bytes:
    """32 bytes that stand for key, address and every byte of the block."""
    stored_hash = _AS_IT_IS if block.stored is None else content_hash(keys.identity, block.stored)
    length = len(block.view).to_bytes(4, "big")
    message = (_COMMIT, keys.fingerprint, place, block.content_hash, block.header, length, stored_hash)
    return hmac.digest(keys.sealing, b"".join(message), "sha256")


def _cipher(keys: ReadKeys, place: bytes, commit: bytes) -> tuple[AESGCM, bytes, bytes]:
    """The cipher, nonce and additional data of one body."""
    material = expand(keys.sealing, _KEY + place + commit, _KEY_NONCE_BYTES)
    return AESGCM(material[:32]), material[32:], _AAD + keys.fingerprint + place


class Workbench:
    """Buffers and codec contexts for sealing, reused from call to call; one per worker thread.

    Fresh memory for each block and body costs more than hashing and sealing together (page faults).
    """

    __slots__ = ("_body", "_builder")

    def __init__(self, capacity: int = SEGMENT_SIZE_BYTES) -> None:
        """capacity: the longest content in bytes that it will be given."""
        self._builder = BlockBuilder(capacity)
        self._body = memoryview(bytearray(padme(HEADER.size + capacity) + OVERHEAD_BYTES))

    def area(self, length: int) -> memoryview:
        """Where content of ``length`` bytes may be read into, so that ``seal`` of it copies nothing."""
        return self._builder.area(length)

    def seal(
        self,
        keys: ReadKeys,
        at: ArticleAddress,
        content: Bytes,
        codec: Compression,
        level: int | None = None,
        content_hash: bytes | None = None,
    ) -> memoryview:
        """The article body of ``content`` (1..768,000 bytes) at ``at``, before yEnc; valid until the next call.

        content_hash: what the content must hash to (32 bytes). Returns commit (32) | ciphertext | tag (16).
        Raises LimitExceeded, and ContentMismatch where the content is not the one that was planned.
        """
        place = encode_address(at)
        block = self._builder.build(keys.identity, at.kind, content, codec, level)
        _check_identity(at, block.content_hash, content_hash)
        commit = _commitment(keys, place, block)
        cipher, nonce, aad = _cipher(keys, place, commit)
        body = self._body[: len(block.view) + OVERHEAD_BYTES]
        body[:COMMIT_BYTES] = commit
        cipher.encrypt_into(nonce, block.view, aad, body[COMMIT_BYTES:])
        return body


def _check_identity(at: ArticleAddress, hash32: bytes, expected: bytes | None) -> None:
    if expected is not None and not hmac.compare_digest(expected, hash32):
        raise ContentMismatch("the content is not the one that was planned for this article")
    if at.kind in _CONTENT_ADDRESSED and not hmac.compare_digest(at.id, hash32[:16]):
        raise ContentMismatch("the content is not what its id says")


def seal(
    keys: ReadKeys,
    at: ArticleAddress,
    content: Bytes,
    codec: Compression,
    level: int | None = None,
    content_hash: bytes | None = None,
) -> bytes:
    """As Workbench.seal, for one article now and then."""
    return bytes(Workbench(len(content)).seal(keys, at, content, codec, level, content_hash))


def open_sealed(keys: ReadKeys, at: ArticleAddress, body: Bytes) -> bytes:
    """The content of the article at ``at``; nothing is returned that is not exactly what was sealed there.

    body: decoded from yEnc. Raises SealBroken, ContentMismatch, LimitExceeded, NewerFormat, FormatError.
    """
    block_len = len(body) - OVERHEAD_BYTES
    if not MIN_BLOCK_BYTES <= block_len <= MAX_BLOCK_BYTES or padme(block_len) != block_len:
        raise SealBroken("an article is not as long as any that we make: cut, or not ours")
    place = encode_address(at)
    view = memoryview(body)
    commit = bytes(view[:COMMIT_BYTES])
    cipher, nonce, aad = _cipher(keys, place, commit)
    try:
        plain = cipher.decrypt(nonce, view[COMMIT_BYTES:], aad)
    except InvalidTag as error:
        raise SealBroken("an article does not open: altered, or sealed for another key or address") from error
    block, content = decode_block(plain, keys.identity, at.kind)
    if not hmac.compare_digest(commit, _commitment(keys, place, block)):
        raise SealBroken("an article opens under a key that it was not committed to")
    _check_identity(at, block.content_hash, None)
    return content
