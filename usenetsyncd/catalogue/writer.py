"""The one thread that writes. Others submit intents and get futures that resolve after the commit.

It is also the only checkpointer: SQLite before 3.51.3 can damage a WAL that two connections checkpoint at once.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock, Thread, get_ident
from time import monotonic
from typing import Any, TypeVar

import peewee as pw
import structlog

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import open_writable, translate
from usenetsyncd.errors import Cancelled, CatalogueDamaged, CatalogueError

log = structlog.get_logger("catalogue")

T = TypeVar("T")

QUEUE_LIMIT = 256
GROUP_LIMIT = 64
# A group that takes longer is committed, so that those at its front do not wait for those at its end.
GROUP_TIME_S = 0.05


@dataclass(slots=True, eq=False)
class _Intent:
    run: Callable[[Connection], Any]
    durable: bool
    alone: bool
    bare: bool = False  # outside any transaction
    outcome: Any = None
    future: "Future[Any]" = field(default_factory=Future)


class Writer:
    """Owner of the only connection that writes. Group commit, back-pressure, failures kept apart."""

    def __init__(self, path: Path, queue_limit: int = QUEUE_LIMIT) -> None:
        self._path = path
        self._queue_limit = queue_limit
        self._lock = Lock()
        self._not_empty = Condition(self._lock)
        self._not_full = Condition(self._lock)
        self._waiting: deque[_Intent] = deque()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._work, name="catalogue-writer")
        self._thread.start()

    @property
    def failed(self) -> BaseException | None:
        """What ended the writer, or None while it is well. A process with a dead writer must end."""
        return self._failure

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(
        self, intent: Callable[[Connection], T], *, durable: bool = False, alone: bool = False
    ) -> "Future[T]":
        """Queue a change; blocks while the queue is full.

        The future resolves after COMMIT with what ``intent`` returned, or with its error and nothing written.
        durable: resolves only when the change also survives power loss. alone: in a transaction of its own.
        Raises CatalogueError when the writer is dead, Cancelled when the catalogue is closing.
        """
        return self._put(_Intent(intent, durable, alone))

    def _put(self, item: _Intent) -> "Future[Any]":
        with self._lock:
            if get_ident() == self._thread.ident:
                raise CatalogueError("an intent must not submit another one")
            while len(self._waiting) >= self._queue_limit and not self._closing and self._failure is None:
                self._not_full.wait()
            if self._failure is not None:
                raise CatalogueError(f"the catalogue's writer has ended: {self._failure}")
            if self._closing:
                raise Cancelled("the catalogue is closing")
            self._waiting.append(item)
            self._not_empty.notify()
        return item.future

    def run(self, intent: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Submit and wait for the commit."""
        return self.submit(intent, durable=durable).result()

    def flush(self) -> None:
        """Wait until all that was submitted before is committed and survives power loss."""
        self.run(_nothing, durable=True)

    def checkpoint(self) -> bool:
        """Move the WAL into the database and cut it; False when a reader was in the way."""
        return bool(self._put(_Intent(_checkpoint, durable=True, alone=True, bare=True)).result())

    def close(self) -> None:
        """Commit what is queued, checkpoint, end the thread. Safe to call twice."""
        with self._lock:
            self._closing = True
            self._not_empty.notify_all()
            self._not_full.notify_all()
        self._thread.join()

    # -- in the thread -------------------------------------------------------------------

    def _work(self) -> None:
        group: list[_Intent] = []
        try:
            database = open_writable(self._path)
            try:
                while group := self._next_group():
                    self._commit_group(database, group)
                    group = []
                _checkpoint(database)
            finally:
                database.close()
        except BaseException as error:  # noqa: BLE001 - nobody may wait for a dead writer without being told
            self._die(error, group)

    def _die(self, error: BaseException, group: list[_Intent]) -> None:
        log.critical("catalogue_writer_died", exc_info=error)
        with self._lock:
            self._failure = error
            left = [*group, *self._waiting]
            self._waiting.clear()
            self._not_full.notify_all()
        for item in left:
            if not item.future.done():
                item.future.set_exception(CatalogueError(f"the catalogue's writer has ended: {error}"))

    def _next_group(self) -> list[_Intent]:
        """What is to be committed together; empty when the writer shall end."""
        while True:
            with self._lock:
                while not self._waiting:
                    if self._closing:
                        return []
                    self._not_empty.wait()
                group = [self._waiting.popleft()]
                while not group[0].alone and self._waiting and len(group) < GROUP_LIMIT:
                    if self._waiting[0].alone:
                        break
                    group.append(self._waiting.popleft())
                self._not_full.notify(len(group))
            wanted = [item for item in group if item.future.set_running_or_notify_cancel()]
            if wanted:
                return wanted

    def _commit_group(self, database: Connection, group: list[_Intent]) -> None:
        left = deque(group)
        if group[0].bare:
            self._run_bare(database, left.popleft())
        while left:
            # Set before BEGIN: inside a transaction the pragma has no effect.
            mode = "FULL" if any(item.durable for item in left) else "NORMAL"
            database.run(f"PRAGMA synchronous = {mode}")
            self._one_transaction(database, left)

    def _run_bare(self, database: Connection, item: _Intent) -> None:
        try:
            item.future.set_result(item.run(database))
        except (pw.PeeweeException, sqlite3.Error) as error:
            item.future.set_exception(translate(error) or error)

    def _one_transaction(self, database: Connection, left: deque[_Intent]) -> None:
        """Run intents from ``left`` until all are done or time is up, commit, and resolve their futures."""
        taken: list[_Intent] = []
        error: Exception | None = None
        started = monotonic()
        try:
            database.run("BEGIN IMMEDIATE")
            while left and error is None and (not taken or monotonic() - started < GROUP_TIME_S):
                taken.append(left.popleft())
                error = _run_intent(database, taken[-1])
            if error is None:
                database.run("COMMIT")
        except (pw.PeeweeException, sqlite3.Error) as failure:
            error = failure
        if error is None:
            for item in taken:
                if not item.future.done():
                    item.future.set_result(item.outcome)
            return
        if not taken:
            # Not even a transaction could be begun: nobody of this group will fare better.
            taken.extend(left)
            left.clear()
        if database.busy:
            database.run("ROLLBACK")
        _fail(error, [item for item in taken if not item.future.done()])


def _run_intent(database: Connection, item: _Intent) -> Exception | None:
    """Run one intent in a savepoint; its own failure stays its own. Returns what ends the whole group."""
    # A bulk intent has the transaction for itself: a savepoint would copy every page it touches.
    if not item.alone:
        database.run("SAVEPOINT intent")
    try:
        item.outcome = item.run(database)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the submitter's, and the writer lives
        item.future.set_exception(translate(error) or error)
        if item.alone or not database.busy or isinstance(translate(error), CatalogueDamaged):
            return error
        database.run("ROLLBACK TO intent")
    if not item.alone:
        database.run("RELEASE intent")
    return None


def _fail(error: Exception, items: list[_Intent]) -> None:
    """Tell those whose changes were taken back with the group. Raises when the file itself is damaged."""
    shown = translate(error) or CatalogueError(f"a change to the catalogue was taken back: {error}")
    for item in items:
        item.future.set_exception(shown)
    if isinstance(shown, CatalogueDamaged):
        raise shown
    if items:
        log.error("catalogue_group_failed", error=str(error), intents=len(items))


def _nothing(database: Connection) -> None:
    database.run("UPDATE schema_version SET applied_at = applied_at")


def _checkpoint(database: Connection) -> bool:
    return not database.run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
