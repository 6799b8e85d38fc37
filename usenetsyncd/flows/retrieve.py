"""Get one article by its address, by every way there is: id, copies, later generations, other servers.

Missing is what every server said; a time-out is never taken for it. A corrupt article counts as missing
where it came from, and the next one is tried.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError, NewerFormat, NewsError
from usenetsyncd.model import ArticleAddress, MessageId, Presence
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import Counters
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.keys import ReadKeys, message_id_of
from usenetsyncd.wire.seal import open_sealed

log = structlog.get_logger("retrieve")

T = TypeVar("T")

# Where another article of the same content may be: docs/format.md 13, "Finding the newest", step 2.
COPIES_ASKED = 4
GENERATIONS_ASKED = 9

WAYS = Counters()
"""How articles were come by since the process was started: by_id, by_copy, by_server, by_parity, by_subject, nowhere."""


NameOf = Callable[[ReadKeys, ArticleAddress], MessageId]
"""Under which message-id an article is asked for."""


def derived(keys: ReadKeys, at: ArticleAddress) -> MessageId:
    """By its address, as it was posted."""
    return message_id_of(keys.location, at)


def retrieve(
    news: NewsService, rings: Sequence[ReadKeys], at: ArticleAddress, name_of: NameOf = derived
) -> bytes:
    """The opened content of an article. Errors: those of ``retrieve_as``."""
    return retrieve_as(news, rings, at, bytes, name_of)


def retrieve_as(
    news: NewsService,
    rings: Sequence[ReadKeys],
    at: ArticleAddress,
    accept: Callable[[bytes], T],
    name_of: NameOf = derived,
) -> T:
    """The opened content of an article, as ``accept`` makes it; a FormatError of it leads to the next copy.

    rings: the read keys to try, newest epoch first. name_of: other than ``derived`` where servers changed ids. Raises ArticleMissing when no server has it in any
    readable form, SealBroken or another FormatError when only corrupt ones were found (NewerFormat if one of
    them was that), NewsError when no server could be asked.
    """
    corrupt: FormatError | None = None
    # In which epoch it was sealed nobody says; all are asked for the plain one before any is asked for others.
    plain = ((keys, at) for keys in rings)
    others = ((keys, address) for keys in rings for address in _others_present(news, keys, at, name_of))
    for keys, address in chain(plain, others):
        try:
            content = accept(fetch_and_open(news, keys, address, name_of))
            WAYS.add("by_id" if address == at else "by_copy")
            return content
        except ArticleMissing:
            continue
        except FormatError as error:
            elsewhere = _from_others(news, keys, address, accept, name_of)
            if elsewhere is not None:
                WAYS.add("by_server")
                return elsewhere
            log.warning(
                "article_corrupt", kind=at.kind.name, generation=address.generation, reason=str(error)
            )
            if not isinstance(corrupt, NewerFormat):
                corrupt = error
    if corrupt is not None:
        raise corrupt
    raise ArticleMissing(f"no server has this {at.kind.name.lower()} article any more")


def fetch_and_open(news: NewsService, keys: ReadKeys, at: ArticleAddress, name_of: NameOf = derived) -> bytes:
    """Fetch exactly this article and open it."""
    raw = news.fetch_one(name_of(keys, at))
    return open_sealed(keys, at, decode_body(raw))


def _from_others(
    news: NewsService, keys: ReadKeys, at: ArticleAddress, accept: Callable[[bytes], T], name_of: NameOf
) -> T | None:
    """The same article from each server by itself, where the one that was asked first gave something else."""
    servers = [state.name for state in news.snapshot()]
    for server in servers if len(servers) > 1 else ():
        bodies: list[bytes] = []

        def take(
            _: MessageId, raw: bytes | None, error: NewsError | None, bodies: list[bytes] = bodies
        ) -> None:
            if raw is not None:
                bodies.append(raw)

        news.fetch_from(server, [name_of(keys, at)], take)
        try:
            if bodies:
                return accept(open_sealed(keys, at, decode_body(bodies[0])))
        except FormatError as error:
            log.warning("article_corrupt_there", server=server, kind=at.kind.name, reason=str(error))
    return None


def other_addresses(at: ArticleAddress) -> Iterator[ArticleAddress]:
    """The copies and generations under which the same content may have been posted, ``at`` left out."""
    for generation in range(GENERATIONS_ASKED):
        for copy in range(COPIES_ASKED):
            if (copy, generation) != (at.copy, at.generation):
                yield ArticleAddress(at.kind, at.id, copy, generation)


def _others_present(
    news: NewsService, keys: ReadKeys, at: ArticleAddress, name_of: NameOf
) -> Iterator[ArticleAddress]:
    """Those of them that a server has, found with one burst when the first was not there."""
    names = {name_of(keys, address): address for address in other_addresses(at)}
    presence = news.stat(list(names))
    yield from (address for name, address in names.items() if presence[name] is not Presence.MISSING)
