"""Collect what a scan found into batches for the catalogue; a batch is one transaction.

A file is stored once all its extents are known. Small files wait for the packed segment they
share; a folder gets its digest with the last of its files, so a digest in the catalogue always
proves that everything below it was hashed and planned.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from usenetsyncd.catalogue.scan_store import DirectoryUpdate, EntryRow, EntryUpdate, NewSegment, ScanBatch
from usenetsyncd.model import EntryKind, Priority, RelativePath
from usenetsyncd.wire.segment import PackedSegment, Packer, segment_id

BATCH_ENTRIES = 4_000
# Large files fill a batch with segments long before there are so many of them: 1,000 are 768 MB to begin posting.
BATCH_SEGMENTS = 64
# Each waiting batch holds a few thousand rows: enough to keep the writer busy, flat in memory.
BATCHES_IN_FLIGHT = 3

ExtentRow = tuple[int, bytes, int, int]
"""(position in the file, segment, offset in the segment, length), all in bytes."""


@dataclass(slots=True)
class FolderWork:
    """One folder being scanned: what is stored for it, and how many of its files are still open."""

    path: RelativePath
    mode: int
    mtime_ns: int
    inode: int
    digest: bytes | None
    changed: bool
    attributes: bytes | None = None
    deletes: list[bytes] = field(default_factory=list)
    open_files: int = 0
    listed: bool = False
    upserts: list[EntryUpdate] = field(default_factory=list)
    touched: bool = False
    finished: bool = False


@dataclass(slots=True, eq=False)
class FileWork:
    """One changed file or symlink on its way into the catalogue.

    stored: its row, when it is not new. content_hash: 32 bytes, b"" while unknown and where there is no content.
    keeps_extents: those stored stay.
    """

    folder: FolderWork
    name: bytes
    kind: EntryKind
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    nlink: int
    sparse: bool = False
    stored: EntryRow | None = None
    content_hash: bytes = b""
    target: bytes | None = None
    attributes: bytes | None = None
    publish: bool = True
    extents: list[ExtentRow] = field(default_factory=list)
    keeps_extents: bool = False
    segments: list[NewSegment] | None = None
    followers: list["FileWork"] | None = None


class SeenContent:
    """Says of most content that this scan surely has not met it yet, without a query.

    One bit for each hash among 2^26 (8 MiB): wrong for 4 % after 3,000,000 files, which costs those a query.
    """

    _MASK = (1 << 26) - 1

    def __init__(self) -> None:
        self._bits = bytearray(1 << 23)

    def add(self, content_hash: bytes) -> None:
        """Remember a 32-byte hash."""
        bit = int.from_bytes(content_hash[:4], "little") & self._MASK
        self._bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, content_hash: bytes) -> bool:
        bit = int.from_bytes(content_hash[:4], "little") & self._MASK
        return bool(self._bits[bit >> 3] & (1 << (bit & 7)))


class Plan:
    """Turns scanned folders and hashed files into batches, in the order in which they become complete."""

    def __init__(
        self,
        folder_id: int,
        identity: bytes,
        priority: Priority,
        copies: int,
        store: Callable[[ScanBatch], Future[Any]],
    ) -> None:
        self._folder_id = folder_id
        self._priority = priority
        self._copies = copies
        self._store = store
        self._packer: Packer[FileWork] = Packer(identity)
        self._open_pieces: dict[bytes, FileWork] = {}
        self._in_flight: list[tuple[Future[Any], dict[bytes, list[ExtentRow]]]] = []
        self._recent: dict[bytes, list[ExtentRow]] = {}
        self._touched: list[FolderWork] = []
        self._segments: list[NewSegment] = []
        self._removed: list[RelativePath] = []
        self._shrunk: list[FolderWork] = []
        self._seen = SeenContent()
        self._entries = 0
        self.files_planned = 0
        self.segments_planned = 0

    def open_folder(self, work: FolderWork) -> None:
        """Begin a folder; its files follow until ``close_folder``."""
        work.open_files += 1  # the listing itself, so that no early file closes it

    def close_folder(self, work: FolderWork) -> None:
        """All files of the folder have been handed over; it is stored when the last one is complete."""
        work.listed = True
        self._release(work)

    def remove_folder(self, path: RelativePath) -> None:
        """The folder and everything below it is gone; it leaves the catalogue with the last batch."""
        self._removed.append(path)

    def begin_file(self, work: FileWork) -> None:
        """A file of an open folder will be completed, dropped or packed later."""
        work.folder.open_files += 1

    def drop_file(self, work: FileWork) -> None:
        """The file could not be read whole: nothing of it is stored, its folder gets no digest."""
        work.folder.digest = None
        self._release(work.folder)

    def add_slice(
        self, work: FileWork, position: int, slice_hash: bytes, length: int, mark: bytes | None = None
    ) -> None:
        """A part of a file that is a segment of its own. mark: its first bytes, to find it again later."""
        segment = segment_id(slice_hash)
        if work.segments is None:
            work.segments = []
        work.segments.append(NewSegment(segment, length, mark))
        work.extents.append((position, segment, 0, length))

    def adopt_duplicate(self, work: FileWork) -> bool:
        """Share the segments of a file with the same content that this scan found, committed or not yet."""
        if work.content_hash not in self._seen:
            return False
        first = self._open_pieces.get(work.content_hash)
        if first is not None:
            first.followers = [*(first.followers or ()), work]
            return True
        for recent in (self._recent, *(known for _, known in self._in_flight)):
            extents = recent.get(work.content_hash)
            if extents is not None:
                work.extents = extents
                self.complete(work)
                return True
        return False

    def maybe_planned(self, content_hash: bytes) -> bool:
        """False: this scan has surely not planned such content before."""
        return content_hash in self._seen

    def pack(self, work: FileWork, piece: bytes | bytearray | memoryview) -> None:
        """A small file, or the tail of a large one, shares a segment with others."""
        for packed in self._packer.add(work, piece):
            self._close_segment(packed)
        self._open_pieces[work.content_hash] = work
        self._seen.add(work.content_hash)

    def complete(self, work: FileWork) -> None:
        """All extents of the file are known: store it."""
        self._complete(work)
        self._flush_if_full()

    def _complete(self, work: FileWork) -> None:
        self._add_entry(work)
        if work.followers is not None:
            for follower in work.followers:
                follower.extents = work.extents
                self._add_entry(follower)
            work.followers = None

    def finish(self) -> None:
        """Close the open segment, store everything, wait until it is committed."""
        for packed in self._packer.flush():
            self._close_segment(packed)
        for folder in self._shrunk:
            self._finish_folder(folder)
            self._flush_if_full()
        self._flush(self._removed)
        while self._in_flight:
            self._wait_for_oldest()

    def _close_segment(self, packed: "PackedSegment[FileWork]") -> None:
        segment = segment_id(packed.hash)
        self._segments.append(NewSegment(segment, packed.length))
        self.segments_planned += 1
        self._open_pieces.clear()
        for work, offset, length in packed.pieces:
            work.extents.append((work.size - length, segment, offset, length))
            self._complete(work)
        # Only now: a segment must come in one batch with all files that it is made from, or the uploader,
        # which reads it from those files, would find some of them missing.
        self._flush_if_full()

    def _add_entry(self, work: FileWork) -> None:
        self._touch(work.folder)
        if work.segments is not None:
            self._segments += work.segments
            self.segments_planned += len(work.segments)
        if work.content_hash and work.extents:
            self._recent[work.content_hash] = work.extents
            self._seen.add(work.content_hash)
        work.folder.upserts.append(
            EntryUpdate(
                work.name,
                work.kind,
                work.size,
                work.mtime_ns,
                work.ctime_ns,
                work.inode,
                work.mode,
                work.nlink,
                work.content_hash or None,
                work.target,
                work.sparse,
                work.attributes,
                None if work.keeps_extents else work.extents,
                work.publish,
            )
        )
        self.files_planned += 1
        self._entries += 1
        self._release(work.folder)

    def _flush_if_full(self) -> None:
        if self._entries >= BATCH_ENTRIES or len(self._segments) >= BATCH_SEGMENTS:
            self._flush()

    def _touch(self, folder: FolderWork) -> None:
        if not folder.touched:
            folder.touched = True
            self._touched.append(folder)

    def _release(self, folder: FolderWork) -> None:
        folder.open_files -= 1
        if folder.open_files > 0 or not folder.listed:
            return
        if folder.deletes:
            # What is gone here may turn up in a folder that is scanned later: its segments must still be known then.
            self._shrunk.append(folder)
        else:
            self._finish_folder(folder)

    def _finish_folder(self, folder: FolderWork) -> None:
        folder.finished = True
        self._touch(folder)
        self._entries += 1 + len(folder.deletes)

    def _flush(self, removed: Sequence[RelativePath] = ()) -> None:
        if not (self._touched or removed or self._segments):
            return
        batch = ScanBatch(
            self._folder_id,
            self._priority,
            self._copies,
            [_update(folder) for folder in self._touched],
            self._segments,
            list(removed),
        )
        self._segments, self._touched = [], []
        self._entries = 0
        while len(self._in_flight) >= BATCHES_IN_FLIGHT:
            self._wait_for_oldest()
        self._in_flight.append((self._store(batch), self._recent))
        self._recent = {}

    def _wait_for_oldest(self) -> None:
        future, _ = self._in_flight.pop(0)
        future.result()


def _update(folder: FolderWork) -> DirectoryUpdate:
    """What one batch says of a folder; the digest comes with the last of its files."""
    upserts, folder.upserts, folder.touched = folder.upserts, [], False
    changed, folder.changed = folder.changed, False
    return DirectoryUpdate(
        folder.path,
        folder.mode,
        folder.mtime_ns,
        folder.inode,
        folder.digest if folder.finished else None,
        upserts,
        folder.deletes if folder.finished else [],
        changed,
        folder.attributes,
    )
