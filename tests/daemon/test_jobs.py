"""Jobs: begun once, continued after an end of the process, cancelled cleanly, one at a time where they take turns."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import JobRow, JobState
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.daemon import jobs as jobs_module
from usenetsyncd.daemon.jobs import Jobs
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.errors import ArticleMissing, Cancelled, NoServer, NotFound

WAIT_S = 10.0


class Steps:
    """Work of ``params["steps"]`` steps, each let go by the test; what is done is kept in the progress."""

    def __init__(self, in_turn: bool) -> None:
        self.in_turn = in_turn
        self.urgency = Urgency.WHENEVER
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.order: list[int] = []
        self.discarded: list[int] = []
        self.failures: list[Exception] = []

    def run(
        self, job: JobRow, stop: threading.Event, report: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        parts = list(job.progress.get("parts", []))
        self.order.append(job.id)
        self.begun.release()
        while len(parts) < job.params["steps"]:
            while not self.go.acquire(timeout=0.01):
                if stop.is_set():
                    raise Cancelled("stopped")
            if self.failures:
                raise self.failures.pop(0)
            parts.append({"folder": str(len(parts))})
            report({"parts": parts})
        return {"done": len(parts), "attempts": job.attempts}

    def discard(self, job: JobRow) -> None:
        self.discarded.append(job.id)

    def target_of(self, job: JobRow) -> str:
        return f"{job.params['steps']} steps"


class Shop:
    """A catalogue, and jobs over it that can end and begin again as the process would."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.turns, self.alone = Steps(True), Steps(False)
        self._open()

    def _open(self) -> None:
        self.lane = Lane("lane", lambda: None)
        works = {"turns": self.turns, "alone": self.alone}
        self.jobs = Jobs(self.catalogue, SYSTEM_CLOCK, works, self.lane)
        self.lane.start()
        self.jobs.resume()

    def close(self) -> None:
        self.lane.stop()
        self.jobs.stop(WAIT_S)

    def restart(self) -> None:
        self.close()
        self._open()

    def wait(self, job_id: int, state: JobState) -> JobRow:
        for _ in range(int(WAIT_S / 0.02)):
            job = self.catalogue.jobs.get(job_id)
            if job.state is state:
                return job
            self.jobs.wait_change(0.02)
        raise AssertionError(self.catalogue.jobs.get(job_id))

    def wait_active(self, count: int) -> None:
        for _ in range(int(WAIT_S / 0.02)):
            if self.jobs.active() == count:
                return
            self.jobs.wait_change(0.02)
        raise AssertionError(self.jobs.active())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        made = Shop(catalogue)
        try:
            yield made
        finally:
            made.close()


def begun(work: Steps) -> None:
    assert work.begun.acquire(timeout=WAIT_S)


@pytest.mark.parametrize("kind", ["turns", "alone"])
def test_a_job_goes_on_after_a_restart_where_it_was(shop: Shop, kind: str) -> None:
    work = getattr(shop, kind)
    job = shop.jobs.start(kind, None, {"steps": 3})
    begun(work)
    work.go.release()
    while not shop.catalogue.jobs.get(job).progress.get("parts"):
        shop.jobs.wait_change(0.02)
    shop.restart()
    begun(work)
    work.go.release(2)
    ended = shop.wait(job, JobState.DONE)
    assert ended.result == {"done": 3, "attempts": 2}
    assert shop.jobs.target_of(ended) == "3 steps"
    shop.restart()
    assert work.order == [job, job]


def test_those_that_take_turns_run_one_at_a_time_and_the_others_beside_them(shop: Shop) -> None:
    first, second = (shop.jobs.start("turns", None, {"steps": steps}) for steps in (1, 2))
    other = shop.jobs.start("alone", None, {"steps": 1})
    begun(shop.turns)
    begun(shop.alone)
    shop.alone.go.release()
    shop.wait(other, JobState.DONE)
    assert shop.turns.order == [first]
    shop.wait_active(2)
    assert shop.jobs.asked() == 2
    shop.turns.go.release(3)
    shop.wait(second, JobState.DONE)
    assert shop.turns.order == [first, second]
    shop.wait_active(0)


def test_what_was_asked_for_interrupts_what_was_scheduled(shop: Shop) -> None:
    scheduled = shop.jobs.start("turns", None, {"steps": 1}, asked=False)
    begun(shop.turns)
    assert shop.jobs.asked() == 0
    asked = shop.jobs.start("turns", None, {"steps": 2})
    begun(shop.turns)
    assert shop.catalogue.jobs.get(scheduled).state is JobState.QUEUED
    shop.turns.go.release(3)
    shop.wait(asked, JobState.DONE)
    shop.wait(scheduled, JobState.DONE)
    assert shop.turns.order == [scheduled, asked, scheduled]


