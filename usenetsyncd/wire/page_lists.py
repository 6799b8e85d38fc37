"""Lists beside the tree of entries: pages of rows under one root page, which is all that an append rewrites but the last.

Stripes and overrides are such lists; what a row is, and how many a page holds, is theirs to say.
Source: docs/format.md 16.2 (lists); vectors/lists.json.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import PageRef, SegmentId
from usenetsyncd.wire.columns import Locate, PageReader, PageWriter
from usenetsyncd.wire.segments_out import IndexSegments
from usenetsyncd.wire.tree_read import Load, open_page

MAX_LEAVES = 32_768

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ListBranch:
    """A page of rows as the root page promises it."""

    ref: PageRef
    count: int


@dataclass(frozen=True, slots=True)
class ListFormat(Generic[Row]):
    """One kind of list. tree: its number in the header of its pages. most: rows that a reader takes in one page.

    full: rows after which a writer begins the next page. arrange: puts the rows of one page in the order it wants.
    """

    tree: int
    most: int
    full: int
    write_rows: Callable[[PageWriter, Sequence[Row]], None]
    read_rows: Callable[[PageReader], list[Row]]
    arrange: Callable[[Iterable[Row]], list[Row]] = list

    def encode_rows(self, rows: Sequence[Row]) -> bytes:
        """A page of rows before compression."""
        page = PageWriter(self.tree, 0, len(rows))
        self.write_rows(page, rows)
        return page.raw()

    def decode_rows(self, page: PageReader) -> list[Row]:
        """The rows of a page of level 0. Raises FormatError."""
        if page.count > self.most:
            raise LimitExceeded(f"a page of {page.count:,} rows in a list")
        rows = self.read_rows(page)
        page.finish()
        return rows

    def encode_branches(self, branches: Sequence[ListBranch], locate: Locate) -> bytes:
        """A root page before compression."""
        page = PageWriter(self.tree, 1, len(branches))
        page.column([branch.count for branch in branches])
        page.refs([branch.ref for branch in branches], locate)
        return page.raw()

    def decode_branches(self, page: PageReader, home: SegmentId) -> list[ListBranch]:
        """The branches of a root page that stands in segment ``home``. Raises FormatError."""
        if page.count > MAX_LEAVES:
            raise LimitExceeded(f"a list of {page.count:,} pages")
        counts = page.column(page.count)
        if not min(counts):
            raise FormatError("a list promises an empty page")
        refs = page.refs(page.count, home)
        page.finish()
        if len({(ref.segment, ref.offset) for ref in refs}) != len(refs):
            # Or one page of a megabyte would be read as often as a root page can name it.
            raise FormatError("a list names one page twice")
        return list(map(ListBranch, refs, counts))

    # -- reading -------------------------------------------------------------------------

    def open_root(self, root: PageRef, load: Load) -> list[ListBranch]:
        """The pages of a list, in order. Raises FormatError."""
        page = open_page(root, load)
        if page.tree != self.tree or page.level != 1:
            raise FormatError("what stands where a list should begin is no root page of it")
        return self.decode_branches(page, root.segment)

    def open_leaf(self, branch: ListBranch, load: Load) -> list[Row]:
        """The rows of one page, held to what the root page says of it. Raises FormatError."""
        page = open_page(branch.ref, load)
        if page.tree != self.tree or page.level != 0 or page.count != branch.count:
            raise FormatError("a page of a list does not hold what its root page says")
        return self.decode_rows(page)

    def read(self, root: PageRef | None, load: Load) -> Iterator[Row]:
        """All rows, one page in memory at a time. Raises FormatError."""
        if root is not None:
            for branch in self.open_root(root, load):
                yield from self.open_leaf(branch, load)

    # -- writing -------------------------------------------------------------------------

    def append(
        self, root: PageRef | None, rows: Iterable[Row], load: Load, out: IndexSegments
    ) -> PageRef | None:
        """A list with more rows: the last page is filled up, new ones follow, all others stay where they are.

        One page of rows is in memory at a time. Returns the new root, to be made absolute once ``out`` is finished; ``root`` itself where nothing is added.
        Raises FormatError for bad old pages, LimitExceeded for a row or a list that the format cannot hold.
        """
        source = iter(rows)
        first = list(islice(source, 1))
        if not first:
            return root
        branches = [] if root is None else self.open_root(root, load)
        unfilled: list[Row] = []
        if branches and branches[-1].count < self.full:
            unfilled = self.open_leaf(branches.pop(), load)
        stream = chain(unfilled, first, source)
        while part := self.arrange(islice(stream, self.full)):
            ref = out.place(lambda locate, part=part: self.encode_rows(part))  # type: ignore[misc]
            branches.append(ListBranch(ref, len(part)))
        if len(branches) > MAX_LEAVES:
            raise LimitExceeded(f"a list would need more than {MAX_LEAVES:,} pages")
        return out.place(lambda locate: self.encode_branches(branches, locate))
