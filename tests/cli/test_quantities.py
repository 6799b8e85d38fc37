"""Numbers, times and tables as people read them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.cli import quantities
from usenetsyncd.cli.terminal import clean, table, width


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_960, "1.0 MB"),
        (61e9, "61.0 GB"),
        (1.9e12, "1.9 TB"),
    ],
)
def test_sizes(number: float, text: str) -> None:
    assert quantities.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (720, "12m"), (5_700, "1h35m"), (532_800, "6d 04h"), (-5, "0s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert quantities.duration(seconds) == text


def test_the_rest() -> None:
    assert quantities.count(1_204_551) == "1,204,551"
    assert quantities.plural(1, "file") == "1 file"
    assert quantities.plural(2, "directory") == "2 directories"
    assert quantities.percent(0.9999) == "99%"
    assert quantities.percent(1.0) == "100%"
    assert quantities.limit(8e6) == "8 MB/s"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7_300))
    assert quantities.ago(now) == "2h ago"
    assert quantities.clock(None) == quantities.stamp(None) == "-"


@given(st.text())
def test_what_is_cleaned_can_only_be_read(text: str) -> None:
    shown = clean(text)
    assert shown.isprintable() or not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    shown.encode("utf-8")


def test_tables_line_up_also_with_wide_letters() -> None:
    lines = table(("A", "B"), "<>", [("日本", 1), ("e\u0301", 22), ("x", 333)])
    assert lines == ["A       B", "日本    1", "e\u0301      22", "x     333"]
    assert len({width(line) for line in lines}) == 1
