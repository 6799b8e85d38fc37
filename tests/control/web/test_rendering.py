"""How pages spell things, and how charts are drawn."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.control.web import charts, render


def test_what_deceives_is_made_visible() -> None:
    assert render.shown(b"caf\xc3\xa9 \xff") == "café \\xff"
    assert render.shown("a\u202eb\u200bc\x1b[0m\n") == "a\\u202eb\\u200bc\\x1b[0m\\n"
    assert render.shown("雪 & <b>") == "雪 & <b>", "escaping is the template's part"


@given(st.binary(max_size=200))
def test_any_path_survives_a_link(path: bytes) -> None:
    packed = render.packed(path)
    assert re.fullmatch(r"[A-Za-z0-9_-]*", packed)
    assert render.unpacked(packed) == path


@given(st.binary(max_size=60))
def test_any_name_is_shown_without_a_control_sign(path: bytes) -> None:
    assert all(sign.isprintable() or sign.isspace() for sign in render.shown(path))


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 KB"),
        (61_000_000_000, "61.0 GB"),
        (768_000, "768 KB"),
        (None, "–"),
    ],
)
def test_sizes(count: float | None, told: str) -> None:
    assert render.size(count) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(8, "8s"), (720, "12m"), (5_700, "1h 35m"), (532_800, "6d 04h"), (None, "unknown")]
)
def test_durations(seconds: float | None, told: str) -> None:
    assert render.duration(seconds) == told


@given(st.floats(min_value=1.0, max_value=1e18))
def test_a_scale_ends_at_a_round_number_above(peak: float) -> None:
    top = charts.ceiling(peak)
    assert peak <= top <= 2.5 * peak
    assert re.fullmatch(r"(1|2|25|5)0*(\.0)?", f"{top:.1f}".replace("2.5", "25"))


@given(st.lists(st.floats(min_value=0, max_value=1e12), max_size=2_000), st.integers(0, 400))
def test_every_point_of_a_chart_is_on_it(values: list[float], slots: int) -> None:
    drawn = str(charts.chart([("up", values)], render.rate, "Throughput", ("then", "now"), slots=slots))
    line = re.search(r'<path class="line series-0" d="M([^"]*)"', drawn)
    points = [] if line is None else [tuple(map(float, point.split())) for point in line[1].split(" L")]
    assert all(-0.1 <= x <= charts.WIDTH + 0.1 and -0.1 <= y <= charts.HEIGHT + 0.1 for x, y in points)
    assert len(points) <= charts.MAX_POINTS
    if points:
        assert points[-1][0] == charts.WIDTH


def test_names_in_a_chart_are_text() -> None:
    drawn = charts.chart([("<b>", [1.0, 2.0])], render.size, "<i>", ("<u>", '"'))
    assert "<b>" not in drawn
    assert "<i>" not in drawn
    assert "<u>" not in drawn
    assert "style=" not in drawn
