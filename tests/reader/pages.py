"""Core index pages: docs/format.md, section 12."""

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.reader.sealed import MIB, SEGMENT_BYTES, label, must, unzstd

Place = tuple[bytes, int, int]
HERE = bytes(16)
MOST = (1 << 63) - 1
FILE, FOLDER, LINK = 1, 2, 3


@dataclass(frozen=True, slots=True)
class FarExtents:
    """Extents in pages of their own: flag 0x40."""

    root: Place
    count: int
    digest: bytes


@dataclass(slots=True)
class Entry:
    """One row of a leaf of entries."""

    path: bytes
    kind: int
    mode: int
    mtime_ns: int
    size: int = 0
    content_hash: bytes = b""
    extents: list[Place] | FarExtents = field(default_factory=list)
    target: bytes = b""
    link_group: bytes = b""
    sparse: bool = False
    owner: tuple[int, int] | None = None
    xattrs: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Branch:
    """What an inner page of entries promises of a page."""

    last: bytes
    totals: tuple[int, int, int, int]  # files, folders, symbolic links, bytes
    page: Place


@dataclass(frozen=True, slots=True)
class ExtentBranch:
    """What an inner page of extents promises of a page."""

    count: int
    total: int
    digest: bytes
    page: Place


class Blocks:
    """The building blocks of a page (12.1), read one after the other."""

    def __init__(self, page: bytes, at: int) -> None:
        self.page, self.at = page, at

    def take(self, length: int) -> bytes:
        must(length <= len(self.page) - self.at, why="beyond the end of the page")
        self.at += length
        return self.page[self.at - length : self.at]

    def column(self, count: int) -> list[int]:
        width = self.take(1)[0]
        must(width <= 8)
        planes = [self.take(count) for _ in range(width)]
        must(width == 0 or any(planes[0]), why="wider than its numbers")
        return [int.from_bytes(row, "big") for row in zip(*planes, strict=True)] if width else [0] * count

    def signed(self, count: int) -> list[int]:
        return [u // 2 if u % 2 == 0 else -(u + 1) // 2 for u in self.column(count)]

    def ids(self, count: int, size: int) -> list[bytes]:
        joined = self.take(count * size)
        return [joined[i * size : i * size + size] for i in range(count)]

    def strings(self, lengths: list[int]) -> list[bytes]:
        return [self.take(length) for length in lengths]

    def paths(self, count: int) -> list[bytes]:
        shared, own = self.column(count), self.column(count)
        paths: list[bytes] = []
        last = b""
        for i, (s, rest) in enumerate(zip(shared, self.strings(own), strict=True)):
            rises = s <= len(last) and bool(rest) and (s == len(last) or rest[0] > last[s])
            must(rises or (i == 0 and s == 0), why="a path that does not rise")
            last = last[:s] + rest
            must(len(last) <= 4_096, "limit_exceeded", "a long path")
            paths.append(last)
        return paths

    def places(self, lengths: list[int]) -> list[Place]:
        (count,) = self.column(1)
        must(count <= len(lengths), "limit_exceeded", "segments")
        segments = self.ids(count, 16)
        must(len(set(segments)) == count, why="a segment twice")
        steps, gaps = self.signed(len(lengths)), self.signed(len(lengths))
        row, seen, ends, placed = 0, 0, [0] * count, []
        for length, step, gap in zip(lengths, steps, gaps, strict=True):
            row += step
            must(0 <= row < count and row <= seen, why="row of a segment")
            seen = max(seen, row + 1)
            offset = ends[row] + gap
            ends[row] = offset + length
            must(
                length > 0 and offset >= 0 and ends[row] <= SEGMENT_BYTES,
                why="an extent outside of its segment",
            )
            placed.append((segments[row], offset, length))
        must(seen == count, why="a segment never used")
        return placed

    def refs(self, count: int, home: bytes) -> list[Place]:
        return [(home if s == HERE else s, o, n) for s, o, n in self.places(self.column(count))]


Rows = list[Entry] | list[Branch] | list[Place] | list[ExtentBranch]


def unpack(stored: bytes) -> bytes:
    """A stored page, decompressed."""
    must(len(stored) <= SEGMENT_BYTES, "limit_exceeded", "a long page")
    return unzstd(stored, MIB)


def open_page(page: bytes) -> tuple[int, int, int, Blocks]:
    """Tree, level, count of a page, and what follows."""
    must(len(page) >= 1 and page[0] != 0)
    must(page[0] == 1, "newer_format")
    must(len(page) >= 8)
    _, tree, level, zero, count = struct.unpack(">BBBBI", page[:8])
    must(tree != 0)
    must(tree <= 4, "newer_format")
    must(level <= 15, "limit_exceeded")
    must(zero == 0 and count > 0)
    return tree, level, count, Blocks(page, 8)


def read_page(page: bytes, home: bytes) -> tuple[int, int, Rows]:
    """Tree (1 entries, 2 extents), level, rows. ``home`` is the segment that the page stands in."""
    tree, level, count, blocks = open_page(page)
    must(tree <= 2, why="a list where entries or extents should be")
    most = (4_096 if level == 0 else 1_024) if tree == 1 else (2_048 if level == 0 else 256)
    must(count <= most, "limit_exceeded", "rows of a page")
    rows: Rows
    if tree == 1:
        rows = entries(blocks, count, home) if level == 0 else branches(blocks, count, home)
    elif level == 0:
        rows = blocks.places(blocks.column(count))
    else:
        rows = extent_branches(blocks, count, home)
    must(blocks.at == len(page), why="bytes after the page")
    return tree, level, rows


def branches(blocks: Blocks, n: int, home: bytes) -> list[Branch]:
    last = blocks.paths(n)
    totals = list(zip(*(blocks.column(n) for _ in range(4)), strict=True))
    return [Branch(*row) for row in zip(last, totals, blocks.refs(n, home), strict=True)]


def extent_branches(blocks: Blocks, n: int, home: bytes) -> list[ExtentBranch]:
    counts, sums = blocks.column(n), blocks.column(n)
    must(all(counts), why="a branch of no extents")
    rows = zip(counts, sums, blocks.ids(n, 16), blocks.refs(n, home), strict=True)
    return [ExtentBranch(*row) for row in rows]


def entries(blocks: Blocks, n: int, home: bytes) -> list[Entry]:
    """Blocks 1 to 23 of a leaf (12.2)."""
    paths, flags, modes = blocks.paths(n), blocks.column(n), blocks.column(n)
    must(all(flag <= 0x7F for flag in flags), "newer_format", "flags")
    must(all(mode <= 0o7777 for mode in modes), why="mode")
    seconds, nanoseconds = blocks.signed(n), blocks.column(n)
    must(all(ns < 10**9 for ns in nanoseconds), why="nanoseconds")
    made, time = [], 0
    for path, flag, mode, s, ns in zip(paths, flags, modes, seconds, nanoseconds, strict=True):
        time += s * 10**9 + ns
        must(-MOST - 1 <= time <= MOST and flag & 3 != 0, why="time or kind")
        must(not flag & 0x44 or flag & 3 == FILE, why="flags of a file")
        made.append(Entry(path, flag & 3, mode, time, sparse=bool(flag & 4)))
    files = [(e, flag) for e, flag in zip(made, flags, strict=True) if e.kind == FILE]
    for (entry, _), size in zip(files, blocks.column(len(files)), strict=True):
        must(size <= MOST, "limit_exceeded", "size")
        entry.size = size
    must(all(entry.size or not flag & 0x40 for entry, flag in files), why="an empty file's extents elsewhere")
    full = [e for e, _ in files if e.size]
    for entry, content_hash in zip(full, blocks.ids(len(full), 16), strict=True):
        entry.content_hash = content_hash
    inline(blocks, [e for e, flag in files if e.size and not flag & 0x40])
    far(blocks, [e for e, flag in files if flag & 0x40], home)
    links = [e for e in made if e.kind == LINK]
    lengths = blocks.column(len(links))
    must(all(1 <= length <= 4_096 for length in lengths), "limit_exceeded", "target")
    for entry, target in zip(links, blocks.strings(lengths), strict=True):
        entry.target = target

    def having(bit: int) -> list[Entry]:
        return [e for e, flag in zip(made, flags, strict=True) if flag & bit]

    grouped = having(0x08)
    for entry, group in zip(grouped, blocks.ids(len(grouped), 8), strict=True):
        entry.link_group = group
    owned = having(0x10)
    uids, gids = blocks.column(len(owned)), blocks.column(len(owned))
    must(max([0, *uids, *gids]) < 1 << 32, "limit_exceeded", "owner")
    for entry, uid, gid in zip(owned, uids, gids, strict=True):
        entry.owner = (uid, gid)
    attributes(blocks, having(0x20))
    return made


def inline(blocks: Blocks, files: list[Entry]) -> None:
    """Blocks 8 to 10."""
    more = blocks.column(len(files))
    must(all(m <= 255 for m in more) and sum(more) + len(more) <= 32_768, "limit_exceeded", "extents")
    given = iter(blocks.column(sum(more)))
    lengths: list[int] = []
    for entry, m in zip(files, more, strict=True):
        first = [next(given) for _ in range(m)]
        must(sum(first) < entry.size, why="extents longer than their file")
        lengths += [*first, entry.size - sum(first)]
    placed = iter(blocks.places(lengths))
    for entry, m in zip(files, more, strict=True):
        entry.extents = [next(placed) for _ in range(m + 1)]


def far(blocks: Blocks, files: list[Entry], home: bytes) -> None:
    """Blocks 11 to 13."""
    counts = blocks.column(len(files))
    must(all(c >= 257 for c in counts), why="few extents in pages of their own")
    must(all(c <= 1 << 28 for c in counts), "limit_exceeded", "extents")
    digests = blocks.ids(len(files), 16)
    for entry, *row in zip(files, blocks.refs(len(files), home), counts, digests, strict=True):
        entry.extents = FarExtents(*row)


def attributes(blocks: Blocks, having: list[Entry]) -> None:
    """Blocks 19 to 23."""
    counts = [c + 1 for c in blocks.column(len(having))]
    must(all(c <= 1_024 for c in counts) and sum(counts) <= 32_768, "limit_exceeded", "attributes")
    name_lengths, value_lengths = blocks.column(sum(counts)), blocks.column(sum(counts))
    must(all(1 <= length <= 255 for length in name_lengths), "limit_exceeded", "name of an attribute")
    at = 0
    for c in counts:
        must(
            sum(name_lengths[at : at + c]) + sum(value_lengths[at : at + c]) <= 131_072,
            "limit_exceeded",
            "attributes",
        )
        at += c
    pairs = iter(list(zip(blocks.strings(name_lengths), blocks.strings(value_lengths), strict=True)))
    for entry, c in zip(having, counts, strict=True):
        entry.xattrs = [next(pairs) for _ in range(c)]
        own = [name for name, _ in entry.xattrs]
        must(all(a < b for a, b in itertools.pairwise(own)), why="order of attributes")


Load = Callable[[bytes], bytes]  # content of the index segment with this id


def stored_page(load: Load, place: Place) -> bytes:
    """A page decompressed."""
    segment, offset, length = place
    content = load(segment)
    must(offset + length <= len(content), why="a page beyond its segment")
    return unpack(content[offset : offset + length])


def fetch_page(load: Load, place: Place) -> tuple[bytes, int, int, Rows]:
    """A page decompressed, its tree, level and rows."""
    page = stored_page(load, place)
    return (page, *read_page(page, place[0]))


class Walk:
    """Every entry of a tree in order; each page is held to what was promised of it (12.3)."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.last: bytes | None = None  # the last path of the branch before, at whatever level

    def entries(
        self, place: Place, promised: Branch | None = None, level: int | None = None
    ) -> Iterator[Entry]:
        _, tree, found, rows = fetch_page(self.load, place)
        must(tree == 1 and level in (None, found), why="another level or tree than promised")
        first, last = (rows[0].path, rows[-1].path) if found == 0 else (rows[0].last, rows[-1].last)
        must(promised is None or promised.last == last, why="another last path than promised")
        must(self.last is None or first > self.last, why="begins before the page before it ends")
        if found == 0:
            totals = [sum(e.kind == kind for e in rows) for kind in (FILE, FOLDER, LINK)]
            totals.append(sum(e.size for e in rows))
        else:
            totals = [sum(part) for part in zip(*(branch.totals for branch in rows), strict=True)]
        must(promised is None or tuple(totals) == promised.totals, why="other totals than promised")
        if found == 0:
            yield from rows
            self.last = last
        else:
            for branch in rows:
                yield from self.entries(branch.page, branch, found - 1)


def extents_of(entry: Entry, load: Load) -> Iterator[Place]:
    """The extents of a file, wherever they stand (12.4)."""
    if isinstance(entry.extents, list):
        yield from entry.extents
        return
    root = ExtentBranch(entry.extents.count, entry.size, entry.extents.digest, entry.extents.root)
    yield from far_extents(load, root, None, True)


def far_extents(load: Load, promised: ExtentBranch, level: int | None, last: bool) -> Iterator[Place]:
    page, tree, found, rows = fetch_page(load, promised.page)
    must(tree == 2 and level in (None, found), why="another level or tree than promised")
    is_root = level is None
    if found == 0:
        count, total, digested = len(rows), sum(length for _, _, length in rows), page
    else:
        must(not is_root or len(rows) >= 2, why="a root of one branch")
        count, total = sum(b.count for b in rows), sum(b.total for b in rows)
        digested = b"".join(struct.pack(">QQ16s", b.count, b.total, b.digest) for b in rows)
    digest = hashlib.sha256(label("extents") + bytes([found]) + digested).digest()[:16]
    must(
        (count, total, digest) == (promised.count, promised.total, promised.digest),
        why="not the extents promised",
    )
    must(last or count == 2_048 * 256**found, why="a page that is not full")
    if found == 0:
        yield from rows
        return
    for i, branch in enumerate(rows):
        yield from far_extents(load, branch, found - 1, last and i == len(rows) - 1)
