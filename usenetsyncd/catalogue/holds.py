"""What the deletion guard asks of the catalogue, and what it remembers: see daemon/guarding.py for when it holds."""

from concurrent.futures import Future
from dataclasses import dataclass

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.rows import VersionState
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock

# Content that still stands somewhere in the folder was moved, not deleted.
_GONE = """FROM change c WHERE c.folder_id = ? AND c.was IS NOT NULL AND c.version IS NULL AND c.entry_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM entry e JOIN directory d ON d.id = e.directory_id
        WHERE substr(e.hash, 1, 8) = c.was AND e.size > 0 AND d.folder_id = c.folder_id)"""
# A file that was not read yet is no change yet; one that came back as it was is none.
_OTHER = """FROM change c JOIN entry e ON e.id = c.entry_id WHERE c.folder_id = ? AND c.was IS NOT NULL
    AND c.version IS NULL AND (e.kind <> 1 OR (e.size = 0 AND c.was <> x'')
        OR (e.size > 0 AND e.hash IS NOT NULL AND substr(e.hash, 1, 8) <> c.was))"""


@dataclass(frozen=True, slots=True)
class HoldRow:
    """cause None: not held. accepting: the next scan's deletions are accepted. files: how many the folder had when
    somebody released it."""

    cause: str | None = None
    since: float | None = None
    accepting: bool = False
    released_at: float | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Losses:
    """Files of the newest version whose content is gone from the folder, or is another now."""

    deleted: int
    changed: int


class Holds:
    """Folders that wait for a person."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def get(self, folder_id: int) -> HoldRow:
        """What is known of a folder, whether or not it is held."""
        row = self._readers.fetch_one(
            "SELECT cause, since, accepting, released_at, files FROM hold WHERE folder_id = ?", (folder_id,)
        )
        return HoldRow() if row is None else HoldRow(row[0], row[1], bool(row[2]), row[3], row[4])

    def losses(self, folder_id: int) -> Losses:
        """What a version begun now would take away or replace. As fast as there are such paths, not files."""

        def count(database: Connection) -> Losses:
            gone, other = (
                database.run(f"SELECT count(*) {where}", (folder_id,)).fetchone()[0]
                for where in (_GONE, _OTHER)
            )
            return Losses(gone, other)

        return self._readers.query(count)

    def first_paths(self, folder_id: int, limit: int) -> tuple[list[bytes], list[bytes]]:
        """The first paths by name of what ``losses`` counts: deleted, changed."""
        deleted, changed = (
            [
                row[0]
                for row in self._readers.fetch(
                    f"SELECT c.path {where} ORDER BY c.path LIMIT ?", (folder_id, limit)
                )
            ]
            for where in (_GONE, _OTHER)
        )
        return deleted, changed

    def files_before(self, folder_id: int, moment: float, since: float) -> int | None:
        """Files of the newest version published before a moment, or of the oldest after it; None without one.

        since: versions from before it do not count.
        """
        found = "SELECT files FROM version WHERE folder_id = ? AND state = ? AND published_at"
        params = (folder_id, VersionState.PUBLISHED.value)
        row = self._readers.fetch_one(
            f"{found} BETWEEN ? AND ? ORDER BY version DESC LIMIT 1", (*params, since, moment)
        ) or self._readers.fetch_one(f"{found} > ? ORDER BY version LIMIT 1", (*params, max(since, moment)))
        return None if row is None else int(row[0])

    def hold(self, folder_id: int, cause: str, reason: str) -> bool:
        """Nothing of the folder is posted or published from now on. Whether it was not held for this before."""
        now = self._clock.now()

        def intent(database: Connection) -> bool:
            before = database.run("SELECT cause FROM hold WHERE folder_id = ?", (folder_id,)).fetchone()
            database.run(
                "INSERT INTO hold (folder_id, cause, since, accepting) VALUES (?, ?, ?, 0) ON CONFLICT (folder_id) "
                "DO UPDATE SET since = CASE WHEN cause IS NULL THEN excluded.since ELSE since END, "
                "cause = excluded.cause, accepting = 0",
                (folder_id, cause, now),
            )
            database.run("UPDATE folder SET held = 1, reason = ? WHERE id = ?", (reason, folder_id))
            return before is None or before[0] != cause

        return self._writer.run(intent, durable=True)

    def lift(self, folder_id: int, cause: str) -> bool:
        """End a hold of this cause; False when there was none."""
        if self.get(folder_id).cause != cause:
            return False

        def intent(database: Connection) -> bool:
            ended = database.run(
                "UPDATE hold SET cause = NULL WHERE folder_id = ? AND cause = ?", (folder_id, cause)
            ).rowcount
            if ended:
                database.run("UPDATE folder SET held = 0, reason = '' WHERE id = ?", (folder_id,))
            return bool(ended)

        return self._writer.run(intent)

    def accept(self, folder_id: int) -> "Future[None]":
        """What is gone or changed now was meant: it does not count any more, and the hold ends."""
        now = self._clock.now()

        def intent(database: Connection) -> None:
            database.run("UPDATE change SET was = NULL WHERE folder_id = ? AND version IS NULL", (folder_id,))
            self._released(database, folder_id, now, accepting=False)

        return self._writer.submit(intent, durable=True)

    def accept_next(self, folder_id: int) -> "Future[None]":
        """What the next scan finds gone is meant, even if that is everything; the hold ends."""
        now = self._clock.now()
        return self._writer.submit(
            lambda database: self._released(database, folder_id, now, accepting=True), durable=True
        )

    @staticmethod
    def _released(database: Connection, folder_id: int, now: float, accepting: bool) -> None:
        database.run(
            "INSERT INTO hold (folder_id, accepting, released_at, files) SELECT id, ?, ?, files FROM folder "
            "WHERE id = ? ON CONFLICT (folder_id) DO UPDATE SET cause = NULL, since = NULL, "
            "accepting = excluded.accepting, released_at = excluded.released_at, files = excluded.files",
            (int(accepting), now, folder_id),
        )
        database.run("UPDATE folder SET held = 0, reason = '' WHERE id = ?", (folder_id,))
