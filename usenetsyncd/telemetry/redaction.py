"""Secrets never reach a log: by name of the field, by shape, and by value wherever a known one appears."""

import base64
import json
import re
import threading
from collections.abc import Mapping
from urllib.parse import quote

MASK = "***"
MAX_TEXT = 20_000
_MAX_DEPTH = 6
_MAX_ITEMS = 100
_SHORT = 4
_MIN_ENCODED = 8

_SECRET_NAME = re.compile(
    r"(?i)(.*_)?(pass(word|wd|phrase)?|secrets?|keys?|tokens?|string|kit|authorization|cookie|credential|master|seed)"
)
# names that end like a secret's and hold none
_OPEN_NAMES = frozenset({"config_key", "folder_key", "piece_key", "public_key"})

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # our access and recovery strings, also cut short, and anything else in bech32
    (re.compile(r"(?i)\busync[a-z]{2,8}1[02-9ac-hj-np-z]{6,}"), MASK),
    (re.compile(r"(?i)\b[a-z]{2,16}1[02-9ac-hj-np-z]{38,}\b"), MASK),
    (re.compile(r"(?i)(\bAUTHINFO\s+(?:PASS|SASL)\s+)[^\r\n]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@'\"]+@"), rf"\1{MASK}@"),
    (
        re.compile(
            r"(?i)((?:pass(?:word|wd|phrase)?|secret|token|api_?key)=)('[^']*'|\"[^\"]*\"|[^\s&,;)]+)"
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"(?i)(['\"](?:pass(?:word|wd|phrase)?|secret|token|api_?key)['\"]\s*:\s*)('[^']*'|\"[^\"]*\")"
        ),
        rf"\1{MASK}",
    ),
)


class _Known:
    """Values registered as secret, and one pattern that finds them in any of their forms."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[bytes] = set()
        self.pattern: re.Pattern[str] | None = None

    def add(self, value: bytes) -> None:
        with self._lock:
            if not value or value in self._values:
                return
            self._values.add(value)
            self.pattern = _compile(self._values)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
            self.pattern = None


_known = _Known()


def register_secret(value: str | bytes) -> None:
    """From now on this value is masked wherever it appears: as it is, escaped, in base64, base32 and hex."""
    _known.add(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value))


def forget_secrets() -> None:
    """Forget every registered value; shapes and names still mask."""
    _known.clear()


def redact_text(text: str) -> str:
    """The text with every secret masked, cut at MAX_TEXT characters."""
    # masked before it is cut to MAX_TEXT: half a secret would no longer be recognised
    text = text[: 10 * MAX_TEXT]
    pattern = _known.pattern
    if pattern is not None:
        text = pattern.sub(MASK, text)
    if len(text) > 10 or "=" in text:
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def redact_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Fields made of str, int, float, bool, None, lists and dicts only, without secrets."""
    return {str(name): redact_value(str(name), value, 0) for name, value in fields.items()}


def redact_value(name: str, value: object, depth: int = 0) -> object:
    """One value as it may be written under this name."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and type(value) in (int, float):
        return value
    if is_secret_name(name):
        return MASK
    if isinstance(value, str):
        return redact_text(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return redact_text(_readable(bytes(value)))
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redact_container(name, value, depth)
    return redact_text(str(value))


def is_secret_name(name: str) -> bool:
    """True for names such as password, share_string, api_key."""
    return name not in _OPEN_NAMES and _SECRET_NAME.fullmatch(name) is not None


def _redact_container(name: str, value: object, depth: int) -> object:
    if depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ITEMS]
        return {redact_text(str(key)): redact_value(str(key), item, depth + 1) for key, item in items}
    items = list(value)[:_MAX_ITEMS]  # type: ignore[call-overload]
    return [redact_value(name, item, depth + 1) for item in items]


def _readable(content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and (text or not content):
        return text
    pattern = _known.pattern
    if pattern is not None and pattern.search(content.hex()):
        return MASK
    # ids have 16 bytes; what is longer and not text might be a key
    return content.hex() if len(content) <= 16 else f"<{len(content)} bytes>"


def _compile(values: set[bytes]) -> re.Pattern[str]:
    exact: set[str] = set()
    any_case: set[str] = set()
    bounded: set[str] = set()
    for value in values:
        text = value.decode("utf-8", "surrogateescape")
        (exact if len(text) >= _SHORT else bounded).update(_spellings(text, value))
        exact.update(_base64_cores(value))
        any_case.update(form for form in _case_blind_forms(value) if len(form) >= _MIN_ENCODED)
    parts = [re.escape(form) for form in sorted(exact, key=len, reverse=True)]
    parts += [f"(?i:{re.escape(form)})" for form in sorted(any_case, key=len, reverse=True)]
    parts += [rf"(?<!\w){re.escape(form)}(?!\w)" for form in bounded]
    return re.compile("|".join(parts))


def _spellings(text: str, value: bytes) -> set[str]:
    return {
        text,
        repr(text)[1:-1],
        repr(value)[2:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        quote(value, safe=""),
    }


def _case_blind_forms(value: bytes) -> set[str]:
    encoded = value.hex()
    spaced = {value.hex(":"), value.hex(" ")} if len(value) > 1 else set()
    return {encoded, base64.b32encode(value).decode().rstrip("="), *spaced}


def _base64_cores(value: bytes) -> set[str]:
    """The letters that the value alone decides, at each of the three places it may begin in a longer text."""
    cores = {
        base64.b64encode(value).decode().rstrip("="),
        base64.urlsafe_b64encode(value).decode().rstrip("="),
    }
    for lead in range(3):
        encoded = base64.b64encode(bytes(lead) + value).decode()
        core = encoded[-(-lead * 8 // 6) : (lead + len(value)) * 8 // 6]
        cores |= {core, core.replace("+", "-").replace("/", "_")}
    return {core for core in cores if len(core) >= _MIN_ENCODED}
