"""Before the first version of a folder in this process: are its numbers still free on the servers?"""

from collections.abc import Callable

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import NewsError
from usenetsyncd.flows.abreast import newest_posted, number_taken, raise_serials
from usenetsyncd.news.service import NewsService
from usenetsyncd.vault.vault import Vault

log = structlog.get_logger("publish")

ASK_AGAIN_S = 5.0


class Abreast:
    """Asked by the publisher's thread alone; see flows/abreast.py."""

    def __init__(
        self,
        catalogue: Catalogue,
        vault: Vault,
        folders: LiveFolders,
        news: NewsService,
        clock: Clock,
        reads: Callable[[], bool],
    ) -> None:
        """reads: whether any server is one to read from; without one nobody can be asked."""
        self._catalogue = catalogue
        self._vault = vault
        self._folders = folders
        self._news = news
        self._clock = clock
        self._reads = reads
        self._confirmed: set[int] = set()
        self._not_before: dict[int, float] = {}

    def confirms(self, folder: LiveFolder) -> bool:
        """Whether the folder's next version may be numbered. Takes over what the servers know beyond the catalogue.

        False while no server answers. Raises NewerFormat.
        """
        if folder.row in self._confirmed:
            return True
        if self._not_before.get(folder.row, 0.0) > self._clock.monotonic():
            return False
        try:
            self._ask(folder)
        except NewsError as error:
            if folder.row not in self._not_before:
                log.warning("numbers_not_confirmed", folder=folder.name, reason=str(error))
            self._not_before[folder.row] = self._clock.monotonic() + ASK_AGAIN_S
            return False
        self._confirmed.add(folder.row)
        return True

    def _ask(self, folder: LiveFolder) -> None:
        row = self._catalogue.folders.by_id(folder.row)
        must = self._catalogue.adoption.must_ask(folder.row)
        if not must and (row.version == 0 or not self._reads()):
            return
        if not must and not number_taken(self._news, folder.epochs, row.epoch, row.version):
            return
        newest = newest_posted(self._news, folder.epochs, row.epoch, row.version)
        if newest is not None:
            head = newest.head
            self._catalogue.adoption.adopt_head(
                folder.row, head.version, head.epoch, newest.head_hash
            ).result()
            self._folders.renew_epoch(folder.row)
            log.warning("newer_version_found", folder=folder.name, known=row.version, found=head.version)
            self._catalogue.events.add(
                "warning",
                "newer_version_found",
                f"{folder.name}: version {head.version} is on the servers, {row.version} was the newest known here; "
                f"the next is {head.version + 1}",
                folder.row,
            )
        raise_serials(self._news, self._catalogue, self._vault, folder.row, folder.epochs)
        if must:
            self._catalogue.adoption.asked(folder.row).result()
