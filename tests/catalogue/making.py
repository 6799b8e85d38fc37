"""Short ways to make batches."""

import hashlib
from typing import Any

from usenetsyncd.catalogue.batches import DirectoryUpdate, EntryUpdate, NewSegment, ScanBatch
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import LeasedArticle, PostedArticle
from usenetsyncd.model import EntryKind, Priority, RelativePath, SegmentId

DIGEST = b"digest of sixteen"[:16]


def seg(text: str) -> SegmentId:
    return SegmentId(hashlib.sha256(text.encode()).digest()[:16])


def content_hash(text: str) -> bytes:
    return hashlib.sha256(b"content" + text.encode()).digest()


def file(
    name: bytes, content: str = "x", size: int = 10, segment: str | None = None, **values: Any
) -> EntryUpdate:
    """A file whose whole content stands at offset 0 of one segment."""
    fields: dict[str, Any] = {
        "mtime_ns": 1_000,
        "ctime_ns": 2_000,
        "inode": 3,
        "mode": 0o644,
        "hash": content_hash(content),
        "extents": [(0, seg(segment or content), 0, size)],
    }
    return EntryUpdate(name, EntryKind.FILE, size, **{**fields, **values})


def directory(
    path: bytes, *upserts: EntryUpdate, deletes: tuple[bytes, ...] = (), **values: Any
) -> DirectoryUpdate:
    fields: dict[str, Any] = {"mode": 0o755, "mtime_ns": 5, "inode": 6, "digest": DIGEST, "changed": True}
    return DirectoryUpdate(
        RelativePath(path), upserts=list(upserts), deletes=list(deletes), **{**fields, **values}
    )


def batch(
    folder_id: int,
    *directories: DirectoryUpdate,
    segments: dict[str, int] | None = None,
    removed: tuple[bytes, ...] = (),
    copies: int = 1,
    priority: Priority = Priority.NORMAL,
) -> ScanBatch:
    """segments: name -> length; without it, one per distinct content of the batch's files."""
    if segments is None:
        found = {
            extent[1]: extent[3]
            for update in directories
            for upsert in update.upserts
            for extent in upsert.extents or ()
        }
        new = [NewSegment(SegmentId(seg_id), length) for seg_id, length in found.items()]
    else:
        new = [NewSegment(seg(name), length) for name, length in segments.items()]
    return ScanBatch(
        folder_id, priority, copies, list(directories), new, [RelativePath(path) for path in removed]
    )


def post(catalogue: Catalogue, leased: list[LeasedArticle], server: str = "main") -> int:
    return catalogue.queue.posted(
        [
            PostedArticle(one.segment_row, one.copy, one.generation, server, None, 1_800_000_000.0)
            for one in leased
        ]
    ).result()


def post_all(catalogue: Catalogue) -> int:
    """Lease and post until nothing is left; returns how many were posted."""
    count = 0
    while leased := catalogue.queue.lease(1_000).result():
        count += post(catalogue, leased)
    return count


def assert_sound(catalogue: Catalogue) -> None:
    """Every invariant holds, counters included."""
    report = catalogue.check(full=True)
    assert report.problems == ()
