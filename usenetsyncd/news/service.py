"""Many news servers as one: articles are posted, asked for and fetched by priority, with failover and return."""

import threading
from collections.abc import Collection, Sequence
from typing import Final

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import (
    ArticleMissing,
    Cancelled,
    ConfigurationError,
    NewsError,
    NoServer,
    NotFound,
    PostDoubtful,
    PostRefused,
)
from usenetsyncd.model import MessageId, Presence, ServerAccount, ServerRole
from usenetsyncd.news.crew import Crew
from usenetsyncd.news.overview import DEFAULT_LIMIT, Candidates, SearchLimit, SubjectSearch
from usenetsyncd.news.pace import ByteLimiter
from usenetsyncd.news.probe import PostTrial, probe
from usenetsyncd.news.records import PostReceipt, ServerReport, ServerState
from usenetsyncd.news.replies import Overrides, ReplyTable, Step
from usenetsyncd.news.retrieval import Deliver, Retrieval
from usenetsyncd.news.server import Server
from usenetsyncd.news.spreading import spread_over
from usenetsyncd.wire.article import OutgoingArticle

log = structlog.get_logger("news")

PATIENCE_S: Final = 15.0
"""So long ``post`` waits in all until some server can be asked; longer trouble goes back to the queue."""

TEST_GROUPS: Final = ("alt.binaries.test",)
"""Where articles that test a server go, unless somebody says otherwise."""

_POOR_SCORE: Final = 0.3
_DRAIN_S: Final = 30.0


