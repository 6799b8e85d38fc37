"""The block: what is sealed. A header, content (compressed where that pays), zeros up to a size class.

Source: docs/format.md 5 (block); vectors/block.json.
"""

import struct
from dataclasses import dataclass

from usenetsyncd.errors import FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleKind, Compression
from usenetsyncd.wire.compression import CODEC_NUMBERS, Compressor, decompress
from usenetsyncd.wire.keys import Bytes
from usenetsyncd.wire.segment import content_hash

BLOCK_VERSION = 1
HEADER = struct.Struct(">BBBBII")
MIN_BLOCK_BYTES = 4_096


def padme(size: int) -> int:
    """The size class of ``size`` bytes: never below 4,096, at most 12 % above ``size`` otherwise.

    Source: Padmé (Nikitin et al. 2019, PURBs): only log2(log2(size)) + 1 leading bits may be set.
    """
    if size <= MIN_BLOCK_BYTES:
        return MIN_BLOCK_BYTES
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask


MAX_BLOCK_BYTES = padme(HEADER.size + SEGMENT_SIZE_BYTES)


@dataclass(frozen=True, slots=True)
class Block:
    """A block and what a seal must be committed to.

    view: the whole block. header: its first 12 bytes. content_hash: 32 bytes.
    stored: the compressed bytes, or None where the content stands there as it is.
    """

    view: memoryview
    header: bytes
    content_hash: bytes
    stored: memoryview | None


class BlockBuilder:
    """A reused buffer and codec contexts for building blocks; for one thread at a time."""

    __slots__ = ("_compressor", "_lent", "_view")

    def __init__(self, capacity: int = SEGMENT_SIZE_BYTES) -> None:
        """capacity: the longest content in bytes that it will be given."""
        self._view = memoryview(bytearray(padme(HEADER.size + capacity)))
        self._compressor = Compressor()
        self._lent: memoryview | None = None

    def area(self, length: int) -> memoryview:
        """Where content of ``length`` bytes may be read into, so that building copies nothing."""
        check_content_length(length)
        self._lent = self._view[HEADER.size : HEADER.size + length]
        return self._lent

    def build(
        self, identity: bytes, kind: ArticleKind, content: Bytes, codec: Compression, level: int | None = None
    ) -> Block:
        """The block of ``content`` (1..768,000 bytes); valid until the next call. Raises LimitExceeded."""
        length = len(content)
        check_content_length(length)
        inside = self._view[HEADER.size : HEADER.size + length]
        if content is not self._lent:
            inside[:] = content
        self._lent = None
        # Hashed and compressed from our own copy: a mapped file that changes under us must not put a second
        # block under a key that was derived from the first.
        hash32 = content_hash(identity, inside)
        packed = self._compressor.compress(inside, codec, level)
        if packed is None:
            codec, end = Compression.NONE, HEADER.size + length
        else:
            end = HEADER.size + len(packed)
            self._view[HEADER.size : end] = packed
        header = HEADER.pack(BLOCK_VERSION, kind, CODEC_NUMBERS[codec], 0, length, end - HEADER.size)
        self._view[: HEADER.size] = header
        whole = padme(end)
        self._view[end:whole] = bytes(whole - end)
        stored = None if packed is None else self._view[HEADER.size : end]
        return Block(self._view[:whole], header, hash32, stored)


def check_content_length(length: int) -> None:
    """Raises LimitExceeded unless 1..768,000."""
    if not 1 <= length <= SEGMENT_SIZE_BYTES:
        raise LimitExceeded(f"a segment holds 1 to {SEGMENT_SIZE_BYTES} bytes, not {length}")


def decode_block(block: Bytes, identity: bytes, kind: ArticleKind) -> tuple[Block, bytes]:
    """Check every field; returns the block and its content, at most 768,000 bytes whatever the block says.

    Raises FormatError, LimitExceeded, NewerFormat.
    """
    view = memoryview(block)
    if len(view) < HEADER.size:
        raise FormatError("a block is too short")
    version, its_kind, codec, reserved, content_len, stored_len = HEADER.unpack_from(view)
    if version > BLOCK_VERSION:
        raise NewerFormat(f"a block of format version {version}: made by a newer version of UsenetSync")
    if version != BLOCK_VERSION or its_kind != kind or reserved:
        raise FormatError("a block says that it is not what its address promises")
    check_content_length(content_len)
    end = HEADER.size + stored_len
    if end > len(view) or len(view) != padme(end):
        raise FormatError("a block is not as long as it says")
    if bytes(view[end:]).strip(b"\0"):
        raise FormatError("a block is padded with something other than zeros")
    stored = view[HEADER.size : end]
    content = decompress(stored, codec, content_len)
    header = bytes(view[: HEADER.size])
    return Block(view, header, content_hash(identity, content), stored if codec else None), content
