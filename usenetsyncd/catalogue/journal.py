"""The journal of paths that differ from the last published version, read as entries of an index."""

from collections.abc import Callable, Iterator
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.statements import select_in
from usenetsyncd.errors import CatalogueError
from usenetsyncd.model import (
    SEGMENT_SIZE_BYTES,
    Entry,
    EntryKind,
    Extent,
    ExtentStream,
    Owner,
    RelativePath,
    SegmentId,
)

Unpack = Callable[[bytes], tuple[Owner | None, tuple[tuple[bytes, bytes], ...]]]
"""Packed attributes -> owner and extended attributes."""

CHUNK = 1_000
MARK_CHUNK = 20_000
# Up to here the extents of a whole chunk of files fit into memory: 256 of each, as many as an index keeps in an entry.
HUGE_BYTES = 256 * SEGMENT_SIZE_BYTES
STREAM_CHUNK = 5_000

# Deletions, directories and symlinks need no article. A file needs all of its segments on a server; one that has
# content but no hash waits for the next scan.
READY = """(entry_id IS NULL OR (
    NOT EXISTS (SELECT 1 FROM extent x JOIN article a ON a.segment_id = x.segment_id AND a.copy = 0
        WHERE x.entry_id = change.entry_id AND a.state <> 0)
    AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.id = change.entry_id
        AND e.kind = 1 AND e.size > 0 AND e.hash IS NULL)))"""

_SELECT = """SELECT change.path, e.id, e.kind, e.size, e.mtime_ns, e.mode, e.hash, e.target, e.nlink, e.inode, e.sparse,
    e.attributes, d.id, d.mtime_ns, d.mode, d.attributes
    FROM change LEFT JOIN entry e ON e.id = change.entry_id LEFT JOIN directory d ON d.id = change.directory_id"""


