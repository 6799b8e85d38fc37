"""The frame of a page and the four building blocks inside it: column, blob, paths, places.

A page is one zstd frame around ``version | tree | level | 0 | count (u32 BE) | building blocks``.
Everything a writer does here has its reader beside it. Source: docs/format.md, "Core index pages".
"""

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import zstandard

from usenetsyncd.errors import FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import SEGMENT_SIZE_BYTES, Compression, PageRef, RelativePath, SegmentId
from usenetsyncd.wire.compression import CODEC_NUMBERS, decompress

PAGE_VERSION = 1
ENTRY_TREE = 1
EXTENT_TREE = 2
STRIPE_LIST = 3
OVERRIDE_LIST = 4

MAX_PAGE_BYTES = 1 << 20  # decompressed
MAX_STORED_BYTES = SEGMENT_SIZE_BYTES  # compressed: a page stands inside one segment
MAX_LEVEL = 15
MAX_PATH_BYTES = 4096

SELF = SegmentId(bytes(16))
"""In a page, stands for the index segment that the page itself is in."""

Locate = Callable[[SegmentId], SegmentId]
"""What to write for the index segment of a page: its id, or SELF."""

# Level 3 to 9 differ by under 1 % here: what is left after the columns is hashes, which nothing shrinks.
COMPRESSION_LEVEL = 3

_HEADER = struct.Struct(">BBBBI")


def zigzag(value: int) -> int:
    """0, -1, 1, -2 ... -> 0, 1, 2, 3 ..."""
    return value << 1 if value >= 0 else -value * 2 - 1


def unzigzag(value: int) -> int:
    """The way back from ``zigzag``."""
    return -(value + 1 >> 1) if value & 1 else value >> 1


def shared_prefix(first: bytes, second: bytes) -> int:
    """How many bytes two strings have in common at their beginning."""
    size = min(len(first), len(second))
    # One big-integer XOR is five times as fast as a loop over the bytes.
    difference = int.from_bytes(first[:size]) ^ int.from_bytes(second[:size])
    return size - (difference.bit_length() + 7) // 8


class PageWriter:
    """Collects the building blocks of one page, in order."""

    def __init__(self, tree: int, level: int, count: int) -> None:
        if level > MAX_LEVEL:
            raise LimitExceeded(f"the index would need more than {MAX_LEVEL + 1} levels")
        self._parts = [_HEADER.pack(PAGE_VERSION, tree, level, 0, count)]

    def column(self, values: Sequence[int]) -> None:
        """Unsigned 64-bit numbers as a width byte and that many byte planes, the highest first."""
        highest = max(values, default=0)
        if highest >> 64:
            raise LimitExceeded(f"{highest} does not fit an index page")
        width = (highest.bit_length() + 7) // 8
        packed = struct.pack(f">{len(values)}Q", *values)
        self._parts.append(bytes((width,)))
        self._parts += [packed[plane::8] for plane in range(8 - width, 8)]

    def blob(self, content: bytes) -> None:
        """Bytes whose length the reader knows from what went before."""
        self._parts.append(content)

    def paths(self, paths: Sequence[bytes]) -> None:
        """Ascending paths: bytes shared with the one before, length of the rest, the rests."""
        shared = list(map(shared_prefix, [b"", *paths], paths))
        rests = [path[common:] for path, common in zip(paths, shared, strict=True)]
        self.column(shared)
        self.column(list(map(len, rests)))
        self.blob(b"".join(rests))

    def places(self, segments: Sequence[bytes], offsets: Sequence[int], lengths: Sequence[int]) -> None:
        """Pieces of segments; the reader knows their lengths. Neighbours in a segment cost nothing."""
        rows: dict[bytes, int] = {}
        ends: list[int] = []
        steps: list[int] = []
        gaps: list[int] = []
        previous = 0
        for segment, offset, length in zip(segments, offsets, lengths, strict=True):
            row = rows.get(segment)
            if row is None:
                if len(segment) != 16:
                    raise FormatError(f"a segment id of {len(segment)} bytes")
                row = rows[segment] = len(ends)
                ends.append(0)
            end = offset + length
            if offset < 0 or length <= 0 or end > SEGMENT_SIZE_BYTES:
                raise FormatError(f"a piece of {length:,} bytes at {offset:,} in a segment")
            steps.append(zigzag(row - previous))
            gaps.append(zigzag(offset - ends[row]))
            ends[row] = end
            previous = row
        self.column((len(ends),))
        self.blob(b"".join(rows))
        self.column(steps)
        self.column(gaps)

    def refs(self, refs: Sequence[PageRef], locate: Locate) -> None:
        """References to other pages: their lengths, then their places."""
        lengths = [ref.length for ref in refs]
        self.column(lengths)
        self.places([locate(ref.segment) for ref in refs], [ref.offset for ref in refs], lengths)

    def raw(self) -> bytes:
        """The page before compression."""
        raw = b"".join(self._parts)
        if len(raw) > MAX_PAGE_BYTES:
            raise LimitExceeded(f"an index page of {len(raw):,} bytes")
        return raw


def compress_page(raw: bytes) -> bytes:
    """One zstd frame that states its size, without checksum (the seal has one)."""
    return zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=False).compress(raw)


