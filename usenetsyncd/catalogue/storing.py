"""One batch of a scan on its way into the tables: the hot loop of the writer.

Ids are given here and rows go out in multi-row statements, because that is what 60,000 files a second need.
"""

from typing import Any

from usenetsyncd.catalogue.batches import DirectoryUpdate, ScanBatch, StoreResult
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.segments import insert_articles, revive
from usenetsyncd.catalogue.statements import RowIds, Tallies, change_in, insert, select_in
from usenetsyncd.errors import CatalogueError
from usenetsyncd.model import EntryKind, same_content

_ENTRY_COLUMNS = "kind, size, mtime_ns, ctime_ns, inode, mode, nlink, hash, target, sparse, attributes"
# An EntryUpdate is the name, these columns, and what stands in other tables.
_COLUMNS_END = 1 + len(_ENTRY_COLUMNS.split(", "))
_ENTRY_WIDTH = 2 + _COLUMNS_END
_ENTRY_HEAD = f"INSERT INTO entry (id, directory_id, name, {_ENTRY_COLUMNS}) VALUES"
_ENTRY_TAIL = "ON CONFLICT (directory_id, name) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in _ENTRY_COLUMNS.split(", ")
)
_DIRECTORY_HEAD = (
    "INSERT INTO directory (id, folder_id, path, digest, mode, mtime_ns, inode, attributes) VALUES"
)
_DIRECTORY_TAIL = (
    "ON CONFLICT (folder_id, path) DO UPDATE SET digest = excluded.digest, mode = excluded.mode, "
    "mtime_ns = excluded.mtime_ns, inode = excluded.inode, attributes = excluded.attributes"
)
_CHANGE_HEAD = "INSERT INTO change (folder_id, path, entry_id, directory_id, was) VALUES"
# What the newest version has stays what it was, until a version takes the change.
CHANGE_TAIL = (
    "ON CONFLICT (folder_id, path) DO UPDATE SET entry_id = excluded.entry_id, "
    "directory_id = excluded.directory_id, version = NULL, "
    "was = CASE WHEN change.version IS NULL THEN change.was ELSE excluded.was END"
)
_WAS_BYTES = 8
_FILE = int(EntryKind.FILE)
# What is left of an entry whose content must be read again: no hash.
_HASH_AT = _ENTRY_COLUMNS.split(", ").index("hash")

_Known = dict[bytes, tuple[int, int, int, bytes | None]]
"""name -> (entry id, kind, size, hash)"""


class _SegmentRows(dict[bytes, int]):
    """Segment id -> row, asking the table for what this batch did not make. 0: given up since it was found."""

    def __init__(self, database: Connection, folder_id: int) -> None:
        super().__init__()
        self._database = database
        self._folder_id = folder_id

    def __missing__(self, seg_id: bytes) -> int:
        found = self._database.run(
            "SELECT s.id, a.state FROM segment s LEFT JOIN article a ON a.segment_id = s.id AND a.copy = 0 "
            "WHERE s.folder_id = ? AND s.kind = 1 AND s.seg_id = ?",
            (self._folder_id, seg_id),
        ).fetchone()
        if found is None:
            raise CatalogueError(f"a batch uses segment {seg_id.hex()}, which the folder does not have")
        row = self[seg_id] = 0 if found[1] == 5 else int(found[0])
        return row


