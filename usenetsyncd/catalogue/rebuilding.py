"""Rows of a folder made from its published index, when there is no catalogue any more: for `usenetsyncd recover`.

Everything is written as published: nothing waits to be posted, nothing is in the journal. A file's ctime and inode
are unknown, so the first scan reads it, finds the same hash, and keeps its segments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.rows import ArticleState, VersionState
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Entry,
    EntryKind,
    Extent,
    MessageId,
    PageRef,
    SegmentId,
)

_POSTED = int(ArticleState.POSTED)


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version as its head tells it."""

    version: int
    epoch: int
    created_at: float
    head_hash: bytes
    root: PageRef | None
    files: int
    directories: int
    size_bytes: int


class MemberToKeep(Protocol):
    """See wire.stripes.Member."""

    @property
    def segment(self) -> SegmentId: ...

    @property
    def length(self) -> int: ...


class StripeToKeep(Protocol):
    """See wire.stripes.Stripe."""

    @property
    def members(self) -> Sequence[MemberToKeep]: ...

    @property
    def parity(self) -> Sequence[SegmentId]: ...

    @property
    def length(self) -> int: ...


class OverrideToKeep(Protocol):
    """See wire.overrides.Override."""

    @property
    def at(self) -> ArticleAddress: ...

    @property
    def message_id(self) -> MessageId: ...


