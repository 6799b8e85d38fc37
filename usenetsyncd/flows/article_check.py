"""Check some articles on every server they should be on, and decide what that means for what was known of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Self

from usenetsyncd.catalogue.findings import ANY_SERVER, Finding, Seen, StoredArticle
from usenetsyncd.catalogue.rows import ArticleKey
from usenetsyncd.catalogue.verifications import VerificationRow
from usenetsyncd.flows.availability import BAD, Condition, Conditions, Inspector, damage_of
from usenetsyncd.telemetry.counters import Counters

Known = Mapping[ArticleKey, Sequence[Finding]]

BODIES = "bodies"
CHECKS = Counters()
"""What all checks heard since the process was started, by condition; of these, BODIES were fetched to look into them."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of asking for some articles.

    asked: servers where they should be. elsewhere: the others, for what all of those have lost. drawn: what stood for
    all in the sample. seen: what the catalogue is to remember or forget.
    """

    articles: Sequence[StoredArticle]
    asked: Conditions
    elsewhere: Conditions
    drawn: frozenset[tuple[str, ArticleKey]]
    seen: Sequence[Seen]


class ArticleCheck:
    """Asks for articles where they should be, fetches a sample, and asks everybody for what is lost there."""

    def __init__(self, inspector: Inspector, share: float, dice: Random, only: str | None = None) -> None:
        """share: of the articles on each server, how many are fetched, 0..1. only: ask no other server first."""
        self._inspector = inspector
        self._servers = inspector.servers
        self._share = share
        self._dice = dice
        self._only = only

    def run(self, articles: Sequence[StoredArticle], known: Known) -> Checked:
        """known: earlier findings about them. Raises Cancelled."""
        wanted: dict[str, list[StoredArticle]] = {}
        for article in articles:
            for name in self._asked(article):
                wanted.setdefault(name, []).append(article)
        asked = self._inspector.ask(wanted)
        drawn = frozenset(self._draw(asked))
        to_read = {
            name: [one for one in there if self._is_read(name, one, asked[name], drawn, known)]
            for name, there in wanted.items()
        }
        for name, found in self._inspector.read(to_read).items():
            asked[name] |= found
        elsewhere = self._inspector.elsewhere(articles, asked)
        for found in asked.values():
            for condition, number in Counter(found.values()).items():
                CHECKS.add(condition, number)
        CHECKS.add(BODIES, sum(len(there) for there in to_read.values()))
        seen = tuple(self._news_of(articles, (*asked.items(), *elsewhere.items()), known))
        return Checked(articles, asked, elsewhere, drawn, seen)

    def _asked(self, article: StoredArticle) -> tuple[str, ...]:
        expected = self._servers.expected(article)
        return expected if self._only is None else tuple(name for name in expected if name == self._only)

    def _draw(self, conditions: Conditions) -> Iterator[tuple[str, ArticleKey]]:
        if self._share > 0:
            for name, found in conditions.items():
                for key in found:
                    if self._share >= 1 or self._dice.random() < self._share:
                        yield name, key

    def _is_read(
        self,
        server: str,
        article: StoredArticle,
        told: Mapping[ArticleKey, Condition],
        drawn: frozenset[tuple[str, ArticleKey]],
        known: Known,
    ) -> bool:
        """What is said to be there is fetched when it was drawn, or when it was found to be bad once."""
        if told.get(article.key) is not Condition.GOOD:
            return False
        return (server, article.key) in drawn or any(
            one.server == server and one.generation == article.generation
            for one in known.get(article.key, ())
        )

    def _news_of(
        self,
        articles: Sequence[StoredArticle],
        conditions: Sequence[tuple[str, Mapping[ArticleKey, Condition]]],
        known: Known,
    ) -> Iterator[Seen]:
        """What is to be remembered, and what is to be forgotten."""
        for article in articles:
            told = {name: found[article.key] for name, found in conditions if article.key in found}
            expected = self._servers.expected(article)
            noted = known.get(article.key, ())
            for name, condition in told.items():
                damage = damage_of(condition, name in expected)
                known_there = any(one.server == name for one in noted)
                if damage is not None or (condition is Condition.GOOD and known_there):
                    yield Seen(article.segment_row, article.copy, article.generation, name, damage)
            for one in noted:
                if one.server not in told and self._is_over(article, one, told, expected):
                    yield Seen(article.segment_row, article.copy, article.generation, one.server, None)

    def _is_over(
        self,
        article: StoredArticle,
        finding: Finding,
        told: Mapping[str, Condition],
        expected: tuple[str, ...],
    ) -> bool:
        """Whether a finding about a server that nobody has to ask any more has lost its meaning."""
        if finding.server in expected:
            return False
        if finding.server not in (*self._servers.all, ANY_SERVER):
            return True
        home = told.get(self._servers.home(article), Condition.UNKNOWN)
        return home is Condition.GOOD or (home in BAD and finding.generation < article.generation)


@dataclass(slots=True)
class ServerCounts:
    """Articles on one server. sampled: fetched, or found to be gone, because they were drawn; good: of these."""

    checked: int = 0
    missing: int = 0
    corrupt: int = 0
    unknown: int = 0
    sampled: int = 0
    good: int = 0


@dataclass(slots=True)
class Figures:
    """What a check has come to so far; articles count once, however many servers have lost them.

    backbones: number of servers -> segments that so many have whole.
    """

    checked: int = 0
    missing: int = 0
    corrupt: int = 0
    unknown: int = 0
    sampled: int = 0
    good: int = 0
    by_server: dict[str, ServerCounts] = field(default_factory=dict)
    backbones: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, row: VerificationRow) -> Self:
        """Those of a check that was interrupted."""
        detail = row.detail
        return cls(
            row.checked,
            row.missing,
            row.corrupt,
            row.unknown,
            row.sampled,
            detail.get("good", 0),
            {name: ServerCounts(**counts) for name, counts in detail.get("by_server", {}).items()},
            {int(servers): segments for servers, segments in detail.get("backbones", {}).items()},
        )

    def detail(self) -> dict[str, Any]:
        """What ``of`` needs beside the columns, as plain JSON."""
        by_server = {name: asdict(counts) for name, counts in self.by_server.items()}
        return {"good": self.good, "by_server": by_server, "backbones": self.backbones}

    def add(self, checked: Checked) -> None:
        """Count a stretch of articles; it must hold whole segments."""
        for article in checked.articles:
            told = {found[article.key] for found in checked.asked.values() if article.key in found}
            self.checked += bool(told)
            self.missing += Condition.MISSING in told
            self.corrupt += Condition.CORRUPT in told
            self.unknown += Condition.UNKNOWN in told
        for name, found in checked.asked.items():
            self._count(name, found, checked.drawn)
        self._count_holders(checked)

    def _count(
        self,
        name: str,
        found: Mapping[ArticleKey, Condition],
        drawn: frozenset[tuple[str, ArticleKey]],
    ) -> None:
        counts = self.by_server.setdefault(name, ServerCounts())
        for key, condition in found.items():
            counts.checked += 1
            counts.missing += condition is Condition.MISSING
            counts.corrupt += condition is Condition.CORRUPT
            counts.unknown += condition is Condition.UNKNOWN
            # Who gave no answer says nothing, neither of this article nor of the others.
            if (name, key) in drawn and condition is not Condition.UNKNOWN:
                counts.sampled += 1
                self.sampled += 1
                counts.good += condition is Condition.GOOD
                self.good += condition is Condition.GOOD

    def _count_holders(self, checked: Checked) -> None:
        holders: dict[int, set[str]] = {}
        for name, found in (*checked.asked.items(), *checked.elsewhere.items()):
            for key, condition in found.items():
                if condition is not Condition.UNKNOWN:
                    servers = holders.setdefault(key.segment_row, set())
                    if condition is Condition.GOOD:
                        servers.add(name)
        for names in holders.values():
            self.backbones[len(names)] = self.backbones.get(len(names), 0) + 1
