"""Secrets in the configuration are references; they are looked up only where they are needed."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from usenetsyncd.errors import ConfigurationError, NotFound
from usenetsyncd.settings.report import Refused

MAX_SECRET_BYTES = 65_536
_REFERENCE = re.compile(r"\$\{(credential|env|file):([^{}$]*)\}")
_NAMES = {
    "credential": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "file": re.compile(r"(/|[A-Za-z]:[\\/])[^\0]*"),
}
_FORMS = "${credential:NAME}, ${env:NAME} or ${file:/path}"
# Apprise URLs of these kinds carry no token outside user:password@ and the query
_OPEN_SCHEMES = frozenset(
    {"http", "https", "json", "jsons", "xml", "xmls", "form", "forms", "dbus", "syslog"}
)
_SECRET_PARAMETERS = re.compile(r"(?i)pass|secret|token|key|auth|sig")


class PlainSecret(Refused):
    """A secret stands in the configuration as it is. The message does not repeat it."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Text with ``${...}`` references in it, unresolved, so that it may be shown."""

    template: str

    def __str__(self) -> str:
        return self.template

    @property
    def credentials(self) -> tuple[str, ...]:
        """Names that must be in the credential store."""
        return tuple(name for kind, name in _REFERENCE.findall(self.template) if kind == "credential")


def parse_secret(value: object) -> SecretRef:
    """Exactly one reference and nothing else, as for a password. Raises PlainSecret, Refused."""
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str):
        raise Refused(f"expected {_FORMS}")
    _check_references(value)
    if not _REFERENCE.fullmatch(value):
        raise PlainSecret("plain text is refused here")
    return SecretRef(value)


def parse_secret_url(value: object) -> SecretRef:
    """A URL whose secret parts are references. Raises PlainSecret, Refused."""
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str) or not value:
        raise Refused(f"expected a URL, or {_FORMS}")
    _check_references(value)
    if _REFERENCE.fullmatch(value):
        return SecretRef(value)
    if _carries_plain_secret(value):
        raise PlainSecret("a URL with a plain-text secret in it is refused")
    return SecretRef(value)


def resolve(
    ref: SecretRef, credentials: Callable[[str], str], environ: Mapping[str, str] | None = None, key: str = ""
) -> str:
    """Look every reference up.

    credentials: gives the value of a stored credential or raises NotFound.
    key: the setting, for the message. Raises ConfigurationError, which never contains a secret.
    """
    variables = os.environ if environ is None else environ
    prefix = f"{key}: " if key else ""

    def look_up(found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        try:
            value = _look_up(kind, name, credentials, variables)
        except NotFound as error:
            raise ConfigurationError(
                f"{prefix}no credential named '{name}'; set it with: usyncctl credential set {name}"
            ) from error
        except KeyError as error:
            raise ConfigurationError(f"{prefix}the environment variable {name} is not set") from error
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigurationError(f"{prefix}{name} cannot be read: {reason}") from error
        if not value:
            raise ConfigurationError(f"{prefix}{found[0]} is empty")
        return value

    return _REFERENCE.sub(look_up, ref.template)


def _look_up(kind: str, name: str, credentials: Callable[[str], str], environ: Mapping[str, str]) -> str:
    if kind == "credential":
        return credentials(name)
    if kind == "env":
        return environ[name]
    with open(name, "rb") as file:
        content = file.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise OSError(0, "longer than 64 KiB")
    # an editor's or echo's line end is not part of the secret
    return content.decode("utf-8").removesuffix("\n").removesuffix("\r")


def _check_references(text: str) -> None:
    rest = _REFERENCE.sub("", text)
    if "${" in rest:
        raise Refused(f"a reference is one of {_FORMS}")
    for kind, name in _REFERENCE.findall(text):
        if not _NAMES[kind].fullmatch(name):
            expected = {"credential": "a name", "env": "a variable name", "file": "an absolute path"}[kind]
            raise Refused(f"expected {expected} in ${{{kind}:...}}")


def _carries_plain_secret(text: str) -> bool:
    opened = _REFERENCE.sub("REF", text)
    try:
        parts = urlsplit(opened)
    except ValueError:
        return True
    if not parts.scheme or "://" not in opened:
        return True
    password = parts.password if parts.password is not None else parts.username
    if parts.scheme.startswith(("postgres", "redis", "amqp")):
        # a user name alone opens nothing here
        password = parts.password
    if password not in (None, "", "REF"):
        return True
    if any(_SECRET_PARAMETERS.search(name) and value != "REF" for name, value in parse_qsl(parts.query)):
        return True
    known = parts.scheme in _OPEN_SCHEMES or parts.scheme.startswith(("postgres", "redis", "amqp"))
    return not known and "REF" not in opened
