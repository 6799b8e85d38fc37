"""Ask servers for articles, and look into some: what each of them has, has lost, or has spoilt.

Whatever is no clear answer (a time-out, a server that is down) is unknown, and never taken for missing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Event, Lock
from typing import Self

import structlog

from usenetsyncd.catalogue.findings import ANY_SERVER, Damage, Finding, StoredArticle
from usenetsyncd.catalogue.rows import ArticleKey
from usenetsyncd.errors import ArticleMissing, Cancelled, FormatError, NewerFormat, NewsError, NotFound
from usenetsyncd.flows.making import wire_address
from usenetsyncd.model import MessageId, Presence, ServerAccount, ServerRole
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.keys import ReadKeys, message_id_of
from usenetsyncd.wire.seal import open_sealed

log = structlog.get_logger("verify")


class Condition(StrEnum):
    """An article on a server. GOOD is the server's word, unless the body was fetched."""

    GOOD = "good"
    MISSING = "missing"
    CORRUPT = "corrupt"
    UNKNOWN = "unknown"


_OF_PRESENCE = {
    Presence.PRESENT: Condition.GOOD,
    Presence.MISSING: Condition.MISSING,
    Presence.UNKNOWN: Condition.UNKNOWN,
}
_DAMAGE = {Condition.MISSING: Damage.MISSING, Condition.CORRUPT: Damage.CORRUPT}
BAD = frozenset(_DAMAGE)

KeysOf = Callable[[StoredArticle], ReadKeys]
"""The keys that name and open an article. Raises NotFound where they are gone (a share that is no more)."""

Conditions = dict[str, dict[ArticleKey, Condition]]
"""Server -> article -> what it has of it."""


@dataclass(frozen=True, slots=True)
class CheckedServers:
    """Who may be asked for an article, by name. reading: in the order of priority. verifying: the judges."""

    reading: tuple[str, ...]
    verifying: tuple[str, ...] = ()

    @classmethod
    def of(cls, accounts: Iterable[ServerAccount]) -> Self:
        """Those among the configured servers."""
        ordered = sorted(accounts, key=lambda account: account.priority)
        return cls(
            tuple(account.name for account in ordered if ServerRole.READ in account.roles),
            tuple(account.name for account in ordered if ServerRole.VERIFY in account.roles),
        )

    @property
    def all(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(self.reading + self.verifying))

    def home(self, article: StoredArticle) -> str:
        """Where the article must be: on the server that took it, else, if that cannot be asked, on any."""
        return article.server if article.server in self.all else ANY_SERVER

    def expected(self, article: StoredArticle) -> tuple[str, ...]:
        """Its home, and whoever judges."""
        return tuple(dict.fromkeys((self.home(article), *self.verifying)))

    def covered(self, servers: Iterable[str]) -> frozenset[str]:
        """The servers that these names speak for."""
        named = frozenset(servers)
        return named | frozenset(self.reading) if ANY_SERVER in named else named

    def is_lost(self, article: StoredArticle, findings: Iterable[Finding]) -> bool:
        """Whether nobody has the article: each server that can be asked has said so, or has it spoilt."""
        bad = self.covered(one.server for one in findings if one.generation >= article.generation)
        return bool(bad) and bad.issuperset(self.all)

    def is_damaged(self, article: StoredArticle, findings: Iterable[Finding]) -> bool:
        """Whether it is not at home any more, wherever else it may be."""
        home = self.home(article)
        return any(
            one.generation >= article.generation and one.server in (home, ANY_SERVER) for one in findings
        )


