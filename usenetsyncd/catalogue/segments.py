"""Segments: where their content comes from, and the content of those that no file holds."""

from collections.abc import Collection, Sequence
from concurrent.futures import Future

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.rows import ArticleState, PostedSegments, SegmentRow, Source
from usenetsyncd.catalogue.statements import RowIds, Tallies, insert, select_in
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.errors import CatalogueError, NotFound
from usenetsyncd.model import ArticleKind, Priority, RelativePath, SegmentId

__all__ = ["SegmentRow", "Segments", "Source", "insert_articles", "revive"]

# Alternatives kept for one piece: a thousand copies of one licence text must not hide the other pieces.
ALTERNATIVES = 8

_SOURCES = """SELECT x.segment_id, e.id, d.path, e.name, x.position, x.offset, x.length, e.size, e.mtime_ns,
        e.ctime_ns, e.inode
    FROM (SELECT segment_id, entry_id, position, offset, length,
            row_number() OVER (PARTITION BY segment_id, offset ORDER BY entry_id, position) AS alternative
            FROM extent WHERE segment_id IN"""
_OF_FILES = f""") x
    JOIN entry e ON e.id = x.entry_id JOIN directory d ON d.id = e.directory_id
    WHERE x.alternative <= {ALTERNATIVES} ORDER BY x.segment_id, x.offset, x.alternative"""


class Segments:
    """Reading segments, and adding those whose content the catalogue keeps itself."""

    def __init__(self, readers: Readers, writer: Writer, ids: RowIds) -> None:
        self._readers = readers
        self._writer = writer
        self._ids = ids

    def get(self, segment_row: int) -> SegmentRow:
        """Raises NotFound."""
        row = self._readers.fetch_one(
            "SELECT id, folder_id, kind, seg_id, length, epoch FROM segment WHERE id = ?", (segment_row,)
        )
        if row is None:
            raise NotFound(f"there is no segment number {segment_row}")
        return SegmentRow(row[0], row[1], ArticleKind(row[2]), SegmentId(row[3]), row[4], row[5])

    def find(self, folder_id: int, kind: ArticleKind, seg_id: bytes) -> SegmentRow | None:
        """The segment of a folder by its id on the wire."""
        row = self._readers.fetch_one(
            "SELECT id, length, epoch FROM segment WHERE folder_id = ? AND kind = ? AND seg_id = ?",
            (folder_id, int(kind), seg_id),
        )
        return None if row is None else SegmentRow(row[0], folder_id, kind, SegmentId(seg_id), row[1], row[2])

    def sources(self, segment_row: int) -> list[Source]:
        """Where on this machine the pieces of the segment are, by offset in the segment.

        Several sources of one offset are alternatives, eight at most. Empty: no file uses the segment any more.
        """
        return self.sources_of((segment_row,)).get(segment_row, [])

    def sources_of(self, segment_rows: Collection[int]) -> dict[int, list[Source]]:
        """``sources`` of many segments in one query for some hundred; those without any are left out."""

        def ask(database: Connection) -> dict[int, list[Source]]:
            found: dict[int, list[Source]] = {}
            for row in select_in(database, _SOURCES, (), segment_rows, _OF_FILES):
                path = RelativePath(row[2] + b"/" + row[3] if row[2] else row[3])
                found.setdefault(row[0], []).append(Source(row[1], path, *row[4:]))
            return found

        return self._readers.query(ask)

    def posted_of(self, entry_id: int) -> PostedSegments:
        """How many segments a file has, and of how many the first copy is on a server."""
        row = self._readers.fetch_one(
            "SELECT count(*), coalesce(sum(a.state = 0), 0) FROM (SELECT DISTINCT segment_id FROM extent "
            "WHERE entry_id = ?) x JOIN article a ON a.segment_id = x.segment_id AND a.copy = 0",
            (entry_id,),
        )
        return PostedSegments(*row) if row else PostedSegments(0, 0)

    def blob(self, segment_row: int) -> bytes:
        """Content of an index, head or envelope segment. Raises NotFound."""
        row = self._readers.fetch_one("SELECT content FROM blob WHERE segment_id = ?", (segment_row,))
        if row is None:
            raise NotFound(f"the content of segment number {segment_row} is not kept here")
        return bytes(row[0])

    def find_blob(self, folder_id: int, kind: ArticleKind, seg_id: bytes) -> bytes | None:
        """The same by the id on the wire: how pages of older versions are loaded."""
        row = self._readers.fetch_one(
            "SELECT b.content FROM segment s JOIN blob b ON b.segment_id = s.id "
            "WHERE s.folder_id = ? AND s.kind = ? AND s.seg_id = ?",
            (folder_id, int(kind), seg_id),
        )
        return None if row is None else bytes(row[0])

    def add_blob(
        self,
        folder_id: int,
        kind: ArticleKind,
        seg_id: bytes,
        content: bytes,
        epoch: int,
        copies: int = 1,
        priority: Priority = Priority.HIGH,
    ) -> "Future[int]":
        """Keep this content and queue its articles; the same id again gives the same row.

        Raises CatalogueError when the id is there with other content: a name must never stand for two contents.
        """
        return self._writer.submit(
            lambda database: self.put_blob(
                database, folder_id, kind, seg_id, content, epoch, copies, priority
            )
        )

    def put_blob(
        self,
        database: Connection,
        folder_id: int,
        kind: ArticleKind,
        seg_id: bytes,
        content: bytes,
        epoch: int,
        copies: int = 1,
        priority: Priority = Priority.HIGH,
        state: ArticleState = ArticleState.QUEUED,
    ) -> int:
        """``add_blob`` inside an intent of the caller's; returns the segment row."""
        tallies = Tallies()
        found = database.run(
            "SELECT id FROM segment WHERE folder_id = ? AND kind = ? AND seg_id = ?",
            (folder_id, int(kind), seg_id),
        ).fetchone()
        if found is None:
            row = self._ids.take(database, "segment")
            database.run(
                "INSERT INTO segment (id, folder_id, kind, seg_id, length, epoch) VALUES (?, ?, ?, ?, ?, ?)",
                (row, folder_id, int(kind), seg_id, len(content), epoch),
            )
            insert_articles(database, folder_id, [(row, len(content))], copies, priority, tallies, state)
        else:
            row = int(found[0])
            kept = database.run("SELECT content FROM blob WHERE segment_id = ?", (row,)).fetchone()
            if kept is not None and kept[0] != content:
                raise CatalogueError(f"{kind.name} {seg_id.hex()} exists already, with other content")
            revive(database, folder_id, [row], priority, tallies)
        database.run(
            "INSERT INTO blob (segment_id, content) VALUES (?, ?) ON CONFLICT (segment_id) DO NOTHING",
            (row, content),
        )
        tallies.write(database)
        return row


