"""Waits grow as their strategy says, within bounds."""

import pytest

from usenetsyncd.news.backoff import Backoff, Strategy


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        (Strategy.EXPONENTIAL, [2, 4, 8, 16, 32]),
        (Strategy.LINEAR, [2, 4, 6, 8, 10]),
        (Strategy.FIBONACCI, [2, 2, 4, 6, 10]),
        (Strategy.FIXED, [2, 2, 2, 2, 2]),
    ],
)
def test_waits_follow_the_strategy(strategy: Strategy, waits: list[float]) -> None:
    backoff = Backoff(strategy, base_s=2, attempts=9)
    assert [backoff.delay_s(n) for n in range(1, 6)] == waits


@pytest.mark.parametrize("strategy", list(Strategy))
def test_no_wait_passes_the_ceiling_however_often_it_failed(strategy: Strategy) -> None:
    assert Backoff(strategy, base_s=2, max_s=60).delay_s(10_000) <= 60


def test_jitter_moves_a_wait_by_its_share_both_ways() -> None:
    backoff = Backoff(Strategy.FIXED, base_s=10, jitter=0.2)
    assert [backoff.delay_s(1, draw) for draw in (0.0, 0.5, 1.0)] == [8, 10, 12]


def test_attempts_count_the_first_try() -> None:
    assert [Backoff(attempts=3).exhausted(n) for n in (1, 2, 3, 4)] == [False, False, True, True]
