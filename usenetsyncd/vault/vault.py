"""The installation's master secret and everything kept under lock beside it.

``data_dir/vault`` (0700) holds ``master.key``, ``credentials.key`` and ``credentials.json`` (0600 each).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from usenetsyncd.errors import VaultError
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.vault.box import Box
from usenetsyncd.vault.credentials import CredentialStore
from usenetsyncd.vault.files import (
    LOCK_NAME,
    TEMPORARY_PREFIX,
    locked,
    make_private_directory,
    sweep_temporaries,
)
from usenetsyncd.vault.keyfile import new_key, read_key, write_key

DIRECTORY_NAME = "vault"
MASTER_NAME = "master.key"
_PURPOSE = "usenetsync master"
_LOST = (
    "it is what everything published was encrypted with, and a new one would not open any of it. Put the file back "
    "from a backup, or rebuild from the recovery kit: usenetsyncd recover --kit - --config FILE"
)


class Vault:
    """Opened once by the daemon; the keys stay in memory until the process ends."""

    def __init__(self, directory: Path, master: bytes, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self._master = master
        self._box = Box(master, "catalogue secrets")
        self.credentials = CredentialStore(directory, environ)
        register_secret(master)

    @classmethod
    def open(cls, data_dir: Path, environ: Mapping[str, str] | None = None) -> Self:
        """The vault of a data directory, made with a new master secret when the directory is new.

        Raises VaultError when the master is missing although there is other state, cut short, altered,
        or readable by others; DiskFull.
        """
        directory = _prepared(data_dir)
        with locked(directory):
            path = directory / MASTER_NAME
            try:
                master = read_key(path, _PURPOSE)
            except FileNotFoundError:
                if found := _other_state(data_dir, directory):
                    raise VaultError(f"{path} is missing although {found} is there: {_LOST}") from None
                sweep_temporaries(directory)
                master = new_key()
                write_key(path, _PURPOSE, master)
        return cls(directory, master, os.environ if environ is None else environ)

    @classmethod
    def create(cls, data_dir: Path, master: bytes, environ: Mapping[str, str] | None = None) -> Self:
        """A vault around a known master (32 bytes), for recovery. Raises VaultError when there is one already."""
        directory = _prepared(data_dir)
        with locked(directory):
            try:
                write_key(directory / MASTER_NAME, _PURPOSE, master)
            except FileExistsError:
                raise VaultError(f"{directory / MASTER_NAME} exists; it is never overwritten") from None
        return cls(directory, master, os.environ if environ is None else environ)

    def master(self) -> bytes:
        """M, 32 bytes. It goes to wire.keys and nowhere else."""
        return self._master

    def seal_secret(self, content: bytes, context: bytes = b"") -> bytes:
        """Encrypt a small secret for the catalogue; context: what it belongs to, needed again to open it."""
        return self._box.seal(content, context)

    def open_secret(self, sealed: bytes, context: bytes = b"") -> bytes:
        """The inverse. Raises VaultError."""
        return self._box.open(sealed, context)

    def __repr__(self) -> str:
        return f"Vault({str(self.directory)!r})"


def _prepared(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise VaultError(f"{data_dir} cannot be made: {error.strerror}; see storage.data_dir") from error
    directory = data_dir / DIRECTORY_NAME
    make_private_directory(directory)
    return directory


def _other_state(data_dir: Path, directory: Path) -> Path | None:
    """A file that shows that there was a master once: anything in the vault, or a catalogue beside it."""
    for path in sorted(directory.iterdir()):
        if path.name != LOCK_NAME and not path.name.startswith(TEMPORARY_PREFIX):
            return path
    for path in sorted(data_dir.iterdir()):
        if path.name.startswith("catalogue") or path.suffix in {".db", ".sqlite", ".sqlite3"}:
            return path
    return None
