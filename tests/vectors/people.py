"""Vectors of cards, and of what opens envelopes."""

import base64
import hashlib
import struct
from collections.abc import Iterator

from tests.vectors.make_stanzas import EPOCH, MEMBERS, SERIAL, stanzas
from tests.vectors.samples import OK, READ_SECRET, SHARE_SECRET, SIGNER, Vector, error
from usenetsyncd.wire import identity, membership
from usenetsyncd.wire.keys import SigningKey, derive, label
from usenetsyncd.wire.membership import Argon2

PASSPHRASE = "orbit velvet maple canyon drift humble"
ACCENTED = "caf\u00e9 cr\u00e8me"
DECOMPOSED = "cafe\u0301 cre\u0300me"
SALT = bytes(range(16))
QUICK = Argon2(1, 1, 64)
MADE_S = 1_763_800_000


# -- what opens envelopes --------------------------------------------------------------------


def _envelope(kind: int, wrapped: bytes, serial: int = SERIAL, epoch: int = EPOCH) -> bytes:
    """Signed by the folder's own key, whatever is in it."""
    message = struct.pack(
        ">BBBB16s32sQqIQI", 1, kind, 1, 0, SIGNER.fingerprint, SIGNER.public, serial, 0, epoch, 118, len(wrapped)
    )  # fmt: skip
    message += wrapped
    return message + SIGNER.sign(label("envelope") + message)


def _protected(passphrase: str, argon2: Argon2 = QUICK, share_secret: bytes = SHARE_SECRET) -> bytes:
    stretched = membership.stretch(passphrase, argon2, SALT)
    place = (SIGNER.fingerprint, SERIAL, EPOCH)
    return membership.wrap_protected(READ_SECRET, share_secret, stretched, place)


def make_shares() -> list[Vector]:
    """Envelopes, opened or not."""
    base = {"fingerprint": SIGNER.fingerprint.hex(), "s": SHARE_SECRET.hex()}
    vectors: list[Vector] = []
    private = b"".join(stanzas())
    by_one, by_two = ({"identity": secret.hex()} for secret in MEMBERS)
    quick, careful = _protected(PASSPHRASE), _protected(PASSPHRASE, Argon2())
    accented = _protected(ACCENTED)
    for kind, wrapped, means in (
        (1, READ_SECRET, {}),
        (2, quick, {"passphrase": PASSPHRASE}),
        (2, careful, {"passphrase": PASSPHRASE}),
        (2, accented, {"passphrase": ACCENTED}),
        (2, accented, {"passphrase": DECOMPOSED}),
        (3, private, by_one),
        (3, private, by_two),
        (3, b"".join(reversed(stanzas())), by_one),
        (3, private + bytes(len(private)), by_two),
    ):
        opened = {"envelope": _envelope(kind, wrapped).hex(), "r": READ_SECRET.hex()}
        vectors.append(base | opened | means | OK)
    for content, means, code, why in _closed(quick, private):
        vectors.append(base | {"envelope": content.hex()} | means | error(code, why))
    return vectors


