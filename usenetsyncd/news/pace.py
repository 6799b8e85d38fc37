"""A brake on bytes per second, shared by every connection of the service."""

import threading
from collections.abc import Callable

from usenetsyncd.clock import SYSTEM_CLOCK, Clock

_BURST_S = 0.25
_NAP_S = 0.5


class ByteLimiter:
    """A token bucket of bytes. Its rate may be changed while others wait; 0 means no limit.

    A whole article is taken at once and may leave the bucket in debt: the next one waits until it is paid.
    """

    def __init__(self, bytes_per_s: float = 0.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._rate = bytes_per_s
        self._tokens = bytes_per_s * _BURST_S
        self._at = clock.monotonic()

    @property
    def bytes_per_s(self) -> float:
        """The rate in force; 0 for none."""
        return self._rate

    def set_rate(self, bytes_per_s: float) -> None:
        """Change the rate for everybody, those already waiting included. Raises ValueError below 0."""
        if bytes_per_s < 0:
            raise ValueError(f"a rate cannot be negative: {bytes_per_s}")
        with self._changed:
            self._fill()
            self._rate = bytes_per_s
            self._tokens = min(self._tokens, bytes_per_s * _BURST_S)
            self._changed.notify_all()

    def take(self, size_bytes: int, stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait until size_bytes may pass, or until stopped() says so (asked twice a second)."""
        if not self._rate:
            return
        with self._changed:
            while self._rate and not stopped():
                self._fill()
                if self._tokens > 0:
                    break
                self._changed.wait(min(_NAP_S, (1.0 - self._tokens) / self._rate))
            self._tokens -= size_bytes

    def _fill(self) -> None:
        now = self._clock.monotonic()
        if self._rate:
            self._tokens = min(self._tokens + (now - self._at) * self._rate, self._rate * _BURST_S)
        self._at = now
