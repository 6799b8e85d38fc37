"""The extents of a huge file in pages of their own: a tree by position, streamed both ways.

Leaf i holds extents 2,048 i and on, so a changed slice changes one leaf; the digests in the pages above
let a writer keep every page whose extents are as before without loading it.
Source: docs/format.md, "Core index pages".
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import Entry, Extent, ExtentStream, PageRef, SegmentId, SpilledExtents
from usenetsyncd.wire.columns import EXTENT_TREE, Locate, PageReader, PageWriter
from usenetsyncd.wire.entries import MAX_EXTENTS, MAX_INLINE_EXTENTS
from usenetsyncd.wire.keys import label
from usenetsyncd.wire.segments_out import IndexSegments
from usenetsyncd.wire.tree_read import Load, open_page

LEAF_EXTENTS = 2048
FAN_OUT = 256

_LABEL = label("extents")
_RECORD = struct.Struct(">QQ16s")


@dataclass(frozen=True, slots=True)
class ExtentBranch:
    """A page of extents as the page above it promises it."""

    ref: PageRef
    count: int
    size: int
    digest: bytes


def _digest(level: int, content: bytes) -> bytes:
    return hashlib.sha256(_LABEL + bytes((level,)) + content).digest()[:16]


def encode_extents(extents: Sequence[Extent]) -> bytes:
    """A leaf of extents before compression."""
    page = PageWriter(EXTENT_TREE, 0, len(extents))
    lengths = [extent.length for extent in extents]
    page.column(lengths)
    page.places([extent.segment for extent in extents], [extent.offset for extent in extents], lengths)
    return page.raw()


def decode_extents(page: PageReader) -> list[Extent]:
    """The extents of a leaf. Raises FormatError."""
    if page.count > LEAF_EXTENTS:
        raise LimitExceeded(f"an index page of {page.count:,} extents")
    lengths = page.column(page.count)
    segments, offsets = page.places(lengths)
    page.finish()
    return list(map(Extent, map(SegmentId, segments), offsets, lengths))


def encode_extent_branches(level: int, branches: Sequence[ExtentBranch], locate: Locate) -> bytes:
    """An inner page of extents before compression."""
    page = PageWriter(EXTENT_TREE, level, len(branches))
    page.column([branch.count for branch in branches])
    page.column([branch.size for branch in branches])
    page.blob(b"".join([branch.digest for branch in branches]))
    page.refs([branch.ref for branch in branches], locate)
    return page.raw()


def decode_extent_branches(page: PageReader, home: SegmentId) -> list[ExtentBranch]:
    """The branches of an inner page that stands in segment ``home``. Raises FormatError."""
    if page.count > FAN_OUT:
        raise LimitExceeded(f"an index page of {page.count:,} branches")
    counts, sizes = page.column(page.count), page.column(page.count)
    if not min(counts):
        raise FormatError("a page of no extents")
    digests = page.ids(page.count)
    refs = page.refs(page.count, home)
    page.finish()
    return list(map(ExtentBranch, refs, counts, sizes, digests))


def _summary(level: int, branches: Sequence[ExtentBranch]) -> tuple[int, int, bytes]:
    """Count, bytes and digest of an inner page; the digest is the same wherever the pages stand."""
    records = [_RECORD.pack(branch.count, branch.size, branch.digest) for branch in branches]
    return (
        sum(branch.count for branch in branches),
        sum(branch.size for branch in branches),
        _digest(level, b"".join(records)),
    )


# -- reading ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Page:
    """One page, decoded: extents at level 0, branches above; and what a page above it must say of it."""

    level: int
    extents: list[Extent]
    branches: list[ExtentBranch]
    branch: ExtentBranch


def _open(promised: ExtentBranch, above: int | None, last: bool, load: Load) -> _Page:
    """Load a page and hold it to its promise.

    above: level of the page above, None for the root. last: whether no extents follow it.
    """
    page = open_page(promised.ref, load)
    if page.tree != EXTENT_TREE:
        raise FormatError("a page of entries where extents should be")
    if above is not None and page.level != above - 1:
        raise FormatError(f"a page of extents of level {page.level} below one of level {above}")
    extents, branches = [], []
    if page.level:
        branches = decode_extent_branches(page, promised.ref.segment)
        branch = ExtentBranch(promised.ref, *_summary(page.level, branches))
    else:
        extents = decode_extents(page)
        total = sum(extent.length for extent in extents)
        branch = ExtentBranch(promised.ref, len(extents), total, _digest(0, page.content))
    if branch != promised:
        raise FormatError("a page of extents does not hold what the page above it says")
    if not last and branch.count != LEAF_EXTENTS * FAN_OUT**page.level:
        raise FormatError("a page of extents before the last is not full")
    if above is None and len(branches) == 1:
        raise FormatError("a root of extents has one branch")
    return _Page(page.level, extents, branches, branch)


def _walk(promised: ExtentBranch, above: int | None, last: bool, load: Load) -> Iterator[_Page]:
    """Every page below a branch, itself first."""
    page = _open(promised, above, last, load)
    yield page
    for below in page.branches:
        yield from _walk(below, page.level, last and below is page.branches[-1], load)


def _promise(spilled: SpilledExtents, size: int) -> ExtentBranch:
    return ExtentBranch(spilled.root, spilled.count, size, spilled.digest)


def iter_extents(entry: Entry, load: Load) -> Iterator[Extent]:
    """The extents of a file, wherever they are kept, one page in memory at a time.

    Raises FormatError where a page is not as it should be, after giving all extents before it.
    """
    if isinstance(entry.extents, ExtentStream):
        yield from entry.extents.open()
    elif isinstance(entry.extents, tuple):
        yield from entry.extents
    else:
        for page in _walk(_promise(entry.extents, entry.size), None, True, load):
            yield from page.extents


def extent_pages(entry: Entry, load: Load) -> Iterator[PageRef]:
    """Every page that holds extents of a file."""
    if isinstance(entry.extents, SpilledExtents):
        for page in _walk(_promise(entry.extents, entry.size), None, True, load):
            yield page.branch.ref


# -- writing ------------------------------------------------------------------------------


def _branches_at(
    old: ExtentBranch, above: int | None, last: bool, level: int, load: Load
) -> Iterator[ExtentBranch]:
    """The old pages of one level in order, loading only what is above them (and the root)."""
    page = _open(old, above, last, load)
    if page.level == level:
        yield old
    elif page.level == level + 1:
        yield from page.branches
    elif page.level > level:
        for below in page.branches:
            yield from _branches_at(below, page.level, last and below is page.branches[-1], level, load)


class ExtentTreeWriter:
    """Writes one file's extents, keeping the old pages that hold the same."""

    def __init__(self, out: IndexSegments, load: Load, old: ExtentBranch | None) -> None:
        self._out = out
        self._load = load
        self._old = old
        self._kept: list[Iterator[ExtentBranch]] = []
        self._levels: list[list[ExtentBranch]] = []

    def write(self, extents: Iterable[Extent]) -> ExtentBranch:
        """Stream all extents (one at least) into pages; the branch of the root."""
        source = iter(extents)
        while chunk := list(islice(source, LEAF_EXTENTS)):
            self._add_leaf(chunk)
        for level, branches in enumerate(self._levels):  # grows while it runs
            if level == len(self._levels) - 1 and len(branches) == 1:
                return branches[0]
            if branches:
                self._close(level)
        raise FormatError("a file without extents cannot spill them")

    def _add_leaf(self, extents: list[Extent]) -> None:
        raw = encode_extents(extents)
        total = sum(extent.length for extent in extents)
        branch = self._keep(0, len(extents), total, _digest(0, raw))
        if branch is None:
            ref = self._out.place(lambda locate: raw)
            branch = ExtentBranch(ref, len(extents), total, _digest(0, raw))
        self._add(0, branch)

    def _add(self, level: int, branch: ExtentBranch) -> None:
        if level == len(self._levels):
            self._levels.append([])
        # Closed only when the next one comes, so that a full page alone becomes the root itself.
        if len(self._levels[level]) == FAN_OUT:
            self._close(level)
        self._levels[level].append(branch)

    def _close(self, level: int) -> None:
        branches = self._levels[level]
        self._levels[level] = []
        count, total, digest = _summary(level + 1, branches)
        kept = self._keep(level + 1, count, total, digest)
        if kept is None:
            ref = self._out.place(lambda locate: encode_extent_branches(level + 1, branches, locate))
            kept = ExtentBranch(ref, count, total, digest)
        self._add(level + 1, kept)

    def _keep(self, level: int, count: int, total: int, digest: bytes) -> ExtentBranch | None:
        """The old page at the same position, if it holds the same."""
        if self._old is None:
            return None
        if level == len(self._kept):
            self._kept.append(_branches_at(self._old, None, True, level, self._load))
        before = next(self._kept[level], None)
        same = before is not None and (before.count, before.size, before.digest) == (count, total, digest)
        return before if same else None


def spill_extents(
    entry: Entry, old: Entry | None, out: IndexSegments, load: Load
) -> tuple[Extent, ...] | SpilledExtents:
    """The extents of an entry as a leaf keeps them: all of them if few, else in pages of their own.

    Raises FormatError when they do not add up to the file's size.
    """
    if isinstance(entry.extents, SpilledExtents):
        return entry.extents
    source = iter_extents(entry, load)
    first = tuple(islice(source, MAX_INLINE_EXTENTS + 1))
    if len(first) <= MAX_INLINE_EXTENTS:
        return first
    before = None
    if old is not None and isinstance(old.extents, SpilledExtents):
        before = _promise(old.extents, old.size)
    branch = ExtentTreeWriter(out, load, before).write(chain(first, source))
    if branch.count > MAX_EXTENTS:
        raise LimitExceeded(f"{entry.path!r} has {branch.count:,} extents")
    if branch.size != entry.size:
        raise FormatError(f"{entry.path!r} has {entry.size:,} bytes but its extents do not")
    return SpilledExtents(branch.ref, branch.count, branch.digest)
