"""Connections to the catalogue file: one for the writer, a few read-only ones that are lent out.

Durability: WAL with synchronous=NORMAL. A committed intent survives kill -9 at once and power loss after the
next fsync; the file is consistent in any case. An intent that must survive power loss before its caller goes
on (a lease: its generation is burnt before the POST) is committed with synchronous=FULL, which costs one
fsync of the WAL per group, that is per hundred articles or so.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import peewee as pw

from usenetsyncd.catalogue import migrations
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.errors import CatalogueDamaged, CatalogueError, DiskFull, UsenetSyncError

T = TypeVar("T")
Row = tuple[Any, ...]

APPLICATION_ID = 0x55534E43  # "USNC": `file` and others can tell what it is
CHECKED_AT_OPEN_BYTES = 128 * 1024 * 1024
WAL_LIMIT_BYTES = 64 * 1024 * 1024
READER_CACHE_KIB = 4_096
WRITER_CACHE_KIB = 32_768

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def translate(error: BaseException, failed: str = "the catalogue cannot be used") -> UsenetSyncError | None:
    """The error that a database error means to the rest of the program; None for anything else."""
    if isinstance(error, UsenetSyncError):
        return error
    if not isinstance(error, pw.PeeweeException | sqlite3.Error):
        return None
    original = getattr(error, "orig", error)
    code = getattr(original, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL:
        return DiskFull("the disk of the catalogue is full; free some space, work goes on by itself")
    if primary in _DAMAGED:
        return CatalogueDamaged(f"the catalogue is damaged ({original}); restore a catalogue backup")
    return CatalogueError(f"{failed}: {original}")


def open_writable(path: Path) -> Connection:
    """A connection that may write and checkpoint. There must be only one at a time."""
    database = Connection(
        str(path),
        pragmas=[
            ("journal_mode", "wal"),
            ("synchronous", "normal"),
            ("secure_delete", 0),  # Debian builds with it on: every freed byte would be written again
            ("temp_store", "memory"),
            ("cache_size", -WRITER_CACHE_KIB),
            # Checkpointed less often, the pages of random indexes are written to the database once for many batches:
            # +15 % files a second at a million files, for a WAL of 64 MiB (bench_catalogue).
            ("wal_autocheckpoint", 16_384),
            ("journal_size_limit", WAL_LIMIT_BYTES),
        ],
        thread_safe=False,
        check_same_thread=False,
        cached_statements=256,
        timeout=10,
    )
    database.connect()
    return database


def open_read_only(path: Path) -> Connection:
    """A connection that can neither write nor checkpoint; it sees each commit as soon as it is made."""
    database = Connection(
        path.absolute().as_uri() + "?mode=ro",
        pragmas=[("query_only", 1), ("temp_store", "memory"), ("cache_size", -READER_CACHE_KIB)],
        thread_safe=False,
        check_same_thread=False,
        uri=True,
        timeout=10,
    )
    database.connect()
    return database


def prepare(path: Path) -> None:
    """Check an existing file, create a missing one, migrate an older one.

    Raises NewerCatalogue and CatalogueDamaged with the file untouched, CatalogueError when it cannot be opened.
    """
    try:
        if path.exists() and path.stat().st_size:
            _inspect(path)
        else:
            # Names of files are nobody else's business; SQLite gives the WAL the same mode.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        database = open_writable(path)
        try:
            migrations.migrate(database)
            database.run(f"PRAGMA application_id = {APPLICATION_ID}")
        finally:
            database.close()
    except (pw.PeeweeException, sqlite3.Error, OSError) as error:
        failed = f"the catalogue {path} cannot be opened"
        raise translate(error, failed) or CatalogueError(f"{failed}: {error}") from error


def _inspect(path: Path) -> None:
    database = open_read_only(path)
    try:
        migrations.refuse_newer(migrations.stored_version(database))
        # Reading every page of a large file would hold up the start; `catalogue check` does it later.
        if path.stat().st_size <= CHECKED_AT_OPEN_BYTES:
            problems = quick_check(database)
            if problems:
                raise CatalogueDamaged(
                    f"the catalogue {path} fails its integrity check ({problems[0]}); restore a catalogue backup"
                )
    finally:
        database.close()


def quick_check(database: Connection, full: bool = False) -> list[str]:
    """What SQLite finds wrong with the file, at most ten sentences."""
    rows = database.run("PRAGMA integrity_check(10)" if full else "PRAGMA quick_check(10)").fetchall()
    return [text for (text,) in rows if text != "ok"]


class Readers:
    """Read-only connections, lent to one thread at a time. Any number of threads may ask."""

    _KEPT = 8

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """A connection for a few queries. Keep it short: an open query keeps the WAL from being reused."""
        with self._lock:
            if self._closed:
                raise CatalogueError("the catalogue is closed")
            database = self._idle.pop() if self._idle else None
        try:
            if database is None:
                database = open_read_only(self._path)
            yield database
        except (pw.PeeweeException, sqlite3.Error) as error:
            raise translate(error) or error from error
        finally:
            if database is not None:
                self._take_back(database)

    def _take_back(self, database: Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < self._KEPT:
                self._idle.append(database)
                return
        database.close()

    def fetch(self, sql: str, params: Any = ()) -> list[Row]:
        """All rows of a query that is bounded by itself."""
        with self.lend() as database:
            rows: list[Row] = database.run(sql, params).fetchall()
            return rows

    def fetch_one(self, sql: str, params: Any = ()) -> Row | None:
        """The first row, or None."""
        with self.lend() as database:
            row: Row | None = database.run(sql, params).fetchone()
            return row

    def query(self, ask: Callable[[Connection], T]) -> T:
        """Run a few queries on one connection."""
        with self.lend() as database:
            return ask(database)

    def let_go(self) -> None:
        """Close what is idle; connections are opened again when they are asked for."""
        with self._lock:
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()

    def close(self) -> None:
        """Close what is idle now, and what comes back later."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()
