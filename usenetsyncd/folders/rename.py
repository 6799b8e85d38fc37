"""Calls that Python lacks: a rename that never replaces, and a sync of one filesystem."""

import ctypes
import errno
import os
import sys

_RENAME_NOREPLACE = 1  # <linux/fs.h>
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM})

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def rename_over(directory: int, old: bytes, new: bytes) -> None:
    """Rename within one open directory, replacing a file or symlink. Raises OSError."""
    os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)


def rename_without_replacing(directory: int, old: bytes, new: bytes) -> None:
    """Rename within one open directory; FileExistsError when anything stands at ``new``. Raises OSError."""
    renameat2 = getattr(_LIBC, "renameat2", None)
    if renameat2 is not None:
        if renameat2(directory, old, directory, new, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _UNSUPPORTED:
            raise OSError(code, os.strerror(code), new)
    # A link refuses to replace as well; FAT has neither, and is left with a check just before.
    try:
        os.link(old, new, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        if exists(directory, new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        rename_over(directory, old, new)
        return
    os.unlink(old, dir_fd=directory)


def exists(directory: int, name: bytes) -> bool:
    """Whether anything, a dangling symlink too, has this name in an open directory."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def unlink_quietly(directory: int, name: bytes) -> bool:
    """Remove a name; False when it was not there. Raises OSError otherwise."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def sync_filesystem(fd: int) -> None:
    """Write out everything of the filesystem that ``fd`` is on. Raises OSError."""
    if _LIBC is None:
        os.sync()
    elif _LIBC.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
