"""What stands in a target already: removed where it is ours, put aside where it is not, moved where it has moved."""

import errno
import os
import stat
import time

from usenetsyncd.errors import TargetExists
from usenetsyncd.folders.place import Target
from usenetsyncd.folders.rename import exists, rename_without_replacing
from usenetsyncd.folders.safety import NAME_LIMIT_BYTES, check_path, placing_problem, split
from usenetsyncd.folders.scan import join
from usenetsyncd.model import EntryKind, RelativePath

_NOT_THERE = (FileNotFoundError, NotADirectoryError)
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_TRIES = 1_000
_LONGEST_SUFFIX = 16


def kind_at(target: Target, path: RelativePath) -> EntryKind | None:
    """What stands at ``path``; None for nothing, FILE for anything that is neither folder nor symlink."""
    check_path(path)
    try:
        with target.root.parent_of(path) as (directory, name):
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except _NOT_THERE:
        return None
    except OSError as problem:
        raise placing_problem(problem, target.root, path) from problem
    if stat.S_ISDIR(mode):
        return EntryKind.FOLDER
    return EntryKind.SYMLINK if stat.S_ISLNK(mode) else EntryKind.FILE


def remove(target: Target, path: RelativePath) -> bool:
    """Remove a file, a symlink or an empty folder; False for a folder with something in it, or for nothing."""
    kind = kind_at(target, path)
    if kind is None:
        return False
    try:
        with target.root.parent_of(path) as (directory, name):
            if kind is EntryKind.FOLDER:
                os.rmdir(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)
    except _NOT_THERE:
        return False
    except OSError as problem:
        if problem.errno in _NOT_EMPTY:
            return False
        raise placing_problem(problem, target.root, path) from problem
    return True


def put_aside(target: Target, path: RelativePath, at: float) -> RelativePath:
    """Give what stands at ``path`` another name beside it, and return its new path.

    at: seconds since 1970, in the name: ``notes.conflict-20261122-2215.txt``. Raises TargetExists when all such names
    are taken.
    """
    check_path(path)
    parent, name = split(path)
    stamp = time.strftime("%Y%m%d-%H%M", time.localtime(at)).encode()
    for number in range(1, _TRIES):
        beside = conflict_name(name, stamp, number)
        try:
            with target.root.parent_of(path) as (directory, _):
                if exists(directory, beside):
                    continue
                rename_without_replacing(directory, name, beside)
        except FileExistsError:
            continue
        except OSError as problem:
            raise placing_problem(problem, target.root, path) from problem
        return join(parent, beside)
    raise TargetExists(f"{os.fsdecode(path)!r} has too many copies beside it already")


def conflict_name(name: bytes, stamp: bytes, number: int = 1) -> bytes:
    """``notes.txt`` as ``notes.conflict-STAMP.txt``, cut where it would be longer than a name may be."""
    stem, dot, suffix = name.rpartition(b".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = name, b"", b""
    mark = b".conflict-" + stamp + (b"" if number == 1 else b"-%d" % number)
    room = NAME_LIMIT_BYTES - len(mark) - len(dot) - len(suffix)
    if len(stem) > room:
        stem = stem[:room].decode("utf-8", "ignore").encode() if _is_text(stem) else stem[:room]
    return stem + mark + dot + suffix


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def move(target: Target, old: RelativePath, new: RelativePath) -> bool:
    """Give a file a new path in the target; False when something stands there. Folders on the way are made."""
    check_path(old)
    check_path(new)
    parent, name = split(new)
    try:
        directory = target.open_folder(parent)
        try:
            if exists(directory, name):
                return False
            with target.root.parent_of(old) as (source, source_name):
                os.rename(source_name, name, src_dir_fd=source, dst_dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as problem:
        raise placing_problem(problem, target.root, new) from problem
    return True


def set_time(target: Target, path: RelativePath, mtime_ns: int) -> None:
    """The time of a file that stands there, and nothing else of it."""
    check_path(path)
    try:
        with target.root.parent_of(path) as (directory, name):
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)
    except OSError as problem:
        raise placing_problem(problem, target.root, path) from problem
