"""Posting one article to find out what a server does with it: which size it takes, and which message-id it keeps."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, MessageId
from usenetsyncd.news.connection import Connection, Setback, message_id_in
from usenetsyncd.news.naming import has, look_for
from usenetsyncd.news.records import IdPolicy
from usenetsyncd.news.replies import Outcome
from usenetsyncd.wire.article import OutgoingArticle, build_article
from usenetsyncd.wire.keys import name_article

SMALL_BYTES: Final = 1_000
APPEARS_WITHIN_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between the looks for it; some servers show an article only minutes after they took it."""


@dataclass(frozen=True, slots=True)
class TrialPost:
    """What became of it. taken_bytes: size on the wire of what the server took, 0 for nothing; refusal: why not."""

    taken_bytes: int
    refusal: str
    policy: IdPolicy
    lines: tuple[str, ...]


def try_posting(connection: Connection, groups: Sequence[str], wait: Callable[[float], None]) -> TrialPost:
    """Post one article of the size that ours have, or, where that is refused, a small one; then look for it.

    It looks like any other of ours and carries nothing. wait: sleeps; what it raises ends the trial. Raises Setback.
    """
    refusals = []
    for size_bytes in (SEGMENT_SIZE_BYTES, SMALL_BYTES):
        article = _article(groups, size_bytes)
        try:
            told = connection.post(article)
        except Setback as setback:
            if setback.row.close or setback.row.outcome is Outcome.LOGIN_AGAIN:
                raise
            refusals.append(f"an article of {_kilobytes(article.size_bytes)} was refused: {setback}")
            continue
        policy, words = _what_became(connection, article, message_id_in(told.text), wait)
        size = f"took an article of {_kilobytes(article.size_bytes)}"
        return TrialPost(article.size_bytes, "; ".join(refusals), policy, (*refusals, size, words))
    return TrialPost(0, "; ".join(refusals), IdPolicy.UNKNOWN, tuple(refusals))


def _article(groups: Sequence[str], size_bytes: int) -> OutgoingArticle:
    name = name_article(secrets.token_bytes(32), ArticleAddress(ArticleKind.DATA, secrets.token_bytes(16)))
    return build_article(name, tuple(groups), secrets.token_bytes(size_bytes))


def _kilobytes(size_bytes: int) -> str:
    return f"{max(1, size_bytes // 1000):,} kB"


def _what_became(
    connection: Connection, article: OutgoingArticle, told: MessageId | None, wait: Callable[[float], None]
) -> tuple[IdPolicy, str]:
    for delay_s in APPEARS_WITHIN_S:
        wait(delay_s)
        if told is not None and told != article.name.message_id and has(connection, told):
            return (
                IdPolicy.REWRITES,
                "changes message-ids and tells the new ones: they are kept and published",
            )
        policy, _ = look_for(connection, article)
        if policy is IdPolicy.KEEPS:
            return policy, "keeps the message-ids that we give"
        if policy is IdPolicy.SWALLOWS:
            return (
                policy,
                "changes message-ids without telling: each article is looked for by its subject, which is slow",
            )
    return (
        IdPolicy.UNKNOWN,
        "took the article but does not show it yet; what it does with message-ids is unknown",
    )
