"""Inner pages of the core index: references to the pages below, with their last paths and totals.

Source: docs/format.md, "Core index pages".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from usenetsyncd.errors import LimitExceeded
from usenetsyncd.model import Entry, EntryKind, PageRef, RelativePath, SegmentId
from usenetsyncd.wire.columns import ENTRY_TREE, Locate, PageReader, PageWriter

MAX_BRANCHES = 1024


@dataclass(frozen=True, slots=True)
class Totals:
    """What a subtree holds. bytes: of the files, each hard link counted."""

    files: int = 0
    folders: int = 0
    symlinks: int = 0
    bytes: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.files + other.files,
            self.folders + other.folders,
            self.symlinks + other.symlinks,
            self.bytes + other.bytes,
        )

    @property
    def entries(self) -> int:
        """Files, folders and symlinks together."""
        return self.files + self.folders + self.symlinks


@dataclass(frozen=True, slots=True)
class Branch:
    """A page as the page above it promises: its last path and the totals of all below it."""

    ref: PageRef
    last: RelativePath
    totals: Totals


def count_entries(entries: Sequence[Entry]) -> Totals:
    """The totals of a leaf."""
    kinds = [entry.kind for entry in entries]
    return Totals(
        kinds.count(EntryKind.FILE),
        kinds.count(EntryKind.FOLDER),
        kinds.count(EntryKind.SYMLINK),
        sum([entry.size for entry in entries]),
    )


def add_totals(branches: Iterable[Branch]) -> Totals:
    """The totals of an inner page."""
    return sum((branch.totals for branch in branches), Totals())


def branch_weight(branch: Branch) -> int:
    """An upper bound of a branch's bytes in a page before compression."""
    return 96 + len(branch.last)


def encode_branches(level: int, branches: Sequence[Branch], locate: Locate) -> bytes:
    """An inner page of level 1..15 before compression."""
    page = PageWriter(ENTRY_TREE, level, len(branches))
    page.paths([branch.last for branch in branches])
    page.column([branch.totals.files for branch in branches])
    page.column([branch.totals.folders for branch in branches])
    page.column([branch.totals.symlinks for branch in branches])
    page.column([branch.totals.bytes for branch in branches])
    page.refs([branch.ref for branch in branches], locate)
    return page.raw()


def decode_branches(page: PageReader, home: SegmentId) -> tuple[Branch, ...]:
    """The branches of an inner page that stands in segment ``home``. Raises FormatError."""
    if page.count > MAX_BRANCHES:
        raise LimitExceeded(f"an index page of {page.count:,} branches")
    paths = page.paths()
    columns = [page.column(page.count) for _ in range(4)]
    refs = page.refs(page.count, home)
    page.finish()
    return tuple(map(Branch, refs, paths, map(Totals, *columns)))
