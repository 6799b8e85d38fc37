"""Followed shares, and what differs between two versions."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from usenetsyncd.catalogue.follows import FollowRow, FollowState
from usenetsyncd.control import schema
from usenetsyncd.daemon.following import Activity
from usenetsyncd.daemon.operations.base import Base
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.flows.difference import Change, PathChange, version_differences
from usenetsyncd.model import EntryKind

KINDS = {EntryKind.FILE: "file", EntryKind.FOLDER: "folder", EntryKind.SYMLINK: "symlink"}


class FollowingOperations(Base):
    """follow, diff."""

    def follows(self) -> schema.FollowList:
        """All followed shares."""
        return schema.FollowList(
            follows=[schema.FollowState(**self._follow(row)) for row in self._daemon.catalogue.follows.list()]
        )

    def follow_add(self, order: schema.FollowOrder) -> schema.Follow:
        """Raises BadAccessString, UsageError, ShareClosed."""
        target = Path(os.fsdecode(order.target))
        if not target.is_absolute():
            raise UsageError("the directory must be named by an absolute path")
        row = self._daemon.following.add(order.source, target, order.passphrase, order.every_s)
        return schema.Follow(**self._follow(row))

    def follow(self, follow_id: int) -> schema.Follow:
        """Raises NotFound."""
        return schema.Follow(**self._follow(self._daemon.catalogue.follows.get(follow_id)))

    def follow_remove(self, follow_id: int) -> schema.Follow:
        """Raises NotFound."""
        return schema.Follow(**self._follow(self._daemon.following.remove(follow_id)))

    def follow_pause(self, follow_id: int) -> schema.Follow:
        """Raises NotFound."""
        return schema.Follow(**self._follow(self._daemon.following.pause(follow_id)))

    def follow_resume(self, follow_id: int) -> schema.Follow:
        """Raises NotFound, UsageError."""
        return schema.Follow(**self._follow(self._daemon.following.resume(follow_id)))

    def _follow(self, row: FollowRow) -> dict[str, Any]:
        return follow_fields(row, self._daemon.following.activity)

    def folder_difference(
        self, folder: str, old: int, new: int
    ) -> Iterator[schema.PathDifference | schema.DifferenceSummary]:
        """Raises NotFound."""
        live = self._live(folder)
        versions = self._daemon.catalogue.versions
        rows = [versions.get(live.row, number) for number in (old, new)]
        for row in rows:
            if row.published_at is None:
                raise NotFound(f"version {row.version} is not published yet")
        found = version_differences(
            self._daemon.catalogue, self._daemon.news, live.epochs.rings(live.epoch), *rows
        )
        return _told(found, old, new)


def _told(
    found: Iterator[PathChange], old: int, new: int
) -> Iterator[schema.PathDifference | schema.DifferenceSummary]:
    counts: Counter[Change] = Counter()
    added = removed = 0
    for one in found:
        counts[one.change] += 1
        if one.change in (Change.ADDED, Change.CHANGED):
            added += one.size or 0
        if one.change in (Change.REMOVED, Change.CHANGED):
            removed += one.old_size or 0
        yield schema.PathDifference(
            path=one.path,
            change=one.change.value,
            kind=KINDS[one.kind],
            size=one.size,
            old_size=one.old_size,
            old_path=one.old_path,
        )
    figures: dict[str, Any] = {change.value: counts[change] for change in Change}
    yield schema.DifferenceSummary(
        old_version=old, new_version=new, added_bytes=added, removed_bytes=removed, **figures
    )


def _state(row: FollowRow) -> str:
    if row.state is not FollowState.ACTIVE:
        return row.state.value
    if row.code == "nothing_published":
        return "waiting"
    if row.code and row.code != "warning":
        return "trouble"
    if not row.version:
        return "waiting"
    return "incomplete" if row.left else "up_to_date"


def follow_fields(row: FollowRow, activity: Activity | None) -> dict[str, Any]:
    """What the API tells of a followed share. activity: the update under way, of this or of another."""
    busy = activity is not None and activity.follow == row.id
    found: dict[str, Any] = {
        "id": row.id,
        "target": row.target,
        "state": "updating" if busy and row.state is FollowState.ACTIVE else _state(row),
        "files_done": activity.progress.files if activity and busy else 0,
        "files_total": activity.progress.files_total if activity and busy else 0,
    }
    same = [
        "code",
        "reason",
        "version",
        "files",
        "bytes",
        "conflicts",
        "left",
        "every_s",
        "added_at",
        "asked_at",
        "updated_at",
    ]
    return found | {name: getattr(row, name) for name in same}


def follow_trouble(row: FollowRow) -> schema.Trouble | None:
    """What somebody should know, and what helps."""
    target = os.fsdecode(row.target).encode("utf-8", "backslashreplace").decode()
    state = _state(row)
    if state == "stopped":
        return schema.Trouble(
            code=row.code,
            message=f"{target} is not followed any more: {row.reason}",
            action=f"usyncctl follow remove {row.id}",
            level="error",
        )
    if state == "trouble" or row.code == "warning":
        return schema.Trouble(code=row.code, message=f"{target}: {row.reason}", action="usyncctl follow list")
    if state == "incomplete":
        message = f"{target}: {row.left:,} paths of version {row.version} could not be placed"
        return schema.Trouble(code="follow_left", message=message, action=f"usyncctl follow resume {row.id}")
    return None