class Storing:
    """Stores one batch inside one transaction."""

    def __init__(self, database: Connection, ids: RowIds, batch: ScanBatch) -> None:
        self._database = database
        self._ids = ids
        self._batch = batch
        self._folder_id = batch.folder_id
        self._tallies = Tallies()
        self._segments = _SegmentRows(database, batch.folder_id)
        self._entries: list[Any] = []
        self._extents: list[Any] = []
        self._changes: list[Any] = []
        self._replaced: list[int] = []
        self._unread: set[bytes] = set()
        self._new = self._changed = self._removed = self._directories = self._bytes = 0
        self._segments_new = 0

    def run(self) -> StoreResult:
        """Write everything; the caller commits."""
        for path in self._batch.removed_directories:
            self._remove_directory(path)
        ids, fresh = self._directory_ids()
        for update in self._batch.directories:
            if update.deletes and update.path not in fresh:
                self._delete_entries(update, ids[update.path])
        self._add_segments()
        known: dict[int, _Known] = {}
        for update in self._batch.directories:
            directory_id = ids[update.path]
            if directory_id not in known:
                known[directory_id] = {}
            if update.path not in fresh:
                known[directory_id].update(self._stored_entries(update, directory_id))
            self._take_entries(update, directory_id, known[directory_id])
        self._write_directories(ids)
        self._write_entries()
        self._withhold_digests(
            [ids[update.path] for update in self._batch.directories if update.path not in fresh]
        )
        self._write_folder()
        return StoreResult(self._new, self._changed, self._removed, self._segments_new, self._bytes)

    # -- what is gone --------------------------------------------------------------------

    def _remove_directory(self, path: bytes) -> None:
        """Take a directory and everything below it out of the tables and into the journal."""
        where, params = "folder_id = ? AND path = ?", (self._folder_id, path)
        self._remove_where(where, params, counted=bool(path))
        if path:
            self._remove_where(
                "folder_id = ? AND path > ? AND path < ?", (self._folder_id, path + b"/", path + b"0")
            )
        else:
            self._remove_where("folder_id = ? AND path > ?", (self._folder_id, path))
        # A file may have taken the directory's name, and may have been stored first.
        parent, _, name = path.rpartition(b"/")
        self._database.run(
            "UPDATE change SET entry_id = (SELECT e.id FROM entry e JOIN directory d ON d.id = e.directory_id "
            "WHERE d.folder_id = ? AND d.path = ? AND e.name = ?) WHERE folder_id = ? AND path = ?",
            (self._folder_id, parent, name, self._folder_id, path),
        )

    def _remove_where(self, where: str, params: tuple[Any, ...], counted: bool = True) -> None:
        run = self._database.run
        files, size = run(
            f"SELECT count(*), coalesce(sum(e.size), 0) FROM directory d JOIN entry e ON e.directory_id = d.id "  # noqa: S608
            f"WHERE {where} AND e.kind = {_FILE}",
            params,
        ).fetchone()
        # || on BLOBs gives text without looking at the bytes; the cast takes them back as they were.
        run(
            "INSERT INTO change (folder_id, path, was) SELECT folder_id, "  # noqa: S608
            "CAST(CASE path WHEN x'' THEN e.name ELSE path || x'2f' || e.name END AS BLOB), "
            f"CASE WHEN e.kind = {_FILE} THEN CASE e.size WHEN 0 THEN x'' ELSE substr(e.hash, 1, {_WAS_BYTES}) END END "
            f"FROM directory d JOIN entry e ON e.directory_id = d.id WHERE {where} {CHANGE_TAIL}",
            params,
        )
        run(
            f"INSERT INTO change (folder_id, path) SELECT folder_id, path FROM directory WHERE {where} {CHANGE_TAIL}",  # noqa: S608
            params,
        )
        below = f"SELECT id FROM directory WHERE {where}"  # noqa: S608
        run(
            f"DELETE FROM extent WHERE entry_id IN (SELECT id FROM entry WHERE directory_id IN ({below}))",  # noqa: S608
            params,
        )
        run(f"DELETE FROM entry WHERE directory_id IN ({below})", params)  # noqa: S608
        gone = run(f"DELETE FROM directory WHERE {where}", params).rowcount  # noqa: S608
        self._directories -= gone if counted else 0
        self._removed += files
        self._bytes -= size

    def _delete_entries(self, update: DirectoryUpdate, directory_id: int) -> None:
        found = list(
            select_in(
                self._database,
                "SELECT id, kind, size, name, hash FROM entry WHERE directory_id = ? AND name IN",
                (directory_id,),
                update.deletes,
            )
        )
        gone = [row[0] for row in found]
        change_in(self._database, "DELETE FROM extent WHERE entry_id IN", (), gone)
        change_in(self._database, "DELETE FROM entry WHERE id IN", (), gone)
        for _, kind, size, name, content_hash in found:
            if kind == _FILE:
                self._removed += 1
                self._bytes -= size
            path = _join(update.path, name)
            # A directory may have taken the file's name, and may have been stored first.
            self._database.run(
                f"{_CHANGE_HEAD} (?, ?, NULL, (SELECT id FROM directory WHERE folder_id = ? AND path = ?), ?) "  # noqa: S608
                f"{CHANGE_TAIL}",
                (self._folder_id, path, self._folder_id, path, _was(kind, size, content_hash)),
            )

    # -- what is there -------------------------------------------------------------------

    def _directory_ids(self) -> tuple[dict[bytes, int], set[bytes]]:
        """Ids of the batch's directories, and which of these are new."""
        paths = dict.fromkeys(update.path for update in self._batch.directories)
        head = "SELECT path, id FROM directory WHERE folder_id = ? AND path IN"
        ids: dict[bytes, int] = {
            row[0]: row[1] for row in select_in(self._database, head, (self._folder_id,), paths)
        }
        fresh = [path for path in paths if path not in ids]
        first = self._ids.take(self._database, "directory", len(fresh))
        ids.update(zip(fresh, range(first, first + len(fresh)), strict=True))
        # The folder's root is not one of its directories, as readers count them.
        self._directories += len(fresh) - (b"" in fresh)
        return ids, set(fresh)

    def _add_segments(self) -> None:
        made = {segment.seg_id: segment for segment in self._batch.segments}
        head = "SELECT seg_id, id FROM segment WHERE folder_id = ? AND kind = 1 AND seg_id IN"
        known = dict(select_in(self._database, head, (self._folder_id,), made))
        if known:
            self._segments.update(known)
            revive(self._database, self._folder_id, list(known.values()), self._batch.priority, self._tallies)
        fresh = [segment for seg_id, segment in made.items() if seg_id not in known]
        if not fresh:
            return
        row = self._database.run("SELECT epoch FROM folder WHERE id = ?", (self._folder_id,)).fetchone()
        if row is None:
            raise CatalogueError(f"there is no folder number {self._folder_id}")
        epoch = row[0] if self._batch.epoch is None else self._batch.epoch
        first = self._ids.take(self._database, "segment", len(fresh))
        params: list[Any] = []
        for at, segment in enumerate(fresh, first):
            self._segments[segment.seg_id] = at
            params += (at, self._folder_id, segment.seg_id, segment.length, epoch, segment.mark)
        head = "INSERT INTO segment (id, folder_id, seg_id, length, epoch, mark, kind) VALUES"
        insert(self._database, head, 6, params, group="(?,?,?,?,?,?,1)")
        rows = [(at, segment.length) for at, segment in enumerate(fresh, first)]
        insert_articles(
            self._database, self._folder_id, rows, self._batch.copies, self._batch.priority, self._tallies
        )
        self._segments_new = len(fresh)

    def _stored_entries(self, update: DirectoryUpdate, directory_id: int) -> _Known:
        head = "SELECT name, id, kind, size, hash FROM entry WHERE directory_id = ? AND name IN"
        names = [upsert.name for upsert in update.upserts]
        return {row[0]: row[1:] for row in select_in(self._database, head, (directory_id,), names)}

    def _take_entries(self, update: DirectoryUpdate, directory_id: int, known: _Known) -> None:
        folder_id, segments = self._folder_id, self._segments
        entries, extents, changes = self._entries, self._extents, self._changes
        prefix = update.path + b"/" if update.path else b""
        next_id = first = self._ids.take(self._database, "entry", 0)
        for upsert in update.upserts:
            name, kind, size = upsert[:3]
            hash32, extents_now, publish = upsert.hash, upsert.extents, upsert.publish
            old = known.get(name)
            if old is None:
                entry_id = next_id
                next_id += 1
                if kind == _FILE:
                    self._new += 1
                    self._bytes += size
            else:
                entry_id = old[0]
                self._count_change(old, kind, size)
                if extents_now is not None:
                    self._replaced.append(entry_id)
            known[name] = (entry_id, kind, size, hash32)
            values: tuple[Any, ...] = upsert[1:_COLUMNS_END]
            if extents_now is None and (old is None or not same_content(old[3], hash32)):
                # Its segment was given up since the scan saw the row: there are no extents to keep.
                values = (*values[:_HASH_AT], None, *values[_HASH_AT + 1 :])
            elif extents_now:
                rows: list[int] = []
                for position, seg_id, offset, length in extents_now:
                    rows += (entry_id, position, segments[seg_id], offset, length)
                if 0 in rows[2::5]:
                    values = (*values[:_HASH_AT], None, *values[_HASH_AT + 1 :])
                    self._unread.add(update.path)
                else:
                    extents += rows
            entries += (entry_id, directory_id, name)
            entries += values
            if publish:
                was = None if old is None else _was(old[1], old[2], old[3])
                changes += (folder_id, prefix + name, entry_id, None, was)
        self._ids.take(self._database, "entry", next_id - first)

    def _count_change(self, old: tuple[int, int, int, bytes | None], kind: int, size: int) -> None:
        if kind == _FILE and old[1] == _FILE:
            self._changed += 1
            self._bytes += size - old[2]
        elif kind == _FILE:
            self._new += 1
            self._bytes += size
        elif old[1] == _FILE:
            self._removed += 1
            self._bytes -= old[2]

    # -- writing -------------------------------------------------------------------------

    def _write_directories(self, ids: dict[bytes, int]) -> None:
        params: list[Any] = []
        changes: list[Any] = []
        for update in self._batch.directories:
            row, path = ids[update.path], update.path
            digest = None if path in self._unread else update.digest
            params += (row, self._folder_id, path, digest, update.mode, update.mtime_ns, update.inode)
            params.append(update.attributes)
            if update.changed:
                changes += (self._folder_id, path, None, row, None)
        insert(self._database, _DIRECTORY_HEAD, 8, params, _DIRECTORY_TAIL)
        insert(self._database, _CHANGE_HEAD, 5, changes, CHANGE_TAIL)

    def _write_entries(self) -> None:
        insert(self._database, _ENTRY_HEAD, _ENTRY_WIDTH, self._entries, _ENTRY_TAIL)
        change_in(self._database, "DELETE FROM extent WHERE entry_id IN", (), self._replaced)
        head = "INSERT INTO extent (entry_id, position, segment_id, offset, length) VALUES"
        # REPLACE: a name twice in one batch keeps what came last.
        insert(self._database, head.replace("INSERT", "INSERT OR REPLACE"), 5, self._extents)
        insert(self._database, _CHANGE_HEAD, 5, self._changes, CHANGE_TAIL)

    def _withhold_digests(self, directory_ids: list[int]) -> None:
        """A directory with a file to be read again keeps no digest, or no scan would ever look at that file."""
        change_in(
            self._database,
            "UPDATE directory SET digest = NULL WHERE EXISTS (SELECT 1 FROM entry e "  # noqa: S608
            f"WHERE e.directory_id = directory.id AND e.kind = {_FILE} AND e.size > 0 AND e.hash IS NULL) AND id IN",
            (),
            directory_ids,
        )

    def _write_folder(self) -> None:
        self._tallies.write(self._database)
        self._database.run(
            "UPDATE folder SET files = files + ?, directories = directories + ?, bytes = bytes + ? WHERE id = ?",
            (self._new - self._removed, self._directories, self._bytes, self._folder_id),
        )


def _was(kind: int, size: int, content_hash: bytes | None) -> bytes | None:
    """What the journal remembers of a file that was there before; see Change.was."""
    if kind != _FILE:
        return None
    return content_hash and content_hash[:_WAS_BYTES] if size else b""


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
