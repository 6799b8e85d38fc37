"""Restore into a folder so that nothing is ever made outside it, and nothing half-made bears a real name."""

import os
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from usenetsyncd.errors import RootMissing, UnsafePath, UsenetSyncError
from usenetsyncd.folders.attributes import (
    NO_ATTRIBUTES,
    Attributes,
    Refusals,
    apply_owner,
    apply_xattrs,
    hand_nothing_down,
)
from usenetsyncd.folders.placing import KEPT_MODE_BITS, Placing, dress
from usenetsyncd.folders.rename import (
    rename_over,
    rename_without_replacing,
    sync_filesystem,
    unlink_quietly,
)
from usenetsyncd.folders.root import DIRECTORY_FLAGS, PATH_ONLY, ROOT_PATH, FolderRoot
from usenetsyncd.folders.safety import check_path, is_part, new_part, placing_problem, split
from usenetsyncd.folders.scan import join, walk
from usenetsyncd.folders.statkey import COARSE_NS
from usenetsyncd.model import Entry, EntryKind, Owner, RelativePath

LINK_TARGET_LIMIT_BYTES = 4_095

_PART_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FULL_ACCESS = 0o700


class Sameness(StrEnum):
    """What stands at a path, compared with an entry."""

    SAME = "same"
    BUT_FOR_MODE = "but_for_mode"
    DIFFERENT = "different"
    ABSENT = "absent"


class FolderLook(NamedTuple):
    """What a folder gets once everything below it is made."""

    path: RelativePath
    mode: int
    mtime_ns: int
    kept: Attributes = NO_ATTRIBUTES


