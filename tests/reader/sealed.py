"""Keys, names, segments, blocks and bodies: docs/format.md, sections 2 to 6, in the words of a second implementation.

Standard library, cryptography, blake3 and zstandard only, and no line of usenetsyncd: what this reader can restore,
the document alone is enough to restore.
"""

import hashlib
import hmac
import lzma
import struct
from dataclasses import dataclass
from typing import Self

import blake3
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT_BYTES = 768_000
MIB = 1 << 20
DATA, INDEX, HEAD, ENVELOPE, PARITY = 1, 2, 3, 4, 5
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Refused(Exception):
    """Something is not as the document has it. ``name`` is one of the errors of section 1."""

    def __init__(self, name: str, why: str = "") -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


def must(holds: bool, name: str = "format_error", why: str = "") -> None:
    """Raise Refused unless ``holds``."""
    if not holds:
        raise Refused(name, why)


def label(name: str) -> bytes:
    return b"usenetsync/1 " + name.encode() + b"\0"


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def keyed_blake3(key: bytes, message: bytes) -> bytes:
    return blake3.blake3(message, key=key).digest()


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256: RFC 5869, 2.3."""
    made, last, counter = b"", b"", 1
    while len(made) < length:
        last = mac(key, last + info + bytes([counter]))
        made += last
        counter += 1
    return made[:length]


def derive(secret: bytes, name: str, context: bytes) -> bytes:
    return expand(mac(b"usenetsync/1", secret), label(name) + context, 32)


def fingerprint_of(public: bytes) -> bytes:
    return hashlib.sha256(label("fingerprint") + public).digest()[:16]


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Ed25519. Raises Refused bad_signature."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused("bad_signature") from None


@dataclass(frozen=True, slots=True)
class Keys:
    """What one epoch of a folder, or one share, is read with."""

    fingerprint: bytes
    identity: bytes
    sealing: bytes
    location: bytes

    @classmethod
    def of(cls, secret: bytes, fingerprint: bytes, share: bool = False) -> Self:
        must(len(fingerprint) == 16)
        names = [("share " if share else "") + name for name in ("identity", "sealing", "location")]
        return cls(fingerprint, *(derive(secret, name, fingerprint) for name in names))


@dataclass(frozen=True, slots=True)
class Address:
    """Where an article stands: kind, 16 bytes of id, copy, generation."""

    kind: int
    id: bytes
    copy: int = 0
    generation: int = 0

    def encode(self) -> bytes:
        must(len(self.id) == 16)
        must(0 <= self.copy <= 255 and 0 <= self.generation <= 65_535, "limit_exceeded")
        return struct.pack(">B16sBH", self.kind, self.id, self.copy, self.generation)


def say(spoken: bytes) -> str:
    consonants, vowels = "bdfghjklmnprstvz", "aiou"
    words = ""
    for (bits,) in struct.iter_unpack(">H", spoken):
        words += consonants[bits >> 12] + vowels[bits >> 10 & 3] + consonants[bits >> 6 & 15]
        words += vowels[bits >> 4 & 3] + consonants[bits & 15]
    return words


def names(location: bytes, at: Address) -> tuple[str, str, str, str]:
    """Message-ID, Subject, From, yEnc name (section 3)."""
    a = mac(location, label("message-id") + at.encode())
    b = mac(location, label("words") + at.encode())
    poster = f"{say(b[16:18])} <{say(b[18:22])}@{say(b[22:26])}.local>"
    return f"<{a[:16].hex()}@{say(a[16:20])}.local>", b[:16].hex(), poster, b[26:32].hex()


def file_hash(identity: bytes, slices: list[bytes]) -> bytes:
    """The hash of a file from the content hashes of its slices of 768,000 bytes (section 4)."""
    if not slices:
        return keyed_blake3(identity, b"")
    return slices[0] if len(slices) == 1 else keyed_blake3(mac(identity, label("file")), b"".join(slices))


def size_class(n: int) -> int:
    if n <= 4_096:
        return 4_096
    e = n.bit_length() - 1
    unit = 1 << (e - e.bit_length())
    return -(-n // unit) * unit


def unzstd(stored: bytes, limit: int) -> bytes:
    """Exactly one frame that states its size, at most ``limit``; the window at most 1 MiB, no dictionary."""
    must(stored[:4] == ZSTD_MAGIC, why="no zstd frame")
    try:
        frame = zstandard.get_frame_parameters(stored)
    except zstandard.ZstdError:
        raise Refused("format_error", "no zstd frame") from None
    must(frame.content_size != zstandard.CONTENTSIZE_UNKNOWN, why="a frame that does not state its size")
    must(frame.content_size <= limit and frame.window_size <= MIB, "limit_exceeded", "a large frame")
    must(frame.dict_id == 0, why="a dictionary")
    decoder = zstandard.ZstdDecompressor()
    try:
        content = decoder.decompress(stored, max_output_size=limit, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Refused("format_error", "zstd") from None
    must(len(content) == frame.content_size)
    return content


def unxz(stored: bytes, length: int) -> bytes:
    """Exactly one .xz stream of ``length`` bytes, decoded with at most 16 MiB."""
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=16 * MIB)
    try:
        content = decoder.decompress(stored, max_length=length + 1)
    except lzma.LZMAError as failed:
        raise Refused("limit_exceeded" if "emory" in str(failed) else "format_error", "xz") from None
    must(decoder.eof and not decoder.unused_data and len(content) == length, why="xz")
    return content


def decode_block(kind: int, block: bytes) -> tuple[bytes, bytes, int]:
    """A block's content, its stored bytes, its codec (section 5)."""
    must(len(block) >= 12, why="a block shorter than its header")
    must(block[0] != 0)
    must(block[0] == 1, "newer_format")
    must(block[1] == kind and block[3] == 0)
    codec = block[2]
    must(codec <= 2, "newer_format")
    length, stored_length = struct.unpack(">II", block[4:12])
    must(1 <= length <= SEGMENT_BYTES, "limit_exceeded", "length of content")
    end = 12 + stored_length
    must(end <= len(block) and len(block) == size_class(end) and not any(block[end:]), why="padding")
    stored = block[12:end]
    if codec == 0:
        content = stored
    elif codec == 1:
        content = unzstd_of(stored, length)
    else:
        content = unxz(stored, length)
    must(len(content) == length)
    return content, stored, codec


