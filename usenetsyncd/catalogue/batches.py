"""What a scan stores, and what it finds stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from usenetsyncd.model import EntryKind, Priority, RelativePath, SegmentId

ExtentTuple = tuple[int, bytes, int, int]
"""(position in the file, segment id, offset in the segment, length), all in bytes."""


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment of file content that the scan made: its id and the length of its content.

    mark: its first 8 bytes, where it is a part of one file alone.
    """

    seg_id: SegmentId
    length: int
    mark: bytes | None = None


class PieceRow(NamedTuple):
    """A whole segment of a file: at which position, and by what it is found again in other content."""

    position: int
    seg_id: SegmentId
    length: int
    mark: bytes


class EntryUpdate(NamedTuple):
    """One file or symlink as the scan saw it.

    hash: 32 bytes, None for symlinks and empty files. extents: None keeps those stored.
    publish: False when nothing that a reader would see has changed (only ctime moved).
    From ``kind`` to ``attributes`` the fields are the columns of table entry, in their order.
    """

    name: bytes
    kind: EntryKind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    nlink: int = 1
    hash: bytes | None = None
    target: bytes | None = None
    sparse: bool = False
    attributes: bytes | None = None
    extents: Sequence[ExtentTuple] | None = ()
    publish: bool = True


@dataclass(frozen=True, slots=True)
class DirectoryUpdate:
    """What changed directly inside one directory.

    digest: 16 bytes when the directory is finished with this update, else None.
    changed: the directory's own entry is new or a reader would see it changed.
    """

    path: RelativePath
    mode: int
    mtime_ns: int
    inode: int
    digest: bytes | None
    upserts: list[EntryUpdate] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    changed: bool = False
    attributes: bytes | None = None


@dataclass(frozen=True, slots=True)
class ScanBatch:
    """One transaction's worth of a scan: a few thousand files at most, or the writer stalls others.

    epoch: the one with whose keys the segments were named; None: the folder's own at this moment.
    """

    folder_id: int
    priority: Priority = Priority.NORMAL
    copies: int = 1
    directories: list[DirectoryUpdate] = field(default_factory=list)
    segments: list[NewSegment] = field(default_factory=list)
    removed_directories: list[RelativePath] = field(default_factory=list)
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a batch really changed: storing it a second time gives zeros for segments."""

    files_new: int
    files_changed: int
    files_removed: int
    segments_new: int
    bytes_delta: int


class DigestRow(NamedTuple):
    """A stored directory and the digest of its last complete scan."""

    path: RelativePath
    directory_id: int
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class DirectoryRow:
    """One stored directory."""

    id: int
    path: RelativePath
    digest: bytes | None
    mode: int
    mtime_ns: int
    inode: int
    attributes: bytes | None


class EntryRow(NamedTuple):
    """One stored file or symlink. hash is None when the content must be read (again)."""

    id: int
    name: bytes
    kind: EntryKind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    nlink: int
    hash: bytes | None
    target: bytes | None
    sparse: bool
    attributes: bytes | None
