"""What says that a file is still the one that was read, and when that cannot be trusted."""

import errno
import os
import time
from typing import NamedTuple

from usenetsyncd.errors import FileChanged, FileUnreadable, FolderError

NS_PER_S = 1_000_000_000

# Linux stamps files with the time of the last timer tick: CONFIG_HZ=100 makes 10 ms the worst case.
_COARSE_CLOCK: int | None = getattr(time, "CLOCK_REALTIME_COARSE", None)
_RESOLUTION_S = time.clock_getres(_COARSE_CLOCK) if _COARSE_CLOCK is not None else 0.0
TICK_NS = max(10_000_000, 2 * int(_RESOLUTION_S * NS_PER_S))
# FAT keeps two seconds, ext4 with small inodes and some network filesystems one.
COARSE_NS = 2 * NS_PER_S


class FileKey(NamedTuple):
    """Identity of a file's content: equal keys, and not racy, mean an unchanged file.

    ctime_ns: 0 where it is not known or must not count: a recursive chmod moves every ctime and no
    content. Whoever leaves it out has to compare the content's hash.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0

    def fits(self, status: os.stat_result) -> bool:
        """Whether a stat result is that of the same content."""
        return (
            status.st_size == self.size
            and status.st_mtime_ns == self.mtime_ns
            and status.st_ino == self.inode
            and self.ctime_ns in (0, status.st_ctime_ns)
        )


def key_of(status: os.stat_result) -> FileKey:
    """The key in a stat result."""
    return FileKey(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


def is_racy(mtime_ns: int, ctime_ns: int, looked_at_ns: int) -> bool:
    """Whether a file may have changed after it was looked at without any of its times moving.

    looked_at_ns: wall clock before the stat (or before the content was read). A write after that stamps
    the file with a time not older than ``looked_at_ns`` less the granularity of the filesystem's clock,
    so an older ctime is safe. A ctime without fraction is taken to come from a filesystem of whole seconds.
    The mtime counts as well where a filesystem invents its ctime, but not from the future: anybody may
    set an mtime to the year 2040, and that file must not be read again on every scan.
    """
    for stamp, from_future in ((ctime_ns, True), (mtime_ns, False)):
        if stamp < looked_at_ns - COARSE_NS or (stamp > looked_at_ns and not from_future):
            continue
        if stamp >= looked_at_ns - TICK_NS or stamp % NS_PER_S == 0:
            return True
    return False


# The path names something else now, or nothing: plan anew.
_MOVED_ON = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.EISDIR, errno.ENXIO})
# Nothing about the file: the process is short of something, which must not be blamed on the path.
_NOT_THE_FILES_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBADF})


def reading_problem(problem: OSError, path: bytes) -> FolderError:
    """The error of this project for an OSError met while reading ``path``; an odd one is raised as it is."""
    if problem.errno in _NOT_THE_FILES_FAULT:
        raise problem
    shown = os.fsdecode(path)
    if problem.errno in _MOVED_ON:
        return FileChanged(f"{shown!r} is no longer the file that was listed: {problem.strerror}")
    return FileUnreadable(f"{shown!r} cannot be read: {problem.strerror}")
