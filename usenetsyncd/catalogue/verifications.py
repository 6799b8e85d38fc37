"""Checks of a folder's articles: how far they are, so that they go on where they were, and what they have found."""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from usenetsyncd.catalogue import findings
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.findings import (
    ARTICLE_COLUMNS,
    ARTICLE_WIDTH,
    OF_ARTICLE,
    Seen,
    StoredArticle,
    stored,
)
from usenetsyncd.catalogue.retirement import NOT_RETIRED
from usenetsyncd.catalogue.rows import PENDING_STATES, ArticleKey, ArticleState
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound

# Articles of all folders stand in one row; a query looks at so many at most, so that it keeps no log from being reused.
STRETCH = 50_000
KEPT = 50
START = ArticleKey(0, -1)

_SELECT = """SELECT id, folder_id, kind, server, state, started_at, finished_at, cursor_segment, cursor_copy,
    checked, missing, corrupt, unknown, sampled, detail FROM verification"""


class CheckKind(StrEnum):
    """What a check goes over."""

    AVAILABILITY = "availability"  # every article that was posted, from the first to the last
    PROPAGATION = "propagation"  # articles some minutes after they were posted; it never ends


class CheckState(StrEnum):
    """Whether a check goes on. One that was interrupted is running until somebody takes it up."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class VerificationRow:
    """One check. cursor: the last article that was asked for. detail: what the caller keeps there, plain JSON.

    checked, missing, corrupt, unknown count articles; sampled: bodies that were fetched or found to be gone.
    """

    id: int
    folder_id: int
    kind: CheckKind
    server: str | None
    state: CheckState
    started_at: float
    finished_at: float | None
    cursor: ArticleKey
    checked: int
    missing: int
    corrupt: int
    unknown: int
    sampled: int
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Advance:
    """A stretch of articles that was checked: the new cursor, the figures up to there, and what was seen."""

    cursor: ArticleKey
    checked: int
    missing: int
    corrupt: int
    unknown: int
    sampled: int
    detail: dict[str, Any]
    seen: Sequence[Seen] = ()


class Verifications:
    """The table of checks, and the articles that they go over."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def begin(
        self, folder_id: int, kind: CheckKind, server: str | None = None, mode: str = ""
    ) -> VerificationRow:
        """The check of this folder and kind that is not done yet, else a new one; waits for the commit.

        mode: kept in ``detail["mode"]``; a check of another mode is no continuation, it is cancelled.
        """
        at = self._clock.now()

        def intent(database: Connection) -> int:
            running = database.run(
                f"{_SELECT} WHERE folder_id = ? AND kind = ? AND state = 'running' ORDER BY id DESC",
                (folder_id, kind.value),
            ).fetchall()
            for row in running:
                if row[3] == server and json.loads(row[14]).get("mode", "") == mode:
                    return int(row[0])
                database.run("UPDATE verification SET state = 'cancelled' WHERE id = ?", (row[0],))
            _prune(database, folder_id, kind)
            cursor = database.run(
                "INSERT INTO verification (folder_id, kind, server, state, started_at, cursor_segment, cursor_copy, "
                "checked, missing, corrupt, unknown, sampled, detail) "
                "VALUES (?, ?, ?, 'running', ?, ?, ?, 0, 0, 0, 0, 0, ?)",
                (folder_id, kind.value, server, at, *START, json.dumps({"mode": mode})),
            )
            return int(cursor.lastrowid or 0)

        return self.get(self._writer.run(intent))

    def advance(self, verification_id: int, to: Advance) -> "Future[None]":
        """Findings, figures and cursor in one transaction: after a crash they tell the same story."""
        at = self._clock.now()

        def intent(database: Connection) -> None:
            row = database.run(
                "UPDATE verification SET cursor_segment = ?, cursor_copy = ?, checked = ?, missing = ?, corrupt = ?, "
                "unknown = ?, sampled = ?, detail = ? WHERE id = ? RETURNING folder_id",
                (
                    *to.cursor,
                    to.checked,
                    to.missing,
                    to.corrupt,
                    to.unknown,
                    to.sampled,
                    json.dumps(to.detail),
                    verification_id,
                ),
            ).fetchone()
            if row is None:
                raise NotFound(f"there is no check {verification_id}")
            findings.note(database, row[0], to.seen, at)

        return self._writer.submit(intent)

    def finish(self, verification_id: int, stamp: bool = True) -> "Future[None]":
        """All was asked for. stamp: the folder counts as verified now."""
        at = self._clock.now()

        def intent(database: Connection) -> None:
            row = database.run(
                "UPDATE verification SET state = 'done', finished_at = ? WHERE id = ? RETURNING folder_id",
                (at, verification_id),
            ).fetchone()
            if row is None:
                raise NotFound(f"there is no check {verification_id}")
            if stamp:
                database.run("UPDATE folder SET verified_at = ? WHERE id = ?", (at, row[0]))

        return self._writer.submit(intent)

    def cancel(self, folder_id: int, kind: CheckKind = CheckKind.AVAILABILITY) -> "Future[None]":
        """Whatever check of this kind is not done will not go on: the next one begins at the first article."""

        def intent(database: Connection) -> None:
            database.run(
                "UPDATE verification SET state = 'cancelled' WHERE folder_id = ? AND kind = ? AND state = 'running'",
                (folder_id, kind.value),
            )

        return self._writer.submit(intent)

    def get(self, verification_id: int) -> VerificationRow:
        """Raises NotFound."""
        row = self._readers.fetch_one(f"{_SELECT} WHERE id = ?", (verification_id,))
        if row is None:
            raise NotFound(f"there is no check {verification_id}")
        return _verification(row)

    def latest(
        self,
        folder_id: int,
        kind: CheckKind = CheckKind.AVAILABILITY,
        state: CheckState | None = CheckState.DONE,
    ) -> VerificationRow | None:
        """The newest check of a kind on all servers, in this state or in any."""
        where, params = ("", ()) if state is None else ("AND state = ?", (state.value,))
        row = self._readers.fetch_one(
            f"{_SELECT} WHERE folder_id = ? AND kind = ? AND server IS NULL {where} ORDER BY id DESC LIMIT 1",
            (folder_id, kind.value, *params),
        )
        return None if row is None else _verification(row)

    def articles(
        self, folder_id: int, after: tuple[int, int] = START, limit: int = 1_000
    ) -> list[StoredArticle]:
        """Posted articles of a folder by (segment row, copy), behind ``after``; fewer than ``limit`` only at the end.

        Without those that only versions need which are not kept.
        """
        found: list[StoredArticle] = []
        at: tuple[int, int] | None = after
        while at is not None and len(found) < limit:
            rows, at = self._stretch(folder_id, at, limit - len(found))
            found += map(stored, rows)
        return found

    def _stretch(
        self, folder_id: int, after: tuple[int, int], limit: int
    ) -> tuple[list[Row], tuple[int, int] | None]:
        """Articles in a bounded part of the table, and where it ended (None: at the end of the table)."""
        with self._readers.lend() as database:
            end = database.run(
                "SELECT segment_id, copy FROM article WHERE (segment_id, copy) > (?, ?) "
                "ORDER BY segment_id, copy LIMIT 1 OFFSET ?",
                (*after, STRETCH - 1),
            ).fetchone()
            rows = database.run(
                f"SELECT {ARTICLE_COLUMNS} {OF_ARTICLE} WHERE (a.segment_id, a.copy) > (?, ?) "
                f"AND (a.segment_id, a.copy) <= (?, ?) AND a.state = 0 AND a.folder_id = ? AND {NOT_RETIRED} "
                "ORDER BY a.segment_id, a.copy LIMIT ?",
                (*after, *(end or (2**62, 0)), folder_id, limit),
            ).fetchall()
        return rows, end

    def settled(
        self, folder_id: int, after: tuple[int, int], before: float, limit: int = 1_000
    ) -> tuple[list[StoredArticle], ArticleKey]:
        """Articles posted before a time, up to the first that is still to be posted or was posted later.

        Returns them with the key behind which to go on; when that is ``after`` itself, there is nothing to do yet.
        Articles that were given up are passed over: should they be posted after all, a check of everything sees them.
        """
        with self._readers.lend() as database:
            rows = database.run(
                f"SELECT {ARTICLE_COLUMNS}, a.state FROM (SELECT * FROM article WHERE (segment_id, copy) > (?, ?) "  # noqa: S608
                "ORDER BY segment_id, copy LIMIT ?) a JOIN segment s ON s.id = a.segment_id "
                "LEFT JOIN server v ON v.id = a.server_id ORDER BY a.segment_id, a.copy",
                (*after, STRETCH),
            )
            found: list[StoredArticle] = []
            reached = ArticleKey(*after)
            for row in rows:
                article = stored(row)
                if article.folder_id == folder_id:
                    state = row[ARTICLE_WIDTH]
                    posted = state == ArticleState.POSTED
                    if state in PENDING_STATES or (posted and article.posted_at > before):
                        break
                    if posted:
                        if len(found) == limit:
                            break
                        found.append(article)
                reached = article.key
            rows.close()
        return found, reached


def _prune(database: Connection, folder_id: int, kind: CheckKind) -> None:
    database.run(
        "DELETE FROM verification WHERE folder_id = ? AND kind = ? AND state <> 'running' AND id <= "
        "(SELECT id FROM verification WHERE folder_id = ? AND kind = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (folder_id, kind.value, folder_id, kind.value, KEPT - 1),
    )


def _verification(row: Row) -> VerificationRow:
    return VerificationRow(
        id=row[0],
        folder_id=row[1],
        kind=CheckKind(row[2]),
        server=row[3],
        state=CheckState(row[4]),
        started_at=row[5],
        finished_at=row[6],
        cursor=ArticleKey(row[7], row[8]),
        checked=row[9],
        missing=row[10],
        corrupt=row[11],
        unknown=row[12],
        sampled=row[13],
        detail=json.loads(row[14]),
    )
