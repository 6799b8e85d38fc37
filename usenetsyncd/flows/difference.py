"""What differs between two versions of a folder, and what only moved.

That a file has moved is known only when both ends were seen: the differences are put into a scratch file first, and told
from there in the order of their paths. Memory stays flat however much differs; pages that both versions have are not read.
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import VersionRow
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.model import ArticleKind, Entry, EntryKind, PageRef, RelativePath
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.tree_diff import diff_trees
from usenetsyncd.wire.tree_read import Load

BATCH = 2_000
_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;
CREATE TABLE difference (path BLOB PRIMARY KEY, change TEXT NOT NULL, kind INTEGER NOT NULL, size INTEGER,
    old_size INTEGER, hash BLOB NOT NULL, other BLOB) WITHOUT ROWID;
CREATE INDEX end_of_move ON difference (hash, change) WHERE hash != x'';
"""
# Each new path takes one that is gone, the first by name: a file that was copied and deleted has moved once.
_MATCH = """
WITH gone AS (SELECT path, hash, row_number() OVER (PARTITION BY hash ORDER BY path) AS n FROM difference
        WHERE change = 'removed' AND hash != x''),
    come AS (SELECT path, hash, row_number() OVER (PARTITION BY hash ORDER BY path) AS n FROM difference
        WHERE change = 'added' AND hash != x'')
SELECT come.path, gone.path FROM come JOIN gone ON gone.hash = come.hash AND gone.n = come.n
"""


class Change(StrEnum):
    """What became of a path. ATTRIBUTES: the same content with other permissions, time, owner or xattrs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"
    ATTRIBUTES = "attributes"


@dataclass(frozen=True, slots=True)
class PathChange:
    """One path. kind: as it is now, of a removed one as it was. sizes: of files. old_path: where a moved one was."""

    path: RelativePath
    change: Change
    kind: EntryKind
    size: int | None
    old_size: int | None
    old_path: RelativePath | None = None


def differences(old: PageRef | None, new: PageRef | None, load: Load) -> Iterator[PathChange]:
    """In the order of their paths. Raises FormatError, and what ``load`` raises."""
    with tempfile.TemporaryDirectory(prefix="usenetsyncd-") as place:
        scratch = sqlite3.connect(Path(place) / "difference", isolation_level=None, check_same_thread=False)
        with closing(scratch):
            scratch.executescript(_SCHEMA)
            rows = (_row(*one) for one in diff_trees(old, new, load))
            while some := list(islice(rows, BATCH)):
                scratch.executemany("INSERT INTO difference VALUES (?,?,?,?,?,?,NULL)", some)
            scratch.execute("CREATE TEMP TABLE move (come BLOB, gone BLOB)")
            scratch.execute(f"INSERT INTO move {_MATCH}")
            scratch.execute(
                "UPDATE difference SET change = 'moved', other = (SELECT gone FROM move WHERE come = path), old_size = size"
                " WHERE path IN (SELECT come FROM move)"
            )
            scratch.execute("DELETE FROM difference WHERE path IN (SELECT gone FROM move)")
            query = "SELECT path, change, kind, size, old_size, other FROM difference ORDER BY path"
            for path, change, kind, size, old_size, other in scratch.execute(query):
                was = None if other is None else RelativePath(other)
                yield PathChange(RelativePath(path), Change(change), EntryKind(kind), size, old_size, was)


def _row(path: RelativePath, old: Entry | None, new: Entry | None) -> tuple[object, ...]:
    kind = next(one.kind for one in (new, old) if one is not None)
    moves = b"" if old and new else next(one.content_hash for one in (new, old) if one is not None)
    return path, _change(old, new).value, int(kind), _size(new), _size(old), moves


def _change(old: Entry | None, new: Entry | None) -> Change:
    if old is None:
        return Change.ADDED
    if new is None:
        return Change.REMOVED
    same = (old.kind, old.size, old.content_hash, old.target) == (
        new.kind,
        new.size,
        new.content_hash,
        new.target,
    )
    return Change.ATTRIBUTES if same else Change.CHANGED


def _size(entry: Entry | None) -> int | None:
    return entry.size if entry is not None and entry.kind is EntryKind.FILE else None


def version_differences(
    catalogue: Catalogue, news: NewsService, rings: Sequence[ReadKeys], old: VersionRow, new: VersionRow
) -> Iterator[PathChange]:
    """The same of two versions of a folder of this daemon's own; pages that it no longer holds are fetched."""
    network = IndexReader(news, rings)

    def load(ref: PageRef) -> bytes:
        content = catalogue.segments.find_blob(old.folder_id, ArticleKind.INDEX, ref.segment)
        return network.load(ref) if content is None else content[ref.offset : ref.offset + ref.length]

    yield from differences(old.root, new.root, load)
