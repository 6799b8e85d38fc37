"""The catalogue: everything the daemon knows, in one SQLite file, behind one object.

Reading happens in the caller's thread on short-lent read-only connections; every change goes through the writer and
returns a future that resolves after its commit.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from usenetsyncd.catalogue import checking, database
from usenetsyncd.catalogue.adoption import Adoption
from usenetsyncd.catalogue.events import Events
from usenetsyncd.catalogue.findings import Findings
from usenetsyncd.catalogue.folders import Folders
from usenetsyncd.catalogue.follows import Follows
from usenetsyncd.catalogue.holds import Holds
from usenetsyncd.catalogue.jobs import Jobs
from usenetsyncd.catalogue.listing import Listing
from usenetsyncd.catalogue.queue import Queue
from usenetsyncd.catalogue.rebuilding import Rebuilding
from usenetsyncd.catalogue.records import Heads, Troubles, Values
from usenetsyncd.catalogue.retirement import Retirement
from usenetsyncd.catalogue.rows import CheckReport, SizeFigures
from usenetsyncd.catalogue.scan_store import ScanStore
from usenetsyncd.catalogue.segments import Segments
from usenetsyncd.catalogue.shares import Shares
from usenetsyncd.catalogue.statements import RowIds
from usenetsyncd.catalogue.stripes import Stripes
from usenetsyncd.catalogue.users import Users
from usenetsyncd.catalogue.verifications import Verifications
from usenetsyncd.catalogue.versions import Versions
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import SYSTEM_CLOCK, Clock

__all__ = ["Catalogue"]


class Catalogue:
    """Open with ``Catalogue.open``; only one process may have it open for writing (the daemon's lock file)."""

    def __init__(self, path: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        database.prepare(path)
        self.path = path
        self._readers = database.Readers(path)
        self.writer = Writer(path)
        ids = RowIds()
        self.folders = Folders(self._readers, self.writer, clock)
        self.holds = Holds(self._readers, self.writer, clock)
        self.adoption = Adoption(self._readers, self.writer, clock)
        self.rebuilding = Rebuilding(self.writer, clock)
        self.scan = ScanStore(self._readers, self.writer, ids)
        self.listing = Listing(self._readers)
        self.queue = Queue(self._readers, self.writer, clock)
        self.segments = Segments(self._readers, self.writer, ids)
        self.versions = Versions(self._readers, self.writer, clock, self.segments)
        self.findings = Findings(self._readers, self.writer, clock)
        self.verifications = Verifications(self._readers, self.writer, clock)
        self.stripes = Stripes(self._readers, self.writer, ids)
        self.shares = Shares(self._readers, self.writer, clock, self.segments)
        self.retirement = Retirement(self._readers, self.writer)
        self.follows = Follows(self._readers, self.writer, clock)
        self.users = Users(self._readers, self.writer, clock)
        self.jobs = Jobs(self._readers, self.writer, clock)
        self.events = Events(self._readers, self.writer, clock)
        self.troubles = Troubles(self._readers, self.writer, clock)
        self.heads = Heads(self._readers, self.writer, clock)
        self.values = Values(self._readers, self.writer)

    @classmethod
    def open(cls, path: Path, clock: Clock = SYSTEM_CLOCK) -> Self:
        """Check, migrate and open a catalogue; a missing file is made.

        Raises NewerCatalogue and CatalogueDamaged with the file untouched, DiskFull, CatalogueError.
        """
        return cls(path, clock)

    def close(self) -> None:
        """Commit what is queued, checkpoint, end the writer. Safe to call twice."""
        self.writer.close()
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def rest(self) -> None:
        """Nothing will happen for a while: give back the memory of the page caches."""
        self._readers.let_go()
        self.writer.submit(lambda connection: connection.run("PRAGMA shrink_memory"), alone=True).result()

    def check(self, full: bool = False) -> CheckReport:
        """Read the file for damage; ``full`` also checks every index and recounts every counter."""
        return self._readers.query(lambda connection: checking.check(connection, full))

    def backup(self, to: Path) -> None:
        """A consistent copy while work goes on; replaces ``to`` only when it is complete and durable."""
        checking.backup(self.path, to)

    def size(self) -> SizeFigures:
        """Bytes on disk and rows per table."""
        return self._readers.query(lambda connection: checking.size(connection, self.path))
