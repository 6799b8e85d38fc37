"""The statement about a sample is true statistics."""

import random
from math import comb

import pytest

from usenetsyncd.flows.statistics import percentage_above, sample_statement, share_missing_below


def probability_of_at_most(bad: int, sampled: int, share: float) -> float:
    return sum(comb(sampled, n) * share**n * (1 - share) ** (sampled - n) for n in range(bad + 1))


@pytest.mark.parametrize("sampled", [1, 7, 459, 1_000])
def test_without_a_bad_one_the_bound_is_the_root_of_the_risk(sampled: int) -> None:
    assert share_missing_below(0, sampled) == pytest.approx(1 - 0.01 ** (1 / sampled), rel=1e-9)


@pytest.mark.parametrize(
    ("bad", "sampled"), [(1, 10), (3, 459), (5, 100), (50, 1_000), (99, 100), (400, 500)]
)
def test_at_the_bound_so_few_bad_ones_are_drawn_once_in_a_hundred_times(bad: int, sampled: int) -> None:
    bound = share_missing_below(bad, sampled)
    assert probability_of_at_most(bad, sampled, bound) == pytest.approx(0.01, rel=1e-6)
    assert bound > bad / sampled


def test_large_samples_are_no_problem() -> None:
    assert 0.05 < share_missing_below(50_000, 1_000_000) < 0.0506


def test_the_bound_holds_as_often_as_it_promises() -> None:
    dice = random.Random(4)
    share, sampled, trials = 0.05, 200, 3_000
    broken = 0
    for _ in range(trials):
        bad = sum(dice.random() < share for _ in range(sampled))
        broken += share_missing_below(bad, sampled) < share
    assert broken / trials < 0.015


def test_where_all_are_bad_or_none_was_drawn_nothing_is_promised() -> None:
    assert share_missing_below(5, 5) == 1.0
    assert share_missing_below(0, 0) == 1.0


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0.00998, "1"),
        (0.01, "1"),
        (0.010001, "1.1"),
        (0.0251, "2.6"),
        (0.9, "90"),
        (0.1234, "13"),
        (0.00012, "0.012"),
    ],
)
def test_percentages_are_rounded_up(share: float, told: str) -> None:
    assert percentage_above(share) == told
    assert float(told) / 100 >= share * (1 - 1e-9)


def test_the_sentence_of_the_sample() -> None:
    assert sample_statement(459, 459) == "459 of 459 sampled: with 99 % confidence less than 1 % is missing"
    assert sample_statement(458, 459) == "458 of 459 sampled: with 99 % confidence less than 1.5 % is missing"
    assert sample_statement(12, 12, whole=True) == (
        "all 12 articles were fetched and opened: nothing is missing"
    )
    assert sample_statement(11, 1_200, whole=True) == (
        "11 of 1,200 articles could be fetched and opened: 1,189 are missing"
    )
    assert sample_statement(0, 0).startswith("no article was fetched")
    assert sample_statement(0, 3) == "0 of 3 sampled: that says nothing about the others"
