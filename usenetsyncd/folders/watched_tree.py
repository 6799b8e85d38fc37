"""Which directory each kernel watch stands for, for all folders on one kernel queue."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from usenetsyncd.errors import RootMissing
from usenetsyncd.folders import inotify
from usenetsyncd.folders.ignore import IgnoreRules
from usenetsyncd.folders.inotify import Inotify
from usenetsyncd.folders.root import ROOT_PATH, FolderRoot
from usenetsyncd.folders.scan import join
from usenetsyncd.model import RelativePath

UNWATCHED_LISTED_LIMIT = 10_000
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
_OUT_OF_WATCHES = frozenset({errno.ENOSPC, errno.ENOMEM})


@dataclass(eq=False, slots=True)
class Tree:
    """One watched folder. root_id: (device, inode) of its root when it was last walked."""

    key: str
    path: bytes
    ignore: IgnoreRules
    root_id: tuple[int, int] | None = None
    root_watch: int = -1
    watched: int = 0
    unwatched_count: int = 0
    # Tops of what is not watched: below them nothing is.
    unwatched: list[RelativePath] = field(default_factory=list)
    missing: str | None = None
    out_of_watches: bool = False

    @property
    def total(self) -> int:
        """Directories of the tree, watched or not."""
        return self.watched + self.unwatched_count

    @property
    def problem(self) -> str | None:
        """What a person should know, None when every directory is watched."""
        if self.missing is not None or not self.unwatched_count:
            return self.missing
        told = f"{self.watched:,} of {self.total:,} directories watched"
        return f"{told}: raise the sysctl {inotify.WATCHES_SYSCTL}" if self.out_of_watches else told


class WatchTable:
    """Watches of all trees. Belongs to one thread.

    drain: called after each directory of a walk, to take events out of the kernel's queue before it
    overflows.
    """

    def __init__(self, inotify: Inotify, drain: Callable[[], None]) -> None:
        self._inotify = inotify
        self._drain = drain
        self._owners: dict[int, tuple[Tree, RelativePath]] = {}
        # One inode has one watch on a queue, so a directory that is in two folders is shared.
        self._shared: dict[int, dict[Tree, RelativePath]] = {}

    def owners(self, watch: int) -> Iterator[tuple[Tree, RelativePath]]:
        """Every (folder, directory) that a watch stands for."""
        owner = self._owners.get(watch)
        if owner is not None:
            yield owner
            if self._shared:
                yield from self._shared.get(watch, {}).items()

    def walk_all(self, tree: Tree) -> None:
        """Watch a whole tree, and no longer what is not in it any more. Raises RootMissing."""
        tree.unwatched_count = 0
        tree.unwatched.clear()
        tree.out_of_watches = False
        try:
            seen = self.walk(tree, ROOT_PATH, lambda path: None)
        except RootMissing:
            self.drop(tree)
            raise
        for watch in [watch for watch in self._watches_of(tree) if watch not in seen]:
            self._disown(watch, tree)

    def walk(self, tree: Tree, start: RelativePath, met: Callable[[RelativePath], None]) -> set[int]:
        """Watch ``start`` and all directories below it, each before it is listed. Returns the watches.

        met: told of every directory. Raises RootMissing.
        """
        seen: set[int] = set()
        ahead: list[tuple[RelativePath, bool]] = [(start, False)]
        with FolderRoot(tree.path) as root:
            if not start:
                status = os.fstat(root.fd)
                tree.root_id = (status.st_dev, status.st_ino)
            while ahead:
                path, under_unwatched = ahead.pop()
                below, watch = self._walk_one(tree, root, path, under_unwatched)
                if below is None:
                    continue
                met(path)
                if watch is not None:
                    seen.add(watch)
                ahead.extend((name, watch is None) for name in below)
                self._drain()
        return seen

    def drop(self, tree: Tree) -> None:
        """Watch nothing of a tree any more."""
        for watch in self._watches_of(tree):
            self._disown(watch, tree)
        tree.root_watch = -1

    def drop_below(self, tops: set[tuple[Tree, RelativePath]]) -> None:
        """Forget directories that were moved out of their tree, with all below them."""
        doomed = [
            (watch, tree)
            for watch in self._owners
            for tree, path in self.owners(watch)
            if any((tree, above) in tops for above in _self_and_above(path))
        ]
        for watch, tree in doomed:
            self._disown(watch, tree)

    def ended(self, watch: int) -> None:
        """The kernel has dropped a watch by itself: its directory is gone."""
        for tree, _ in self.owners(watch):
            tree.watched -= 1
            tree.out_of_watches = False
        self._owners.pop(watch, None)
        self._shared.pop(watch, None)

    def _walk_one(
        self, tree: Tree, root: FolderRoot, path: RelativePath, under_unwatched: bool
    ) -> tuple[list[RelativePath] | None, int | None]:
        """Watch one directory, then list it. Returns its sub-directories (None: gone) and its watch."""
        try:
            fd = root.open_directory(path)
        except OSError as problem:
            if problem.errno not in _GONE:
                self._unwatched(tree, path, under_unwatched)
            return None, None
        watch = None
        try:
            watch = self._watch(tree, path, fd)
            if watch is None:
                self._unwatched(tree, path, under_unwatched)
            with os.scandir(fd) as listing:
                names = [os.fsencode(entry.name) for entry in listing if entry.is_dir(follow_symlinks=False)]
        except OSError as problem:
            if problem.errno in _GONE:
                return None, None
            names = []
        finally:
            os.close(fd)
        below = [join(path, name) for name in names]
        if tree.ignore:
            below = [inner for inner in below if not tree.ignore.matches(inner, True)]
        return below, watch

    def _watch(self, tree: Tree, path: RelativePath, fd: int) -> int | None:
        if tree.out_of_watches:
            return None
        try:
            watch = self._inotify.add(fd)
        except OSError as problem:
            if problem.errno in _GONE:
                raise
            tree.out_of_watches = problem.errno in _OUT_OF_WATCHES
            return None
        self._own(watch, tree, path)
        if not path:
            tree.root_watch = watch
        return watch

    @staticmethod
    def _unwatched(tree: Tree, path: RelativePath, under_unwatched: bool) -> None:
        tree.unwatched_count += 1
        if not under_unwatched and len(tree.unwatched) < UNWATCHED_LISTED_LIMIT:
            tree.unwatched.append(path)

    def _own(self, watch: int, tree: Tree, path: RelativePath) -> None:
        owner = self._owners.get(watch)
        if owner is None:
            self._owners[watch] = (tree, path)
            tree.watched += 1
        elif owner[0] is tree:
            self._owners[watch] = (tree, path)
        else:
            others = self._shared.setdefault(watch, {})
            tree.watched += tree not in others
            others[tree] = path

    def _disown(self, watch: int, tree: Tree) -> None:
        tree.watched -= 1
        others = self._shared.get(watch, {})
        if self._owners[watch][0] is not tree:
            del others[tree]
        elif others:
            self._owners[watch] = others.popitem()
        else:
            del self._owners[watch]
            self._inotify.remove(watch)
        if not others:
            self._shared.pop(watch, None)

    def _watches_of(self, tree: Tree) -> list[int]:
        own = [watch for watch, (owner, _) in self._owners.items() if owner is tree]
        return own + [watch for watch, others in self._shared.items() if tree in others]


def _self_and_above(path: RelativePath) -> Iterator[RelativePath]:
    yield path
    at = path.rfind(b"/")
    while at > 0:
        yield RelativePath(path[:at])
        at = path.rfind(b"/", 0, at)
