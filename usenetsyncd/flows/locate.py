"""From an access string to the newest head, with nothing but a news server.

Envelopes and heads are numbered and their names derive from the number: the newest is found by
galloping, one pipelined burst of STAT at a time. A server that has lost some numbers, lies about
others or offers an older history than the one seen before is noticed here.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import VersionState
from usenetsyncd.clock import Clock
from usenetsyncd.errors import (
    ArticleMissing,
    Fork,
    FormatError,
    LimitExceeded,
    NewerFormat,
    NothingPublished,
    NotPermitted,
    Rollback,
    SealBroken,
    ShareExpired,
    ShareRevoked,
)
from usenetsyncd.flows.epochs import Epochs
from usenetsyncd.flows.galloping import find_newest as find_newest
from usenetsyncd.flows.galloping import newest_above as newest_above
from usenetsyncd.flows.retrieve import retrieve_as
from usenetsyncd.flows.subjects import SubjectFinder
from usenetsyncd.model import ArticleAddress, Fingerprint
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.access import AccessKind, decode_access
from usenetsyncd.wire.head import Head, decode_head, head_address, head_hash
from usenetsyncd.wire.identity import Identity
from usenetsyncd.wire.keys import ReadKeys, read_keys, share_keys
from usenetsyncd.wire.membership import (
    Envelope,
    ShareKind,
    decode_envelope,
    envelope_address,
    unwrap,
)

log = structlog.get_logger("locate")

CHAIN_LIMIT = 1_000
# A head may name 1,000 older epochs; each makes asking for a lost article dearer.
OLDER_EPOCHS_READ = 64
# A head of the past is sought in its newest epoch and these; more have passed without a version only by accident.
EPOCHS_TRIED = 3

T = TypeVar("T")

_UNWRAPPING = threading.Lock()


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """The highest head that was fully verified before."""

    version: int
    head_hash: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What a reader has beside the access string. Never printed."""

    passphrase: str | None = field(default=None, repr=False)
    identity: Identity | None = field(default=None, repr=False)


NO_OPENING = Opening()


@dataclass(frozen=True, slots=True)
class Located:
    """A verified head and the keys to read what it points to, newest epoch first."""

    head: Head
    head_hash: bytes
    rings: tuple[ReadKeys, ...]
    warnings: tuple[str, ...] = ()


def locate(
    news: NewsService,
    access: str,
    clock: Clock,
    known: Callable[[Fingerprint], KnownVersion | None],
    opening: Opening = NO_OPENING,
    groups: Sequence[str] = (),
) -> Located:
    """Find and verify the newest head behind an access string.

    groups: newsgroups to look in for subjects where nothing is under the ids that addresses make.
    Raises BadAccessString, NothingPublished, ShareClosed (revoked, expired, passphrase, membership), NotPermitted,
    Rollback, Fork, NewerFormat, and NewsError when servers could not be asked.
    """
    kind, secret, fingerprint = decode_access(access)
    if kind is not AccessKind.READ:
        raise NotPermitted("this string does not allow reading; ask the owner for a read string")
    subjects = SubjectFinder(news, groups)
    envelope, warnings = newest_envelope(news, share_keys(secret, fingerprint), fingerprint, subjects)
    if envelope.share is ShareKind.REVOKED:
        raise ShareRevoked("this share was revoked by its owner")
    if envelope.expires_s and envelope.expires_s < clock.now():
        raise ShareExpired("this share has expired; ask the owner for a new string")
    # Only now, and one at a time: a passphrase may cost a second, and 256 MiB, to try.
    with _UNWRAPPING:
        opened = unwrap(envelope, secret, opening.passphrase, opening.identity)
    rings = (read_keys(opened, fingerprint),)
    located = newest_head(
        news, rings, fingerprint, envelope.epoch, envelope.version, known(fingerprint), clock, subjects
    )
    return replace(located, warnings=(*warnings, *located.warnings))


def locate_own(
    news: NewsService,
    catalogue: Catalogue,
    folder_row: int,
    epochs: Epochs,
    version: int | None,
    groups: Sequence[str] = (),
) -> Located:
    """A version of a folder of this daemon's own; None: the newest published one."""
    row = (
        catalogue.versions.newest(folder_row)
        if version is None
        else catalogue.versions.get(folder_row, version)
    )
    if row is None or row.state is not VersionState.PUBLISHED:
        raise NothingPublished("no version of this folder has been published yet")
    keys = epochs.keys(row.epoch)
    try:
        return read_head(news, (keys,), keys.fingerprint, row.epoch, row.version)
    except ArticleMissing:
        for at, content in SubjectFinder(news, groups).open_all(
            (keys,), [head_address(row.epoch, row.version)]
        ):
            return _decoded((keys,), keys.fingerprint, at, content)
        raise


