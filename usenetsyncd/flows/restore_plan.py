"""What a restore still has to do, on disk, so that it goes on where it was after any crash.

One small SQLite file per job, made from the index once and deleted when the job is done. It keeps memory
flat whatever the size of the folder, and lets every segment be fetched once however many files share it.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from usenetsyncd.errors import CatalogueError
from usenetsyncd.model import Entry, EntryKind, Extent, Owner, RelativePath, SegmentId

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE item (
  id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, hash BLOB NOT NULL, target BLOB NOT NULL,
  link_group BLOB NOT NULL, sparse INTEGER NOT NULL, uid INTEGER, gid INTEGER, xattrs BLOB,
  state INTEGER NOT NULL DEFAULT 0, part TEXT, reason TEXT
);
CREATE TABLE segment (id INTEGER PRIMARY KEY, seg_id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL DEFAULT 0);
CREATE TABLE need (
  segment INTEGER NOT NULL, item INTEGER NOT NULL, position INTEGER NOT NULL,
  offset INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (segment, item, position)
) WITHOUT ROWID;
CREATE INDEX need_by_item ON need (item);
CREATE INDEX item_by_kind ON item (kind, path);
CREATE INDEX item_by_link ON item (link_group, hash, size) WHERE link_group != x'';
"""

OPEN, DONE, FAILED, LINK = 0, 1, 2, 3
INSERT_ROWS = 500


@dataclass(frozen=True, slots=True)
class Item:
    """One path to restore."""

    id: int
    entry: Entry
    part: str | None


@dataclass(frozen=True, slots=True)
class Need:
    """A part of a segment that belongs into a file."""

    item: Item
    position: int
    offset: int
    length: int