def decompress_page(stored: bytes) -> bytes:
    """Undo ``compress_page``; at most 1 MiB comes out whatever goes in.

    Raises FormatError, and LimitExceeded when the frame states more than the limit.
    """
    if len(stored) > MAX_STORED_BYTES:
        raise LimitExceeded(f"a stored index page of {len(stored):,} bytes")
    try:
        size = zstandard.frame_content_size(stored)
    except zstandard.ZstdError as error:
        raise FormatError("an index page is no zstd frame") from error
    if size < 0:
        raise FormatError("an index page does not state its size")
    if size > MAX_PAGE_BYTES:
        raise LimitExceeded(f"an index page of {size:,} bytes")
    return decompress(stored, CODEC_NUMBERS[Compression.ZSTD], size)


class PageReader:
    """Takes the building blocks of one page apart again, and trusts none of them.

    content: all of it. tree, level, count: from the header. Every method raises FormatError or a class below it.
    """

    __slots__ = ("_at", "content", "count", "level", "tree")

    def __init__(self, raw: bytes) -> None:
        if len(raw) < _HEADER.size:
            raise FormatError("an index page without header")
        version, self.tree, self.level, reserved, self.count = _HEADER.unpack_from(raw)
        if version > PAGE_VERSION or self.tree > OVERRIDE_LIST:
            raise NewerFormat("the index was made by a newer version of UsenetSync")
        if version < PAGE_VERSION or not self.tree or reserved:
            raise FormatError(f"an index page of version {version}, tree {self.tree}")
        if self.level > MAX_LEVEL:
            raise LimitExceeded(f"an index page of level {self.level}")
        if not self.count:
            raise FormatError("an empty index page")
        self.content = raw
        self._at = _HEADER.size

    def blob(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        end = self._at + size
        if end > len(self.content):
            raise FormatError("an index page ends too early")
        content = self.content[self._at : end]
        self._at = end
        return content

    def column(self, count: int) -> Sequence[int]:
        """The next ``count`` numbers."""
        width = self.blob(1)[0]
        if not width:
            return (0,) * count
        if width > 8 or not count:
            raise FormatError(f"a column of width {width}")
        packed = bytearray(count * 8)
        for plane in range(8 - width, 8):
            packed[plane::8] = self.blob(count)
        numbers = struct.unpack(f">{count}Q", packed)
        if not max(numbers) >> (width * 8 - 8):
            raise FormatError("a column wider than its numbers need")
        return numbers

    def number(self, limit: int, what: str) -> int:
        """A column of one number, with a limit."""
        value = self.column(1)[0]
        if value > limit:
            raise LimitExceeded(f"{value:,} {what} in an index page")
        return value

    def ids(self, count: int, size: int = 16) -> list[bytes]:
        """``count`` byte strings of ``size`` bytes each."""
        joined = self.blob(count * size)
        return [joined[at : at + size] for at in range(0, len(joined), size)]

    def strings(self, sizes: Sequence[int]) -> list[bytes]:
        """As many strings as there are sizes, one after the other."""
        joined = self.blob(sum(sizes))
        ends = list(accumulate(sizes, initial=0))
        return [joined[start:end] for start, end in pairwise(ends)]

    def paths(self) -> list[RelativePath]:
        """``count`` strictly ascending paths. Raises FormatError when two are out of order or equal."""
        shared = self.column(self.count)
        rests = self.strings(self.column(self.count))
        paths: list[RelativePath] = []
        previous = b""
        first = True
        for common, rest in zip(shared, rests, strict=True):
            # This one comparison refuses disorder, duplicates and a prefix shorter than it could be.
            if not (first and not common) and (
                common > len(previous) or rest[:1] <= previous[common : common + 1]
            ):
                raise FormatError("paths of an index page are not in order")
            previous = previous[:common] + rest
            if len(previous) > MAX_PATH_BYTES:
                raise LimitExceeded(f"a path of {len(previous):,} bytes")
            paths.append(RelativePath(previous))
            first = False
        return paths

    def places(self, lengths: Sequence[int]) -> tuple[list[bytes], list[int]]:
        """The segments and offsets that belong to these lengths; none reaches past a full segment."""
        table = self.ids(self.number(len(lengths), "segments"))
        if len(set(table)) != len(table):
            raise FormatError("a segment is named twice in an index page")
        ends = [0] * len(table)
        segments: list[bytes] = []
        offsets: list[int] = []
        row = seen = 0
        for length, step, gap in zip(
            lengths, self.column(len(lengths)), self.column(len(lengths)), strict=True
        ):
            row += unzigzag(step)
            if not 0 <= row <= seen or row >= len(table):
                raise FormatError("segments of an index page are out of order")
            seen += row == seen
            offset = ends[row] + unzigzag(gap)
            end = ends[row] = offset + length
            if offset < 0 or not length or end > SEGMENT_SIZE_BYTES:
                raise FormatError(f"a piece of {length:,} bytes at {offset:,} in a segment")
            segments.append(table[row])
            offsets.append(offset)
        if seen != len(table):
            raise FormatError("an index page names a segment that it does not use")
        return segments, offsets

    def refs(self, count: int, home: SegmentId) -> list[PageRef]:
        """The next ``count`` references to pages, SELF resolved to ``home``, this page's segment."""
        lengths = self.column(count)
        segments, offsets = self.places(lengths)
        absolute = [home if segment == SELF else SegmentId(segment) for segment in segments]
        return list(map(PageRef, absolute, offsets, lengths))

    def finish(self) -> None:
        """Refuse bytes that nothing has asked for."""
        if self._at != len(self.content):
            raise FormatError("an index page is too long")
