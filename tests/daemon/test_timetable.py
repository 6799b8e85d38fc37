"""The timetable only asks others to do something."""

import threading
import time
from collections.abc import Iterator

import pytest

from usenetsyncd.daemon.timetable import RESCAN_JITTER, Timetable


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def timetable(asked: list[str]) -> Iterator[Timetable]:
    made = Timetable(asked.append)
    made.start()
    yield made
    made.stop()


def test_every_folder_is_rescanned_within_its_period_give_or_take_the_jitter(timetable: Timetable) -> None:
    timetable.set_rescans({"docs": 3_600.0, "photos": 600.0})
    for name, period in (("docs", 3_600.0), ("photos", 600.0)):
        wait_s = timetable.next_runs()[f"rescan:{name}"] - time.time()
        assert period * (1 - RESCAN_JITTER) - 5 <= wait_s <= period * (1 + RESCAN_JITTER) + 5


def test_a_folder_that_left_is_not_rescanned_any_more(timetable: Timetable) -> None:
    timetable.set_rescans({"docs": 60.0, "photos": 60.0})
    timetable.every("limits", 60, lambda: None)
    timetable.set_rescans({"photos": 60.0})
    assert set(timetable.next_runs()) == {"rescan:photos", "limits"}


def test_a_reload_does_not_put_off_a_rescan_whose_period_is_the_same(timetable: Timetable) -> None:
    """Or a daemon that is reloaded every half an hour would never rescan."""
    timetable.set_rescans({"docs": 3_600.0, "photos": 3_600.0})
    before = timetable.next_runs()["rescan:docs"]
    time.sleep(0.01)
    timetable.set_rescans({"docs": 3_600.0, "photos": 60.0})
    assert timetable.next_runs()["rescan:docs"] == before
    assert timetable.next_runs()["rescan:photos"] < before


def test_a_rescan_names_its_folder(timetable: Timetable, asked: list[str]) -> None:
    timetable.set_rescans({"docs": 0.05})
    deadline = time.monotonic() + 10
    while not asked and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asked[:1] == ["docs"]


def test_what_raises_once_is_called_again(timetable: Timetable) -> None:
    calls = threading.Semaphore(0)

    def act() -> None:
        calls.release()
        raise RuntimeError("this time it went wrong")

    timetable.every("limits", 0.05, act)
    assert calls.acquire(timeout=10)
    assert calls.acquire(timeout=10)


def test_stopping_what_never_started_does_nothing() -> None:
    Timetable(lambda name: None).stop()
