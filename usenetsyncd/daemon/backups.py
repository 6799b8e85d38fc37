"""Backups of the catalogue: made while work goes on, put back while the daemon does not run."""

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import peewee as pw
import structlog

from usenetsyncd.catalogue import checking
from usenetsyncd.catalogue.adoption import ask_for_all
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.database import open_read_only, open_writable, prepare, translate
from usenetsyncd.catalogue.migrations import refuse_newer, stored_version
from usenetsyncd.catalogue.rows import CheckReport
from usenetsyncd.clock import Clock
from usenetsyncd.errors import CatalogueDamaged, CatalogueError, NotFound, UsageError
from usenetsyncd.service.lock import LockFile

log = structlog.get_logger("catalogue")

DIRECTORY = "backups"
EVERY_S = 86_400.0
LOOK_S = 900.0
KEPT = 7
_NAME = "catalogue-%Y%m%dT%H%M%SZ.sqlite"


@dataclass(frozen=True, slots=True)
class Backup:
    """A file with a catalogue in it."""

    path: Path
    size_bytes: int
    made_at: float


class Backups:
    """Makes one a day and keeps a few."""

    def __init__(self, catalogue: Catalogue, data_dir: Path, clock: Clock) -> None:
        self._catalogue = catalogue
        self._directory = data_dir / DIRECTORY
        self._clock = clock

    def make(self, to: Path | None = None) -> Backup:
        """Write one, to a file that is not there yet or into the daemon's own directory. Raises UsageError, DiskFull."""
        if to is None:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            to = self._directory / time.strftime(_NAME, time.gmtime(self._clock.now()))
        elif to.exists():
            raise UsageError(f"{to} exists already; a backup never replaces a file")
        elif not to.is_absolute() or not to.parent.is_dir():
            raise UsageError(f"{to} is not in a directory that the daemon can see")
        self._catalogue.backup(to)
        to.chmod(0o600)
        made = _described(to)
        log.info("catalogue_backed_up", path=str(to), size_bytes=made.size_bytes)
        return made

    def look(self) -> None:
        """By the timetable: make the day's backup if it is due, and let the oldest go."""
        kept = self.list()
        if kept and self._clock.now() - kept[0].made_at < EVERY_S:
            return
        try:
            self.make()
        except (CatalogueError, OSError) as error:
            log.error("catalogue_not_backed_up", reason=str(error))
            self._catalogue.events.add_folded("error", "backup_failed", f"catalogue backup: {error}")
            return
        for old in self.list()[KEPT:]:
            old.path.unlink(missing_ok=True)

    def list(self) -> "list[Backup]":
        """Those in the daemon's own directory, the newest first."""
        found = [_described(path) for path in self._directory.glob("catalogue-*.sqlite")]
        return sorted(found, key=lambda backup: backup.made_at, reverse=True)


def _described(path: Path) -> Backup:
    status = path.stat()
    return Backup(path, status.st_size, status.st_mtime)


def restore_catalogue(data_dir: Path, catalogue: Path, lock: Path, backup: Path) -> Path | None:
    """Put a backup in the place of the catalogue; returns where the old one was put aside, None if there was none.

    Raises AlreadyRunning while a daemon runs, NotFound, CatalogueDamaged, NewerCatalogue; nothing is changed then.
    """
    if not backup.is_file():
        raise NotFound(f"{backup} is not there")
    with LockFile(lock):
        _check(backup)
        partial = catalogue.with_name(catalogue.name + ".restored")
        partial.unlink(missing_ok=True)
        checking.backup(backup, partial)
        partial.chmod(0o600)
        prepare(partial)
        _mark(partial)
        aside = _put_aside(catalogue)
        partial.replace(catalogue)
        descriptor = os.open(data_dir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    log.info("catalogue_restored", backup=str(backup), aside=None if aside is None else str(aside))
    return aside


def examine(path: Path, full: bool) -> CheckReport:
    """Look for damage in a file that nobody writes to. Raises NewerCatalogue; what cannot be read at all is damaged."""
    try:
        database = open_read_only(path)
        try:
            refuse_newer(stored_version(database))
            return checking.check(database, full)
        finally:
            database.close()
    except CatalogueDamaged as error:
        return CheckReport((str(error),), full)
    except (pw.PeeweeException, sqlite3.Error) as error:
        return CheckReport((str(translate(error) or error),), full)


def _check(backup: Path) -> None:
    report = examine(backup, full=False)
    if not report.healthy:
        raise CatalogueDamaged(f"{backup} cannot take the catalogue's place: {report.problems[0]}")


def _mark(partial: Path) -> None:
    database = open_writable(partial)
    try:
        ask_for_all(database)
    finally:
        database.close()  # which leaves no WAL behind


def _put_aside(catalogue: Path) -> Path | None:
    if not catalogue.exists():
        return None
    aside = catalogue.with_name(f"{catalogue.stem}-replaced-{int(time.time())}{catalogue.suffix}")
    for suffix in ("-shm", "-wal", ""):
        old = catalogue.with_name(catalogue.name + suffix)
        if old.exists():
            old.replace(aside.with_name(aside.name + suffix))
    return aside
