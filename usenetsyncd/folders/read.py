"""Read files without ever publishing a torn one: the same key before and after, or FileChanged."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from usenetsyncd.errors import FileChanged, FileUnreadable
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import FileKey, is_racy, key_of, reading_problem
from usenetsyncd.model import SEGMENT_SIZE_BYTES, RelativePath

SMALL_LIMIT_BYTES = 50_000
LINK_TARGET_LIMIT_BYTES = 4_096

# O_NONBLOCK: a fifo put in the file's place must not hold the reader; it does nothing to a regular file.
_PLAIN_FLAGS: int = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_FLAGS: int = _PLAIN_FLAGS | getattr(os, "O_NOATIME", 0)


class OpenFile:
    """A regular file open for one reading; a context manager.

    key: as fstat told it at opening. racy: the key proves nothing about a later change (the file was
    written in the very tick in which it was opened): use the content, but read it again next time.
    status: the whole fstat result, for mode, owner and link count. fd: for ``attributes``.
    """

    __slots__ = ("_path", "fd", "key", "racy", "status")

    def __init__(self, fd: int, path: RelativePath, opened_at_ns: int, status: os.stat_result) -> None:
        self.fd = fd
        self._path = path
        self.status = status
        self.key = key_of(status)
        self.racy = is_racy(self.key.mtime_ns, self.key.ctime_ns, opened_at_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    @property
    def sparse(self) -> bool:
        """Whether the file occupies less than its size (holes, or a compressing filesystem)."""
        return getattr(self.status, "st_blocks", 1 << 62) * 512 < self.status.st_size

    def slices(self, buffer: bytearray | memoryview) -> Iterator[memoryview]:
        """The content in order, each slice filling ``buffer`` but the last; valid until the next one.

        buffer: SEGMENT_SIZE_BYTES long for slices that are segments. An empty file has no slice.
        Raises FileChanged after (never instead of) the slices that were already given out: use nothing
        of a reading before the iterator has ended. Raises FileUnreadable.
        """
        whole = memoryview(buffer)[:SEGMENT_SIZE_BYTES]
        left = self.key.size
        while left:
            got = self._fill(whole[: min(left, len(whole))], self.key.size - left)
            left -= got
            yield whole[:got]
        self.check_unchanged()

    def range(self, offset: int, into: memoryview) -> int:
        """Read ``len(into)`` bytes at ``offset``, verified. Raises FileChanged, FileUnreadable."""
        if offset + len(into) > self.key.size:
            raise _changed(self._path)
        got = self._fill(into, offset)
        self.check_unchanged()
        return got

    def check_unchanged(self) -> None:
        """Raises FileChanged when the file was written since it was opened."""
        if not self.key.fits(os.fstat(self.fd)):
            raise _changed(self._path)

    def _fill(self, into: memoryview, offset: int) -> int:
        filled = 0
        try:
            while filled < len(into):
                got = os.preadv(self.fd, (into[filled:],), offset + filled)
                if got == 0:
                    raise _changed(self._path)
                filled += got
        except OSError as problem:
            raise reading_problem(problem, self._path) from problem
        return filled


def open_file(root: FolderRoot, path: RelativePath, expected: FileKey | None = None) -> OpenFile:
    """Open a regular file for reading.

    expected: the key under which it was listed or planned. Raises FileChanged when the file has another
    key, is gone or is no regular file any more; FileUnreadable.
    """
    opened_at_ns = time.time_ns()
    try:
        try:
            fd = root.open_below(path, _FLAGS)
        except PermissionError:
            # O_NOATIME is only for the owner of a file (open(2)); without it the rest still works.
            fd = root.open_below(path, _PLAIN_FLAGS)
    except OSError as problem:
        raise reading_problem(problem, path) from problem
    try:
        status = os.fstat(fd)
        opened = OpenFile(fd, path, opened_at_ns, status)
        if not stat.S_ISREG(status.st_mode) or (expected is not None and not expected.fits(status)):
            raise _changed(path)
    except BaseException:
        os.close(fd)
        raise
    return opened


def read_range(
    root: FolderRoot, path: RelativePath, offset: int, expected: FileKey, into: bytearray | memoryview
) -> int:
    """Fill ``into`` from one extent of a file, to post it or to repair it. Returns its length.

    Raises FileChanged when the file is not the one with ``expected``, before or after; FileUnreadable.
    """
    with open_file(root, path, expected) as opened:
        return opened.range(offset, memoryview(into))


def read_small_into(directory: int, name: bytes, expected: FileKey, room: memoryview) -> None:
    """The content of a file listed a moment ago, in four calls: open, read, fstat, close.

    directory: from ``FolderRoot.open_directory``. expected: the listed key; the key after reading being the
    same proves that nothing moved since the listing (unless that key was racy). For files up to
    SMALL_LIMIT_BYTES. room: one byte longer than the file, so that a short count also proves its end.
    Raises FileChanged, FileUnreadable (caused by an OSError, if by any).
    """
    try:
        try:
            fd = os.open(name, _FLAGS, dir_fd=directory)
        except PermissionError:
            fd = os.open(name, _PLAIN_FLAGS, dir_fd=directory)
        try:
            got = os.readv(fd, (room,))
            status = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as problem:
        raise reading_problem(problem, name) from problem
    if got != expected.size or not expected.fits(status):
        raise _changed(name)


def read_target(root: FolderRoot, path: RelativePath, expected: FileKey | None = None) -> bytes:
    """The target of a symlink, as it stands. Raises FileChanged, FileUnreadable (also: target too long)."""
    try:
        with root.parent_of(path) as (directory, name):
            target = os.readlink(name, dir_fd=directory)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as problem:
        if problem.errno == errno.EINVAL:  # not a symlink
            raise _changed(path) from problem
        raise reading_problem(problem, path) from problem
    if expected is not None and not expected.fits(status):
        raise _changed(path)
    if len(target) > LINK_TARGET_LIMIT_BYTES:
        raise FileUnreadable(f"The link {os.fsdecode(path)!r} has a target of {len(target)} bytes")
    return target


def _changed(path: bytes) -> FileChanged:
    return FileChanged(f"{os.fsdecode(path)!r} changed since it was listed or while it was read")
