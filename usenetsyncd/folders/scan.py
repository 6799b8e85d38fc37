"""List directories fast: one digest says whether anything in a directory changed."""

import errno
import os
import stat
import struct
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from usenetsyncd.folders.ignore import IgnoreRules
from usenetsyncd.folders.root import ROOT_PATH, FolderRoot
from usenetsyncd.folders.statkey import COARSE_NS, FileKey, is_racy
from usenetsyncd.model import EntryKind, RelativePath

DIGEST_SIZE_BYTES = 16
PART_PREFIX = b".usenetsync-"
PART_SUFFIX = b".part"
"""Our own temporary files, ``.usenetsync-<random>.part``, are never part of a folder."""

# NUL, which ends a name and sorts before all that a name can hold, then
# st_mode, st_ino, st_size, st_mtime_ns, st_ctime_ns, st_nlink | st_blocks
_KEY = struct.Struct(">xIQQqqIQ")
_OF_FOLDER = struct.Struct(">Iq")
# Blocks stand last and outside the digest: delayed allocation changes them without touching any time.
_UNHASHED_BYTES = 8

_ENCODING = sys.getfilesystemencoding()
_ENCODE_ERRORS = sys.getfilesystemencodeerrors()
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})


class ListedEntry(NamedTuple):
    """A file or symlink as it stood when its directory was listed.

    mode: permission bits only (0o7777). blocks: of 512 bytes. racy: its key proves nothing about a
    later change; see ``is_racy``.
    """

    name: bytes
    kind: EntryKind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    nlink: int
    blocks: int
    racy: bool

    @property
    def key(self) -> FileKey:
        """What a reader compares before and after."""
        return FileKey(self.size, self.mtime_ns, self.inode, self.ctime_ns)

    @property
    def sparse(self) -> bool:
        """Whether the file occupies less than its size (holes, or a compressing filesystem)."""
        return self.kind is EntryKind.FILE and self.blocks * 512 < self.size


@dataclass(frozen=True, slots=True)
class FolderStat:
    """A directory's own attributes. mode: permission bits only."""

    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class DirectoryListing:
    """One directory, its files and symlinks unread.

    subdirectories: names, sorted. skipped: (name, what it is) of sockets, fifos and devices.
    unreadable: names that could not be looked at. They are neither entries nor absent: keep what is known.
    own_parts: names of our temporary files; they are nothing else's business than ``Target.sweep``'s.
    problem: why the directory could not be listed (whole); its contents are unknown then, not gone.
    digest: 16 bytes over everything an index says of this directory; None when something in it is
    racy, unreadable or unknown, so that the next scan looks at the rows again.
    """

    path: RelativePath
    _own: os.stat_result | None = field(repr=False)
    subdirectories: list[bytes]
    skipped: list[tuple[bytes, str]]
    unreadable: list[tuple[bytes, OSError]]
    digest: bytes | None
    problem: OSError | None
    listed_at_ns: int
    own_parts: list[bytes]
    _keys: list[bytes] = field(repr=False)

    @property
    def status(self) -> FolderStat | None:
        """The directory's own attributes; mode and mtime are digested. None only with ``problem``."""
        own = self._own
        if own is None:
            return None
        return FolderStat(own.st_mode & 0o7777, own.st_mtime_ns, own.st_ctime_ns, own.st_ino, own.st_dev)

    @property
    def file_count(self) -> int:
        """Files and symlinks."""
        return len(self._keys)

    @property
    def entries(self) -> list[ListedEntry]:
        """Files and symlinks sorted by name, made anew at each call."""
        return [_unpack(key, self.listed_at_ns) for key in self._keys]

    def path_of(self, name: bytes) -> RelativePath:
        """The path of something in this directory."""
        return join(self.path, name)


def join(directory: bytes, name: bytes) -> RelativePath:
    """``directory/name``; the root is b""."""
    return RelativePath(directory + b"/" + name if directory else name)


def walk_key(path: RelativePath) -> bytes:
    """The order in which ``walk`` meets directories: that of ``path + b"/"``."""
    return path + b"/" if path else b""


def scan_directory(
    root: FolderRoot, path: RelativePath, ignore: IgnoreRules | None = None
) -> DirectoryListing | None:
    """List one directory. None: there is no such directory (any more), or a symlink stands there.

    ignore: rules of the folder; the caller has already seen that ``path`` itself is not ignored.
    Any other OSError is in ``problem`` of the listing.
    """
    listed_at_ns = time.time_ns()
    try:
        directory = root.open_directory(path)
    except OSError as problem:
        return None if problem.errno in _GONE else _unlisted(path, problem, listed_at_ns)
    try:
        return _list(directory, path, ignore or None, listed_at_ns)
    except OSError as problem:
        return None if problem.errno in _GONE else _unlisted(path, problem, listed_at_ns)
    finally:
        os.close(directory)


