"""What a catalogue takes over from the servers, when it knows less than they do: after a backup was put back."""

from concurrent.futures import Future

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.rows import VersionState
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock

_ASK = "ask:"


class Adoption:
    """Numbers and hashes that were given out before, and are not known here."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def must_ask(self, folder_id: int) -> bool:
        """Whether the rows of the folder come from a backup, and the servers may know of newer versions."""
        return (
            self._readers.fetch_one("SELECT 1 FROM meta WHERE key = ?", (f"{_ASK}{folder_id}",)) is not None
        )

    def asked(self, folder_id: int) -> "Future[None]":
        """The servers were asked, and what they know was taken over."""

        def intent(database: Connection) -> None:
            database.run("DELETE FROM meta WHERE key = ?", (f"{_ASK}{folder_id}",))

        return self._writer.submit(intent, durable=True)

    def adopt_head(self, folder_id: int, version: int, epoch: int, head_hash: bytes) -> "Future[None]":
        """A version that was published once and forgotten here: the next one follows it, under a higher number.

        Its tree is not taken over: what the journal says goes with the newest tree that is known here.
        """
        now = self._clock.now()

        def intent(database: Connection) -> None:
            database.run(
                "INSERT INTO version (folder_id, version, epoch, state, created_at, published_at, root_segment, "
                "root_offset, root_length, head_hash, files, directories, bytes) "
                "SELECT f.id, ?, ?, ?, ?, ?, v.root_segment, v.root_offset, v.root_length, ?, coalesce(v.files, 0), "
                "coalesce(v.directories, 0), coalesce(v.bytes, 0) FROM folder f LEFT JOIN version v ON v.folder_id = f.id "
                "AND v.version = (SELECT max(w.version) FROM version w WHERE w.folder_id = f.id AND w.state = ?) "
                "WHERE f.id = ?",
                (
                    version,
                    epoch,
                    VersionState.PUBLISHED.value,
                    now,
                    now,
                    head_hash,
                    VersionState.PUBLISHED.value,
                    folder_id,
                ),
            )
            database.run(
                "UPDATE folder SET version = max(version, ?), epoch = max(epoch, ?) WHERE id = ?",
                (version, epoch, folder_id),
            )

        return self._writer.submit(intent, durable=True)


def ask_for_all(database: Connection) -> None:
    """Mark every folder of a backup: before it publishes, the servers are to be asked."""
    database.run(
        f"INSERT OR REPLACE INTO meta (key, value) SELECT '{_ASK}' || id, '1' FROM folder"  # noqa: S608
    )
