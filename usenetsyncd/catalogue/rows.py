"""What the catalogue takes and gives: frozen rows, without a trace of the database behind them."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from usenetsyncd.model import ArticleKind, PageRef, Priority, RelativePath, SegmentId


class ArticleState(IntEnum):
    """Where an article stands. The numbers are in the catalogue; POSTED is 0 because most rows are."""

    POSTED = 0
    QUEUED = 1
    SENDING = 2
    DOUBTFUL = 3  # it may or may not be on the server: ask before posting again
    FAILED = 4  # every attempt used up; `queue retry` puts it back
    ABANDONED = 5  # its source changed or its version was given up; never sent
    WAITING = 6  # a head, until the index segments of its version are posted
    ASKING = 7  # leased while doubtful: given back it is doubtful again


PENDING_STATES = frozenset(
    {
        ArticleState.QUEUED,
        ArticleState.SENDING,
        ArticleState.DOUBTFUL,
        ArticleState.WAITING,
        ArticleState.ASKING,
    }
)


class VersionState(StrEnum):
    """How far a version has come."""

    BUILDING = "building"  # its pages are being written
    POSTING = "posting"  # complete, its articles are in the queue
    PUBLISHED = "published"  # its head is on a server


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


# -- folders -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FolderRow:
    """One configured folder. Times are seconds since 1970; version 0 means nothing published yet."""

    id: int
    name: str
    uid: bytes
    root: bytes
    epoch: int
    version: int
    state: str
    reason: str
    paused: bool
    held: bool
    files: int
    directories: int
    bytes: int
    scanned_at: float | None
    published_at: float | None
    restorable_at: float | None
    verified_at: float | None
    removed_at: float | None
    pending_articles: int
    pending_bytes: int
    failed_articles: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over folders that are not removed."""

    folders: int
    files: int
    directories: int
    bytes: int
    pending_articles: int
    pending_bytes: int
    failed_articles: int


# -- queue -------------------------------------------------------------------------------


class LeasedArticle(NamedTuple):
    """An article that the caller now owns until it reports posted, retry, failed or give_back."""

    segment_row: int
    folder_id: int
    kind: ArticleKind
    seg_id: SegmentId
    length: int
    copy: int
    generation: int
    epoch: int
    attempts: int
    doubtful: bool
    priority: Priority
    server: str | None  # where it was tried last, as far as known


class PostedArticle(NamedTuple):
    """An article that is on a server. message_id only when the server changed it."""

    segment_row: int
    copy: int
    generation: int
    server: str
    message_id: str | None
    posted_at: float


class ArticleKey(NamedTuple):
    """Which article: a segment row and the number of the copy."""

    segment_row: int
    copy: int


@dataclass(frozen=True, slots=True)
class QueuedArticle:
    """One row of a queue listing."""

    segment_row: int
    copy: int
    folder_id: int
    kind: ArticleKind
    seg_id: SegmentId
    length: int
    generation: int
    state: ArticleState
    priority: Priority
    attempts: int
    not_before: float
    server: str | None
    posted_at: float | None
    message_id: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Articles and content bytes by state."""

    articles: dict[ArticleState, int]
    bytes: dict[ArticleState, int]

    @property
    def pending(self) -> int:
        """Articles still to be posted."""
        return sum(n for state, n in self.articles.items() if state in PENDING_STATES)

    @property
    def pending_bytes(self) -> int:
        """Content bytes still to be posted."""
        return sum(n for state, n in self.bytes.items() if state in PENDING_STATES)


# -- segments ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One stored segment."""

    id: int
    folder_id: int
    kind: ArticleKind
    seg_id: SegmentId
    length: int
    epoch: int


class PostedSegments(NamedTuple):
    """Segments of one file, and how many of them are on a server."""

    segments: int
    posted: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where ``length`` bytes at ``offset`` of a segment can be read: at ``position`` in the file ``path``."""

    entry_id: int
    path: RelativePath
    position: int
    offset: int
    length: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


# -- versions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a folder. root, head_hash and head_segment are None until it is complete."""

    folder_id: int
    version: int
    epoch: int
    state: VersionState
    created_at: float
    published_at: float | None
    head_segment: int | None
    root: PageRef | None
    head_hash: bytes | None
    files: int
    directories: int
    bytes: int


# -- the rest ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One share. secret and material are opaque: sealed by the vault before they come here.

    epoch: of the folder, in the newest envelope. material: what wraps an envelope anew (protected shares only).
    """

    id: str
    folder_id: int
    access: str
    secret: bytes = field(repr=False)
    serial: int
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    epoch: int | None = None
    material: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class UserRow:
    """Somebody whom private shares can be made for. fingerprint: 16 bytes; card: what was handed over."""

    id: int
    name: str
    fingerprint: bytes
    card: bytes = field(repr=False)
    added_at: float


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job: what was asked, how far it is, how it ended."""

    id: int
    kind: str
    folder_id: int | None
    state: JobState
    params: dict[str, Any]
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error_code: str | None
    error_text: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    attempts: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the history shown to people."""

    id: int
    at: float
    level: str
    code: str
    folder_id: int | None
    message: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TroubleRow:
    """A path that could not be taken as it should: unreadable, changing, skipped kind."""

    folder_id: int
    path: RelativePath
    code: str
    message: str
    since: float
    attempts: int


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The newest head of a publisher that was fully verified here."""

    fingerprint: bytes
    version: int
    head_hash: bytes
    seen_at: float


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Outcome of a check: sentences, none when all is well."""

    problems: tuple[str, ...]
    full: bool

    @property
    def healthy(self) -> bool:
        """True when nothing was found."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class SizeFigures:
    """How large the catalogue is: bytes on disk and rows per table (upper bounds from row ids)."""

    file_bytes: int
    wal_bytes: int
    free_bytes: int
    rows: dict[str, int]
