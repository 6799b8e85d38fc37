"""What a directory holds, page by page: cheap in a directory of a million names, and in a tree of millions."""

from dataclasses import dataclass

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, encode_cursor
from usenetsyncd.errors import NotFound
from usenetsyncd.model import EntryKind, RelativePath

_FOLDERS, _FILES = 0, 1


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One name; size and mtime_ns only of files and symlinks."""

    name: bytes
    kind: EntryKind
    size: int | None = None
    mtime_ns: int | None = None


class Listing:
    """Directories first, then files and symlinks, both by name."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def page(
        self, folder_id: int, path: RelativePath, after: str | None = None, limit: int = 100
    ) -> Page[ListedEntry]:
        """Raises NotFound when no scan saw the directory, UsageError for a strange cursor."""
        limit = bounded(limit)
        stage, name = decode_cursor(after, (int, bytes)) if after else (_FOLDERS, b"")
        with self._readers.lend() as database:
            row = database.run(
                "SELECT id FROM directory WHERE folder_id = ? AND path = ?", (folder_id, path)
            ).fetchone()
            if row is None:
                raise NotFound("no scan has seen a directory of that name")
            found: list[tuple[int, ListedEntry]] = []
            if stage == _FOLDERS:
                names = _folders(database, folder_id, path, name, limit + 1)
                found = [(_FOLDERS, ListedEntry(folder, EntryKind.FOLDER)) for folder in names]
                name = b""
            if len(found) <= limit:
                found += [(_FILES, e) for e in _files(database, row[0], name, limit + 1 - len(found))]
        kept = found[:limit]
        more = encode_cursor((kept[-1][0], kept[-1][1].name)) if len(found) > limit else None
        return Page(tuple(entry for _, entry in kept), more)


def _folders(database: Connection, folder_id: int, path: bytes, after: bytes, limit: int) -> list[bytes]:
    """Names of directories directly in this one; whatever is deeper is jumped over, one look at the index each."""
    below = path + b"/" if path else b""
    end = path + b"0" if path else b"\xff" * 5_000
    compare, start = ">", below + after
    names: list[bytes] = []
    while len(names) < limit:
        row = database.run(
            f"SELECT path FROM directory WHERE folder_id = ? AND path {compare} ? AND path < ? "  # noqa: S608
            "ORDER BY path LIMIT 1",
            (folder_id, start, end),
        ).fetchone()
        if row is None:
            break
        name, deeper, _ = row[0][len(below) :].partition(b"/")
        if deeper:
            # b"0" follows b"/": the first path that is not below this one
            compare, start = ">=", below + name + b"0"
        else:
            names.append(name)
            compare, start = ">", row[0]
    return names


def _files(database: Connection, directory_id: int, after: bytes, limit: int) -> list[ListedEntry]:
    rows = database.run(
        "SELECT name, kind, size, mtime_ns FROM entry WHERE directory_id = ? AND name > ? ORDER BY name LIMIT ?",
        (directory_id, after, limit),
    )
    return [ListedEntry(name, EntryKind(kind), size, mtime_ns) for name, kind, size, mtime_ns in rows]
