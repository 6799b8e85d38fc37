"""The journal of paths that differ from the last published version, read as entries of an index."""

from collections.abc import Callable, Iterator

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.statements import select_in
from usenetsyncd.model import Entry, EntryKind, Extent, Owner, RelativePath, SegmentId

Unpack = Callable[[bytes], tuple[Owner | None, tuple[tuple[bytes, bytes], ...]]]
"""Packed attributes -> owner and extended attributes."""

CHUNK = 1_000
MARK_CHUNK = 20_000

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
        after: bytes | None = None
        while True:
            with self._readers.lend() as database:
                rows, extents = self._chunk(database, folder_id, only_ready, version, after)
            for row in rows:
                yield RelativePath(row[0]), _entry(row, extents.get(row[1], ()), unpack)
            if len(rows) < CHUNK:
                return
            after = rows[-1][0]

    def _chunk(
        self,
        database: Connection,
        folder_id: int,
        only_ready: bool,
        version: int | None,
        after: bytes | None,
    ) -> tuple[list[Row], dict[int, tuple[Extent, ...]]]:
        where, params = "change.folder_id = ?", [folder_id]
        if after is not None:
            where += " AND change.path > ?"
            params.append(after)  # type: ignore[arg-type]
        if version is not None:
            where += " AND change.version = ?"
            params.append(version)
        elif only_ready:
            where += f" AND change.version IS NULL AND {READY}"
        # One transaction, so that entries and their extents are of one moment.
        with database.atomic():
            rows = database.run(
                f"{_SELECT} WHERE {where} ORDER BY change.path LIMIT ?", (*params, CHUNK)
            ).fetchall()
            found: dict[int, list[Extent]] = {}
            for entry_id, seg_id, offset, length in select_in(
                database,
                "SELECT x.entry_id, s.seg_id, x.offset, x.length FROM extent x JOIN segment s ON s.id = x.segment_id "
                "WHERE x.entry_id IN",
                (),
                [row[1] for row in rows if row[1] is not None],
                "ORDER BY x.entry_id, x.position",
            ):
                found.setdefault(entry_id, []).append(Extent(SegmentId(seg_id), offset, length))
        return rows, {entry_id: tuple(extents) for entry_id, extents in found.items()}

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


def _entry(row: Row, extents: tuple[Extent, ...], unpack: Unpack | None) -> Entry | None:
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
