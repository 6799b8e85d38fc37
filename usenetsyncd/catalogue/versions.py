"""Versions of folders, and the journal of changes from which each is made.

The way of a version: ``begin`` takes the ready changes (marks them), ``changes(version=...)`` streams them,
``add_segment`` stores each index segment as it is made, ``complete`` stores the head, which is queued once all
index segments are posted, ``publish_done`` clears the taken changes from the journal. A path that changes again
in between loses its mark and so survives for the next version.
"""

from collections.abc import Iterator
from concurrent.futures import Future

from usenetsyncd.catalogue import outcomes, protection
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.journal import MARK_CHUNK, READY, Journal, Unpack
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, page_of
from usenetsyncd.catalogue.rows import ArticleState, VersionRow, VersionState
from usenetsyncd.catalogue.segments import Segments
from usenetsyncd.catalogue.statements import Tallies
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.model import ArticleKind, Entry, PageRef, Priority, RelativePath, SegmentId

__all__ = ["Unpack", "VersionRow", "VersionState", "Versions"]

_SELECT = (
    "SELECT folder_id, version, epoch, state, created_at, published_at, head_segment_id, root_segment, root_offset, "
    "root_length, head_hash, files, directories, bytes FROM version"
)


class Versions:
    """The versions of every folder."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock, segments: Segments) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._segments = segments
        self._journal = Journal(readers)

    # -- the journal ---------------------------------------------------------------------

    def changes(
        self,
        folder_id: int,
        only_ready: bool = True,
        version: int | None = None,
        unpack: Unpack | None = None,
    ) -> Iterator[tuple[RelativePath, Entry | None]]:
        """Changed paths in order with what is there now, None where nothing is.

        version: only those this version has taken. link_group of a file with several names is its inode, 8 bytes
        big-endian. unpack turns packed attributes into owner and xattrs; without it they are left out. A huge file has
        an ExtentStream, which can be opened until the next change is asked for.
        """
        return self._journal.changes(folder_id, only_ready, version, unpack)

    def change_count(self, folder_id: int) -> int:
        """Paths that differ from the last published version."""
        return self._journal.change_count(folder_id)

    def is_changed(self, folder_id: int, path: RelativePath) -> bool:
        """Whether a path differs from the last published version."""
        row = self._readers.fetch_one(
            "SELECT 1 FROM change WHERE folder_id = ? AND path = ?", (folder_id, path)
        )
        return row is not None

    def unready_count(self, folder_id: int) -> int:
        """Changed paths whose content is not all posted yet."""
        return self._journal.unready_count(folder_id)

    def any_ready(self, folder_id: int) -> bool:
        """Whether a version begun now would take anything."""
        return self._journal.any_ready(folder_id)

    # -- making a version ----------------------------------------------------------------

    def begin(self, folder_id: int) -> VersionRow:
        """Reserve the next number and take every change that is ready now. Waits for the commit.

        Raises UsageError while another version of the folder is unfinished: finish or abandon it first.
        """
        now = self._clock.now()

        def intent(database: Connection) -> int:
            if database.run(
                "SELECT 1 FROM version WHERE folder_id = ? AND state <> 'published'", (folder_id,)
            ).fetchone():
                raise UsageError("another version of this folder is not finished yet")
            row = database.run(
                "SELECT epoch, max(version, (SELECT coalesce(max(v.version), 0) FROM version v WHERE v.folder_id = f.id)) "
                "FROM folder f WHERE id = ?",
                (folder_id,),
            ).fetchone()
            if row is None:
                raise NotFound(f"there is no folder number {folder_id}")
            database.run(
                "INSERT INTO version (folder_id, version, epoch, state, created_at, files, directories, bytes) "
                "VALUES (?, ?, ?, 'building', ?, 0, 0, 0)",
                (folder_id, row[1] + 1, row[0], now),
            )
            return int(row[1]) + 1

        version = self._writer.run(intent)
        after: bytes | None = b""
        while after is not None:
            after = self._writer.submit(_mark(folder_id, version, after), alone=True).result()
        return self.get(folder_id, version)

    def add_segment(
        self,
        folder_id: int,
        version: int,
        seg_id: bytes,
        content: bytes,
        copies: int = 1,
        priority: Priority = Priority.HIGH,
    ) -> "Future[int]":
        """Keep and queue an index segment of a version being built; returns its row."""

        def intent(database: Connection) -> int:
            row = _unfinished(database, folder_id, version, VersionState.BUILDING)
            segment = self._segments.put_blob(
                database, folder_id, ArticleKind.INDEX, seg_id, content, row[2], copies, priority
            )
            database.run(
                "INSERT INTO version_segment (segment_id, folder_id, version) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (segment, folder_id, version),
            )
            return segment

        return self._writer.submit(intent)

    def complete(
        self,
        folder_id: int,
        version: int,
        *,
        root: PageRef | None,
        head_id: bytes,
        head: bytes,
        head_hash: bytes,
        files: int,
        directories: int,
        size_bytes: int,
        copies: int = 1,
        priority: Priority = Priority.HIGH,
    ) -> "Future[VersionRow]":
        """All pages are stored: keep the head. It is queued when the last index segment is posted."""

        def intent(database: Connection) -> VersionRow:
            row = _unfinished(database, folder_id, version, VersionState.BUILDING)
            segment = self._segments.put_blob(
                database,
                folder_id,
                ArticleKind.HEAD,
                head_id,
                head,
                row[2],
                copies,
                priority,
                ArticleState.WAITING,
            )
            database.run(
                "UPDATE version SET state = 'posting', head_segment_id = ?, root_segment = ?, root_offset = ?, "
                "root_length = ?, head_hash = ?, files = ?, directories = ?, bytes = ? "
                "WHERE folder_id = ? AND version = ?",
                (
                    segment,
                    None if root is None else root.segment,
                    None if root is None else root.offset,
                    None if root is None else root.length,
                    head_hash,
                    files,
                    directories,
                    size_bytes,
                    folder_id,
                    version,
                ),
            )
            tallies = Tallies()
            outcomes.release_head(database, folder_id, version, tallies)
            tallies.write(database)
            return _version(_unfinished(database, folder_id, version, VersionState.POSTING))

        return self._writer.submit(intent, durable=True)

    def head_posted(self, folder_id: int, version: int) -> bool:
        """Whether the head's first copy is on a server, so that ``publish_done`` may be called."""
        return (
            self._readers.fetch_one(
                "SELECT 1 FROM version v JOIN article a ON a.segment_id = v.head_segment_id AND a.copy = 0 "
                "WHERE v.folder_id = ? AND v.version = ? AND a.state = 0",
                (folder_id, version),
            )
            is not None
        )

    def publish_done(self, folder_id: int, version: int) -> "Future[None]":
        """The head is posted: the taken changes are published. Does nothing the second time."""
        now = self._clock.now()

        def intent(database: Connection) -> None:
            row = database.run(
                f"{_SELECT} WHERE folder_id = ? AND version = ?", (folder_id, version)
            ).fetchone()
            if row is None:
                raise NotFound(f"there is no version {version}")
            if row[3] == VersionState.PUBLISHED:
                return
            if row[3] != VersionState.POSTING:
                raise UsageError(f"version {version} has no head yet")
            run = database.run
            run("DELETE FROM change WHERE folder_id = ? AND version = ?", (folder_id, version))
            run("DELETE FROM version_segment WHERE folder_id = ? AND version = ?", (folder_id, version))
            protection.published(database, folder_id, version)
            run(
                "UPDATE version SET state = 'published', published_at = ? WHERE folder_id = ? AND version = ?",
                (now, folder_id, version),
            )
            run(
                "UPDATE folder SET version = max(version, ?), published_at = ?, restorable_at = ? WHERE id = ?",
                (version, now, now, folder_id),
            )

        return self._writer.submit(intent, alone=True)

    def abandon(self, folder_id: int, version: int) -> "Future[bool]":
        """Give an unfinished version up: its changes wait for the next, its number is used again.

        False, and nothing done, when its head may be on a server already: then it must be seen through.
        """

        def intent(database: Connection) -> bool:
            return _abandon(database, folder_id, version)

        return self._writer.submit(intent, alone=True)

    # -- reading -------------------------------------------------------------------------

    def get(self, folder_id: int, version: int) -> VersionRow:
        """Raises NotFound."""
        row = self._readers.fetch_one(f"{_SELECT} WHERE folder_id = ? AND version = ?", (folder_id, version))
        if row is None:
            raise NotFound(f"there is no version {version}")
        return _version(row)

    def newest(self, folder_id: int) -> VersionRow | None:
        """The newest published version."""
        row = self._readers.fetch_one(
            f"{_SELECT} WHERE folder_id = ? AND state = 'published' ORDER BY version DESC LIMIT 1",
            (folder_id,),
        )
        return None if row is None else _version(row)

    def first_of_epochs(self, folder_id: int) -> dict[int, int]:
        """Epoch -> the first version published in it."""
        rows = self._readers.fetch(
            "SELECT epoch, min(version) FROM version WHERE folder_id = ? AND state = 'published' GROUP BY epoch",
            (folder_id,),
        )
        return dict(rows)

    def list(self, folder_id: int, after: str | None = None, limit: int = 100) -> Page[VersionRow]:
        """Published versions, the newest first."""
        limit = bounded(limit)
        (before,) = decode_cursor(after, (int,)) if after else (2**62,)
        rows = self._readers.fetch(
            f"{_SELECT} WHERE folder_id = ? AND version < ? AND state = 'published' ORDER BY version DESC LIMIT ?",
            (folder_id, before, limit + 1),
        )
        return page_of(rows, limit, _version, lambda row: (row[1],))

    def unfinished(self, folder_id: int | None = None) -> "tuple[VersionRow, ...]":
        """Versions being built or posted, to go on with after a crash (abandon the ones being built)."""
        where, params = ("AND folder_id = ?", (folder_id,)) if folder_id is not None else ("", ())
        rows = self._readers.fetch(
            f"{_SELECT} WHERE state <> 'published' {where} ORDER BY folder_id, version", params
        )
        return tuple(_version(row) for row in rows)


