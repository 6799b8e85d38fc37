"""Owner and extended attributes (ACLs are among them), as one string of bytes and back."""

import errno
import os
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from usenetsyncd.errors import FormatError
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import reading_problem
from usenetsyncd.model import Owner, RelativePath

XATTRS_LIMIT = 256
XATTR_VALUE_LIMIT_BYTES = 65_536  # XATTR_SIZE_MAX, <linux/limits.h>
PACKED_LIMIT_BYTES = 131_072
REFUSALS_NAMED = 100  # an index may name as many as it likes
OTHERS = b"others"

_OWNER = struct.Struct(">BII")
_NAME = struct.Struct(">BI")
# Nothing there, not supported here, or not for us to see.
_NO_XATTRS = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOENT})
# Another machine must not be able to raise privileges or relabel by way of a folder: these are never kept,
_NEVER = (b"security.", b"trusted.")
# and only these are ever set. An ACL gives rights on the file itself, as its mode does; user.* gives none.
_ACL_DEFAULT = b"system.posix_acl_default"
_ACLS = frozenset({b"system.posix_acl_access", _ACL_DEFAULT})
_HAS_XATTRS = hasattr(os, "listxattr")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is kept beside mode and mtime, on request. xattrs: (name, value), sorted by name."""

    owner: Owner | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def hands_down(self) -> bool:
        """Whether what is made in this folder gets an ACL from it."""
        return any(name == _ACL_DEFAULT for name, _ in self.xattrs)


NO_ATTRIBUTES = Attributes()


class Refusals:
    """Counts what could not be set on files, by name of the attribute; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[bytes] = Counter()

    def add(self, names: Iterable[bytes]) -> None:
        """Some could not be set on one file."""
        with self._lock:
            for name in names:
                known = name in self._counts or len(self._counts) < REFUSALS_NAMED
                self._counts[name if known else OTHERS] += 1

    def counts(self) -> list[tuple[bytes, int]]:
        """(name, files), the most frequent first."""
        with self._lock:
            return self._counts.most_common()


def read_attributes(root: FolderRoot, path: RelativePath, owner: bool, xattrs: bool) -> bytes:
    """The attributes of a file, folder or symlink, packed; b"" where there is nothing to keep.

    Raises FileChanged, FileUnreadable.
    """
    try:
        with root.parent_of(path) as (directory, name):
            status = os.stat(name or b".", dir_fd=directory, follow_symlinks=False)
            kept = _xattrs(directory, name or b".") if xattrs else ()
    except OSError as problem:
        raise reading_problem(problem, path) from problem
    return pack_attributes(Attributes(Owner(status.st_uid, status.st_gid) if owner else None, kept))


def pack_attributes(kept: Attributes) -> bytes:
    """has_owner u8 | uid u32 | gid u32, then for each xattr: name length u8 | value length u32 | both."""
    if kept.owner is None and not kept.xattrs:
        return b""
    who = kept.owner or Owner(0, 0)
    parts = [_OWNER.pack(kept.owner is not None, who.uid, who.gid)]
    for name, content in kept.xattrs:
        parts += (_NAME.pack(len(name), len(content)), name, content)
    return b"".join(parts)


def unpack_attributes(packed: bytes) -> Attributes:
    """The reverse of ``pack_attributes``. Raises FormatError."""
    if not packed:
        return NO_ATTRIBUTES
    if not _OWNER.size <= len(packed) <= PACKED_LIMIT_BYTES or packed[0] > 1:
        raise FormatError("attributes have a wrong length or flag")
    has_owner, uid, gid = _OWNER.unpack_from(packed)
    xattrs: list[tuple[bytes, bytes]] = []
    at = _OWNER.size
    while at < len(packed):
        if at + _NAME.size > len(packed) or len(xattrs) == XATTRS_LIMIT:
            raise FormatError("attributes end early or are too many")
        name_length, length = _NAME.unpack_from(packed, at)
        at += _NAME.size
        name, content = packed[at : at + name_length], packed[at + name_length : at + name_length + length]
        at += name_length + length
        if at > len(packed) or not name or b"\0" in name or length > XATTR_VALUE_LIMIT_BYTES:
            raise FormatError("an attribute ends early or is too long")
        xattrs.append((name, content))
    return Attributes(Owner(uid, gid) if has_owner else None, tuple(xattrs))


def apply_xattrs(fd: int, kept: Attributes) -> list[bytes]:
    """Give an open file or folder its xattrs, before its mode: an ACL holds the mode as well.

    fd: may be a path only (O_PATH). Those that are set already are left alone. Returns the names of what could not be
    set; a lack of rights, or a filesystem without xattrs, is not fatal for a restore.
    """
    refused: list[bytes] = []
    path = _by_itself(fd)
    for key, content in kept.xattrs:
        if not _HAS_XATTRS or not (key.startswith(b"user.") or key in _ACLS):
            refused.append(key)
        elif _xattr(path, key) != content:
            try:
                os.setxattr(path, key, content)
            except OSError:
                refused.append(key)
    return refused


def apply_owner(fd: int, owner: Owner | None) -> list[bytes]:
    """Give an open file or folder its owner, after everything else: what is another's we may not change.

    Returns [b"owner"] where it could not be set. The kernel takes setuid and setgid away with it.
    """
    if owner is None:
        return []
    try:
        status = os.fstat(fd)
        if (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
            os.chown(_by_itself(fd), owner.uid, owner.gid)
    except OSError:
        return [b"owner"]
    return []


def hand_nothing_down(fd: int) -> None:
    """Take the ACL away that new files in this open folder would get; no error where there is none."""
    if _HAS_XATTRS and _xattr(_by_itself(fd), _ACL_DEFAULT) is not None:
        with suppress(OSError):
            os.removexattr(_by_itself(fd), _ACL_DEFAULT)


def _xattr(path: bytes, key: bytes) -> bytes | None:
    try:
        return os.getxattr(path, key)
    except OSError:
        return None


def _xattrs(directory: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    if not _HAS_XATTRS:
        return ()
    found: list[tuple[bytes, bytes]] = []
    size = 0
    path = _by_link(directory, name)
    try:
        names = sorted(os.fsencode(key) for key in os.listxattr(path, follow_symlinks=False))
    except OSError as problem:
        if problem.errno in _NO_XATTRS:
            return ()
        raise
    for key in names:
        if key.startswith(_NEVER):
            continue
        try:
            content = os.getxattr(path, key, follow_symlinks=False)
        except OSError as problem:
            if problem.errno in _NO_XATTRS:
                continue
            raise
        size += _NAME.size + len(key) + len(content)
        if size > PACKED_LIMIT_BYTES - _OWNER.size or len(found) == XATTRS_LIMIT:
            break
        found.append((key, content))
    return tuple(found)


def _by_itself(fd: int) -> bytes:
    """A path that leads to what is open, whatever its name is by now; it serves descriptors with O_PATH too."""
    return b"/proc/self/fd/%d" % fd


def _by_link(directory: int, name: bytes) -> bytes:
    """No xattr call takes a dir_fd; the kernel's own link to the open directory is as safe."""
    return b"/proc/self/fd/%d/%b" % (directory, name)
