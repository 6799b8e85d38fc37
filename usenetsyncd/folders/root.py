"""A folder's root held open, and the way to anything below it without ever following a symlink."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from usenetsyncd.errors import RootMissing
from usenetsyncd.model import RelativePath

ROOT_PATH = RelativePath(b"")
PATH_ONLY: int = getattr(os, "O_PATH", os.O_RDONLY)
DIRECTORY_FLAGS: int = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)

# Linux 5.6, <linux/openat2.h>; the number is the same on every architecture but alpha.
_SYS_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_NOATIME: int = getattr(os, "O_NOATIME", 0)
_KERNEL_PATH_BYTES = 4_095  # PATH_MAX less the final NUL


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_SIZE_BYTES = ctypes.sizeof(_OpenHow)


class _OneCall:
    """openat2(2) where the kernel has it: a whole path in one call, symlinks refused by the kernel."""

    def __init__(self) -> None:
        self.present = sys.platform == "linux"
        self._hows: dict[int, tuple[_OpenHow, int]] = {}
        if self.present:
            self._syscall = ctypes.CDLL(None, use_errno=True).syscall
            self._syscall.restype = ctypes.c_long
            self._syscall.argtypes = (
                ctypes.c_long,
                ctypes.c_int,
                ctypes.c_char_p,
                ctypes.c_void_p,
                ctypes.c_size_t,
            )

    def open(self, root_fd: int, path: bytes, flags: int) -> int:
        """Returns a descriptor, or -1 where the caller has to walk. Raises OSError as open(2) does."""
        how = self._hows.get(flags)
        if how is None:
            made = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH)
            # The structure is kept beside its address, which is all that the call needs.
            how = self._hows[flags] = (made, ctypes.addressof(made))
        fd = self._syscall(_SYS_OPENAT2, root_fd, path, how[1], _HOW_SIZE_BYTES)
        if fd >= 0:
            return int(fd)
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            self.present = False
            return -1
        # EPERM: an old container runtime that does not know the call, but also O_NOATIME on another's file.
        if code == errno.EPERM and not flags & _NOATIME:
            return -1
        # EAGAIN: a rename raced with the walk.
        if code in (errno.EAGAIN, errno.E2BIG, errno.EINVAL):
            return -1
        raise OSError(code, os.strerror(code), path)


_ONE_CALL = _OneCall()


class FolderRoot:
    """The root directory of a folder, open for the length of one job.

    Do not keep it for longer: an open root keeps its disk from being unmounted. Threads may share it.
    Raises RootMissing when the root is not there or is no directory. The root itself may be reached
    through symlinks (a person wrote that path); nothing below it may.
    """

    __slots__ = ("device", "fd", "path")

    def __init__(self, path: bytes | str | Path) -> None:
        self.path: bytes = os.fsencode(path)
        try:
            self.fd: int = os.open(self.path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        except OSError as problem:
            shown = os.fsdecode(self.path)
            raise RootMissing(f"The folder {shown!r} cannot be opened: {problem.strerror}") from problem
        self.device: int = os.fstat(self.fd).st_dev

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

    def open_directory(self, path: RelativePath) -> int:
        """A descriptor of the directory at ``path``, to be closed by the caller.

        Raises OSError: ENOENT, ENOTDIR (also for a symlink in its place), ELOOP (a symlink in the
        middle), EACCES.
        """
        return self.open_below(path, DIRECTORY_FLAGS)

    def open_below(self, path: RelativePath, flags: int) -> int:
        """Open anything below the root with ``flags``, following no symlink. Raises OSError."""
        _refuse_climbing(path)
        if not path:
            return os.open(b".", flags, dir_fd=self.fd)
        if path.find(b"/") < 0:
            return os.open(path, flags | os.O_NOFOLLOW, dir_fd=self.fd)
        if _ONE_CALL.present and len(path) <= _KERNEL_PATH_BYTES:
            fd = _ONE_CALL.open(self.fd, path, flags | os.O_NOFOLLOW)
            if fd >= 0:
                return fd
        parent, _, name = path.rpartition(b"/")
        directory = walk_down(self.fd, parent)
        try:
            return os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
        finally:
            os.close(directory)

    @contextmanager
    def parent_of(self, path: RelativePath) -> Iterator[tuple[int, bytes]]:
        """The open directory that ``path`` stands in, and its last component. Raises OSError."""
        _refuse_climbing(path)
        parent, _, name = path.rpartition(b"/")
        if not parent:
            yield self.fd, name
            return
        directory = self.open_below(RelativePath(parent), PATH_ONLY | DIRECTORY_FLAGS)
        try:
            yield directory, name
        finally:
            os.close(directory)


def _refuse_climbing(path: bytes) -> None:
    """Raises OSError (EXDEV, as the kernel does for RESOLVE_BENEATH) for a path that leads upwards."""
    if b".." in path and b".." in path.split(b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)


def walk_down(root_fd: int, path: bytes) -> int:
    """Open the directory at ``path`` one component at a time. Returns a new descriptor; raises OSError."""
    here = os.dup(root_fd)
    for name in path.split(b"/"):
        try:
            # A search right is enough in the middle of a path, so O_PATH and not O_RDONLY.
            below = os.open(name, PATH_ONLY | DIRECTORY_FLAGS, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


def check_root(path: bytes | str | Path, had_files: bool, device: int | None = None) -> FolderRoot:
    """Open a root that is there and plausible; the caller closes it.

    had_files: whether the last version of the folder held any file. device: where the root stood then.
    Raises RootMissing when the root is gone, or is empty although it had files (an unmounted disk leaves
    its empty mount point behind). A changed device alone is no reason: network filesystems renumber.
    """
    root = FolderRoot(path)
    if not had_files:
        return root
    try:
        with os.scandir(root.fd) as listing:
            empty = next(listing, None) is None
    except OSError as problem:
        root.close()
        raise RootMissing(
            f"The folder {os.fsdecode(root.path)!r} cannot be listed: {problem.strerror}"
        ) from problem
    if empty:
        moved = device is not None and device != root.device
        root.close()
        reason = "is empty and on another device" if moved else "is suddenly empty"
        raise RootMissing(f"The folder {os.fsdecode(root.path)!r} {reason}: is its disk mounted?")
    return root
