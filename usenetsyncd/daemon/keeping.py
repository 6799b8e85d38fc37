"""Put the keep rules into effect: by the timetable, when another version is kept than before."""

import hashlib
import json
import threading
from functools import partial

import structlog

from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.errors import Cancelled
from usenetsyncd.flows.keeping import kept_versions, retire

log = structlog.get_logger("keep")

LOOK_S = 60.0


class Keeper:
    """Looks by the timetable; works things out on the caretaker's thread."""

    def __init__(self, scopes: Scopes, lane: Lane) -> None:
        self._scopes = scopes
        self._lane = lane

    def look(self) -> None:
        """Where versions are kept or not that were not or were before: work it out anew."""
        for folder in self._scopes.folders:
            if self._digest(folder) != (self._scopes.catalogue.values.get(_key(folder)) or ""):
                self._lane.put(f"keep-{folder.row}", partial(self._retire, folder), Urgency.SOON)

    def _kept(self, folder: LiveFolder) -> set[int]:
        return kept_versions(self._scopes.catalogue.retirement.moments(folder.row), folder.settings.keep)

    def _digest(self, folder: LiveFolder) -> str:
        """Of the versions that are not kept: only when those change is there anything to do."""
        kept = self._kept(folder)
        left = [
            number
            for number, _ in self._scopes.catalogue.retirement.moments(folder.row)
            if number not in kept
        ]
        if not left:
            return ""
        return hashlib.sha256(json.dumps([left, sorted(kept)]).encode()).hexdigest()

    def _retire(self, folder: LiveFolder, stop: threading.Event) -> bool:
        def check_stop() -> None:
            if stop.is_set():
                raise Cancelled("something more urgent has come")

        digest = self._digest(folder)
        try:
            count = retire(self._scopes.catalogue, folder.row, self._kept(folder), check_stop)
        except Cancelled:
            return False
        self._scopes.catalogue.values.set(_key(folder), digest).result()
        log.info("kept_versions_changed", folder=folder.name, segments_left=count)
        return True


def _key(folder: LiveFolder) -> str:
    return f"kept:{folder.row}"
