"""Share envelopes: what a holder of an access string finds first, and what it lets him read.

Source: docs/format.md 10 (envelopes); vectors/envelope.json.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from usenetsyncd.errors import ContentMismatch, FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import ArticleAddress, ArticleKind, Fingerprint
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.keys import KEY_BYTES, MAX_EPOCH, SigningKey, label
from usenetsyncd.wire.signed import check_signed, sign

ENVELOPE_VERSION = 1
MAX_SERIAL = 2**63 - 1

_FIXED = struct.Struct(">BBBB16s32sQqIQI")
_LABEL = label("envelope")
_GRANTS_READING = 1


class ShareKind(IntEnum):
    """How the read secret is wrapped. The numbers are in the format."""

    REVOKED = 0
    PUBLIC = 1
    PROTECTED = 2
    PRIVATE = 3


_WRAPPED_BYTES = {ShareKind.REVOKED: 0, ShareKind.PUBLIC: KEY_BYTES}


@dataclass(frozen=True, slots=True, repr=False)
class Envelope:
    """What a share says now; a higher serial replaces it.

    public: Ed25519 key of the folder, 32 bytes. serial: from 1. expires_s: seconds since 1970, 0 for never.
    epoch, version: the newest head when this was written; version 0 when there was none.
    read_secret: R of that epoch, 32 bytes; b"" where the share is revoked.
    """

    share: ShareKind
    public: bytes
    fingerprint: Fingerprint
    serial: int
    expires_s: int
    epoch: int
    version: int
    read_secret: bytes


def envelope_address(serial: int, copy: int = 0, generation: int = 0) -> ArticleAddress:
    """Where the envelope of a serial stands, under the share's own keys."""
    if not 1 <= serial <= MAX_SERIAL:
        raise LimitExceeded(f"no envelope has serial {serial}")
    return ArticleAddress(ArticleKind.ENVELOPE, serial.to_bytes(8, "big") + bytes(8), copy, generation)


def encode_envelope(envelope: Envelope, key: SigningKey) -> bytes:
    """The signed content of an envelope article, before sealing. Raises FormatError, LimitExceeded."""
    _check(envelope)
    fixed = _FIXED.pack(
        ENVELOPE_VERSION, envelope.share, _GRANTS_READING, 0, envelope.fingerprint, envelope.public,
        envelope.serial, envelope.expires_s, envelope.epoch, envelope.version, len(envelope.read_secret),
    )  # fmt: skip
    return sign(fixed + envelope.read_secret, key, _LABEL)


def decode_envelope(content: bytes, fingerprint: Fingerprint, at: ArticleAddress | None = None) -> Envelope:
    """The envelope in ``content``, its signature checked against ``fingerprint``.

    at: where it was found, for whatever came from a server (see decode_head).
    Raises FormatError, LimitExceeded, BadSignature, ContentMismatch, and NewerFormat for a kind unknown here.
    """
    message = check_signed(content, ENVELOPE_VERSION, _LABEL, fingerprint, _FIXED.size)
    (_, share, grants, reserved, _, public, serial, expires, epoch, version,
     wrapped_len) = _FIXED.unpack_from(message)  # fmt: skip
    wrapped = message[_FIXED.size :]
    if reserved or len(wrapped) != wrapped_len:
        raise FormatError("an envelope is not of the form that its version has")
    if share not in _WRAPPED_BYTES or grants != _GRANTS_READING:
        raise NewerFormat(_unknown_share(share))
    envelope = Envelope(ShareKind(share), public, fingerprint, serial, expires, epoch, version, wrapped)
    _check(envelope)
    if at is not None and at.id != envelope_address(serial).id:
        raise ContentMismatch(f"the envelope of serial {serial} stands in the place of another")
    return envelope


def _unknown_share(share: int) -> str:
    named = {
        ShareKind.PROTECTED.value: "asks for a passphrase",
        ShareKind.PRIVATE.value: "is for listed users only",
    }
    reason = named.get(share, "is of a kind unknown here")
    return f"this share {reason}: a newer version of UsenetSync is needed to open it"


def _check(envelope: Envelope) -> None:
    """The limits that both sides keep."""
    envelope_address(envelope.serial)
    if not (1 <= envelope.epoch <= MAX_EPOCH and 0 <= envelope.version <= MAX_VERSION):
        raise LimitExceeded(f"no share is of epoch {envelope.epoch} and version {envelope.version}")
    if not 0 <= envelope.expires_s <= MAX_VERSION:
        raise LimitExceeded("an envelope's expiry is before 1970 or beyond all time")
    expected = _WRAPPED_BYTES.get(envelope.share)
    if expected is None:
        raise NewerFormat(_unknown_share(envelope.share))
    if len(envelope.read_secret) != expected:
        raise FormatError(f"a {envelope.share.name.lower()} share wraps {expected} bytes")
