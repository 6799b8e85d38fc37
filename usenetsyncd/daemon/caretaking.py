"""When what is looked after: new articles soon after they were posted, all of them regularly, what is lost at once.

Nothing here checks or repairs: it asks the lane for it, and every decision follows from what is in the catalogue, so that
a restart changes none.
"""

import threading
from collections.abc import Callable

import structlog

from usenetsyncd.catalogue.rows import FolderRow
from usenetsyncd.catalogue.verifications import CheckKind, CheckState
from usenetsyncd.daemon.checking import VERIFY, Checking, Scopes, tell_damage
from usenetsyncd.daemon.health import HealthBook
from usenetsyncd.daemon.jobs import Jobs, Work
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.daemon.repairing import REPAIR, Repairing, repaired_at
from usenetsyncd.daemon.restoring import RESTORE, Restoring
from usenetsyncd.flows.health import HealthWord
from usenetsyncd.flows.verify import PropagationCheck

log = structlog.get_logger("verify")

# What somebody found who asked is left to him for so long before it is repaired without him.
GRACE_S = 900.0
# A check to which some server gave no answer is done again this soon, and a repair that left something over.
AGAIN_S = 3_600.0


class Caretaker:
    """Looks at every folder now and then, and puts what is due on the lane."""

    def __init__(self, scopes: Scopes, book: HealthBook, jobs: Jobs, lane: Lane) -> None:
        self._scopes = scopes
        self._catalogue = scopes.catalogue
        self._clock = scopes.clock
        self._book = book
        self._jobs = jobs
        self._lane = lane
        # On the monotonic clock: a check that fails is not tried again at every look.
        self._not_before: dict[int, float] = {}

    def look(self) -> None:
        """For the timetable: takes a few short queries per folder."""
        for folder in self._scopes.folders:
            row = self._catalogue.folders.by_id(folder.row)
            if self._book.due(folder.row):
                self._lane.put(f"health-{folder.row}", self._health_of(folder), Urgency.SOON)
            if not row.version:
                continue
            if self._new_ones_due(folder):
                self._lane.put(f"propagation-{folder.row}", self._propagation_of(folder), Urgency.SOON)
            if self._repair_due(folder, row):
                self.repair(folder)
            due = self.next_check_at(folder)
            if due is not None and due <= self._clock.now():
                self._check(folder)

    def repair(self, folder: LiveFolder) -> None:
        """Have what is lost posted again; one that waits already is enough."""
        if not self._jobs.waits(REPAIR, folder.row):
            self._jobs.start(REPAIR, folder.row, {"dry_run": False, "wait": False}, asked=False)

    def next_check_at(self, folder: LiveFolder) -> float | None:
        """When all of a folder is asked for next; None while nothing of it is published."""
        row = self._catalogue.folders.by_id(folder.row)
        if not row.version:
            return None
        times = folder.settings.verify
        last = self._catalogue.verifications.latest(folder.row, CheckKind.AVAILABILITY, CheckState.DONE)
        if last is None or last.finished_at is None:
            return self._first_seen(row) + times.after
        now = self._clock.now()
        if last.finished_at > now:
            return now  # the clock was set back: nothing says how long ago that was
        return last.finished_at + (min(times.every, AGAIN_S) if last.unknown else times.every)

    def _first_seen(self, row: FolderRow) -> float:
        """When the folder had its first version, or when this was first asked."""
        key = f"published:{row.id}"
        kept = self._catalogue.values.get(key)
        if kept is None:
            kept = repr(row.published_at or self._clock.now())
            self._catalogue.values.set(key, kept)
        return float(kept)

    def _check(self, folder: LiveFolder) -> None:
        now = self._clock.monotonic()
        if self._jobs.waits(VERIFY, folder.row) or now < self._not_before.get(folder.row, 0.0):
            return
        self._not_before[folder.row] = now + min(folder.settings.verify.every, AGAIN_S)
        self._catalogue.jobs.prune()
        params = {"full": False, "sample": None, "server": None}
        self._jobs.start(VERIFY, folder.row, params, asked=False)

    # -- new articles ----------------------------------------------------------------------------

    def _new_ones_due(self, folder: LiveFolder) -> bool:
        before = self._clock.now() - folder.settings.verify.after
        verifications = self._catalogue.verifications
        row = verifications.latest(folder.row, CheckKind.PROPAGATION, CheckState.RUNNING)
        cursor = (0, -1) if row is None else row.cursor
        if verifications.settled(folder.row, cursor, before, 1)[1] != cursor:
            return True
        return bool(self._catalogue.findings.reposted(folder.row, before, limit=1))

    def _propagation_of(self, folder: LiveFolder) -> Callable[[threading.Event], bool]:
        def run(stop: threading.Event) -> bool:
            check = PropagationCheck(self._scopes.of(stop), folder.row, folder.settings.verify.after)
            summary = check.run()
            found = summary.missing + summary.corrupt > 0
            if found or (summary.checked and self._book.of(folder.row).word is not HealthWord.RESTORABLE):
                self._book.renew(folder)
            if found:
                tell_damage(self._catalogue, folder, summary)
            if found or (summary.checked and self._left_over(folder)):
                self.repair(folder)
            return summary.finished

        return run

    def _left_over(self, folder: LiveFolder) -> bool:
        """Whether an earlier repair could not bring back everything: what has come back since may help."""
        if self._book.of(folder.row).word not in (HealthWord.AT_RISK, HealthWord.DAMAGED):
            return False
        return self._clock.now() - repaired_at(self._catalogue, folder.row) >= AGAIN_S

    # -- what is lost ----------------------------------------------------------------------------

    def _repair_due(self, folder: LiveFolder, row: FolderRow) -> bool:
        """Whether the last check found something, and nobody has repaired the folder since."""
        if row.paused:
            return False
        last = self._catalogue.verifications.latest(folder.row, CheckKind.AVAILABILITY, CheckState.DONE)
        if last is None or last.finished_at is None or not last.missing + last.corrupt:
            return False
        if repaired_at(self._catalogue, folder.row) >= last.finished_at:
            return False
        return self._clock.now() - last.finished_at >= GRACE_S

    def _health_of(self, folder: LiveFolder) -> Callable[[threading.Event], bool]:
        def run(stop: threading.Event) -> bool:
            self._book.renew(folder)
            return True

        return run


class Care:
    """All that looks after what is posted, put together: jobs of every kind, health, and the caretaker."""

    def __init__(
        self,
        scopes: Scopes,
        lane: Lane,
        restoring: Restoring,
        wake: Callable[[], None],
        posting_rests: Callable[[], bool],
    ) -> None:
        """lane: started and stopped by the caller. wake, posting_rests: see Repairing."""
        self.book = HealthBook(scopes.catalogue, scopes.settings, scopes.clock)
        works: dict[str, Work] = {
            RESTORE: restoring,
            VERIFY: Checking(scopes, self.book, self._damage_found),
            REPAIR: Repairing(scopes, self.book, wake, posting_rests),
        }
        self.jobs = Jobs(scopes.catalogue, scopes.clock, works, lane)
        self.caretaker = Caretaker(scopes, self.book, self.jobs, lane)

    def _damage_found(self, folder: LiveFolder) -> None:
        self.caretaker.repair(folder)