class RestorePlan:
    """Owner of one plan file. Methods may be called from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._path = path
        # Lost with the power, never with the process: what is lost is fetched again, not missing.
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;")
        try:
            self._db.execute("BEGIN")
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'item'").fetchone():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise CatalogueError(
                f"the plan of this restore is damaged ({error}); start the restore again"
            ) from error

    def close(self, delete: bool = False) -> None:
        """Close the file; ``delete`` when the job is over."""
        with self._lock:
            self._db.close()
        if delete:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    # -- planning ---------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the whole index has been read into the plan."""
        return self._meta("complete") is not None

    def mark_complete(self) -> None:
        """The index has been read to its end. Hard links wait for the first of their group."""
        with self._lock:
            self._db.execute("BEGIN")
            self._db.execute(
                "UPDATE item SET state = 3 WHERE link_group != x'' AND EXISTS (SELECT 1 FROM item AS first"
                " WHERE first.link_group = item.link_group AND first.link_group != x''"
                " AND first.hash = item.hash AND first.size = item.size AND first.id < item.id)"
            )
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('complete', 1)")
            self._db.execute("COMMIT")

    def restart(self) -> None:
        """Forget a plan that was not finished."""
        with self._lock:
            self._db.execute("BEGIN")
            for table in ("meta", "item", "segment", "need"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names
            self._db.execute("COMMIT")

    def add(self, entries: Iterable[tuple[Entry, Iterable[Extent]]]) -> None:
        """Take in entries with their extents, which have been checked."""
        with self._lock:
            self._db.execute("BEGIN")
            try:
                for entry, extents in entries:
                    self._add_one(entry, extents)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def reject(self, entries: Iterable[tuple[Entry, str]]) -> None:
        """Entries that must not be made, with the reason; they show up as failures."""
        with self._lock:
            self._db.executemany(
                "INSERT OR IGNORE INTO item (path, kind, size, mtime_ns, mode, hash, target, link_group, sparse,"
                " state, reason) VALUES (?, ?, 0, 0, 0, x'', x'', x'', 0, 2, ?)",
                ((entry.path, int(entry.kind), reason) for entry, reason in entries),
            )

    def _add_one(self, entry: Entry, extents: Iterable[Extent]) -> None:
        owner = entry.owner
        row = self._db.execute(
            "INSERT INTO item (path, kind, size, mtime_ns, mode, hash, target, link_group, sparse, uid, gid, xattrs)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                entry.path,
                int(entry.kind),
                entry.size,
                entry.mtime_ns,
                entry.mode,
                entry.content_hash,
                entry.target,
                entry.link_group,
                entry.sparse,
                owner.uid if owner else None,
                owner.gid if owner else None,
                _pack_xattrs(entry.xattrs),
            ),
        ).lastrowid
        position = 0
        for extent in extents:
            self._db.execute("INSERT OR IGNORE INTO segment (seg_id) VALUES (?)", (extent.segment,))
            self._db.execute(
                "INSERT INTO need SELECT id, ?, ?, ?, ? FROM segment WHERE seg_id = ?",
                (row, position, extent.offset, extent.length, extent.segment),
            )
            position += extent.length

    # -- doing ------------------------------------------------------------------------------

    def totals(self) -> tuple[int, int]:
        """(files, bytes) of the whole plan."""
        row = self._one("SELECT count(*), coalesce(sum(size), 0) FROM item WHERE kind = ?", EntryKind.FILE)
        return int(row[0]), int(row[1])

    def done_totals(self) -> tuple[int, int]:
        """(files, bytes) that are in their places."""
        row = self._one(
            "SELECT count(*), coalesce(sum(size), 0) FROM item WHERE kind = ? AND state = ?",
            EntryKind.FILE,
            DONE,
        )
        return int(row[0]), int(row[1])

    def items(self, kind: EntryKind, open_only: bool = True, descending: bool = False) -> Iterator[Item]:
        """Items of one kind in path order, read in pages so that no statement stays open."""
        after: bytes | None = None
        order, sign = ("DESC", "<") if descending else ("ASC", ">")
        while True:
            where = f"AND path {sign} ?" if after is not None else ""
            state = "AND state = 0" if open_only else "AND state != 2"
            query = f"SELECT {_ITEM} FROM item WHERE kind = ? {state} {where} ORDER BY path {order} LIMIT 500"  # noqa: S608
            rows = self._all(query, *((kind, after) if after is not None else (kind,)))
            yield from (_item(row) for row in rows)
            if len(rows) < INSERT_ROWS:
                return
            after = rows[-1][1]

    def empty_files(self) -> Iterator[Item]:
        """Files without content."""
        return (item for item in self.items(EntryKind.FILE) if item.entry.size == 0)

    def open_segments(self) -> Iterator[tuple[int, SegmentId]]:
        """Segments that some unfinished file still needs, in the order of the files."""
        after = 0
        while True:
            rows = self._all(
                "SELECT id, seg_id FROM segment WHERE state = 0 AND id > ? AND EXISTS (SELECT 1 FROM need"
                " JOIN item ON item.id = need.item WHERE need.segment = segment.id AND item.state = 0)"
                " ORDER BY id LIMIT 500",
                after,
            )
            if not rows:
                return
            yield from ((row[0], SegmentId(row[1])) for row in rows)
            after = rows[-1][0]

    def needs(self, segment: int) -> list[Need]:
        """What unfinished files want of a segment."""
        rows = self._all(
            f"SELECT need.position, need.offset, need.length, {_ITEM} FROM need JOIN item ON item.id = need.item"  # noqa: S608
            " WHERE need.segment = ? AND item.state = 0",
            segment,
        )
        return [Need(_item(row[3:]), row[0], row[1], row[2]) for row in rows]

    def missing_segments(self, item: int) -> int:
        """How many segments of a file have not been written yet."""
        row = self._one(
            "SELECT count(DISTINCT segment.id) FROM need JOIN segment ON segment.id = need.segment"
            " WHERE need.item = ? AND segment.state = 0",
            item,
        )
        return int(row[0])

    def segments_of(self, item: int) -> list[tuple[int, SegmentId, int, int, int]]:
        """(segment, seg_id, position, offset, length) of a file, in the order of the file."""
        return self._all(
            "SELECT segment.id, seg_id, position, offset, length FROM need JOIN segment ON segment.id = need.segment"
            " WHERE need.item = ? ORDER BY position",
            item,
        )

    def set_part(self, item: int, part: str) -> None:
        """A file is being put together under this temporary name."""
        self._write("UPDATE item SET part = ? WHERE id = ?", part, item)

    def set_state(self, item: int, state: int, reason: str | None = None) -> None:
        """A file is in its place, or cannot be restored."""
        self._write("UPDATE item SET state = ?, reason = ? WHERE id = ?", state, reason, item)

    def set_states(self, items: Iterable[int], state: int) -> None:
        """Several at once."""
        with self._lock:
            self._db.execute("BEGIN")
            self._db.executemany("UPDATE item SET state = ? WHERE id = ?", ((state, item) for item in items))
            self._db.execute("COMMIT")

    def segment_written(self, segment: int) -> None:
        """Everything that files need of this segment has been written."""
        self._write("UPDATE segment SET state = 1 WHERE id = ?", segment)

    def fetch_again(self, item: int) -> None:
        """The parts of a file did not add up to its hash: all of them are fetched once more."""
        self._write(
            "UPDATE segment SET state = 0 WHERE id IN (SELECT segment FROM need WHERE item = ?)",
            item,
        )

    def failures(self) -> list[tuple[RelativePath, str]]:
        """Paths that were not restored, with the reason (at most 1,000 of them)."""
        rows = self._all("SELECT path, reason FROM item WHERE state = 2 ORDER BY path LIMIT 1000")
        return [(RelativePath(row[0]), row[1] or "") for row in rows]

    def failed_count(self) -> int:
        """How many paths were not restored."""
        return int(self._one("SELECT count(*) FROM item WHERE state = 2")[0])

    def links(self) -> list[tuple[Item, Item]]:
        """(link, placed file of its group), at most 500 at a time."""
        rows = self._all(
            f"SELECT first.id, {_ITEM} FROM item JOIN item AS first ON first.link_group = item.link_group"  # noqa: S608
            " AND first.hash = item.hash AND first.size = item.size AND first.state = 1"
            " WHERE item.state = 3 AND item.link_group != x'' GROUP BY item.id LIMIT 500"
        )
        return [(_item(row[1:]), self.item(row[0])) for row in rows]

    def item(self, item: int) -> Item:
        """One item by its id."""
        return _item(self._all(f"SELECT {_ITEM} FROM item WHERE id = ?", item)[0])  # noqa: S608

    def item_state(self, item: int) -> int:
        """OPEN, DONE, FAILED or LINK."""
        return int(self._one("SELECT state FROM item WHERE id = ?", item)[0])

    def complete_files(self) -> list[Item]:
        """Files all of whose segments were written but which never got their names (a crash came between)."""
        rows = self._all(
            f"SELECT {_ITEM} FROM item WHERE state = 0 AND part IS NOT NULL AND NOT EXISTS (SELECT 1 FROM need"  # noqa: S608
            " JOIN segment ON segment.id = need.segment WHERE need.item = item.id AND segment.state = 0) LIMIT 500"
        )
        return [_item(row) for row in rows]

    def open_orphaned_links(self) -> int:
        """Links whose group was not restored are restored as files of their own; returns how many."""
        with self._lock:
            return self._db.execute("UPDATE item SET state = 0 WHERE state = 3").rowcount

    # -- the connection -----------------------------------------------------------------------

    def _meta(self, key: str) -> object:
        rows = self._all("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def _one(self, query: str, *values: object) -> tuple[int, ...]:
        return self._all(query, *values)[0]

    def _all(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _write(self, query: str, *values: object) -> None:
        with self._lock:
            self._db.execute(query, values)


_ITEM = ", ".join(
    f"item.{column}"
    for column in (
        *("id", "path", "kind", "size", "mtime_ns", "mode", "hash"),
        *("target", "link_group", "sparse", "uid", "gid", "xattrs", "part"),
    )
)


def _item(row: tuple) -> Item:  # type: ignore[type-arg]
    owner = None if row[10] is None else Owner(row[10], row[11])
    entry = Entry(
        RelativePath(row[1]),
        EntryKind(row[2]),
        size=row[3],
        mtime_ns=row[4],
        mode=row[5],
        content_hash=row[6],
        target=row[7],
        link_group=row[8],
        sparse=bool(row[9]),
        owner=owner,
        xattrs=_unpack_xattrs(row[12]),
    )
    return Item(row[0], entry, row[13])


def _pack_xattrs(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes | None:
    if not xattrs:
        return None
    return b"".join(len(name).to_bytes(2) + name + len(value).to_bytes(4) + value for name, value in xattrs)


def _unpack_xattrs(packed: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    found, at = [], 0
    while packed and at < len(packed):
        end = at + 2 + int.from_bytes(packed[at : at + 2])
        name = packed[at + 2 : end]
        at = end + 4 + int.from_bytes(packed[end : end + 4])
        found.append((name, packed[end + 4 : at]))
    return tuple(found)
