"""How each kind of setting is spelt in YAML: parsed, shown and described, all in one place."""

import base64
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, NoReturn

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from usenetsyncd.settings import references, schedule, units
from usenetsyncd.settings.report import Refused, describe, one_of
from usenetsyncd.settings.suggestions import did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FOLDER_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NEWSGROUP = re.compile(r"[a-z0-9+_-]+(\.[a-z0-9+_-]+)+")
_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?)*\.?"
)


@dataclass(frozen=True)
class Spelling:
    """A pydantic annotation. parse: text -> value, raises Refused; show: value -> YAML scalar."""

    parse: Callable[..., Any]
    show: Callable[[Any], object] = str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(self.show, when_used="json"),
        )

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)

    def _validate(self, value: object) -> Any:
        try:
            return self.parse(value)
        except Refused as refused:
            refuse(refused)

    def optional(self) -> "Spelling":
        """The same, or null."""
        return Spelling(
            lambda value: None if value is None else self.parse(value),
            lambda value: None if value is None else self.show(value),
            {"anyOf": [dict(self.schema), {"type": "null"}]},
        )


def refuse(refused: Refused) -> NoReturn:
    """Hand a refusal to pydantic without its prefixes and without the value."""
    kind = "plain_secret" if isinstance(refused, references.PlainSecret) else "refused"
    raise PydanticCustomError(kind, "{message}", {"message": str(refused)}) from None


class FrozenMapping(dict[Any, Any]):
    """A mapping of settings; changing it is an error in the program."""

    def _frozen(self, *_args: object, **_named: object) -> NoReturn:
        raise TypeError("settings are frozen")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _frozen


# A list with nothing below it (`folders:`) is an empty list
LISTED = BeforeValidator(lambda value: [] if value is None else value)


def _parse_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise Refused(f"expected true or false, got {describe(value)}")


def _parse_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Refused(f"expected text, got {describe(value) if value != '' else 'nothing'}")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise Refused("control characters are not allowed here")
    return value


def _parse_path(value: object) -> str:
    text = _parse_text(value)
    if text.startswith("~/"):
        text = os.path.expanduser(text)
    if not os.path.isabs(text):
        raise Refused(f"expected an absolute path, got {describe(text)}")
    if ".." in text.replace("\\", "/").split("/"):
        raise Refused(f"'..' is not allowed in a path, got {describe(text)}")
    return os.path.normpath(text)


def _parse_host(value: object) -> str:
    text = _parse_text(value)
    if "://" in text or "/" in text:
        raise Refused(f"expected a host name only, without scheme or path, got {describe(text)}")
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    if re.fullmatch(r".*:\d+", text):
        raise Refused(f"expected a host name only, got {describe(text)}; the port has its own key, 'port'")
    if not _HOST.fullmatch(text):
        raise Refused(f"expected a host name or address, got {describe(text)}")
    return text.lower()


