"""Which versions are kept, and which segments nobody has to look after any more because of it.

Keeping decides what is checked and repaired. Nothing is deleted on Usenet: a version that is not kept can be restored for
as long as servers have its articles.
"""

import datetime as dt
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Protocol

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.errors import NotFound
from usenetsyncd.model import ArticleKind, Entry, PageRef
from usenetsyncd.wire.pages import iter_extents
from usenetsyncd.wire.tree_diff import diff_trees
from usenetsyncd.wire.tree_read import open_root

BATCH = 2_000
# Of index pages; neighbours stand together.
SEGMENTS_HELD = 8


class KeepRule(Protocol):
    """As the settings have it: the newest ``last``, then the newest of so many days, weeks and months that have any."""

    @property
    def last(self) -> int: ...
    @property
    def daily(self) -> int: ...
    @property
    def weekly(self) -> int: ...
    @property
    def monthly(self) -> int: ...


def kept_versions(
    moments: Sequence[tuple[int, float]], keep: KeepRule, zone: dt.tzinfo | None = None
) -> set[int]:
    """The versions that are kept. moments: (version, seconds since 1970), the newest first. zone: of days; local."""
    kept = {version for version, _ in moments[: max(1, keep.last)]}
    for count, period in ((keep.daily, _day), (keep.weekly, _week), (keep.monthly, _month)):
        seen: set[tuple[int, ...]] = set()
        for version, at in moments:
            if len(seen) >= count:
                break
            span = period(dt.datetime.fromtimestamp(at, zone))
            if span not in seen:
                seen.add(span)
                kept.add(version)
    return kept


def _day(at: dt.datetime) -> tuple[int, ...]:
    return at.year, at.month, at.day


def _week(at: dt.datetime) -> tuple[int, ...]:
    return tuple(at.isocalendar()[:2])


def _month(at: dt.datetime) -> tuple[int, ...]:
    return at.year, at.month


def retire(catalogue: Catalogue, folder_row: int, kept: set[int], check_stop: Callable[[], None]) -> int:
    """Work out anew which segments only versions need that are not kept; returns how many those are.

    Reads what versions that are not kept have beside the next kept one, and each page of the kept ones once. Where the
    catalogue has a page no more nothing retires: what is not known to be useless is looked after. check_stop: called
    often, raises to end it; what had retired is in service then.
    """
    catalogue.retirement.begin(folder_row).result()
    versions = [number for number, _ in catalogue.retirement.moments(folder_row)]
    if kept.issuperset(versions):
        return 0
    pages = _Pages(catalogue, folder_row, check_stop)
    with tempfile.TemporaryDirectory(prefix="usenetsyncd-") as place:
        scratch = sqlite3.connect(Path(place) / "keep", isolation_level=None)
        with closing(scratch):
            scratch.executescript(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;"
                "CREATE TABLE useless (kind INTEGER, seg_id BLOB, PRIMARY KEY (kind, seg_id)) WITHOUT ROWID"
            )
            try:
                _gather(scratch, catalogue, folder_row, versions, kept, pages)
                for some in _batches(pages.needed(_roots(catalogue, folder_row, sorted(kept)))):
                    scratch.executemany("DELETE FROM useless WHERE kind = ? AND seg_id = ?", some)
            except NotFound:
                return 0
            for kind in (ArticleKind.DATA, ArticleKind.INDEX):
                rows = scratch.execute("SELECT seg_id FROM useless WHERE kind = ?", (int(kind),))
                while found := rows.fetchmany(BATCH):
                    check_stop()
                    catalogue.retirement.propose(folder_row, kind, [row[0] for row in found]).result()
    return catalogue.retirement.conclude(folder_row).result()


_Segment = tuple[int, bytes]


def _gather(
    scratch: sqlite3.Connection,
    catalogue: Catalogue,
    folder_row: int,
    versions: Sequence[int],
    kept: set[int],
    pages: "_Pages",
) -> None:
    """What the versions that are not kept have and the next newer kept one has not at the same path."""
    newer: PageRef | None = None
    for number in versions:
        root = catalogue.versions.get(folder_row, number).root
        if number in kept:
            newer = root
            continue
        for some in _batches(pages.only_in(root, newer)):
            scratch.executemany("INSERT OR IGNORE INTO useless VALUES (?, ?)", some)


def _roots(catalogue: Catalogue, folder_row: int, versions: Iterable[int]) -> Iterator[PageRef]:
    for number in versions:
        root = catalogue.versions.get(folder_row, number).root
        if root is not None:
            yield root


def _batches(segments: Iterable[_Segment]) -> Iterator[list[_Segment]]:
    source = iter(segments)
    while some := list(islice(source, BATCH)):
        yield some


class _Pages:
    """Reads pages that the catalogue holds, and tells which index segments they stand in."""

    def __init__(self, catalogue: Catalogue, folder_row: int, check_stop: Callable[[], None]) -> None:
        self._catalogue = catalogue
        self._folder_row = folder_row
        self._check_stop = check_stop
        self._held: dict[bytes, bytes] = {}
        self._loaded: set[bytes] = set()

    def load(self, ref: PageRef) -> bytes:
        """Raises NotFound where the catalogue has it no more."""
        self._check_stop()
        self._loaded.add(ref.segment)
        content = self._held.get(ref.segment)
        if content is None:
            content = self._catalogue.segments.find_blob(self._folder_row, ArticleKind.INDEX, ref.segment)
            if content is None:
                raise NotFound("a page of the index is not in the catalogue")
            while len(self._held) >= SEGMENTS_HELD:
                self._held.pop(next(iter(self._held)))
            self._held[ref.segment] = content
        return content[ref.offset : ref.offset + ref.length]

    def only_in(self, root: PageRef | None, other: PageRef | None) -> Iterator[_Segment]:
        """Segments of the entries of one tree that another has not, and of the pages that were read for it."""
        for _, entry, _ in diff_trees(root, other, self.load):
            if entry is not None:
                yield from self._of(entry)
        if root is not None:
            self._loaded.add(root.segment)
        yield from self._pages_read()

    def needed(self, roots: Iterable[PageRef]) -> Iterator[_Segment]:
        """Segments of everything in these trees, each page read once."""
        seen: set[tuple[bytes, int]] = set()
        for root in roots:
            waiting = [root]
            while waiting:
                ref = waiting.pop()
                if (ref.segment, ref.offset) in seen:
                    continue
                seen.add((ref.segment, ref.offset))
                node = open_root(ref, self.load)
                for entry in node.entries:
                    yield from self._of(entry)
                waiting += [branch.ref for branch in node.branches]
                yield from self._pages_read()

    def _of(self, entry: Entry) -> Iterator[_Segment]:
        for extent in iter_extents(entry, self.load):
            yield int(ArticleKind.DATA), extent.segment

    def _pages_read(self) -> Iterator[_Segment]:
        loaded, self._loaded = self._loaded, set()
        for segment in loaded:
            yield int(ArticleKind.INDEX), segment
