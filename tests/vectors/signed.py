"""Vectors of heads, envelopes and access strings."""

import struct

from tests.vectors.samples import (
    MASTER,
    OK,
    READ_SECRET,
    SECRET,
    SHARE_SECRET,
    SIGNER,
    STRANGER,
    Vector,
    error,
    spec_of_address,
)
from tests.vectors.sealed import flip
from usenetsyncd.model import Fingerprint, PageRef, SegmentId
from usenetsyncd.wire import access, head, keys, membership


def _signed(message: bytes, domain: bytes, key: keys.SigningKey = SIGNER) -> bytes:
    return message + key.sign(domain + message)


def _change(content: bytes, at: int, patch: bytes, domain: bytes) -> bytes:
    """``content`` with other bytes at ``at``, signed again by the folder's own key."""
    message = content[:at] + patch + content[at + len(patch) : -64]
    return _signed(message, domain)


def _heads() -> tuple[head.Head, head.Head, head.Head, head.Head]:
    first = head.Head(
        SIGNER.fingerprint, SIGNER.public, 1, 1, 1_763_800_000, 1_764_500_000, bytes(32), None, 0, 0, 0
    )
    root = PageRef(SegmentId(bytes(range(16))), 4_096, 12_345)
    hashed = head.head_hash(head.encode_head(first, SIGNER))
    second = head.Head(
        SIGNER.fingerprint, SIGNER.public, 1, 2, 1_763_800_060, 0, hashed, root, 48_213, 1_201, 61 * 10**9
    )
    older = (head.OlderEpoch(1, 1, READ_SECRET),)
    third = head.Head(
        SIGNER.fingerprint, SIGNER.public, 2, 3, 1_763_800_120, 0,
        head.head_hash(head.encode_head(second, SIGNER)), root, 48_213, 1_201, 61 * 10**9, older,
        PageRef(SegmentId(bytes(range(16))), 16_441, 1_200), PageRef(SegmentId(b"\xcc" * 16), 0, 768_000),
    )  # fmt: skip
    # In epoch 3 nothing was published.
    passed = (head.OlderEpoch(epoch, 4, keys.read_secret(SECRET, epoch)) for epoch in (2, 3))
    fourth = head.Head(
        SIGNER.fingerprint, SIGNER.public, 4, 4, 1_763_800_180, 0,
        head.head_hash(head.encode_head(third, SIGNER)), root, 48_213, 1_201, 61 * 10**9,
        (*older, *passed),
    )  # fmt: skip
    return first, second, third, fourth


def make_heads() -> list[Vector]:
    """Contents of head articles, after opening."""
    vectors: list[Vector] = []
    base = {"fingerprint": SIGNER.fingerprint.hex()}
    for one in _heads():
        content = head.encode_head(one, SIGNER)
        hashed = head.head_hash(content).hex()
        place = spec_of_address(head.head_address(one.epoch, one.version))
        fields = {"address": place, "content": content.hex(), "head_hash": hashed, "head": spec_of_head(one)}
        vectors.append(base | fields | OK)
    misplaced = {
        "address": spec_of_address(head.head_address(1, 100)),
        "content": head.encode_head(_heads()[1], SIGNER).hex(),
    }
    vectors.append(base | misplaced | error("content_mismatch", "version 2 in the place of version 100"))
    for content, code, why in _bad_heads():
        vectors.append(base | {"content": content.hex()} | error(code, why))
    return vectors


def spec_of_head(one: head.Head) -> Vector:
    """A head as vectors write it."""
    return {
        "public": one.public.hex(),
        "epoch": one.epoch,
        "version": one.version,
        "created_s": one.created_s,
        "expires_s": one.expires_s,
        "previous": one.previous.hex(),
        "root": _spec_of_page(one.root),
        "files": one.files,
        "folders": one.folders,
        "bytes_total": one.bytes_total,
        "stripes": _spec_of_page(one.stripes),
        "overrides": _spec_of_page(one.overrides),
        "older": [[old.epoch, old.first_version, old.read_secret.hex()] for old in one.older],
    }


def _spec_of_page(page: PageRef | None) -> list[object] | None:
    return [page.segment.hex(), page.offset, page.length] if page else None


