"""How things are: the daemon, its folders, its servers."""

from collections.abc import Sequence
from enum import StrEnum

from usenetsyncd.control.schema.bases import Document, Model, Moment, WithPath
from usenetsyncd.control.schema.following import FollowState


class DaemonState(StrEnum):
    """What the daemon as a whole is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"


class FolderState(StrEnum):
    """What a folder is doing."""

    SCANNING = "scanning"
    UPLOADING = "uploading"
    PUBLISHING = "publishing"
    UP_TO_DATE = "up_to_date"
    PAUSED = "paused"
    HELD = "held"
    ERROR = "error"


class FolderHealth(StrEnum):
    """Whether what is published could be brought back."""

    RESTORABLE = "restorable"
    AT_RISK = "at_risk"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


class Trouble(Model):
    """A warning: what is wrong, as a sentence, and the command that deals with it.

    level: warning, or error where something does not work at all.
    """

    code: str
    message: str
    action: str
    level: str = "warning"


class Folder(WithPath):
    """One folder in a list. reason: why it is not doing more, empty when it is up to date.

    pending_files, pending_bytes: not on a server yet. version: the newest published, 0 for none.
    verified_fraction: 0..1 of what is published. errors: paths that could not be taken (``folder errors``).
    """

    id: str
    state: FolderState
    reason: str = ""
    files: int = 0
    bytes: int = 0
    pending_files: int = 0
    pending_bytes: int = 0
    version: int = 0
    restorable_at: Moment | None = None
    verified_at: Moment | None = None
    verified_fraction: float | None = None
    health: FolderHealth = FolderHealth.UNKNOWN
    errors: int = 0


class Transfer(Model):
    """All traffic together. limits: None for none. eta_s: None when unknown or nothing is left."""

    up_bytes_per_s: float = 0.0
    down_bytes_per_s: float = 0.0
    left_bytes: int = 0
    eta_s: float | None = None
    up_limit_bytes_per_s: float | None = None
    down_limit_bytes_per_s: float | None = None


class Server(Model):
    """One news server now; see news.records.ServerState.

    id_policy: what it does with message-ids: unknown, keeps, rewrites or swallows. article_bytes: of the largest
    article that it took since the daemon started.
    """

    name: str
    state: str
    connections: int = 0
    connections_max: int = 0
    reason: str = ""
    allowed: int | None = None
    posted: int = 0
    fetched: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    score: float | None = None
    retry_after_s: float = 0.0
    host: str = ""
    port: int = 0
    tls: str = ""
    roles: Sequence[str] = ()
    priority: int = 0
    id_policy: str = "unknown"
    article_bytes: int = 0


class Status(Document):
    """Everything at a glance. reason: why it is not running. restorable_at: the oldest of all folders.

    next_check_at: when something is verified next. folders: at most 1,000 of folders_total. follows: shares that are
    followed, at most 1,000.
    """

    name: str
    version: str
    state: DaemonState
    reason: str = ""
    started_at: Moment
    uptime_s: float = 0.0
    restorable_at: Moment | None = None
    next_check_at: Moment | None = None
    warnings: Sequence[Trouble] = ()
    folders: Sequence[Folder] = ()
    folders_total: int = 0
    transfer: Transfer = Transfer()
    servers: Sequence[Server] = ()
    restart_needed: Sequence[str] = ()
    follows: Sequence[FollowState] = ()


class Verdict(StrEnum):
    """One word for the whole."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Health(Document):
    """ready: it watches, and at least one server can be used. reasons: none when the verdict is ok."""

    verdict: Verdict
    ready: bool
    reasons: Sequence[Trouble] = ()


class Version(Document):
    """Versions of the running daemon."""

    version: str
    format_version: int
    python: str
    pid: int


class Idle(Document):
    """reasons: what is still going on, as half sentences such as ``docs: 3 files to upload``."""

    idle: bool
    reasons: Sequence[str] = ()
