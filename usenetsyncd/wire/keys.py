"""The key tree: every secret, key and article name, and what each is derived from.

Source: docs/format.md 2 (keys) and 3 (names); vectors keys.json, names.json.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from usenetsyncd.errors import BadSignature, FormatError, LimitExceeded
from usenetsyncd.model import ArticleAddress, Fingerprint, MessageId
from usenetsyncd.wire.article import ArticleName

Bytes = bytes | bytearray | memoryview
"""What the wire accepts where it only reads."""

MASTER_BYTES = 32
KEY_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
FINGERPRINT_BYTES = 16
ADDRESS_BYTES = 20
MAX_EPOCH = 2**32 - 1

_SALT = b"usenetsync/1"
_HASH_BYTES = 32


def label(name: str) -> bytes:
    """The prefix that keeps one use of a key apart from every other: ``usenetsync/1 <name>`` and a NUL."""
    return b"usenetsync/1 " + name.encode("ascii") + b"\0"


_MESSAGE_ID = label("message-id")
_WORDS = label("words")


def expand(key: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869 2.3); ``key`` is already uniform."""
    block = b""
    output = b""
    counter = 0
    while len(output) < length:
        counter += 1
        block = hmac.digest(key, block + context + bytes((counter,)), "sha256")
        output += block
    return output[:length]


def derive(secret: bytes, name: str, context: bytes = b"") -> bytes:
    """32 bytes for one purpose: HKDF-SHA-256 with the salt ``usenetsync/1`` and info = label | context."""
    return expand(hmac.digest(_SALT, secret, "sha256"), label(name) + context, KEY_BYTES)


def new_master() -> bytes:
    """M: 32 random bytes, the one secret of an installation."""
    return secrets.token_bytes(MASTER_BYTES)


def folder_secret(master: bytes, folder_uid: bytes) -> bytes:
    """W_f: the secret of one folder. ``folder_uid`` is drawn at random once (16 bytes), never reused."""
    return derive(master, "folder", folder_uid)


def read_secret(folder_secret: bytes, epoch: int) -> bytes:
    """R_e: what lets a reader read one epoch (1..2^32-1) of a folder."""
    if not 1 <= epoch <= MAX_EPOCH:
        raise LimitExceeded(f"epoch {epoch} is not between 1 and {MAX_EPOCH}")
    return derive(folder_secret, "read", epoch.to_bytes(4, "big"))


# -- signatures ------------------------------------------------------------------------------


def fingerprint_of(public: bytes) -> Fingerprint:
    """16 bytes that name a folder on the wire, from its Ed25519 public key."""
    return Fingerprint(hashlib.sha256(label("fingerprint") + public).digest()[:FINGERPRINT_BYTES])


class SigningKey:
    """A folder's Ed25519 key: who has it publishes."""

    __slots__ = ("_private", "fingerprint", "public")

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self.fingerprint = fingerprint_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message (RFC 8032)."""
        return self._private.sign(message)


def signing_key(folder_secret: bytes) -> SigningKey:
    """The signing key of a folder, from its secret."""
    return SigningKey(derive(folder_secret, "sign"))


def verify_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Raises BadSignature unless ``signature`` (64 bytes) of ``message`` is by ``public`` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise BadSignature("the signature is not by the folder's key") from error


# -- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class ReadKeys:
    """What opens and finds articles; three keys of 32 bytes. Never printed.

    identity: names content. sealing: opens bodies. location: names articles.
    """

    fingerprint: Fingerprint
    identity: bytes
    sealing: bytes
    location: bytes


def read_keys(secret: bytes, fingerprint: Fingerprint) -> ReadKeys:
    """The keys of one epoch of a folder, from its read secret R_e (32 bytes)."""
    return _keys(secret, "", fingerprint)


def share_keys(share_secret: bytes, fingerprint: Fingerprint) -> ReadKeys:
    """The keys of a share's envelopes, from the secret S (24 bytes) of its access string."""
    return _keys(share_secret, "share ", fingerprint)


def _keys(secret: bytes, prefix: str, fingerprint: Fingerprint) -> ReadKeys:
    if len(fingerprint) != FINGERPRINT_BYTES:
        raise FormatError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(fingerprint)}")
    return ReadKeys(
        fingerprint,
        derive(secret, prefix + "identity", fingerprint),
        derive(secret, prefix + "sealing", fingerprint),
        derive(secret, prefix + "location", fingerprint),
    )


# -- names -----------------------------------------------------------------------------------


def encode_address(at: ArticleAddress) -> bytes:
    """20 bytes: kind (1), id (16), copy (1), generation (2, big-endian)."""
    if len(at.id) != 16:
        raise FormatError(f"the id of an article has 16 bytes, not {len(at.id)}")
    if not (0 <= at.copy <= 0xFF and 0 <= at.generation <= 0xFFFF):
        raise LimitExceeded(f"no article has copy {at.copy} and generation {at.generation}")
    return bytes((at.kind,)) + at.id + bytes((at.copy,)) + at.generation.to_bytes(2, "big")


def message_id_of(location: bytes, at: ArticleAddress) -> MessageId:
    """The message-id alone, for asking whether an article is there."""
    stream = hmac.digest(location, _MESSAGE_ID + encode_address(at), "sha256")
    return MessageId(f"<{stream[:16].hex()}@{_pronounce(stream[16:20])}.local>")


def name_article(location: bytes, at: ArticleAddress) -> ArticleName:
    """All that a news server sees of an article beside its body; every part is a PRF of the address.

    location: K_loc, 32 bytes. Source: docs/format.md 3; vectors/names.json.
    """
    stream = hmac.digest(location, _WORDS + encode_address(at), "sha256")
    poster = f"{_pronounce(stream[16:18])} <{_pronounce(stream[18:22])}@{_pronounce(stream[22:26])}.local>"
    return ArticleName(message_id_of(location, at), stream[:16].hex(), poster, stream[26:32].hex())


_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


def _pronounce(stream: bytes) -> str:
    """Five letters for every two bytes, as proquints do (Wilkerson 2009): unbiased, and like a host name."""
    letters: list[str] = []
    for i in range(0, len(stream), 2):
        pair = stream[i] << 8 | stream[i + 1]
        letters += (
            _CONSONANTS[pair >> 12],
            _VOWELS[pair >> 10 & 3],
            _CONSONANTS[pair >> 6 & 15],
            _VOWELS[pair >> 4 & 3],
            _CONSONANTS[pair & 15],
        )
    return "".join(letters)
