"""Identities: who a private share can be for, and the card by which one person hands it to another.

An identity is two key pairs out of one secret: one that shares are encrypted to (X25519 and ML-KEM-768 together, so
that it holds while either does), and one that signs the card, which proves that whoever made it has the secret.
Source: docs/format.md 2 (keys) and 9.2 (cards); vectors/card.json.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from usenetsyncd.errors import BadCard, BadSignature, LimitExceeded, NewerFormat
from usenetsyncd.wire.keys import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey, derive, label, verify_signature
from usenetsyncd.wire.words import words_of

IDENTITY_SECRET_BYTES = 32
IDENTITY_FINGERPRINT_BYTES = 16
MLKEM_PUBLIC_BYTES = 1_184
X25519_BYTES = 32
ENCRYPTION_PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + X25519_BYTES
STANZA_BYTES = 1_168
"""Of a wrapped 32-byte secret: ML-KEM ciphertext 1,088 | X25519 key 32 | sealed secret 32 | tag 16."""

CARD_PREFIX = "usyncuser1"
MAX_NAME_BYTES = 64
MAX_CARD_CHARS = 4_096
CARD_VERSION = 1
SPOKEN_WORDS = 8
MAX_NUMBER = 2**32 - 1

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEMS = 1
_LABEL = label("card")
_CHECK_LABEL = label("card text")
_CHECK_BYTES = 4
_IMPOSSIBLE_KEY = "the card holds a key that cannot be one"
# version, suite, length of the name, reserved, made at
_FIXED = struct.Struct(f">BBBBq{ENCRYPTION_PUBLIC_BYTES}s{PUBLIC_BYTES}s")


class Identity:
    """The private half: opens what was wrapped for it and signs its card. Never printed."""

    def __init__(self, secret: bytes) -> None:
        """secret: 32 bytes, from ``identity_secret``."""
        if len(secret) != IDENTITY_SECRET_BYTES:
            raise LimitExceeded(f"an identity comes from {IDENTITY_SECRET_BYTES} bytes, not {len(secret)}")
        # As X-Wing expands its seed: an ML-KEM seed of 64 bytes and an X25519 key of 32.
        expanded = hashlib.shake_256(derive(secret, "identity encryption")).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private = MLKEM768X25519PrivateKey(mlkem, x25519)
        self._signing = SigningKey(derive(secret, "identity signature"))
        self.encryption_public = (
            mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        )
        self.signing_public = self._signing.public

    @property
    def fingerprint(self) -> bytes:
        """16 bytes over both public keys."""
        return identity_fingerprint(self.encryption_public, self.signing_public)

    def card(self, name: str, made_s: int) -> str:
        """The text to hand to whoever shall share with this identity. Raises BadCard for an impossible name."""
        encoded = _checked_name(name)
        message = _FIXED.pack(
            CARD_VERSION, _KEMS, len(encoded), 0, made_s, self.encryption_public, self.signing_public
        )
        message += encoded
        return _as_text(message + self._signing.sign(_LABEL + message))

    def unwrap(self, stanza: bytes, info: bytes) -> bytes | None:
        """What a stanza holds; None when it is not for this identity, which is all that can be told."""
        try:
            return _SUITE.decrypt(stanza, self._private, info=info)
        except (InvalidTag, ValueError):
            return None


def identity_secret(master: bytes, number: int) -> bytes:
    """The secret of an installation's identity: from M, so that the recovery kit brings it back. number: from 1."""
    if not 1 <= number <= MAX_NUMBER:
        raise LimitExceeded(f"no identity has number {number}")
    return derive(master, "identity", number.to_bytes(4, "big"))


def identity_fingerprint(encryption_public: bytes, signing_public: bytes) -> bytes:
    """16 bytes by which an identity is known."""
    digest = hashlib.sha256(label("identity") + encryption_public + signing_public).digest()
    return digest[:IDENTITY_FINGERPRINT_BYTES]


def spoken(fingerprint: bytes) -> str:
    """Eight words, 88 bits of a fingerprint: what two people read to each other."""
    return " ".join(words_of(fingerprint)[:SPOKEN_WORDS])


def wrap(public: bytes, secret: bytes, info: bytes) -> bytes:
    """A stanza of 1,168 bytes that only the identity behind ``public`` opens; another each time. Raises BadCard."""
    try:
        return _SUITE.encrypt(secret, _public_key(public), info=info)
    except ValueError:
        raise BadCard(_IMPOSSIBLE_KEY) from None