def insert_articles(
    database: Connection,
    folder_id: int,
    segments: Sequence[tuple[int, int]],
    copies: int,
    priority: int,
    tallies: Tallies,
    state: ArticleState = ArticleState.QUEUED,
) -> None:
    """One article per copy for new segments, given as (row, length in bytes)."""
    params: list[int] = []
    size = 0
    for row, length in segments:
        size += length
        for copy in range(copies):
            params += (row, copy, int(state), folder_id, int(priority))
    insert(
        database,
        "INSERT INTO article (segment_id, copy, generation, state, folder_id, priority, not_before, attempts) VALUES",
        5,
        params,
        group="(?,?,0,?,?,?,0,0)",
    )
    tallies.move(folder_id, None, state, size * copies, len(segments) * copies)


def revive(
    database: Connection, folder_id: int, rows: Sequence[int], priority: int, tallies: Tallies
) -> None:
    """Queue given-up articles of these segments again: their content has turned up once more.

    One that was ever tried may be on a server, so it comes back as doubtful.
    """
    for row in rows:
        found = database.run(
            "SELECT a.copy, a.attempts, s.length FROM article a JOIN segment s ON s.id = a.segment_id "
            "WHERE a.segment_id = ? AND a.state = 5",
            (row,),
        ).fetchall()
        for copy, attempts, length in found:
            state = ArticleState.DOUBTFUL if attempts else ArticleState.QUEUED
            database.run(
                "UPDATE article SET state = ?, priority = ?, not_before = 0 WHERE segment_id = ? AND copy = ?",
                (int(state), int(priority), row, copy),
            )
            tallies.move(folder_id, ArticleState.ABANDONED, state, length)
