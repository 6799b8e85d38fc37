"""Choosing the articles to post next."""

import heapq
from collections.abc import Collection, Iterator
from itertools import islice

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Row
from usenetsyncd.catalogue.rows import ArticleState, LeasedArticle
from usenetsyncd.catalogue.statements import Tallies
from usenetsyncd.model import ArticleKind, Priority, SegmentId

_QUEUED = int(ArticleState.QUEUED)
_DOUBTFUL = int(ArticleState.DOUBTFUL)

_COLUMNS = """a.priority, a.segment_id, a.copy, a.folder_id, s.kind, s.seg_id, s.length, a.generation, s.epoch,
    a.attempts, v.name FROM article a JOIN segment s ON s.id = a.segment_id
    LEFT JOIN server v ON v.id = a.server_id"""


def lease(
    database: Connection,
    limit: int,
    folders: Collection[int] | None,
    kinds: Collection[ArticleKind] | None,
    now: float,
) -> list[LeasedArticle]:
    """Mark up to ``limit`` articles as leased and return them."""
    allowed = [one for one in _folders_with_work(database) if folders is None or one[0] in folders]
    chosen = _choose(database, allowed, _DOUBTFUL, kinds, now, limit)
    doubtful = len(chosen)
    if len(chosen) < limit:
        chosen += _choose(database, allowed, _QUEUED, kinds, now, limit - len(chosen))
    tallies = Tallies()
    leased = []
    for at, row in enumerate(chosen):
        before, after = (
            (ArticleState.DOUBTFUL, ArticleState.ASKING)
            if at < doubtful
            else (ArticleState.QUEUED, ArticleState.SENDING)
        )
        database.run(
            "UPDATE article SET state = ?, attempts = attempts + 1 WHERE segment_id = ? AND copy = ?",
            (int(after), row[1], row[2]),
        )
        tallies.move(row[3], before, after, row[6])
        leased.append(_leased(row, at < doubtful))
    tallies.write(database)
    return leased


def _folders_with_work(database: Connection) -> list[tuple[int, bool]]:
    """(folder, whether it is held). Of a held one only what was posted before is posted again: that adds nothing to it."""
    rows = database.run(
        "SELECT f.id, f.held FROM folder f WHERE f.paused = 0 AND f.removed_at IS NULL AND EXISTS "
        "(SELECT 1 FROM tally t WHERE t.folder_id = f.id AND t.state IN (?, ?) AND t.articles > 0)",
        (_QUEUED, _DOUBTFUL),
    ).fetchall()
    return [(row[0], bool(row[1])) for row in rows]


def _choose(
    database: Connection,
    folders: Collection[tuple[int, bool]],
    state: int,
    kinds: Collection[ArticleKind] | None,
    now: float,
    limit: int,
) -> list[Row]:
    """The first rows in one state by (priority, segment), over folders, without reading whole queues.

    Each folder gives two sorted streams, never put off and put off until now; a heap takes from their fronts.
    """
    streams: list[Iterator[Row]] = []
    for folder, held in folders:
        which = "AND a.generation > 0 " if held else ""
        fresh, late = f"a.not_before = 0 {which}", f"a.not_before > 0 AND a.not_before <= ? {which}"
        streams.append(_stream(database, folder, state, kinds, fresh, (), limit, "a.priority, "))
        # Those put off come by the time when they were due; sorted again, as they are few.
        due = _stream(database, folder, state, kinds, late, (now,), limit, "")
        streams.append(iter(sorted(due, key=_order)))
    return list(islice(heapq.merge(*streams, key=_order), limit))


def _stream(
    database: Connection,
    folder: int,
    state: int,
    kinds: Collection[ArticleKind] | None,
    when: str,
    params: tuple[float, ...],
    limit: int,
    first: str,
) -> Iterator[Row]:
    wanted = "" if kinds is None else f"AND s.kind IN ({','.join(str(int(kind)) for kind in kinds)})"
    by = "a.priority, a.segment_id, a.copy" if first else "a.not_before"
    rows: Iterator[Row] = iter(
        database.run(
            f"SELECT {_COLUMNS} WHERE a.state > 0 AND a.state = ? AND a.folder_id = ? AND {when} {wanted} "
            f"ORDER BY {by} LIMIT ?",
            (state, folder, *params, limit),
        )
    )
    return rows


def _order(row: Row) -> tuple[int, int, int]:
    return row[0], row[1], row[2]


def _leased(row: Row, doubtful: bool) -> LeasedArticle:
    return LeasedArticle(
        segment_row=row[1],
        folder_id=row[3],
        kind=ArticleKind(row[4]),
        seg_id=SegmentId(row[5]),
        length=row[6],
        copy=row[2],
        generation=row[7],
        epoch=row[8],
        attempts=row[9] + 1,
        doubtful=doubtful,
        priority=Priority(row[0]),
        server=row[10],
    )