def _bad_heads() -> list[tuple[bytes, str, str]]:
    domain = b"usenetsync/1 head\0"
    second, third, fourth = (head.encode_head(one, SIGNER) for one in _heads()[1:])
    u32, u64 = struct.Struct(">I"), struct.Struct(">Q")
    bad, over = "format_error", "limit_exceeded"
    return [
        (b"", bad, "empty"),
        (second[:-1], bad, "cut by one byte"),
        (second[:100], bad, "cut in the middle"),
        (second + b"\0", "bad_signature", "a byte after the signature"),
        (flip(second, 60), "bad_signature", "altered"),
        (flip(second, len(second) - 1), "bad_signature", "signature altered"),
        (_signed(second[:-64], domain, STRANGER), "bad_signature", "signed with another key"),
        (_change(second, 4, STRANGER.fingerprint, domain), "bad_signature", "another folder"),
        (_change(second, 20, STRANGER.public, domain), "bad_signature", "key that is not the fingerprint's"),
        (_signed(second[:-64], b"usenetsync/1 envelope\0"), "bad_signature", "signed as an envelope"),
        (_change(second, 0, b"\0", domain), bad, "version 0"),
        (_change(second, 0, b"\2", domain), "newer_format", "version 2"),
        (_change(second, 1, b"\2", domain), bad, "suite 2"),
        (_change(second, 2, b"\0\1", domain), bad, "reserved bytes set"),
        (_change(second, 52, u32.pack(0), domain), over, "epoch 0"),
        (_change(second, 56, u64.pack(0), domain), over, "version number 0"),
        (_change(second, 56, u64.pack(2**63), domain), over, "version number 2^63"),
        (_change(second, 56, u64.pack(1), domain), bad, "a first version with one before it"),
        (_change(second, 80, bytes(32), domain), bad, "a second version with none before it"),
        (_change(second, 64, b"\xff" * 8, domain), over, "created before 1970"),
        (_change(second, 112, bytes(16), domain), bad, "a root page in segment zero"),
        (_change(second, 128, u32.pack(768_000), domain), bad, "a root page beyond its segment"),
        (_change(second, 132, u32.pack(0), domain), bad, "a root page of no length"),
        (_change(third, 160, bytes(16), domain), bad, "a list of stripes in segment zero"),
        (_change(third, 176, u32.pack(767_000), domain), bad, "a list of stripes beyond its segment"),
        (_change(third, 180, u32.pack(0), domain), bad, "a list of stripes of no length"),
        (_change(second, 184, bytes(15) + b"\1", domain), bad, "a list of overrides of no length"),
        (_change(third, 200, u32.pack(1), domain), bad, "a list of overrides beyond its segment"),
        (_change(second, 208, b"\0\1", domain), bad, "an older epoch promised and not given"),
        (_change(third, 210, u32.pack(2), domain), bad, "an older epoch that is not older"),
        (_change(third, 214, u64.pack(4), domain), bad, "an older epoch that begins later"),
        (
            _change(third, 214, u64.pack(0), domain),
            bad,
            "an older epoch that begins before the first version",
        ),
        (
            _change(fourth, 302, u64.pack(3), domain),
            bad,
            "an older epoch that begins before the one before it",
        ),
        (_change(fourth, 298, u32.pack(2), domain), bad, "an older epoch named twice"),
    ]


def make_envelopes() -> list[Vector]:
    """Contents of envelope articles, after opening."""
    base = {"fingerprint": SIGNER.fingerprint.hex()}
    public = membership.Envelope(
        membership.ShareKind.PUBLIC, SIGNER.public, SIGNER.fingerprint, 1, 1_795_000_000, 1, 118, READ_SECRET
    )
    revoked = membership.Envelope(
        membership.ShareKind.REVOKED, SIGNER.public, SIGNER.fingerprint, 2, 0, 1, 120, b""
    )
    vectors: list[Vector] = []
    for one in (public, revoked):
        content = membership.encode_envelope(one, SIGNER)
        place = spec_of_address(membership.envelope_address(one.serial))
        fields = {"address": place, "content": content.hex(), "envelope": spec_of_envelope(one)}
        vectors.append(base | fields | OK)
    misplaced = {
        "address": spec_of_address(membership.envelope_address(7)),
        "content": membership.encode_envelope(public, SIGNER).hex(),
    }
    vectors.append(base | misplaced | error("content_mismatch", "serial 1 in the place of serial 7"))
    for content, code, why in _bad_envelopes(membership.encode_envelope(public, SIGNER)):
        vectors.append(base | {"content": content.hex()} | error(code, why))
    return vectors


def spec_of_envelope(one: membership.Envelope) -> Vector:
    """An envelope as vectors write it."""
    return {
        "share": int(one.share),
        "public": one.public.hex(),
        "serial": one.serial,
        "expires_s": one.expires_s,
        "epoch": one.epoch,
        "version": one.version,
        "wrapped": one.wrapped.hex(),
    }


