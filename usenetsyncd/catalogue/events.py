"""The history shown to people: what happened, bounded to the newest rows."""

import json
from concurrent.futures import Future
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.rows import EventRow
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock

__all__ = ["EventRow", "Events"]

KEPT = 100_000
PRUNE_EVERY = 1_000

_SELECT = "SELECT id, at, level, code, folder_id, message, fields FROM event"


class Events:
    """The table of events. ids only ever grow, so "since this id" never misses one."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock, kept: int = KEPT) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._kept = kept

    def add(
        self, level: str, code: str, message: str, folder_id: int | None = None, **fields: Any
    ) -> "Future[int]":
        """Record an event; returns its id. fields must be plain JSON and hold no secret."""
        values = (self._clock.now(), level, code, folder_id, message, json.dumps(fields))

        def intent(database: Connection) -> int:
            cursor = database.run(
                "INSERT INTO event (at, level, code, folder_id, message, fields) VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
            event_id = cursor.lastrowid or 0
            if event_id % min(PRUNE_EVERY, self._kept) == 0:
                database.run("DELETE FROM event WHERE id <= ?", (event_id - self._kept,))
            return event_id

        return self._writer.submit(intent)

    def since(self, event_id: int = 0, limit: int = 100, folder_id: int | None = None) -> list[EventRow]:
        """Events after this id, the oldest first: ask again with the id of the last."""
        where, params = ("AND folder_id = ?", (folder_id,)) if folder_id is not None else ("", ())
        rows = self._readers.fetch(
            f"{_SELECT} WHERE id > ? {where} ORDER BY id LIMIT ?", (event_id, *params, limit)
        )
        return [_event(row) for row in rows]

    def latest(self, limit: int = 100, folder_id: int | None = None, before: int = 2**62) -> list[EventRow]:
        """The newest events before an id, the newest first."""
        where, params = ("AND folder_id = ?", (folder_id,)) if folder_id is not None else ("", ())
        rows = self._readers.fetch(
            f"{_SELECT} WHERE id < ? {where} ORDER BY id DESC LIMIT ?", (before, *params, limit)
        )
        return [_event(row) for row in rows]

    def newest_id(self) -> int:
        """Where ``since`` starts for somebody who only wants what comes."""
        row = self._readers.fetch_one("SELECT coalesce(max(id), 0) FROM event")
        return 0 if row is None else int(row[0])


def _event(row: Row) -> EventRow:
    return EventRow(*(*row[:6], json.loads(row[6])))
