"""Weekly time windows such as ``mon-fri 08:00-18:00``."""

import re
from dataclasses import dataclass

from usenetsyncd.settings.report import Refused, describe

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_EXPECTED = "days and times such as 'mon-fri 08:00-18:00', 'sat,sun 20:00-23:00' or '22:00-06:00'"


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """days: 0 (Monday) to 6. From start_min (included) to end_min (excluded), minutes after midnight.

    An end before the start reaches into the next day; the days are those on which it starts.
    """

    days: frozenset[int]
    start_min: int
    end_min: int

    def contains(self, weekday: int, minute: int) -> bool:
        """weekday: 0 (Monday) to 6; minute: of the local day, 0 to 1,439."""
        if self.start_min < self.end_min:
            return weekday in self.days and self.start_min <= minute < self.end_min
        if minute >= self.start_min:
            return weekday in self.days
        return minute < self.end_min and (weekday - 1) % 7 in self.days

    def __str__(self) -> str:
        days = "" if len(self.days) == 7 else _spell_days(self.days) + " "
        return f"{days}{_clock(self.start_min)}-{_clock(self.end_min)}"


def parse_window(value: object) -> TimeWindow:
    """Days (optional, all by default), then from-to. Raises Refused."""
    if isinstance(value, TimeWindow):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    found = re.fullmatch(r"(?:([a-z,\s-]+?)\s+)?(\d{1,2}:\d\d)\s*-\s*(\d{1,2}:\d\d)", text)
    if found is None:
        raise Refused(f"expected {_EXPECTED}, got {describe(value)}")
    start, end = _minutes(found[2]), _minutes(found[3])
    if start in (end, _DAY_MINUTES):
        raise Refused(f"{found[2]}-{found[3]} is no span of time; the whole day is 00:00-24:00")
    return TimeWindow(_days(found[1]), start, end)


def _days(text: str | None) -> frozenset[int]:
    if text is None or text in {"daily", "every day"}:
        return frozenset(range(7))
    days: set[int] = set()
    for part in re.split(r"\s*,\s*", text.strip()):
        first, dash, last = (name.strip() for name in part.partition("-"))
        start = _day(first)
        end = _day(last) if dash else start
        # fri-mon goes over the end of the week
        days.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(days)


def _spell_days(days: frozenset[int]) -> str:
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    spelt = (
        f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else ",".join(DAYS[day] for day in run)
        for run in runs
    )
    return ",".join(spelt)


def _day(name: str) -> int:
    for index, day in enumerate(DAYS):
        if name == day or (len(name) > 3 and _FULL_NAMES[index].startswith(name)):
            return index
    raise Refused(f"expected a day such as mon or sun, got {describe(name)}")


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MINUTES:
        raise Refused(f"expected a time between 00:00 and 24:00, got {describe(text)}")
    return hours * 60 + minutes


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


_FULL_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