class Target:
    """A folder to restore into; a context manager, and threads may share it.

    Every path is checked by ``check_path`` and reached without following a symlink below the root.
    Errors of all methods: UnsafePath, TargetExists, TargetUnwritable, DiskFull.
    root: for reading back what stands there (``folders.read``, ``folders.scan``).
    refusals: attributes that could not be set; nothing fails for them.
    """

    def __init__(self, path: bytes | str | Path) -> None:
        """Open the target, making it where it is missing. Raises RootMissing."""
        try:
            os.makedirs(os.fsencode(path), exist_ok=True)
        except OSError as problem:
            raise RootMissing(f"The target {str(path)!r} cannot be made: {problem.strerror}") from problem
        self.root = FolderRoot(path)
        self.refusals = Refusals()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the root back."""
        self.root.close()

    def free_bytes(self) -> int:
        """Room left for us on the target's filesystem."""
        room = os.fstatvfs(self.root.fd)
        return room.f_bavail * room.f_frsize

    def is_empty(self) -> bool:
        """Whether nothing at all stands in it."""
        with os.scandir(self.root.fd) as found:
            return next(found, None) is None

    def sync(self) -> None:
        """Bring everything that was placed to the disk, names included: one call for many files.

        Only what was placed before this returned may be recorded as placed.
        """
        try:
            sync_filesystem(self.root.fd)
        except OSError as problem:
            raise placing_problem(problem, self.root, ROOT_PATH) from problem

    def make_folder(self, path: RelativePath, kept: Attributes = NO_ATTRIBUTES) -> None:
        """Make a folder and its parents, open to us alone until ``finish_folders``.

        One that is there is made writable for its owner, so that a read-only folder can be restored again. If it is to
        hand down an ACL, it does not until it is finished: what the restore makes has its own, or none.
        """
        if path:
            check_path(path)
        elif not kept.hands_down:
            return
        try:
            self._open_up(path)
            directory = self.open_folder(path)
            try:
                if kept.hands_down:
                    hand_nothing_down(directory)
            finally:
                os.close(directory)
        except OSError as problem:
            raise placing_problem(problem, self.root, path) from problem

    def begin_file(self, path: RelativePath, size: int, sparse: bool = False) -> Placing:
        """Start a file under a temporary name beside its own; missing folders are made.

        sparse: leave runs of zeros as holes.
        """
        check_path(path)
        parent, _ = split(path)
        part = new_part()
        try:
            directory = self.open_folder(parent)
            try:
                fd = os.open(part, _PART_FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError as problem:
            raise placing_problem(problem, self.root, path) from problem
        return Placing(self.root, path, part, fd, size, sparse, self.refusals)

    def resume_file(
        self, path: RelativePath, temporary: bytes, size: int, sparse: bool = False
    ) -> Placing | None:
        """Go on with a file begun before the process ended; None when its temporary file is not there."""
        check_path(path)
        parent, _ = split(path)
        if not is_part(temporary) or b"/" in temporary:
            return None
        try:
            fd = self.root.open_below(join(parent, temporary), _PART_FLAGS)
        except OSError:
            return None
        status = os.fstat(fd)
        # Only what can be ours: no device, no other user's file, no second name of some other file.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != os.geteuid():
            os.close(fd)
            return None
        return Placing(self.root, path, temporary, fd, size, sparse, self.refusals)

    def make_symlink(
        self,
        path: RelativePath,
        target: bytes,
        mtime_ns: int,
        overwrite: bool,
        kept: Attributes = NO_ATTRIBUTES,
    ) -> None:
        """Make a symlink as it was published, wherever it leads. Make these after all files.

        Of its attributes only the owner is set: Linux gives a symlink no other that we keep.
        """
        check_path(path)
        if not target or b"\0" in target or len(target) > LINK_TARGET_LIMIT_BYTES:
            raise UnsafePath(f"The link {os.fsdecode(path)!r} has a target that cannot be")
        parent, name = split(path)
        part = new_part()
        try:
            directory = self.open_folder(parent)
            try:
                os.symlink(target, part, dir_fd=directory)
                os.utime(part, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)
                self.refusals.add(_give_link(directory, part, kept.owner))
                _give_name(directory, part, name, overwrite)
            finally:
                unlink_quietly(directory, part)
                os.close(directory)
        except OSError as problem:
            raise placing_problem(problem, self.root, path) from problem

    def make_hard_link(self, existing: RelativePath, path: RelativePath, overwrite: bool) -> None:
        """Give a file that this restore has placed a second name."""
        check_path(existing)
        check_path(path)
        parent, name = split(path)
        part = new_part()
        try:
            directory = self.open_folder(parent)
            try:
                with self.root.parent_of(existing) as (source, source_name):
                    found = os.stat(source_name, dir_fd=source, follow_symlinks=False)
                    if not stat.S_ISREG(found.st_mode):
                        raise UnsafePath(f"{os.fsdecode(existing)!r} is no file to link to")
                    # rename(2) does nothing between two names of one inode: the link would stay behind.
                    if _names_inode(directory, name, found):
                        return
                    os.link(source_name, part, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
                _give_name(directory, part, name, overwrite)
            finally:
                unlink_quietly(directory, part)
                os.close(directory)
        except OSError as problem:
            raise placing_problem(problem, self.root, path) from problem

    def finish_folders(self, folders: Iterable[FolderLook]) -> list[tuple[RelativePath, UsenetSyncError]]:
        """Give folders their looks, each after everything below it.

        folders: sorted by path, streamed; only a chain of parents is held. The root is b"" and comes
        first. Returns what failed.
        """
        failed: list[tuple[RelativePath, UsenetSyncError]] = []
        waiting: list[FolderLook] = []
        for folder in folders:
            # Everything below b"a" sorts before b"a0", and so does b"a-b", which is not below it.
            while waiting and waiting[-1].path and folder.path >= waiting[-1].path + b"0":
                self._finish_folder(waiting.pop(), failed)
            waiting.append(folder)
        while waiting:
            self._finish_folder(waiting.pop(), failed)
        return failed

    def compare(self, path: RelativePath, entry: Entry) -> Sameness:
        """What stands at ``path``, by kind, size and mtime (a symlink: by target); no content is read.

        BUT_FOR_MODE is said of files only.
        """
        check_path(path)
        try:
            with self.root.parent_of(path) as (directory, name):
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                link = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else b""
        except FileNotFoundError:
            return Sameness.ABSENT
        except OSError as problem:
            raise placing_problem(problem, self.root, path) from problem
        if not _is_same(found, link, entry):
            return Sameness.DIFFERENT
        if entry.kind is EntryKind.FILE and stat.S_IMODE(found.st_mode) != entry.mode & KEPT_MODE_BITS:
            return Sameness.BUT_FOR_MODE
        return Sameness.SAME

    def dress_again(self, path: RelativePath, mode: int, kept: Attributes = NO_ATTRIBUTES) -> None:
        """Give a file that is there already its permission bits and attributes, as ``finish`` would have.

        What is right already is left alone, and with it the file's ctime.
        """
        check_path(path)
        try:
            fd = self.root.open_below(path, PATH_ONLY | os.O_NOFOLLOW)
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    self.refusals.add(_dress_again(fd, mode & KEPT_MODE_BITS, kept))
            finally:
                os.close(fd)
        except OSError as problem:
            raise placing_problem(problem, self.root, path) from problem

    def sweep(self, keep: Collection[bytes] = (), start: RelativePath = ROOT_PATH) -> int:
        """Remove the temporary files that a killed job left at and below ``start``. Returns how many.

        keep: names of those that are to be resumed or belong to another job.
        """
        removed = 0
        for listing in walk(self.root, None, start):
            for name in listing.own_parts:
                if name not in keep:
                    with self.root.parent_of(listing.path_of(name)) as (directory, _):
                        removed += unlink_quietly(directory, name)
        return removed

    def _open_up(self, path: RelativePath) -> None:
        """Give the owner of an existing folder all rights on it; a folder that is not there is none."""
        try:
            fd = self.root.open_below(path, PATH_ONLY | DIRECTORY_FLAGS)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(fd)
            if status.st_mode & _FULL_ACCESS != _FULL_ACCESS and status.st_uid == os.geteuid():
                _chmod(fd, stat.S_IMODE(status.st_mode) | _FULL_ACCESS)
        finally:
            os.close(fd)

    def open_folder(self, path: RelativePath) -> int:
        """A descriptor of the folder at ``path``, which is made where it is missing. Raises OSError.

        ``path`` has been checked.
        """
        try:
            return self.root.open_directory(path)
        except FileNotFoundError:
            parent, name = split(path)
        above = self.open_folder(parent)
        try:
            # Another thread was faster, or something else stands there: opening it tells.
            with suppress(FileExistsError):
                os.mkdir(name, _FULL_ACCESS, dir_fd=above)
            return os.open(name, DIRECTORY_FLAGS, dir_fd=above)
        finally:
            os.close(above)

    def _finish_folder(self, folder: FolderLook, failed: list[tuple[RelativePath, UsenetSyncError]]) -> None:
        path = folder.path
        try:
            if path:
                check_path(path)
            directory = self.root.open_directory(path)
            try:
                dress(directory, folder.mode, folder.mtime_ns, folder.kept, self.refusals)
            finally:
                os.close(directory)
        except UnsafePath as refused:
            failed.append((path, refused))
        except OSError as problem:
            failed.append((path, placing_problem(problem, self.root, path)))


def _chmod(path_fd: int, mode: int) -> None:
    """fchmod(2) refuses a descriptor that is only a path, and opening for more needs the right to."""
    os.chmod(b"/proc/self/fd/%d" % path_fd, mode)


def _dress_again(fd: int, mode: int, kept: Attributes) -> list[bytes]:
    """Returns what could not be set."""
    refused = apply_xattrs(fd, kept)
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        try:
            _chmod(fd, mode)
        except OSError:
            refused.append(b"mode")
    return refused + apply_owner(fd, kept.owner)


def _give_link(directory: int, name: bytes, owner: Owner | None) -> list[bytes]:
    if owner is not None:
        try:
            os.chown(name, owner.uid, owner.gid, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return [b"owner"]
    return []


def _give_name(directory: int, part: bytes, name: bytes, overwrite: bool) -> None:
    if overwrite:
        rename_over(directory, part, name)
    else:
        rename_without_replacing(directory, part, name)


def _names_inode(directory: int, name: bytes, status: os.stat_result) -> bool:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)


def _is_same(found: os.stat_result, link: bytes, entry: Entry) -> bool:
    if entry.kind is EntryKind.SYMLINK:
        return stat.S_ISLNK(found.st_mode) and link == entry.target
    if entry.kind is EntryKind.FOLDER:
        return stat.S_ISDIR(found.st_mode)
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == entry.size
        and _same_time(found.st_mtime_ns, entry.mtime_ns)
    )


def _same_time(found_ns: int, wanted_ns: int) -> bool:
    """Equal, or as equal as a filesystem of whole or even seconds can keep it."""
    return found_ns == wanted_ns or (found_ns % 1_000_000_000 == 0 and abs(found_ns - wanted_ns) < COARSE_NS)
