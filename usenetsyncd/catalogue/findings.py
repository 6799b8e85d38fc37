"""Findings: articles that a server has lost or spoilt. What is as it should be has no row.

A finding says something about an article ON a server, at the generation that was asked for. It goes when the article is
seen there again, or when the newer generation that took its place is.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.outcomes import server_id
from usenetsyncd.catalogue.rows import ArticleKey, ArticleState
from usenetsyncd.catalogue.statements import insert, select_in
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.model import ArticleKind, SegmentId

ANY_SERVER = ""
"""Name of a server in a finding that is true of every reading one: it is not known who took the article."""


class Damage(IntEnum):
    """What is wrong. The numbers are in the catalogue."""

    MISSING = 1
    CORRUPT = 2
    ABSENT = 3  # nobody expected it there; asked because it is missing where it should be


class StoredArticle(NamedTuple):
    """An article that was posted. server: on which one, "" where that is not known.

    message_id: the server's, where it differs from what the address makes.
    """

    segment_row: int
    copy: int
    generation: int
    folder_id: int
    kind: ArticleKind
    seg_id: SegmentId
    epoch: int
    length: int
    server: str
    posted_at: float
    message_id: str | None

    @property
    def key(self) -> ArticleKey:
        """Which article, whatever its generation."""
        return ArticleKey(self.segment_row, self.copy)


class Seen(NamedTuple):
    """What a server was seen to have of an article. damage None: it is there, and as it should be."""

    segment_row: int
    copy: int
    generation: int
    server: str
    damage: Damage | None


class Finding(NamedTuple):
    """Something wrong with an article on a server. reposted_at: since then a newer generation waits for its check."""

    segment_row: int
    copy: int
    server: str
    damage: Damage
    generation: int
    since: float
    checked_at: float
    reposted_at: float | None


@dataclass(frozen=True, slots=True)
class DamagedArticle:
    """An article with all that was found on servers, and how it stands in the queue."""

    article: StoredArticle
    state: ArticleState
    findings: tuple[Finding, ...]


class FindingCounts(NamedTuple):
    """Articles of a folder that a server has lost, has spoilt, and that wait for the check of a newer generation."""

    missing: int
    corrupt: int
    reposted: int


class StripeMembers(NamedTuple):
    """Segments of which any ``data`` give all the others."""

    data: int
    segment_rows: set[int]


ARTICLE_COLUMNS = """a.segment_id, a.copy, a.generation, a.folder_id, s.kind, s.seg_id, s.epoch, s.length,
    coalesce(v.name, ''), coalesce(a.posted_at, 0), a.message_id"""
ARTICLE_WIDTH = 11
OF_ARTICLE = (
    """FROM article a JOIN segment s ON s.id = a.segment_id LEFT JOIN server v ON v.id = a.server_id"""
)

_FINDING = """f.segment_id, f.copy, w.name, f.damage, f.generation, f.since, f.checked_at, f.reposted_at
    FROM finding f JOIN server w ON w.id = f.server_id"""

_STRIPES = """SELECT m.stripe_id, t.data, o.segment_id FROM stripe_member m JOIN stripe t ON t.id = m.stripe_id
    JOIN stripe_member o ON o.stripe_id = m.stripe_id WHERE m.segment_id IN"""

Found = dict[ArticleKey, list[Finding]]


class Findings:
    """The table of findings. Its size is that of the damage, not of the folder."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def note(self, folder_id: int, seen: Sequence[Seen]) -> "Future[None]":
        """Remember what is wrong, forget what is right again, in one transaction.

        A damage that was known keeps since when, as long as it is about the same generation.
        """
        at = self._clock.now()
        return self._writer.submit(lambda database: note(database, folder_id, seen, at))

    def between(self, folder_id: int, first: int, last: int) -> Found:
        """Findings of a folder by article, for segment rows ``first`` to ``last``."""
        rows = self._readers.fetch(
            f"SELECT {_FINDING} WHERE f.folder_id = ? AND f.segment_id BETWEEN ? AND ?",
            (folder_id, first, last),
        )
        return _by_article(rows)

    def of(self, segment_rows: Collection[int]) -> Found:
        """Findings of some segments by article."""

        def ask(database: Connection) -> Found:
            return _by_article(
                select_in(database, f"SELECT {_FINDING} WHERE f.segment_id IN", (), segment_rows)
            )

        return self._readers.query(ask)

    def segments(self, folder_id: int, after: int = 0, limit: int = 1_000) -> list[int]:
        """Rows of segments that have any finding, ascending."""
        rows = self._readers.fetch(
            "SELECT DISTINCT segment_id FROM finding WHERE folder_id = ? AND segment_id > ? "
            "ORDER BY segment_id LIMIT ?",
            (folder_id, after, limit),
        )
        return [row[0] for row in rows]

    def damaged(
        self, folder_id: int, after: tuple[int, int] = (0, -1), limit: int = 1_000
    ) -> list[DamagedArticle]:
        """Articles with findings, ascending by key, beginning behind ``after``."""

        def ask(database: Connection) -> list[DamagedArticle]:
            rows = database.run(
                f"SELECT {ARTICLE_COLUMNS}, a.state FROM "  # noqa: S608
                "(SELECT DISTINCT segment_id, copy FROM finding WHERE folder_id = ? AND segment_id >= ? "
                "AND (segment_id, copy) > (?, ?) ORDER BY segment_id, copy LIMIT ?) d "
                "JOIN article a ON a.segment_id = d.segment_id AND a.copy = d.copy "
                "JOIN segment s ON s.id = a.segment_id LEFT JOIN server v ON v.id = a.server_id "
                "ORDER BY a.segment_id, a.copy",
                (folder_id, after[0], *after, limit),
            ).fetchall()
            found = _by_article(
                select_in(
                    database, f"SELECT {_FINDING} WHERE f.segment_id IN", (), sorted({row[0] for row in rows})
                )
            )
            return [_damaged(row, found) for row in rows]

        return self._readers.query(ask)

    def articles_of(self, segment_rows: Collection[int]) -> dict[int, list[DamagedArticle]]:
        """Every article of some segments by row, also those that nothing is wrong with."""

        def ask(database: Connection) -> dict[int, list[DamagedArticle]]:
            found = _by_article(
                select_in(database, f"SELECT {_FINDING} WHERE f.segment_id IN", (), segment_rows)
            )
            articles: dict[int, list[DamagedArticle]] = defaultdict(list)
            wanted = f"SELECT {ARTICLE_COLUMNS}, a.state {OF_ARTICLE} WHERE a.segment_id IN"
            for row in select_in(database, wanted, (), segment_rows):
                articles[row[0]].append(_damaged(row, found))
            return articles

        return self._readers.query(ask)

    def stripes_of(self, segment_rows: Collection[int]) -> dict[int, StripeMembers]:
        """The stripes that any of these segments belong to, by number."""

        def ask(database: Connection) -> dict[int, StripeMembers]:
            stripes: dict[int, StripeMembers] = {}
            for stripe, data, member in select_in(database, _STRIPES, (), segment_rows):
                stripes.setdefault(stripe, StripeMembers(data, set())).segment_rows.add(member)
            return stripes

        return self._readers.query(ask)

    def reposted(
        self, folder_id: int, before: float, after: tuple[int, int] = (0, -1), limit: int = 1_000
    ) -> list[StoredArticle]:
        """Articles whose newer generation was posted before a time, and waits for its first check."""
        rows = self._readers.fetch(
            f"SELECT {ARTICLE_COLUMNS} FROM "  # noqa: S608
            "(SELECT DISTINCT segment_id, copy FROM finding WHERE folder_id = ? AND segment_id >= ? "
            "AND (segment_id, copy) > (?, ?) AND reposted_at <= ? ORDER BY segment_id, copy LIMIT ?) d "
            "JOIN article a ON a.segment_id = d.segment_id AND a.copy = d.copy AND a.state = 0 "
            "JOIN segment s ON s.id = a.segment_id LEFT JOIN server v ON v.id = a.server_id "
            "ORDER BY a.segment_id, a.copy",
            (folder_id, after[0], *after, before, limit),
        )
        return [stored(row) for row in rows]

    def unposted(self, folder_id: int) -> tuple[int, int]:
        """Damaged articles that are in the queue to be posted again, and those for which that has failed."""
        row = self._readers.fetch_one(
            "SELECT coalesce(sum(a.state NOT IN (0, 4, 5)), 0), coalesce(sum(a.state = 4), 0) FROM "
            "(SELECT DISTINCT segment_id, copy FROM finding WHERE folder_id = ?) d "
            "JOIN article a ON a.segment_id = d.segment_id AND a.copy = d.copy",
            (folder_id,),
        )
        return (0, 0) if row is None else (row[0], row[1])

    def counts(self, folder_id: int) -> dict[str, FindingCounts]:
        """By server, in one pass over the folder's findings."""
        rows = self._readers.fetch(
            "SELECT w.name, sum(f.damage = 1 AND f.reposted_at IS NULL), "
            "sum(f.damage = 2 AND f.reposted_at IS NULL), sum(f.damage < 3 AND f.reposted_at IS NOT NULL) "
            "FROM finding f JOIN server w ON w.id = f.server_id WHERE f.folder_id = ? GROUP BY w.name",
            (folder_id,),
        )
        return {row[0]: FindingCounts(*row[1:]) for row in rows}


