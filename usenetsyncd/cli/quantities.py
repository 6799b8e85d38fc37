"""Numbers and times as people read them."""

import datetime as dt
import time

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STEP = 1000.0
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def size(size_bytes: float) -> str:
    """``61.0 GB``; whole bytes below 1,000."""
    value, unit = float(size_bytes), 0
    # 999.95 would be shown as 1000.0
    while value >= _STEP - 0.05 * (unit > 0) and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def rate(bytes_per_s: float) -> str:
    """``7.6 MB/s``"""
    return f"{size(bytes_per_s)}/s"


def limit(bytes_per_s: float) -> str:
    """A rate that somebody set: ``8 MB/s``."""
    return rate(bytes_per_s).replace(".0 ", " ")


def count(number: int) -> str:
    """``1,204,551``"""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """``1 file``, ``3 files``, ``2 copies``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def percent(done: float) -> str:
    """0..1 as ``63%``, rounded down: 100% means all."""
    return f"{int(done * 100 + 1e-9)}%"


def duration(seconds: float) -> str:
    """The two largest units: ``1h35m``, ``6d 04h``, ``12m``, ``40s``."""
    left = max(0, int(seconds))
    if left < _MINUTE:
        return f"{left}s"
    if left < _HOUR:
        return f"{left // _MINUTE}m"
    if left < _DAY:
        return f"{left // _HOUR}h{left % _HOUR // _MINUTE:02d}m"
    return f"{left // _DAY}d {left % _DAY // _HOUR:02d}h"


def rough(seconds: float) -> str:
    """The largest unit: ``2d``, ``5h``, ``12m``."""
    left = max(0, int(seconds))
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if left >= unit:
            return f"{left // unit}{name}"
    return f"{left}s"


def seconds_of(moment: str) -> float:
    """An ISO 8601 time of the API as seconds since 1970."""
    return dt.datetime.fromisoformat(moment).timestamp()


def ago(moment: str) -> str:
    """``12m ago``, or ``in 3h``."""
    away = time.time() - seconds_of(moment)
    return f"{rough(away)} ago" if away >= 0 else f"in {rough(-away)}"


def until(moment: str) -> str:
    """``in 3h``, also for one that has just gone by."""
    return f"in {rough(seconds_of(moment) - time.time())}"


def clock(moment: str | None) -> str:
    """Local time: ``14:02`` today, ``Nov 21 14:02`` this year, else the date; ``-`` for none."""
    if moment is None:
        return "-"
    at, now = dt.datetime.fromisoformat(moment).astimezone(), dt.datetime.now().astimezone()
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%b %d %H:%M}" if at.year == now.year else f"{at:%Y-%m-%d}"


def stamp(moment: str | None) -> str:
    """Local time in full: ``2026-11-22 14:02:11``; ``-`` for none."""
    return "-" if moment is None else f"{dt.datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
