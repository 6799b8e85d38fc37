"""Cards, and what opens the envelopes of shares: docs/format.md, sections 9.2, 10.1 and 10.2.

HPKE and X-Wing are put together here from their parts (RFC 9180; draft-connolly-cfrg-xwing-kem).
"""

import base64
import binascii
import hashlib
import string
import struct
import unicodedata
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.reader.sealed import Refused, derive, expand, label, mac, must, verify
from tests.reader.signed import Envelope

STANZA = 1_168
KEM, KDF, AEAD = 0x647A, 0x0001, 0x0002
SUITE = b"HPKE" + struct.pack(">HHH", KEM, KDF, AEAD)
XWING = bytes.fromhex("5c2e2f2f5e5c")  # \.//^\, which looks like one
LETTERS = set(string.ascii_letters + string.digits + "-_")


@dataclass(frozen=True, slots=True)
class Identity:
    """Section 9.2: both halves of both pairs that are needed."""

    mlkem: MLKEM768PrivateKey
    x25519: X25519PrivateKey
    e: bytes
    v: bytes

    @classmethod
    def of(cls, secret: bytes) -> "Identity":
        x = hashlib.shake_256(derive(secret, "identity encryption", b"")).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(x[:64])
        x25519 = X25519PrivateKey.from_private_bytes(x[64:])
        signing = Ed25519PrivateKey.from_private_bytes(derive(secret, "identity signature", b""))
        e = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        return cls(mlkem, x25519, e, signing.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    made_s: int
    fingerprint: bytes


def identity_fingerprint(e: bytes, v: bytes) -> bytes:
    return hashlib.sha256(label("identity") + e + v).digest()[:16]


# -- cards -----------------------------------------------------------------------------------


def read_card(text: str) -> Card:
    compact = "".join(text.split())
    must(len(compact) <= 4_096 and compact.startswith("usyncuser1"), "bad_card", "prefix or length")
    letters = compact[10:]
    must(set(letters) <= LETTERS, "bad_card", "letters")
    try:
        checked = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    except binascii.Error:
        raise Refused("bad_card", "letters") from None
    must(base64.urlsafe_b64encode(checked).rstrip(b"=").decode() == letters, "bad_card", "spare bits")
    card, check = checked[:-4], checked[-4:]
    must(hashlib.sha256(label("card text") + card).digest()[:4] == check, "bad_card", "check")
    must(not card or card[0] <= 1, "newer_format")
    must(len(card) >= 1_324 and card[0] == 1, "bad_card", "length or version")
    must(card[1] == 1, "newer_format", "keys")
    name, made = card[1_260:-64], struct.unpack(">q", card[4:12])[0]
    must(card[2] == len(name) and card[3] == 0 and made >= 0, "bad_card")
    e, v = card[12:1_228], card[1_228:1_260]
    verify(v, card[-64:], label("card") + card[:-64])
    check_keys(e)
    return Card(read_name(name), made, identity_fingerprint(e, v))


def check_keys(e: bytes) -> None:
    """Whether HPKE would encrypt to them."""
    try:
        MLKEM768PublicKey.from_public_bytes(e[:1_184])
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(e[1_184:]))
    except ValueError:
        raise Refused("bad_card", "keys") from None


def read_name(name: bytes) -> str:
    must(1 <= len(name) <= 64, "bad_card", "name")
    try:
        shown = name.decode()
    except UnicodeDecodeError:
        raise Refused("bad_card", "name") from None
    plain = all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)
    must(plain and shown == shown.strip(" ") == unicodedata.normalize("NFC", shown), "bad_card", "name")
    return shown


# -- what opens an envelope ------------------------------------------------------------------


def unwrap(
    envelope: Envelope,
    fingerprint: bytes,
    s: bytes,
    passphrase: str | None = None,
    identity: Identity | None = None,
) -> bytes:
    """R of the envelope's epoch."""
    place = fingerprint + struct.pack(">QI", envelope.serial, envelope.epoch)
    must(envelope.share != 0, "share_revoked")
    if envelope.share == 1:
        return envelope.wrapped
    if envelope.share == 2:
        must(passphrase is not None, "passphrase_needed")
        return unlock(envelope.wrapped, place, s, str(passphrase))
    for at in range(0, len(envelope.wrapped), STANZA):
        found = None if identity is None else open_stanza(envelope.wrapped[at : at + STANZA], identity, place)
        if found is not None and len(found) == 32:
            return found
    raise Refused("not_a_member")


def unlock(wrapped: bytes, place: bytes, s: bytes, passphrase: str) -> bytes:
    lanes, passes, memory = struct.unpack(">BHI", wrapped[1:8])
    typed = unicodedata.normalize("NFC", passphrase).encode()
    function = Argon2id(salt=wrapped[8:24], length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    key = derive(function.derive(typed) + s, "passphrase", place)
    try:
        return AESGCM(key).decrypt(bytes(12), wrapped[24:], None)
    except InvalidTag:
        raise Refused("wrong_passphrase") from None


def open_stanza(stanza: bytes, identity: Identity, place: bytes) -> bytes | None:
    """RFC 9180, 5.1.1 and 6.1, for one message."""
    psk_id = labeled_extract(b"", b"psk_id_hash", b"")
    info = labeled_extract(b"", b"info_hash", label("stanza") + place)
    context = b"\0" + psk_id + info
    try:
        shared = decapsulate(stanza[:1_120], identity)
        secret = labeled_extract(shared, b"secret", b"")
        key = labeled_expand(secret, b"key", context, 32)
        nonce = labeled_expand(secret, b"base_nonce", context, 12)
        return AESGCM(key).decrypt(nonce, stanza[1_120:], None)
    except (InvalidTag, ValueError):
        return None


def decapsulate(enc: bytes, identity: Identity) -> bytes:
    """X-Wing."""
    lattice = identity.mlkem.decapsulate(enc[:1_088])
    curve = identity.x25519.exchange(X25519PublicKey.from_public_bytes(enc[1_088:]))
    return hashlib.sha3_256(lattice + curve + enc[1_088:] + identity.e[1_184:] + XWING).digest()


def labeled_extract(salt: bytes, name: bytes, key: bytes) -> bytes:
    return mac(salt or bytes(32), b"HPKE-v1" + SUITE + name + key)


def labeled_expand(key: bytes, name: bytes, info: bytes, length: int) -> bytes:
    return expand(key, struct.pack(">H", length) + b"HPKE-v1" + SUITE + name + info, length)
