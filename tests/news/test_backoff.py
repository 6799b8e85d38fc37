"""Waits grow as their strategy says, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


BACKOFFS = st.builds(
    Backoff,
    st.sampled_from(Strategy),
    base_s=st.floats(0, 1000),
    attempts=st.integers(1, 100),
    jitter=st.floats(0, 1),
    max_s=st.floats(0, 10_000),
)
FAILURES = st.integers(1, 100_000)
DRAWS = st.floats(0, 1)


@given(BACKOFFS, FAILURES, DRAWS)
def test_no_wait_is_negative_or_passes_the_ceiling_however_often_it_failed(
    backoff: Backoff, failures: int, draw: float
) -> None:
    assert 0 <= backoff.delay_s(failures, draw) <= backoff.max_s


@given(BACKOFFS, FAILURES, DRAWS)
def test_jitter_stays_within_its_share_and_grows_with_the_draw(
    backoff: Backoff, failures: int, draw: float
) -> None:
    planned = backoff.delay_s(failures)
    least, most = planned * (1 - backoff.jitter), planned * (1 + backoff.jitter)
    assert least - 1e-6 <= backoff.delay_s(failures, draw) <= most + 1e-6
    assert backoff.delay_s(failures, 0.0) <= backoff.delay_s(failures, draw) <= backoff.delay_s(failures, 1.0)


@given(BACKOFFS, FAILURES)
def test_a_further_failure_never_makes_the_wait_shorter(backoff: Backoff, failures: int) -> None:
    assert backoff.delay_s(failures) <= backoff.delay_s(failures + 1)


@given(st.floats(0.01, 1000), st.integers(3, 33))
def test_each_strategy_follows_its_own_rule(base_s: float, failures: int) -> None:
    def wait(strategy: Strategy, after: int) -> float:
        return Backoff(strategy, base_s, max_s=float("inf")).delay_s(after)

    assert wait(Strategy.FIXED, failures) == base_s
    assert wait(Strategy.LINEAR, failures) == pytest.approx(failures * base_s)
    assert wait(Strategy.EXPONENTIAL, failures) == 2 * wait(Strategy.EXPONENTIAL, failures - 1)
    summed = wait(Strategy.FIBONACCI, failures - 1) + wait(Strategy.FIBONACCI, failures - 2)
    assert wait(Strategy.FIBONACCI, failures) == pytest.approx(summed)


def test_jitter_moves_a_wait_by_its_share_both_ways() -> None:
    backoff = Backoff(Strategy.FIXED, base_s=10, jitter=0.2)
    assert [backoff.delay_s(1, draw) for draw in (0.0, 0.5, 1.0)] == [8, 10, 12]


def test_attempts_count_the_first_try() -> None:
    assert [Backoff(attempts=3).exhausted(n) for n in (1, 2, 3, 4)] == [False, False, True, True]
