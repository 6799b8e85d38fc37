"""One daemon per data directory: a lock file that the kernel releases, whatever way the holder ends."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from usenetsyncd.errors import AlreadyRunning, ConfigurationError, DiskFull, UsenetSyncError


class LockFile:
    """Holds ``path`` locked, with our process id inside, until ``release()`` or the end of this process.

    The file stays when the lock goes: removing it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        # A forked child shares the lock, and would hold it on after a kill -9 of the daemon.
        os.register_at_fork(after_in_child=self._close)

    def acquire(self) -> None:
        """Raises AlreadyRunning with the holder's process id, ConfigurationError, DiskFull."""
        try:
            while self._descriptor is None:
                self._descriptor = self._lock_once()
        except BlockingIOError:
            raise AlreadyRunning(self._refusal()) from None
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _lock_once(self) -> int | None:
        """None: somebody removed the file between open and flock; its successor is the one to lock."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_still_at(descriptor, self.path):
                os.close(descriptor)
                return None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def release(self) -> None:
        """Let the next one in. Harmless when nothing is held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _refusal(self) -> str:
        pid = holder_of(self.path)
        who = f"process {pid}" if pid else "another process"
        return f"usenetsyncd is already running with this data directory ({who} holds {self.path})"


def holder_of(path: Path) -> int | None:
    """The process id written in a lock file. None: not held since, or not ours to read."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_bytes()[:20])
    return None


def _unusable(path: Path, error: OSError) -> UsenetSyncError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no room for the lock file {path}")
    return ConfigurationError(
        f"cannot lock {path}: {error.strerror}; storage.data_dir must be a writable directory"
    )


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
