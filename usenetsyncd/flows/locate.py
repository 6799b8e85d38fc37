"""From an access string to the newest head, with nothing but a news server.

Envelopes and heads are numbered and their names derive from the number: the newest is found by
galloping, one pipelined burst of STAT at a time. A server that has lost some numbers, lies about
others or offers an older history than the one seen before is noticed here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from usenetsyncd.clock import Clock
from usenetsyncd.errors import ArticleMissing, Fork, FormatError, NewsError, NotPermitted, NothingPublished, Rollback
from usenetsyncd.flows.retrieve import GENERATIONS_AHEAD, retrieve
from usenetsyncd.model import ArticleAddress, Fingerprint, MessageId, Presence
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.access import AccessKind, decode_access
from usenetsyncd.wire.head import Head, decode_head, head_address, head_hash
from usenetsyncd.wire.keys import ReadKeys, name_article, read_keys, share_keys
from usenetsyncd.wire.membership import Envelope, decode_envelope, envelope_address

log = structlog.get_logger("locate")

DENSE_PROBES = 8
FAR_PROBES = 20
GENERATIONS_PROBED = 3
# How many numbers below the newest are tried when the newest itself cannot be read.
FALLBACK_NUMBERS = 8
CHAIN_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """The highest head that was fully verified before."""

    version: int
    head_hash: bytes


@dataclass(frozen=True, slots=True)
class Located:
    """A verified head and the keys to read what it points to, newest epoch first."""

    head: Head
    head_hash: bytes
    rings: tuple[ReadKeys, ...]
    warnings: tuple[str, ...] = ()


def locate(
    news: NewsService, access: str, clock: Clock, known: Callable[[Fingerprint], KnownVersion | None]
) -> Located:
    """Find and verify the newest head behind an access string.

    Raises BadAccessString, NothingPublished, NotPermitted (expired, or a kind of share this string alone
    does not open), Rollback, Fork, and NewsError when servers could not be asked.
    """
    kind, secret, fingerprint = decode_access(access)
    if kind is not AccessKind.READ:
        raise NotPermitted("this string does not allow reading; ask the owner for a read string")
    envelope = newest_envelope(news, share_keys(secret, fingerprint), fingerprint)
    if envelope.expires_s and envelope.expires_s < clock.now():
        raise NotPermitted("this share has expired; ask the owner for a new string")
    rings = (read_keys(envelope.read_secret, fingerprint),)
    return newest_head(news, rings, fingerprint, envelope.epoch, envelope.version, known(fingerprint), clock)


def newest_envelope(news: NewsService, keys: ReadKeys, fingerprint: Fingerprint) -> Envelope:
    """The envelope with the highest serial that opens and is signed by the folder's key."""
    newest = gallop(news, keys, envelope_address, 0)
    for serial in range(newest, max(0, newest - FALLBACK_NUMBERS), -1):
        try:
            return decode_envelope(retrieve(news, (keys,), envelope_address(serial)), fingerprint)
        except ArticleMissing:
            continue
    raise NothingPublished("no server has anything for this access string")


def newest_head(
    news: NewsService,
    rings: tuple[ReadKeys, ...],
    fingerprint: Fingerprint,
    epoch: int,
    hint: int,
    known: KnownVersion | None,
    clock: Clock,
) -> Located:
    """The newest head, checked against what was verified before.

    hint: a version that existed when the envelope was written (0: none yet).
    """
    floor = max(hint, known.version if known else 0)
    newest = gallop(news, rings[0], lambda version: head_address(epoch, version), max(0, floor - 1))
    warnings: list[str] = []
    for version in range(newest, max(0, newest - FALLBACK_NUMBERS), -1):
        try:
            located = read_head(news, rings, fingerprint, epoch, version)
        except (ArticleMissing, FormatError) as error:
            warnings.append(f"version {version} was published but cannot be read ({error})")
            continue
        _check_history(news, located, known, epoch)
        if located.head.expires_s and located.head.expires_s < clock.now():
            warnings.append("the newest head is overdue: the publisher is silent, or newer versions are withheld")
        return Located(located.head, located.head_hash, rings, tuple(warnings))
    if known is not None:
        raise Rollback(f"version {known.version} was seen before, but no server has it or a newer one now")
    raise NothingPublished("the share exists, but no version of the folder can be found")


def read_head(
    news: NewsService, rings: tuple[ReadKeys, ...], fingerprint: Fingerprint, epoch: int, version: int
) -> Located:
    """One version's head, verified. Raises ArticleMissing when no server has it."""
    content = retrieve(news, rings, head_address(epoch, version))
    head = decode_head(content, fingerprint)
    if (head.epoch, head.version) != (epoch, version):
        raise FormatError(f"the head named version {version} says that it is version {head.version}")
    return Located(head, head_hash(content), rings)


def gallop(news: NewsService, keys: ReadKeys, address_of: Callable[[int], ArticleAddress], floor: int) -> int:
    """The highest number above ``floor`` that any server has, or ``floor``.

    Each burst asks for the next few numbers and for powers of two beyond, so that lost numbers in between
    do not hide newer ones. Raises NewsError when servers did not answer: silence is not absence.
    """
    highest = floor
    while True:
        steps = {*range(1, DENSE_PROBES + 1), *(1 << i for i in range(3, FAR_PROBES + 1))}
        names: dict[MessageId, int] = {}
        for number in sorted(highest + step for step in steps):
            at = address_of(number)
            for generation in range(min(GENERATIONS_PROBED, GENERATIONS_AHEAD)):
                probe = ArticleAddress(at.kind, at.id, at.copy, generation)
                names[name_article(keys.location, probe).message_id] = number
        presence = news.stat(list(names))
        hits = [number for name, number in names.items() if presence[name] is Presence.PRESENT]
        if not hits:
            if all(presence[name] is Presence.UNKNOWN for name in names):
                raise NewsError("no server answered when asked for the newest version")
            return highest
        highest = max(hits)


def _check_history(news: NewsService, located: Located, known: KnownVersion | None, epoch: int) -> None:
    """The newest head must descend from the one that was verified before."""
    if known is None:
        return
    head = located.head
    if head.version < known.version:
        raise Rollback(
            f"version {known.version} was seen before; the servers now offer version {head.version} as the newest"
        )
    expected, version = located.head_hash, head.version
    walked = head
    while version > known.version and head.version - version < CHAIN_LIMIT:
        expected, version = walked.previous, version - 1
        if version == known.version:
            break
        try:
            before = read_head(news, located.rings, head.fingerprint, epoch, version)
        except ArticleMissing:
            log.warning("history_gap", version=version)
            return
        if before.head_hash != expected:
            raise Fork(f"two different heads carry version {version}")
        walked = before.head
    if version == known.version and expected != known.head_hash:
        raise Fork(f"version {known.version} is not the one that was seen before")
