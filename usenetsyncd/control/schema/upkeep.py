"""What the daemon looks after by itself, and when somebody has to look: held folders."""

from collections.abc import Sequence

from pydantic import Field

from usenetsyncd.control.schema.bases import Document, Model, Moment, PathIn, PathOut, Request
from usenetsyncd.control.schema.setup import Event

PATHS_SHOWN = 20


class FolderReview(Document):
    """What the deletion guard sees in a folder. cause: root (gone or empty), losses, or nothing when it is not held.

    files: of the newest version. deleted, changed: files whose content is gone or another now; of those deleted also
    within the last hour. deleted_share, changed_share: 0..1. max_deleted, max_changed: the settings.
    deleted_paths, changed_paths: the first by name. version: the newest, which stays restorable.
    """

    folder: str
    held: bool
    cause: str = ""
    reason: str = ""
    since: Moment | None = None
    version: int = 0
    files: int = 0
    deleted: int = 0
    deleted_share: float = 0.0
    max_deleted: float = 0.0
    changed: int = 0
    changed_share: float = 0.0
    max_changed: float = 0.0
    deleted_paths: Sequence[str] = ()
    changed_paths: Sequence[str] = ()


class FolderReleased(Document):
    """A folder that goes on. deleted, changed: files that were accepted as they are now."""

    folder: str
    deleted: int
    changed: int


class BackupOrder(Request):
    """Where a backup of the catalogue goes: an absolute path on the daemon's machine; None: beside the catalogue."""

    to: PathIn | None = None


class CatalogueBackup(Document):
    """A backup that was just made."""

    path: PathOut
    bytes: int
    made_at: Moment


class CatalogueChecked(Document):
    """What a check found; full: every index and every counter were compared as well."""

    healthy: bool
    full: bool
    problems: Sequence[str] = ()


class RecoveryKit(Document):
    """What rebuilds this installation from news servers alone, and opens everything it ever published.

    directory_at: when the list of folders was last put on the servers; None: never, the kit would find nothing.
    """

    kit: str = Field(repr=False)
    directory_at: Moment | None = None
    folders: int = 0


class Finding(Model):
    """One thing that was looked at. grade: ok, warning or error. action: what mends it."""

    check: str
    grade: str
    message: str
    action: str = ""


class Diagnosis(Document):
    """Everything that can be wrong around the daemon. grade: the worst of all."""

    grade: str
    findings: Sequence[Finding]


class LimitWindow(Model):
    """One line of the timetable. open: it applies now. Bytes per second, 0 for no limit; None: as outside of it."""

    at: str
    open: bool
    upload: int | str | None = None
    download: int | str | None = None


class Coming(Model):
    """What happens by the clock next."""

    what: str
    at: Moment


class Schedule(Document):
    """What applies now, and what comes. Bytes per second, 0 for no limit. paused_until: None unless it ends by itself."""

    upload: float
    download: float
    paused: bool
    reason: str = ""
    paused_until: Moment | None = None
    windows: Sequence[LimitWindow] = ()
    coming: Sequence[Coming] = ()


class History(Document):
    """What happened to folders, the newest first, without the daily noise."""

    events: Sequence[Event]
    next: str | None = None
