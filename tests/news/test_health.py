"""The score falls with trouble, and forgives."""

import pytest

from tests.plugins.clock import FakeClock
from usenetsyncd.news.health import HALF_LIFE_S, Health


def test_trouble_lowers_the_score_and_time_gives_half_of_it_back(clock: FakeClock) -> None:
    health = Health(clock)
    health.blame(0.4, "no")
    assert health.score() == pytest.approx(0.6)
    clock.advance(HALF_LIFE_S)
    assert health.score() == pytest.approx(0.8)


def test_trouble_adds_up_but_never_below_nothing(clock: FakeClock) -> None:
    health = Health(clock)
    for _ in range(100):
        health.blame(0.5, "no")
    assert 0 <= health.score() < 0.01


def test_success_helps_and_clears_the_reason(clock: FakeClock) -> None:
    health = Health(clock)
    health.blame(0.5, "because")
    assert health.reason == "because"
    health.succeed()
    assert health.score() > 0.5
    assert health.reason == ""


def test_a_server_that_forbids_posting_is_asked_again_after_its_rest(clock: FakeClock) -> None:
    health = Health(clock)
    health.forbid_posting(60, "440")
    rest = health.posting_rest()
    assert rest is not None
    assert rest.reason == "440"
    clock.advance(61)
    assert health.posting_rest() is None