def _mark(folder_id: int, version: int, after: bytes):  # type: ignore[no-untyped-def]
    def intent(database: Connection) -> bytes | None:
        row = database.run(
            "SELECT path FROM change WHERE folder_id = ? AND path > ? ORDER BY path LIMIT 1 OFFSET ?",
            (folder_id, after, MARK_CHUNK - 1),
        ).fetchone()
        # The first chunk takes in b"", the folder itself.
        low = ">" if after else ">="
        end, params = ("AND path <= ?", (row[0],)) if row else ("", ())
        database.run(
            f"UPDATE change SET version = ? WHERE folder_id = ? AND path {low} ? {end} AND {READY}",  # noqa: S608
            (version, folder_id, after, *params),
        )
        return None if row is None else bytes(row[0])

    return intent


def _unfinished(database: Connection, folder_id: int, version: int, state: VersionState) -> Row:
    row: Row | None = database.run(
        f"{_SELECT} WHERE folder_id = ? AND version = ? AND state = ?", (folder_id, version, state.value)
    ).fetchone()
    if row is None:
        raise UsageError(f"version {version} is not {state.value}")
    return row


def _abandon(database: Connection, folder_id: int, version: int) -> bool:
    run = database.run
    row = run(f"{_SELECT} WHERE folder_id = ? AND version = ?", (folder_id, version)).fetchone()
    if row is None:
        return True
    if row[3] == VersionState.PUBLISHED:
        return False
    head = row[6]
    if head is not None:
        if run(
            "SELECT 1 FROM article WHERE segment_id = ? AND (attempts > 0 OR state = 0)", (head,)
        ).fetchone():
            return False
        outcomes.abandon(database, head, ())
        # The number, and so the head's name, is used again for other content.
        _forget_head(database, folder_id, head)
    segments = run(
        "SELECT v.segment_id FROM version_segment v JOIN article a ON a.segment_id = v.segment_id AND a.copy = 0 "
        "WHERE v.folder_id = ? AND v.version = ? AND a.state <> 0",
        (folder_id, version),
    ).fetchall()
    for (segment,) in segments:
        outcomes.abandon(database, segment, ())
    run("DELETE FROM version_segment WHERE folder_id = ? AND version = ?", (folder_id, version))
    run("UPDATE change SET version = NULL WHERE folder_id = ? AND version = ?", (folder_id, version))
    protection.given_up(database, folder_id, version)
    run("DELETE FROM version WHERE folder_id = ? AND version = ?", (folder_id, version))
    return True


def _forget_head(database: Connection, folder_id: int, head: int) -> None:
    run = database.run
    copies, length = run(
        "SELECT count(*), coalesce(sum(s.length), 0) FROM article a JOIN segment s ON s.id = a.segment_id "
        "WHERE a.segment_id = ?",
        (head,),
    ).fetchone()
    tallies = Tallies()
    tallies.move(folder_id, ArticleState.ABANDONED, None, length, copies)
    tallies.write(database)
    run("DELETE FROM article WHERE segment_id = ?", (head,))
    run("DELETE FROM blob WHERE segment_id = ?", (head,))
    run("DELETE FROM segment WHERE id = ?", (head,))


def _version(row: Row) -> VersionRow:
    root = None if row[7] is None else PageRef(SegmentId(row[7]), row[8], row[9])
    return VersionRow(
        folder_id=row[0],
        version=row[1],
        epoch=row[2],
        state=VersionState(row[3]),
        created_at=row[4],
        published_at=row[5],
        head_segment=row[6],
        root=root,
        head_hash=row[10],
        files=row[11],
        directories=row[12],
        bytes=row[13],
    )
