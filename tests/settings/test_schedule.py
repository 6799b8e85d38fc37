import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.settings.report import Refused
from usenetsyncd.settings.schedule import TimeWindow, parse_window

MON, TUE, WED, THU, FRI, SAT, SUN = range(7)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("mon-fri 08:00-18:00", [(MON, 480), (FRI, 1079)], [(MON, 479), (FRI, 1080), (SAT, 600)]),
        ("sat,sun 20:00-23:00", [(SAT, 1200), (SUN, 1379)], [(FRI, 1200), (SAT, 1380)]),
        ("22:00-06:00", [(MON, 1320), (MON, 0), (SUN, 359)], [(MON, 360), (MON, 1319)]),
        ("fri 22:00-06:00", [(FRI, 1439), (SAT, 359)], [(FRI, 0), (SAT, 1320)]),
        ("fri-mon 00:00-24:00", [(FRI, 0), (SUN, 1439), (MON, 0)], [(TUE, 0), (THU, 1439)]),
        ("Monday 8:00-9:00", [(MON, 480)], [(TUE, 480)]),
    ],
)
def test_a_window_is_open_when_it_says(
    text: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]]
) -> None:
    window = parse_window(text)
    assert all(window.contains(*moment) for moment in inside)
    assert not any(window.contains(*moment) for moment in outside)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mon-fry 08:00-18:00", "expected a day such as mon or sun, got 'fry'"),
        ("mon 08:00", "expected days and times such as"),
        ("mon 25:00-26:00", "expected a time between 00:00 and 24:00"),
        ("mon 08:60-09:00", "expected a time between 00:00 and 24:00"),
        ("mon 08:00-08:00", "no span of time"),
        ("", "expected days and times such as"),
        (None, "got nothing"),
    ],
)
def test_a_wrong_window_is_refused_in_plain_words(text: object, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parse_window(text)


@given(st.frozensets(st.integers(0, 6), min_size=1), st.integers(0, 1439), st.integers(0, 1440))
def test_every_window_survives_being_written_and_read(days: frozenset[int], start: int, end: int) -> None:
    if start != end:
        window = TimeWindow(days, start, end)
        assert parse_window(str(window)) == window
