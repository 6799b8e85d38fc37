"""Configured folders and their counters."""

from concurrent.futures import Future
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.rows import PENDING_STATES, ArticleState, FolderRow, Totals
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound

_PENDING = ",".join(str(int(state)) for state in sorted(PENDING_STATES))
_COLUMNS = (
    "id, name, uid, root, epoch, version, state, reason, paused, held, files, directories, bytes, "
    "scanned_at, published_at, restorable_at, verified_at, removed_at"
)
_SELECT = f"""SELECT {_COLUMNS},
    (SELECT coalesce(sum(articles), 0) FROM tally t WHERE t.folder_id = f.id AND t.state IN ({_PENDING})),
    (SELECT coalesce(sum(bytes), 0) FROM tally t WHERE t.folder_id = f.id AND t.state IN ({_PENDING})),
    (SELECT coalesce(sum(articles), 0) FROM tally t WHERE t.folder_id = f.id
        AND t.state = {int(ArticleState.FAILED)})
    FROM folder f"""  # noqa: S608
_STAMPS = frozenset({"scanned_at", "published_at", "restorable_at", "verified_at"})


class Folders:
    """The table of folders. Changes return futures, except ``ensure``, which waits."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def ensure(self, name: str, root: bytes, uid: bytes) -> FolderRow:
        """The folder of this name, made if it is new, taken back if it was removed.

        An existing folder keeps its uid (its keys derive from it) and follows ``root``.
        """

        def intent(database: Connection) -> None:
            database.run(
                "INSERT INTO folder (name, uid, root, epoch, version, state, reason, paused, held, files, "
                "directories, bytes) VALUES (?, ?, ?, 1, 0, 'scanning', '', 0, 0, 0, 0, 0) "
                "ON CONFLICT (name) DO UPDATE SET root = excluded.root, removed_at = NULL",
                (name, uid, root),
            )

        self._writer.run(intent, durable=True)
        return self.get(name)

    def get(self, name: str) -> FolderRow:
        """Raises NotFound, also for a removed folder."""
        row = self._readers.fetch_one(f"{_SELECT} WHERE name = ? AND removed_at IS NULL", (name,))
        if row is None:
            raise NotFound(f"there is no folder {name!r}")
        return _folder(row)

    def by_id(self, folder_id: int) -> FolderRow:
        """Removed folders too. Raises NotFound."""
        row = self._readers.fetch_one(f"{_SELECT} WHERE id = ?", (folder_id,))
        if row is None:
            raise NotFound(f"there is no folder number {folder_id}")
        return _folder(row)

    def list(self, removed: bool = False) -> list[FolderRow]:
        """All folders by name; with ``removed`` those that were removed as well."""
        where = "" if removed else "WHERE removed_at IS NULL"
        return [_folder(row) for row in self._readers.fetch(f"{_SELECT} {where} ORDER BY name")]

    def totals(self) -> Totals:
        """Sums over all folders that are not removed."""
        rows = self.list()
        return Totals(
            len(rows),
            sum(row.files for row in rows),
            sum(row.directories for row in rows),
            sum(row.bytes for row in rows),
            sum(row.pending_articles for row in rows),
            sum(row.pending_bytes for row in rows),
            sum(row.failed_articles for row in rows),
        )

    def set_state(self, folder_id: int, state: str, reason: str = "") -> "Future[None]":
        """What the folder is doing, and why it is not doing more."""
        return self._update(folder_id, state=state, reason=reason)

    def set_paused(self, folder_id: int, paused: bool) -> "Future[None]":
        """A paused folder's articles stay in the queue and are not leased."""
        return self._update(folder_id, paused=int(paused))

    def set_held(self, folder_id: int, held: bool, reason: str = "") -> "Future[None]":
        """A held folder waits for a person: nothing of it is leased."""
        return self._update(folder_id, held=int(held), reason=reason)

    def set_epoch(self, folder_id: int, epoch: int) -> "Future[None]":
        """New content is sealed under this epoch from now on."""
        return self._update(folder_id, epoch=epoch)

    def raise_version(self, folder_id: int, version: int) -> "Future[None]":
        """A server has this version: number later ones above it. For a catalogue restored from a backup."""

        def intent(database: Connection) -> None:
            database.run("UPDATE folder SET version = max(version, ?) WHERE id = ?", (version, folder_id))

        return self._writer.submit(intent, durable=True)

    def stamp(self, folder_id: int, **times: float | None) -> "Future[None]":
        """Set any of scanned_at, published_at, restorable_at, verified_at."""
        unknown = set(times) - _STAMPS
        if unknown:
            raise ValueError(f"not a time of a folder: {sorted(unknown)}")
        return self._update(folder_id, **times)

    def remove(self, folder_id: int) -> "Future[None]":
        """Forget the folder: its articles are no longer leased; its rows stay, `ensure` takes it back."""
        return self._update(folder_id, removed_at=self._clock.now())

    def _update(self, folder_id: int, **values: Any) -> "Future[None]":
        assignments = ", ".join(f"{column} = ?" for column in values)

        def intent(database: Connection) -> None:
            database.run(
                f"UPDATE folder SET {assignments} WHERE id = ?",  # noqa: S608
                (*values.values(), folder_id),
            )

        return self._writer.submit(intent)


def _folder(row: tuple[Any, ...]) -> FolderRow:
    return FolderRow(*(*row[:8], bool(row[8]), bool(row[9]), *row[10:]))
