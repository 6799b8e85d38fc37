"""``usenetsyncd recover``: from the recovery kit and a configuration to a data directory that can go on publishing."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.accounts import accounts_of, overrides_of
from usenetsyncd.daemon.daemon import CATALOGUE_NAME, LOCK_NAME
from usenetsyncd.errors import BadAccessString, ConfigurationError, UsageError
from usenetsyncd.flows.directory import Found, find_directory
from usenetsyncd.flows.recover import RecoveredFolder, recover_folder
from usenetsyncd.news.service import NewsService
from usenetsyncd.service.lock import LockFile
from usenetsyncd.settings.schema import Settings
from usenetsyncd.vault.vault import DIRECTORY_NAME, MASTER_NAME, Vault
from usenetsyncd.wire.access import AccessKind, decode_access
from usenetsyncd.wire.directory import FolderRecord, directory_keys

log = structlog.get_logger("recover")

_CLOSE_S = 5.0
_UNDER_WAY = "recovering"
# What the installation knew and nobody else does.
NOT_RESTORABLE = (
    "the strings of shares, and whom they are for: make new ones (old strings go on reading what they could read)",
    "people to share with, credentials, the log and its events",
    "what waited to be posted: the next scan finds it again",
)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came back. unconfigured: folders that the configuration does not have, by name."""

    folders: tuple[RecoveredFolder, ...]
    unconfigured: tuple[str, ...]
    lost_parts: int


def master_of(kit: str) -> bytes:
    """M, from what `kit show` printed. Raises BadAccessString, NewerFormat; never repeats any of it."""
    kind, master, _ = decode_access(kit)
    if kind is not AccessKind.RECOVERY:
        raise BadAccessString(
            f"this is an access string of a share; a recovery kit begins with {AccessKind.RECOVERY.value}1"
        )
    return master


def recover(kit: str, settings: Settings, clock: Clock, tell: Callable[[str], None]) -> Recovered:
    """Make vault and catalogue in ``storage.data_dir``. tell: what is going on, a line each.

    May be begun again after an interruption. Raises UsageError where there is an installation already, AlreadyRunning,
    NothingPublished, NewsError, VaultError.
    """
    master = master_of(kit)
    data_dir = Path(settings.storage.data_dir)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with LockFile(data_dir / LOCK_NAME):
        vault = _vault(data_dir, master)
        path = data_dir / CATALOGUE_NAME
        _refuse_other(path, clock)
        accounts, problems = accounts_of(settings, vault.credentials.get, os.environ)
        if problems or not accounts:
            raise ConfigurationError(
                "; ".join(problems) or "the configuration has no news server: add one under 'servers'"
            )
        news = NewsService(accounts, clock, overrides_of(settings))
        try:
            found = find_directory(news, directory_keys(master))
            tell(f"{len(found.folders)} folders found")
            with Catalogue.open(path, clock) as catalogue:
                catalogue.values.set(_UNDER_WAY, "1").result()
                recovered = _folders(news, catalogue, master, found, settings, tell)
                catalogue.values.set(_UNDER_WAY, "").result()
        finally:
            news.close(_CLOSE_S)
    return recovered


def _folders(
    news: NewsService,
    catalogue: Catalogue,
    master: bytes,
    found: Found,
    settings: Settings,
    tell: Callable[[str], None],
) -> Recovered:
    configured = {folder.id: folder for folder in settings.folders}
    done: list[RecoveredFolder] = []
    for record in _newest_of_names(found.folders):
        folder = configured.get(record.name)
        root = record.path if folder is None else os.fsencode(folder.path)
        one = recover_folder(news, catalogue, master, record, root)
        done.append(one)
        tell(f"{record.name}: version {one.version}, {one.files:,} files")
    names = tuple(one.name for one in done if one.name not in configured)
    return Recovered(tuple(done), names, found.lost)


def _newest_of_names(records: tuple[FolderRecord, ...]) -> list[FolderRecord]:
    """One folder for each name; names are unique in a catalogue, so more than one would be a forgery of ours."""
    return list({record.name: record for record in records}.values())


def _vault(data_dir: Path, master: bytes) -> Vault:
    """A new vault around M, or the one that an interrupted run has made."""
    if not (data_dir / DIRECTORY_NAME / MASTER_NAME).exists():
        return Vault.create(data_dir, master)
    vault = Vault.open(data_dir)
    if vault.master() != master:
        raise UsageError(
            f"{data_dir} belongs to another installation; recover into an empty directory (storage.data_dir)"
        )
    return vault


def _refuse_other(path: Path, clock: Clock) -> None:
    if not path.exists():
        return
    with Catalogue.open(path, clock) as catalogue:
        if not catalogue.values.get(_UNDER_WAY) and catalogue.folders.list(removed=True):
            raise UsageError(
                f"{path} is there already, with folders in it; nothing was changed. To put a backup back: usyncctl "
                "catalogue restore FILE"
            )