class NewsService:
    """Every configured server behind one set of verbs. Thread-safe; ``close`` joins its threads."""

    def __init__(
        self,
        accounts: Sequence[ServerAccount],
        clock: Clock = SYSTEM_CLOCK,
        overrides: Overrides | None = None,
    ) -> None:
        """Connects to nobody yet. Raises ConfigurationError for an unsafe account or an impossible override."""
        self._clock = clock
        self._closing = threading.Event()
        self._table = ReplyTable(overrides)
        self._up = ByteLimiter(clock=clock)
        self._down = ByteLimiter(clock=clock)
        self._crew = Crew("news-read")
        self._lock = threading.Lock()
        self._reloading = threading.Lock()
        self._servers: tuple[Server, ...] = self._build(accounts, ())

    # -- posting ----------------------------------------------------------------------------------

    def post(
        self, article: OutgoingArticle, avoid: Collection[str] = (), prefer: str | None = None
    ) -> PostReceipt:
        """Post one article on the best server that takes it. Blocks for a connection and for the rate limit.

        avoid: servers to use only when no other is left. prefer: the one to try first while it does well. Raises PostDuplicate when a server has this id already,
        PostDoubtful when the answer to a whole article was lost (never posted again here: ask first), PostRefused when
        every server that could be asked refuses it, NoServer (with ``retry_after_s``) when none can be used, Cancelled.
        """
        self._up.take(article.size_bytes, self._closing.is_set)
        waited_s = 0.0
        while True:
            failures: dict[str, NewsError] = {}
            ranked = self._ranked(ServerRole.POST, avoid, prefer)
            for index, server in enumerate(ranked):
                rest = server.health.posting_rest()
                if rest is not None:
                    failures[server.name] = self._resting(rest.reason, rest.until)
                    continue
                try:
                    return server.post(article, patient=index == len(ranked) - 1)
                except PostDoubtful:
                    raise
                except NewsError as error:
                    failures[server.name] = error
            told = _summary(failures)
            waited_s += told.retry_after_s
            # The last one was tried as often as the table says, unless trouble of others holds its dialling back.
            was_asked = not ranked or not isinstance(failures[ranked[-1].name], NoServer)
            if was_asked or isinstance(told, PostRefused) or not 0 < waited_s <= PATIENCE_S:
                raise told
            self._wait(told.retry_after_s)

    def spread(self, copy: int, seg_id: bytes) -> str | None:
        """Which posting server this copy of a segment should be on, so that its copies are on different ones.

        To be given to ``post`` as prefer. None with fewer than two such servers: there is nothing to choose.
        """
        return spread_over([server.account for server in self._with_role(ServerRole.POST)], copy, seg_id)

    def posting_capacity(self) -> int:
        """How many articles can be under way at once, now."""
        return sum(
            server.capacity()
            for server in self._with_role(ServerRole.POST)
            if server.health.posting_rest() is None
        )

    # -- reading ----------------------------------------------------------------------------------

    def stat(
        self,
        ids: Sequence[MessageId],
        role: ServerRole = ServerRole.READ,
        server: str | None = None,
        stop: threading.Event | None = None,
    ) -> dict[MessageId, Presence]:
        """Ask for articles without fetching them, pipelined.

        server: ask this one only (NotFound if there is none). Otherwise those of the role in turn (for VERIFY without
        any such server, the reading ones): present if one has it, missing if all say so, else unknown. That a server
        says it has an article is no proof that it gives it out. Raises Cancelled after stop is set or after close().
        """
        found: dict[MessageId, Presence] = {}

        def note(message_id: MessageId, block: bytes | None, error: NewsError | None) -> None:
            if error is None:
                found[message_id] = Presence.PRESENT
            else:
                found[message_id] = (
                    Presence.MISSING if isinstance(error, ArticleMissing) else Presence.UNKNOWN
                )

        self._retrieve(
            Step.STAT, ids, note, stop, self._named(server) if server else self._ranked(role), modest=True
        )
        return found

    def fetch(
        self, ids: Sequence[MessageId], on_article: Deliver, stop: threading.Event | None = None
    ) -> None:
        """Fetch the bodies of many articles; returns when each was handed over, in any order, each exactly once.

        on_article(id, raw block, None), or (id, None, ArticleMissing) when every reading server says that it is missing,
        or (id, None, another NewsError) when that is unknown. It is called from several worker threads at once, while
        they hold a connection: be quick or be the brake you want to be. What it raises ends the fetch and is raised
        here. Raises Cancelled after stop is set (what was under way is dropped) or after close(), NoServer without any
        reading server.
        """
        self._retrieve(Step.BODY, ids, on_article, stop, self._ranked(ServerRole.READ))

    def fetch_from(
        self,
        server: str,
        ids: Sequence[MessageId],
        on_article: Deliver,
        stop: threading.Event | None = None,
    ) -> None:
        """Fetch bodies from exactly this server, as ``fetch`` does; missing then means missing there.

        Raises NotFound where no server has that name, else what ``fetch`` raises.
        """
        self._retrieve(Step.BODY, ids, on_article, stop, self._named(server), modest=True)

    def fetch_one(self, message_id: MessageId) -> bytes:
        """The raw block of one article. Raises ArticleMissing when every reading server says so, else NewsError."""
        result: list[bytes | NewsError] = []

        def keep(_: MessageId, block: bytes | None, error: NewsError | None) -> None:
            result.append(error if block is None and error is not None else block or b"")

        self._retrieve(Step.BODY, [message_id], keep, None, self._ranked(ServerRole.READ))
        if isinstance(result[0], NewsError):
            raise result[0]
        return result[0]

    def find_by_subject(
        self,
        groups: Sequence[str],
        subjects: Collection[str],
        limit: SearchLimit = DEFAULT_LIMIT,
        server: str | None = None,
        stop: threading.Event | None = None,
    ) -> Candidates:
        """Articles with these subjects in these groups: subject -> (server, message-id), newest first; subjects that
        nobody has are left out. Anybody can post under any subject: open them before believing them.

        server: look on this one only. Over one connection, in this thread. Raises NotFound for a name that is not
        configured, Cancelled, NoServer without a reading server, or another NewsError when none could be asked.
        """

        def stopped() -> bool:
            return self._closing.is_set() or (stop is not None and stop.is_set())

        servers = self._named(server) if server else self._ranked(ServerRole.READ)
        search = SubjectSearch(groups, subjects, limit, self._down, stopped, self._clock)
        return search.run(sorted(servers, key=lambda one: one.account.priority))

    def reading_capacity(self) -> int:
        """How many connections can read at once, now."""
        return sum(server.capacity() for server in self._with_role(ServerRole.READ))

    def _retrieve(
        self,
        step: Step,
        ids: Sequence[MessageId],
        deliver: Deliver,
        stop: threading.Event | None,
        servers: Sequence[Server],
        modest: bool = False,
    ) -> None:
        if not ids:
            return
        if self._closing.is_set():
            raise Cancelled("the news service is closing")
        if not servers:
            raise NoServer("no server is configured to read from")

        def stopped() -> bool:
            return self._closing.is_set() or (stop is not None and stop.is_set())

        unique = list(dict.fromkeys(ids))
        Retrieval(step, unique, _tiers(servers), self._crew, deliver, stopped, self._down, modest).run()

    # -- for people -------------------------------------------------------------------------------

    def snapshot(self) -> list[ServerState]:
        """Every server as it stands, in the order of the configuration."""
        return [server.state() for server in self._servers]

    def test(self, name: str, post: bool = False, groups: Sequence[str] = TEST_GROUPS) -> ServerReport:
        """Try out one server, with connections of its own beside those in use.

        post: also post one article to these groups, to see which size the server takes and what it does with
        message-ids; it waits up to a quarter minute for it to appear. Raises NotFound, NoServer when all that the
        account allows are in use (then it evidently works), Cancelled.
        """
        (server,) = self._named(name)
        places = server.pool.reserve(server.account.connections)
        if not places:
            raise NoServer(
                f"all {server.account.connections} connections of {name} are in use; pause and test again"
            )
        trial = PostTrial(groups, self._wait) if post else None
        try:
            return server.learn(probe(server.account, self._table, self._clock, places, trial))
        finally:
            server.pool.unreserve(places)

    def set_limits(self, up_bytes_per_s: float, down_bytes_per_s: float) -> None:
        """Limit article bytes per second over all servers, from now on; 0 for no limit."""
        self._up.set_rate(up_bytes_per_s)
        self._down.set_rate(down_bytes_per_s)

    # -- upkeep -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Keep idle connections alive and close old ones. Call it every 30 s or so; may take seconds."""
        for server in self._servers:
            server.pool.tick()

    def verify_accounts(self, accounts: Sequence[ServerAccount]) -> None:
        """Whether these could be used; changes nothing and connects to nobody. Raises ConfigurationError."""
        self._build(accounts, ())

    def replace_accounts(self, accounts: Sequence[ServerAccount], drain_s: float = _DRAIN_S) -> None:
        """Use these from now on. Servers whose account did not change keep their connections; the others finish what is
        under way, up to drain_s, before this returns. A changed account connects anew only when its old connections
        are closed, so that the limit holds. Raises ConfigurationError, and then nothing has changed.
        """
        with self._reloading:
            before = self._servers
            after = self._build(accounts, before)
            leaving = [server for server in before if server not in after]
            joining = [server for server in after if server not in before]
            for server in joining:
                if any(server.account.host == old.account.host for old in leaving):
                    server.pool.hold(drain_s + 1, NoServer(f"{server.name}: its old connections are ending"))
            self._servers = after
            for server in leaving:
                server.retire()
            ends_at = self._clock.monotonic() + drain_s
            for server in leaving:
                server.close(max(0.0, ends_at - self._clock.monotonic()))
            for server in joining:
                server.pool.release()
            if leaving or joining:
                log.info("servers_replaced", left=[s.name for s in leaving], joined=[s.name for s in joining])

    def set_retry(self, overrides: Overrides) -> None:
        """These overrides of the reply table count from the next reply on. Raises ConfigurationError, and then nothing
        has changed."""
        self._table.use(overrides)

    def close(self, deadline_s: float) -> None:
        """Refuse new work, let posts under way end until the deadline, cut off the rest, join all threads."""
        ends_at = self._clock.monotonic() + deadline_s
        self._closing.set()
        for server in self._servers:
            server.retire()
        for server in self._servers:
            server.close(max(0.0, ends_at - self._clock.monotonic()))
        self._crew.close(max(1.0, ends_at - self._clock.monotonic()))

    # -- inside -----------------------------------------------------------------------------------

    def _build(self, accounts: Sequence[ServerAccount], known: Sequence[Server]) -> tuple[Server, ...]:
        names = [account.name for account in accounts]
        if len(set(names)) != len(names):
            raise ConfigurationError("two servers have the same name")
        same = {server.account: server for server in known}
        return tuple(
            same.get(account) or Server(account, self._table, self._closing, self._clock)
            for account in accounts
        )

    def _with_role(self, role: ServerRole) -> list[Server]:
        return [server for server in self._servers if server.has_role(role)]

    def _named(self, name: str) -> list[Server]:
        found = [server for server in self._servers if server.name == name]
        if not found:
            raise NotFound(
                f"no server is called {name!r}; there are {', '.join(s.name for s in self._servers) or 'none'}"
            )
        return found

    def _ranked(
        self, role: ServerRole, avoid: Collection[str] = (), prefer: str | None = None
    ) -> list[Server]:
        """Best first: not avoided, not doing poorly, preferred, by priority, then the healthier, then the less busy."""
        servers = self._with_role(role)
        if role is ServerRole.VERIFY and not servers:
            servers = self._with_role(ServerRole.READ)
        if len(servers) < 2:
            return servers

        def rank(server: Server) -> tuple[bool, bool, bool, int, float, float]:
            score = server.health.score()
            return (
                server.name in avoid,
                score < _POOR_SCORE,
                server.name != prefer,
                server.account.priority,
                -round(score * 4) / 4,
                server.pool.busy_share(),
            )

        return sorted(servers, key=rank)

    def _resting(self, reason: str, until: float) -> NoServer:
        error = NoServer(reason)
        error.retry_after_s = max(0.0, until - self._clock.monotonic())
        return error

    def _wait(self, delay_s: float) -> None:
        if self._closing.wait(delay_s):
            raise Cancelled("the news service is closing")


