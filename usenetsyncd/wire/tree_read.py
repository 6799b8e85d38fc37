"""Reading the core index: one path, a range, everything, totals, or what differs between two versions.

``load(ref)`` gives the stored bytes of one page. Pages come from outside: each is checked against what
the page above it promised, so a walk always goes forward and ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from usenetsyncd.errors import FormatError
from usenetsyncd.model import Entry, PageRef, RelativePath
from usenetsyncd.wire.branches import Branch, Totals, add_totals, count_entries, decode_branches
from usenetsyncd.wire.columns import ENTRY_TREE, PageReader, decompress_page
from usenetsyncd.wire.entries import decode_leaf

Load = Callable[[PageRef], bytes]
ROOT = RelativePath(b"")


@dataclass(frozen=True, slots=True)
class Node:
    """One page, decoded. A leaf (level 0) has entries, an inner page branches."""

    level: int
    entries: tuple[Entry, ...]
    branches: tuple[Branch, ...]

    def branch(self, ref: PageRef) -> Branch:
        """This page as a page above it would promise it."""
        if self.level:
            return Branch(ref, self.branches[-1].last, add_totals(self.branches))
        return Branch(ref, self.entries[-1].path, count_entries(self.entries))

    @property
    def first(self) -> RelativePath:
        """The first path named in this page."""
        return self.branches[0].last if self.level else self.entries[0].path


def open_page(ref: PageRef, load: Load) -> PageReader:
    """Load and decompress one page of either tree. Raises FormatError."""
    stored = load(ref)
    if len(stored) != ref.length:
        raise FormatError(f"an index page of {len(stored):,} bytes instead of {ref.length:,}")
    return PageReader(decompress_page(stored))


def open_root(ref: PageRef, load: Load) -> Node:
    """Load a page that no other page promised. Raises FormatError."""
    page = open_page(ref, load)
    if page.tree != ENTRY_TREE:
        raise FormatError("a page of extents where entries should be")
    if page.level:
        return Node(page.level, (), decode_branches(page, ref.segment))
    return Node(0, decode_leaf(page, ref.segment), ())


def open_branch(branch: Branch, level: int, lower: RelativePath | None, load: Load) -> Node:
    """Load a page of ``level`` whose paths must be above ``lower`` and keep the branch's promise.

    Raises FormatError.
    """
    node = open_root(branch.ref, load)
    if node.level != level:
        raise FormatError(f"an index page of level {node.level} where level {level} should be")
    if lower is not None and node.first <= lower:
        raise FormatError("an index page begins before its place")
    if node.branch(branch.ref) != branch:
        raise FormatError("an index page does not hold what the page above it says")
    return node


@dataclass(frozen=True, slots=True)
class PathRange:
    """Paths from ``start`` on, before ``stop`` (None: to the end)."""

    start: bytes = b""
    stop: bytes | None = None

    def covers(self, lower: bytes | None, last: bytes) -> bool:
        """Whether everything above ``lower`` up to ``last`` is inside."""
        begins = not self.start or (lower is not None and lower >= self.start)
        return begins and (self.stop is None or last < self.stop)

    def meets(self, lower: bytes | None, last: bytes) -> bool:
        """Whether something above ``lower`` up to ``last`` may be inside."""
        return last >= self.start and (self.stop is None or lower is None or lower < self.stop)


def below(prefix: bytes) -> PathRange:
    """All paths below a folder, without the folder's own."""
    return PathRange(prefix + b"/", prefix + b"0") if prefix else PathRange()


def _leaves(root: PageRef, load: Load, wanted: PathRange) -> Iterator[tuple[Entry, ...]]:
    """The entries of each leaf that may hold something wanted, in order."""
    node = open_root(root, load)
    if not node.level:
        yield node.entries
        return
    stack = [(node.level, with_lower(node, None))]
    while stack:
        level, branches = stack[-1]
        for lower, branch in branches:
            if wanted.stop is not None and lower is not None and lower >= wanted.stop:
                return
            if wanted.meets(lower, branch.last):
                node = open_branch(branch, level - 1, lower, load)
                if node.level:
                    stack.append((node.level, with_lower(node, lower)))
                    break
                yield node.entries
        else:
            stack.pop()


def with_lower(node: Node, lower: RelativePath | None) -> Iterator[tuple[RelativePath | None, Branch]]:
    """Each branch with the last path before it."""
    for branch in node.branches:
        yield lower, branch
        lower = branch.last


def read_tree(
    root: PageRef | None,
    load: Load,
    prefix: RelativePath = ROOT,
    after: RelativePath | None = None,
) -> Iterator[Entry]:
    """Entries in order of their paths, one leaf in memory at a time.

    prefix: a folder or file: its own entry and all below it. after: only paths above this one.
    Raises FormatError where a page is not as it should be, after giving all entries before it.
    """
    if root is None:
        return
    if prefix and (after is None or after < prefix):
        own = find_entry(root, load, prefix)
        if own:
            yield own
    wanted = below(prefix)
    if after is not None and after >= wanted.start:
        wanted = PathRange(after + b"\0", wanted.stop)
    for entries in _leaves(root, load, wanted):
        if entries[0].path >= wanted.start and (wanted.stop is None or entries[-1].path < wanted.stop):
            yield from entries
            continue
        for entry in entries:
            if entry.path >= wanted.start and (wanted.stop is None or entry.path < wanted.stop):
                yield entry


def find_entry(root: PageRef | None, load: Load, path: RelativePath) -> Entry | None:
    """The entry of one path; loads one page of each level."""
    if root is None:
        return None
    exact = PathRange(path, path + b"\0")
    for entries in _leaves(root, load, exact):
        for entry in entries:
            if entry.path == path:
                return entry
    return None


def tree_totals(root: PageRef | None, load: Load, prefix: RelativePath = ROOT) -> Totals:
    """Totals of everything, or of one folder or file with all below it; loads no page wholly inside."""
    if root is None:
        return Totals()
    wanted = below(prefix)
    node = open_root(root, load)
    if not prefix:
        return node.branch(root).totals
    own = find_entry(root, load, prefix)
    return _totals(node, None, load, wanted) + count_entries([own] if own else [])


def _totals(node: Node, lower: RelativePath | None, load: Load, wanted: PathRange) -> Totals:
    if not node.level:
        return count_entries([entry for entry in node.entries if wanted.covers(entry.path, entry.path)])
    totals = Totals()
    for before, branch in with_lower(node, lower):
        if wanted.covers(before, branch.last):
            totals += branch.totals
        elif wanted.meets(before, branch.last):
            totals += _totals(open_branch(branch, node.level - 1, before, load), before, load, wanted)
    return totals
