"""The timetable: APScheduler jobs that only ask others to do something."""

from collections.abc import Callable

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

RESCAN_JITTER = 0.1
CHECKPOINT_S = 300
SCHEDULE_S = 30
UPKEEP_S = 20
CARETAKING_S = 20
FOLLOWING_S = 2
UNWATCHED_S = 300


class Timetable:
    """Owner of the scheduler."""

    def __init__(self, rescan: Callable[[str], None]) -> None:
        self._rescan = rescan
        self._periods: dict[str, float] = {}
        self._scheduler = BackgroundScheduler(
            daemon=True, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def start(self) -> None:
        """Start the scheduler's thread."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop; a job that runs is waited for (they only enqueue)."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def every(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` regularly."""
        self._scheduler.add_job(act, IntervalTrigger(seconds=seconds), id=name, replace_existing=True)

    def set_rescans(self, periods: dict[str, float]) -> None:
        """Rescan each folder so often, with jitter so that they do not all start at once."""
        for name in self._periods.keys() - periods.keys():
            self._scheduler.remove_job(f"rescan:{name}")
        # One that stays as it is keeps its time: scheduled anew at every reload it might never come.
        changed = {name: seconds for name, seconds in periods.items() if self._periods.get(name) != seconds}
        self._periods = dict(periods)
        for name, seconds in changed.items():
            trigger = IntervalTrigger(seconds=seconds, jitter=int(seconds * RESCAN_JITTER))
            self._scheduler.add_job(self._rescan, trigger, [name], id=f"rescan:{name}", replace_existing=True)

    def next_runs(self) -> dict[str, float]:
        """When each job runs next, seconds since 1970."""
        return {
            job.id: job.next_run_time.timestamp()
            for job in self._scheduler.get_jobs()
            if job.next_run_time is not None
        }
