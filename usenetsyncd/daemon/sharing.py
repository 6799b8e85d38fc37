"""Shares of a running daemon: readers are told of a new epoch, and one begins when it must."""

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.flows.epochs import epoch_awaits_version
from usenetsyncd.flows.share import Sharer
from usenetsyncd.vault.vault import Vault

log = structlog.get_logger("share")


class Sharing:
    """Makes sharers of folders, and keeps the shares of each up with its epoch."""

    def __init__(self, catalogue: Catalogue, vault: Vault, folders: LiveFolders) -> None:
        self._catalogue = catalogue
        self._vault = vault
        self._folders = folders

    def sharer(self, folder: LiveFolder) -> Sharer:
        """What makes and changes the shares of a folder."""
        copies = folder.settings.redundancy.copies
        return Sharer(self._catalogue, self._vault, folder.row, folder.signing, folder.epochs, copies)

    def moved_on(self, folder: LiveFolder) -> None:
        """The folder's epoch may have changed: what is hashed and sealed from now on is of the present one."""
        self._folders.renew_epoch(folder.row)

    def awaits_version(self, folder: LiveFolder) -> bool:
        """Whether a new epoch has begun in which nothing is published yet."""
        return epoch_awaits_version(self._catalogue, folder.row)

    def tell_readers(self, folder: LiveFolder) -> int:
        """After a version was published, and at the start: shares that open an older epoch are renewed."""
        return self.sharer(folder).renew()

    def expire(self) -> bool:
        """Begin an epoch wherever a share that is over opens the present one. Whether any begun."""
        begun = False
        for folder in list(self._folders):
            try:
                if self.sharer(folder).expire() is None:
                    continue
            except UsenetSyncError as error:
                log.error("share_not_expired", folder=folder.name, reason=str(error))
                continue
            begun = True
            self.moved_on(folder)
            self._catalogue.events.add(
                "info", "share_expired", f"{folder.name}: a share is over; a new epoch begins", folder.row
            )
        return begun
