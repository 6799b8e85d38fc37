"""A clock that stands still until a test turns it."""

import threading

import pytest

from usenetsyncd.clock import Clock

START_S = 1_800_000_000.0


class FakeClock(Clock):
    """Wall and monotonic time in the test's hand; safe to read from any thread."""

    def __init__(self, wall_s: float = START_S) -> None:
        self._lock = threading.Lock()
        self._wall_ns = round(wall_s * 1e9)
        self._monotonic_ns = 1_000 * 10**9

    def now(self) -> float:
        return self.now_ns() / 1e9

    def now_ns(self) -> int:
        with self._lock:
            return self._wall_ns

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        step_ns = round(seconds * 1e9)
        with self._lock:
            self._wall_ns += step_ns
            self._monotonic_ns += step_ns

    def set_wall(self, seconds: float) -> None:
        """Jump the wall clock alone, as an administrator or NTP does."""
        with self._lock:
            self._wall_ns = round(seconds * 1e9)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
