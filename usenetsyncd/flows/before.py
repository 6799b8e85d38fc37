"""What stood in a followed directory before an update: by it our own files are told from those of whoever uses them.

Kept in the file of the plan, so that an update goes on after any crash with the same idea of what is ours.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from usenetsyncd.errors import FormatError
from usenetsyncd.flows.restore_plan import PAGE_ROWS, RestorePlan
from usenetsyncd.model import Entry, EntryKind, RelativePath

_SCHEMA = """
CREATE TABLE IF NOT EXISTS before (
  path BLOB PRIMARY KEY, kind INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,
  hash BLOB NOT NULL, target BLOB NOT NULL, gone INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS before_by_hash ON before (hash, size) WHERE gone = 1 AND size > 0;
CREATE TABLE IF NOT EXISTS parent (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aside (path BLOB PRIMARY KEY, name BLOB NOT NULL) WITHOUT ROWID
"""
_COLUMNS = "path, kind, size, mtime_ns, mode, hash, target"
_STANDS = struct.Struct(">BQqI")

Old = tuple[Entry, bool]
"""An entry as it was, and whether it is gone in the new version."""


class Before:
    """Entries of the version that is replaced, of the paths that change."""

    def __init__(self, plan: RestorePlan) -> None:
        self._plan = plan
        plan.change(*((statement, [()]) for statement in _SCHEMA.split(";")))

    def forget(self) -> None:
        """A plan begins anew. What was put aside stays known."""
        self._plan.change(("DELETE FROM before", [()]), ("DELETE FROM parent", [()]))

    def add(self, entries: Sequence[Old]) -> None:
        """Remember these."""
        rows = [
            (old.path, int(old.kind), old.size, old.mtime_ns, old.mode, old.content_hash, old.target, gone)
            for old, gone in entries
        ]
        self._plan.change(("INSERT OR REPLACE INTO before VALUES (?,?,?,?,?,?,?,?)", rows))

    def at(self, path: RelativePath) -> Entry | None:
        """What of ours stood there."""
        rows = self._plan.ask(f"SELECT {_COLUMNS} FROM before WHERE path = ?", path)  # noqa: S608
        return _entry(rows[0]) if rows else None

    def gone(self, below: bytes | None = None) -> Iterator[Entry]:
        """What is not in the new version, what lies below another first."""
        after: bytes | None = None
        bounds = "" if below is None else "AND path > ? AND path < ?"
        limits = () if below is None else (below + b"/", below + b"0")
        while True:
            where, values = ("", ()) if after is None else ("AND path < ?", (after,))
            rows = self._plan.ask(
                f"SELECT {_COLUMNS} FROM before WHERE gone = 1 {bounds} {where} ORDER BY path DESC LIMIT {PAGE_ROWS}",  # noqa: S608
                *limits,
                *values,
            )
            yield from map(_entry, rows)
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1][0]

    def gone_with(self, content_hash: bytes, size: int) -> Iterator[Entry]:
        """Some files of this content that are not in the new version: it may have moved from there."""
        rows = self._plan.ask(
            f"SELECT {_COLUMNS} FROM before WHERE gone = 1 AND size > 0 AND hash = ? AND size = ? LIMIT 8",  # noqa: S608
            content_hash,
            size,
        )
        yield from map(_entry, rows)

    def parents(self) -> Iterator[RelativePath]:
        """Folders in which something changes and which are not themselves in the plan, each once, by path."""
        after = b""
        while True:
            rows = self._plan.ask(
                "SELECT path FROM (SELECT path FROM item UNION SELECT path FROM before) WHERE path > ?"
                " ORDER BY path LIMIT ?",
                after,
                PAGE_ROWS,
            )
            parents = {path.rpartition(b"/")[0] for (path,) in rows}
            self._plan.change(("INSERT OR IGNORE INTO parent VALUES (?)", [(one,) for one in parents]))
            if len(rows) < PAGE_ROWS:
                break
            after = rows[-1][0]
        self._plan.change(("DELETE FROM parent WHERE path IN (SELECT path FROM item)", [()]))
        last: bytes | None = None
        while rows := self._plan.ask(
            "SELECT path FROM parent WHERE path > ? OR ? IS NULL ORDER BY path LIMIT ?", last, last, PAGE_ROWS
        ):
            yield from (RelativePath(row[0]) for row in rows)
            last = rows[-1][0]

    def note_aside(self, path: RelativePath, name: bytes) -> None:
        """A local change is kept beside."""
        self._plan.change(("INSERT OR REPLACE INTO aside VALUES (?, ?)", [(path, name)]))

    def aside(self, limit: int) -> tuple[int, list[bytes]]:
        """How many local changes were put aside, and the first of their new paths."""
        count = int(self._plan.ask("SELECT count(*) FROM aside")[0][0])
        return count, [
            row[0] for row in self._plan.ask("SELECT name FROM aside ORDER BY path LIMIT ?", limit)
        ]

    def failed(self, limit: int) -> list[tuple[RelativePath, Entry | None, str]]:
        """Paths that could not be placed, with what stood there before and the reason."""
        found: list[tuple[RelativePath, Entry | None, str]] = []
        after: bytes | None = None
        while len(found) < limit:
            where, values = ("", ()) if after is None else ("AND path > ?", (after,))
            rows = self._plan.ask(
                f"SELECT path, reason FROM item WHERE state = 2 {where} ORDER BY path LIMIT {PAGE_ROWS}",  # noqa: S608
                *values,
            )
            found += [(RelativePath(row[0]), self.at(row[0]), row[1] or "") for row in rows]
            if len(rows) < PAGE_ROWS:
                break
            after = rows[-1][0]
        return found

    # -- what the plan leads to ----------------------------------------------------------------

    def set_goal(self, goal: tuple[object, ...]) -> None:
        """The version that the plan leads to, as SQLite keeps its figures."""
        names = [(f"goal_{number}", value) for number, value in enumerate(goal)]
        self._plan.change(("INSERT OR REPLACE INTO meta VALUES (?, ?)", names))

    def goal(self) -> tuple[Any, ...]:
        """What ``set_goal`` was given; nothing when it was not."""
        return tuple(
            row[0] for row in self._plan.ask("SELECT value FROM meta WHERE key LIKE 'goal_%' ORDER BY key")
        )


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(RelativePath(row[0]), EntryKind(row[1]), row[2], row[3], row[4], row[5], (), row[6])


def pack_stands(old: Entry | None) -> bytes | None:
    """What of an entry is needed to know it again."""
    if old is None:
        return None
    return (
        _STANDS.pack(old.kind, old.size, old.mtime_ns, old.mode)
        + bytes([len(old.content_hash)])
        + (old.content_hash + old.target)
    )


def unpack_stands(path: RelativePath, packed: bytes) -> Entry:
    """The other way. Raises FormatError."""
    if len(packed) <= _STANDS.size:
        raise FormatError("what is remembered of a path is cut short")
    kind, size, mtime_ns, mode = _STANDS.unpack_from(packed)
    rest = packed[_STANDS.size + 1 :]
    cut = packed[_STANDS.size]
    return Entry(path, EntryKind(kind), size, mtime_ns, mode, rest[:cut], (), rest[cut:])