def wrap_for_nobody(info: bytes) -> bytes:
    """A stanza like any other, to a key that is thrown away."""
    key = MLKEM768X25519PrivateKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
    return _SUITE.encrypt(secrets.token_bytes(32), key.public_key(), info=info)


@dataclass(frozen=True, slots=False)
class Card:
    """A card that was read and whose signature is right: whoever made it has the identity's secret.

    made_s: seconds since 1970, as the maker's clock had it. text: the card as it is kept.
    """

    name: str
    made_s: int
    encryption_public: bytes
    signing_public: bytes
    text: str

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes over both public keys."""
        return identity_fingerprint(self.encryption_public, self.signing_public)


def read_card(text: str) -> Card:
    """A card, checked. Spaces and line breaks are ignored.

    Raises BadCard saying what is wrong, BadSignature, NewerFormat. No message repeats any of the text.
    """
    compact = "".join(text[: MAX_CARD_CHARS * 2].split())
    if len(text) > MAX_CARD_CHARS * 2 or len(compact) > MAX_CARD_CHARS:
        raise BadCard(f"a card has at most {MAX_CARD_CHARS:,} characters; this is longer")
    if not compact.startswith(CARD_PREFIX):
        raise BadCard(f"not a card: one begins with {CARD_PREFIX} and comes from: usyncctl identity export")
    content = _from_text(compact)
    if content[:1] > bytes((CARD_VERSION,)):
        raise NewerFormat("the card was made by a newer version of UsenetSync")
    if len(content) < _FIXED.size + SIGNATURE_BYTES or content[:1] != bytes((CARD_VERSION,)):
        raise BadCard("the card is not one that UsenetSync makes")
    _, suite, name_bytes, reserved, made_s, encryption, signing = _FIXED.unpack_from(content)
    message, signature = content[:-SIGNATURE_BYTES], content[-SIGNATURE_BYTES:]
    if suite != _KEMS:
        raise NewerFormat("the card has keys of a kind that a newer version of UsenetSync knows")
    name = message[_FIXED.size :]
    if len(name) != name_bytes or reserved or made_s < 0:
        raise BadCard("the card is not one that UsenetSync makes")
    try:
        verify_signature(signing, signature, _LABEL + message)
    except BadSignature:
        raise BadSignature("the card is not signed by the identity that it names") from None
    wrap(encryption, bytes(X25519_BYTES), b"")  # whatever a key may be refused for, it is refused now
    return Card(_decoded_name(name), made_s, encryption, signing, compact)


def _public_key(public: bytes) -> MLKEM768X25519PublicKey:
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_BYTES:]),
        )
    except ValueError:
        raise BadCard(_IMPOSSIBLE_KEY) from None


def _checked_name(name: str) -> bytes:
    encoded = name.encode("utf-8", "replace")
    if not 1 <= len(encoded) <= MAX_NAME_BYTES:
        raise BadCard(f"the name of an identity has 1 to {MAX_NAME_BYTES} bytes")
    if not _shows(name) or name != unicodedata.normalize("NFC", name):
        raise BadCard("the name of an identity has letters that show, and nothing else")
    return encoded


def _decoded_name(encoded: bytes) -> str:
    try:
        name = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCard("the name on the card is not text") from None
    _checked_name(name)
    return name


def _shows(name: str) -> bool:
    """No control, format, surrogate or unassigned characters, and no space at an end: names are compared by eye."""
    return name == name.strip() and all(
        letter == " " or unicodedata.category(letter)[0] not in "CZ" for letter in name
    )


def _as_text(content: bytes) -> str:
    checked = content + _check(content)
    return CARD_PREFIX + base64.urlsafe_b64encode(checked).rstrip(b"=").decode("ascii")


def _from_text(compact: str) -> bytes:
    letters = compact.removeprefix(CARD_PREFIX)
    try:
        checked = base64.b64decode(letters.translate(_URLSAFE) + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadCard("the card has a character that none has, or is cut short") from None
    content, check = checked[:-_CHECK_BYTES], checked[-_CHECK_BYTES:]
    if _as_text(content) != compact or not hmac.compare_digest(check, _check(content)):
        raise BadCard("the card is mistyped or cut short: its checksum does not match")
    return content


_URLSAFE = str.maketrans({"-": "+", "_": "/", "+": None, "/": None})


def _check(content: bytes) -> bytes:
    return hashlib.sha256(_CHECK_LABEL + content).digest()[:_CHECK_BYTES]
