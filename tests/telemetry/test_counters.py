import threading

import pytest

from tests.plugins.clock import FakeClock
from usenetsyncd.telemetry.counters import Counters, RateWindow, eta_s


def test_counts_from_many_threads_are_all_there() -> None:
    counters = Counters()
    threads = [
        threading.Thread(target=lambda: [counters.add("posted") for _ in range(1000)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counters.add("bytes", 5)
    assert counters.snapshot() == {"bytes": 5, "posted": 8000}
    assert counters.value("nothing") == 0


def test_a_steady_stream_has_its_rate(clock: FakeClock) -> None:
    rate = RateWindow(clock, window_s=10)
    for _ in range(300):
        clock.advance(0.1)
        rate.add(100)
    assert rate.per_second() == pytest.approx(1000, rel=0.06)
    assert rate.total == 30_000


def test_a_rate_is_right_soon_after_the_start(clock: FakeClock) -> None:
    rate = RateWindow(clock, window_s=10)
    clock.advance(2)
    rate.add(2000)
    assert rate.per_second() == pytest.approx(1000)


def test_a_rate_falls_to_nothing_when_nothing_happens(clock: FakeClock) -> None:
    rate = RateWindow(clock, window_s=10)
    clock.advance(20)
    rate.add(1000)
    clock.advance(5)
    assert rate.per_second() == pytest.approx(100, rel=0.06)
    clock.advance(5.5)
    assert rate.per_second() == 0
    clock.advance(100_000)
    assert rate.per_second() == 0
    rate.add(1000)
    assert rate.per_second() > 0


def test_what_is_left_takes_as_long_as_the_rate_says() -> None:
    assert eta_s(1000, 10) == 100
    assert eta_s(0, 0) == 0
    assert eta_s(1000, 0) is None
