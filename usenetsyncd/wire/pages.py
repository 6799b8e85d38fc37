"""The core index: a copy-on-write search tree over paths, in pages inside index segments.

This is the front; the parts are ``columns`` (building blocks), ``entries`` (leaves), ``branches`` (inner
pages), ``extent_tree`` (extents of huge files), ``tree_write`` and ``tree_read``.
Source: docs/format.md, "Core index pages".
"""

from collections.abc import Iterator

from usenetsyncd.model import PageRef, RelativePath
from usenetsyncd.wire.branches import Branch, Totals
from usenetsyncd.wire.entries import admit_entry
from usenetsyncd.wire.extent_tree import extent_pages, iter_extents
from usenetsyncd.wire.tree_diff import diff_trees
from usenetsyncd.wire.tree_read import (
    Load,
    find_entry,
    open_branch,
    open_root,
    read_tree,
    tree_totals,
    with_lower,
)
from usenetsyncd.wire.tree_write import Change, TreeUpdate, update_tree, update_tree_into

__all__ = [
    "Change",
    "Load",
    "Totals",
    "TreeUpdate",
    "admit_entry",
    "diff_trees",
    "find_entry",
    "iter_extents",
    "read_tree",
    "tree_totals",
    "update_tree",
    "update_tree_into",
    "walk_pages",
]


def walk_pages(root: PageRef | None, load: Load) -> Iterator[PageRef]:
    """Every page of a tree, those of extents too, each before what is below it.

    The set of their segments is what a version needs to stay readable. Raises FormatError.
    """
    if root is None:
        return
    node = open_root(root, load)
    stack: list[tuple[Branch, int, RelativePath | None]] = [(node.branch(root), node.level, None)]
    while stack:
        branch, level, lower = stack.pop()
        yield branch.ref
        node = open_branch(branch, level, lower, load)
        for entry in node.entries:
            yield from extent_pages(entry, load)
        stack += [(below, level - 1, before) for before, below in with_lower(node, lower)][::-1]
