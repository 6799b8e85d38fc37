"""From a published index to the plan of a restore: every entry is judged for itself, what is wrong is set aside.

The index is the word of somebody who may wish us ill: paths, sizes, link targets, numbers of parts and pages are
held against limits here, before anything is made or much is remembered.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from usenetsyncd.errors import ArticleMissing, FormatError, LimitExceeded, NotFound, UnsafePath
from usenetsyncd.flows.index_reader import IndexReader, LostPage, surviving_entries
from usenetsyncd.flows.restore_plan import Part, RestorePlan
from usenetsyncd.flows.restore_rows import packed_attributes
from usenetsyncd.folders.attributes import unpack_attributes
from usenetsyncd.folders.safety import check_path
from usenetsyncd.model import (
    SEGMENT_SIZE_BYTES,
    Entry,
    EntryKind,
    Extent,
    PageRef,
    RelativePath,
    SpilledExtents,
)
from usenetsyncd.wire.pages import iter_extents

BATCH_ENTRIES = 2_000
BATCH_BYTES = 4_000_000
HUGE_PARTS = 10_000
PART_BYTES = 200  # about what one waiting part takes in memory
# A few pages of extents can name hundreds of millions of parts. What a plan may cost is bounded by what the disk
# can hold; a real folder needs about one part for each file and one for each 768,000 bytes.
PARTS_AT_LEAST = 200_000
PARTS_PER_ENTRY = 4
BYTES_PER_PART = 400_000


class PlanMaker:
    """Fills a plan from an index. Single use."""

    def __init__(self, plan: RestorePlan, index: IndexReader, capacity_bytes: int) -> None:
        """capacity_bytes: of the filesystem that is restored to."""
        self._plan = plan
        self._index = index
        self._capacity_bytes = capacity_bytes
        self._parts_left = PARTS_AT_LEAST + capacity_bytes // BYTES_PER_PART
        self._accepted: list[tuple[Entry, list[Part]]] = []
        self._rejected: list[tuple[Entry, str]] = []
        self._waiting_bytes = 0
        self._in_the_way = _InTheWay()

    def read(
        self, root: PageRef | None, paths: tuple[RelativePath, ...], check_stop: Callable[[], None]
    ) -> None:
        """Plan ``paths`` and everything below them, or all. check_stop: called often, raises to end it.

        Raises NotFound, NewsError, IndexLost; FormatError or ArticleMissing when the root page is not to be had.
        """
        if (
            not self.take_all(self._entries(root, paths), check_stop)
            and paths
            and not self._plan.failed_count()
        ):
            raise NotFound("nothing in this version has such a path")

    def take_all(
        self,
        entries: Iterable[Entry],
        check_stop: Callable[[], None],
        and_then: Callable[[], Iterable[Entry]] = lambda: (),
    ) -> bool:
        """Plan these entries, which come in the order of their paths; whether there were any.

        and_then: more entries, asked for when the first are all in the plan.
        """
        self._plan.restart()
        found = False
        for entry in entries:
            check_stop()
            found = True
            self._take(entry, check_stop)
        self._flush()
        for entry in and_then():
            check_stop()
            self._take(entry, check_stop)
        self._flush()
        self._plan.mark_complete()
        return found

    def _entries(self, root: PageRef | None, paths: tuple[RelativePath, ...]) -> Iterator[Entry]:
        for prefix in drop_nested(paths or (RelativePath(b""),)):
            yield from surviving_entries(root, self._index.load, prefix, self._lose)

    def _lose(self, page: LostPage) -> None:
        self._plan.lose(page)

    def _take(self, entry: Entry, check_stop: Callable[[], None]) -> None:
        self._parts_left += PARTS_PER_ENTRY
        try:
            check_entry(entry, self._capacity_bytes)
            self._in_the_way.check(entry)
            if isinstance(entry.extents, SpilledExtents):
                self._take_huge(entry, check_stop)
                return
            parts = list(self._parts(entry, check_stop))
        except (FormatError, ArticleMissing) as error:
            self._rejected.append((entry, str(error)))
            self._waiting_bytes += len(entry.path)
        else:
            self._accepted.append((entry, parts))
            self._waiting_bytes += len(entry.path) + len(entry.target) + PART_BYTES * len(parts)
            self._waiting_bytes += sum(len(name) + len(content) for name, content in entry.xattrs)
        if self._waiting_bytes > BATCH_BYTES or len(self._accepted) + len(self._rejected) > BATCH_ENTRIES:
            self._flush()

    def _flush(self) -> None:
        self._plan.add(self._accepted)
        self._plan.reject(self._rejected)
        self._accepted, self._rejected, self._waiting_bytes = [], [], 0

    def _take_huge(self, entry: Entry, check_stop: Callable[[], None]) -> None:
        """A file of more parts than should be in memory at once."""
        self._flush()
        item = self._plan.add([(entry, ())])
        parts = self._parts(entry, check_stop)
        try:
            while some := list(islice(parts, HUGE_PARTS)):
                self._plan.add_parts(item, some)
        except (FormatError, ArticleMissing) as error:
            self._plan.give_up(item, str(error))

    def _parts(self, entry: Entry, check_stop: Callable[[], None]) -> Iterator[Part]:
        """The extents of a file, equal neighbours as one. Raises FormatError, LimitExceeded, also after some."""
        if isinstance(entry.extents, tuple) and len(entry.extents) == 1:
            self._parts_left -= 1
            (only,) = entry.extents
            if only.length != entry.size:
                raise FormatError(f"its part has {only.length:,} bytes, not {entry.size:,}")
            yield Part(only.segment, 0, only.offset, only.length, 1)
            return
        position = 0
        for extent, times in in_runs(iter_extents(entry, self._index.load), check_stop):
            self._parts_left -= 1
            if self._parts_left < 0:
                raise LimitExceeded("the index names more parts than this disk could ever hold")
            yield Part(extent.segment, position, extent.offset, extent.length, times)
            position += times * extent.length
        if position != entry.size:
            raise FormatError(f"the parts add up to {position:,} bytes, not to {entry.size:,}")


class _InTheWay:
    """Finds entries below something that is no folder; entries come in order of their paths."""

    def __init__(self) -> None:
        self._chain: list[Entry] = []  # each could still be above what comes next

    def check(self, entry: Entry) -> None:
        """Raises UnsafePath for an entry below a file or symbolic link of the same index."""
        # Everything below b"a" comes before b"a0", and so does b"a-b", which is not below it.
        while self._chain and entry.path >= self._chain[-1].path + b"0":
            self._chain.pop()
        for above in self._chain:
            if entry.path.startswith(above.path + b"/"):
                kind = "symbolic link" if above.kind is EntryKind.SYMLINK else "file"
                raise UnsafePath(f"{os.fsdecode(above.path)!r} above it is a {kind}, not a folder")
        if entry.kind is not EntryKind.FOLDER:
            self._chain.append(entry)


def in_runs(extents: Iterable[Extent], check_stop: Callable[[], None]) -> Iterator[tuple[Extent, int]]:
    """Each extent with how many times it stands in a row: a file of zeros is one extent, many times."""
    current: Extent | None = None
    times = 0
    for number, extent in enumerate(extents):
        if number % 10_000 == 9_999:
            check_stop()
        if extent == current:
            times += 1
            continue
        if current is not None:
            yield current, times
        current, times = extent, 1
    if current is not None:
        yield current, times


def check_entry(entry: Entry, capacity_bytes: int) -> None:
    """Raises FormatError where an entry contradicts itself or must not be made."""
    if entry.path:
        check_path(entry.path)
    elif entry.kind is not EntryKind.FOLDER:
        raise UnsafePath("the root of a folder must be a folder")
    if entry.kind is EntryKind.FILE and entry.size > capacity_bytes and not entry.sparse:
        raise LimitExceeded(f"it has {entry.size:,} bytes, more than the whole disk")
    if entry.xattrs:
        unpack_attributes(packed_attributes(entry))  # more than any filesystem keeps is refused
    if isinstance(entry.extents, tuple):
        for extent in entry.extents:
            if not 0 < extent.length <= SEGMENT_SIZE_BYTES - extent.offset:
                raise LimitExceeded("a part lies outside of its segment")


def capacity_of(target: Path) -> int:
    """Bytes of the filesystem on which ``target`` is, or will be made."""
    for place in (target, *target.absolute().parents):
        try:
            room = os.statvfs(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return room.f_blocks * room.f_frsize
    return 0


def drop_nested(paths: Iterable[RelativePath]) -> list[RelativePath]:
    """Sorted, without those that lie below another."""
    kept: list[RelativePath] = []
    above: set[bytes] = set()
    for path in sorted(set(paths)):
        parts = path.split(b"/")
        if b"" in above or any(b"/".join(parts[:n]) in above for n in range(1, len(parts))):
            continue
        kept.append(path)
        above.add(path)
    return kept
