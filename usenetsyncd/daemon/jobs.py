"""Run what was asked for and may take long: restores, checks, repairs. A job outlives the process that began it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import JobRow, JobState
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.errors import ArticleMissing, Cancelled, NewsError, UsenetSyncError, Verdict

log = structlog.get_logger("job")

PROGRESS_EVERY_S = 0.5
# A job that fails for want of a server is tried again by itself.
NEWS_RETRIES = 5
NEWS_RETRY_S = 30.0
CANCEL_WITHIN_S = 15.0

Progress = dict[str, Any]


class Work(Protocol):
    """One kind of job.

    in_turn: one at a time with all others of that sort, else on a thread of its own. urgency: where nobody asked.
    """

    in_turn: bool
    urgency: Urgency

    def run(self, job: JobRow, stop: threading.Event, report: Callable[[Progress], None]) -> Progress:
        """Do it, or go on with it where the last process ended; returns the result as plain JSON.

        Raises Cancelled once ``stop`` is set, with everything kept that is needed to go on.
        report: called often, as a sign of life; not all of it is written down.
        """

    def discard(self, job: JobRow) -> None:
        """It was cancelled: remove what was kept to go on with."""

    def target_of(self, job: JobRow) -> str:
        """What it works on, for people."""


@dataclass(slots=True)
class _Open:
    """A job that waits or runs. thread: None for one that takes its turn."""

    job: JobRow
    asked: bool
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    cancelled: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


class _Ending(NamedTuple):
    state: JobState
    result: Progress | None = None
    code: str | None = None
    text: str | None = None


_CANCELLED = _Ending(JobState.CANCELLED, None, "cancelled", "cancelled on request")


class Jobs:
    """Starts, continues and cancels jobs of every kind."""

    def __init__(self, catalogue: Catalogue, clock: Clock, works: Mapping[str, Work], lane: Lane) -> None:
        """works: by kind. lane: for those that are done one at a time; started and stopped by its owner."""
        self._catalogue = catalogue
        self._clock = clock
        self._works = works
        self._lane = lane
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}
        self._stopping = threading.Event()
        self._changed = threading.Condition()

    def resume(self) -> None:
        """Continue the jobs that were under way when the process ended."""
        for job in self._catalogue.jobs.unfinished():
            if job.kind in self._works:
                self._launch(job)
            else:
                self._catalogue.jobs.finish(
                    job.id, JobState.FAILED, None, "interrupted", "the daemon was stopped"
                )

    def start(self, kind: str, folder_row: int | None, params: Progress, asked: bool = True) -> int:
        """Queue a job; the same one that still waits is enough. params: plain JSON without a secret in clear.

        asked: by a person; the others make way, and the daemon counts as idle while they run.
        """
        with self._lock:
            waiting = next((w for w in self._open.values() if self._is(w, kind, folder_row, params)), None)
            if waiting is not None:
                waiting.asked |= asked
                self._queue(waiting)
                return waiting.job.id
        job = self._catalogue.jobs.add(kind, folder_row, {**params, "asked": asked})
        self._launch(job)
        return job.id

    def cancel(self, job_id: int) -> None:
        """Stop a job for good; what it did stays. Raises NotFound."""
        self._catalogue.jobs.get(job_id)
        with self._lock:
            found = self._open.get(job_id)
        if found is None:
            return
        found.cancelled = True
        if self._lane.withdraw(_errand(found.job)):
            self._end(found, _CANCELLED)
        else:
            found.stop.set()
            self._lane.interrupt(_errand(found.job))
            found.ended.wait(CANCEL_WITHIN_S)

    def target_of(self, job: JobRow) -> str:
        """What a job works on, for people."""
        work = self._works.get(job.kind)
        return "" if work is None else work.target_of(job)

    def asked(self) -> int:
        """How many jobs that a person asked for wait or run."""
        with self._lock:
            return sum(1 for found in self._open.values() if found.asked)

    def active(self) -> int:
        """How many jobs wait or run."""
        with self._lock:
            return len(self._open)

    def waits(self, kind: str, folder_row: int | None) -> bool:
        """Whether a job of this kind waits or runs for the folder."""
        with self._lock:
            return any(
                (found.job.kind, found.job.folder_id) == (kind, folder_row) for found in self._open.values()
            )

    def wait_change(self, timeout_s: float) -> None:
        """Until some job got further, or the time is over."""
        with self._changed:
            self._changed.wait(timeout_s)

    def stop(self, deadline_s: float) -> None:
        """Leave every job where it is; the next start continues it. Those that take turns end with their lane."""
        self._stopping.set()
        with self._lock:
            running = [found for found in self._open.values() if found.thread is not None]
        for found in running:
            found.stop.set()
        for found in running:
            if found.thread is not None:
                found.thread.join(deadline_s)
        self._notify()

    # -- inside ----------------------------------------------------------------------------------

    def _is(self, found: _Open, kind: str, folder_row: int | None, params: Progress) -> bool:
        """Whether it would do the same and has not begun: what has begun may be past what was asked for."""
        job = found.job
        return (
            self._works[kind].in_turn
            and job.state is JobState.QUEUED
            and (job.kind, job.folder_id) == (kind, folder_row)
            and {**job.params, "asked": None} == {**params, "asked": None}
        )

    def _launch(self, job: JobRow) -> None:
        found = _Open(job, bool(job.params.get("asked", True)))
        with self._lock:
            self._open[job.id] = found
        if self._works[job.kind].in_turn:
            self._queue(found)
            return
        found.thread = threading.Thread(target=self._run, args=(found, found.stop), name=_errand(job))
        found.thread.start()

    def _queue(self, found: _Open) -> None:
        urgency = Urgency.ASKED if found.asked else self._works[found.job.kind].urgency
        self._lane.put(_errand(found.job), lambda stop: self._run(found, stop), urgency)

    def _run(self, found: _Open, stop: threading.Event) -> bool:
        """Do a job up to its end, or until it is interrupted; then False."""
        ending = _CANCELLED if found.cancelled else self._attempt(found, stop)
        if ending is None:
            log.info("job_interrupted", job=found.job.id, kind=found.job.kind)
            if not self._stopping.is_set():
                self._catalogue.jobs.set_state(found.job.id, JobState.QUEUED).result()
            return False
        self._end(found, ending)
        return True

    def _attempt(self, found: _Open, stop: threading.Event) -> _Ending | None:
        job_id = found.job.id
        try:
            self._catalogue.jobs.start(job_id).result()
            found.job = self._catalogue.jobs.get(job_id)
            return _Ending(JobState.DONE, self._patiently(found, stop))
        except Cancelled:
            return _CANCELLED if found.cancelled else None
        except UsenetSyncError as error:
            return _Ending(JobState.FAILED, None, error.code, str(error))
        except Exception as error:
            log.exception("job_failed_unexpectedly", job=job_id, kind=found.job.kind)
            return _Ending(JobState.FAILED, None, "unexpected", f"{type(error).__name__}: {error}")

    def _end(self, found: _Open, ending: _Ending) -> None:
        """Written down by whoever did it last, so that a cancel cannot undo an end that came before it."""
        job = found.job
        try:
            if ending.state is JobState.CANCELLED:
                self._works[job.kind].discard(job)
            elif ending.state is JobState.FAILED:
                log.error("job_failed", job=job.id, kind=job.kind, code=ending.code, reason=ending.text)
                message = f"{job.kind} {job.id}: {ending.text}"
                self._catalogue.events.add("error", "job_failed", message, job.folder_id)
            self._catalogue.jobs.finish(job.id, *ending).result()
            if ending.state is JobState.DONE:
                told = {name: value for name, value in (ending.result or {}).items() if type(value) is int}
                log.info("job_finished", job=job.id, kind=job.kind, **told)
        finally:
            with self._lock:
                self._open.pop(job.id, None)
            found.ended.set()
            self._notify()

    def _patiently(self, found: _Open, stop: threading.Event) -> Progress:
        work = self._works[found.job.kind]
        for attempt in range(NEWS_RETRIES):
            try:
                return work.run(found.job, stop, self._reporter(found.job))
            except NewsError as error:
                lost = isinstance(error, ArticleMissing)  # every server said so: asking again brings nothing
                if lost or error.verdict is Verdict.PERSON or attempt == NEWS_RETRIES - 1:
                    raise
                log.warning("job_waits_for_servers", job=found.job.id, reason=str(error), wait_s=NEWS_RETRY_S)
                if stop.wait(NEWS_RETRY_S):
                    raise Cancelled("stopped") from error
                found.job = self._catalogue.jobs.get(found.job.id)
        raise AssertionError("unreachable")

    def _reporter(self, job: JobRow) -> Callable[[Progress], None]:
        last = [0.0]
        kept: list[object] = [None]
        in_turn = self._works[job.kind].in_turn

        def report(progress: Progress) -> None:
            if in_turn:
                self._lane.beat()
            now, milestone = self._clock.monotonic(), (progress.get("phase"), len(progress.get("parts", ())))
            # What is done must not be done again after a crash: that is written down at once.
            if now - last[0] >= PROGRESS_EVERY_S or milestone != kept[0]:
                last[0], kept[0] = now, milestone
                self._catalogue.jobs.progress(job.id, progress)
                self._notify()

        return report

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _errand(job: JobRow) -> str:
    return f"job-{job.id}"
