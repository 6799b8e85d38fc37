"""The words that every floor uses: names of things, and what an index says of a file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NewType

RelativePath = NewType("RelativePath", bytes)
"""Path below a folder's root: components joined by b"/", never absolute, the root itself is b""."""

SegmentId = NewType("SegmentId", bytes)
"""16 bytes: the first half of the keyed hash of a segment's content."""

Fingerprint = NewType("Fingerprint", bytes)
"""16 bytes: hash of a folder's public signing key; the folder's identity on the wire."""

MessageId = NewType("MessageId", str)
"""With its angle brackets: ``<local@domain>``."""

SEGMENT_SIZE_BYTES = 768_000


class EntryKind(IntEnum):
    """What a path is. The numbers are in the format and in the catalogue."""

    FILE = 1
    FOLDER = 2
    SYMLINK = 3


class ArticleKind(IntEnum):
    """What an article carries. The numbers are part of names and seals: never reuse one."""

    DATA = 1
    INDEX = 2
    HEAD = 3
    ENVELOPE = 4
    PARITY = 5
    DIRECTORY = 6
    OVERRIDE = 7


@dataclass(frozen=True, slots=True)
class ArticleAddress:
    """Which article: its kind, 16-byte id, copy (0..255) and generation (0..65535)."""

    kind: ArticleKind
    id: bytes
    copy: int = 0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes at ``offset`` inside the content of a segment; a file is a list of them."""

    segment: SegmentId
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PageRef:
    """Where a page of the core index stands: ``length`` bytes at ``offset`` in an index segment."""

    segment: SegmentId
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SpilledExtents:
    """The extents of a huge file, in pages of their own: ``wire.pages.iter_extents`` streams them.

    digest: 16 bytes over all of them; equal digests mean equal extents, wherever the pages stand.
    """

    root: PageRef = field(compare=False)
    count: int
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False)
class ExtentStream:
    """The extents of a huge file on their way into an index; ``open`` may be called more than once."""

    open: Callable[[], Iterator[Extent]]


@dataclass(frozen=True, slots=True)
class Owner:
    """Numeric owner, with names where the publisher knew them."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One path as the index tells it.

    mode: permission bits only (0o7777). mtime_ns: signed nanoseconds since 1970.
    content_hash: 16 bytes for a file (b"" for an empty one), else b"".
    extents: they add up to ``size``. A file of more than 256 comes out of an index as SpilledExtents;
    a tuple of any length or an ExtentStream may go in.
    target: a symlink's target bytes, else b"".
    link_group: 8 bytes shared by hard links of one inode, else b"".
    xattrs: (name, value), sorted by name.
    """

    path: RelativePath
    kind: EntryKind
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    content_hash: bytes = b""
    extents: tuple[Extent, ...] | SpilledExtents | ExtentStream = ()
    target: bytes = b""
    link_group: bytes = b""
    sparse: bool = False
    owner: Owner | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Compression(StrEnum):
    """Codec names as the configuration spells them."""

    ZSTD = "zstd"
    LZMA = "lzma"
    NONE = "none"


class TlsMode(StrEnum):
    """How a connection is protected. ``none`` only on loopback."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class ServerRole(StrEnum):
    """What a server is used for."""

    POST = "post"
    READ = "read"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """All that is needed to talk to one news server. The password is never printed."""

    name: str
    host: str
    port: int
    tls: TlsMode
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    connections: int = 8
    roles: frozenset[ServerRole] = frozenset({ServerRole.POST, ServerRole.READ})
    priority: int = 1
    ca_file: str | None = None
    pin_sha256: str | None = None
    timeout_s: float = 60.0


class Priority(IntEnum):
    """Order of the queue: smaller goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BACKGROUND = 4


class Presence(StrEnum):
    """What a server says of an article. A time-out is unknown, never missing."""

    PRESENT = "present"
    MISSING = "missing"
    UNKNOWN = "unknown"


INDEX_HASH_BYTES = 16
"""How much of a file's hash the index keeps."""


def same_content(stored: bytes | None, now: bytes | None) -> bool:
    """Whether a stored hash is of this content (32 bytes): one that came from an index has only its beginning."""
    if stored and now and len(stored) == INDEX_HASH_BYTES:
        return now[:INDEX_HASH_BYTES] == stored
    return (stored or None) == (now or None)
