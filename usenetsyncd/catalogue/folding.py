"""Equal events within a while are one event with a count, so that a bad hour does not push out the history of a year."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.writer import Writer

FOLDS_AT_ONCE = 1_000

Key = tuple[str, str, int | None]
"""Level, code, folder."""


@dataclass(slots=True)
class Fold:
    """One row that stands for several events. count, last_at: including those not written yet."""

    level: str
    code: str
    folder_id: int | None
    message: str
    fields: dict[str, Any]
    first_at: float
    window_s: float
    last_at: float = 0.0
    count: int = 0
    row: int = 0
    waiting: "Future[int] | None" = field(default=None, repr=False)

    def ends(self, now: float) -> bool:
        """Whether what happens now is an event of its own again; also after the clock was set back."""
        return not 0.0 <= now - self.first_at < self.window_s


class Folding:
    """Counts events in memory and keeps their rows up to date; threads may share it.

    However fast they come, only one change of a row is on its way to the writer at any moment; the count is exact
    once that has been committed.
    """

    def __init__(self, writer: Writer, insert: Callable[[Connection, tuple[Any, ...]], int]) -> None:
        """insert: makes a row of (at, level, code, folder_id, message, fields); returns its id."""
        self._writer = writer
        self._insert = insert
        self._lock = Lock()
        self._folds: dict[Key, Fold] = {}

    def add(self, fresh: Fold) -> "Future[int]":
        """Take an event in; ``fresh.first_at`` is when it happened. Returns the id of its row, once that counts it."""
        with self._lock:
            fold = self._fold_for(fresh)
            fold.count += 1
            fold.last_at = fresh.first_at
            if fold.waiting is not None:
                return fold.waiting
            waiting = fold.waiting = Future()
        try:
            written = self._writer.submit(lambda database: self._write(database, fold))
        except BaseException as error:
            with self._lock:
                fold.waiting = None
            waiting.set_exception(error)
            raise
        written.add_done_callback(lambda done: _pass_on(done, waiting))
        return waiting

    def _fold_for(self, fresh: Fold) -> Fold:
        key = (fresh.level, fresh.code, fresh.folder_id)
        fold = self._folds.get(key)
        if fold is None or fold.ends(fresh.first_at):
            if len(self._folds) >= FOLDS_AT_ONCE:
                self._folds = {k: f for k, f in self._folds.items() if not f.ends(fresh.first_at)}
            if len(self._folds) < FOLDS_AT_ONCE:
                self._folds[key] = fresh
            fold = fresh
        return fold

    def _write(self, database: Connection, fold: Fold) -> int:
        with self._lock:
            fold.waiting = None  # what comes from here on needs a change of its own
            count, last_at = fold.count, fold.last_at
        message, fields = fold.message, fold.fields
        if count > 1:
            message = f"{message} (and {count - 1:,} more like it)"
            fields = {**fields, "count": count, "last_at": last_at}
        values = (message, json.dumps(fields))
        # A row may have been taken back with its transaction, and its id be another's by now.
        changed = database.run(
            "UPDATE event SET message = ?, fields = ? WHERE id = ? AND code = ? AND at = ?",
            (*values, fold.row, fold.code, fold.first_at),
        ).rowcount
        if not changed:
            head = (fold.first_at, fold.level, fold.code, fold.folder_id)
            fold.row = self._insert(database, (*head, *values))
        return fold.row


def _pass_on(done: "Future[int]", waiting: "Future[int]") -> None:
    error = done.exception()
    if error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())