def _bad_envelopes(good: bytes) -> list[tuple[bytes, str, str]]:
    domain = b"usenetsync/1 envelope\0"
    bad, over = "format_error", "limit_exceeded"
    return [
        (b"", bad, "empty"),
        (good[:-33], bad, "cut by more than the secret"),
        (good[:-1], "bad_signature", "cut by one byte"),
        (flip(good, 90), "bad_signature", "altered"),
        (_signed(good[:-64], domain, STRANGER), "bad_signature", "signed with another key"),
        (_signed(good[:-64], b"usenetsync/1 head\0"), "bad_signature", "signed as a head"),
        (_change(good, 4, STRANGER.fingerprint, domain), "bad_signature", "another folder"),
        (_change(good, 0, b"\2", domain), "newer_format", "version 2"),
        (_change(good, 1, b"\2", domain), bad, "a passphrase, and a secret as it is"),
        (_change(good, 1, b"\3", domain), bad, "for listed users, and a secret as it is"),
        (_change(good, 1, b"\4", domain), "newer_format", "a share of the next unknown kind"),
        (_change(good, 1, b"\x09", domain), "newer_format", "a share of an unknown kind"),
        (_change(good, 1, b"\0", domain), bad, "revoked, with a secret all the same"),
        (_change(good, 2, b"\2", domain), "newer_format", "grants something unknown"),
        (_change(good, 3, b"\1", domain), bad, "reserved byte set"),
        (_change(good, 52, bytes(8), domain), over, "serial 0"),
        (_change(good, 60, b"\xff" * 8, domain), over, "expired before 1970"),
        (_change(good, 68, bytes(4), domain), over, "epoch 0"),
        (_change(good, 80, struct.pack(">I", 31), domain), bad, "wrapped length too short"),
        (_change(good, 80, struct.pack(">I", 2**32 - 1), domain), bad, "wrapped length beyond the end"),
    ]


def make_access() -> list[Vector]:
    """Access strings."""
    vectors: list[Vector] = []
    kinds = access.AccessKind
    read = access.encode_access(kinds.READ, SHARE_SECRET, SIGNER.fingerprint)
    for kind, secret, fingerprint in (
        (kinds.READ, SHARE_SECRET, SIGNER.fingerprint),
        (kinds.VERIFY, SHARE_SECRET, SIGNER.fingerprint),
        (kinds.RECOVERY, MASTER, Fingerprint(b"")),
    ):
        string = access.encode_access(kind, secret, fingerprint)
        fields = {"kind": kind.value, "secret": secret.hex(), "fingerprint": fingerprint.hex()}
        vectors.append({"string": string} | fields | OK)
    fields = {"kind": "usyncread", "secret": SHARE_SECRET.hex(), "fingerprint": SIGNER.fingerprint.hex()}
    vectors.append({"string": read.upper()} | fields | OK)
    vectors.append({"string": f"  {read[:40]}\n {read[40:]}\n"} | fields | OK)
    for string, code, why in _bad_strings(read):
        vectors.append({"string": string} | error(code, why))
    return vectors


def bech32(prefix: str, values: list[int], constant: int = 0x2BC830A3) -> str:
    """A string with any prefix and values and a right checksum, by BIP-173's reference formulas."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    checksum = 1
    for value in [*expanded, *values, 0, 0, 0, 0, 0, 0]:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= generator if top >> bit & 1 else 0
    checksum ^= constant
    values = values + [checksum >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(alphabet[value] for value in values)


def _bad_strings(read: str) -> list[tuple[str, str, str]]:
    bad = "bad_access_string"
    swapped = read[:20] + read[21] + read[20] + read[22:]
    return [
        ("", bad, "empty"),
        ("hello", bad, "no access string at all"),
        ("https://example.com/1", bad, "no access string at all"),
        (read[1:], bad, "prefix cut"),
        (read.removeprefix("usyncread1"), bad, "prefix missing"),
        (read.replace("usyncread", "usyncvrfy"), bad, "prefix exchanged"),
        (read.replace("usyncread", "usynxread"), bad, "prefix mistyped"),
        (read[:-1], bad, "cut by one letter"),
        (read + "q", bad, "one letter too many"),
        (swapped, bad, "two letters exchanged"),
        (read[:30] + "b" + read[31:], bad, "a letter that bech32 does not use"),
        (read[:30] + read[30:].upper(), bad, "capital and small letters"),
        (read[:-3] + "\u00e9" + read[-2:], bad, "a letter that is not ASCII"),
        (read + read, bad, "longer than 90 characters"),
        ("usyncread1", bad, "nothing after the prefix"),
        (bech32("usyncread", [1] + [0] * 64, constant=1), bad, "checksum of bech32 instead of bech32m"),
        (bech32("usyncread", [1] + [0] * 63), bad, "too short, with a right checksum"),
        (bech32("usyncread", [1] + [0] * 65), bad, "too long, with a right checksum"),
        (bech32("usyncread", []), bad, "no version, with a right checksum"),
        (bech32("usyncrcvr", [1] + [0] * 51 + [1]), bad, "spare bits set"),
        (bech32("usyncread", [0] + [0] * 64), bad, "version 0"),
        (bech32("usyncread", [2] + [0] * 64), "newer_format", "version 2"),
    ]
