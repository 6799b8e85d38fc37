"""Whole small files, placed one after the other with few system calls each."""

import os
from contextlib import suppress
from types import TracebackType
from typing import Self

from usenetsyncd.folders.attributes import NO_ATTRIBUTES, Attributes
from usenetsyncd.folders.place import Target
from usenetsyncd.folders.placing import dress
from usenetsyncd.folders.rename import rename_over, rename_without_replacing, unlink_quietly
from usenetsyncd.folders.root import ROOT_PATH
from usenetsyncd.folders.safety import check_path, placing_problem, split
from usenetsyncd.folders.scan import PART_PREFIX, PART_SUFFIX, walk
from usenetsyncd.model import Entry, RelativePath

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_WORTH_HOLES_BYTES = 65_536


class SmallFiles:
    """Places files whose content is in memory; a context manager for one thread and a moment.

    The folder of the last file stays open, so that its neighbours need no walk of their own. A killed process leaves
    at most one temporary file, which ``sweep_small`` finds.
    """

    def __init__(self, target: Target, overwrite: bool, token: bytes) -> None:
        """token: hexadecimal digits of the job, which begin the names of its temporary files."""
        self._target = target
        self._give_name = rename_over if overwrite else rename_without_replacing
        self._overwrite = overwrite
        self._part = b"%b%b%b%b" % (PART_PREFIX, token, os.urandom(4).hex().encode(), PART_SUFFIX)
        self._parent: RelativePath | None = None
        self._directory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def place(self, entry: Entry, content: bytes | memoryview, kept: Attributes = NO_ATTRIBUTES) -> None:
        """Make the file of an entry, with these attributes. Raises UnsafePath, TargetExists, TargetUnwritable, DiskFull."""
        if entry.sparse and len(content) >= _WORTH_HOLES_BYTES:
            self._place_with_holes(entry, content, kept)
            return
        check_path(entry.path)
        parent, name = split(entry.path)
        try:
            self._enter_folder(parent)
            self._write(entry, content, kept)
            try:
                self._give_name(self._directory, self._part, name)
            except BaseException:
                self._remove()
                raise
        except OSError as problem:
            raise placing_problem(problem, self._target.root, entry.path) from problem

    def _write(self, entry: Entry, content: bytes | memoryview, kept: Attributes) -> None:
        made = os.open(self._part, _FLAGS, 0o600, dir_fd=self._directory)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(made, left) :]
            dress(made, entry.mode, entry.mtime_ns, kept, self._target.refusals)
        except BaseException:
            self._remove()
            raise
        finally:
            os.close(made)

    def _remove(self) -> None:
        with suppress(OSError):
            os.unlink(self._part, dir_fd=self._directory)

    def _place_with_holes(self, entry: Entry, content: bytes | memoryview, kept: Attributes) -> None:
        with self._target.begin_file(entry.path, entry.size, sparse=True) as placing:
            try:
                placing.write(0, content)
                placing.finish(entry.mode, entry.mtime_ns, self._overwrite, flush=False, kept=kept)
            except BaseException:
                placing.discard()
                raise

    def _enter_folder(self, parent: RelativePath) -> None:
        if parent == self._parent:
            return
        self._leave()
        self._directory = self._target.open_folder(parent)
        self._parent = parent

    def _leave(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
        self._parent, self._directory = None, -1


def sweep_small(target: Target, token: bytes) -> int:
    """Remove what a killed process left of the job with this token. Returns how many. Raises OSError."""
    removed = 0
    for listing in walk(target.root, None, ROOT_PATH):
        for name in listing.own_parts:
            if name.startswith(PART_PREFIX + token):
                with target.root.parent_of(listing.path_of(name)) as (directory, _):
                    removed += unlink_quietly(directory, name)
    return removed
