"""How well a server has been doing: a score that forgives with time, and a rest after trouble."""

import threading
from dataclasses import dataclass

from usenetsyncd.clock import SYSTEM_CLOCK, Clock

HALF_LIFE_S = 300.0


@dataclass(frozen=True, slots=True)
class Rest:
    """Until when (monotonic seconds) something is not asked of a server, and why."""

    until: float = 0.0
    reason: str = ""


class Health:
    """The score of one server, 1.0 for good and towards 0.0 for bad. Half of the missing part returns in 5 minutes."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._missing = 0.0
        self._at = clock.monotonic()
        self._posting = Rest()
        self.reason = ""

    def score(self) -> float:
        """The score now, 0..1."""
        return 1.0 - self._missing * self._decay()

    def succeed(self) -> None:
        """Something went well."""
        if self._missing:
            with self._lock:
                self._set(self._missing * self._decay() * 0.9)
                self.reason = ""

    def blame(self, share: float, reason: str) -> None:
        """Something went wrong: take that share (0..1) of the score away."""
        with self._lock:
            missing = self._missing * self._decay()
            self._set(missing + (1.0 - missing) * share)
            self.reason = reason

    def forbid_posting(self, for_s: float, reason: str) -> None:
        """The server takes no articles of ours; reading goes on."""
        self._posting = Rest(self._clock.monotonic() + for_s, reason)

    def posting_rest(self) -> Rest | None:
        """The rest from posting, while it lasts."""
        rest = self._posting
        return rest if rest.until > self._clock.monotonic() else None

    def _decay(self) -> float:
        return float(0.5 ** ((self._clock.monotonic() - self._at) / HALF_LIFE_S))

    def _set(self, missing: float) -> None:
        self._missing = missing if missing > 0.001 else 0.0
        self._at = self._clock.monotonic()
