"""The small tables: troubles, verified heads, single values."""

from concurrent.futures import Future
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, page_of
from usenetsyncd.catalogue.rows import KnownHead, TroubleRow
from usenetsyncd.catalogue.tables import KnownHead as KnownHeads
from usenetsyncd.catalogue.tables import Meta
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.model import RelativePath

__all__ = ["Heads", "KnownHead", "TroubleRow", "Troubles", "Values"]


class Troubles:
    """Paths that could not be taken as they should."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def note(self, folder_id: int, path: RelativePath, code: str, message: str) -> "Future[None]":
        """Record a trouble; the same one again counts an attempt and keeps since when."""
        at = self._clock.now()

        def intent(database: Connection) -> None:
            database.run(
                "INSERT INTO trouble (folder_id, path, code, message, since, attempts) VALUES (?, ?, ?, ?, ?, 1) "
                "ON CONFLICT (folder_id, path) DO UPDATE SET "
                "attempts = CASE WHEN code = excluded.code THEN attempts + 1 ELSE 1 END, "
                "since = CASE WHEN code = excluded.code THEN since ELSE excluded.since END, "
                "code = excluded.code, message = excluded.message",
                (folder_id, path, code, message, at),
            )

        return self._writer.submit(intent)

    def clear(self, folder_id: int, path: RelativePath) -> "Future[bool]":
        """The path is well again, or gone. False when it had no trouble."""

        def intent(database: Connection) -> bool:
            cursor = database.run("DELETE FROM trouble WHERE folder_id = ? AND path = ?", (folder_id, path))
            return bool(cursor.rowcount)

        return self._writer.submit(intent)

    def clear_folder(self, folder_id: int, before: float | None = None) -> "Future[int]":
        """Forget all troubles of a folder, or those noted first before a time."""

        def intent(database: Connection) -> int:
            cursor = database.run(
                "DELETE FROM trouble WHERE folder_id = ? AND since < ?",
                (folder_id, float("inf") if before is None else before),
            )
            return int(cursor.rowcount)

        return self._writer.submit(intent)

    def counts(self, folder_id: int) -> dict[str, int]:
        """Troubles of a folder by code."""
        return dict(
            self._readers.fetch(
                "SELECT code, count(*) FROM trouble WHERE folder_id = ? GROUP BY code", (folder_id,)
            )
        )

    def list(self, folder_id: int, after: str | None = None, limit: int = 100) -> Page[TroubleRow]:
        """By path."""
        limit = bounded(limit)
        where, params = ("AND path > ?", decode_cursor(after, (bytes,))) if after else ("", ())
        rows = self._readers.fetch(
            "SELECT folder_id, path, code, message, since, attempts FROM trouble "  # noqa: S608
            f"WHERE folder_id = ? {where} ORDER BY path LIMIT ?",
            (folder_id, *params, limit + 1),
        )
        return page_of(rows, limit, lambda row: TroubleRow(*row), lambda row: (row[1],))


class Heads:
    """What is remembered of publishers, so that none of them, nor a server, can go back in time."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def get(self, fingerprint: bytes) -> KnownHead | None:
        """The newest head verified here."""

        def ask(database: Connection) -> Row | None:
            query = KnownHeads.select().where(KnownHeads.fingerprint == fingerprint).tuples()
            rows: list[Row] = list(query.execute(database))
            return rows[0] if rows else None

        row = self._readers.query(ask)
        return None if row is None else KnownHead(*row)

    def remember(self, fingerprint: bytes, version: int, head_hash: bytes) -> "Future[bool]":
        """Record a fully verified head. False, and nothing changed, when a newer one is known."""
        at = self._clock.now()

        def intent(database: Connection) -> bool:
            cursor = database.run(
                "INSERT INTO known_head (fingerprint, version, head_hash, seen_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (fingerprint) DO UPDATE SET version = excluded.version, "
                "head_hash = excluded.head_hash, seen_at = excluded.seen_at "
                "WHERE excluded.version > known_head.version "
                "OR (excluded.version = known_head.version AND excluded.head_hash = known_head.head_hash)",
                (fingerprint, version, head_hash, at),
            )
            return bool(cursor.rowcount)

        return self._writer.submit(intent, durable=True)


class Values:
    """Single values by name."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def get(self, key: str) -> str | None:
        """The value, or None."""

        def ask(database: Connection) -> list[Any]:
            return list(Meta.select(Meta.value).where(Meta.key == key).tuples().execute(database))

        rows = self._readers.query(ask)
        return None if not rows else str(rows[0][0])

    def set(self, key: str, value: str) -> "Future[None]":
        """Store a value over any earlier one."""

        def intent(database: Connection) -> None:
            database.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

        return self._writer.submit(intent)