def _parse_listen(value: object) -> str:
    text = _parse_text(value)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise Refused(f"expected an address and a port such as 127.0.0.1:8734, got {describe(text)}")
    host = _parse_host(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse_pin(value: object) -> str:
    text = re.sub(r"^sha256(//|:)", "", _parse_text(value).strip())
    if re.fullmatch(r"[0-9a-f]{64}", text.replace(":", "").lower()):
        return text.replace(":", "").lower()
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=", text):
        return base64.b64decode(text).hex()
    raise Refused("expected the SHA-256 of the server's public key: 64 hexadecimal digits, or base64")


def _parse_rate_or_pause(value: object) -> object:
    if isinstance(value, str) and value.strip() == "pause":
        return "pause"
    return units.parse_rate(value, f"{units.A_RATE}, or pause")


def _show_rate(value: object) -> object:
    return units.format_rate(value) if isinstance(value, int) and value else value


def _parse_catalogue(value: object) -> references.SecretRef:
    if value == "sqlite":
        return references.SecretRef("sqlite")
    shown = value.template if isinstance(value, references.SecretRef) else value
    if isinstance(shown, str) and not re.match(r"postgres(ql)?://|\$\{", shown):
        raise Refused("expected sqlite or a URL such as postgresql://user@host/database")
    return references.parse_secret_url(value)


def _parse_version(value: object) -> int:
    if str(value) != "1":
        raise Refused(f"expected 1, the only version of this file's layout so far, got {describe(value)}")
    return 1


def whole(minimum: int, maximum: int) -> Spelling:
    """A whole number within limits."""

    def parse(value: object) -> int:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
            raise Refused(f"expected a whole number, got {describe(value)}")
        if not minimum <= int(text) <= maximum:
            raise Refused(f"expected a whole number from {minimum:,} to {maximum:,}, got {describe(value)}")
        return int(text)

    return Spelling(parse, int, {"type": "integer", "minimum": minimum, "maximum": maximum})


def duration(minimum_s: float, maximum_s: float) -> Spelling:
    """A duration within limits, in seconds."""

    def parse(value: object) -> float:
        found = units.parse_duration(value)
        if not minimum_s <= found <= maximum_s:
            least, most = units.format_duration(minimum_s), units.format_duration(maximum_s)
            raise Refused(f"expected a duration from {least} to {most}, got {describe(value)}")
        return found

    return Spelling(parse, units.format_duration, {"type": "string", "examples": ["30s", "10m", "7d"]})


def choice(members: type[Enum], spell: Callable[[Any], str] | None = None) -> Spelling:
    """One of an enumeration's members, by value or, for numbers, by name in small letters."""
    show = spell or ((lambda m: m.name.lower()) if issubclass(members, IntEnum) else (lambda m: str(m.value)))
    by_name: dict[str, Enum] = {show(member): member for member in members}

    def parse(value: object) -> Enum:
        if isinstance(value, members):
            return value
        if isinstance(value, str) and value in by_name:
            return by_name[value]
        expected = one_of(by_name)
        # a bare `none` is fine but `compression:` is not
        got = "nothing" if value is None else describe(value)
        hint = did_you_mean(value, by_name) if isinstance(value, str) else ""
        raise Refused(f"expected {expected}, got {got}{hint}")

    return Spelling(parse, show, {"enum": list(by_name)})


def matching(pattern: re.Pattern[str], expected: str) -> Spelling:
    """Text of one shape."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Refused(f"expected {expected}, got {describe(value)}")
        return value

    return Spelling(parse, str, {"type": "string", "pattern": f"^{pattern.pattern}$"})


VERSION = Spelling(_parse_version, int, {"const": 1})
BOOL = Spelling(_parse_bool, bool, {"type": "boolean"})
TEXT = Spelling(_parse_text)
PATH = Spelling(_parse_path)
HOST = Spelling(_parse_host)
LISTEN = Spelling(_parse_listen)
PIN = Spelling(_parse_pin)
SECRET = Spelling(references.parse_secret, schema={"type": "string", "examples": ["${credential:main}"]})
SECRET_URL = Spelling(
    references.parse_secret_url, schema={"type": "string", "examples": ["${credential:ntfy}"]}
)
CATALOGUE = Spelling(_parse_catalogue)
SIZE = Spelling(
    units.parse_size,
    lambda size: units.format_size(size) if size else 0,
    {"type": ["string", "integer"], "examples": ["512 MiB"]},
)
RATE = Spelling(units.parse_rate, _show_rate, {"type": ["string", "integer"], "examples": ["8 MB/s"]})
RATE_OR_PAUSE = Spelling(
    _parse_rate_or_pause,
    _show_rate,
    {"type": ["string", "integer"], "examples": ["1 MB/s", "pause"]},
)
PERCENTAGE = Spelling(
    units.parse_percentage, units.format_percentage, {"type": ["string", "integer"], "examples": ["10%"]}
)
QUOTA = Spelling(units.parse_quota, schema={"type": "string", "examples": ["2 TB/month"]})
DATE = Spelling(units.parse_date, lambda value: value.isoformat(), {"type": "string", "format": "date"})
WINDOW = Spelling(schedule.parse_window, schema={"type": "string", "examples": ["mon-fri 08:00-18:00"]})
A_NAME = matching(NAME, "a name of letters, digits, '.', '_' and '-'")
A_FOLDER_ID = matching(FOLDER_ID, "an id of small letters, digits, '.', '_' and '-'")
REPLY = matching(re.compile(r"[45]\d\d|[a-z]+(_[a-z]+)+|lost|unreachable"), "a reply code from 400 to 599")
A_NEWSGROUP = matching(NEWSGROUP, "a newsgroup such as alt.binaries.backup")