def test_the_same_that_has_not_begun_is_begun_once(shop: Shop) -> None:
    first = shop.jobs.start("turns", None, {"steps": 1})
    begun(shop.turns)
    waiting = shop.jobs.start("turns", None, {"steps": 2}, asked=False)
    assert shop.jobs.waits("turns", None)
    assert not shop.jobs.waits("turns", 7)
    assert shop.jobs.start("turns", None, {"steps": 2}) == waiting
    assert shop.jobs.asked() == 2
    # The one that runs may be past what is meant.
    again = shop.jobs.start("turns", None, {"steps": 1})
    assert again not in (first, waiting)
    shop.turns.go.release(4)
    for job in (first, waiting, again):
        shop.wait(job, JobState.DONE)


@pytest.mark.parametrize("kind", ["turns", "alone"])
def test_a_cancelled_job_is_over_when_cancel_returns_and_stays_over(shop: Shop, kind: str) -> None:
    work = getattr(shop, kind)
    job = shop.jobs.start(kind, None, {"steps": 1})
    begun(work)
    shop.jobs.cancel(job)
    assert shop.catalogue.jobs.get(job).state is JobState.CANCELLED
    assert work.discarded == [job]
    shop.restart()
    assert work.order == [job]
    shop.jobs.cancel(job)
    with pytest.raises(NotFound):
        shop.jobs.cancel(job + 1)


def test_a_job_that_waits_for_its_turn_is_cancelled_before_it_begins(shop: Shop) -> None:
    first = shop.jobs.start("turns", None, {"steps": 1})
    begun(shop.turns)
    second = shop.jobs.start("turns", None, {"steps": 2})
    shop.jobs.cancel(second)
    assert shop.catalogue.jobs.get(second).state is JobState.CANCELLED
    shop.turns.go.release()
    shop.wait(first, JobState.DONE)
    assert shop.turns.order == [first]


def test_a_cancel_that_comes_too_late_changes_nothing(shop: Shop) -> None:
    job = shop.jobs.start("alone", None, {"steps": 1})
    shop.alone.go.release()
    shop.wait(job, JobState.DONE)
    shop.jobs.cancel(job)
    assert shop.catalogue.jobs.get(job).state is JobState.DONE


@pytest.mark.parametrize("ending", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_what_is_sealed_is_kept_as_long_as_a_job_may_go_on_and_then_forgotten(
    shop: Shop, ending: JobState
) -> None:
    params = {"steps": 1, "sealed": {"source": "c2VhbGVk", "passphrase": None}}
    job = shop.jobs.start("alone", None, params)
    begun(shop.alone)
    shop.restart()
    begun(shop.alone)
    assert shop.catalogue.jobs.get(job).params == {**params, "asked": True}
    if ending is JobState.FAILED:
        shop.alone.failures = [ZeroDivisionError("oh")]
    if ending is JobState.CANCELLED:
        shop.jobs.cancel(job)
    shop.alone.go.release()
    assert shop.wait(job, ending).params == {"steps": 1, "asked": True}


def test_want_of_a_server_is_waited_for_and_a_lost_article_is_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "NEWS_RETRY_S", 0.01)
    shop.alone.failures = [NoServer("nobody answers")] * 2
    shop.alone.go.release(3)
    job = shop.jobs.start("alone", None, {"steps": 1})
    assert shop.wait(job, JobState.DONE).result is not None
    shop.alone.failures = [ArticleMissing("gone")]
    shop.alone.go.release()
    job = shop.jobs.start("alone", None, {"steps": 1})
    ended = shop.wait(job, JobState.FAILED)
    assert (ended.error_code, ended.error_text) == ("article_missing", "gone")
    (event,) = shop.catalogue.events.latest(10)
    assert (event.code, event.level) == ("job_failed", "error")


def test_an_unknown_error_is_recorded_and_the_next_job_runs(shop: Shop) -> None:
    shop.turns.failures = [ZeroDivisionError("oh")]
    shop.turns.go.release()
    job = shop.jobs.start("turns", None, {"steps": 1})
    assert shop.wait(job, JobState.FAILED).error_code == "unexpected"
    shop.turns.go.release()
    shop.wait(shop.jobs.start("turns", None, {"steps": 1}), JobState.DONE)


def test_a_job_of_a_kind_that_is_no_more_is_closed_at_the_start(shop: Shop) -> None:
    job = shop.catalogue.jobs.add("weaving")
    shop.restart()
    ended = shop.wait(job.id, JobState.FAILED)
    assert ended.error_code == "interrupted"
    assert shop.jobs.target_of(ended) == ""
