"""One file on its way into a target: written under a temporary name, then given its own in one step."""

import os
import stat
from types import TracebackType
from typing import Self

from usenetsyncd.errors import LimitExceeded, TargetUnwritable
from usenetsyncd.folders.attributes import (
    NO_ATTRIBUTES,
    Attributes,
    Refusals,
    apply_owner,
    apply_xattrs,
)
from usenetsyncd.folders.rename import rename_over, rename_without_replacing, unlink_quietly
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.safety import placing_problem, split
from usenetsyncd.folders.statkey import FileKey, key_of
from usenetsyncd.model import RelativePath

KEPT_MODE_BITS = 0o777  # never setuid, setgid or sticky: whoever wrote the index must not gain rights here
_HOLE_BYTES = 4_096
_ZEROS = memoryview(bytes(_HOLE_BYTES))


class Placing:
    """A file under way; leaving the context without ``finish`` keeps the temporary file for a later resume.

    temporary: its name, to be remembered for ``Target.resume_file``. Used by one thread at a time.
    Errors of all methods: TargetExists, TargetUnwritable, UnsafePath, DiskFull.
    """

    __slots__ = ("_fd", "_prepared", "_refusals", "_root", "_sparse", "path", "size", "temporary")

    def __init__(
        self,
        root: FolderRoot,
        path: RelativePath,
        temporary: bytes,
        fd: int,
        size: int,
        sparse: bool,
        refusals: Refusals,
    ) -> None:
        """refusals: told of attributes that could not be set."""
        self._root = root
        self.path = path
        self.temporary = temporary
        self._fd = fd
        self.size = size
        self._sparse = sparse
        self._refusals = refusals
        self._prepared: FileKey | None = None
        try:
            os.ftruncate(fd, size)
        except OSError as problem:
            self.discard()
            raise placing_problem(problem, root, path) from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, offset: int, content: bytes | bytearray | memoryview) -> None:
        """Put ``content`` at ``offset``. Raises LimitExceeded outside 0..size."""
        view = memoryview(content)
        if offset < 0 or offset + len(view) > self.size:
            raise LimitExceeded(f"{os.fsdecode(self.path)!r} would grow beyond {self.size} bytes")
        try:
            if self._sparse:
                self._write_around_holes(offset, view)
            else:
                self._write(offset, view)
        except OSError as problem:
            raise placing_problem(problem, self._root, self.path) from problem

    def flush(self) -> None:
        """Bring what was written to the disk, before it is recorded as written."""
        try:
            os.fdatasync(self._fd)
        except OSError as problem:
            raise placing_problem(problem, self._root, self.path) from problem

    def prepare(
        self, mode: int, mtime_ns: int, flush: bool = True, kept: Attributes = NO_ATTRIBUTES
    ) -> FileKey:
        """Set attributes, mode and mtime and bring the file to the disk, all but its name.

        mode: permission bits; setuid, setgid and sticky are dropped. flush: False leaves the sync to
        ``Target.sync``. Returns the key the file will have, its ctime left out, for whoever must know the
        file before the rename shows it to a watcher.
        """
        try:
            dress(self._fd, mode, mtime_ns, kept, self._refusals)
            if flush:
                os.fsync(self._fd)
            status = os.fstat(self._fd)
        except OSError as problem:
            raise placing_problem(problem, self._root, self.path) from problem
        self._prepared = FileKey(status.st_size, status.st_mtime_ns, status.st_ino)
        return self._prepared

    def finish(
        self,
        mode: int,
        mtime_ns: int,
        overwrite: bool,
        flush: bool = True,
        kept: Attributes = NO_ATTRIBUTES,
    ) -> FileKey:
        """Give the file its name. Returns its whole key.

        overwrite: False raises TargetExists when anything stands at the path; True replaces a file or
        symlink, never a folder. flush: see ``prepare`` (which may have been called before; it is not repeated).
        The name itself is on the disk after ``Target.sync``. After an error the temporary file is still there.
        """
        if self._prepared is None:
            self.prepare(mode, mtime_ns, flush, kept)
        parent, name = split(self.path)
        try:
            directory = self._root.open_directory(parent)
            try:
                self._check_still_there(directory)
                if overwrite:
                    rename_over(directory, self.temporary, name)
                else:
                    rename_without_replacing(directory, self.temporary, name)
            finally:
                os.close(directory)
            key = key_of(os.fstat(self._fd))
        except OSError as problem:
            raise placing_problem(problem, self._root, self.path) from problem
        self.close()
        return key

    def discard(self) -> None:
        """Remove the temporary file."""
        parent, _ = split(self.path)
        try:
            directory = self._root.open_directory(parent)
            try:
                self._check_still_there(directory)
                unlink_quietly(directory, self.temporary)
            finally:
                os.close(directory)
        except (OSError, TargetUnwritable):
            # Somebody moved the folder away, and the file with it: there is nothing of ours left here.
            return
        finally:
            self.close()

    def close(self) -> None:
        """Keep the temporary file and let go of it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _check_still_there(self, directory: int) -> None:
        """The path may lead elsewhere by now; only our own inode is renamed or removed."""
        ours = os.fstat(self._fd)
        found = os.stat(self.temporary, dir_fd=directory, follow_symlinks=False)
        if (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino) or not stat.S_ISREG(found.st_mode):
            raise TargetUnwritable(f"The temporary file of {os.fsdecode(self.path)!r} was replaced")

    def _write(self, offset: int, view: memoryview) -> None:
        while view:
            written = os.pwrite(self._fd, view, offset)
            offset += written
            view = view[written:]

    def _write_around_holes(self, offset: int, view: memoryview) -> None:
        """Leave out whole zero blocks; a resumed file holds nothing but this content or zeros there."""
        start = at = 0
        while at < len(view):
            block_end = min(len(view), at + _HOLE_BYTES - (offset + at) % _HOLE_BYTES)
            block = view[at:block_end]
            if block == _ZEROS[: len(block)]:
                self._write(offset + start, view[start:at])
                start = block_end
            at = block_end
        self._write(offset + start, view[start:])


def dress(fd: int, mode: int, mtime_ns: int, kept: Attributes, refusals: Refusals) -> None:
    """Give an open file or folder of our own all but its content and name. Raises OSError for mode and mtime."""
    if kept.xattrs:
        refusals.add(apply_xattrs(fd, kept))
    os.fchmod(fd, mode & KEPT_MODE_BITS)
    os.utime(fd, ns=(mtime_ns, mtime_ns))
    if kept.owner is not None:
        refusals.add(apply_owner(fd, kept.owner))