def _tiers(servers: Sequence[Server]) -> list[list[Server]]:
    """Servers of one priority side by side; those that do poorly come after all others, whatever theirs is."""

    def rank(server: Server) -> tuple[bool, int]:
        return server.health.score() < _POOR_SCORE, server.account.priority

    ranks = {server.name: rank(server) for server in servers}
    tiers: dict[tuple[bool, int], list[Server]] = {}
    for server in sorted(servers, key=lambda one: ranks[one.name]):
        tiers.setdefault(ranks[server.name], []).append(server)
    return list(tiers.values())


def _summary(failures: dict[str, NewsError]) -> NewsError:
    """One error for what several servers said: refused if all that took part refuse, else nobody can now."""
    if not failures:
        return NoServer("no server is configured to post to")
    if len(failures) == 1:
        (only,) = failures.values()
        if isinstance(only, PostRefused):
            return only
    told = "; ".join(dict.fromkeys(str(error) for error in failures.values()))
    refused = [error for error in failures.values() if isinstance(error, PostRefused)]
    summary: NewsError = PostRefused(told) if refused else NoServer(told)
    # NoServer with a person's verdict inside (a wrong password) is still worth a later look: the rest says when.
    summary.retry_after_s = min(error.retry_after_s for error in failures.values())
    return summary
