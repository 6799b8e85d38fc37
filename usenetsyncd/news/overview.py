"""Finding articles by their subject, where no message-id helps: GROUP and OVER, newest first, within bounds.

The last resort of a restore, and the way to learn the ids that a server gave to articles without telling. What is
found is a candidate and no more: anybody can post under any subject. Whoever asks opens the article and sees.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import Cancelled, NewsError, NoServer
from usenetsyncd.model import MessageId
from usenetsyncd.news.connection import Connection, Setback
from usenetsyncd.news.pace import ByteLimiter
from usenetsyncd.news.server import Server, public_error
from usenetsyncd.news.walk import Walk, articles_in

log = structlog.get_logger("news")

Candidates = dict[str, list[tuple[str, MessageId]]]
"""Subject -> (server, message-id) of articles that carry it: best server first, newest article first."""

_TRIES: Final = 3
_HOLD_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class SearchLimit:
    """How far a search goes. articles: in each group of each server, from the newest. size_bytes, time_s: in all.

    candidates: of each subject; more are somebody's attempt to keep us busy.
    """

    articles: int = 200_000
    size_bytes: int = 64 * 1024 * 1024
    time_s: float = 60.0
    candidates: int = 8


DEFAULT_LIMIT: Final = SearchLimit()


class SubjectSearch:
    """One search for some subjects in some groups, server after server. Use once, in one thread."""

    def __init__(
        self,
        groups: Sequence[str],
        subjects: Collection[str],
        limit: SearchLimit,
        pace: ByteLimiter,
        stopped: Callable[[], bool],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._groups = list(dict.fromkeys(groups))
        self._wanted = {subject.encode("utf-8"): subject for subject in subjects}
        self._limit = limit
        self._pace = pace
        self._stopped = stopped
        self._clock = clock
        self._ends_at = clock.monotonic() + limit.time_s
        self._bytes_left = limit.size_bytes
        self.found: Candidates = {}

    def run(self, servers: Sequence[Server]) -> Candidates:
        """Ask these in turn until each subject was seen somewhere. Raises Cancelled when stopped, NoServer without any
        server, and what the last one raised when none could be asked: then nothing is known."""
        failure: NewsError | None = None if servers else NoServer("no server is configured to read from")
        answered = False
        for server in servers:
            if self._is_over():
                break
            try:
                self._ask(server)
                answered = True
            except Cancelled:
                raise
            except NewsError as error:
                log.warning("subject_search_failed", server=server.name, reason=str(error))
                failure = error
        if failure is not None and not answered:
            raise failure
        return self.found

    def _is_over(self) -> bool:
        if self._stopped():
            raise Cancelled("the search was stopped")
        return not self._wanted or self._bytes_left <= 0 or self._clock.monotonic() >= self._ends_at

    def _ask(self, server: Server) -> None:
        """All groups on one server; after a lost connection it goes on where it was. Raises NewsError."""
        walks = [Walk(group) for group in self._groups]
        seen: dict[bytes, list[MessageId]] = {}
        failures = 0
        try:
            while self._goes_on(walks, seen):
                try:
                    with server.lend(self._stopped) as connection:
                        self._look(server, connection, walks, seen)
                except Setback as setback:
                    failures += 1
                    server.suffer(setback)
                    delay_s = setback.row.backoff.delay_s(failures, server.draw())
                    if failures >= _TRIES or setback.row.backoff.exhausted(failures):
                        raise public_error(setback, delay_s) from setback
                    server.wait(delay_s)
        finally:
            for subject, ids in seen.items():
                self.found[self._wanted.pop(subject)] = [(server.name, one) for one in ids]

    def _goes_on(self, walks: list["Walk"], seen: dict[bytes, list[MessageId]]) -> bool:
        return bool(walks) and len(seen) < len(self._wanted) and not self._is_over()

    def _look(
        self, server: Server, connection: Connection, walks: list["Walk"], seen: dict[bytes, list[MessageId]]
    ) -> None:
        """Window after window, until all is seen or somebody else needs the connection. Raises Setback."""
        since = self._clock.monotonic()
        while self._goes_on(walks, seen):
            if server.pool.is_contended and self._clock.monotonic() - since > _HOLD_S:
                return
            block = walks[0].next_block(connection, self._limit.articles)
            if block is None:
                walks.pop(0)
                continue
            self._bytes_left -= len(block)
            self._pace.take(len(block), self._stopped)
            self._note(block, seen)

    def _note(self, block: bytes, seen: dict[bytes, list[MessageId]]) -> None:
        for subject, message_id in articles_in(block, self._wanted):
            ids = seen.setdefault(subject, [])
            if message_id not in ids and len(ids) < self._limit.candidates:
                ids.append(message_id)
