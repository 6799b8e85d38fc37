"""What the posting of an article means for parity and for readers: noted in the same transaction."""

from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.rows import PostedArticle
from usenetsyncd.catalogue.statements import insert
from usenetsyncd.model import ArticleKind

_OVERRIDDEN = frozenset({ArticleKind.DATA, ArticleKind.INDEX, ArticleKind.PARITY})

# A stripe is posted when the first copy of each of its parity segments is.
POSTED_STRIPE = (
    "UPDATE stripe SET state = 1 WHERE state = 0 AND id IN (SELECT stripe_id FROM stripe_member WHERE segment_id = ?) "
    "AND NOT EXISTS (SELECT 1 FROM stripe_member m JOIN article a ON a.segment_id = m.segment_id AND a.copy = 0 "
    "WHERE m.stripe_id = stripe.id AND m.position >= stripe.data AND a.state <> 0)"
)


class Noted:
    """Gathers what one batch of posted articles changes. ``write`` once at its end."""

    def __init__(self, database: Connection) -> None:
        self._database = database
        self._tracked: dict[int, bool] = {}
        self._unprotected: list[int] = []
        self._parity: list[int] = []
        self._overrides: list[Any] = []

    def posted(self, folder_id: int, kind: int, article: PostedArticle) -> None:
        """An article that has just got the state POSTED."""
        if article.copy == 0 and kind == ArticleKind.DATA and self._is_tracked(folder_id):
            self._unprotected += (folder_id, article.segment_row)
        elif article.copy == 0 and kind == ArticleKind.PARITY:
            self._parity.append(article.segment_row)
        if article.message_id is not None and kind in _OVERRIDDEN:
            self._overrides += (
                article.segment_row,
                article.copy,
                article.generation,
                folder_id,
                article.message_id,
            )

    def write(self) -> None:
        """Into the tables."""
        for at in range(0, len(self._unprotected), 2):
            folder_id, segment_row = self._unprotected[at : at + 2]
            self._database.run(
                "INSERT INTO unprotected (folder_id, segment_id) SELECT ?, ? WHERE NOT EXISTS "
                "(SELECT 1 FROM stripe_member WHERE segment_id = ?) ON CONFLICT DO NOTHING",
                (folder_id, segment_row, segment_row),
            )
        for segment_row in self._parity:
            self._database.run(POSTED_STRIPE, (segment_row,))
        insert(
            self._database,
            "INSERT INTO override (segment_id, copy, generation, folder_id, message_id, state) VALUES",
            5,
            self._overrides,
            "ON CONFLICT (segment_id, copy, generation) DO UPDATE SET message_id = excluded.message_id, "
            "state = 0, version = NULL",
            group="(?,?,?,?,?,0)",
        )

    def _is_tracked(self, folder_id: int) -> bool:
        known = self._tracked.get(folder_id)
        if known is None:
            row = self._database.run(
                "SELECT 1 FROM folder WHERE id = ? AND parity IS NOT NULL", (folder_id,)
            ).fetchone()
            known = self._tracked[folder_id] = row is not None
        return known


def take(database: Connection, table: str, folder_id: int, version: int) -> int:
    """What is posted and in no version yet goes into this one; how many rows."""
    posted = {"stripe": 1, "override": 0}[table]
    return int(
        database.run(
            f"UPDATE {table} SET version = ? WHERE folder_id = ? AND state = ? AND version IS NULL",  # noqa: S608
            (version, folder_id, posted),
        ).rowcount
    )


def published(database: Connection, folder_id: int, version: int) -> None:
    """The head of this version is on a server."""
    for table, before in (("stripe", 1), ("override", 0)):
        database.run(
            f"UPDATE {table} SET state = 2 WHERE folder_id = ? AND state = ? AND version = ?",  # noqa: S608
            (folder_id, before, version),
        )


def given_up(database: Connection, folder_id: int, version: int) -> None:
    """The version is not published: what it took waits for the next."""
    for table, before in (("stripe", 1), ("override", 0)):
        database.run(
            f"UPDATE {table} SET version = NULL WHERE folder_id = ? AND state = ? AND version = ?",  # noqa: S608
            (folder_id, before, version),
        )
