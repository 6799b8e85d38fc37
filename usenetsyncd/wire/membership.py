"""Share envelopes: what a holder of an access string finds first, and how it wraps the read secret.

A public share carries the secret as it is, a protected one under a passphrase, a private one once for each member.
Source: docs/format.md 10 (envelopes); vectors/envelope.json, share.json.
"""

import secrets
import struct
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from usenetsyncd.errors import (
    ContentMismatch,
    FormatError,
    LimitExceeded,
    NewerFormat,
    NotAMember,
    PassphraseNeeded,
    ShareRevoked,
    UsageError,
    WrongPassphrase,
)
from usenetsyncd.model import ArticleAddress, ArticleKind, Fingerprint
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.identity import STANZA_BYTES, Identity, wrap, wrap_for_nobody
from usenetsyncd.wire.keys import KEY_BYTES, MAX_EPOCH, SigningKey, derive, label
from usenetsyncd.wire.signed import check_signed, sign

ENVELOPE_VERSION = 1
MAX_SERIAL = 2**63 - 1
FEWEST_STANZAS = 4
MOST_STANZAS = 512
MAX_PASSPHRASE_BYTES = 1_024

_FIXED = struct.Struct(">BBBB16s32sQqIQI")
_PLACE = struct.Struct(">16sQI")
_LABEL = label("envelope")
_STANZA = label("stanza")
_GRANTS_READING = 1


class ShareKind(IntEnum):
    """How the read secret is wrapped. The numbers are in the format."""

    REVOKED = 0
    PUBLIC = 1
    PROTECTED = 2
    PRIVATE = 3


@dataclass(frozen=True, slots=True, repr=False)
class Envelope:
    """What a share says now; a higher serial replaces it.

    public: Ed25519 key of the folder, 32 bytes. serial: from 1. expires_s: seconds since 1970, 0 for never.
    epoch, version: the newest head when this was written; version 0 when there was none.
    wrapped: R of that epoch, as its kind wraps it; b"" where the share is revoked.
    """

    share: ShareKind
    public: bytes
    fingerprint: Fingerprint
    serial: int
    expires_s: int
    epoch: int
    version: int
    wrapped: bytes


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
        envelope.serial, envelope.expires_s, envelope.epoch, envelope.version, len(envelope.wrapped),
    )  # fmt: skip
    return sign(fixed + envelope.wrapped, key, _LABEL)


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
    if share > max(_KINDS) or grants != _GRANTS_READING:
        raise NewerFormat(
            "this share is of a kind unknown here: a newer version of UsenetSync is needed to open it"
        )
    envelope = Envelope(ShareKind(share), public, fingerprint, serial, expires, epoch, version, wrapped)
    _check(envelope)
    if at is not None and at.id != envelope_address(serial).id:
        raise ContentMismatch(f"the envelope of serial {serial} stands in the place of another")
    return envelope


def unwrap(
    envelope: Envelope, share_secret: bytes, passphrase: str | None = None, identity: Identity | None = None
) -> bytes:
    """R, 32 bytes, out of a decoded envelope; share_secret: S of the access string.

    Raises ShareRevoked, PassphraseNeeded, WrongPassphrase, NotAMember. Takes up to a second and 256 MiB where the
    publisher chose the most that is allowed.
    """
    if envelope.share is ShareKind.REVOKED:
        raise ShareRevoked("this share was revoked by its owner")
    if envelope.share is ShareKind.PROTECTED:
        if passphrase is None:
            raise PassphraseNeeded("this share is protected by a passphrase; --passphrase-file gives it")
        return _unlock(envelope, share_secret, passphrase)
    if envelope.share is ShareKind.PRIVATE:
        return _find_stanza(envelope, identity)
    return envelope.wrapped


