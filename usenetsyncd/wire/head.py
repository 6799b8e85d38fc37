"""The signed head: one small article per published version, chained to the one before.

Source: docs/format.md 8 (heads); vectors/head.json.
"""

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise

from usenetsyncd.errors import ContentMismatch, FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, Fingerprint, PageRef, SegmentId
from usenetsyncd.wire.keys import KEY_BYTES, MAX_EPOCH, SigningKey, label
from usenetsyncd.wire.signed import check_signed, sign

HEAD_VERSION = 1
MAX_VERSION = 2**63 - 1
MAX_OLDER_EPOCHS = 1_000

_FIXED = struct.Struct(">BBH16s32sIQqq32s16sIIQQQ16sII16sIIH")
_OLDER = struct.Struct(">IQ32s")
_SUITE = 1
_LABEL = label("head")
_NO_PAGE = PageRef(SegmentId(bytes(16)), 0, 0)
FIRST_PREVIOUS = bytes(32)


@dataclass(frozen=True, slots=True, repr=False)
class OlderEpoch:
    """A past epoch that this head's readers may read: its first version, and its read secret (32 bytes)."""

    epoch: int
    first_version: int
    read_secret: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """One version of a folder.

    public: Ed25519 key, 32 bytes. epoch, version: from 1. created_s, expires_s: seconds since 1970; expires_s
    is when the next head is due at the latest, 0 for never. previous: head_hash of the head before, zeros for
    the first. root: None for a folder without entries. stripes, overrides: root pages of these lists, None for an
    empty one. older: oldest first.
    """

    fingerprint: Fingerprint
    public: bytes
    epoch: int
    version: int
    created_s: int
    expires_s: int
    previous: bytes
    root: PageRef | None
    files: int
    folders: int
    bytes_total: int
    older: tuple[OlderEpoch, ...] = ()
    stripes: PageRef | None = None
    overrides: PageRef | None = None


def head_address(epoch: int, version: int, copy: int = 0, generation: int = 0) -> ArticleAddress:
    """Where the head of a version stands: found by anyone who knows the epoch and counts."""
    if not (1 <= epoch <= MAX_EPOCH and 1 <= version <= MAX_VERSION):
        raise LimitExceeded(f"no head has epoch {epoch} and version {version}")
    place = epoch.to_bytes(4, "big") + version.to_bytes(8, "big") + bytes(4)
    return ArticleAddress(ArticleKind.HEAD, place, copy, generation)


def head_hash(content: bytes) -> bytes:
    """32 bytes by which the next head names this one: SHA-256 of it whole, signature included."""
    return hashlib.sha256(content).digest()


def encode_head(head: Head, key: SigningKey) -> bytes:
    """The signed content of a head article, before sealing. Raises LimitExceeded."""
    _check(head)
    root, stripes, overrides = (page or _NO_PAGE for page in (head.root, head.stripes, head.overrides))
    fixed = _FIXED.pack(
        HEAD_VERSION, _SUITE, 0, head.fingerprint, head.public, head.epoch, head.version,
        head.created_s, head.expires_s, head.previous, root.segment, root.offset, root.length,
        head.files, head.folders, head.bytes_total, stripes.segment, stripes.offset, stripes.length,
        overrides.segment, overrides.offset, overrides.length, len(head.older),
    )  # fmt: skip
    older = b"".join(_OLDER.pack(o.epoch, o.first_version, o.read_secret) for o in head.older)
    return sign(fixed + older, key, _LABEL)


def decode_head(content: bytes, fingerprint: Fingerprint, at: ArticleAddress | None = None) -> Head:
    """The head in ``content``, its signature checked against ``fingerprint``.

    at: where it was found, for whatever came from a server: a reader can seal an old head anew in the place of
    a newer one, and only this tells.
    Raises FormatError, LimitExceeded, BadSignature, NewerFormat, ContentMismatch.
    """
    message = check_signed(content, HEAD_VERSION, _LABEL, fingerprint, _FIXED.size)
    (_, suite, reserved, _, public, epoch, version, created, expires, previous, *root,
     files, folders, total, s, s_offset, s_length, o, o_offset, o_length, count) = _FIXED.unpack_from(message)  # fmt: skip
    if suite != _SUITE or reserved or len(message) != _FIXED.size + count * _OLDER.size:
        raise FormatError("a head is not of the form that its version has")
    older = tuple(OlderEpoch(*fields) for fields in _OLDER.iter_unpack(message[_FIXED.size :]))
    head = Head(
        fingerprint, public, epoch, version, created, expires, previous,
        _page(*root), files, folders, total, older, _page(s, s_offset, s_length), _page(o, o_offset, o_length),
    )  # fmt: skip
    _check(head)
    if at is not None and at.id != head_address(epoch, version).id:
        raise ContentMismatch(f"the head of version {version} stands in the place of another")
    return head


def _check(head: Head) -> None:
    """The limits that both sides keep."""
    head_address(head.epoch, head.version)
    numbers = (head.created_s, head.expires_s, head.files, head.folders, head.bytes_total)
    if min(numbers) < 0 or max(numbers) > MAX_VERSION:
        raise LimitExceeded("a time or total in a head is below 0 or above 2^63 - 1")
    if (head.version == 1) != (head.previous == FIRST_PREVIOUS):
        raise FormatError("only the first head has none before it")
    for page in (head.root, head.stripes, head.overrides):
        if page is not None:
            _check_page(page)
    if len(head.older) > MAX_OLDER_EPOCHS:
        raise LimitExceeded(f"a head lists {len(head.older)} older epochs; the limit is {MAX_OLDER_EPOCHS}")
    if any(len(older.read_secret) != KEY_BYTES for older in head.older):
        raise FormatError("the read secret of an older epoch has 32 bytes")
    epochs = [0, *(older.epoch for older in head.older), head.epoch]
    # An epoch may pass without a version: then its first one is that of the next.
    versions = [1, *(older.first_version for older in head.older), head.version]
    if any(a >= b for a, b in pairwise(epochs)) or any(a > b for a, b in pairwise(versions)):
        raise FormatError("a head's older epochs are not in order, or not older than its own")


def _check_page(page: PageRef) -> None:
    fits = page.offset >= 0 and page.length >= 1 and page.offset + page.length <= SEGMENT_SIZE_BYTES
    if not fits or len(page.segment) != 16 or not any(page.segment):
        raise FormatError("a head names a root page that cannot be")


def _page(segment: bytes, offset: int, length: int) -> PageRef | None:
    page = PageRef(SegmentId(segment), offset, length)
    return None if page == _NO_PAGE else page
