"""Segments that only versions need which are not kept: they are asked for and repaired no more. Nothing is deleted."""

from collections.abc import Sequence
from concurrent.futures import Future

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.model import ArticleKind

# A stripe gives back what is lost from what is not: as long as it protects anything, all of it is looked after.
_PROTECTS = """SELECT 1 FROM stripe_member mine JOIN stripe s ON s.id = mine.stripe_id
    JOIN stripe_member other ON other.stripe_id = s.id AND other.position < s.data
    WHERE mine.segment_id = retired.segment_id AND NOT EXISTS (SELECT 1 FROM retired r
        WHERE r.segment_id = other.segment_id AND NOT EXISTS (SELECT 1 FROM extent e WHERE e.segment_id = r.segment_id))"""
_IN_USE = "SELECT 1 FROM extent e WHERE e.segment_id = retired.segment_id"
_PARITY_OF_NOTHING = """SELECT p.segment_id, ?1, 1 FROM stripe s JOIN stripe_member p ON p.stripe_id = s.id
    AND p.position >= s.data WHERE s.folder_id = ?1 AND NOT EXISTS (SELECT 1 FROM stripe_member d
        WHERE d.stripe_id = s.id AND d.position < s.data AND NOT EXISTS (SELECT 1 FROM retired r
            WHERE r.segment_id = d.segment_id AND r.state = 1))"""

NOT_RETIRED = """NOT EXISTS (SELECT 1 FROM retired r WHERE r.segment_id = a.segment_id AND r.state = 1
    AND NOT EXISTS (SELECT 1 FROM extent e WHERE e.segment_id = r.segment_id))"""
"""For a query over articles ``a``. A segment that a file of today has again is back at once."""


class Retirement:
    """Who has retired, by folder."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    def moments(self, folder_id: int) -> list[tuple[int, float]]:
        """(version, when it was published) of all published versions, the newest first."""
        return [
            (row[0], row[1])
            for row in self._readers.fetch(
                "SELECT version, coalesce(published_at, created_at) FROM version "
                "WHERE folder_id = ? AND state = 'published' ORDER BY version DESC",
                (folder_id,),
            )
        ]

    def begin(self, folder_id: int) -> "Future[None]":
        """All are in service again, until it is worked out anew."""

        def intent(database: Connection) -> None:
            database.run("DELETE FROM retired WHERE folder_id = ?", (folder_id,))

        return self._writer.submit(intent)

    def propose(self, folder_id: int, kind: ArticleKind, seg_ids: Sequence[bytes]) -> "Future[None]":
        """No kept version needs these."""

        def intent(database: Connection) -> None:
            for seg_id in seg_ids:
                database.run(
                    "INSERT OR IGNORE INTO retired (segment_id, folder_id, state) "
                    "SELECT id, folder_id, 0 FROM segment WHERE folder_id = ? AND kind = ? AND seg_id = ?",
                    (folder_id, int(kind), seg_id),
                )

        return self._writer.submit(intent)

    def conclude(self, folder_id: int) -> "Future[int]":
        """All were proposed: those that nothing else needs retire, with the parity of nothing. Returns how many."""

        def intent(database: Connection) -> int:
            run = database.run
            run(
                f"UPDATE retired SET state = 1 WHERE folder_id = ? AND NOT EXISTS ({_IN_USE}) "  # noqa: S608
                f"AND NOT EXISTS ({_PROTECTS})",
                (folder_id,),
            )
            run("DELETE FROM retired WHERE folder_id = ? AND state = 0", (folder_id,))
            run(
                f"INSERT OR IGNORE INTO retired (segment_id, folder_id, state) {_PARITY_OF_NOTHING}",
                (folder_id,),
            )
            run(
                "DELETE FROM finding WHERE folder_id = ? AND segment_id IN "
                "(SELECT segment_id FROM retired WHERE folder_id = ?)",
                (folder_id, folder_id),
            )
            count = run("SELECT count(*) FROM retired WHERE folder_id = ?", (folder_id,)).fetchone()
            return int(count[0])

        return self._writer.submit(intent, alone=True)

    def count(self, folder_id: int) -> int:
        """How many have retired."""
        row = self._readers.fetch_one("SELECT count(*) FROM retired WHERE folder_id = ?", (folder_id,))
        return 0 if row is None else int(row[0])
