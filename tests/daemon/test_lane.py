"""The lane: one errand after the other, the most urgent first, and what was interrupted goes on."""

import threading
from collections.abc import Iterator

import pytest

from usenetsyncd.daemon.lane import Lane, Urgency

WAIT_S = 10.0


class Errands:
    """What was done, in order; each name may be held until the test lets it go."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun: dict[str, threading.Event] = {}
        self.let_go: dict[str, threading.Event] = {}
        self.ended = threading.Semaphore(0)

    def held(self, name: str):  # type: ignore[no-untyped-def]
        """One that runs until it is let go or interrupted."""
        begun, let_go = (
            self.begun.setdefault(name, threading.Event()),
            self.let_go.setdefault(name, threading.Event()),
        )

        def run(stop: threading.Event) -> bool:
            begun.set()
            while not let_go.wait(0.01):
                if stop.is_set():
                    self.done.append(f"{name} interrupted")
                    begun.clear()
                    self.ended.release()
                    return False
            return self._end(name)

        return run

    def quick(self, name: str):  # type: ignore[no-untyped-def]
        return lambda stop: self._end(name)

    def _end(self, name: str) -> bool:
        self.done.append(name)
        self.ended.release()
        return True

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.ended.acquire(timeout=WAIT_S)


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane("lane", lambda: None)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def errands() -> Errands:
    return Errands()


def test_the_most_urgent_goes_first_and_of_equals_the_first(lane: Lane, errands: Errands) -> None:
    lane.put("first", errands.held("first"), Urgency.ASKED)
    assert errands.begun["first"].wait(WAIT_S)
    for name, urgency in (("c", 2), ("b1", 1), ("b2", 1), ("a", 0)):
        lane.put(name, errands.quick(name), Urgency(urgency))
    errands.let_go["first"].set()
    errands.wait(5)
    assert errands.done == ["first", "a", "b1", "b2", "c"]


def test_what_is_more_urgent_interrupts_and_what_was_interrupted_goes_on(
    lane: Lane, errands: Errands
) -> None:
    lane.put("long", errands.held("long"), Urgency.WHENEVER)
    assert errands.begun["long"].wait(WAIT_S)
    lane.put("later", errands.quick("later"), Urgency.WHENEVER)
    lane.put("asked", errands.quick("asked"), Urgency.ASKED)
    errands.wait(2)
    assert errands.done == ["long interrupted", "asked"]
    assert errands.begun["long"].wait(WAIT_S)
    errands.let_go["long"].set()
    errands.wait(2)
    assert errands.done[2:] == ["long", "later"]


def test_equals_do_not_interrupt_each_other(lane: Lane, errands: Errands) -> None:
    lane.put("one", errands.held("one"), Urgency.SOON)
    assert errands.begun["one"].wait(WAIT_S)
    lane.put("two", errands.quick("two"), Urgency.SOON)
    errands.let_go["one"].set()
    errands.wait(2)
    assert errands.done == ["one", "two"]


def test_a_name_that_waits_already_waits_once_and_as_urgently_as_was_ever_asked(
    lane: Lane, errands: Errands
) -> None:
    lane.put("first", errands.held("first"), Urgency.ASKED)
    assert errands.begun["first"].wait(WAIT_S)
    lane.put("other", errands.quick("other"), Urgency.SOON)
    for urgency in (Urgency.WHENEVER, Urgency.ASKED, Urgency.WHENEVER):
        lane.put("same", errands.quick("same"), urgency)
    errands.let_go["first"].set()
    errands.wait(3)
    assert errands.done == ["first", "same", "other"]


def test_only_what_waits_can_be_withdrawn(lane: Lane, errands: Errands) -> None:
    lane.put("first", errands.held("first"), Urgency.ASKED)
    assert errands.begun["first"].wait(WAIT_S)
    lane.put("second", errands.quick("second"), Urgency.ASKED)
    assert lane.withdraw("second")
    assert not lane.withdraw("second")
    assert not lane.withdraw("first")
    lane.interrupt("second")
    lane.interrupt("first")
    errands.wait(1)
    assert errands.done == ["first interrupted"]


def test_an_errand_that_fails_unexpectedly_does_not_end_the_lane(lane: Lane, errands: Errands) -> None:
    def fails(stop: threading.Event) -> bool:
        raise ZeroDivisionError

    lane.put("fails", fails, Urgency.SOON)
    lane.put("next", errands.quick("next"), Urgency.SOON)
    errands.wait(1)
    assert errands.done == ["next"]
    assert lane.alive()


def test_stopping_interrupts_and_leaves_what_waits(errands: Errands) -> None:
    lane = Lane("lane", lambda: None)
    lane.put("long", errands.held("long"), Urgency.ASKED)
    lane.start()
    assert errands.begun["long"].wait(WAIT_S)
    lane.put("waits", errands.quick("waits"), Urgency.ASKED)
    lane.stop()
    assert errands.done == ["long interrupted"]


def test_it_beats_while_there_is_nothing_to_do() -> None:
    beats = threading.Semaphore(0)
    lane = Lane("lane", beats.release)
    lane.start()
    assert beats.acquire(timeout=WAIT_S)
    assert beats.acquire(timeout=WAIT_S)
    lane.stop()
