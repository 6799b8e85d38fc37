"""Multi-row SQL, built once. A statement per row would hand the interpreter's lock back and forth per row."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from usenetsyncd.catalogue.connection import Connection

# Few sizes, so that SQLite keeps each prepared; the last is for what is left over.
_SIZES = (256, 32, 4, 1)


@lru_cache(maxsize=256)
def _sql(head: str, group: str, tail: str, count: int) -> str:
    return f"{head} {','.join((group,) * count)} {tail}"


@lru_cache(maxsize=64)
def placeholders(width: int) -> str:
    """``(?,?,...)``"""
    return "(" + ",".join("?" * width) + ")"


def insert(
    database: Connection,
    head: str,
    width: int,
    params: Sequence[Any],
    tail: str = "",
    group: str | None = None,
) -> None:
    """Run ``head (?,..),(?,..).. tail`` over rows of ``width`` values laid end to end in ``params``.

    group: one row's text where it is more than ``width`` placeholders.
    """
    group = group or placeholders(width)
    at, end = 0, len(params)
    for size in _SIZES:
        step = size * width
        if end - at < step:
            continue
        statement = _sql(head, group, tail, size)
        while end - at >= step:
            database.run(statement, params[at : at + step])
            at += step


def select_in(
    database: Connection, head: str, before: Sequence[Any], keys: Iterable[Any], tail: str = ""
) -> Iterator[tuple[Any, ...]]:
    """Rows of ``head (?,?,...) tail`` with the keys filled in, some hundred at a time.

    ``before``: values for placeholders that stand in ``head``.
    """
    wanted = list(keys)
    for at in range(0, len(wanted), _SIZES[0]):
        part = wanted[at : at + _SIZES[0]]
        size = 32 if len(part) <= 32 else _SIZES[0]
        # Filled up with the last key: an IN list counts it once, and the statement stays the same.
        part.extend(part[-1:] * (size - len(part)))
        yield from database.run(f"{head} {placeholders(size)} {tail}", (*before, *part)).fetchall()


def change_in(
    database: Connection, head: str, before: Sequence[Any], keys: Iterable[Any], tail: str = ""
) -> None:
    """As ``select_in``, for UPDATE and DELETE."""
    for _ in select_in(database, head, before, keys, tail):
        pass


class RowIds:
    """Row ids handed out by the writer itself, so that rows which refer to each other go out in bulk.

    Only used inside intents. A rolled back intent leaves a gap, nothing else.
    """

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, database: Connection, table: str, count: int = 1) -> int:
        """The first of ``count`` fresh ids in a row."""
        first = self._next.get(table)
        if first is None:
            first = database.run(f'SELECT coalesce(max(id), 0) + 1 FROM "{table}"').fetchone()[0]  # noqa: S608
        self._next[table] = first + count
        return int(first)


class Tallies:
    """Differences to the tally table, gathered during an intent and written once at its end."""

    def __init__(self) -> None:
        self._articles: dict[tuple[int, int], int] = {}
        self._bytes: dict[tuple[int, int], int] = {}

    def move(
        self, folder_id: int, before: int | None, after: int | None, length: int, count: int = 1
    ) -> None:
        """``count`` articles of ``length`` bytes in all leave state ``before`` and enter ``after``."""
        for state, sign in ((before, -1), (after, 1)):
            if state is not None:
                key = (folder_id, int(state))
                self._articles[key] = self._articles.get(key, 0) + sign * count
                self._bytes[key] = self._bytes.get(key, 0) + sign * length

    def write(self, database: Connection) -> None:
        """Add the differences to the table."""
        params: list[Any] = []
        for (folder_id, state), articles in self._articles.items():
            size = self._bytes[folder_id, state]
            if articles or size:
                params += (folder_id, state, articles, size)
        insert(
            database,
            "INSERT INTO tally (folder_id, state, articles, bytes) VALUES",
            4,
            params,
            "ON CONFLICT (folder_id, state) DO UPDATE SET articles = articles + excluded.articles, "
            "bytes = bytes + excluded.bytes",
        )
