"""The queue of articles: leased, posted, put off, failed, given up."""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future

from usenetsyncd.catalogue import leasing, outcomes
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, encode_cursor, page_of
from usenetsyncd.catalogue.rows import (
    ArticleKey,
    ArticleState,
    LeasedArticle,
    PostedArticle,
    QueueCounts,
    QueuedArticle,
)
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.model import ArticleKind, Priority, SegmentId

__all__ = [
    "ArticleKey",
    "ArticleState",
    "LeasedArticle",
    "PostedArticle",
    "Queue",
    "QueueCounts",
    "QueuedArticle",
]

_LISTED = """SELECT a.folder_id, a.not_before, a.priority, a.segment_id, a.copy, s.kind, s.seg_id, s.length,
    a.generation, a.state, a.attempts, v.name, a.posted_at, a.message_id, f.reason
    FROM article a JOIN segment s ON s.id = a.segment_id LEFT JOIN server v ON v.id = a.server_id
    LEFT JOIN failure f ON f.segment_id = a.segment_id AND f.copy = a.copy"""

POSTED_STRETCH = 50_000

Keys = Iterable[tuple[int, int]]
"""(segment row, copy), such as ArticleKey."""


class Queue:
    """Who posts what, and how it ended. Every change returns a future."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def lease(
        self, limit: int, folders: Collection[int] | None = None, kinds: Collection[ArticleKind] | None = None
    ) -> "Future[list[LeasedArticle]]":
        """Up to ``limit`` articles, doubtful ones first, then by priority and age; nobody else gets them.

        The future resolves when the lease survives power loss, so the caller may post at once. Nothing of paused or
        removed folders, nothing put off until later, of held folders only what was posted before and is posted again.
        ``attempts`` counts this one: 1 for the first.
        """
        now = self._clock.now()
        return self._writer.submit(
            lambda database: leasing.lease(database, limit, folders, kinds, now), durable=True
        )

    def posted(self, articles: Sequence[PostedArticle]) -> "Future[int]":
        """These are on a server. Returns how many were not known to be. May release the head of a version."""
        return self._writer.submit(lambda database: outcomes.posted(database, articles))

    def retry(
        self,
        segment_row: int,
        copy: int,
        not_before: float,
        doubtful: bool = False,
        count_attempt: bool = True,
        server: str | None = None,
    ) -> "Future[bool]":
        """Back into the queue, not to be leased before ``not_before``. False when it is not leased.

        doubtful: it may be on ``server``; the next lease says so. count_attempt: False for a try that was none.
        """
        state = ArticleState.DOUBTFUL if doubtful else ArticleState.QUEUED
        return self._writer.submit(
            lambda database: outcomes.put_back(
                database, segment_row, copy, state, not_before, count_attempt, server
            )
        )

    def next_generation(self, segment_row: int, copy: int) -> "Future[int]":
        """Queue it under a new name, as its present one cannot be used (again). Returns the generation."""
        return self._writer.submit(
            lambda database: outcomes.next_generation(database, segment_row, copy), durable=True
        )

    def repost(self, keys: Keys) -> "Future[int]":
        """Posted or failed articles are queued again, each under a new name, before all that is not urgent.

        Resolves when the new generations survive power loss: none is ever used twice. Returns how many were queued;
        those that are in the queue already stay as they are. Findings about them stay until the new ones are checked.
        """
        given = [(key[0], key[1]) for key in keys]
        return self._writer.submit(lambda database: outcomes.repost(database, given), durable=True)

    def failed(self, segment_row: int, copy: int, reason: str) -> "Future[None]":
        """Every attempt is used up: it stays until somebody asks for a retry."""
        at = self._clock.now()
        return self._writer.submit(lambda database: outcomes.fail(database, segment_row, copy, reason, at))

    def give_back(self, keys: Keys) -> "Future[int]":
        """Leased and never tried: back as it was. Returns how many were leased."""
        given = [(key[0], key[1]) for key in keys]
        return self._writer.submit(lambda database: outcomes.give_back(database, given))

    def return_leases(self) -> int:
        """At the start: whatever was leased when the last process ended is doubtful. Waits for the commit."""
        return self._writer.run(outcomes.return_leases)

    def abandon(self, segment_row: int, copy: int | None = None) -> "Future[int]":
        """The source changed: never post it. The next scan reads its files again; their changes wait for that.

        copy: the one that the caller has leased; copies that others have leased are left to them. Without it, every
        copy is given up, leased or not.
        Where a copy is posted already, the content is safe and the files keep it. Returns how many files forget it.
        """
        return self._writer.submit(
            lambda database: outcomes.abandon(database, segment_row, range(256) if copy is None else (copy,))
        )

    def retry_failed(self, folder_id: int | None = None, keys: Keys | None = None) -> "Future[int]":
        """Failed articles of a folder, of all, or just these, back into the queue with fresh attempts."""
        given = None if keys is None else [(key[0], key[1]) for key in keys]
        return self._writer.submit(lambda database: outcomes.retry_failed(database, folder_id, given))

    def move(
        self, priority: Priority, folder_id: int | None = None, keys: Keys | None = None
    ) -> "Future[int]":
        """Another priority for the queued articles of a folder, or just these."""
        given = None if keys is None else [(key[0], key[1]) for key in keys]
        return self._writer.submit(lambda database: outcomes.move(database, priority, folder_id, given))

    def cancel(self, folder_id: int | None = None, keys: Keys | None = None) -> "Future[int]":
        """Queued articles of a folder, or just these, become failed with the reason "cancelled"."""
        given = None if keys is None else [(key[0], key[1]) for key in keys]
        at = self._clock.now()
        return self._writer.submit(lambda database: outcomes.cancel(database, folder_id, given, at))

    def counts(self, folder_id: int | None = None) -> QueueCounts:
        """Articles and bytes by state; without a folder, of all that are not removed. Counts nothing: O(folders)."""
        if folder_id is None:
            where, params = "folder_id IN (SELECT id FROM folder WHERE removed_at IS NULL)", ()
        else:
            where, params = "folder_id = ?", (folder_id,)  # type: ignore[assignment]
        rows = self._readers.fetch(
            f"SELECT state, sum(articles), sum(bytes) FROM tally WHERE {where} GROUP BY state",  # noqa: S608
            params,
        )
        counts = dict.fromkeys(ArticleState, 0)
        sizes = dict.fromkeys(ArticleState, 0)
        for state, articles, size in rows:
            counts[ArticleState(state)] = articles
            sizes[ArticleState(state)] = size
        return QueueCounts(counts, sizes)

    def next_due(self) -> float | None:
        """When the first article that was put off may be leased, or None."""
        row = self._readers.fetch_one(
            "SELECT min(due) FROM (SELECT (SELECT min(not_before) FROM article a WHERE a.state > 0 AND a.state = s.state "
            "AND a.folder_id = f.id AND a.not_before > 0) AS due FROM folder f, (SELECT 1 AS state UNION ALL SELECT 3) s "
            "WHERE f.removed_at IS NULL AND f.paused = 0 AND f.held = 0)"
        )
        return None if row is None else row[0]

    def page(
        self,
        after: str | None = None,
        limit: int = 100,
        state: ArticleState = ArticleState.QUEUED,
        folder_id: int | None = None,
    ) -> Page[QueuedArticle]:
        """Articles in one state; in the order of the queue within each folder, posted ones by segment.

        A page of posted articles may hold fewer than ``limit``, even none, and still have a next one.
        """
        limit = bounded(limit)
        if state is ArticleState.POSTED:
            return self._posted_page(after, limit, folder_id)
        kinds = (int, float, int, int, int)
        key = decode_cursor(after, kinds) if after else (0, -1.0, -1, -1, -1)
        where, params = ("AND a.folder_id = ?", [folder_id]) if folder_id is not None else ("", [])
        rows = self._readers.fetch(
            f"{_LISTED} WHERE a.state > 0 AND a.state = ? {where} "
            "AND (a.folder_id, a.not_before, a.priority, a.segment_id, a.copy) > (?, ?, ?, ?, ?) "
            "ORDER BY a.folder_id, a.not_before, a.priority, a.segment_id, a.copy LIMIT ?",
            (int(state), *params, *key, limit + 1),
        )
        return page_of(rows, limit, _queued, lambda row: row[:5])

    def _posted_page(self, after: str | None, limit: int, folder_id: int | None) -> Page[QueuedArticle]:
        """No index leads to posted articles, so a page looks at a bounded stretch and may be short."""
        key = decode_cursor(after, (int, int)) if after else (0, -1)
        where, params = ("AND a.folder_id = ?", (folder_id,)) if folder_id is not None else ("", ())
        with self._readers.lend() as database:
            end = database.run(
                "SELECT segment_id, copy FROM article WHERE (segment_id, copy) > (?, ?) "
                "ORDER BY segment_id, copy LIMIT 1 OFFSET ?",
                (*key, POSTED_STRETCH - 1),
            ).fetchone()
            rows = database.run(
                f"{_LISTED} WHERE a.state = 0 {where} AND (a.segment_id, a.copy) > (?, ?) "
                "AND (a.segment_id, a.copy) <= (?, ?) ORDER BY a.segment_id, a.copy LIMIT ?",
                (*params, *key, *(end or (2**62, 0)), limit + 1),
            ).fetchall()
        page = page_of(rows, limit, _queued, lambda row: row[3:5])
        if page.next is None and end is not None:
            return Page(page.rows, encode_cursor(end))
        return page


def _queued(row: Row) -> QueuedArticle:
    return QueuedArticle(
        segment_row=row[3],
        copy=row[4],
        folder_id=row[0],
        kind=ArticleKind(row[5]),
        seg_id=SegmentId(row[6]),
        length=row[7],
        generation=row[8],
        state=ArticleState(row[9]),
        priority=Priority(row[2]),
        attempts=row[10],
        not_before=row[1],
        server=row[11],
        posted_at=row[12],
        message_id=row[13],
        reason=row[14],
    )
