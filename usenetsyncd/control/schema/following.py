"""Followed shares, and what differs between two versions."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from usenetsyncd.control.schema.bases import (
    Document,
    Model,
    Moment,
    PathIn,
    PathOut,
    Request,
    Secret,
    SecretText,
    WithPath,
)

FOLLOW_EVERY_S = 120.0


class FollowOrder(Request):
    """Keep a share's newest version in a directory: an absolute path on the daemon's machine.

    every_s: how often servers are asked.
    """

    source: Secret
    target: PathIn
    passphrase: SecretText | None = Field(default=None, repr=False)
    every_s: Annotated[float, Field(ge=1, le=366 * 86_400)] = FOLLOW_EVERY_S


class FollowState(Model):
    """One followed share. state: waiting (nothing was published yet), updating, up_to_date, incomplete (some paths
    could not be placed), trouble, paused, stopped. reason: why it is not up to date, for people; code: for programs.

    version: what stands in the directory, 0 before the first. files, bytes: of that version. conflicts: local changes
    that were kept beside. left: paths that could not be placed.
    """

    id: int
    target: PathOut
    state: str
    code: str = ""
    reason: str = ""
    version: int = 0
    files: int = 0
    bytes: int = 0
    conflicts: int = 0
    left: int = 0
    every_s: float = FOLLOW_EVERY_S
    added_at: Moment
    asked_at: Moment | None = None
    updated_at: Moment | None = None
    files_done: int = 0
    files_total: int = 0


class Follow(FollowState, Document):
    """One, as an answer of its own."""


class FollowList(Document):
    """All, in the order in which they were added."""

    follows: Sequence[FollowState] = ()


class PathDifference(WithPath, Document):
    """One path that differs. change: added, removed, changed, moved (from ``old_path``, same content), or attributes
    (same content, other permissions or time). kind: file, folder, symlink. sizes: of files, None where there is none.
    """

    type: str = "difference"
    change: str
    kind: str
    size: int | None = None
    old_size: int | None = None
    old_path: PathOut | None = None


class DifferenceSummary(Document):
    """The last line. added_bytes: of added and changed files as they are now."""

    type: str = "summary"
    old_version: int
    new_version: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    moved: int = 0
    attributes: int = 0
    added_bytes: int = 0
    removed_bytes: int = 0