def note(database: Connection, folder_id: int, seen: Iterable[Seen], at: float) -> None:
    """``Findings.note`` inside an intent of the caller's."""
    servers: dict[str, int] = {}
    good: list[tuple[int, int, int, int]] = []
    params: list[int | float] = []
    for one in seen:
        if one.server not in servers:
            servers[one.server] = server_id(database, one.server)
        number = servers[one.server]
        if one.damage is None:
            good.append((one.segment_row, one.copy, number, one.generation))
        else:
            params += (one.segment_row, one.copy, number, folder_id, int(one.damage), one.generation, at, at)
    for key in good:
        database.run(
            "DELETE FROM finding WHERE segment_id = ? AND copy = ? AND server_id = ? AND generation <= ?", key
        )
    insert(
        database,
        "INSERT INTO finding (segment_id, copy, server_id, folder_id, damage, generation, since, checked_at) VALUES",
        8,
        params,
        # What was found of an older generation than the one last seen is no news.
        "ON CONFLICT (segment_id, copy, server_id) DO UPDATE SET damage = excluded.damage, "
        "since = CASE WHEN generation = excluded.generation THEN since ELSE excluded.since END, "
        "generation = excluded.generation, checked_at = excluded.checked_at, reposted_at = NULL "
        "WHERE excluded.generation >= generation",
    )


def stored(row: Row) -> StoredArticle:
    """From the values of ``ARTICLE_COLUMNS``."""
    return StoredArticle(
        row[0], row[1], row[2], row[3], ArticleKind(row[4]), SegmentId(row[5]), *row[6:ARTICLE_WIDTH]
    )


def _damaged(row: Row, found: Mapping[ArticleKey, list[Finding]]) -> DamagedArticle:
    article = stored(row)
    return DamagedArticle(article, ArticleState(row[ARTICLE_WIDTH]), tuple(found.get(article.key, ())))


def _by_article(rows: Iterable[Row]) -> Found:
    found: Found = defaultdict(list)
    for row in rows:
        finding = Finding(row[0], row[1], row[2], Damage(row[3]), *row[4:8])
        found[ArticleKey(finding.segment_row, finding.copy)].append(finding)
    return found
