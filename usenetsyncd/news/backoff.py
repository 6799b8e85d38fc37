"""How long to wait before the next try, and how many tries there are."""

from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    """How the wait grows from one failed try to the next."""

    EXPONENTIAL = "exponential"  # base, 2 base, 4 base, 8 base
    LINEAR = "linear"  # base, 2 base, 3 base, 4 base
    FIBONACCI = "fibonacci"  # base, base, 2 base, 3 base, 5 base
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Backoff:
    """A strategy with its base, its ceiling and its number of tries.

    attempts: tries in all, the first one included; 1 means that nothing is tried again.
    jitter: share of the wait that chance may add or take away, 0..1. max_s: no wait is longer, jitter and all.
    """

    strategy: Strategy = Strategy.FIXED
    base_s: float = 0.0
    attempts: int = 1
    jitter: float = 0.2
    max_s: float = 600.0

    def delay_s(self, failures: int, draw: float = 0.5) -> float:
        """Seconds to wait after that many failed tries (1 or more); draw is 0..1, 0.5 for no jitter."""
        planned = min(self.base_s * self._factor(max(failures, 1)), self.max_s)
        return min(max(0.0, planned * (1.0 + self.jitter * (2.0 * draw - 1.0))), self.max_s)

    def exhausted(self, failures: int) -> bool:
        """Whether that many failed tries leave none."""
        return failures >= self.attempts

    def _factor(self, failures: int) -> int:
        match self.strategy:
            case Strategy.FIXED:
                return 1
            case Strategy.LINEAR:
                return failures
            case Strategy.EXPONENTIAL:
                # Beyond 2**32 every ceiling has been passed; the number must not grow without end.
                return int(1 << min(failures - 1, 32))
            case Strategy.FIBONACCI:
                return _fibonacci(min(failures, 48))


def _fibonacci(n: int) -> int:
    before, here = 0, 1
    for _ in range(n - 1):
        before, here = here, before + here
    return here
