"""What a restore still has to do, on disk, so that it goes on where it was after any crash.

One small SQLite file per job, made from the index once and deleted when the job is done. It keeps memory
flat whatever the size of the folder, and lets every segment be fetched once however many files share it.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from usenetsyncd.errors import CatalogueError, DiskFull, UsenetSyncError
from usenetsyncd.flows.index_reader import LostPage
from usenetsyncd.flows.restore_rows import (
    ENTRY_COLUMNS,
    ITEM_COLUMNS,
    SCHEMA,
    Item,
    Need,
    Part,
    item_of,
    packed_attributes,
    row_of,
)
from usenetsyncd.folders.attributes import NO_ATTRIBUTES, Attributes, unpack_attributes
from usenetsyncd.model import Entry, EntryKind, RelativePath, SegmentId

__all__ = ["DONE", "FAILED", "LINK", "OPEN", "Item", "Need", "Part", "RestorePlan"]

OPEN, DONE, FAILED, LINK = 0, 1, 2, 3
PAGE_ROWS = 500
FAILURES_SHOWN = 1_000
# Most files of a folder share a few sets of attributes.
CACHED_ATTRIBUTES = 64


class RestorePlan:
    """Owner of one plan file. Methods may be called from several threads. All raise CatalogueError, DiskFull."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._path = path
        self._next_item = 1
        self._attributes: dict[int, Attributes] = {}
        self.token = b""  # eight hexadecimal digits, the same in the whole life of a plan
        try:
            # Lost with the power, never with the process: what is lost is fetched again, not missing.
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise _problem(error) from error

    def _prepare(self) -> None:
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;")
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'item_by_link'").fetchone():
            self._db.execute("BEGIN")
            for statement in SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT INTO meta VALUES ('token', ?)", (os.urandom(4).hex().encode(),))
            self._db.execute("COMMIT")
        (self.token,) = self._db.execute("SELECT value FROM meta WHERE key = 'token'").fetchone()

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
        return bool(self._all("SELECT 1 FROM meta WHERE key = 'complete'"))

    def mark_complete(self) -> None:
        """The index has been read to its end. Hard links wait for the first of their group."""
        waiting = (
            "UPDATE item SET state = 3 WHERE link_group != x'' AND state = 0 AND EXISTS (SELECT 1 FROM item AS first"
            " WHERE first.link_group = item.link_group AND first.link_group != x'' AND first.state IN (0, 3)"
            " AND first.hash = item.hash AND first.size = item.size AND first.id < item.id)"
        )
        self._together((waiting, [()]), ("INSERT OR REPLACE INTO meta VALUES ('complete', 1)", [()]))

    def restart(self) -> None:
        """Forget a plan that was not finished."""
        tables = ("item", "attributes", "lost_page", "segment", "need")
        self._together(*((f"DELETE FROM {table}", [()]) for table in tables))  # noqa: S608 - constant names
        self._next_item = 1

    def add(self, entries: Sequence[tuple[Entry, Sequence[Part]]]) -> int:
        """Take in entries with their parts, which have been checked; no path twice. Returns the last one's item."""
        rows = self._segment_rows(part for _, parts in entries for part in parts)
        sets = self._attribute_rows([entry for entry, _ in entries])
        items: list[tuple[object, ...]] = []
        needs: list[tuple[object, ...]] = []
        for item, (entry, parts) in enumerate(entries, self._next_item):
            items.append((item, *row_of(entry, sets.get(packed_attributes(entry), 0))))
            needs += [(rows[p.segment], item, p.position, p.offset, p.length, p.times) for p in parts]
        self._next_item += len(items)
        self._together((_ADD_ITEM, items), (_ADD_NEED, needs))
        return self._next_item - 1

    def add_parts(self, item: int, parts: Sequence[Part]) -> None:
        """More parts of an item."""
        rows = self._segment_rows(parts)
        needs = [(rows[p.segment], item, p.position, p.offset, p.length, p.times) for p in parts]
        self._together((_ADD_NEED, needs))

    def give_up(self, item: int, reason: str) -> None:
        """An item must not be made after all; its parts are forgotten."""
        self._together(
            ("DELETE FROM need WHERE item = ?", [(item,)]),
            ("UPDATE item SET state = 2, size = 0, reason = ? WHERE id = ?", [(reason, item)]),
        )

    def _segment_rows(self, parts: Iterable[Part]) -> dict[bytes, int]:
        """The row of each segment that parts stand in, made where it is new."""
        segments = list(dict.fromkeys(part.segment for part in parts))
        self._together(
            ("INSERT OR IGNORE INTO segment (seg_id) VALUES (?)", [(segment,) for segment in segments])
        )
        rows: dict[bytes, int] = {}
        for at in range(0, len(segments), PAGE_ROWS):
            some = segments[at : at + PAGE_ROWS]
            marks = ",".join("?" * len(some))
            rows.update(self._all(f"SELECT seg_id, id FROM segment WHERE seg_id IN ({marks})", *some))  # noqa: S608
        return rows

    def _attribute_rows(self, entries: Sequence[Entry]) -> dict[bytes, int]:
        """The row of each set of attributes, made where it is new."""
        sets = list(dict.fromkeys(packed for entry in entries if (packed := packed_attributes(entry))))
        if not sets:
            return {}
        self._together(
            ("INSERT OR IGNORE INTO attributes (packed) VALUES (?)", [(packed,) for packed in sets])
        )
        return {
            packed: self._all("SELECT id FROM attributes WHERE packed = ?", packed)[0][0] for packed in sets
        }

    def attributes_of(self, item: Item) -> Attributes:
        """Owner and xattrs of an item, as the index tells them."""
        if not item.attributes:
            return NO_ATTRIBUTES
        kept = self._attributes.get(item.attributes)
        if kept is None:
            (row,) = self._all("SELECT packed FROM attributes WHERE id = ?", item.attributes)
            kept = unpack_attributes(row[0])
            if len(self._attributes) >= CACHED_ATTRIBUTES:
                self._attributes.clear()
            self._attributes[item.attributes] = kept
        return kept

    def reject(self, entries: Sequence[tuple[Entry, str]]) -> None:
        """Entries that must not be made, with the reason; they show up as failures."""
        rows = [
            (item, entry.path, int(entry.kind), reason)
            for item, (entry, reason) in enumerate(entries, self._next_item)
        ]
        self._next_item += len(rows)
        insert = (
            "INSERT INTO item (id, path, kind, size, mtime_ns, mode, hash, target, link_group, sparse,"
            " state, reason) VALUES (?, ?, ?, 0, 0, 0, x'', x'', x'', 0, 2, ?)"
        )
        self._together((insert, rows))

    def lose(self, page: LostPage) -> None:
        """A page of the index that cannot be read; its entries show up as one failure, and count."""
        after = "the beginning" if page.after is None else repr(page.after)[1:]
        reason = f"{page.entries:,} entries after {after} are lost with a page of the index: {page.reason}"
        self._together(
            ("INSERT OR IGNORE INTO lost_page VALUES (?, ?, ?)", [(page.last, page.entries, reason)])
        )

    # -- doing ------------------------------------------------------------------------------

    def totals(self) -> tuple[int, int]:
        """(files, bytes) of the whole plan."""
        return self._totals("SELECT count(*), total(size) FROM item WHERE kind = 1")

    def done_totals(self) -> tuple[int, int]:
        """(files, bytes) that are in their places."""
        return self._totals("SELECT count(*), total(size) FROM item WHERE kind = 1 AND state = 1")

    def items(self, kind: EntryKind, open_only: bool = True) -> Iterator[Item]:
        """Items of one kind in path order, read in pages so that no statement stays open."""
        after: bytes | None = None
        state = "AND state = 0" if open_only else "AND state != 2"
        while True:
            where = "AND path > ?" if after is not None else ""
            query = f"SELECT {ITEM_COLUMNS} FROM item WHERE kind = ? {state} {where} ORDER BY path LIMIT {PAGE_ROWS}"  # noqa: S608
            rows = self._all(query, *((kind, after) if after is not None else (kind,)))
            yield from map(item_of, rows)
            if len(rows) < PAGE_ROWS:
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
                " ORDER BY id LIMIT ?",
                after,
                PAGE_ROWS,
            )
            if not rows:
                return
            yield from ((row[0], SegmentId(row[1])) for row in rows)
            after = rows[-1][0]

    def needs(self, segment: int) -> Iterator[Need]:
        """What unfinished files want of a segment, in the order of the files, in pages."""
        item = position = -1
        while True:
            rows = self._all(
                f"SELECT need.position, need.offset, need.length, need.times, {ITEM_COLUMNS}"  # noqa: S608
                " FROM need JOIN item ON item.id = need.item WHERE need.segment = ?"
                " AND (need.item, need.position) > (?, ?) AND item.state = 0"
                f" ORDER BY need.item, need.position LIMIT {PAGE_ROWS}",
                segment,
                item,
                position,
            )
            yield from (Need(item_of(row[4:]), *row[:4]) for row in rows)
            if len(rows) < PAGE_ROWS:
                return
            item, position = rows[-1][4], rows[-1][0]

    def is_ready(self, item: int) -> bool:
        """Whether every part of a file has been written."""
        return not self._all(
            "SELECT 1 FROM need JOIN segment ON segment.id = need.segment"
            " WHERE need.item = ? AND segment.state = 0 LIMIT 1",
            item,
        )

    def set_part(self, item: int, part: str) -> None:
        """A file is being put together under this temporary name."""
        self._together(("UPDATE item SET part = ? WHERE id = ?", [(part, item)]))

    def set_state(self, item: int, state: int, reason: str | None = None) -> None:
        """A file is in its place, or cannot be restored."""
        self._together(("UPDATE item SET state = ?, reason = ? WHERE id = ?", [(state, reason, item)]))

    def set_done(self, items: Iterable[int]) -> None:
        """Several are in their places."""
        self._together((_SET_DONE, [(item,) for item in items]))

    def segment_written(self, segment: int, done: Iterable[int] = ()) -> None:
        """Everything that files need of this segment has been written; ``done`` are in their places with it."""
        self._together(
            (_SET_DONE, [(item,) for item in done]),
            ("UPDATE segment SET state = 1 WHERE id = ?", [(segment,)]),
        )

    def fetch_again(self, item: int) -> None:
        """What was written of a file is gone: all of it is fetched once more, into another temporary file."""
        again = "UPDATE segment SET state = 0 WHERE id IN (SELECT segment FROM need WHERE item = ?)"
        self._together((again, [(item,)]), ("UPDATE item SET part = NULL WHERE id = ?", [(item,)]))

    def failures(self) -> list[tuple[RelativePath, str]]:
        """Paths that were not restored, with the reason (at most 1,000); lost pages first, by their last path."""
        rows = self._all("SELECT last, reason FROM lost_page ORDER BY last LIMIT ?", FAILURES_SHOWN)
        rows += self._all(
            "SELECT path, reason FROM item WHERE state = 2 ORDER BY path LIMIT ?", FAILURES_SHOWN
        )
        return [(RelativePath(row[0]), row[1] or "") for row in rows[:FAILURES_SHOWN]]

    def failed_count(self) -> int:
        """How many paths were not restored."""
        single = self._totals("SELECT count(*), 0 FROM item WHERE state = 2")[0]
        return single + self._totals("SELECT 0, total(max(entries, 1)) FROM lost_page")[1]

    def links(self) -> list[tuple[Item, Item]]:
        """(link, placed file of its group), at most 500 at a time."""
        rows = self._all(
            f"SELECT {ITEM_COLUMNS}, (SELECT first.id FROM item AS first WHERE first.link_group = item.link_group"  # noqa: S608
            " AND first.link_group != x'' AND first.hash = item.hash AND first.size = item.size"
            " AND first.state = 1 LIMIT 1) AS placed"
            f" FROM item WHERE item.state = 3 AND placed IS NOT NULL LIMIT {PAGE_ROWS}"
        )
        return [(item_of(row), self.item(row[-1])) for row in rows]

    def item(self, item: int) -> Item:
        """One item by its id."""
        return item_of(self._all(f"SELECT {ITEM_COLUMNS} FROM item WHERE id = ?", item)[0])  # noqa: S608

    def item_state(self, item: int) -> int:
        """OPEN, DONE, FAILED or LINK."""
        return int(self._all("SELECT state FROM item WHERE id = ?", item)[0][0])

    def complete_files(self) -> list[Item]:
        """Files whose parts are all written but which have no name yet, at most 500 at a time."""
        rows = self._all(
            f"SELECT {ITEM_COLUMNS} FROM item WHERE state = 0 AND part IS NOT NULL AND NOT EXISTS (SELECT 1 FROM need"  # noqa: S608
            " JOIN segment ON segment.id = need.segment WHERE need.item = item.id AND segment.state = 0)"
            f" LIMIT {PAGE_ROWS}"
        )
        return [item_of(row) for row in rows]

    def open_orphaned_links(self) -> bool:
        """Links whose group was not restored are restored as files of their own; whether there are any."""
        if not self._all("SELECT 1 FROM item WHERE state = 3 LIMIT 1"):
            return False
        again = (
            "UPDATE segment SET state = 0 WHERE id IN (SELECT segment FROM need"
            " JOIN item ON item.id = need.item WHERE item.state = 3)"
        )
        self._together((again, [()]), ("UPDATE item SET state = 0 WHERE state = 3", [()]))
        return True

    # -- for what a plan is extended by -------------------------------------------------------

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the plan's file."""
        return self._all(query, *values)

    def change(self, *statements: tuple[str, Sequence[Sequence[object]]]) -> None:
        """All of them or none, each with all its rows of values."""
        self._together(*statements)

    # -- the connection -----------------------------------------------------------------------

    def _totals(self, query: str) -> tuple[int, int]:
        """Sums as SQLite's total() makes them: a hostile index may add up to more than 64 bits."""
        count, size = self._all(query)[0]
        return int(count), int(size)

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _problem(error) from error

    def _together(self, *statements: tuple[str, Sequence[Sequence[object]]]) -> None:
        """All of them or none, each with all its rows of values."""
        try:
            with self._lock:
                self._db.execute("BEGIN")
                try:
                    for statement, rows in statements:
                        self._db.executemany(statement, rows)
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise _problem(error) from error


_ADD_ITEM = f"INSERT INTO item (id, {', '.join(ENTRY_COLUMNS)}) VALUES (?{',?' * len(ENTRY_COLUMNS)})"  # noqa: S608
_ADD_NEED = "INSERT INTO need VALUES (?,?,?,?,?,?)"
_SET_DONE = "UPDATE item SET state = 1, reason = NULL WHERE id = ?"


def _problem(error: sqlite3.Error) -> UsenetSyncError:
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return DiskFull("No room left for the plan of this restore")
    return CatalogueError(f"the plan of this restore is damaged ({error}); start the restore again")
