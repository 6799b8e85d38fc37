"""The inotify system calls (man 7 inotify), through ctypes; Linux only."""

import ctypes
import errno
import os
import struct
import sys

MODIFY = 0x002
ATTRIB = 0x004
CLOSE_WRITE = 0x008
MOVED_FROM = 0x040
MOVED_TO = 0x080
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x0100_0000
EXCL_UNLINK = 0x0400_0000
ISDIR = 0x4000_0000

# Never open, access or close-no-write: reading a file to hash it would feed the next scan.
CHANGES = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF

EVENT = struct.Struct("iIII")  # watch descriptor, mask, cookie, length of the name that follows
READ_SIZE_BYTES = 1 << 18
AVAILABLE = sys.platform == "linux"
WATCHES_SYSCTL = "fs.inotify.max_user_watches"
INSTANCES_SYSCTL = "fs.inotify.max_user_instances"
QUEUE_SYSCTL = "fs.inotify.max_queued_events"


class Inotify:
    """One kernel queue. Not thread-safe. Methods raise OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: int) -> int:
        """Watch an open directory. Returns the watch descriptor, the same one for the same inode.

        ENOSPC: no watches left for this user.
        """
        # By its descriptor, so that no symlink is followed and no path is too long.
        path = b"/proc/self/fd/%d" % directory
        mask = ctypes.c_uint32(CHANGES | ONLYDIR | EXCL_UNLINK)
        return self._checked(self._libc.inotify_add_watch(self.fd, path, mask))

    def remove(self, watch: int) -> None:
        """Watch no more; a watch that the kernel has already dropped is no error."""
        if self._libc.inotify_rm_watch(self.fd, watch) != 0 and ctypes.get_errno() != errno.EINVAL:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def read(self) -> bytes:
        """Whole events that are waiting; b"" when there are none."""
        try:
            return os.read(self.fd, READ_SIZE_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Give the queue and all its watches back."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result
