import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.settings import units
from usenetsyncd.settings.report import Refused
from usenetsyncd.settings.units import Quota


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1 B", 1),
        ("100 MB", 100_000_000),
        ("100MB", 100_000_000),
        ("512 MiB", 536_870_912),
        ("2 GiB", 2_147_483_648),
        ("1.5 kB", 1500),
        ("1 KB", 1000),
        ("20 TB", 20 * 10**12),
    ],
)
def test_a_size_is_read_in_decimal_and_binary_units(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("twenty", "expected a size such as"),
        ("100", "expected a size such as"),
        ("-5 MB", "expected a size such as"),
        ("8 mb", "did you mean '8 MB'?"),
        ("8 M", "did you mean '8 MB'?"),
        ("8 mib", "did you mean '8 MiB'?"),
        ("", "got"),
        ("9999999999999 PB", "too large"),
        ("1 MB MB", "expected a size such as"),
    ],
)
def test_a_wrong_size_is_refused_in_plain_words(text: str, hint: str) -> None:
    with pytest.raises(Refused, match=hint.replace("?", r"\?")):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [
        ("0", 0),
        ("none", 0),
        ("8 MB/s", 8_000_000),
        ("8MB/s", 8_000_000),
        ("100 Mbit/s", 12_500_000),
        ("1 MiB / s", 1_048_576),
    ],
)
def test_a_rate_is_read_in_bytes_and_bits(text: str, bytes_per_s: int) -> None:
    assert units.parse_rate(text) == bytes_per_s


@pytest.mark.parametrize("text", ["8", "8 MB", "8 MB/h", "8 Mb/s", "fast", "/s", None, []])
def test_a_wrong_rate_is_refused(text: object) -> None:
    with pytest.raises(Refused, match="expected a rate such as"):
        units.parse_rate(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("0", 0.0),
        ("2s", 2.0),
        ("250ms", 0.25),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("7d", 604_800.0),
        ("2w", 1_209_600.0),
        ("1.5h", 5400.0),
    ],
)
def test_a_duration_is_read(text: str, duration_s: float) -> None:
    assert units.parse_duration(text) == duration_s


@pytest.mark.parametrize("text", ["2", "2 fortnights", "h", "-2s", "2s!", "1e3s", "200000000000s", None, {}])
def test_a_wrong_duration_is_refused(text: object) -> None:
    with pytest.raises(Refused, match="expected a duration such as 30s, 10m, 1h or 7d, got"):
        units.parse_duration(text)


@pytest.mark.parametrize("text", ["10", "101%", "-1%", "ten", "1.23456%", None])
def test_a_wrong_percentage_is_refused(text: object) -> None:
    with pytest.raises(Refused, match="expected a percentage such as 10%"):
        units.parse_percentage(text)


def test_a_quota_has_a_period_or_is_a_block() -> None:
    assert units.parse_quota("2 TB/month") == Quota(2 * 10**12, "month")
    assert units.parse_quota("500 GB") == Quota(500 * 10**9, None)
    with pytest.raises(Refused, match="'2 TB/fortnight'"):
        units.parse_quota("2 TB/fortnight")


@pytest.mark.parametrize("text", ["2027-02-30", "2027-3-1", "01.03.2027", "soon", "20270301"])
def test_a_wrong_date_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="expected a date such as 2027-03-01"):
        units.parse_date(text)


def test_a_date_is_read() -> None:
    assert units.parse_date("2027-03-01") == dt.date(2027, 3, 1)


@given(st.integers(0, 2**62))
def test_every_size_and_rate_survives_being_written_and_read(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size
    assert units.parse_rate(units.format_rate(size)) == size


@given(st.integers(0, 10**12))
def test_every_duration_survives_being_written_and_read(total_ms: int) -> None:
    assert units.parse_duration(units.format_duration(total_ms / 1000)) == total_ms / 1000


@given(st.integers(0, 1_000_000))
def test_every_percentage_survives_being_written_and_read(parts: int) -> None:
    text = units.format_percentage(parts / 1_000_000)
    assert units.format_percentage(units.parse_percentage(text)) == text


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for parse in (
        units.parse_size,
        units.parse_rate,
        units.parse_duration,
        units.parse_percentage,
        units.parse_quota,
    ):
        with contextlib.suppress(Refused):
            parse(text)
