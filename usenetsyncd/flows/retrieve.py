"""Get one article by its address, by every way there is: id, later generations, other servers.

Missing is what every server said; a time-out is never taken for it. A corrupt article counts as missing
where it came from, and the next generation is tried.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError, NewerFormat
from usenetsyncd.model import ArticleAddress, MessageId, Presence
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.keys import ReadKeys, name_article
from usenetsyncd.wire.seal import open_sealed

log = structlog.get_logger("retrieve")

GENERATIONS_AHEAD = 8


def retrieve(news: NewsService, rings: Sequence[ReadKeys], at: ArticleAddress) -> bytes:
    """The opened content of an article.

    rings: the read keys to try, newest epoch first. Raises ArticleMissing when no server has it in any
    readable form, SealBroken or another FormatError when only corrupt ones were found, NewsError when
    no server could be asked.
    """
    corrupt: FormatError | None = None
    for keys in rings:
        for address in chain((at,), _later_generations(news, keys, at)):
            try:
                return fetch_and_open(news, keys, address)
            except ArticleMissing:
                continue
            except NewerFormat:
                raise
            except FormatError as error:
                log.warning("article_corrupt", kind=at.kind.name, generation=address.generation, reason=str(error))
                corrupt = error
    if corrupt is not None:
        raise corrupt
    raise ArticleMissing(f"no server has this {at.kind.name.lower()} article any more")


def fetch_and_open(news: NewsService, keys: ReadKeys, at: ArticleAddress) -> bytes:
    """Fetch exactly this article and open it."""
    raw = news.fetch_one(name_article(keys.location, at).message_id)
    return open_sealed(keys, at, decode_body(raw))


def _later_generations(news: NewsService, keys: ReadKeys, at: ArticleAddress) -> Iterator[ArticleAddress]:
    """The generations after ``at`` that a server has, found with one burst when the first was not there."""
    ahead = range(at.generation + 1, at.generation + 1 + GENERATIONS_AHEAD)
    later = [ArticleAddress(at.kind, at.id, at.copy, generation) for generation in ahead]
    names: dict[MessageId, ArticleAddress] = {name_article(keys.location, a).message_id: a for a in later}
    presence = news.stat(list(names))
    yield from (address for name, address in names.items() if presence[name] is not Presence.MISSING)
