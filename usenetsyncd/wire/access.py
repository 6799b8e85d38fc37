"""Access strings: what a person is given to read, watch or recover folders.

bech32m (BIP-350), so that a typing error of up to four letters is always noticed in a string of under 90.
Source: docs/format.md 9 (access strings); vectors/access.json.
"""

import secrets
from collections.abc import Iterable
from enum import Enum

from usenetsyncd.errors import BadAccessString, NewerFormat
from usenetsyncd.model import Fingerprint
from usenetsyncd.wire.keys import FINGERPRINT_BYTES, MASTER_BYTES

SHARE_SECRET_BYTES = 24
ACCESS_VERSION = 1
MAX_STRING = 90

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3
_CHECKSUM_LETTERS = 6


class AccessKind(Enum):
    """What a string allows; its value is the string's prefix."""

    READ = "usyncread"
    VERIFY = "usyncvrfy"
    RECOVERY = "usyncrcvr"

    @property
    def secret_bytes(self) -> int:
        """Length of the secret: S of a share, or M of an installation."""
        return MASTER_BYTES if self is AccessKind.RECOVERY else SHARE_SECRET_BYTES

    @property
    def fingerprint_bytes(self) -> int:
        """Length of the folder's fingerprint; a recovery string is not about one folder."""
        return 0 if self is AccessKind.RECOVERY else FINGERPRINT_BYTES


def new_share_secret() -> bytes:
    """S: 24 random bytes."""
    return secrets.token_bytes(SHARE_SECRET_BYTES)


def encode_access(kind: AccessKind, secret: bytes, fingerprint: Fingerprint) -> str:
    """The string for ``secret`` (24 bytes; recovery: 32) and ``fingerprint`` (16 bytes; recovery: none)."""
    if len(secret) != kind.secret_bytes or len(fingerprint) != kind.fingerprint_bytes:
        wanted = f"{kind.secret_bytes} and {kind.fingerprint_bytes}"
        raise BadAccessString(f"a {kind.value} string holds a secret and a fingerprint of {wanted} bytes")
    values = [ACCESS_VERSION, *_regroup(secret + fingerprint, 8, 5)]
    checksum = _polymod([*_expand_prefix(kind.value), *values, *bytes(_CHECKSUM_LETTERS)]) ^ _BECH32M
    values += [checksum >> 5 * (_CHECKSUM_LETTERS - 1 - i) & 31 for i in range(_CHECKSUM_LETTERS)]
    return kind.value + "1" + "".join(_ALPHABET[value] for value in values)


def decode_access(string: str) -> tuple[AccessKind, bytes, Fingerprint]:
    """(kind, secret, fingerprint). Spaces and line breaks are ignored, as is case where it is not mixed.

    Raises BadAccessString saying what is wrong, and NewerFormat. The message never repeats the string.
    """
    kind, letters = _take_prefix(string)
    try:
        values = [_VALUES[letter] for letter in letters]
    except KeyError:
        raise BadAccessString("the access string has a character that none has: one is mistyped") from None
    if len(values) < 1 + _CHECKSUM_LETTERS:
        raise BadAccessString("the access string is cut short")
    if _polymod([*_expand_prefix(kind.value), *values]) != _BECH32M:
        raise BadAccessString("the access string is mistyped or incomplete: its checksum does not match")
    version, payload = values[0], values[1:-_CHECKSUM_LETTERS]
    if version > ACCESS_VERSION:
        raise NewerFormat("the access string was made by a newer version of UsenetSync")
    return kind, *_split_payload(kind, version, payload)


def _take_prefix(string: str) -> tuple[AccessKind, str]:
    compact = "".join(string.split())
    if len(compact) > MAX_STRING:
        raise BadAccessString(f"an access string has at most {MAX_STRING} characters; this is longer")
    if compact.lower() != compact and compact.upper() != compact:
        raise BadAccessString("the access string mixes capital and small letters: one is mistyped")
    # bech32's separator is the last "1": none follows it, for "1" is not in the alphabet.
    prefix, separator, letters = compact.lower().rpartition("1")
    for kind in AccessKind:
        if separator and prefix == kind.value:
            return kind, letters
    known = ", ".join(kind.value + "1..." for kind in AccessKind)
    raise BadAccessString(f"not an access string: one begins with {known}")


def _split_payload(kind: AccessKind, version: int, payload: list[int]) -> tuple[bytes, Fingerprint]:
    length = kind.secret_bytes + kind.fingerprint_bytes
    spare = len(payload) * 5 - length * 8
    if version != ACCESS_VERSION or not 0 <= spare < 5 or (payload and payload[-1] & ((1 << spare) - 1)):
        raise BadAccessString("the access string is well-formed but not one that UsenetSync makes")
    content = bytes(_regroup(payload, 5, 8))[:length]
    return content[: kind.secret_bytes], Fingerprint(content[kind.secret_bytes :])


def _expand_prefix(prefix: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _polymod(values: Iterable[int]) -> int:
    """The BCH checksum of BIP-173."""
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATORS):
            if top >> i & 1:
                checksum ^= generator
    return checksum


def _regroup(values: Iterable[int], width: int, new_width: int) -> Iterable[int]:
    """The same bits in groups of another width; the last group of 5 is filled with zero bits."""
    collected = bits = 0
    for value in values:
        collected = collected << width | value
        bits += width
        while bits >= new_width:
            bits -= new_width
            yield collected >> bits
            collected &= (1 << bits) - 1
    if bits and new_width < width:
        yield collected << (new_width - bits)
