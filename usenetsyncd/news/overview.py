"""Finding articles by their subject, where no message-id helps: GROUP and OVER, newest first, within bounds.

The last resort of a restore, and the way to learn the ids that a server gave to articles without telling. What is
found is a candidate and no more: anybody can post under any subject. Whoever asks opens the article and sees.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import Cancelled, FormatError, NewsError, NoServer
from usenetsyncd.model import MessageId
from usenetsyncd.news.connection import Connection, Setback
from usenetsyncd.news.pace import ByteLimiter
from usenetsyncd.news.replies import Step
from usenetsyncd.news.server import Server, public_error
from usenetsyncd.wire.article import check_message_id
from usenetsyncd.wire.nntp import command

log = structlog.get_logger("news")

Candidates = dict[str, list[tuple[str, MessageId]]]
"""Subject -> (server, message-id) of articles that carry it: best server first, newest article first."""

_TRIES: Final = 3
_HOLD_S: Final = 1.0
_FIRST_WINDOW: Final = 200
_WINDOW_MAX: Final = 5_000
_BLOCK_BYTES: Final = 16 * 1024 * 1024
_SUBJECT, _MESSAGE_ID = 1, 4
"""Where they stand in an overview line, behind the number (RFC 3977 8.3.2)."""


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


class Walk:
    """From the newest article of a group to older ones, in windows that grow: what was posted just now is found with
    little, and the far past with few commands."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._selected_on: Connection | None = None
        self._newest: int | None = None
        self._oldest = 0
        self._window = _FIRST_WINDOW
        self._verb = "OVER"

    def next_block(self, connection: Connection, articles: int) -> bytes | None:
        """The next window's overview, raw; None when all was seen, or where there is no such group. Raises Setback."""
        if self._selected_on is not connection and not self._select(connection, articles):
            return None
        if self._newest is None or self._newest < self._oldest:
            return None
        first = max(self._oldest, self._newest - self._window + 1)
        block = self._overview(connection, f"{first}-{self._newest}")
        self._newest = first - 1
        self._window = min(self._window * 4, _WINDOW_MAX)
        return block

    def _select(self, connection: Connection, articles: int) -> bool:
        selected = connection.inquire(Step.GROUP, command("GROUP", self._group))
        if selected is None:
            return False
        self._selected_on = connection
        if self._newest is None:
            low, self._newest = _marks(selected[0].text)
            self._oldest = max(low, self._newest - articles + 1)
        return True

    def _overview(self, connection: Connection, numbers: str) -> bytes:
        try:
            told = connection.inquire(Step.OVER, command(self._verb, numbers), _BLOCK_BYTES)
        except Setback as setback:
            if self._verb == "XOVER" or setback.row.close or setback.reply_code not in (500, 501, 503):
                raise
            # Older than RFC 3977, and it knows only the older word.
            self._verb = "XOVER"
            told = connection.inquire(Step.OVER, command(self._verb, numbers), _BLOCK_BYTES)
        return told[1] if told else b""


def _marks(text: str) -> tuple[int, int]:
    """Low and high water mark from ``count low high name``; (1, 0), which is nothing, where they are no numbers."""
    fields = text.split()[1:3]
    if len(fields) < 2 or not all(field.isascii() and field.isdigit() for field in fields):
        return 1, 0
    return int(fields[0]), int(fields[1])


def articles_in(block: bytes, subjects: Collection[bytes]) -> Iterator[tuple[bytes, MessageId]]:
    """(subject, message-id) of the articles with one of these subjects in an overview, newest first."""
    for line in reversed(block.split(b"\r\n")):
        fields = line.split(b"\t", _MESSAGE_ID + 1)
        if len(fields) > _MESSAGE_ID and (subject := fields[_SUBJECT].strip()) in subjects:
            message_id = _plausible(fields[_MESSAGE_ID])
            if message_id is not None:
                yield subject, message_id


def _plausible(told: bytes) -> MessageId | None:
    try:
        return check_message_id(told.decode("ascii").strip())
    except (UnicodeDecodeError, FormatError):
        return None
