"""Repairs as jobs: what is lost is queued again, and seen through until it is back on the servers."""

import threading
from collections.abc import Callable

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import JobRow
from usenetsyncd.daemon.checking import Scopes, target_of
from usenetsyncd.daemon.health import HealthBook
from usenetsyncd.daemon.jobs import Progress
from usenetsyncd.daemon.lane import Urgency
from usenetsyncd.errors import UsageError

log = structlog.get_logger("repair")

REPAIR = "repair"


class Repairing:
    """The work of jobs of the kind ``repair``."""

    in_turn = True
    urgency = Urgency.SOON

    def __init__(self, scopes: Scopes, book: HealthBook, wake: Callable[[], None]) -> None:
        """wake: articles are waiting to be posted."""
        self._scopes = scopes
        self._catalogue = scopes.catalogue
        self._folders = scopes.folders
        self._book = book
        self._wake = wake

    def target_of(self, job: JobRow) -> str:
        """The folder."""
        return target_of(self._folders, job)

    def discard(self, job: JobRow) -> None:
        """What is queued is posted all the same."""

    def run(self, job: JobRow, stop: threading.Event, report: Callable[[Progress], None]) -> Progress:
        """Repair every folder that is not done yet."""
        raise UsageError("this version cannot repair")


def repaired_at(catalogue: Catalogue, row: int) -> float:
    """When a repair of the folder was last begun; 0 for never."""
    return float(catalogue.values.get(_key(row)) or 0)


def note_repair(catalogue: Catalogue, row: int, at: float) -> None:
    """A repair of the folder begins."""
    catalogue.values.set(_key(row), repr(at)).result()


def _key(row: int) -> str:
    return f"repaired:{row}"
