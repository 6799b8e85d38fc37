"""What differs between two versions of the core index. Pages that both have are never loaded."""

from collections.abc import Iterator
from dataclasses import dataclass

from usenetsyncd.model import Entry, PageRef, RelativePath
from usenetsyncd.wire.branches import Branch
from usenetsyncd.wire.tree_read import Load, Node, open_branch, open_root, with_lower

Difference = tuple[RelativePath, Entry | None, Entry | None]


@dataclass(frozen=True, slots=True)
class _Closed:
    """A page not opened yet: everything in it is above ``lower``."""

    branch: Branch
    level: int
    lower: RelativePath | None

    def follows(self, last: RelativePath) -> bool:
        """Whether everything in it is certainly above ``last``."""
        return self.lower is not None and last <= self.lower


def _contents(node: Node, lower: RelativePath | None) -> Iterator[Entry | _Closed]:
    yield from node.entries
    for before, branch in with_lower(node, lower):
        yield _Closed(branch, node.level - 1, before)


class _Cursor:
    """One tree from left to right, opened only where somebody looks.

    entry, page: what comes next, one of them; both None at the end.
    """

    def __init__(self, root: PageRef | None, load: Load) -> None:
        self._load = load
        self._stack: list[Iterator[Entry | _Closed]] = []
        self.entry: Entry | None = None
        self.page: _Closed | None = None
        if root is not None:
            node = open_root(root, load)
            self.page = _Closed(node.branch(root), node.level, None)

    def advance(self) -> None:
        """Leave behind what comes next."""
        self.entry = self.page = None
        while self._stack:
            head = next(self._stack[-1], None)
            if head is None:
                self._stack.pop()
                continue
            if isinstance(head, Entry):
                self.entry = head
            else:
                self.page = head
            return

    def open(self, page: _Closed) -> None:
        """Replace the page that comes next by what is in it."""
        node = open_branch(page.branch, page.level, page.lower, self._load)
        self._stack.append(_contents(node, page.lower))
        self.advance()


def diff_trees(old_root: PageRef | None, new_root: PageRef | None, load: Load) -> Iterator[Difference]:
    """(path, old entry or None, new entry or None) of each path that differs, in order.

    Loads what differs and about one page of each level beside it. Raises FormatError.
    """
    if old_root == new_root:
        return
    old, new = _Cursor(old_root, load), _Cursor(new_root, load)
    while True:
        if old.page and new.page:
            _step_pages(old, new, old.page, new.page)
        elif old.page and not (new.entry and old.page.follows(new.entry.path)):
            old.open(old.page)
        elif new.page and not (old.entry and new.page.follows(old.entry.path)):
            new.open(new.page)
        elif old.entry and (not new.entry or old.entry.path < new.entry.path):
            yield old.entry.path, old.entry, None
            old.advance()
        elif new.entry and (not old.entry or new.entry.path < old.entry.path):
            yield new.entry.path, None, new.entry
            new.advance()
        elif old.entry and new.entry:
            if old.entry != new.entry:
                yield old.entry.path, old.entry, new.entry
            old.advance()
            new.advance()
        else:
            return


def _step_pages(old: _Cursor, new: _Cursor, one: _Closed, two: _Closed) -> None:
    """Step over a page that both have, else open the one that begins first or stands higher."""
    if one.branch.ref == two.branch.ref:
        old.advance()
        new.advance()
    elif two.follows(one.branch.last):
        old.open(one)
    elif one.follows(two.branch.last) or one.level < two.level:
        new.open(two)
    else:
        old.open(one)