def newest_envelope(
    news: NewsService, keys: ReadKeys, fingerprint: Fingerprint, subjects: SubjectFinder
) -> tuple[Envelope, tuple[str, ...]]:
    """The envelope with the highest serial that opens and is signed by the folder's key, and warnings."""

    beyond: list[LimitExceeded] = []

    def read(serial: int) -> Envelope:
        at = envelope_address(serial)
        try:
            return retrieve_signed(
                news, (keys,), at, lambda content: decode_envelope(content, fingerprint, at)
            )
        except LimitExceeded as error:
            beyond.append(error)
            raise

    found, struck = find_newest(news, keys, envelope_address, 0, read)
    found = found or subjects.newest(
        keys, envelope_address, 0, lambda at, content: decode_envelope(content, fingerprint, at)
    )
    if found is None:
        if beyond:
            raise beyond[0]  # better than to say that there is nothing
        raise NothingPublished("no server has anything for this access string that can be read")
    warnings = (f"envelope {serial} is on the servers but is not the publisher's" for serial in struck)
    return found, tuple(warnings)


def newest_head(
    news: NewsService,
    rings: tuple[ReadKeys, ...],
    fingerprint: Fingerprint,
    epoch: int,
    hint: int,
    known: KnownVersion | None,
    clock: Clock,
    subjects: SubjectFinder | None = None,
) -> Located:
    """The newest head, checked against what was verified before.

    hint: a version that existed when the envelope was written (0: none yet).
    """
    low = max(hint, known.version if known else 0)

    def address_of(version: int) -> ArticleAddress:
        return head_address(epoch, version)

    located, struck = find_newest(
        news, rings[0], address_of, low, lambda version: read_head(news, rings, fingerprint, epoch, version)
    )
    if located is None and subjects is not None:
        located = subjects.newest(
            rings[0], address_of, low, lambda at, content: _decoded(rings, fingerprint, at, content)
        )
    if located is None:
        if known is not None:
            raise Rollback(
                f"version {known.version} was seen before, but no server has it or a newer one now"
            )
        raise NothingPublished("the share exists, but no version of the folder can be found")
    _check_history(news, located, known, epoch)
    warnings = [f"version {version} is on the servers but is not the publisher's" for version in struck]
    if located.head.version < hint:
        warnings.append(f"version {hint} was published, but cannot be found; this is an older one")
    if located.head.expires_s and located.head.expires_s < clock.now():
        warnings.append("the newest head is overdue: the publisher is silent, or newer versions are withheld")
    return replace(located, warnings=tuple(warnings))


def read_head(
    news: NewsService, rings: tuple[ReadKeys, ...], fingerprint: Fingerprint, epoch: int, version: int
) -> Located:
    """One version's head, verified. Raises ArticleMissing when no server has it."""
    at = head_address(epoch, version)
    return retrieve_signed(news, rings[:1], at, lambda content: _decoded(rings, fingerprint, at, content))


def _decoded(
    rings: tuple[ReadKeys, ...], fingerprint: Fingerprint, at: ArticleAddress, content: bytes
) -> Located:
    """A head and the keys of it and of the epochs before. Raises FormatError."""
    head = decode_head(content, fingerprint, at)
    older = head.older[: -OLDER_EPOCHS_READ - 1 : -1]
    keys = (rings[0], *(read_keys(one.read_secret, fingerprint) for one in older))
    return Located(head, head_hash(content), keys)


def retrieve_signed(
    news: NewsService, rings: tuple[ReadKeys, ...], at: ArticleAddress, decode: Callable[[bytes], T]
) -> T:
    """The first copy or generation that the publisher signed; others may have posted there before.

    Raises ArticleMissing, FormatError, and NewerFormat only for what is signed: the seal around heads and
    envelopes stays as it is in every later version (docs/format.md 7).
    """
    newer: list[NewerFormat] = []

    def accept(content: bytes) -> T:
        try:
            return decode(content)
        except NewerFormat as error:
            newer.append(error)
            raise

    try:
        return retrieve_as(news, rings, at, accept)
    except NewerFormat as error:
        if newer:
            raise newer[0] from error
        raise SealBroken(str(error)) from error


def _read_earlier(news: NewsService, located: Located, epoch: int, version: int) -> Located:
    """A head that the newest one follows: of its epoch, or of the newest older one that had begun by then."""
    fingerprint = located.head.fingerprint
    begun = [one for one in located.head.older if one.first_version <= version]
    older = [(one.epoch, read_keys(one.read_secret, fingerprint)) for one in begun[: -EPOCHS_TRIED - 1 : -1]]
    missing: ArticleMissing | None = None
    for its_epoch, keys in ((epoch, located.rings[0]), *older):
        try:
            return read_head(news, (keys,), fingerprint, its_epoch, version)
        except ArticleMissing as error:
            missing = missing or error
    raise missing or ArticleMissing("no server has this head article any more")


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
            before = _read_earlier(news, located, epoch, version)
        except NewerFormat:
            raise
        except (ArticleMissing, FormatError) as error:
            log.warning("history_gap", version=version, reason=str(error))
            return
        if before.head_hash != expected:
            raise Fork(f"two different heads carry version {version}")
        walked = before.head
    if version == known.version and expected != known.head_hash:
        raise Fork(f"version {known.version} is not the one that was seen before")
