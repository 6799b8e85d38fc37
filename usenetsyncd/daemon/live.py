"""The folders of the running configuration with their keys, as every thread sees them."""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import LeasedArticle
from usenetsyncd.errors import NotFound, RootMissing
from usenetsyncd.flows.epochs import Epochs
from usenetsyncd.flows.making import FolderPosting
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.share import share_of_envelope
from usenetsyncd.folders.ignore import IgnoreRules, compile_rules, load_rules
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.model import ArticleKind
from usenetsyncd.settings.schema import FolderSettings, Settings
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.keys import ReadKeys, SigningKey, folder_secret, signing_key


@dataclass(frozen=True, slots=True)
class LiveFolder:
    """One configured folder: its row, settings and keys. Never printed whole: it holds secrets.

    epoch, keys: as they were when it was loaded. epochs: of whatever epoch something was sealed in.
    """

    row: int
    name: str
    root: bytes
    epoch: int
    settings: FolderSettings
    newsgroups: tuple[str, ...]
    ignore: IgnoreRules
    signing: SigningKey
    secret: bytes
    keys: ReadKeys
    epochs: Epochs

    def reindex_options(self) -> ReindexOptions:
        """What the settings ask of indexing."""
        metadata = self.settings.metadata
        return ReindexOptions(
            self.settings.ignore,
            self.settings.priority,
            self.settings.redundancy.copies,
            metadata.owner,
            metadata.xattrs,
            self.epoch,
        )


class LiveFolders:
    """All of them, replaced as a whole when the configuration changes."""

    def __init__(self, catalogue: Catalogue, vault: Vault) -> None:
        self._catalogue = catalogue
        self._vault = vault
        self._by_row: Mapping[int, LiveFolder] = {}
        self._groups: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def load(self, settings: Settings) -> None:
        """Make the rows of new folders, derive keys, retire folders that left the configuration."""
        loaded: dict[int, LiveFolder] = {}
        with self._lock:
            for folder in settings.folders:
                live = self._open(folder, settings)
                loaded[live.row] = live
            for row in self._catalogue.folders.list():
                if row.id not in loaded:
                    self._catalogue.folders.remove(row.id).result()
            self._by_row = loaded
            self._groups = settings.newsgroups

    def renew_epoch(self, row: int) -> None:
        """The folder's epoch was moved on: what is read and hashed from now on is of the new one."""
        with self._lock:
            live = self._by_row.get(row)
            if live is not None:
                epoch = self._catalogue.folders.by_id(row).epoch
                renewed = replace(live, epoch=epoch, keys=live.epochs.keys(epoch))
                self._by_row = {**self._by_row, row: renewed}

    def __iter__(self) -> Iterator[LiveFolder]:
        return iter(self._by_row.values())

    def by_row(self, row: int) -> LiveFolder | None:
        """The folder of a catalogue row, if it is still configured."""
        return self._by_row.get(row)

    def named(self, name: str) -> LiveFolder:
        """Raises NotFound with the names that exist."""
        for folder in self:
            if folder.name == name:
                return folder
        names = ", ".join(sorted(folder.name for folder in self)) or "none yet"
        raise NotFound(f"no folder named '{name}' (folders: {names})")

    def newsgroups(self) -> list[str]:
        """All that anything of ours, or of those who share with us, may be in."""
        return sorted({*self._groups, *(group for folder in self for group in folder.newsgroups)})

    def posting_of(self, row: int) -> FolderPosting | None:
        """What the uploader needs; None when the folder is not configured any more."""
        folder = self.by_row(row)
        if folder is None:
            return None

        def keys_of(leased: LeasedArticle) -> ReadKeys:
            if leased.kind is ArticleKind.ENVELOPE:
                return share_of_envelope(self._catalogue, self._vault, leased, folder.signing.fingerprint)
            return folder.epochs.keys(leased.epoch)

        return FolderPosting(folder.root, folder.newsgroups, folder.settings.compression, keys_of)

    def _open(self, folder: FolderSettings, settings: Settings) -> LiveFolder:
        root = str(Path(folder.path)).encode("utf-8", "surrogateescape")
        row = self._catalogue.folders.ensure(folder.id, root, os.urandom(16))
        secret = folder_secret(self._vault.master(), row.uid)
        signing = signing_key(secret)
        epochs = Epochs(secret, signing.fingerprint)
        groups = [group for rule in folder.newsgroups if rule.match is None for group in rule.groups]
        return LiveFolder(
            row.id,
            folder.id,
            root,
            row.epoch,
            folder,
            tuple(groups) or settings.newsgroups,
            _rules(root, folder.ignore),
            signing,
            secret,
            epochs.keys(row.epoch),
            epochs,
        )


def _rules(root: bytes, lists: tuple[str, ...]) -> IgnoreRules:
    """For watching and for questions about a path; a scan reads the folder's own rules file anew."""
    try:
        with FolderRoot(root) as opened:
            return load_rules(opened, lists)
    except (RootMissing, OSError):
        return compile_rules(lists)
