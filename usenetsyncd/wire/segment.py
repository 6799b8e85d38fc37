"""Segments: naming content, slicing large files, packing small ones.

Source: docs/format.md 4 (content and segments); vectors/content.json.
"""

import hmac
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from blake3 import blake3

from usenetsyncd.errors import LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, SegmentId
from usenetsyncd.wire.keys import Bytes, label

PACK_LIMIT_BYTES = 50_000
"""Files and tails shorter than this are packed; next-fit then fills at least 93 % of a segment."""

Key = TypeVar("Key", bound=Hashable)


# -- names of content ------------------------------------------------------------------------


def content_hash(identity: bytes, content: Bytes) -> bytes:
    """32 bytes: BLAKE3 keyed with K_id. Only a holder of the key can tell whether two are the same content."""
    return blake3(content, key=identity).digest()


def segment_id(hash32: bytes) -> SegmentId:
    """The 16 bytes by which index and catalogue know a segment."""
    return SegmentId(hash32[:16])


class FileHasher:
    """Content hash of a file of any size from its slices, holding two hashes at most.

    One slice: that slice's hash. More: a keyed hash over all slice hashes, under a key of its own so that
    no file can be written whose content looks like another file's list of hashes.
    """

    __slots__ = ("_first", "_identity", "_tree")

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self._first: bytes | None = None
        self._tree: blake3 | None = None

    def add_slice(self, content: Bytes) -> bytes:
        """Take the next slice (768,000 bytes, the last one less) and return its own 32-byte hash."""
        slice_hash = content_hash(self._identity, content)
        self.add_slice_hash(slice_hash)
        return slice_hash

    def add_slice_hash(self, slice_hash: bytes) -> None:
        """The same for a slice that was hashed elsewhere."""
        if self._first is None:
            self._first = slice_hash
            return
        if self._tree is None:
            self._tree = blake3(self._first, key=hmac.digest(self._identity, label("file"), "sha256"))
        self._tree.update(slice_hash)

    def digest(self) -> bytes:
        """32 bytes. A file without a slice has the hash of no content."""
        if self._tree is not None:
            return self._tree.digest()
        return content_hash(self._identity, b"") if self._first is None else self._first


# -- slicing and packing ---------------------------------------------------------------------


def split(size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of each slice of a file; lazily, for a file of 20 TB has 26 million of them."""
    for offset in range(0, size, SEGMENT_SIZE_BYTES):
        yield offset, min(SEGMENT_SIZE_BYTES, size - offset)


@dataclass(frozen=True, slots=True)
class PackedSegment(Generic[Key]):
    """A finished segment: its content's 32-byte hash and length, and where each piece stands in it."""

    hash: bytes
    length: int
    pieces: tuple[tuple[Key, int, int], ...]


class Packer(Generic[Key]):
    """Next-fit packing of small pieces into segments; holds one segment's content and nothing more."""

    __slots__ = ("_content", "_filled", "_identity", "_pieces")

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self._content = memoryview(bytearray(SEGMENT_SIZE_BYTES))
        self._filled = 0
        self._pieces: list[tuple[Key, int, int]] = []

    def add(self, piece_key: Key, piece: Bytes) -> list[PackedSegment[Key]]:
        """Place a piece of 1..768,000 bytes; returns the segment that it no longer fitted into, if any."""
        length = len(piece)
        if not 1 <= length <= SEGMENT_SIZE_BYTES:
            raise LimitExceeded(f"a piece of {length} bytes cannot be packed")
        finished = self.flush() if self._filled + length > SEGMENT_SIZE_BYTES else []
        end = self._filled + length
        self._content[self._filled : end] = piece
        self._pieces.append((piece_key, self._filled, length))
        self._filled = end
        return finished

    def flush(self) -> list[PackedSegment[Key]]:
        """Finish the segment under way, if it holds anything."""
        if not self._pieces:
            return []
        # Hashed once it is whole: BLAKE3 is five times faster over 768,000 bytes than over 4,000 at a time.
        digest = content_hash(self._identity, self._content[: self._filled])
        segment = PackedSegment(digest, self._filled, tuple(self._pieces))
        self._filled, self._pieces = 0, []
        return [segment]