class Inspector:
    """Asks the servers, side by side, each in one pipelined burst."""

    def __init__(self, news: NewsService, keys_of: KeysOf, servers: CheckedServers, stop: Event) -> None:
        self._news = news
        self._keys_of = keys_of
        self._stop = stop
        self.servers = servers

    def ask(self, wanted: Mapping[str, Sequence[StoredArticle]]) -> Conditions:
        """Who says that they have which. An article without keys is left out. Raises Cancelled."""
        return self._side_by_side(self._ask, wanted)

    def read(self, wanted: Mapping[str, Sequence[StoredArticle]]) -> Conditions:
        """Fetch these bodies from just these servers, open them, compare their hashes. Raises Cancelled."""
        return self._side_by_side(self._read, wanted)

    def elsewhere(self, articles: Sequence[StoredArticle], conditions: Conditions) -> Conditions:
        """For articles that all who were asked have lost: what the other servers say. Raises Cancelled."""
        wanted: dict[str, list[StoredArticle]] = {}
        for article in articles:
            told = {name: of[article.key] for name, of in conditions.items() if article.key in of}
            if told and BAD.issuperset(told.values()):
                for name in self.servers.all:
                    if name not in self.servers.covered(told):
                        wanted.setdefault(name, []).append(article)
        return self.ask(wanted)

    def _side_by_side(
        self,
        act: Callable[[str, Sequence[StoredArticle]], dict[ArticleKey, Condition]],
        wanted: Mapping[str, Sequence[StoredArticle]],
    ) -> Conditions:
        busy = [(name, articles) for name, articles in wanted.items() if articles]
        if len(busy) < 2:
            return {name: act(name, articles) for name, articles in busy}
        with ThreadPoolExecutor(len(busy), thread_name_prefix="verify") as threads:
            told = [(name, threads.submit(act, name, articles)) for name, articles in busy]
        return {name: future.result() for name, future in told}

    def _named(self, articles: Sequence[StoredArticle]) -> dict[MessageId, tuple[StoredArticle, ReadKeys]]:
        named = {}
        for article in articles:
            try:
                keys = self._keys_of(article)
            except NotFound:
                continue
            named[message_id(article, keys)] = (article, keys)
        return named

    def _ask(self, server: str, articles: Sequence[StoredArticle]) -> dict[ArticleKey, Condition]:
        named = self._named(articles)
        told = dict.fromkeys((article.key for article, _ in named.values()), Condition.UNKNOWN)
        try:
            presence = self._news.stat([*named], server=server or None, stop=self._stop)
        except Cancelled:
            raise
        except (NewsError, NotFound) as error:
            log.warning("server_not_asked", server=server, reason=str(error))
            return told
        told.update((named[one][0].key, _OF_PRESENCE[found]) for one, found in presence.items())
        return told

    def _read(self, server: str, articles: Sequence[StoredArticle]) -> dict[ArticleKey, Condition]:
        named = self._named(articles)
        told = dict.fromkeys((article.key for article, _ in named.values()), Condition.UNKNOWN)
        lock = Lock()

        def look_into(one: MessageId, raw: bytes | None, error: NewsError | None) -> None:
            article, keys = named[one]
            found = _condition(article, keys, raw, error)
            with lock:
                told[article.key] = found

        try:
            if server == ANY_SERVER:
                self._news.fetch([*named], look_into, self._stop)
            else:
                self._news.fetch_from(server, [*named], look_into, self._stop)
        except Cancelled:
            raise
        except (NewsError, NotFound) as error:
            log.warning("server_not_asked", server=server, reason=str(error))
        return told


def message_id(article: StoredArticle, keys: ReadKeys) -> MessageId:
    """Under which the article is on its server: the server's own id where it gave it another."""
    if article.message_id:
        return MessageId(article.message_id)
    return message_id_of(keys.location, wire_address(article))


def _condition(
    article: StoredArticle, keys: ReadKeys, raw: bytes | None, error: NewsError | None
) -> Condition:
    if raw is None:
        return Condition.MISSING if isinstance(error, ArticleMissing) else Condition.UNKNOWN
    try:
        open_sealed(keys, wire_address(article), decode_body(raw))
    except NewerFormat:
        return Condition.UNKNOWN
    except FormatError as broken:
        log.warning("article_corrupt", kind=article.kind.name, server=article.server, reason=str(broken))
        return Condition.CORRUPT
    return Condition.GOOD


def damage_of(condition: Condition, expected: bool) -> Damage | None:
    """How a finding calls it; None for what is none."""
    damage = _DAMAGE.get(condition)
    return Damage.ABSENT if damage is Damage.MISSING and not expected else damage