def _closed(quick: bytes, private: bytes) -> Iterator[tuple[bytes, Vector, str, str]]:
    right, member = {"passphrase": PASSPHRASE}, {"identity": MEMBERS[0].hex()}
    wrong, bad, over = "wrong_passphrase", "format_error", "limit_exceeded"
    yield _envelope(0, b""), {}, "share_revoked", "revoked"
    yield _envelope(0, b""), right | member, "share_revoked", "revoked, whatever one has"
    yield _envelope(2, quick), {}, "passphrase_needed", "no passphrase"
    yield _envelope(2, quick), member, "passphrase_needed", "an identity is no passphrase"
    yield _envelope(2, quick), {"passphrase": PASSPHRASE.upper()}, wrong, "capital letters"
    yield _envelope(2, quick), {"passphrase": PASSPHRASE + " "}, wrong, "a space at the end"
    yield _envelope(2, _protected(PASSPHRASE, share_secret=bytes(24))), right, wrong, "wrapped with another S"
    yield _envelope(2, quick, serial=4), right, wrong, "moved to another serial"
    yield _envelope(2, quick, epoch=2), right, wrong, "moved to another epoch"
    yield _envelope(2, quick[:-1] + bytes((quick[-1] ^ 1,))), right, wrong, "tag altered"
    yield _envelope(2, quick[:-1]), right, bad, "71 bytes"
    yield _envelope(2, quick + b"\0"), right, bad, "73 bytes"
    yield _envelope(2, b""), right, bad, "nothing wrapped"
    yield _envelope(2, READ_SECRET), right, bad, "wrapped as if it were public"
    for at, patch, code, why in (
        (0, b"\2", "newer_format", "another function"),
        (0, b"\0", bad, "no function"),
        (1, b"\0", over, "no lanes"),
        (1, b"\x09", over, "nine lanes"),
        (1, b"\xff", over, "255 lanes"),
        (2, b"\0\0", over, "no passes"),
        (2, b"\0\x11", over, "17 passes"),
        (2, b"\xff\xff", over, "65,535 passes"),
        (4, struct.pack(">I", 7), over, "less memory than 8 KiB for a lane"),
        (4, struct.pack(">I", 262_145), over, "1 KiB above 256 MiB"),
        (4, struct.pack(">I", 2**32 - 1), over, "4 TiB of memory"),
        (2, struct.pack(">HI", 5, 262_144), over, "256 MiB five times over"),
        (2, struct.pack(">HI", 16, 65_537), over, "sixteen passes over 64 MiB and a bit"),
    ):
        yield _envelope(2, quick[:at] + patch + quick[at + len(patch) :]), right, code, why
    stranger = {"identity": bytes(32).hex()}
    out = "not_a_member"
    yield _envelope(3, private), {}, out, "no identity"
    yield _envelope(3, private), stranger, out, "another identity"
    yield _envelope(3, private), right, out, "a passphrase is no identity"
    yield _envelope(3, private, serial=4), member, out, "moved to another serial"
    yield _envelope(3, private, epoch=2), member, out, "moved to another epoch"
    yield _envelope(3, bytes(4 * 1_168)), member, out, "four stanzas of zeros"
    yield _envelope(3, b""), member, bad, "no stanzas"
    yield _envelope(3, private[: 2 * 1_168]), member, bad, "two stanzas"
    yield _envelope(3, private[: 3 * 1_168]), member, bad, "three stanzas"
    yield _envelope(3, private + bytes(1_168)), member, bad, "five stanzas"
    yield _envelope(3, private[:-1]), member, bad, "four stanzas less a byte"
    yield _envelope(3, private + b"\0"), member, bad, "four stanzas and a byte"
    yield _envelope(1, private), member, bad, "public, with stanzas"
    yield _envelope(4, READ_SECRET), {}, "newer_format", "a kind of tomorrow"


# -- cards -----------------------------------------------------------------------------------


def make_cards() -> list[Vector]:
    """Identities, and cards as text."""
    vectors: list[Vector] = [_identity(secret) | OK for secret in (*MEMBERS, bytes(32))]
    for secret, name in (
        (MEMBERS[0], "Alice"),
        (MEMBERS[1], "J\u00fcrgen Gro\u00df, Ulm"),
        (bytes(32), "n" * 64),
    ):
        one = identity.Identity(secret)
        text = one.card(name, MADE_S)
        fields = {
            "name": name,
            "made_s": MADE_S,
            "fingerprint": one.fingerprint.hex(),
            "words": identity.spoken(one.fingerprint),
        }
        vectors.append({"do": "card", "text": text} | fields | OK)
        if name == "Alice":
            folded = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
            vectors.append({"do": "card", "text": f"  {folded}\r\n"} | fields | OK)
    vectors += [{"do": "card", "text": text} | error(code, why) for text, code, why in _bad_cards()]
    return vectors


def _identity(secret: bytes) -> Vector:
    one = identity.Identity(secret)
    return {
        "do": "identity",
        "i": secret.hex(),
        "e": one.encryption_public.hex(),
        "v": one.signing_public.hex(),
        "fingerprint": one.fingerprint.hex(),
        "words": identity.spoken(one.fingerprint),
    }


