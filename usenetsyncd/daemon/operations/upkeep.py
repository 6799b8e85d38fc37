"""Held folders, and what the daemon looks after by itself."""

import os
from pathlib import Path

from usenetsyncd.control import schema
from usenetsyncd.daemon.guarding import ROOT
from usenetsyncd.daemon.operations.insight import InsightOperations
from usenetsyncd.model import Fingerprint
from usenetsyncd.wire.access import AccessKind, encode_access


class UpkeepOperations(InsightOperations):
    """folder review, folder release."""

    def folder_review(self, folder: str, limit: int = 20) -> schema.FolderReview:
        """Raises NotFound."""
        live, row = self._live(folder), self._row(folder)
        catalogue = self._daemon.catalogue
        hold = catalogue.holds.get(live.row)
        seen = self._daemon.upkeep.guard.measure(live)
        deleted, changed = catalogue.holds.first_paths(live.row, limit)
        lost_root = hold.cause == ROOT
        return schema.FolderReview(
            folder=live.name,
            held=row.held,
            cause=hold.cause or "",
            reason=row.reason if row.held else "",
            since=hold.since if row.held else None,
            version=row.version,
            files=seen.files,
            deleted=row.files if lost_root else seen.deleted,
            deleted_share=1.0 if lost_root else seen.deleted_share,
            max_deleted=seen.max_deleted,
            changed=seen.changed,
            changed_share=seen.changed_share,
            max_changed=seen.max_changed,
            deleted_paths=[_shown(path) for path in deleted],
            changed_paths=[_shown(path) for path in changed],
        )

    def folder_release(self, folder: str) -> schema.FolderReleased:
        """Raises NotFound, UsageError."""
        live = self._live(folder)
        accepted = self._daemon.upkeep.guard.release(live)
        return schema.FolderReleased(folder=live.name, deleted=accepted.deleted, changed=accepted.changed)

    def catalogue_backup(self, order: schema.BackupOrder) -> schema.CatalogueBackup:
        """Raises UsageError, DiskFull."""
        made = self._daemon.upkeep.backups.make(None if order.to is None else Path(os.fsdecode(order.to)))
        return schema.CatalogueBackup(
            path=os.fsencode(made.path), bytes=made.size_bytes, made_at=made.made_at
        )

    def catalogue_check(self, full: bool) -> schema.CatalogueChecked:
        """Look for damage."""
        report = self._daemon.catalogue.check(full)
        return schema.CatalogueChecked(healthy=report.healthy, full=report.full, problems=report.problems)

    def kit(self) -> schema.RecoveryKit:
        """Secret: never logged."""
        string = encode_access(AccessKind.RECOVERY, self._daemon.vault.master(), Fingerprint(b""))
        self._daemon.catalogue.events.add("warning", "kit_shown", "the recovery kit was shown")
        posted_at, folders = self._daemon.upkeep.directory.posted()
        return schema.RecoveryKit(kit=string, directory_at=posted_at, folders=folders)


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
