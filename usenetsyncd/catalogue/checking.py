"""Checks, backups and size figures of a catalogue file."""

import os
import sqlite3
from pathlib import Path

import peewee as pw

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import open_read_only, quick_check, translate
from usenetsyncd.catalogue.rows import CheckReport, SizeFigures
from usenetsyncd.errors import CatalogueError

# Each finds rows that should not exist: the sentence, and how to find them.
_INVARIANTS: tuple[tuple[str, str], ...] = (
    (
        "the tally of folder {} in state {} says {} articles and {} bytes, the queue has {} and {}",
        """SELECT folder_id, state, sum(n), sum(b), sum(m), sum(c) FROM (
            SELECT folder_id, state, articles AS n, bytes AS b, 0 AS m, 0 AS c FROM tally
            UNION ALL
            SELECT a.folder_id, a.state, 0, 0, count(*), sum(s.length) FROM article a
                JOIN segment s ON s.id = a.segment_id GROUP BY a.folder_id, a.state)
        GROUP BY folder_id, state HAVING sum(n) <> sum(m) OR sum(b) <> sum(c) LIMIT 10""",
    ),
    (
        "folder {} says {} files and {} bytes, its rows make {} and {}",
        """SELECT f.id, f.files, f.bytes, count(e.id), coalesce(sum(e.size), 0) FROM folder f
            LEFT JOIN directory d ON d.folder_id = f.id
            LEFT JOIN entry e ON e.directory_id = d.id AND e.kind = 1
            GROUP BY f.id HAVING count(e.id) <> f.files OR coalesce(sum(e.size), 0) <> f.bytes LIMIT 10""",
    ),
    (
        "folder {} says {} directories, its rows make {}",
        """SELECT f.id, f.directories, count(d.id) FROM folder f
            LEFT JOIN directory d ON d.folder_id = f.id AND d.path <> x''
            GROUP BY f.id HAVING count(d.id) <> f.directories LIMIT 10""",
    ),
    (
        "entry {} is in no directory",
        "SELECT id FROM entry WHERE directory_id NOT IN (SELECT id FROM directory) LIMIT 10",
    ),
    (
        "an extent belongs to entry {}, which is not there",
        "SELECT DISTINCT entry_id FROM extent WHERE entry_id NOT IN (SELECT id FROM entry) LIMIT 10",
    ),
    (
        "an extent uses segment {}, which is not there",
        "SELECT DISTINCT segment_id FROM extent WHERE segment_id NOT IN (SELECT id FROM segment) LIMIT 10",
    ),
    (
        "segment {} has no article",
        "SELECT id FROM segment WHERE id NOT IN (SELECT segment_id FROM article) LIMIT 10",
    ),
    (
        "the extents of file {} make {} bytes, its size is {}",
        """SELECT e.id, coalesce(sum(x.length), 0), e.size FROM entry e LEFT JOIN extent x ON x.entry_id = e.id
            WHERE e.kind = 1 AND e.size > 0 AND e.hash IS NOT NULL
            GROUP BY e.id HAVING coalesce(sum(x.length), 0) <> e.size LIMIT 10""",
    ),
    (
        "the journal names entry {}, which is not there",
        "SELECT entry_id FROM change WHERE entry_id IS NOT NULL AND entry_id NOT IN (SELECT id FROM entry) LIMIT 10",
    ),
    (
        "the journal names directory {}, which is not there",
        """SELECT directory_id FROM change WHERE directory_id IS NOT NULL
            AND directory_id NOT IN (SELECT id FROM directory) LIMIT 10""",
    ),
)


def check(database: Connection, full: bool) -> CheckReport:
    """Damage as SQLite sees it and, when ``full``, rows that contradict each other."""
    problems = quick_check(database, full)
    if full and not problems:
        # One transaction: the writer goes on meanwhile, and counters must match the rows of the same moment.
        with database.atomic():
            for sentence, sql in _INVARIANTS:
                problems += [sentence.format(*row) for row in database.run(sql).fetchall()]
    return CheckReport(tuple(problems), full)


def backup(path: Path, to: Path) -> None:
    """Copy a catalogue with SQLite's backup interface to a temporary file beside ``to``, then rename it."""
    partial = to.with_name(to.name + ".part")
    try:
        partial.unlink(missing_ok=True)
        source = open_read_only(path)
        try:
            target = sqlite3.connect(partial)
            try:
                # In one go: a copy in steps starts over whenever the writer commits in between.
                source.raw.backup(target)
                target.execute("PRAGMA journal_mode = delete")
            finally:
                target.close()
        finally:
            source.close()
        _sync(partial)
        partial.replace(to)
        _sync(to.parent)
    except (pw.PeeweeException, sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        failed = f"the catalogue cannot be backed up to {to}"
        raise translate(error, failed) or CatalogueError(f"{failed}: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size(database: Connection, path: Path) -> SizeFigures:
    """Sizes without counting rows: the largest row id stands for their number."""
    wal = path.with_name(path.name + "-wal")
    page_size = database.run("PRAGMA page_size").fetchone()[0]
    free = database.run("PRAGMA freelist_count").fetchone()[0]
    rows = {
        table: database.run(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608
        for table in ("folder", "directory", "entry", "segment", "job", "event")
    }
    return SizeFigures(path.stat().st_size, wal.stat().st_size if wal.exists() else 0, page_size * free, rows)
