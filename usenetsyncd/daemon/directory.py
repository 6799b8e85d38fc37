"""Keep the directory of folders on the servers up with the folders, so that the recovery kit finds them."""

import hashlib
import json
import threading

import structlog

from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.errors import Cancelled, UsenetSyncError
from usenetsyncd.flows.directory import publish_directory
from usenetsyncd.wire.directory import DirectoryKeys, FolderRecord, directory_keys

log = structlog.get_logger("directory")

LOOK_S = 10.0
# Said again so often although nothing has changed: what is young is the last to leave a server.
AGAIN_S = 30 * 86_400.0
AFTER_ERROR_S = 60.0
_KEY = "directory"
_ERRAND = "directory"


class DirectoryKeeper:
    """Looks by the timetable; posts on the caretaker's thread."""

    def __init__(self, scopes: Scopes, lane: Lane) -> None:
        self._scopes = scopes
        self._lane = lane
        self._keys: DirectoryKeys | None = None
        self._not_before = 0.0

    def look(self) -> None:
        """If folders have come, gone or changed: have the directory posted."""
        if self._scopes.clock.monotonic() >= self._not_before and self._due() is not None:
            self._lane.put(_ERRAND, self._publish, Urgency.SOON)

    def records(self) -> list[FolderRecord]:
        """All folders with something published or in the configuration, also those that left it."""
        live = {folder.row: folder for folder in self._scopes.folders}
        found = []
        for row in self._scopes.catalogue.folders.list(removed=True):
            folder = live.get(row.id)
            if folder is None and not row.version:
                continue
            settings = b""
            if folder is not None:
                kept = folder.settings.model_dump(mode="json", exclude={"id", "path"})
                settings = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
            found.append(FolderRecord(row.uid, row.epoch, row.version, row.name, row.root, settings))
        return found

    def posted(self) -> tuple[float | None, int]:
        """When it was last posted, and how many folders it listed."""
        kept = json.loads(self._scopes.catalogue.values.get(_KEY) or "{}")
        return kept.get("at"), int(kept.get("folders", 0))

    def _due(self) -> tuple[list[FolderRecord], str, int] | None:
        """(folders, digest of what matters, newest serial) if they are to be posted now."""
        kept = json.loads(self._scopes.catalogue.values.get(_KEY) or "{}")
        records = self.records()
        digest = _digest(records)
        fresh = self._scopes.clock.now() - kept.get("at", 0.0) < AGAIN_S
        if not records or (kept.get("digest") == digest and fresh):
            return None
        return records, digest, int(kept.get("serial", 0))

    def _publish(self, stop: threading.Event) -> bool:
        due = self._due()
        groups = self._scopes.settings().newsgroups
        if due is None or not groups:
            return True
        records, digest, known = due

        def check_stop() -> None:
            if stop.is_set():
                raise Cancelled("something more urgent has come")

        now = self._scopes.clock.now()
        try:
            if self._keys is None:
                self._keys = directory_keys(self._scopes.vault.master())
            serial = publish_directory(
                self._scopes.news, self._keys, records, known, groups, int(now), check_stop
            )
        except Cancelled:
            return False
        except UsenetSyncError as error:
            self._not_before = self._scopes.clock.monotonic() + AFTER_ERROR_S
            log.warning("directory_not_published", reason=str(error))
            return True
        self._scopes.catalogue.values.set(
            _KEY, json.dumps({"serial": serial, "digest": digest, "at": now, "folders": len(records)})
        ).result()
        self._scopes.catalogue.events.add(
            "info", "directory_published", f"the recovery kit finds {len(records)} folders now", serial=serial
        )
        return True


def _digest(records: list[FolderRecord]) -> str:
    """Of all but the versions: they are found from any of them on."""
    hashed = hashlib.sha256()
    for one in records:
        fields = (
            one.uid,
            one.epoch.to_bytes(4, "big"),
            one.name.encode("utf-8", "surrogateescape"),
            one.path,
        )
        for field in (*fields, one.settings):
            hashed.update(len(field).to_bytes(4, "big") + field)
    return hashed.hexdigest()
