"""Ask, as cheaply as can be, whether there is a newer version behind an access string.

The first time everything is found, opened and verified. From then on two bursts of STAT ask for numbers above the known
ones; only when a server has such a number, everything is found again.
"""

from collections.abc import Callable

from usenetsyncd.clock import Clock
from usenetsyncd.flows.locate import (
    NO_OPENING,
    KnownVersion,
    Located,
    Opening,
    locate,
    newest_above,
)
from usenetsyncd.model import Fingerprint
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.access import decode_access
from usenetsyncd.wire.head import head_address
from usenetsyncd.wire.keys import share_keys
from usenetsyncd.wire.membership import envelope_address

# The end of a share and the publisher's silence show in nothing new: they are looked at this often all the same.
WHOLE_EVERY_S = 3_600.0


class Lookout:
    """One access string, watched. Used by one thread."""

    def __init__(
        self,
        news: NewsService,
        access: str,
        clock: Clock,
        known: Callable[[Fingerprint], KnownVersion | None],
        opening: Opening = NO_OPENING,
    ) -> None:
        """known: the highest head verified before. Raises BadAccessString."""
        self._news = news
        self._access = access
        self._clock = clock
        self._known = known
        self._opening = opening
        _, secret, fingerprint = decode_access(access)
        self._share_keys = share_keys(secret, fingerprint)
        self._serial = 0
        self._found: Located | None = None
        self._whole_at = 0.0

    def newest(self) -> Located:
        """The newest version, verified. Raises what ``locate`` raises."""
        found = self._found
        if found is None or self._is_overdue() or self._is_something_new(found):
            # Asked for before the rest: an envelope that comes in between is new the next time.
            self._serial = self._serial_above(self._serial)
            self._found = None
            found = self._found = locate(self._news, self._access, self._clock, self._known, self._opening)
            self._whole_at = self._clock.monotonic()
        return found

    def _is_overdue(self) -> bool:
        return self._clock.monotonic() - self._whole_at > WHOLE_EVERY_S

    def _is_something_new(self, found: Located) -> bool:
        head, keys = found.head, found.rings[0]
        newer = newest_above(
            self._news, keys, lambda version: head_address(head.epoch, version), head.version, _itself
        )
        return newer is not None or self._serial_above(self._serial) > self._serial

    def _serial_above(self, serial: int) -> int:
        above = newest_above(self._news, self._share_keys, envelope_address, serial, _itself)
        return serial if above is None else above


def _itself(number: int) -> int:
    return number
