"""Small private files: made once or replaced whole, durable, readable by nobody else."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from usenetsyncd.errors import DiskFull, VaultError

try:
    import fcntl
except ImportError:  # Windows: the directory's access list protects it, and one service uses it
    fcntl = None  # type: ignore[assignment]

TEMPORARY_PREFIX = ".new-"
LOCK_NAME = ".lock"
_POSIX = os.name == "posix"
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def make_private_directory(path: Path) -> None:
    """Create the directory with mode 0700, or check that only its owner may enter it."""
    with _told(path):
        try:
            path.mkdir(mode=0o700)
            _give_to_owner_of(path.parent, path)
            sync_directory(path.parent)
        except FileExistsError:
            pass
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise VaultError(f"{path} is not a directory")
    _check_access(path, status, "700")


def read_private(path: Path, limit_bytes: int) -> bytes:
    """Content of a file that only its owner may read.

    Raises FileNotFoundError, VaultError for anything that is not such a file.
    """
    # a symlink or a fifo in the place of a key file is somebody's trap
    with _told(path), open(path, "rb", opener=_open_strictly) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise VaultError(f"{path} is not a regular file")
        _check_access(path, status, "600")
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise VaultError(f"{path} is longer than it can be")
    return content


def create_once(path: Path, content: bytes) -> None:
    """Make the file, complete and on disk, or not at all. Raises FileExistsError."""
    with _told(path):
        temporary = _write_temporary(path, content)
        try:
            _link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def replace_whole(path: Path, content: bytes) -> None:
    """After this the file has the new content; after a crash the old or the new one, never a part."""
    with _told(path):
        temporary = _write_temporary(path, content)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process and one thread at a time; the daemon and a client may both write here."""
    with _told(directory):
        descriptor = os.open(
            directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | _CLOSE_ON_EXEC | _NO_FOLLOW | _BINARY, 0o600
        )
    try:
        if _POSIX:
            _give_to_owner_of(directory, directory / LOCK_NAME)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep_temporaries(directory: Path) -> None:
    """Remove what a killed process left half written. Only while the directory is locked."""
    for path in directory.glob(TEMPORARY_PREFIX + "*"):
        path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make a rename or a new name in this directory durable."""
    if not _POSIX:
        return
    descriptor = os.open(path, os.O_RDONLY | _CLOSE_ON_EXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_temporary(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(6).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOSE_ON_EXEC | _BINARY, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        _give_to_owner_of(path.parent, temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _open_strictly(path: str, flags: int) -> int:
    return os.open(path, flags | _CLOSE_ON_EXEC | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # no hard links on this filesystem: the lock keeps others out, so look and rename
        if path.exists():
            raise FileExistsError(path) from None
        os.rename(temporary, path)


def _give_to_owner_of(directory: Path, path: Path) -> None:
    """What root makes in the daemon's directory belongs to the daemon, or it could not read it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    owner = os.lstat(directory)
    if owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _check_access(path: Path, status: os.stat_result, mode: str) -> None:
    if not _POSIX:
        return
    if status.st_mode & 0o077:
        found = stat.S_IMODE(status.st_mode)
        raise VaultError(
            f"{path} holds keys but others may read it (mode {found:04o}); run: chmod {mode} {path}"
        )
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise VaultError(f"{path} belongs to another user (uid {status.st_uid})")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """OSError -> an error that says what to do; a missing or existing file stays what it is."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"no room left to write {path}") from error
        raise VaultError(f"{path} cannot be used: {error.strerror}") from error


_FULL = frozenset({28, 122})  # ENOSPC, EDQUOT