def unzstd_of(stored: bytes, length: int) -> bytes:
    """A frame that declares exactly ``length`` bytes; any other length is not a limit, but a false block."""
    must(stored[:4] == ZSTD_MAGIC, why="no zstd frame")
    try:
        declared = zstandard.frame_content_size(stored)
    except zstandard.ZstdError:
        raise Refused("format_error", "zstd") from None
    must(declared == length, why="declares another length")
    return unzstd(stored, SEGMENT_BYTES)


def open_body(keys: Keys, at: Address, body: bytes) -> bytes:
    """The content of the body of the article at ``at`` (section 6)."""
    size = len(body) - 48
    must(4_096 <= size <= 770_048 and size == size_class(size), "seal_broken", "length")
    commit = body[:32]
    address = at.encode()
    key_nonce = expand(keys.sealing, label("key") + address + commit, 44)
    additional = label("body") + keys.fingerprint + address
    try:
        block = AESGCM(key_nonce[:32]).decrypt(key_nonce[32:], body[32:], additional)
    except InvalidTag:
        raise Refused("seal_broken", "tag") from None
    content, stored, codec = decode_block(at.kind, block)
    content_hash = keyed_blake3(keys.identity, content)
    stored_hash = keyed_blake3(keys.identity, stored) if codec else bytes(32)
    head = label("commit") + keys.fingerprint + address + content_hash + block[:12] + struct.pack(">I", size)
    must(hmac.compare_digest(commit, mac(keys.sealing, head + stored_hash)), "seal_broken", "commit")
    must(at.kind not in (DATA, INDEX, PARITY) or content_hash[:16] == at.id, "content_mismatch", "content")
    return content
