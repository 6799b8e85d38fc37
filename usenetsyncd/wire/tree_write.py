"""Writing the core index: apply sorted changes to a tree and write only the pages that differ.

Where pages end depends on the entries alone, never on the order in which they came, so two trees with
the same entries have the same borders and versions share all that did not change.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import Entry, PageRef, RelativePath, SegmentId
from usenetsyncd.wire.borders import BORDERS, Borders
from usenetsyncd.wire.branches import (
    Branch,
    Totals,
    add_totals,
    branch_weight,
    count_entries,
    encode_branches,
)
from usenetsyncd.wire.columns import MAX_LEVEL
from usenetsyncd.wire.entries import MAX_INLINE_EXTENTS, admit_entry, encode_leaf, entry_weight
from usenetsyncd.wire.extent_tree import spill_extents
from usenetsyncd.wire.segments_out import IndexSegments
from usenetsyncd.wire.tree_read import Load, Node, open_branch, open_root

Change = tuple[RelativePath, Entry | None]


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What an update did. root: None when nothing is left. totals: of the new tree.

    pages, size_bytes: what was written, into ``segments`` (in order of sealing).
    """

    root: PageRef | None
    totals: Totals
    added: int
    changed: int
    removed: int
    pages: int
    segments: tuple[SegmentId, ...]
    size_bytes: int


def update_tree(
    root: PageRef | None,
    changes: Iterable[Change],
    load: Load,
    seal_segment: Callable[[bytes], SegmentId],
    borders: Borders = BORDERS,
) -> TreeUpdate:
    """Apply changes, strictly ascending by path; None deletes that one path, and may name none.

    load: stored bytes of a page of the old tree. seal_segment: gets each finished index segment
    (1..768,000 bytes, already compressed) and returns its id.
    Memory stays flat; only pages on the way to a change are loaded, and only those that come out
    different are written. Raises FormatError for bad old pages and for entries that the format
    cannot hold (ask ``admit_entry`` before); what was sealed until then is simply not referred to.
    """
    return update_tree_into(root, changes, load, IndexSegments(seal_segment), borders)


def update_tree_into(
    root: PageRef | None,
    changes: Iterable[Change],
    load: Load,
    out: IndexSegments,
    borders: Borders = BORDERS,
) -> TreeUpdate:
    """``update_tree`` into segments that may hold other pages already; they are finished afterwards."""
    return _TreeWriter(load, out, borders).update(root, _Changes(changes))


