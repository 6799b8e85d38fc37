"""What became of articles: intents that move them from state to state and keep the tallies true."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.protection import Noted
from usenetsyncd.catalogue.rows import ArticleState, PostedArticle
from usenetsyncd.catalogue.statements import Tallies, change_in
from usenetsyncd.errors import NotFound
from usenetsyncd.model import ArticleKind, Priority

_POSTED = int(ArticleState.POSTED)
_LEASED = frozenset({ArticleState.SENDING, ArticleState.ASKING})
_POSTED_ONCE = frozenset({ArticleState.POSTED, ArticleState.FAILED})
# Two bytes in an address.
LAST_GENERATION = 0xFFFF
_Key = tuple[int, int]


def posted(database: Connection, articles: Sequence[PostedArticle]) -> int:
    """Record articles as posted; returns how many were not yet."""
    tallies = Tallies()
    servers: dict[str, int] = {}
    index_segments: list[int] = []
    noted = Noted(database)
    news = 0
    for article in articles:
        found = _find(database, article.segment_row, article.copy)
        if found is None or found[0] == _POSTED:
            continue
        state, folder_id, length, kind = found
        if article.server not in servers:
            servers[article.server] = server_id(database, article.server)
        database.run(
            "UPDATE article SET state = 0, generation = ?, server_id = ?, posted_at = ?, message_id = ?, "
            "not_before = 0 WHERE segment_id = ? AND copy = ?",
            (
                article.generation,
                servers[article.server],
                int(article.posted_at),
                article.message_id,
                article.segment_row,
                article.copy,
            ),
        )
        if state == ArticleState.FAILED:
            _forget_failure(database, article.segment_row, article.copy)
        if article.generation:
            _await_check(database, article)
        tallies.move(folder_id, state, _POSTED, length)
        noted.posted(folder_id, kind, article)
        if kind == ArticleKind.INDEX and article.copy == 0:
            index_segments.append(article.segment_row)
        news += 1
    noted.write()
    _release_heads(database, index_segments, tallies)
    tallies.write(database)
    return news


def _await_check(database: Connection, article: PostedArticle) -> None:
    """What was found of older generations holds until somebody has looked at this one."""
    database.run(
        "UPDATE finding SET reposted_at = ? WHERE segment_id = ? AND copy = ? AND generation < ?",
        (article.posted_at, article.segment_row, article.copy, article.generation),
    )


def server_id(database: Connection, name: str) -> int:
    """The number of a server's name, given at its first use."""
    database.run("INSERT INTO server (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
    return int(database.run("SELECT id FROM server WHERE name = ?", (name,)).fetchone()[0])


def _release_heads(database: Connection, index_segments: Iterable[int], tallies: Tallies) -> None:
    """Queue the heads of versions whose last index segment has just been posted."""
    versions = set()
    for row in index_segments:
        versions.update(
            database.run(
                "SELECT folder_id, version FROM version_segment WHERE segment_id = ?", (row,)
            ).fetchall()
        )
    for folder_id, version in versions:
        release_head(database, folder_id, version, tallies)


def release_head(database: Connection, folder_id: int, version: int, tallies: Tallies) -> bool:
    """Queue the head of a version unless an index segment of it is still to be posted."""
    waiting = database.run(
        "SELECT EXISTS (SELECT 1 FROM version_segment v JOIN article a ON a.segment_id = v.segment_id AND a.copy = 0 "
        "WHERE v.folder_id = ? AND v.version = ? AND a.state <> 0)",
        (folder_id, version),
    ).fetchone()[0]
    if waiting:
        return False
    rows = database.run(
        "SELECT a.segment_id, a.copy, s.length FROM version v JOIN article a ON a.segment_id = v.head_segment_id "
        "JOIN segment s ON s.id = a.segment_id "
        "WHERE v.folder_id = ? AND v.version = ? AND v.state = 'posting' AND a.state = ?",
        (folder_id, version, int(ArticleState.WAITING)),
    ).fetchall()
    for segment_row, copy, length in rows:
        _set_state(database, segment_row, copy, ArticleState.QUEUED)
        tallies.move(folder_id, ArticleState.WAITING, ArticleState.QUEUED, length)
    return bool(rows)


def put_back(
    database: Connection,
    segment_row: int,
    copy: int,
    state: ArticleState,
    not_before: float,
    count_attempt: bool,
    server: str | None,
) -> bool:
    """A leased article returns to the queue."""
    found = _find(database, segment_row, copy)
    if found is None or found[0] not in _LEASED:
        return False
    number = None if server is None else server_id(database, server)
    database.run(
        "UPDATE article SET state = ?, not_before = ?, attempts = attempts - ?, "
        "server_id = coalesce(?, server_id) WHERE segment_id = ? AND copy = ?",
        (int(state), max(0.0, not_before), 0 if count_attempt else 1, number, segment_row, copy),
    )
    _tally(database, found, state)
    return True


def give_back(database: Connection, keys: Iterable[_Key]) -> int:
    """Leased articles that were not tried return as they were."""
    count = 0
    for segment_row, copy in keys:
        found = _find(database, segment_row, copy)
        if found is not None and found[0] in _LEASED:
            state = ArticleState.DOUBTFUL if found[0] == ArticleState.ASKING else ArticleState.QUEUED
            database.run(
                "UPDATE article SET state = ?, attempts = attempts - 1 WHERE segment_id = ? AND copy = ?",
                (int(state), segment_row, copy),
            )
            _tally(database, found, state)
            count += 1
    return count


def next_generation(database: Connection, segment_row: int, copy: int) -> int:
    """The article gets a fresh name and is queued."""
    found = _find(database, segment_row, copy)
    if found is None:
        raise NotFound(f"segment number {segment_row} has no copy {copy}")
    row = database.run(
        "UPDATE article SET state = ?, generation = generation + 1, not_before = 0 "
        "WHERE segment_id = ? AND copy = ? RETURNING generation",
        (int(ArticleState.QUEUED), segment_row, copy),
    ).fetchone()
    _tally(database, found, ArticleState.QUEUED)
    return int(row[0])


def repost(database: Connection, keys: Iterable[_Key]) -> int:
    """Articles that were posted once get a fresh name each, and are queued to be posted under it."""
    count = 0
    tallies = Tallies()
    for segment_row, copy in keys:
        found = _find(database, segment_row, copy)
        if found is None or found[0] not in _POSTED_ONCE:
            continue
        state, folder_id, length, _ = found
        changed = database.run(
            "UPDATE article SET state = ?, generation = generation + 1, priority = ?, not_before = 0, attempts = 0, "
            "message_id = NULL WHERE segment_id = ? AND copy = ? AND generation < ?",
            (int(ArticleState.QUEUED), int(Priority.HIGH), segment_row, copy, LAST_GENERATION),
        )
        if not changed.rowcount:
            continue
        if state == ArticleState.FAILED:
            _forget_failure(database, segment_row, copy)
        tallies.move(folder_id, state, ArticleState.QUEUED, length)
        count += 1
    tallies.write(database)
    return count


def fail(database: Connection, segment_row: int, copy: int, reason: str, at: float) -> None:
    """The article stays where it is until somebody asks for a retry."""
    found = _find(database, segment_row, copy)
    if found is None or found[0] == _POSTED:
        return
    _set_state(database, segment_row, copy, ArticleState.FAILED)
    database.run(
        "INSERT INTO failure (segment_id, copy, reason, at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (segment_id, copy) DO UPDATE SET reason = excluded.reason, at = excluded.at",
        (segment_row, copy, reason, at),
    )
    _tally(database, found, ArticleState.FAILED)


def return_leases(database: Connection) -> int:
    """Every leased article becomes doubtful."""
    count = 0
    tallies = Tallies()
    for state in sorted(_LEASED):
        rows = database.run(
            "SELECT a.folder_id, count(*), sum(s.length) FROM article a JOIN segment s ON s.id = a.segment_id "
            "WHERE a.state > 0 AND a.state = ? GROUP BY a.folder_id",
            (int(state),),
        ).fetchall()
        for folder_id, articles, size in rows:
            tallies.move(folder_id, state, ArticleState.DOUBTFUL, size, articles)
            count += articles
        database.run(
            "UPDATE article SET state = ?, not_before = 0 WHERE state > 0 AND state = ?",
            (int(ArticleState.DOUBTFUL), int(state)),
        )
    tallies.write(database)
    return count


def abandon(database: Connection, segment_row: int, leased_copies: Container[int]) -> int:
    """Give a segment up; unless a copy is posted, files that use it forget their content.

    leased_copies: those of the leased articles that are given up too. The others are in the hands of somebody
    else, who will tell how they ended; given up now, they could be leased a second time meanwhile.
    """
    articles = database.run(
        "SELECT a.copy, a.state, a.folder_id, s.length FROM article a JOIN segment s ON s.id = a.segment_id "
        "WHERE a.segment_id = ?",
        (segment_row,),
    ).fetchall()
    tallies = Tallies()
    for copy, state, folder_id, length in articles:
        if state not in (_POSTED, ArticleState.ABANDONED) and (state not in _LEASED or copy in leased_copies):
            _set_state(database, segment_row, copy, ArticleState.ABANDONED)
            _forget_failure(database, segment_row, copy)
            tallies.move(folder_id, state, ArticleState.ABANDONED, length)
    tallies.write(database)
    users = database.run(
        "SELECT DISTINCT x.entry_id, e.directory_id FROM extent x JOIN entry e ON e.id = x.entry_id "
        "WHERE x.segment_id = ?",
        (segment_row,),
    ).fetchall()
    change_in(database, "UPDATE directory SET digest = NULL WHERE id IN", (), {row[1] for row in users})
    if any(row[1] == _POSTED for row in articles):
        return 0
    entries = [row[0] for row in users]
    change_in(database, "DELETE FROM extent WHERE entry_id IN", (), entries)
    change_in(database, "UPDATE entry SET hash = NULL WHERE id IN", (), entries)
    # A version that has taken such a change already must not drop it from the journal when it is published.
    _reopen_changes(database, entries)
    return len(entries)


def _reopen_changes(database: Connection, entries: Iterable[int]) -> None:
    for entry_id in entries:
        database.run(
            "INSERT INTO change (folder_id, path, entry_id) SELECT d.folder_id, "
            "CAST(CASE d.path WHEN x'' THEN e.name ELSE d.path || x'2f' || e.name END AS BLOB), e.id "
            "FROM entry e JOIN directory d ON d.id = e.directory_id WHERE e.id = ? "
            "ON CONFLICT (folder_id, path) DO UPDATE SET entry_id = excluded.entry_id, directory_id = NULL, "
            "version = NULL",
            (entry_id,),
        )


def retry_failed(database: Connection, folder_id: int | None, keys: Sequence[_Key] | None) -> int:
    """Failed articles are queued with fresh attempts; they were tried, so they may be on a server."""

    def change(segment_row: int, copy: int) -> None:
        database.run(
            "UPDATE article SET state = ?, attempts = 0, not_before = 0 WHERE segment_id = ? AND copy = ?",
            (int(ArticleState.DOUBTFUL), segment_row, copy),
        )
        _forget_failure(database, segment_row, copy)

    return _each(database, ArticleState.FAILED, ArticleState.DOUBTFUL, folder_id, keys, change)


def move(database: Connection, priority: Priority, folder_id: int | None, keys: Sequence[_Key] | None) -> int:
    """Queued articles get another priority."""

    def change(segment_row: int, copy: int) -> None:
        database.run(
            "UPDATE article SET priority = ? WHERE segment_id = ? AND copy = ?",
            (int(priority), segment_row, copy),
        )

    return _each(database, ArticleState.QUEUED, ArticleState.QUEUED, folder_id, keys, change)


def cancel(database: Connection, folder_id: int | None, keys: Sequence[_Key] | None, at: float) -> int:
    """Queued articles stay unposted until somebody asks for a retry."""

    def change(segment_row: int, copy: int) -> None:
        _set_state(database, segment_row, copy, ArticleState.FAILED)
        database.run(
            "INSERT OR REPLACE INTO failure (segment_id, copy, reason, at) VALUES (?, ?, 'cancelled', ?)",
            (segment_row, copy, at),
        )

    return _each(database, ArticleState.QUEUED, ArticleState.FAILED, folder_id, keys, change)


def _each(
    database: Connection,
    before: ArticleState,
    after: ArticleState,
    folder_id: int | None,
    keys: Sequence[_Key] | None,
    change: Callable[[int, int], None],
) -> int:
    """Change the articles in state ``before`` among ``keys``, else those of a folder, else all."""
    found: list[tuple[int, int, Any]] = []
    if keys is not None:
        for segment_row, copy in keys:
            row = _find(database, segment_row, copy)
            if row is not None and row[0] == before:
                found.append((segment_row, copy, row))
    else:
        where, params = ("AND a.folder_id = ?", (folder_id,)) if folder_id is not None else ("", ())
        rows = database.run(
            "SELECT a.segment_id, a.copy, a.state, a.folder_id, s.length, s.kind FROM article a "  # noqa: S608
            f"JOIN segment s ON s.id = a.segment_id WHERE a.state > 0 AND a.state = ? {where}",
            (int(before), *params),
        ).fetchall()
        found = [(row[0], row[1], row[2:]) for row in rows]
    tallies = Tallies()
    for segment_row, copy, (_, folder, length, _) in found:
        change(segment_row, copy)
        tallies.move(folder, before, after, length)
    tallies.write(database)
    return len(found)


def _find(database: Connection, segment_row: int, copy: int) -> tuple[int, int, int, int] | None:
    """(state, folder, length, kind) of an article."""
    row: tuple[int, int, int, int] | None = database.run(
        "SELECT a.state, a.folder_id, s.length, s.kind FROM article a JOIN segment s ON s.id = a.segment_id "
        "WHERE a.segment_id = ? AND a.copy = ?",
        (segment_row, copy),
    ).fetchone()
    return row


def _set_state(database: Connection, segment_row: int, copy: int, state: ArticleState) -> None:
    database.run(
        "UPDATE article SET state = ? WHERE segment_id = ? AND copy = ?", (int(state), segment_row, copy)
    )


def _forget_failure(database: Connection, segment_row: int, copy: int) -> None:
    database.run("DELETE FROM failure WHERE segment_id = ? AND copy = ?", (segment_row, copy))


def _tally(database: Connection, found: tuple[int, int, int, int], after: ArticleState) -> None:
    state, folder_id, length, _ = found
    tallies = Tallies()
    tallies.move(folder_id, state, after, length)
    tallies.write(database)