def _text(card: bytes, check: bytes | None = None) -> str:
    check = hashlib.sha256(label("card text") + card).digest()[:4] if check is None else check
    return "usyncuser1" + base64.urlsafe_b64encode(card + check).rstrip(b"=").decode("ascii")


def _bad_cards() -> Iterator[tuple[str, str, str]]:
    bad, newer, forged = "bad_card", "newer_format", "bad_signature"
    text = identity.Identity(MEMBERS[0]).card("Alice", MADE_S)
    content = base64.urlsafe_b64decode(text.removeprefix("usyncuser1") + "=" * (-len(text[10:]) % 4))[:-4]
    signer = SigningKey(derive(MEMBERS[0], "identity signature"))

    def signed(at: int, patch: bytes, message: bytes = content[:-64]) -> str:
        message = message[:at] + patch + message[at + len(patch) :]
        return _text(message + signer.sign(label("card") + message))

    def named(name: bytes) -> str:
        return signed(2, bytes((len(name) & 0xFF,)), content[:1_260] + name)

    yield "", bad, "empty"
    yield "hello", bad, "no card at all"
    yield text[1:], bad, "prefix cut"
    yield text.replace("usyncuser1", "usyncread1"), bad, "prefix of an access string"
    yield "usyncuser1", bad, "nothing after the prefix"
    yield text.upper(), bad, "capital letters"
    yield text[:-1], bad, "cut by one letter"
    yield text[:900], bad, "cut in the middle"
    yield text + "A", bad, "a letter more"
    yield text + "=", bad, "padding"
    yield text[:50] + "+" + text[51:], bad, "a letter of the other base64"
    yield text[:50] + "\u00e9" + text[51:], bad, "a letter that is not ASCII"
    yield text[:50] + ("A" if text[50] != "A" else "B") + text[51:], bad, "one letter mistyped"
    yield text + text, bad, "two cards"
    yield text + "A" * 4_096, bad, "longer than 4,096 characters"
    yield _text(content, b"\0\0\0\0"), bad, "check of zeros"
    yield _text(b""), bad, "nothing in it"
    yield _text(content[:1_323]), bad, "shorter than any card"
    yield _text(content[:-64] + bytes(64)), forged, "no signature"
    yield _text(content[:100] + bytes((content[100] ^ 1,)) + content[101:]), forged, "a key exchanged"
    yield _text(content[:1_260] + b"Mallo" + content[1_265:]), forged, "a name exchanged"
    stranger = SigningKey(derive(MEMBERS[1], "identity signature"))
    yield _text(content[:-64] + stranger.sign(label("card") + content[:-64])), forged, "signed by another"
    yield (
        _text(content[:-64] + signer.sign(label("head") + content[:-64])),
        forged,
        "signed as something else",
    )
    yield signed(0, b"\0"), bad, "version 0"
    yield signed(0, b"\2"), newer, "version 2"
    yield signed(1, b"\2"), newer, "other keys"
    yield signed(3, b"\1"), bad, "reserved byte set"
    yield signed(2, b"\x04"), bad, "a name shorter than what is there"
    yield signed(2, b"\xff"), bad, "a name beyond the end"
    yield signed(4, b"\xff" * 8), bad, "made before 1970"
    yield signed(12, b"\xff" * 1_184), bad, "an ML-KEM key beyond its modulus"
    yield signed(1_196, bytes(32)), bad, "an X25519 key of small order"
    yield named(b""), bad, "no name"
    yield named(b"n" * 65), bad, "a name of 65 bytes"
    yield named(b"\xff\xfe"), bad, "a name that is not UTF-8"
    yield named(b" Alice"), bad, "a space in front"
    yield named(b"Ali\nce"), bad, "a line break in the name"
    yield named(b"Ali\x1b[2Jce"), bad, "a terminal's command in the name"
    yield named("Ali\u202ece".encode()), bad, "a name that turns the direction of writing"
    yield named("Ju\u0308rgen".encode()), bad, "a name that is not in form C"
