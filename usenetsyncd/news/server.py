"""One server: its account, pool, health and counters; turns what the reply table says into deeds."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import Cancelled, NewsError, NoServer
from usenetsyncd.model import ServerAccount, ServerRole
from usenetsyncd.news.connection import Connection, Dialer, Setback, message_id_in
from usenetsyncd.news.health import Health
from usenetsyncd.news.naming import Naming
from usenetsyncd.news.pool import Pool
from usenetsyncd.news.records import IdPolicy, PostReceipt, ServerReport, ServerState
from usenetsyncd.news.replies import ERRORS, Outcome, PoolEffect, ReplyTable
from usenetsyncd.wire.article import OutgoingArticle
from usenetsyncd.wire.nntp import Reply

log = structlog.get_logger("news")

_TRIED_AGAIN: Final = (
    Outcome.REFUSED,
    Outcome.UNAVAILABLE,
    Outcome.UNKNOWN,
    Outcome.LOST,
    Outcome.LOGIN_AGAIN,
    Outcome.TOO_MANY,
)
_CHANCE: Final = random.SystemRandom()
_ARTICLES_OWN: Final = (Outcome.REFUSED, Outcome.LOST, Outcome.LOGIN_AGAIN, Outcome.TOO_MANY)
_HOLDS_DIALLING: Final = (
    Outcome.TOO_MANY,
    Outcome.LOGIN_REFUSED,
    Outcome.TLS,
    Outcome.UNREACHABLE,
    Outcome.UNAVAILABLE,
)


_ID_POLICIES: Final = {
    IdPolicy.UNKNOWN: "what it does with message-ids is not known yet",
    IdPolicy.KEEPS: "keeps the message-ids that we give",
    IdPolicy.REWRITES: "changes message-ids and tells the new ones",
    IdPolicy.SWALLOWS: "changes message-ids without telling",
}


class Server:
    """One account's connections and how it has been doing. Thread-safe."""

    def __init__(
        self, account: ServerAccount, table: ReplyTable, closing: threading.Event, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """closing: set when the service ends; every wait heeds it. Raises ConfigurationError for an unsafe account."""
        self.account = account
        self.health = Health(clock)
        self._dialer = Dialer(account, table, clock)
        self.pool = Pool(account.connections, self._dial, self._dialer.interrupt, clock)
        self._closing = closing
        self.clock = clock
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._retired = False
        self._counts: Counter[str] = Counter()
        self.naming = Naming(account.name, clock)
        self.largest_posted = 0

    @property
    def name(self) -> str:
        """The account's name."""
        return self.account.name

    def has_role(self, role: ServerRole) -> bool:
        """Whether the account may be used for that."""
        return role in self.account.roles

    def capacity(self) -> int:
        """How many connections it allows now; 0 while it rests."""
        state = self.pool.state()
        return 0 if state.held_until and not state.lent + state.idle else state.allowed

    @contextmanager
    def lend(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Connection]:
        """A connection for the length of a with-block; closed instead of kept when the block raises.

        Raises NewsError of the class that the reply table says when none comes about; Cancelled when stopped.
        """
        connection = self._obtain(stopped)
        try:
            yield connection
        except BaseException:
            self.pool.discard(connection)
            raise
        self.pool.give_back(connection)

    def _obtain(self, stopped: Callable[[], bool]) -> Connection:
        while True:
            try:
                return self.pool.obtain(lambda: self._closing.is_set() or stopped())
            except Setback as setback:
                state = self.pool.state()
                if not state.lent + state.idle:
                    raise public_error(setback, state.held_until - self.clock.monotonic()) from setback

    def _dial(self) -> Connection:
        try:
            connection = self._dialer.open()
        except Setback as setback:
            self.suffer(setback, dialling=True)
            raise
        with self._lock:
            self._failures.clear()
        self.health.succeed()
        return connection

    # -- posting ----------------------------------------------------------------------------------

    def post(self, article: OutgoingArticle, patient: bool = True) -> PostReceipt:
        """Post, trying again on this server as often as the reply table says.

        patient: also wait out trouble that is the server's and not the article's; not worth it when there is another.
        Raises PostDuplicate, PostDoubtful, PostRefused and other NewsErrors; Cancelled when the service closes.
        """
        tries: Counter[str] = Counter()
        while True:
            outcome = self._attempt(article)
            if isinstance(outcome, PostReceipt):
                return outcome
            row = outcome.row
            tries[row.name] += 1
            delay_s = row.backoff.delay_s(tries[row.name], self.draw())
            again = row.outcome in (_TRIED_AGAIN if patient else _ARTICLES_OWN)
            if not again or row.backoff.exhausted(tries[row.name]):
                raise public_error(outcome, delay_s) from outcome
            # Of too many connections others may still be open: waiting for one of those is the pool's part.
            self.wait(0.0 if row.outcome is Outcome.TOO_MANY else delay_s)

    def _attempt(self, article: OutgoingArticle) -> "PostReceipt | Setback":
        try:
            with self.lend() as connection:
                started = self.clock.monotonic()
                try:
                    reply = connection.post(article)
                    return self._receipt(connection, article, reply, self.clock.monotonic() - started)
                except Setback as setback:
                    if setback.row.outcome is Outcome.LOGIN_AGAIN:
                        connection.login()
                    elif setback.row.close:
                        raise
                    self.suffer(setback)
                    return setback
        except Setback as setback:
            self.suffer(setback)
            return setback
        except (NoServer, Cancelled):
            raise
        except NewsError as error:
            # No connection came about: nobody was asked, and no try is used up.
            nobody = NoServer(str(error))
            nobody.retry_after_s = error.retry_after_s
            raise nobody from error

    def _receipt(
        self, connection: Connection, article: OutgoingArticle, reply: Reply, took_s: float
    ) -> PostReceipt:
        size_bytes = article.size_bytes
        self.count(posted=1, bytes_up=size_bytes)
        self.health.succeed()
        self.largest_posted = max(self.largest_posted, size_bytes)
        message_id = self.naming.settle(connection, article, message_id_in(reply.text))
        return PostReceipt(self.name, message_id, took_s, size_bytes)

    # -- trouble ----------------------------------------------------------------------------------

    def suffer(self, setback: Setback, dialling: bool = False) -> None:
        """Do to pool and server what the setback's row says. dialling: it came while a connection was opened."""
        row = setback.row
        if row.blame:
            self.health.blame(row.blame, str(setback))
        if row.pool is not PoolEffect.NONE:
            self.pool.shrink(to_one=row.pool is PoolEffect.TO_ONE)
        if row.outcome is Outcome.FORBIDDEN:
            self.health.forbid_posting(row.rest_s, str(setback))
        if not dialling and row.outcome not in _HOLDS_DIALLING:
            return
        with self._lock:
            self._failures[row.name] += 1
            failures = self._failures[row.name]
        exhausted = row.backoff.exhausted(failures)
        hold_s = row.rest_s if exhausted else row.backoff.delay_s(failures, self.draw())
        if hold_s > 0:
            self.pool.hold(hold_s, public_error(setback, hold_s))
        if failures == 1 or exhausted:
            log.warning(
                "server_in_trouble", server=self.name, row=row.name, reason=str(setback), wait_s=round(hold_s)
            )

    def draw(self) -> float:
        """A chance number for jitter, 0..1."""
        return _CHANCE.random()

    def wait(self, delay_s: float) -> None:
        """Wait between two tries. Raises Cancelled when the service closes meanwhile."""
        if self._closing.wait(delay_s):
            raise Cancelled("the news service is closing")

    # -- upkeep -----------------------------------------------------------------------------------

    def count(self, **amounts: int) -> None:
        """Add to posted, fetched, bytes_up, bytes_down."""
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount

    def state(self) -> ServerState:
        """How things stand."""
        pool = self.pool.state()
        rest = self.health.posting_rest()
        open_now = pool.lent + pool.idle + pool.changing
        if self._retired:
            state, reason = "closing", "no longer configured"
        elif pool.held_until and not pool.lent + pool.idle:
            state, reason = "resting", pool.reason
        elif pool.allowed < pool.limit:
            state, reason = "limited", pool.reason or self.health.reason
        else:
            state, reason = ("up" if open_now else "idle"), pool.reason
        counts = self._counts
        return ServerState(
            self.name,
            state,
            open_now,
            pool.limit,
            reason,
            counts["posted"],
            counts["fetched"],
            counts["bytes_up"],
            counts["bytes_down"],
            pool.allowed,
            round(self.health.score(), 3),
            max(0.0, pool.held_until - self.clock.monotonic()) if pool.held_until else 0.0,
            rest.reason if rest else "",
            self.naming.policy,
            self.largest_posted,
        )

    def learn(self, report: ServerReport) -> ServerReport:
        """Remember what a test found about ids and sizes; where it tried nothing, complete it with what is known."""
        self.naming.learn(report.id_policy)
        self.largest_posted = max(self.largest_posted, report.article_bytes)
        if report.article_bytes:
            return report
        known = [_ID_POLICIES[self.naming.policy]]
        if self.largest_posted:
            known.append(f"has taken articles of up to {self.largest_posted // 1000:,} kB")
        return replace(
            report,
            id_policy=self.naming.policy,
            article_bytes=self.largest_posted,
            lines=(*report.lines, *known) if report.posting else report.lines,
        )

    def retire(self) -> None:
        """Start nothing new; connections close as they come back."""
        self._retired = True
        self.pool.retire()

    def close(self, deadline_s: float) -> None:
        """Let what is under way end until the deadline, then cut it off."""
        self._retired = True
        self.pool.close(deadline_s)


def public_error(setback: Setback, retry_after_s: float = 0.0) -> NewsError:
    """The error that callers outside of this package know."""
    error = ERRORS.get(setback.row.outcome, NewsError)(str(setback))
    error.retry_after_s = max(0.0, retry_after_s)
    return error
