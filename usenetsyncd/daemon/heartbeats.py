"""Who is alive: each thread that must not hang says so, and the watchdog is fed while all of them do."""

from collections.abc import Callable
from threading import Lock

from usenetsyncd.clock import Clock

# Longer than the longest single step of any thread: one article at a slow server, one directory of a million files.
STALE_AFTER_S = 300.0


class Heartbeats:
    """Last sign of life by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._last: dict[str, float] = {}

    def of(self, name: str) -> Callable[[], None]:
        """What a thread calls each time round."""

        def beat() -> None:
            with self._lock:
                self._last[name] = self._clock.monotonic()

        beat()
        return beat

    def stale(self) -> list[str]:
        """Names without a sign of life for too long."""
        now = self._clock.monotonic()
        with self._lock:
            return sorted(name for name, last in self._last.items() if now - last > STALE_AFTER_S)
