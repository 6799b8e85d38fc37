"""Templates and how they spell sizes, times and paths. Everything is escaped; what could deceive is made visible."""

import base64
import datetime as dt
import time
import unicodedata
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from usenetsyncd.control.web import charts

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB", "EB")
_STEP = 1000
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60
# Signs that show as nothing, as something else, or turn the text around them.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
NOTHING = "\N{EN DASH}"


def shown(value: bytes | str) -> str:
    """A name as text: bytes that are not UTF-8, and signs that would deceive, as escapes such as \\x1b."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) in _HIDDEN else sign
        for sign in text
    )


def size(count: float | None) -> str:
    """``61.0 GB``"""
    if count is None:
        return NOTHING
    value = float(count)
    for unit in _UNITS:
        if abs(value) < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    digits = 0 if unit == "B" or abs(value) >= 100 else 1
    return f"{value:,.{digits}f} {unit}"


def rate(per_second: float) -> str:
    """``7.6 MB/s``"""
    return f"{size(per_second)}/s"


def count(number: int) -> str:
    """``1,204,551``"""
    return f"{number:,}"


def duration(seconds: float | None) -> str:
    """``6d 04h``, ``1h 35m``, ``12m``, ``8s``."""
    if seconds is None:
        return "unknown"
    left = max(0, round(seconds))
    if left >= _DAY_S:
        return f"{left // _DAY_S}d {left % _DAY_S // _HOUR_S:02d}h"
    if left >= _HOUR_S:
        return f"{left // _HOUR_S}h {left % _HOUR_S // _MINUTE_S:02d}m"
    return f"{left // _MINUTE_S}m" if left >= _MINUTE_S else f"{left}s"


def ago(moment: float | None) -> str:
    """``12m ago``, or ``in 3h``."""
    if moment is None:
        return "never"
    passed = time.time() - moment
    return f"in {duration(-passed)}" if passed < -1 else f"{duration(passed)} ago"


def clock(moment: float | None) -> str:
    """The daemon's local time: ``14:02`` today, else ``2026-11-20 14:02``."""
    if moment is None:
        return NOTHING
    at, now = dt.datetime.fromtimestamp(moment).astimezone(), dt.datetime.now().astimezone()
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M")


def iso(moment: float) -> str:
    """For the datetime attribute."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="seconds")


def percent(fraction: float | None) -> str:
    """Rounded down, so that 100% is all of it."""
    return NOTHING if fraction is None else f"{int(fraction * 100)}%"


def words(name: object) -> str:
    """``up_to_date`` as ``up to date``."""
    return str(name).replace("_", " ")


def packed(path: bytes) -> str:
    """Any path as part of a link."""
    return base64.urlsafe_b64encode(path).decode().rstrip("=")


def unpacked(text: str) -> bytes:
    """The path again. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 file``, ``3 files``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


class Renderer:
    """The templates, loaded when the first page is asked for."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("usenetsyncd.control.web"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            {
                "shown": shown,
                "size": size,
                "rate": rate,
                "count": count,
                "duration": duration,
                "ago": ago,
                "clock": clock,
                "iso": iso,
                "percent": percent,
                "words": words,
                "packed": packed,
            }
        )
        self._environment.globals.update(
            plural=plural, chart=charts.chart, done_of=done_of, throughput=rate, bytesize=size
        )

    def page(self, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """A template as an answer."""
        return HTMLResponse(self._environment.get_template(name).render(**values), status)


def done_of(folder: Any) -> float | None:
    """0..1 of a folder's bytes that are posted; None when that says nothing. Never 1 while something is left."""
    if not folder.pending_files and not folder.pending_bytes:
        return 1.0 if folder.version or str(folder.state) == "up_to_date" else None
    if not folder.bytes:
        return None
    return float(min(1 - min(1.0, folder.pending_bytes / folder.bytes), 0.99))
