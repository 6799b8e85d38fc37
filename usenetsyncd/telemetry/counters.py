"""Counts, rates over the last seconds, and how long what is left will take. All thread-safe."""

import threading
from collections import defaultdict

from usenetsyncd.clock import SYSTEM_CLOCK, Clock

_BUCKETS = 20


class Counters:
    """Named numbers that only grow, such as ``articles_posted``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: defaultdict[str, int] = defaultdict(int)

    def add(self, name: str, amount: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._values[name] += amount

    def value(self, name: str) -> int:
        """0 for what was never counted."""
        with self._lock:
            return self._values.get(name, 0)

    def snapshot(self) -> dict[str, int]:
        """All of them at one moment, sorted by name."""
        with self._lock:
            return dict(sorted(self._values.items()))


class RateWindow:
    """Amount per second over the last ``window_s`` seconds, in constant memory."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, window_s: float = 10.0) -> None:
        self._clock = clock
        self._bucket_s = window_s / _BUCKETS
        self._lock = threading.Lock()
        self._amounts = [0.0] * _BUCKETS
        self._started_s = clock.monotonic()
        self._newest = self._bucket()
        self.total = 0.0

    def add(self, amount: float) -> None:
        """Something happened now."""
        with self._lock:
            self._turn()
            self._amounts[self._newest % _BUCKETS] += amount
            self.total += amount

    def per_second(self) -> float:
        """0.0 when nothing happened lately; soon after the start, over the time that went by."""
        with self._lock:
            self._turn()
            now_s = self._clock.monotonic()
            # the newest bucket has only just begun, so the window is a little shorter than its buckets
            begun_s = (self._newest - _BUCKETS + 1) * self._bucket_s
            span_s = now_s - max(begun_s, self._started_s)
            return sum(self._amounts) / max(span_s, self._bucket_s)

    def _bucket(self) -> int:
        return int(self._clock.monotonic() // self._bucket_s)

    def _turn(self) -> None:
        current = self._bucket()
        for passed in range(self._newest + 1, min(current, self._newest + _BUCKETS) + 1):
            self._amounts[passed % _BUCKETS] = 0.0
        if current > self._newest + _BUCKETS:
            self._amounts = [0.0] * _BUCKETS
        self._newest = max(current, self._newest)


def eta_s(left: float, per_second: float) -> float | None:
    """Seconds until nothing is left; None when nothing moves."""
    if left <= 0:
        return 0.0
    return left / per_second if per_second > 0 else None
