"""The deletion guard: what looks like an accident is held until a person has looked at it.

A folder is held when its root is gone or suddenly empty, or when more than a set share of its files was deleted
or changed at once. Nothing of it is posted or published then; older versions stay as they are. A hold ends when
the files are back, or when somebody releases it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.holds import Losses
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import UsageError

log = structlog.get_logger("guard")

ROOT = "root"
"""Cause of a hold: the folder itself is gone or empty."""
LOSSES = "losses"
"""Cause of a hold: too many of its files are gone or changed."""

# Fewer files than this never hold a folder: in a small one that is an everyday deletion.
LEAST_FILES = 10
# What was deleted bit by bit within this time is deleted at once, even if versions were published meanwhile.
AT_ONCE_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Measure:
    """What a version begun now would do to a folder.

    files: of the newest version. before: an hour ago, where that is more: shares of what is deleted are of those.
    """

    files: int
    before: int
    deleted: int
    changed: int
    max_deleted: float
    max_changed: float

    @property
    def deleted_share(self) -> float:
        return self.deleted / max(self.before, self.deleted, 1)

    @property
    def changed_share(self) -> float:
        return self.changed / max(self.files, self.changed, 1)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the folder must be held; empty when it need not be."""
        found = []
        if self.deleted >= LEAST_FILES and self.deleted_share > self.max_deleted:
            found.append(f"{_percent(self.deleted_share)} of files deleted ({self.deleted:,})")
        if self.changed >= LEAST_FILES and self.changed_share > self.max_changed:
            found.append(f"{_percent(self.changed_share)} of files changed ({self.changed:,})")
        return tuple(found)


class Guard:
    """Looks at folders after scans and before versions; threads may call it at once."""

    def __init__(
        self,
        catalogue: Catalogue,
        folders: LiveFolders,
        clock: Clock,
        on_released: Callable[[LiveFolder], None],
    ) -> None:
        """on_released: a folder may go on; what it waits for should be woken, and the folder be scanned."""
        self._catalogue = catalogue
        self._folders = folders
        self._clock = clock
        self._on_released = on_released

    def scanned(self, row: int) -> None:
        """A scan of the folder has ended: hold it, or end a hold whose cause is gone."""
        folder = self._folders.by_row(row)
        if folder is None:
            return
        if self._catalogue.holds.get(row).accepting:
            self._catalogue.holds.accept(row).result()
            return
        self.allows(folder)

    def allows(self, folder: LiveFolder) -> bool:
        """Whether a version of the folder may be made now. Holds it, or ends its hold, when that is new."""
        holds = self._catalogue.holds
        if holds.get(folder.row).cause == ROOT:
            return False
        measure = self.measure(folder)
        if not measure.reasons:
            if holds.lift(folder.row, LOSSES):
                self._tell("info", "hold_ended", folder, "the files are there again; work goes on")
                self._on_released(folder)
            return True
        reason = " and ".join(measure.reasons)
        if holds.hold(folder.row, LOSSES, reason):
            log.warning("folder_held", folder=folder.name, deleted=measure.deleted, changed=measure.changed)
            self._tell(
                "warning", "folder_held", folder, f"{reason}; nothing is published until it is released"
            )
        return False

    def measure(self, folder: LiveFolder) -> Measure:
        """What has been deleted and changed since the newest version, or within the last hour if that is more."""
        limits = folder.settings.guard
        row = self._catalogue.folders.by_id(folder.row)
        newest = self._catalogue.versions.newest(folder.row)
        if newest is None:
            return Measure(row.files, row.files, 0, 0, limits.max_deleted, limits.max_changed)
        losses = self._catalogue.holds.losses(folder.row)
        before = max(newest.files, self._files_before(folder.row, newest.files))
        deleted = losses.deleted and losses.deleted + before - newest.files
        return Measure(newest.files, before, deleted, losses.changed, limits.max_deleted, limits.max_changed)

    def _files_before(self, row: int, newest: int) -> int:
        """How many files the folder had an hour ago, or when somebody last accepted what was gone."""
        hold = self._catalogue.holds.get(row)
        released_at, moment = hold.released_at or 0.0, self._clock.now() - AT_ONCE_S
        if hold.files is not None and released_at > moment:
            return hold.files
        found = self._catalogue.holds.files_before(row, moment, released_at)
        return newest if found is None else found

    def release(self, folder: LiveFolder) -> Losses:
        """Accept what was deleted and changed; work goes on. Raises UsageError where there is nothing to release."""
        hold = self._catalogue.holds.get(folder.row)
        if hold.cause is None:
            raise UsageError(f"{folder.name} is not held")
        losses = self._catalogue.holds.losses(folder.row)
        if hold.cause == ROOT:
            _check_reachable(folder)
            losses = Losses(self._catalogue.folders.by_id(folder.row).files, 0)
            self._catalogue.holds.accept_next(folder.row).result()
        else:
            self._catalogue.holds.accept(folder.row).result()
        log.info("folder_released", folder=folder.name, deleted=losses.deleted, changed=losses.changed)
        self._tell(
            "info",
            "folder_released",
            folder,
            f"{losses.deleted:,} deletions and {losses.changed:,} changes accepted",
        )
        self._on_released(folder)
        return losses

    def _tell(self, level: str, code: str, folder: LiveFolder, message: str) -> None:
        self._catalogue.events.add(level, code, f"{folder.name}: {message}", folder.row)


def _check_reachable(folder: LiveFolder) -> None:
    """An empty folder can be accepted; one that is not there, or cannot be read, has told us nothing."""
    try:
        os.scandir(folder.root).close()
    except OSError as error:
        raise UsageError(
            f"{os.fsdecode(folder.root)!r} cannot be read ({error.strerror}): mount its disk, or take the folder out "
            f"of the configuration with 'usyncctl folder remove {folder.name}'"
        ) from error


def _percent(share: float) -> str:
    return f"{share:.0%}"
