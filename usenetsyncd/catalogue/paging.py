"""Keyset pages: a cursor says after which key to go on, so that pages are cheap anywhere in a long list."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from usenetsyncd.errors import UsageError

T = TypeVar("T")

PAGE_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, and the cursor for the rows after them (None at the end)."""

    rows: tuple[T, ...]
    next: str | None


def encode_cursor(key: Sequence[int | float | str | bytes]) -> str:
    """The sort key of the last row as text that fits a URL and a command line."""
    plain = [{"b": part.hex()} if isinstance(part, bytes) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(text: str, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The sort key again. Raises UsageError for anything that is not a cursor of this list."""
    try:
        plain = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        key = tuple(bytes.fromhex(part["b"]) if isinstance(part, dict) else part for part in plain)
    except (ValueError, binascii.Error, KeyError, TypeError) as error:
        raise UsageError("this is not a cursor of this list") from error
    if len(key) != len(kinds) or not all(_fits(part, kind) for part, kind in zip(key, kinds, strict=True)):
        raise UsageError("this is not a cursor of this list")
    return key


def _fits(part: Any, kind: type) -> bool:
    if isinstance(part, bool):
        return False
    return isinstance(part, int | float) if kind is float else isinstance(part, kind)


def bounded(limit: int) -> int:
    """A page size within what one page may hold."""
    return max(1, min(limit, PAGE_LIMIT))


def page_of(
    rows: Sequence[Any], limit: int, make: Callable[[Any], T], key: Callable[[Any], Sequence[Any]]
) -> Page[T]:
    """A page from up to ``limit + 1`` raw rows: the one too many only says that there are more."""
    more = len(rows) > limit
    kept = rows[:limit]
    return Page(tuple(make(row) for row in kept), encode_cursor(key(kept[-1])) if more else None)
