"""Work that was asked for: scans, pauses, the queue, jobs, shares, restores."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from usenetsyncd.control.schema.bases import (
    MAX_PATHS,
    Document,
    Model,
    Moment,
    Name,
    PathIn,
    Priority,
    Request,
    Secret,
    SecretText,
)

MAX_PAUSE_S = 10 * 366 * 86_400.0
ARTICLE_STATES = ("queued", "waiting", "sending", "asking", "doubtful", "failed", "abandoned", "posted")


class ScanStarted(Document):
    """Folders that are scanned now, or as soon as it is their turn."""

    folders: Sequence[str]


class ScanProgress(Document):
    """A line of a scan that somebody waits for."""

    type: str = "progress"
    folder: str
    files: int = 0
    bytes: int = 0


class ScanEnded(Document):
    """The line of one folder whose scan is over. error: why it could not be scanned."""

    type: str = "folder"
    folder: str
    files_hashed: int = 0
    bytes_hashed: int = 0
    deleted: int = 0
    unreadable: int = 0
    error: str = ""


class ScanSummary(Document):
    """The last line. failed: folders that could not be scanned."""

    type: str = "summary"
    folders: int = 0
    files_hashed: int = 0
    bytes_hashed: int = 0
    deleted: int = 0
    unreadable: int = 0
    failed: int = 0


class FolderChoice(Request):
    """folder None: all of them."""

    folder: Name | None = None


class PauseRequest(Request):
    """folder None: everything. for_s None: until somebody resumes."""

    folder: Name | None = None
    for_s: float | None = Field(default=None, gt=0, le=MAX_PAUSE_S)


class Paused(Document):
    """How it is after pause or resume. folder None: everything."""

    folder: str | None = None
    paused: bool
    until: Moment | None = None


# -- queue ---------------------------------------------------------------------------------


class QueuedArticle(Model):
    """One article of the queue.

    id: names it for retry, cancel and move. kind: data, index, head, envelope.
    state: one of ARTICLE_STATES. not_before: when it may be tried again. server: where it was tried last.
    """

    id: str
    folder: str
    kind: str
    state: str
    priority: str
    bytes: int
    copy_number: int = Field(default=0, serialization_alias="copy")
    generation: int = 0
    attempts: int = 0
    not_before: Moment | None = None
    server: str | None = None
    posted_at: Moment | None = None
    message_id: str | None = None
    reason: str | None = None


class QueuePage(Document):
    """articles: in one state, in the order in which they go. counts: articles of all folders by state."""

    articles: Sequence[QueuedArticle]
    counts: Mapping[str, int]
    pending_bytes: int = 0
    next: str | None = None


class QueueSelection(Request):
    """Which articles: just these, or all of a folder that fit; neither: all that fit."""

    folder: Name | None = None
    articles: list[Annotated[str, StringConstraints(pattern=r"^\d{1,19}-\d{1,3}$")]] = Field(
        [], max_length=10_000
    )


class QueueMove(QueueSelection):
    """And to which priority."""

    priority: Priority


class Counted(Document):
    """How many were changed."""

    count: int


# -- jobs ----------------------------------------------------------------------------------


class Job(Document):
    """One job: what was asked, how far it is, how it ended.

    kind: restore, verify or repair. state: queued, running, paused, done, failed or cancelled.
    target: what it works on, for people.
    progress of a restore: ``phase``, ``files``, ``files_total``, ``bytes``, ``bytes_total``, ``failed`` as far as
    known; of a check or repair ``phase``, ``folder``, ``done``, ``total`` and the counts of its result; ``parts`` has
    the folders that are done.
    result of a restore: ``version``, ``files``, ``bytes``, ``failed``, ``failures`` [{path, reason}], ``warnings``;
    of a check: ``checked``, ``missing``, ``corrupt``, ``unknown``, ``sampled``, ``at_risk``, ``unrepairable``,
    ``servers`` [{server, checked, missing, corrupt, unknown}]; of a repair: ``reposted``, ``rebuilt``,
    ``unrepairable``, ``waiting``, ``failures`` [{what, reason}]; both with ``folders``, the same of each folder.
    """

    id: int
    kind: str
    state: str
    folder: str | None = None
    target: str = ""
    progress: Mapping[str, Any] = Field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    error_code: str | None = None
    error: str | None = None
    created_at: Moment
    started_at: Moment | None = None
    finished_at: Moment | None = None
    attempts: int = 0


class JobPage(Document):
    """The newest first."""

    jobs: Sequence[Job]
    next: str | None = None


class RestoreOrder(Request):
    """What to restore and where.

    source: an access string, or FOLDER or FOLDER@VERSION of this daemon. passphrase: of a protected share.
    paths: below the folder's root, without a slash in front; none means all. target: absolute.
    owner: give files the numeric owners that the version names, where the daemon may.
    """

    source: Secret
    paths: list[PathIn] = Field(default=[], max_length=MAX_PATHS)
    target: PathIn
    overwrite: bool = False
    owner: bool = False
    dry_run: bool = False
    passphrase: SecretText | None = Field(default=None, repr=False)
