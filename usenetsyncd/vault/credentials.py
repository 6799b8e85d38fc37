"""Passwords and the like: stored encrypted, or handed over by systemd (LoadCredential=)."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from usenetsyncd.errors import NotFound, UsageError, VaultError
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.vault.box import Box
from usenetsyncd.vault.files import locked, read_private, replace_whole, sweep_temporaries
from usenetsyncd.vault.keyfile import new_key, read_key, write_key

STORE_NAME = "credentials.json"
KEY_NAME = "credentials.key"
MAX_VALUE_BYTES = 65_536
_MAX_STORE_BYTES = 16_777_216
_PURPOSE = "usenetsync credentials"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class CredentialName:
    """source: ``store`` or ``systemd``."""

    name: str
    source: str


class CredentialStore:
    """Named values, each sealed with its name. Every call reads the file anew: a client may have changed it."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        given = environ.get("CREDENTIALS_DIRECTORY")
        self._systemd = Path(given) if given else None

    def get(self, name: str) -> str:
        """The value; systemd's before our own. Raises NotFound, VaultError."""
        value = self._from_systemd(_checked(name))
        if value is None:
            sealed = self._load().get(name)
            if sealed is None:
                raise NotFound(f"no credential named '{name}'; set it with: usyncctl credential set {name}")
            value = self._box().open(_unpack(name, sealed), name.encode()).decode("utf-8")
        register_secret(value)
        return value

    def set(self, name: str, value: str) -> None:
        """Store or replace a value. Raises UsageError for one that cannot be, VaultError."""
        _checked(name)
        content = value.encode("utf-8")
        if not content:
            raise UsageError(f"the value for the credential '{name}' is empty")
        if len(content) > MAX_VALUE_BYTES:
            raise UsageError(f"the value for the credential '{name}' is longer than 64 KiB")
        if self._from_systemd(name) is not None:
            raise UsageError(
                f"'{name}' comes from systemd (LoadCredential=), which goes before the store; change it there"
            )
        register_secret(value)
        with locked(self._directory):
            stored = self._load()
            sealed = self._box(create=not stored).seal(content, name.encode())
            stored[name] = base64.b64encode(sealed).decode("ascii")
            self._save(stored)

    def remove(self, name: str) -> None:
        """Raises NotFound, VaultError."""
        _checked(name)
        with locked(self._directory):
            stored = self._load()
            if stored.pop(name, None) is None:
                raise NotFound(f"no credential named '{name}' is stored")
            self._save(stored)

    def list(self) -> list[CredentialName]:
        """Names in order, without values."""
        names = {name: CredentialName(name, "store") for name in self._load()}
        if self._systemd is not None and self._systemd.is_dir():
            found = (
                path.name for path in self._systemd.iterdir() if path.is_file() and _NAME.fullmatch(path.name)
            )
            names |= {name: CredentialName(name, "systemd") for name in found}
        return [names[name] for name in sorted(names)]

    def _from_systemd(self, name: str) -> str | None:
        if self._systemd is None:
            return None
        path = self._systemd / name
        try:
            with path.open("rb") as file:
                content = file.read(MAX_VALUE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VaultError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) > MAX_VALUE_BYTES:
            raise VaultError(f"{path} is longer than 64 KiB")
        try:
            # an editor's line end is not part of the secret
            return content.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise VaultError(f"{path} is not UTF-8") from None

    def _box(self, create: bool = False) -> Box:
        path = self._directory / KEY_NAME
        try:
            return Box(read_key(path, _PURPOSE), "credentials")
        except FileNotFoundError:
            if not create:
                message = (
                    f"{path} is missing, so the stored credentials cannot be opened; restore it from a backup"
                )
                raise VaultError(f"{message}, or remove {STORE_NAME} beside it and set them again") from None
        sweep_temporaries(self._directory)
        key = new_key()
        write_key(path, _PURPOSE, key)
        return Box(key, "credentials")

    def _load(self) -> dict[str, str]:
        path = self._directory / STORE_NAME
        try:
            content = read_private(path, _MAX_STORE_BYTES)
        except FileNotFoundError:
            return {}
        try:
            document = json.loads(content)
            version, stored = document["version"], document["credentials"]
        except (ValueError, KeyError, TypeError):
            raise VaultError(
                f"{path} is damaged; restore it from a backup, or remove it and set them again"
            ) from None
        if version != 1:
            raise VaultError(f"{path} was written by a newer version of UsenetSync")
        if not isinstance(stored, dict) or not all(isinstance(text, str) for text in stored.values()):
            raise VaultError(f"{path} is damaged; restore it from a backup, or remove it and set them again")
        return stored

    def _save(self, stored: dict[str, str]) -> None:
        document = {"version": 1, "credentials": dict(sorted(stored.items()))}
        replace_whole(self._directory / STORE_NAME, json.dumps(document, indent=1).encode("ascii") + b"\n")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            "the name of a credential has letters, digits, '.', '_' and '-', at most 64, no path"
        )
    return name


def _unpack(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise VaultError(f"the stored credential '{name}' is damaged; set it again") from None
