"""What scans left behind, for comparison, and the storing of what a scan found."""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future

from usenetsyncd.catalogue.batches import (
    DigestRow,
    DirectoryRow,
    DirectoryUpdate,
    EntryRow,
    EntryUpdate,
    NewSegment,
    PieceRow,
    ScanBatch,
    StoreResult,
)
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.statements import RowIds, change_in, select_in
from usenetsyncd.catalogue.storing import Storing
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.model import INDEX_HASH_BYTES, EntryKind, RelativePath

__all__ = [
    "DigestRow",
    "DirectoryRow",
    "DirectoryUpdate",
    "EntryRow",
    "EntryUpdate",
    "NewSegment",
    "PieceRow",
    "ScanBatch",
    "ScanStore",
    "StoreResult",
]

_CHUNK = 2_000
_DIRECTORY = "SELECT id, path, digest, mode, mtime_ns, inode, attributes FROM directory"
_ENTRY = "SELECT id, name, kind, size, mtime_ns, ctime_ns, inode, mode, nlink, hash, target, sparse, attributes FROM entry"

ContentExtents = list[tuple[bytes, int, int]]
"""(segment id, offset, length) from the first byte of a content to its last."""


class ScanStore:
    """The catalogue as the scanner sees it."""

    def __init__(self, readers: Readers, writer: Writer, ids: RowIds) -> None:
        self._readers = readers
        self._writer = writer
        self._ids = ids

    def digests(self, folder_id: int) -> Iterator[DigestRow]:
        """Every directory of the folder, by path; read in chunks, so no long read holds up the WAL."""
        compare, after = ">=", b""
        while True:
            rows = self._readers.fetch(
                f"SELECT path, id, digest FROM directory WHERE folder_id = ? AND path {compare} ? "  # noqa: S608
                "ORDER BY path LIMIT ?",
                (folder_id, after, _CHUNK),
            )
            yield from map(DigestRow._make, rows)
            if len(rows) < _CHUNK:
                return
            compare, after = ">", rows[-1][0]

    def directory(self, folder_id: int, path: RelativePath) -> DirectoryRow | None:
        """One directory."""
        row = self._readers.fetch_one(f"{_DIRECTORY} WHERE folder_id = ? AND path = ?", (folder_id, path))
        return None if row is None else DirectoryRow(*row)

    def subdirectories(self, folder_id: int, path: RelativePath) -> list[RelativePath]:
        """Paths of the directories directly below ``path``, sorted; deeper ones are skipped over."""
        found: list[RelativePath] = []
        below, end = _below(path)

        def ask(database: Connection) -> None:
            compare, after = ">", below
            while True:
                row = database.run(
                    f"SELECT path FROM directory WHERE folder_id = ? AND path {compare} ? AND path < ? "  # noqa: S608
                    "ORDER BY path LIMIT 1",
                    (folder_id, after, end),
                ).fetchone()
                if row is None:
                    return
                name, deeper, _ = row[0][len(below) :].partition(b"/")
                if deeper:
                    # b"0" follows b"/": the first path that is not below this one.
                    compare, after = ">=", below + name + b"0"
                else:
                    found.append(RelativePath(row[0]))
                    compare, after = ">", row[0]

        self._readers.query(ask)
        return found

    def entries(self, directory_id: int) -> list[EntryRow]:
        """Files and symlinks directly inside a directory, by name."""
        rows = self._readers.fetch(f"{_ENTRY} WHERE directory_id = ? ORDER BY name", (directory_id,))
        return [_entry(row) for row in rows]

    def entry(self, folder_id: int, path: RelativePath) -> EntryRow | None:
        """One file or symlink by its path."""
        parent, _, name = path.rpartition(b"/")
        row = self._readers.fetch_one(
            f"{_ENTRY} WHERE name = ? AND directory_id = "  # noqa: S608
            "(SELECT id FROM directory WHERE folder_id = ? AND path = ?)",
            (name, folder_id, parent),
        )
        return None if row is None else _entry(row)

    def store(self, batch: ScanBatch) -> "Future[StoreResult]":
        """Store a batch in one transaction. Storing it again changes nothing more."""
        return self._writer.submit(lambda database: Storing(database, self._ids, batch).run(), alone=True)

    def find_content(self, folder_id: int, content_hash: bytes) -> ContentExtents | None:
        """Where some file of the folder keeps this content (32-byte hash), or None."""
        return self.find_contents(folder_id, (content_hash,)).get(content_hash)

    def find_contents(self, folder_id: int, hashes: Collection[bytes]) -> dict[bytes, ContentExtents]:
        """``find_content`` for many at once: one query for some hundred."""
        wanted = set(hashes)

        def ask(database: Connection) -> dict[bytes, ContentExtents]:
            entries: dict[int, bytes] = {}
            seen: set[bytes] = set()
            # What was recovered from an index has 16 bytes of hash, until a scan reads the file.
            by_start = {content_hash[:INDEX_HASH_BYTES]: content_hash for content_hash in wanted}
            for entry_id, found, folder in select_in(
                database,
                "SELECT e.id, e.hash, d.folder_id FROM entry e JOIN directory d ON d.id = e.directory_id "
                "WHERE e.size > 0 AND substr(e.hash, 1, 8) IN",
                (),
                {content_hash[:8] for content_hash in wanted},
            ):
                if len(found) == INDEX_HASH_BYTES:
                    found = by_start.get(found, found)  # noqa: PLW2901 - the whole of it from here on
                if folder == folder_id and found in wanted and found not in seen:
                    seen.add(found)
                    entries[entry_id] = found
            return _extents_of(database, entries)

        return self._readers.query(ask)

    def pieces(self, entry_id: int) -> list[PieceRow]:
        """The segments of a file that are parts of it alone, in order."""
        rows = self._readers.fetch(
            "SELECT x.position, s.seg_id, s.length, s.mark FROM extent x JOIN segment s ON s.id = x.segment_id "
            "WHERE x.entry_id = ? AND x.offset = 0 AND x.length = s.length AND s.mark IS NOT NULL "
            "ORDER BY x.position",
            (entry_id,),
        )
        return [PieceRow(*row) for row in rows]

    def has_segment(self, folder_id: int, seg_id: bytes) -> bool:
        """Whether the folder has this segment, posted or on its way."""
        return bool(self.known_segments(folder_id, (seg_id,)))

    def known_segments(self, folder_id: int, seg_ids: Iterable[bytes]) -> set[bytes]:
        """Which of these segments the folder has, posted or on their way; given-up ones do not count."""

        def ask(database: Connection) -> set[bytes]:
            rows = select_in(
                database,
                "SELECT s.seg_id FROM segment s JOIN article a ON a.segment_id = s.id AND a.copy = 0 "
                "WHERE a.state <> 5 AND s.folder_id = ? AND s.kind = 1 AND s.seg_id IN",
                (folder_id,),
                seg_ids,
            )
            return {row[0] for row in rows}

        return self._readers.query(ask)

    def forget_digests(self, folder_id: int) -> "Future[None]":
        """Have the next scan compare every file of the folder again."""

        def intent(database: Connection) -> None:
            database.run("UPDATE directory SET digest = NULL WHERE folder_id = ?", (folder_id,))

        return self._writer.submit(intent)

    def forget_digests_of(self, folder_id: int, paths: Collection[RelativePath]) -> "Future[None]":
        """Have the next scan compare the files of these directories again."""

        def intent(database: Connection) -> None:
            change_in(
                database,
                "UPDATE directory SET digest = NULL WHERE folder_id = ? AND path IN",
                (folder_id,),
                paths,
            )

        return self._writer.submit(intent)


def _extents_of(database: Connection, entries: dict[int, bytes]) -> dict[bytes, ContentExtents]:
    extents: dict[bytes, ContentExtents] = {}
    given_up: set[bytes] = set()
    for entry_id, seg_id, offset, length, state in select_in(
        database,
        "SELECT x.entry_id, s.seg_id, x.offset, x.length, a.state FROM extent x "
        "JOIN segment s ON s.id = x.segment_id "
        "JOIN article a ON a.segment_id = x.segment_id AND a.copy = 0 WHERE x.entry_id IN",
        (),
        entries,
        "ORDER BY x.entry_id, x.position",
    ):
        content_hash = entries[entry_id]
        if state == 5:
            given_up.add(content_hash)
        extents.setdefault(content_hash, []).append((seg_id, offset, length))
    return {found: places for found, places in extents.items() if found not in given_up}


def _below(path: RelativePath) -> tuple[bytes, bytes]:
    """The range of paths strictly below a directory: after the first, before the second."""
    return (path + b"/", path + b"0") if path else (b"", b"\xff" * 5_000)


def _entry(row: Row) -> EntryRow:
    return EntryRow(*(*row[:2], EntryKind(row[2]), *row[3:11], bool(row[11]), row[12]))
