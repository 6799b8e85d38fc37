"""The clock, one object so that tests can turn it."""

import time


class Clock:
    """Wall time for what is written down, monotonic time for what is waited for."""

    def now(self) -> float:
        """Seconds since 1970, for records and for people."""
        return time.time()

    def now_ns(self) -> int:
        """Nanoseconds since 1970, comparable with mtime_ns."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps, for every time-out."""
        return time.monotonic()


SYSTEM_CLOCK = Clock()
