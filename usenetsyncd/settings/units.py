"""Sizes, rates, durations, percentages and quotas as people write them; and back.

Every ``parse_*`` takes text (or an already right value) and raises Refused in plain words. Every
``format_*`` gives text that parses to the same value.
"""

import datetime as dt
import math
import re
from dataclasses import dataclass
from fractions import Fraction

from usenetsyncd.settings.report import Refused, describe

SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "PB": 1000**5,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
    "PiB": 1024**5,
}
_BIT_UNITS = {"kbit": 1000, "Mbit": 1000**2, "Gbit": 1000**3}
_COMMON = ("kB", "MB", "GB", "TB", "PB")
_SPELLINGS = SIZE_UNITS | {"KB": 1000}
_DURATION_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PERIODS = ("day", "week", "month", "year")
_NUMBER = r"(\d{1,19}(?:\.\d{1,9})?)"
_MAX_SIZE_BYTES = 2**63 - 1
_MAX_DURATION_S = 100 * 366 * 86_400

A_SIZE = "a size such as 100 MB or 512 MiB"
A_RATE = "a rate such as 8 MB/s or 100 Mbit/s, or 0 for no limit"
A_DURATION = "a duration such as 30s, 10m, 1h or 7d"
A_PERCENTAGE = "a percentage such as 10%"
A_QUOTA = "a quota such as 2 TB/month, or 500 GB for a block account"
A_DATE = "a date such as 2027-03-01"


def parse_size(value: object) -> int:
    """``512 MiB`` -> bytes; a bare 0 is allowed."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _size(value, A_SIZE)


def format_size(size_bytes: int) -> str:
    """The unit that needs the smallest whole number."""
    if size_bytes == 0:
        return "0"
    exact = [(size_bytes // unit, name) for name, unit in SIZE_UNITS.items() if size_bytes % unit == 0]
    number, name = min(exact)
    return f"{number} {name}"


def parse_rate(value: object, expected: str = A_RATE) -> int:
    """``8 MB/s`` or ``100 Mbit/s`` -> bytes per second; 0: no limit."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(value, expected)
    if text in {"0", "none", "unlimited"}:
        return 0
    number, slash, per = (part.strip() for part in text.partition("/"))
    if slash and per in {"s", "sec", "second"}:
        if bits := re.fullmatch(_NUMBER + r"\s*(kbit|Mbit|Gbit)", number):
            return _whole_bytes(Fraction(bits[1]) * _BIT_UNITS[bits[2]] / 8, text)
        return _size(number, expected, per="/s")
    raise Refused(f"expected {expected}, got {describe(text)}")


def format_rate(bytes_per_s: int) -> str:
    """The inverse of parse_rate."""
    return f"{format_size(bytes_per_s)}/s" if bytes_per_s else "0"


def parse_duration(value: object) -> float:
    """``2s``, ``10m``, ``1h30m``, ``7d``, ``250ms`` -> seconds; a bare 0 is allowed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = _text(value, A_DURATION)
    if text == "0":
        return 0.0
    parts = re.findall(_NUMBER + r"\s*(ms|[smhdw])", text)
    if not parts or re.sub(_NUMBER + r"\s*(ms|[smhdw])\s*", "", text):
        raise Refused(f"expected {A_DURATION}, got {describe(text)}")
    total_ms = sum((Fraction(number) * _DURATION_UNITS_MS[unit] for number, unit in parts), Fraction(0))
    if total_ms > _MAX_DURATION_S * 1000:
        raise Refused(f"expected {A_DURATION}, got {describe(text)}, which is more than 100 years")
    return round(total_ms) / 1000


def format_duration(duration_s: float) -> str:
    """The largest unit that needs no fraction, to the millisecond."""
    total_ms = round(duration_s * 1000)
    if total_ms == 0:
        return "0"
    number, _, name = min(
        (total_ms // unit, unit, name)
        for name, unit in _DURATION_UNITS_MS.items()
        if total_ms % unit == 0 and name != "w"
    )
    return f"{number}{name}"


def parse_percentage(value: object) -> float:
    """``10%`` -> 0.1; between 0% and 100%, to four decimals; a bare 0 is allowed."""
    if isinstance(value, float):
        return value
    text = _text(value, A_PERCENTAGE)
    if text == "0":
        return 0.0
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,4})?)\s*%", text)
    if found is None or Fraction(found[1]) > 100:
        raise Refused(f"expected {A_PERCENTAGE} between 0% and 100%, got {describe(text)}")
    return float(Fraction(found[1]) / 100)


def format_percentage(fraction: float) -> str:
    """The inverse of parse_percentage."""
    return f"{fraction * 100:.4f}".rstrip("0").rstrip(".") + "%"


@dataclass(frozen=True, slots=True)
class Quota:
    """size_bytes in each period; period None: once, a block account."""

    size_bytes: int
    period: str | None = None

    def __str__(self) -> str:
        size = format_size(self.size_bytes) if self.size_bytes else "0 B"
        return f"{size}/{self.period}" if self.period else size


def parse_quota(value: object) -> Quota:
    """``2 TB/month`` -> Quota."""
    if isinstance(value, Quota):
        return value
    text = _text(value, A_QUOTA)
    size, slash, period = (part.strip() for part in text.partition("/"))
    if slash and period not in _PERIODS:
        raise Refused(f"expected {A_QUOTA}, got {describe(text)}")
    return Quota(_size(size, A_QUOTA, per=f"/{period}" if period else ""), period or None)


def parse_date(value: object) -> dt.date:
    """``2027-03-01`` -> date."""
    if isinstance(value, dt.date):
        return value
    text = _text(value, A_DATE)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            pass
    raise Refused(f"expected {A_DATE}, got {describe(text)}")


def _size(value: object, expected: str, per: str = "") -> int:
    """per: what stood behind the size, for the message."""
    text = _text(value, expected)
    if text == "0":
        return 0
    found = re.fullmatch(_NUMBER + r"\s*([A-Za-z]*)", text)
    got = describe(text + per)
    if found is None:
        raise Refused(f"expected {expected}, got {got}")
    number, unit = found[1], found[2]
    if unit in _SPELLINGS:
        return _whole_bytes(Fraction(number) * _SPELLINGS[unit], got)
    similar = {name.lower(): name for name in SIZE_UNITS} | {name[0].lower(): name for name in _COMMON}
    hint = similar.get(unit.lower())
    raise Refused(
        f"expected {expected}, got {got}" + (f"; did you mean '{number} {hint}{per}'?" if hint else "")
    )


def _whole_bytes(exact: Fraction, shown: str) -> int:
    size = math.floor(exact)
    if size > _MAX_SIZE_BYTES:
        raise Refused(f"{shown} is too large")
    return size


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"expected {expected}, got {describe(value)}")
    return value.strip()
