"""The history shown to people: what happened, bounded to the newest rows."""

import json
from concurrent.futures import Future
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.folding import Fold, Folding
from usenetsyncd.catalogue.rows import EventRow
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock

__all__ = ["EventRow", "Events"]

KEPT = 100_000
PRUNE_EVERY = 1_000
FOLD_WINDOW_S = 600.0

_SELECT = "SELECT id, at, level, code, folder_id, message, fields FROM event"


class Events:
    """The table of events. ids only ever grow, so "since this id" never misses one."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock, kept: int = KEPT) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._kept = kept
        self._folding = Folding(writer, self._insert)

    def add(
        self, level: str, code: str, message: str, folder_id: int | None = None, **fields: Any
    ) -> "Future[int]":
        """Record an event; returns its id. fields must be plain JSON and hold no secret."""
        values = (self._clock.now(), level, code, folder_id, message, json.dumps(fields))
        return self._writer.submit(lambda database: self._insert(database, values))

    def _insert(self, database: Connection, values: tuple[Any, ...]) -> int:
        cursor = database.run(
            "INSERT INTO event (at, level, code, folder_id, message, fields) VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        event_id = cursor.lastrowid or 0
        if event_id % min(PRUNE_EVERY, self._kept) == 0:
            database.run("DELETE FROM event WHERE id <= ?", (event_id - self._kept,))
        return event_id

    def add_folded(
        self,
        level: str,
        code: str,
        message: str,
        folder_id: int | None = None,
        window_s: float = FOLD_WINDOW_S,
        **fields: Any,
    ) -> "Future[int]":
        """Like ``add``, for what may come by the thousand: of those with this level, code and folder that come within
        ``window_s`` of the first, one row is kept, with the first's time, message and fields.

        From the second on its message ends with how many more there were, and its fields have ``count`` and
        ``last_at``. The row keeps its id: who follows ``since`` sees each window once.
        """
        return self._folding.add(
            Fold(level, code, folder_id, message, fields, first_at=self._clock.now(), window_s=window_s)
        )

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