# -- protected by a passphrase ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Argon2:
    """Parameters of Argon2id (RFC 9106). memory_kib: of 1,024 bytes; more of any costs a guesser more, and us."""

    passes: int = 3
    lanes: int = 4
    memory_kib: int = 65_536

    def check(self) -> None:
        """Raises LimitExceeded before anything is spent: these come from outside."""
        within = (
            1 <= self.passes <= MAX_PASSES
            and 1 <= self.lanes <= MAX_LANES
            and 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB
            and self.passes * self.memory_kib <= MAX_MEMORY_PASSES_KIB
        )
        if not within:
            raise LimitExceeded(
                f"a share asks for {self.passes} passes over {self.memory_kib:,} KiB with {self.lanes} lanes to try "
                f"a passphrase; the limit is {MAX_MEMORY_KIB:,} KiB, and {MAX_MEMORY_PASSES_KIB:,} KiB over all passes"
            )


MAX_PASSES = 16
MAX_LANES = 8
MAX_MEMORY_KIB = 262_144
MAX_MEMORY_PASSES_KIB = 1_048_576
SALT_BYTES = 16
_ARGON2ID = 1
_PROTECTED = struct.Struct(">BBHI16s48s")
_STRETCHED = struct.Struct(">BHI16s32s")
_ONCE = bytes(12)


@dataclass(frozen=True, slots=True, repr=False)
class Stretched:
    """A passphrase after Argon2id: enough to wrap later secrets under the same passphrase, without knowing it."""

    argon2: Argon2
    salt: bytes
    key: bytes

    def pack(self) -> bytes:
        """For the vault to seal."""
        return _STRETCHED.pack(
            self.argon2.lanes, self.argon2.passes, self.argon2.memory_kib, self.salt, self.key
        )

    @classmethod
    def unpack(cls, packed: bytes) -> "Stretched":
        """The inverse. Raises FormatError."""
        if len(packed) != _STRETCHED.size:
            raise FormatError("what was kept of a passphrase is cut short")
        lanes, passes, memory, salt, key = _STRETCHED.unpack(packed)
        return cls(Argon2(passes, lanes, memory), salt, key)


def stretch(passphrase: str, argon2: Argon2 | None = None, salt: bytes | None = None) -> Stretched:
    """Argon2id of a passphrase, NFC-normalised; a salt is drawn. Raises UsageError for none, LimitExceeded."""
    content = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    if not 1 <= len(content) <= MAX_PASSPHRASE_BYTES:
        raise UsageError(f"a passphrase has 1 to {MAX_PASSPHRASE_BYTES:,} bytes")
    argon2 = argon2 or Argon2()
    argon2.check()
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    function = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=argon2.passes,
        lanes=argon2.lanes,
        memory_cost=argon2.memory_kib,
    )
    return Stretched(argon2, salt, function.derive(content))


def wrap_protected(
    read_secret: bytes, share_secret: bytes, stretched: Stretched, place: tuple[Fingerprint, int, int]
) -> bytes:
    """The wrapped secret of a protected share, 72 bytes; place: fingerprint, serial and epoch of its envelope."""
    argon2 = stretched.argon2
    sealed = _passphrase_cipher(stretched, share_secret, place).encrypt(_ONCE, read_secret, None)
    return _PROTECTED.pack(_ARGON2ID, argon2.lanes, argon2.passes, argon2.memory_kib, stretched.salt, sealed)


def _unlock(envelope: Envelope, share_secret: bytes, passphrase: str) -> bytes:
    _, lanes, passes, memory, salt, sealed = _PROTECTED.unpack(envelope.wrapped)
    stretched = stretch(passphrase, Argon2(passes, lanes, memory), salt)
    place = (envelope.fingerprint, envelope.serial, envelope.epoch)
    try:
        return _passphrase_cipher(stretched, share_secret, place).decrypt(_ONCE, sealed, None)
    except InvalidTag:
        raise WrongPassphrase("this is not the passphrase of the share") from None


def _passphrase_cipher(
    stretched: Stretched, share_secret: bytes, place: tuple[Fingerprint, int, int]
) -> AESGCM:
    """A key that encrypts one thing: R of one epoch, in one envelope. So its nonce may be zeros."""
    return AESGCM(derive(stretched.key + share_secret, "passphrase", _PLACE.pack(*place)))


