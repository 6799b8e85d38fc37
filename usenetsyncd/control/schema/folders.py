"""Folders, their files and versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from usenetsyncd.control.schema.bases import (
    Document,
    Model,
    Moment,
    Name,
    PathIn,
    Priority,
    Request,
    WithPath,
)
from usenetsyncd.control.schema.care import Damage, LastCheck
from usenetsyncd.control.schema.state import Folder, FolderHealth


class FolderList(Document):
    """Folders by id."""

    folders: Sequence[Folder]
    next: str | None = None


class FolderDetail(Document, Folder):
    """Everything about one folder.

    options: its settings as the YAML spells them. activity: what is done now. unprotected: posted segments that wait
    for their parity; None for a folder without any.
    """

    fingerprint: str = ""
    directories: int = 0
    watched: int | None = None
    priority: str = ""
    pending_articles: int = 0
    failed_articles: int = 0
    scanned_at: Moment | None = None
    published_at: Moment | None = None
    activity: str = ""
    newsgroups: Sequence[str] = ()
    damage: Damage = Damage()
    last_check: LastCheck | None = None
    next_check_at: Moment | None = None
    unprotected: int | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)


class FolderSpec(Request):
    """A folder to add to the configuration; what is None comes from the defaults."""

    id: Name
    path: PathIn
    priority: Priority | None = None
    ignore: list[Name] | None = Field(default=None, max_length=1_000)


class FolderError(WithPath):
    """A path that could not be taken as it should, or None's worth of it: unreadable, changing, of no kind we keep."""

    code: str
    message: str
    since: Moment
    attempts: int = 0


class FolderErrorList(Document):
    """By path."""

    folder: str
    errors: Sequence[FolderError]
    next: str | None = None


class FileStatus(Document, WithPath):
    """One file. state: published, waiting, uploading, ignored, unreadable, held, or unknown when never seen.

    version: the newest that has its present content. segments and segments_posted: of its content.
    """

    folder: str
    state: str
    reason: str = ""
    size: int | None = None
    modified_at: Moment | None = None
    version: int | None = None
    segments: int = 0
    segments_posted: int = 0


class FolderVersion(Model):
    """state: building, posting or published. kept: by the rules, so that it is verified and repaired.

    health: unknown, restorable, at_risk or damaged; None where it was not asked for, or nothing is published yet.
    """

    version: int
    state: str
    created_at: Moment
    published_at: Moment | None = None
    files: int = 0
    directories: int = 0
    bytes: int = 0
    kept: bool = True
    health: FolderHealth | None = None


class FolderVersionList(Document):
    """The newest first."""

    folder: str
    versions: Sequence[FolderVersion]
    next: str | None = None


class FileVersion(Model):
    """What a file was from this version on; kind: file, symlink, folder or absent."""

    version: int
    created_at: Moment
    kind: str
    size: int | None = None
    modified_at: Moment | None = None
    content: str = ""


class FileVersionList(Document, WithPath):
    """The newest first; only versions in which the file became another."""

    folder: str
    versions: Sequence[FileVersion]
    next: str | None = None
