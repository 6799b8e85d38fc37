"""Find articles by their subjects in the overviews of newsgroups: the way to what a server gave another message-id.

Anybody may post under any subject: only what opens at its own address counts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event
from typing import TypeVar

import structlog

from usenetsyncd.errors import Cancelled, FormatError, NewerFormat, NewsError
from usenetsyncd.flows.retrieve import WAYS
from usenetsyncd.model import ArticleAddress, MessageId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.keys import ReadKeys, name_article
from usenetsyncd.wire.seal import open_sealed

log = structlog.get_logger("retrieve")

T = TypeVar("T")

# A re-post or a further copy that nobody told of is rarer still than an article without its id.
COPIES, GENERATIONS = 2, 2
NEAR_NUMBERS = 1_024
FAR_STEPS = 20


class SubjectFinder:
    """Searches some newsgroups. Nothing is found where there are none."""

    def __init__(self, news: NewsService, groups: Sequence[str], stop: Event | None = None) -> None:
        self._news = news
        self._groups = groups
        self._stop = stop

    def open_all(
        self, rings: Sequence[ReadKeys], places: Iterable[ArticleAddress]
    ) -> Iterator[tuple[ArticleAddress, bytes]]:
        """What opens of these and their copies and generations, in the order of ``places``; one search for all.

        Each is fetched when it is asked for. Servers that cannot be searched are as good as none.
        """
        if not self._groups:
            return
        subjects: dict[str, tuple[ReadKeys, ArticleAddress]] = {}
        for place in places:
            for keys in rings:
                for at in _variants(place):
                    subjects[name_article(keys.location, at).subject] = keys, at
        try:
            candidates = self._news.find_by_subject(self._groups, list(subjects), stop=self._stop)
        except NewsError as error:
            log.warning("subjects_not_searched", reason=str(error))
            return
        for subject, (keys, at) in subjects.items():
            for server, message_id in candidates.get(subject, ()):
                content = self._open(server, message_id, keys, at)
                if content is not None:
                    yield at, content
                    break

    def newest(
        self,
        keys: ReadKeys,
        address_of: Callable[[int], ArticleAddress],
        known: int,
        accept: Callable[[ArticleAddress, bytes], T],
    ) -> T | None:
        """What the highest number from ``known`` on holds that ``accept`` takes; None when there is none.

        Raises NewerFormat.
        """
        best: T | None = None
        low, least = known, max(known, 1)
        while True:
            far = (low + (1 << step) for step in range(NEAR_NUMBERS.bit_length(), FAR_STEPS + 1))
            numbers = {*range(least, low + NEAR_NUMBERS + 1), *far}
            places = {
                address_of(number): number
                for number in sorted(numbers, reverse=True)
                if number <= MAX_VERSION
            }
            for at, content in self.open_all((keys,), places):
                try:
                    best = accept(at, content)
                except NewerFormat:
                    raise
                except FormatError:
                    continue
                low = places[ArticleAddress(at.kind, at.id)]
                break
            else:
                return best
            WAYS.add("by_subject")
            least = low + 1

    def _open(self, server: str, name: MessageId, keys: ReadKeys, at: ArticleAddress) -> bytes | None:
        bodies: list[bytes] = []

        def take(_: MessageId, raw: bytes | None, error: NewsError | None) -> None:
            if raw is not None:
                bodies.append(raw)

        try:
            self._news.fetch_from(server, [name], take, self._stop)
            return open_sealed(keys, at, decode_body(bodies[0])) if bodies else None
        except Cancelled:
            raise
        except (NewsError, FormatError):
            return None


def _variants(place: ArticleAddress) -> Iterator[ArticleAddress]:
    for copy in range(COPIES):
        for generation in range(GENERATIONS):
            yield ArticleAddress(place.kind, place.id, copy, generation)