class Rebuilding:
    """Writes one folder; every call waits for its commit."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    def add(
        self,
        folder_id: int,
        epoch: int,
        entries: Sequence[tuple[Entry, Iterable[Extent], bytes | None]],
        epochs_of: Mapping[SegmentId, int],
    ) -> None:
        """Entries in the order of their paths, each with its extents and packed attributes.

        epochs_of: of segments that were sealed in another epoch than ``epoch``.
        """

        def intent(database: Connection) -> None:
            rows = _Rows(database, folder_id, epoch, epochs_of)
            for entry, extents, attributes in entries:
                rows.take(entry, extents, attributes)

        self._writer.submit(intent, alone=True).result()

    def add_stripe(
        self,
        folder_id: int,
        version: int,
        epoch: int,
        stripe: StripeToKeep,
        epochs_of: Mapping[SegmentId, int],
    ) -> None:
        """A stripe that the head of ``version`` tells of. epoch, epochs_of: as in ``add``."""

        def intent(database: Connection) -> None:
            rows = _Rows(database, folder_id, epoch, epochs_of)
            members = [rows.segment(ArticleKind.DATA, one.segment, one.length) for one in stripe.members]
            members += [rows.segment(ArticleKind.PARITY, one, stripe.length) for one in stripe.parity]
            made = database.run(
                "INSERT INTO stripe (folder_id, epoch, data, parity, length, state, version) VALUES (?, ?, ?, ?, ?, 2, ?)",
                (
                    folder_id,
                    epochs_of.get(stripe.parity[0], epoch),
                    len(stripe.members),
                    len(stripe.parity),
                    stripe.length,
                    version,
                ),
            ).lastrowid
            for position, segment in enumerate(members):
                database.run(
                    "INSERT INTO stripe_member (stripe_id, position, segment_id) VALUES (?, ?, ?)",
                    (made, position, segment),
                )

        self._writer.submit(intent).result()

    def add_override(self, folder_id: int, version: int, override: OverrideToKeep) -> None:
        """Under which id a server really keeps an article."""
        at = override.at

        def intent(database: Connection) -> None:
            found = database.run(
                "SELECT id FROM segment WHERE folder_id = ? AND kind = ? AND seg_id = ?",
                (folder_id, int(at.kind), at.id),
            ).fetchone()
            if found is None:
                return
            database.run(
                "INSERT OR REPLACE INTO override (segment_id, copy, generation, folder_id, message_id, state, version) "
                "VALUES (?, ?, ?, ?, ?, 2, ?)",
                (found[0], at.copy, at.generation, folder_id, override.message_id, version),
            )
            database.run(
                "UPDATE article SET message_id = ?, generation = ? WHERE segment_id = ? AND copy = ? AND generation <= ?",
                (override.message_id, at.generation, found[0], at.copy, at.generation),
            )

        self._writer.submit(intent).result()

    def finish(self, folder_id: int, versions: Sequence[PublishedVersion]) -> None:
        """All entries are there: counters, and the versions, the newest first."""
        newest = versions[0]
        now = self._clock.now()

        def intent(database: Connection) -> None:
            run = database.run
            run(
                "UPDATE segment SET length = (SELECT max(x.offset + x.length) FROM extent x WHERE x.segment_id = segment.id) "
                "WHERE folder_id = ? AND EXISTS (SELECT 1 FROM extent x WHERE x.segment_id = segment.id)",
                (folder_id,),
            )
            run("DELETE FROM tally WHERE folder_id = ?", (folder_id,))
            run(
                "INSERT INTO tally (folder_id, state, articles, bytes) SELECT a.folder_id, a.state, count(*), "
                "sum(s.length) FROM article a JOIN segment s ON s.id = a.segment_id WHERE a.folder_id = ? GROUP BY a.state",
                (folder_id,),
            )
            for version in versions:
                _add_version(database, folder_id, version)
            run(
                "UPDATE folder SET epoch = ?, version = ?, published_at = ?, restorable_at = ?, "
                "directories = (SELECT count(*) FROM directory d WHERE d.folder_id = folder.id AND d.path <> x''), "
                "(files, bytes) = (SELECT count(*), coalesce(sum(e.size), 0) FROM entry e JOIN directory d "
                "ON d.id = e.directory_id WHERE d.folder_id = folder.id AND e.kind = 1) WHERE id = ?",
                (newest.epoch, newest.version, newest.created_at, now, folder_id),
            )

        self._writer.submit(intent, alone=True, durable=True).result()

    def forget(self, folder_id: int) -> None:
        """Take back what an interrupted run has written of a folder."""

        def intent(database: Connection) -> None:
            run = database.run
            below = "SELECT e.id FROM entry e JOIN directory d ON d.id = e.directory_id WHERE d.folder_id = ?"
            run(f"DELETE FROM extent WHERE entry_id IN ({below})", (folder_id,))  # noqa: S608
            run(f"DELETE FROM entry WHERE id IN ({below})", (folder_id,))  # noqa: S608
            run(
                "DELETE FROM stripe_member WHERE stripe_id IN (SELECT id FROM stripe WHERE folder_id = ?)",
                (folder_id,),
            )
            for table in (
                "stripe",
                "override",
                "directory",
                "article",
                "segment",
                "tally",
                "version",
                "change",
            ):
                run(f"DELETE FROM {table} WHERE folder_id = ?", (folder_id,))  # noqa: S608

        self._writer.submit(intent, alone=True).result()


class _Rows:
    """Inserts entry by entry inside one intent."""

    def __init__(
        self, database: Connection, folder_id: int, epoch: int, epochs_of: Mapping[SegmentId, int]
    ) -> None:
        self._run = database.run
        self._folder_id = folder_id
        self._epoch = epoch
        self._epochs_of = epochs_of
        self._directories: dict[bytes, int] = {}
        self._segments: dict[tuple[ArticleKind, SegmentId], int] = {}

    def take(self, entry: Entry, extents: Iterable[Extent], attributes: bytes | None) -> None:
        """One entry."""
        if entry.kind is EntryKind.FOLDER:
            self._run(
                "INSERT INTO directory (folder_id, path, digest, mode, mtime_ns, inode, attributes) "
                "VALUES (?, ?, NULL, ?, ?, 0, ?) ON CONFLICT (folder_id, path) DO UPDATE SET mode = excluded.mode, "
                "mtime_ns = excluded.mtime_ns, attributes = excluded.attributes",
                (self._folder_id, entry.path, entry.mode, entry.mtime_ns, attributes),
            )
            return
        parent, _, name = entry.path.rpartition(b"/")
        cursor = self._run(
            "INSERT INTO entry (directory_id, name, kind, size, mtime_ns, ctime_ns, inode, mode, nlink, hash, target, "
            "sparse, attributes) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?)",
            (
                self._directory(parent),
                name,
                int(entry.kind),
                len(entry.target) or entry.size,  # as the file system has it for a symlink
                entry.mtime_ns,
                entry.mode,
                2 if entry.link_group else 1,
                entry.content_hash or None,
                entry.target or None,
                int(entry.sparse),
                attributes,
            ),
        )
        position = 0
        for extent in extents:
            self._run(
                "INSERT INTO extent (entry_id, position, segment_id, offset, length) VALUES (?, ?, ?, ?, ?)",
                (
                    cursor.lastrowid,
                    position,
                    self.segment(ArticleKind.DATA, extent.segment, extent.offset + extent.length),
                    extent.offset,
                    extent.length,
                ),
            )
            position += extent.length

    def _directory(self, path: bytes) -> int:
        found = self._directories.get(path)
        if found is None:
            self._run(
                "INSERT INTO directory (folder_id, path, digest, mode, mtime_ns, inode) VALUES (?, ?, NULL, 493, 0, 0) "
                "ON CONFLICT DO NOTHING",
                (self._folder_id, path),
            )
            found = self._directories[path] = self._id("directory", "path = ?", path)
        return found

    def segment(self, kind: ArticleKind, segment: SegmentId, length: int) -> int:
        """The row of a posted segment, made if it is new."""
        found = self._segments.get((kind, segment))
        if found is None:
            made = self._run(
                "INSERT INTO segment (folder_id, kind, seg_id, length, epoch) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (self._folder_id, int(kind), segment, length, self._epochs_of.get(segment, self._epoch)),
            ).rowcount
            found = self._segments[kind, segment] = self._id(
                "segment", f"kind = {int(kind)} AND seg_id = ?", segment
            )
            if made:
                self._run(
                    "INSERT INTO article (segment_id, copy, generation, state, folder_id, priority, not_before, attempts) "
                    "VALUES (?, 0, 0, ?, ?, 2, 0, 1)",
                    (found, _POSTED, self._folder_id),
                )
        return found

    def _id(self, table: str, where: str, value: bytes) -> int:
        row = self._run(
            f"SELECT id FROM {table} WHERE folder_id = ? AND {where}",  # noqa: S608
            (self._folder_id, value),
        ).fetchone()
        return int(row[0])


def _add_version(database: Connection, folder_id: int, version: PublishedVersion) -> None:
    root = version.root
    database.run(
        "INSERT OR REPLACE INTO version (folder_id, version, epoch, state, created_at, published_at, root_segment, "
        "root_offset, root_length, head_hash, files, directories, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            folder_id,
            version.version,
            version.epoch,
            VersionState.PUBLISHED.value,
            version.created_at,
            version.created_at,
            None if root is None else root.segment,
            None if root is None else root.offset,
            None if root is None else root.length,
            version.head_hash,
            version.files,
            version.directories,
            version.size_bytes,
        ),
    )
