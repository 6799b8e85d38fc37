"""Is the catalogue abreast of the servers? No version number, and no envelope's, is ever given out twice.

A catalogue that came from a backup, or a data directory that was copied, may know less than the servers do. Before a
process publishes its first version of a folder it asks for the number that it would use.
"""

from collections.abc import Iterator

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ShareRow
from usenetsyncd.errors import NewsError
from usenetsyncd.flows.epochs import Epochs
from usenetsyncd.flows.locate import Located, newest_above, read_head
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.model import Presence
from usenetsyncd.news.service import NewsService
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.head import head_address
from usenetsyncd.wire.keys import ReadKeys, message_id_of, share_keys
from usenetsyncd.wire.membership import decode_envelope, envelope_address

log = structlog.get_logger("locate")


def number_taken(news: NewsService, epochs: Epochs, epoch: int, version: int) -> bool:
    """Whether a server has the next version's head already, in this epoch or the next: two names to ask for.

    Raises NewsError when no server answered.
    """
    names = [
        message_id_of(epochs.keys(one).location, head_address(one, version + 1)) for one in (epoch, epoch + 1)
    ]
    presence = list(news.stat(names).values())
    if Presence.PRESENT in presence:
        return True
    if Presence.UNKNOWN in presence:
        raise NewsError("no server could say whether the next version's number is free")
    return False


def newest_posted(news: NewsService, epochs: Epochs, epoch: int, version: int) -> Located | None:
    """The newest head above ``version`` that a server has, in this epoch or a later one; None when there is none.

    Raises NewsError when servers could not be asked, NewerFormat.
    """
    found: Located | None = None
    here, low = epoch, version
    while True:
        located = _newest_of_epoch(news, epochs, here, low)
        if located is not None:
            found, low = located, located.head.version
        elif here > epoch:
            return found
        here += 1


def _newest_of_epoch(news: NewsService, epochs: Epochs, epoch: int, low: int) -> Located | None:
    keys = epochs.keys(epoch)
    return newest_above(
        news,
        keys,
        lambda version: head_address(epoch, version),
        low,
        lambda version: read_head(news, (keys,), keys.fingerprint, epoch, version),
    )


def raise_serials(
    news: NewsService, catalogue: Catalogue, vault: Vault, folder_row: int, epochs: Epochs
) -> int:
    """Number the next envelope of every share of a folder above those that a server has; how many were raised."""
    fingerprint = epochs.keys(1).fingerprint
    raised = 0
    for share in _shares(catalogue, folder_row):
        keys = share_keys(vault.open_secret(share.secret), fingerprint)

        def read(serial: int, keys: ReadKeys = keys) -> int:
            at = envelope_address(serial)
            decode_envelope(retrieve(news, (keys,), at), fingerprint, at)
            return serial

        newest = newest_above(news, keys, envelope_address, share.serial, read)
        if newest is not None:
            catalogue.shares.update(share.id, serial=newest).result()
            raised += 1
    return raised


def _shares(catalogue: Catalogue, folder_row: int) -> Iterator[ShareRow]:
    after: str | None = None
    while True:
        page = catalogue.shares.list(folder_row, after)
        yield from page.rows
        after = page.next
        if after is None:
            return
