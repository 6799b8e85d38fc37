"""Epochs of a folder: a new one begins when somebody may not read what comes next.

Whoever was given the read secret of an epoch can read what was sealed in it, for good. So taking somebody out, or a
whole share back, begins another; the head of each version carries the secrets of those before it, so that newer readers
open older segments and never the reverse. Others hear of the new one once a version stands in it (flows/share.py).
"""

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ShareRow
from usenetsyncd.errors import LimitExceeded
from usenetsyncd.model import Fingerprint
from usenetsyncd.wire.head import MAX_OLDER_EPOCHS, OlderEpoch
from usenetsyncd.wire.keys import ReadKeys, read_keys, read_secret


class Epochs:
    """The secrets and keys of one folder's epochs, derived when they are asked for. Never printed."""

    def __init__(self, folder_secret: bytes, fingerprint: Fingerprint) -> None:
        self._secret = folder_secret
        self._fingerprint = fingerprint
        self._keys: dict[int, ReadKeys] = {}

    def secret(self, epoch: int) -> bytes:
        """R, 32 bytes. Raises LimitExceeded."""
        return read_secret(self._secret, epoch)

    def keys(self, epoch: int) -> ReadKeys:
        """What finds and opens articles of the epoch. Raises LimitExceeded."""
        found = self._keys.get(epoch)
        if found is None:
            found = self._keys[epoch] = read_keys(self.secret(epoch), self._fingerprint)
        return found

    def rings(self, epoch: int) -> tuple[ReadKeys, ...]:
        """Of this epoch and all before it, newest first."""
        return tuple(self.keys(one) for one in range(epoch, max(0, epoch - MAX_OLDER_EPOCHS - 1), -1))

    def older(
        self, catalogue: Catalogue, folder_row: int, epoch: int, version: int
    ) -> tuple[OlderEpoch, ...]:
        """What the head of a version in ``epoch`` says of the epochs before it, oldest first.

        An epoch in which nothing was published has the first version of the next one: its segments may be in use.
        Raises LimitExceeded beyond 1,000 of them.
        """
        if epoch - 1 > MAX_OLDER_EPOCHS:
            raise LimitExceeded(f"a folder has at most {MAX_OLDER_EPOCHS:,} older epochs")
        first_of = catalogue.versions.first_of_epochs(folder_row)
        found: list[OlderEpoch] = []
        first = version
        for one in range(epoch - 1, 0, -1):
            first = min(first, first_of.get(one, first))
            found.append(OlderEpoch(one, first, self.secret(one)))
        return tuple(reversed(found))


def shared_epoch(catalogue: Catalogue, folder_row: int) -> tuple[int, int]:
    """(epoch, version) that an envelope written now opens: of the newest version, or the first to come.

    A reader looks for heads in that epoch alone, so a new epoch is told only when a version stands in it.
    """
    newest = catalogue.versions.newest(folder_row)
    if newest is not None:
        return newest.epoch, newest.version
    return catalogue.folders.by_id(folder_row).epoch, 0


def next_epoch(catalogue: Catalogue, share: ShareRow) -> int | None:
    """The epoch to begin so that the readers of this share cannot read what comes; None: they cannot anyway.

    They were given the secrets up to the epoch of its newest envelope, and no later one.
    """
    epoch = catalogue.folders.by_id(share.folder_id).epoch
    return epoch + 1 if share.epoch == epoch else None


def epoch_awaits_version(catalogue: Catalogue, folder_row: int) -> bool:
    """Whether the folder has a new epoch, but readers still hold to a version of an older one."""
    newest = catalogue.versions.newest(folder_row)
    return newest is not None and newest.epoch < catalogue.folders.by_id(folder_row).epoch
