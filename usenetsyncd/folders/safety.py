"""Which paths a restore may make, and what the errors met on the way mean."""

import errno
import os
import stat

from usenetsyncd.errors import DiskFull, TargetExists, TargetUnwritable, UnsafePath, UsenetSyncError
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.scan import PART_PREFIX, PART_SUFFIX
from usenetsyncd.model import RelativePath

PATH_LIMIT_BYTES = 4_096
NAME_LIMIT_BYTES = 255
DEPTH_LIMIT = 128

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_TAKEN = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY})
_IN_THE_WAY = frozenset({errno.ELOOP, errno.ENOTDIR})
_NOT_THE_PATHS_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBADF})


def check_path(path: RelativePath) -> None:
    """Raises UnsafePath unless ``path`` is one that a restore may make below its target."""
    names = path.split(b"/")
    if len(path) > PATH_LIMIT_BYTES or len(names) > DEPTH_LIMIT:
        raise UnsafePath(f"A path of {len(path)} bytes and {len(names)} parts is beyond the limits")
    for name in names:
        if name in (b"", b".", b"..") or b"\0" in name or len(name) > NAME_LIMIT_BYTES:
            raise UnsafePath(f"The path {os.fsdecode(path)!r} must not be created")
        if is_part(name):
            raise UnsafePath(f"The name {os.fsdecode(name)!r} is kept for files under way")


def is_part(name: bytes) -> bool:
    """Whether a name is that of one of our temporary files."""
    return name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)


def new_part() -> bytes:
    """A fresh name for a temporary file."""
    return b"%b%b%b" % (PART_PREFIX, os.urandom(8).hex().encode(), PART_SUFFIX)


def split(path: RelativePath) -> tuple[RelativePath, bytes]:
    """The folder of a path, and its last component."""
    parent, _, name = path.rpartition(b"/")
    return RelativePath(parent), name


def placing_problem(problem: OSError, root: FolderRoot, path: RelativePath) -> UsenetSyncError:
    """The error of this project for an OSError met while ``path`` was made; an odd one is raised as it is."""
    shown = os.fsdecode(path)
    if problem.errno in _NOT_THE_PATHS_FAULT:
        raise problem
    if problem.errno in _NO_ROOM:
        return DiskFull(f"No room left to restore {shown!r}: {problem.strerror}")
    if problem.errno in _TAKEN:
        return TargetExists(f"Something else already stands at {shown!r}")
    if problem.errno in _IN_THE_WAY:
        return _in_the_way(root, path)
    return TargetUnwritable(f"{shown!r} cannot be made: {problem.strerror}")


def _in_the_way(root: FolderRoot, path: RelativePath) -> UsenetSyncError:
    """Name the first component that is not a folder."""
    names = path.split(b"/")
    for depth in range(1, len(names) + 1):
        here = RelativePath(b"/".join(names[:depth]))
        try:
            with root.parent_of(here) as (directory, name):
                mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        except OSError:
            break
        if stat.S_ISLNK(mode):
            return UnsafePath(f"A symlink stands at {os.fsdecode(here)!r}, where a folder should be")
        if not stat.S_ISDIR(mode):
            return TargetExists(f"A file stands at {os.fsdecode(here)!r}, where a folder should be")
    # It was in the way a moment ago: somebody is changing the target under us.
    return UnsafePath(f"The way to {os.fsdecode(path)!r} changed while it was walked")
