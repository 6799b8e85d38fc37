"""What the API can ask of the daemon about its own upkeep."""

from typing import Protocol

from usenetsyncd.control import schema


class UpkeepOperations(Protocol):
    """Part of control.operations.Operations."""

    def folder_review(self, folder: str, limit: int = 20) -> schema.FolderReview:
        """What was deleted and changed, whether or not it is held. limit: paths of each. Raises NotFound."""

    def folder_release(self, folder: str) -> schema.FolderReleased:
        """Accept it; work goes on. Raises NotFound, UsageError for a folder that is not held or not there."""

    def catalogue_backup(self, order: schema.BackupOrder) -> schema.CatalogueBackup:
        """A consistent copy while work goes on. Raises UsageError, DiskFull."""

    def catalogue_check(self, full: bool) -> schema.CatalogueChecked:
        """Look for damage; full takes minutes for a large one."""

    def kit(self) -> schema.RecoveryKit:
        """The one secret that everything can be rebuilt from."""

    def doctor(self) -> schema.Diagnosis:
        """Look at everything that can be wrong; asks the servers, takes seconds."""

    def schedule(self) -> schema.Schedule:
        """Which limits apply now, and what happens next by the clock."""

    def history(self, folder: str | None, after: str | None, limit: int) -> schema.History:
        """Of one folder or of all. Raises NotFound."""
