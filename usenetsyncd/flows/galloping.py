"""The greatest number that something on the servers has, found in bursts of STAT at distances that double.

Source: docs/format.md 13, "Finding the newest".
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from usenetsyncd.errors import ArticleMissing, Fork, FormatError, NewerFormat, NewsError
from usenetsyncd.flows.retrieve import other_addresses
from usenetsyncd.model import ArticleAddress, MessageId, Presence
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.keys import ReadKeys, message_id_of

log = structlog.get_logger("locate")

FAR_PROBES = 20
NEAR_PROBES = 8
# Numbers tried one by one below the newest when that one turns out not to be the publisher's.
FALLBACK_NUMBERS = 64
# More forged numbers than this, and somebody who may read is flooding the folder's names.
STRUCK_LIMIT = 2_000

T = TypeVar("T")


def find_newest(
    news: NewsService,
    keys: ReadKeys,
    address_of: Callable[[int], ArticleAddress],
    known: int,
    read: Callable[[int], T],
) -> tuple[T | None, list[int]]:
    """What the highest readable number holds, and the numbers that were struck out on the way.

    known: a number that is believed to exist, 0 for none. A number that cannot be fetched, opened and
    verified is struck out: whoever may read can compute names and post something there. NewerFormat is
    raised as it is. Raises NewsError when servers did not answer: silence is not absence.
    Source: docs/format.md 13, "Finding the newest".
    """
    struck: set[int] = set()
    while True:
        number = _gallop(news, keys, address_of, known, struck)
        below = range(number - 1, max(0, number - FALLBACK_NUMBERS), -1) if number <= known else ()
        for candidate in (number, *below):
            if candidate <= 0 or candidate in struck:
                continue
            try:
                return read(candidate), sorted(struck - {known})
            except NewerFormat:
                raise
            except (ArticleMissing, FormatError) as error:
                struck.add(candidate)
                if len(struck) > STRUCK_LIMIT:
                    raise Fork(f"more than {STRUCK_LIMIT:,} numbers carry something forged") from error
                log.warning("number_struck_out", number=candidate, reason=str(error))
                if candidate > known:
                    break
        else:
            return None, sorted(struck - {known})


def newest_above(
    news: NewsService,
    keys: ReadKeys,
    address_of: Callable[[int], ArticleAddress],
    low: int,
    read: Callable[[int], T],
) -> T | None:
    """What the highest readable number above ``low`` holds; None when there is none. Errors: those of find_newest."""
    struck: set[int] = set()
    while (number := _gallop(news, keys, address_of, low, struck)) > low:
        try:
            return read(number)
        except NewerFormat:
            raise
        except (ArticleMissing, FormatError) as error:
            struck.add(number)
            if len(struck) > STRUCK_LIMIT:
                raise Fork(f"more than {STRUCK_LIMIT:,} numbers carry something forged") from error
    return None


def _gallop(
    news: NewsService,
    keys: ReadKeys,
    address_of: Callable[[int], ArticleAddress],
    known: int,
    struck: set[int],
) -> int:
    """The highest number not struck out that some server says it has; ``known`` when there is none above."""
    low = known
    while True:
        steps = (low + (1 << step) for step in range(FAR_PROBES + 1))
        far = {number: (address_of(number),) for number in steps if number <= MAX_VERSION}
        highest = _highest_present(news, keys, far, struck)
        if highest is None:
            near = {}
            for number in range(low + 1, min(low + NEAR_PROBES, MAX_VERSION) + 1):
                at = address_of(number)
                near[number] = (at, *other_addresses(at))
            highest = _highest_present(news, keys, near, struck)
        if highest is None:
            return low
        low = highest


def _highest_present(
    news: NewsService,
    keys: ReadKeys,
    probes: Mapping[int, Iterable[ArticleAddress]],
    struck: set[int],
) -> int | None:
    names: dict[MessageId, int] = {}
    for number, addresses in probes.items():
        if number not in struck:
            names |= {message_id_of(keys.location, address): number for address in addresses}
    if not names:
        return None
    presence = news.stat(list(names))
    present = [number for name, number in names.items() if presence[name] is Presence.PRESENT]
    if not present and all(presence[name] is Presence.UNKNOWN for name in names):
        raise NewsError("no server answered when asked for the newest version")
    return max(present, default=None)