def walk(
    root: FolderRoot, ignore: IgnoreRules | None = None, start: RelativePath = ROOT_PATH
) -> Iterator[DirectoryListing]:
    """Every directory at and below ``start``, parents first, in the order of ``walk_key``.

    Directories that vanish meanwhile are left out; memory is that of the names still to visit.
    """
    # Descending, so that pop() takes the first; a name sorts as name + b"/" to match walk_key.
    ahead: list[RelativePath] = [start]
    while ahead:
        listing = scan_directory(root, ahead.pop(), ignore)
        if listing is None:
            continue
        yield listing
        if listing.subdirectories:
            below = sorted((name + b"/" for name in listing.subdirectories), reverse=True)
            ahead.extend(join(listing.path, name[:-1]) for name in below)


def _list(
    directory: int, path: RelativePath, ignore: IgnoreRules | None, listed_at_ns: int
) -> DirectoryListing:
    """The hot loop of a rescan: one stat and one pack for each file, nothing else."""
    keys: list[bytes] = []
    subdirectories: list[bytes] = []
    others: list[tuple[bytes, int]] = []
    unreadable: list[tuple[bytes, OSError]] = []
    suspects: list[tuple[int, int]] = []
    suspect_from_ns = listed_at_ns - COARSE_NS
    pack = _KEY.pack
    add = keys.append
    own = os.fstat(directory)
    with os.scandir(directory) as found:
        for entry in found:
            name = entry.name.encode(_ENCODING, _ENCODE_ERRORS)
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as problem:
                if problem.errno not in _GONE:
                    unreadable.append((name, problem))
                continue
            mode = status[0]
            kind = mode & 0o170000
            if kind == 0o100000 or kind == 0o120000:
                mtime_ns = status.st_mtime_ns
                ctime_ns = status.st_ctime_ns
                if ctime_ns >= suspect_from_ns or mtime_ns >= suspect_from_ns:
                    suspects.append((mtime_ns, ctime_ns))
                add(name + pack(mode, status[1], status[6], mtime_ns, ctime_ns, status[3], status.st_blocks))
            elif kind == 0o040000:
                subdirectories.append(name)
            else:
                others.append((name, mode))
    keys.sort()
    subdirectories.sort()
    own_parts = _take_own_parts(keys) if keys else []
    if ignore is not None:
        keys, subdirectories, others = _not_ignored(ignore, path, keys, subdirectories, others)
    racy = bool(suspects) and any(is_racy(*times, listed_at_ns) for times in suspects)
    return DirectoryListing(
        path,
        own,
        subdirectories,
        [(name, _SPECIAL.get(stat.S_IFMT(mode), "unknown")) for name, mode in sorted(others)]
        if others
        else [],
        unreadable,
        None if racy or unreadable else _digest(own, keys, subdirectories),
        None,
        listed_at_ns,
        own_parts,
        keys,
    )


_SPECIAL = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def _unlisted(path: RelativePath, problem: OSError, listed_at_ns: int) -> DirectoryListing:
    return DirectoryListing(path, None, [], [], [], None, problem, listed_at_ns, [], [])


def _digest(own: os.stat_result, keys: list[bytes], subdirectories: list[bytes]) -> bytes:
    """Each key ends in fields of fixed width, so no two different directories give the same bytes."""
    parts = [key[:-_UNHASHED_BYTES] for key in keys]
    parts.append(b"\0%b" % b"/".join(subdirectories))
    parts.append(_OF_FOLDER.pack(own.st_mode & 0o7777, own.st_mtime_ns))
    return blake2b(b"".join(parts), digest_size=DIGEST_SIZE_BYTES).digest()


def _take_own_parts(keys: list[bytes]) -> list[bytes]:
    """Take our temporary files out of the sorted keys. Returns their names."""
    first = at = bisect_left(keys, PART_PREFIX)
    while at < len(keys) and keys[at].startswith(PART_PREFIX):
        at += 1
    own = [name for name in map(_name, keys[first:at]) if name.endswith(PART_SUFFIX)]
    if own:
        keys[first:at] = [key for key in keys[first:at] if not _name(key).endswith(PART_SUFFIX)]
    return own


def _not_ignored(
    ignore: IgnoreRules,
    path: RelativePath,
    keys: list[bytes],
    subdirectories: list[bytes],
    others: list[tuple[bytes, int]],
) -> tuple[list[bytes], list[bytes], list[tuple[bytes, int]]]:
    matches = ignore.matches
    return (
        [key for key in keys if not matches(join(path, _name(key)), False)],
        [name for name in subdirectories if not matches(join(path, name), True)],
        [other for other in others if not matches(join(path, other[0]), False)],
    )


def _name(key: bytes) -> bytes:
    return key[: -_KEY.size]


def _unpack(key: bytes, listed_at_ns: int) -> ListedEntry:
    mode, inode, size, mtime_ns, ctime_ns, nlink, blocks = _KEY.unpack_from(key, len(key) - _KEY.size)
    kind = EntryKind.SYMLINK if stat.S_ISLNK(mode) else EntryKind.FILE
    suspect_from_ns = listed_at_ns - COARSE_NS
    racy = (ctime_ns >= suspect_from_ns or mtime_ns >= suspect_from_ns) and is_racy(
        mtime_ns, ctime_ns, listed_at_ns
    )
    return ListedEntry(
        _name(key), kind, size, mtime_ns, ctime_ns, inode, stat.S_IMODE(mode), nlink, blocks, racy
    )
