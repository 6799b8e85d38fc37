"""What is known of each folder's health, kept at hand: working it out may cost as much as the damage is large."""

import threading
from collections.abc import Callable

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.flows.health import FolderHealth, HealthWord, folder_health
from usenetsyncd.settings.schema import Settings

log = structlog.get_logger("verify")

# Damage is looked at again this often, and never for more than a fiftieth of the time.
RENEW_S = 60.0
RENEW_SHARE = 50


class HealthBook:
    """The last word on each folder. Whoever changes something that matters calls ``renew``."""

    def __init__(self, catalogue: Catalogue, settings: Callable[[], Settings], clock: Clock) -> None:
        """settings: the snapshot in force; servers count."""
        self._catalogue = catalogue
        self._settings = settings
        self._clock = clock
        self._again_at: dict[int, float] = {}
        self._lock = threading.Lock()
        self._kept: dict[int, FolderHealth] = {}

    def of(self, row: int) -> FolderHealth:
        """At once, from memory; for a folder that nobody has looked at since the start what can be said without."""
        with self._lock:
            kept = self._kept.get(row)
        if kept is None:
            return FolderHealth(self._at_a_glance(row))
        if kept.word is HealthWord.UNKNOWN and self._catalogue.folders.by_id(row).verified_at is not None:
            return FolderHealth(HealthWord.RESTORABLE)
        return kept

    def renew(self, folder: LiveFolder) -> FolderHealth:
        """Work it out anew. What has been lost for good since the last time is an event."""
        began = self._clock.monotonic()
        health = folder_health(self._catalogue, folder.row, self._settings())
        now = self._clock.monotonic()
        with self._lock:
            self._kept[folder.row] = health
            self._again_at[folder.row] = now + max(RENEW_S, RENEW_SHARE * (now - began))
        self._tell(folder, health.lost_segments)
        return health

    def due(self, row: int) -> bool:
        """Whether to look again: something is wrong, or was, and files and queues may have changed since."""
        with self._lock:
            kept, again_at = self._kept.get(row), self._again_at.get(row, 0.0)
        if kept is not None and self._clock.monotonic() < again_at:
            return False
        if kept is None or kept.word in (HealthWord.AT_RISK, HealthWord.DAMAGED):
            return True
        return bool(self._catalogue.findings.segments(row, limit=1))

    def _at_a_glance(self, row: int) -> HealthWord:
        if self._catalogue.findings.segments(row, limit=1):
            return HealthWord.AT_RISK
        verified = self._catalogue.folders.by_id(row).verified_at is not None
        return HealthWord.RESTORABLE if verified else HealthWord.UNKNOWN

    def _tell(self, folder: LiveFolder, lost: int) -> None:
        """Once for what is new, not each time somebody looks."""
        key = f"lost:{folder.row}"
        before = int(self._catalogue.values.get(key) or 0)
        if lost == before:
            return
        self._catalogue.values.set(key, str(lost)).result()
        if lost > before:
            message = f"{folder.name}: {lost} segments cannot be had from anywhere any more"
            self._catalogue.events.add("error", "unrepairable", message, folder.row, segments=lost)
            log.error("segments_lost", folder=folder.name, segments=lost)
        elif not lost:
            self._catalogue.events.add(
                "info", "recovered", f"{folder.name}: everything can be had again", folder.row
            )
