"""Access strings, heads and envelopes: docs/format.md, sections 7 to 10."""

import itertools
import struct
from dataclasses import dataclass

from tests.reader.sealed import Refused, fingerprint_of, label, must, verify

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PAYLOADS = {"usyncread": 40, "usyncvrfy": 40, "usyncrcvr": 32}
MOST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Head:
    """Section 8. ``root``, ``stripes`` and ``overrides`` are segment, offset, length; ``older`` rows of epoch, first version, R."""

    public: bytes
    epoch: int
    version: int
    created_s: int
    expires_s: int
    previous: bytes
    root: tuple[bytes, int, int] | None
    files: int
    folders: int
    bytes_total: int
    older: tuple[tuple[int, int, bytes], ...]
    stripes: tuple[bytes, int, int] | None
    overrides: tuple[bytes, int, int] | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Section 10."""

    share: int
    public: bytes
    serial: int
    expires_s: int
    epoch: int
    version: int
    wrapped: bytes


def polymod(values: list[int]) -> int:
    """The checksum of BIP-173."""
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def read_access(string: str) -> tuple[str, bytes, bytes]:
    """Kind (the prefix), secret (S or M), fingerprint (empty for a recovery string)."""
    text = "".join(string.split())
    must(len(text) <= 90 and text.isascii() and text in (text.lower(), text.upper()), "bad_access_string")
    text = text.lower()
    prefix, one, letters = text.partition("1")
    must(bool(one) and prefix in PAYLOADS and set(letters) <= set(ALPHABET), "bad_access_string")
    values = [ALPHABET.index(letter) for letter in letters]
    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    must(len(values) >= 7 and polymod(spread + values) == 0x2BC830A3, "bad_access_string")
    version, groups = values[0], values[1:-6]
    must(version != 0, "bad_access_string")
    must(version == 1, "newer_format")
    size = PAYLOADS[prefix]
    must(len(groups) == -(-size * 8 // 5), "bad_access_string")
    bits = 0
    for group in groups:
        bits = bits << 5 | group
    spare = len(groups) * 5 - size * 8
    must(bits & ((1 << spare) - 1) == 0, "bad_access_string")
    payload = (bits >> spare).to_bytes(size, "big")
    return (prefix, payload[:24], payload[24:]) if size == 40 else (prefix, payload, b"")


def check_frame(name: str, content: bytes, fingerprint: bytes, fixed: int) -> bytes:
    """Version, length, fingerprint, signature (section 7). Returns what stands before the signature."""
    must(bool(content) and content[0] != 0, why="version")
    must(len(content) >= (fixed if content[0] == 1 else 52) + 64, why="length")
    public = content[20:52]
    must(content[4:20] == fingerprint == fingerprint_of(public), "bad_signature", "another folder")
    verify(public, content[-64:], label(name) + content[:-64])
    must(content[0] == 1, "newer_format")
    return content[:-64]


def read_head(content: bytes, fingerprint: bytes, found: tuple[int, int] | None = None) -> Head:
    """``found`` is the epoch and version of the address, if there is one to compare with."""
    signed = check_frame("head", content, fingerprint, 210)
    suite, zero = struct.unpack(">BH", signed[1:4])
    must(suite == 1 and zero == 0)
    epoch, version, created, expires = struct.unpack(">IQqq", signed[52:80])
    previous = signed[80:112]
    files, folders, total = struct.unpack(">QQQ", signed[136:160])
    (older_count,) = struct.unpack(">H", signed[208:210])
    must(epoch >= 1 and 1 <= version <= MOST, "limit_exceeded")
    must(created >= 0 and expires >= 0 and max(files, folders, total) <= MOST, "limit_exceeded")
    must(older_count <= 1_000, "limit_exceeded")
    must(len(signed) == 210 + 44 * older_count)
    must((previous == bytes(32)) == (version == 1), why="previous")
    older = tuple(struct.iter_unpack(">IQ32s", signed[210:]))
    rows = [(0, 1), *((row[0], row[1]) for row in older)]
    must(all(a[0] < b[0] and a[1] <= b[1] for a, b in itertools.pairwise(rows)), why="older epochs")
    must(all(row[0] < epoch and row[1] <= version for row in older), why="older epochs")
    root, stripes, overrides = (root_page(signed[at : at + 24]) for at in (112, 160, 184))
    must(found is None or found == (epoch, version), "content_mismatch")
    totals = (files, folders, total)
    return Head(
        signed[20:52], epoch, version, created, expires, previous, root, *totals, older, stripes, overrides
    )


def root_page(field: bytes) -> tuple[bytes, int, int] | None:
    if field == bytes(24):
        return None
    segment, offset, length = struct.unpack(">16sII", field)
    must(segment != bytes(16) and length > 0 and offset + length <= 768_000, why="a root page")
    return segment, offset, length


def read_envelope(content: bytes, fingerprint: bytes, found: int | None = None) -> Envelope:
    """``found`` is the serial of the address, if there is one to compare with."""
    signed = check_frame("envelope", content, fingerprint, 84)
    share, grants, zero = signed[1:4]
    serial, expires, epoch, version, wrapped = struct.unpack(">QqIQI", signed[52:84])
    must(zero == 0)
    must(len(signed) == 84 + wrapped)
    must(share <= 3 and grants == 1, "newer_format")
    must(1 <= serial <= MOST and expires >= 0 and epoch >= 1 and version <= MOST, "limit_exceeded")
    check_wrapped(share, signed[84:])
    must(found is None or found == serial, "content_mismatch")
    return Envelope(share, signed[20:52], serial, expires, epoch, version, signed[84:])


def check_wrapped(share: int, wrapped: bytes) -> None:
    """Sections 10.1 and 10.2: all that can be told before anything is opened."""
    if share == 2:
        must(len(wrapped) == 72)
        function, lanes, passes, memory = struct.unpack(">BBHI", wrapped[:8])
        must(function <= 1, "newer_format", "function")
        must(function == 1)
        must(1 <= lanes <= 8 and 1 <= passes <= 16 and 8 * lanes <= memory <= 262_144, "limit_exceeded")
        must(passes * memory <= 1_048_576, "limit_exceeded")
    elif share == 3:
        must(len(wrapped) <= 512 * 1_168, "limit_exceeded")
        must(len(wrapped) in [1_168 << k for k in range(2, 10)])
    else:
        must(len(wrapped) == 32 * share)


def sound_now(envelope: Envelope, now_s: float) -> None:
    """Raise Refused for a share that was taken back or has run out (section 13, step 2)."""
    if envelope.share == 0:
        raise Refused("revoked", "this share was taken back")
    if envelope.expires_s and now_s > envelope.expires_s:
        raise Refused("expired", "this share has run out")
