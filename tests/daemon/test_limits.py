"""The limits of the hour."""

import time

import pytest

from usenetsyncd.daemon.limits import LimitsNow, limits_at
from usenetsyncd.settings.layers import load_text
from usenetsyncd.settings.schema import Limits

TEXT = """version: 1
limits:
  upload: 8 MB/s
  download: 5 MB/s
  schedule:
    - {at: "mon-fri 08:00-18:00", upload: 1 MB/s}
    - {at: "sat 10:00-12:00", upload: pause, download: pause}
    - {at: "08:00-09:00", upload: 3 MB/s, download: 2 MB/s}
"""


@pytest.fixture
def limits() -> Limits:
    return load_text(TEXT, environ={}).settings.limits


def local(weekday: int, hour: int, minute: int = 0) -> float:
    """Seconds since 1970 of a local time in the week of Monday, 4 January 2027."""
    return time.mktime((2027, 1, 4 + weekday, hour, minute, 0, 0, 0, -1))


def test_outside_of_every_window_the_plain_limits_hold(limits: Limits) -> None:
    assert limits_at(limits, local(0, 20)) == LimitsNow(8e6, 5e6)


def test_the_first_open_window_wins_and_what_it_leaves_out_stays_as_it_is(limits: Limits) -> None:
    now = limits_at(limits, local(0, 8, 30))
    assert (now.up_bytes_per_s, now.down_bytes_per_s, now.up_paused) == (1e6, 5e6, False)
    assert now.reason.startswith("timetable")
    assert limits_at(limits, local(6, 8, 30)).up_bytes_per_s == 3e6


def test_a_window_begins_with_its_first_minute_and_ends_before_its_last(limits: Limits) -> None:
    assert limits_at(limits, local(1, 7, 59)).up_bytes_per_s == 8e6
    assert limits_at(limits, local(1, 8, 0)).up_bytes_per_s != 8e6
    assert limits_at(limits, local(1, 17, 59)).up_bytes_per_s == 1e6
    assert limits_at(limits, local(1, 18, 0)).up_bytes_per_s == 8e6


def test_a_pause_stops_posting_and_never_reads_as_no_limit(limits: Limits) -> None:
    now = limits_at(limits, local(5, 11))
    assert now.up_paused
    assert now.down_bytes_per_s > 0, "0 would mean without any limit"
    assert now.down_bytes_per_s <= 1