class Journal:
    """Reads the table of changes."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def changes(
        self, folder_id: int, only_ready: bool, version: int | None, unpack: Unpack | None
    ) -> Iterator[tuple[RelativePath, Entry | None]]:
        """See Versions.changes. Each chunk is one short read, so that no long one holds up the WAL."""
        where, params = _wanted(folder_id, only_ready, version)
        after: bytes | None = None
        while True:
            with self._readers.lend() as database:
                rows, extents = _chunk(database, where, params, after)
            for row in rows:
                if _is_huge(row):
                    yield from self._huge(where, params, row[0], unpack)
                else:
                    yield RelativePath(row[0]), _entry(row, extents.get(row[1], ()), unpack)
            if len(rows) < CHUNK:
                return
            after = rows[-1][0]

    def _huge(
        self, where: str, params: tuple[Any, ...], path: bytes, unpack: Unpack | None
    ) -> Iterator[tuple[RelativePath, Entry | None]]:
        """A file whose extents should not be in memory at once, as it is when its turn comes.

        One read lasts until the next change is asked for, so that the entry and its extents are of one moment. Nothing
        comes of a file that changed since the chunk was read: it is in the journal again, for the next version.
        """
        with self._readers.lend() as database, database.atomic():
            rows, extents = _read(database, f"{where} AND change.path = ?", (*params, path))
            for row in rows:
                if not _is_huge(row):
                    yield RelativePath(path), _entry(row, extents.get(row[1], ()), unpack)
                    continue
                stream = _Stream(database, row[1])
                try:
                    found = stream.extents if stream.size() == row[3] else ()
                    yield RelativePath(path), _entry(row, found, unpack)
                finally:
                    stream.close()

    def change_count(self, folder_id: int) -> int:
        """Rows of a folder."""
        return self._count("SELECT count(*) FROM change WHERE folder_id = ?", folder_id)

    def unready_count(self, folder_id: int) -> int:
        """Rows of a folder that no version could take now."""
        return self._count(f"SELECT count(*) FROM change WHERE folder_id = ? AND NOT {READY}", folder_id)  # noqa: S608

    def any_ready(self, folder_id: int) -> bool:
        """Whether a version begun now would take anything."""
        return bool(
            self._count(
                "SELECT EXISTS (SELECT 1 FROM change WHERE folder_id = ? AND version IS NULL "  # noqa: S608
                f"AND {READY})",
                folder_id,
            )
        )

    def _count(self, sql: str, folder_id: int) -> int:
        row = self._readers.fetch_one(sql, (folder_id,))
        return 0 if row is None else int(row[0])


def _wanted(folder_id: int, only_ready: bool, version: int | None) -> tuple[str, tuple[Any, ...]]:
    """The rows that are asked for: a condition and its values."""
    if version is not None:
        return "change.folder_id = ? AND change.version = ?", (folder_id, version)
    if only_ready:
        return f"change.folder_id = ? AND change.version IS NULL AND {READY}", (folder_id,)
    return "change.folder_id = ?", (folder_id,)


_Extents = dict[int, tuple[Extent, ...]]
"""entry id -> extents; of huge files nothing."""


def _chunk(
    database: Connection, where: str, params: tuple[Any, ...], after: bytes | None
) -> tuple[list[Row], _Extents]:
    """The next rows by path, with their extents, as they are at one moment."""
    if after is not None:
        where, params = f"{where} AND change.path > ?", (*params, after)
    with database.atomic():
        return _read(database, where, params)


def _read(database: Connection, where: str, params: tuple[Any, ...]) -> tuple[list[Row], _Extents]:
    rows = database.run(f"{_SELECT} WHERE {where} ORDER BY change.path LIMIT ?", (*params, CHUNK)).fetchall()
    found: dict[int, list[Extent]] = {}
    for entry_id, seg_id, offset, length in select_in(
        database,
        "SELECT x.entry_id, s.seg_id, x.offset, x.length FROM extent x JOIN segment s ON s.id = x.segment_id "
        "WHERE x.entry_id IN",
        (),
        [row[1] for row in rows if row[1] is not None and not _is_huge(row)],
        "ORDER BY x.entry_id, x.position",
    ):
        found.setdefault(entry_id, []).append(Extent(SegmentId(seg_id), offset, length))
    return rows, {entry_id: tuple(extents) for entry_id, extents in found.items()}


class _Stream:
    """The extents of one entry, from an open transaction of a lent connection."""

    def __init__(self, database: Connection, entry_id: int) -> None:
        self._database: Connection | None = database
        self._entry_id = entry_id
        self.extents = ExtentStream(self._open)

    def size(self) -> int:
        """Bytes of all of them."""
        return int(self._run("SELECT total(length) FROM extent WHERE entry_id = ?", self._entry_id)[0][0])

    def close(self) -> None:
        """The transaction ends."""
        self._database = None

    def _open(self) -> Iterator[Extent]:
        position = -1
        while True:
            rows = self._run(
                "SELECT s.seg_id, x.offset, x.length, x.position FROM extent x"
                " JOIN segment s ON s.id = x.segment_id"
                " WHERE x.entry_id = ? AND x.position > ? ORDER BY x.position LIMIT ?",
                self._entry_id,
                position,
                STREAM_CHUNK,
            )
            for seg_id, offset, length, _ in rows:
                yield Extent(SegmentId(seg_id), offset, length)
            if len(rows) < STREAM_CHUNK:
                return
            position = rows[-1][3]

    def _run(self, sql: str, *params: object) -> list[Row]:
        if self._database is None:
            raise CatalogueError("the extents of a file were asked for after the next change had been")
        rows: list[Row] = self._database.run(sql, params).fetchall()
        return rows


def _is_huge(row: Row) -> bool:
    return row[1] is not None and row[3] > HUGE_BYTES


def _entry(row: Row, extents: tuple[Extent, ...] | ExtentStream, unpack: Unpack | None) -> Entry | None:
    if row[1] is not None:
        path, _, kind, size, mtime_ns, mode, content_hash, target, nlink, inode, sparse, attributes = row[:12]
        owner, xattrs = unpack(attributes) if unpack and attributes else (None, ())
        group = inode.to_bytes(8, "big", signed=inode < 0) if nlink > 1 and kind == EntryKind.FILE else b""
        return Entry(
            RelativePath(path),
            EntryKind(kind),
            size,
            mtime_ns,
            mode,
            (content_hash or b"")[:16],
            extents,
            target or b"",
            group,
            bool(sparse),
            owner,
            xattrs,
        )
    if row[12] is not None:
        owner, xattrs = unpack(row[15]) if unpack and row[15] else (None, ())
        return Entry(RelativePath(row[0]), EntryKind.FOLDER, 0, row[13], row[14], owner=owner, xattrs=xattrs)
    return None