class _Changes:
    """The changes, one ahead: ``path`` is the next one's, None at the end."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._source: Iterator[Change] = iter(changes)
        self.path: RelativePath | None = None
        self.entry: Entry | None = None
        self.advance()

    def advance(self) -> None:
        before = self.path
        self.path, self.entry = next(self._source, (None, None))
        if self.path is not None and before is not None and self.path <= before:
            raise FormatError(f"changes are out of order: {self.path!r} after {before!r}")
        if self.entry is not None and self.entry.path != self.path:
            raise FormatError(f"the entry of {self.path!r} names {self.entry.path!r}")

    def before(self, path: RelativePath) -> bool:
        return self.path is not None and self.path < path

    def reach(self, last: RelativePath, rightmost: bool) -> bool:
        """Whether the next change falls into a page that ends with ``last``."""
        return self.path is not None and (rightmost or self.path <= last)


class _TreeWriter:
    """Entries and kept branches go in from the left; each level closes its pages where they end."""

    def __init__(self, load: Load, out: IndexSegments, borders: Borders) -> None:
        self._load = load
        self._borders = borders
        self._out = out
        self._leaf: list[Entry] = []
        self._weights = [0] * (MAX_LEVEL + 2)
        self._inner: list[list[Branch]] = [[] for _ in range(MAX_LEVEL + 2)]  # [0] stays empty
        self._received = [0] * (MAX_LEVEL + 2)
        # The old page from whose beginning a level is being filled: written again only if it differs.
        self._old: list[tuple[Branch, Node] | None] = [None] * (MAX_LEVEL + 2)
        self._changes = _Changes(())
        self._added = self._changed = self._removed = 0

    def update(self, root: PageRef | None, changes: _Changes) -> TreeUpdate:
        self._changes = changes
        if root is not None:
            node = open_root(root, self._load)
            self._walk(node.branch(root), node, rightmost=True)
        while changes.path is not None:
            self._apply(None)
        top = self._finish()
        self._out.finish()
        return TreeUpdate(
            self._out.absolute(top.ref) if top else None,
            top.totals if top else Totals(),
            self._added,
            self._changed,
            self._removed,
            self._out.pages,
            tuple(self._out.sealed),
            self._out.size_bytes,
        )

    # -- the old tree, from left to right --

    def _aligned(self, level: int) -> bool:
        """Whether a page of this level can begin here, at every level up to it."""
        return not self._leaf and not any(self._inner[: level + 1])

    def _walk(self, branch: Branch, node: Node, rightmost: bool) -> None:
        if self._aligned(node.level):
            self._old[node.level] = branch, node
        if not node.level:
            self._merge(node.entries, rightmost)
            return
        level = node.level - 1
        lower: RelativePath | None = None
        for child in node.branches:
            last = rightmost and child is node.branches[-1]
            if not self._changes.reach(child.last, last) and self._aligned(level):
                self._add_branch(level + 1, child)
            else:
                self._walk(child, open_branch(child, level, lower, self._load), last)
            lower = child.last

    def _merge(self, entries: tuple[Entry, ...], rightmost: bool) -> None:
        changes = self._changes
        for entry in entries:
            while changes.before(entry.path):
                self._apply(None)
            if changes.path == entry.path:
                self._apply(entry)
            else:
                self._add_entry(entry)
        while rightmost and changes.path is not None:
            self._apply(None)

    def _apply(self, old: Entry | None) -> None:
        """Take the next change; ``old`` is the entry that it replaces."""
        new = self._changes.entry
        if new is not None:
            extents = new.extents
            if not isinstance(extents, tuple) or len(extents) > MAX_INLINE_EXTENTS:
                new = replace(new, extents=spill_extents(new, old, self._out, self._load))
            new = admit_entry(new)
            self._add_entry(new)
        if old is None:
            self._added += new is not None
        elif new is None:
            self._removed += 1
        elif new != old:
            self._changed += 1
        self._changes.advance()

    # -- the new tree, from left to right --

    def _add_entry(self, entry: Entry) -> None:
        leaf = self._leaf
        leaf.append(entry)
        weight = self._weights[0] = self._weights[0] + entry_weight(entry)
        if self._borders.ends_leaf(len(leaf), entry.path, weight):
            self._close_leaf()

    def _close_leaf(self) -> None:
        entries = tuple(self._leaf)
        old, self._old[0] = self._old[0], None
        self._leaf.clear()
        self._weights[0] = 0
        if old and old[1].entries == entries:
            self._add_branch(1, old[0])
            return
        ref = self._out.place(lambda locate: encode_leaf(entries, locate))
        self._add_branch(1, Branch(ref, entries[-1].path, count_entries(entries)))

    def _add_branch(self, level: int, branch: Branch) -> None:
        """Add a page of the level below ``level``."""
        branches = self._inner[level]
        branches.append(branch)
        self._received[level] += 1
        weight = self._weights[level] = self._weights[level] + branch_weight(branch)
        if self._borders.ends_inner(level, len(branches), branch.last, weight):
            self._close_inner(level)

    def _close_inner(self, level: int) -> None:
        branches = tuple(self._inner[level])
        old, self._old[level] = self._old[level], None
        self._inner[level].clear()
        self._weights[level] = 0
        if old and old[1].branches == branches:
            self._add_branch(level + 1, old[0])
            return
        ref = self._out.place(lambda locate: encode_branches(level, branches, locate))
        self._add_branch(level + 1, Branch(ref, branches[-1].last, add_totals(branches)))

    def _finish(self) -> Branch | None:
        """Close what is open, up to the level of which there is one page only: the root."""
        if self._leaf:
            self._close_leaf()
        for level in range(1, MAX_LEVEL + 2):
            if not any(islice(self._received, level + 1, None)) and self._received[level] <= 1:
                return self._sink(self._inner[level][0]) if self._inner[level] else None
            if self._inner[level]:
                self._close_inner(level)
        raise LimitExceeded(f"the index would need more than {MAX_LEVEL + 1} levels")

    def _sink(self, top: Branch) -> Branch:
        """A kept page may have been one of many and be alone now: a root has two branches at least."""
        while not self._out.is_new(top.ref):
            node = open_root(top.ref, self._load)
            if len(node.branches) != 1:
                break
            top = node.branches[0]
        return top