def _check_protected(wrapped: bytes) -> None:
    if len(wrapped) != _PROTECTED.size:
        raise FormatError(f"a protected share wraps {_PROTECTED.size} bytes")
    function, lanes, passes, memory, _, _ = _PROTECTED.unpack(wrapped)
    if function > _ARGON2ID:
        raise NewerFormat(
            "this share treats its passphrase in a way that a newer version of UsenetSync knows"
        )
    if function != _ARGON2ID:
        raise FormatError("a protected share names no way to treat its passphrase")
    Argon2(passes, lanes, memory).check()


# -- private, for listed people --------------------------------------------------------------


def wrap_private(read_secret: bytes, members: Sequence[bytes], place: tuple[Fingerprint, int, int]) -> bytes:
    """One stanza for each member (public keys of 1,216 bytes), among others to nobody, in no order.

    Filled up to 4, 8, 16 ... stanzas of 1,168 bytes. Raises LimitExceeded beyond 512 members, BadCard.
    """
    info = _STANZA + _PLACE.pack(*place)
    count = stanzas_for(len(members))
    stanzas = [wrap(member, read_secret, info) for member in members]
    stanzas += [wrap_for_nobody(info) for _ in range(count - len(members))]
    secrets.SystemRandom().shuffle(stanzas)
    return b"".join(stanzas)


def stanzas_for(members: int) -> int:
    """How many stanzas hide how many members there are: the next power of two, four at least."""
    if members > MOST_STANZAS:
        raise LimitExceeded(f"a private share has at most {MOST_STANZAS} members")
    return max(FEWEST_STANZAS, 1 << (members - 1).bit_length()) if members else FEWEST_STANZAS


def _find_stanza(envelope: Envelope, identity: Identity | None) -> bytes:
    info = _STANZA + _PLACE.pack(envelope.fingerprint, envelope.serial, envelope.epoch)
    if identity is not None:
        for stanza in _stanzas(envelope.wrapped):
            secret = identity.unwrap(stanza, info)
            if secret is not None and len(secret) == KEY_BYTES:
                return secret
    raise NotAMember(
        "this share is for listed people, and you are not among them; "
        "give the owner what 'usyncctl identity export' prints"
    )


def _stanzas(wrapped: bytes) -> Iterator[bytes]:
    return (wrapped[at : at + STANZA_BYTES] for at in range(0, len(wrapped), STANZA_BYTES))


def _check_private(wrapped: bytes) -> None:
    count, rest = divmod(len(wrapped), STANZA_BYTES)
    if count > MOST_STANZAS:
        raise LimitExceeded(f"a private share has at most {MOST_STANZAS} stanzas")
    if rest or count < FEWEST_STANZAS or count.bit_count() != 1:
        raise FormatError("a private share has 4, 8, 16 ... stanzas")


# -- what both sides keep --------------------------------------------------------------------


def _check_length(expected: int) -> Callable[[bytes], None]:
    def check(wrapped: bytes) -> None:
        if len(wrapped) != expected:
            raise FormatError(f"a share of this kind wraps {expected} bytes")

    return check


_KINDS: Mapping[ShareKind, Callable[[bytes], None]] = {
    ShareKind.REVOKED: _check_length(0),
    ShareKind.PUBLIC: _check_length(KEY_BYTES),
    ShareKind.PROTECTED: _check_protected,
    ShareKind.PRIVATE: _check_private,
}


def _check(envelope: Envelope) -> None:
    """The limits that both sides keep."""
    envelope_address(envelope.serial)
    if not (1 <= envelope.epoch <= MAX_EPOCH and 0 <= envelope.version <= MAX_VERSION):
        raise LimitExceeded(f"no share is of epoch {envelope.epoch} and version {envelope.version}")
    if not 0 <= envelope.expires_s <= MAX_VERSION:
        raise LimitExceeded("an envelope's expiry is before 1970 or beyond all time")
    _KINDS[envelope.share](envelope.wrapped)
