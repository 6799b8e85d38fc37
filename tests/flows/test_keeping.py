"""Which versions are kept, and what is looked after because of it."""

import datetime as dt
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.flows.backbones import BOTH, Backbones, backbones
from tests.flows.protected import publish_protected
from tests.flows.workshop import Workshop
from tests.plugins.clock import FakeClock
from usenetsyncd.flows.keeping import kept_versions, retire
from usenetsyncd.model import ArticleKind

DAY_S = 86_400.0


@dataclass(frozen=True)
class Rule:
    last: int = 1
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


def nightly(count: int) -> list[tuple[int, float]]:
    """One version a day at noon, the newest on Wednesday, 18 November 2026."""
    newest = dt.datetime(2026, 11, 18, 12, tzinfo=dt.UTC).timestamp()
    return [(count - number, newest - number * DAY_S) for number in range(count)]


def days(kept: set[int], moments: list[tuple[int, float]]) -> list[str]:
    at = dict(moments)
    return [dt.datetime.fromtimestamp(at[one], dt.UTC).strftime("%m-%d") for one in sorted(kept)]


def test_the_newest_of_each_period_is_kept() -> None:
    moments = nightly(100)
    assert days(kept_versions(moments, Rule(last=3), dt.UTC), moments) == ["11-16", "11-17", "11-18"]
    weekly = kept_versions(moments, Rule(weekly=3), dt.UTC)
    assert days(weekly, moments) == ["11-08", "11-15", "11-18"], "Sundays end weeks"
    monthly = kept_versions(moments, Rule(monthly=3), dt.UTC)
    assert days(monthly, moments) == ["09-30", "10-31", "11-18"]
    assert len(kept_versions(moments, Rule(daily=30), dt.UTC)) == 30


def test_periods_without_a_version_do_not_count() -> None:
    moments = [(3, 400 * DAY_S), (2, 10 * DAY_S), (1, 10 * DAY_S - 60)]
    assert kept_versions(moments, Rule(monthly=2), dt.UTC) == {3, 2}


@given(
    st.lists(st.floats(0, 4e9), min_size=1, max_size=60),
    st.builds(Rule, *[st.integers(0, 40)] * 4),
)
def test_the_newest_is_always_kept_and_nobody_beyond_the_rules(times: list[float], rule: Rule) -> None:
    moments = [(number, at) for number, at in enumerate(sorted(times), 1)][::-1]
    kept = kept_versions(moments, rule, dt.UTC)
    assert moments[0][0] in kept
    assert len(kept) <= max(1, rule.last) + rule.daily + rule.weekly + rule.monthly
    assert kept.issuperset(number for number, _ in moments[: rule.last])


def looked_after(shop: Workshop) -> set[bytes]:
    articles = shop.catalogue.verifications.articles(shop.row)
    return {bytes(one.seg_id) for one in articles if one.kind is ArticleKind.DATA}


def test_what_only_old_versions_need_is_asked_for_no_more(shop: Workshop) -> None:
    first, stays = os.urandom(900_000), os.urandom(900_000)
    shop.write("changes", first)
    shop.write("stays", stays)
    shop.scan()
    shop.post_all()
    shop.publish()
    of_first = looked_after(shop)
    shop.write("changes", os.urandom(900_000))
    shop.scan()
    shop.post_all()
    shop.publish()
    both = looked_after(shop)
    assert of_first < both

    count = retire(shop.catalogue, shop.row, {2}, lambda: None)
    assert count > 0
    left = looked_after(shop)
    assert left < both
    assert both - left < of_first, "what stays is of both versions"
    assert all(extent for extent in left)

    # The content comes back, and nothing is posted for it: it is looked after again at once.
    shop.write("again", first)
    shop.scan()
    assert looked_after(shop) >= of_first
    shop.post_all()
    shop.publish()
    retire(shop.catalogue, shop.row, {3}, lambda: None)
    assert looked_after(shop) >= of_first
    # All are kept again.
    retire(shop.catalogue, shop.row, {1, 2, 3}, lambda: None)
    assert looked_after(shop) >= both
    assert shop.catalogue.retirement.count(shop.row) == 0


def kinds_looked_after(shop: Backbones) -> Counter[ArticleKind]:
    return Counter(one.kind for one in shop.catalogue.verifications.articles(shop.row))


def test_a_stripe_that_protects_anything_is_looked_after_whole(tmp_path: Path, clock: FakeClock) -> None:
    with backbones(tmp_path, clock, {"main": BOTH}) as shop:
        for number in range(4):
            shop.write(f"f{number}", Random(number).randbytes(700_000))
        publish_protected(shop, 0.5)  # one stripe of four and two
        before = kinds_looked_after(shop)
        assert (before[ArticleKind.DATA], before[ArticleKind.PARITY]) == (4, 2)
        for number in range(3):
            (shop.root / f"f{number}").unlink()
        publish_protected(shop, 0.5)
        retire(shop.catalogue, shop.row, {2}, lambda: None)
        after = kinds_looked_after(shop)
        assert (after[ArticleKind.DATA], after[ArticleKind.PARITY]) == (4, 2), "f3 may need all the others"
        old = {one.segment_row for one in shop.catalogue.verifications.articles(shop.row)}
        (shop.root / "f3").unlink()
        shop.write("later", Random(9).randbytes(700_000))
        publish_protected(shop, 0.5)
        retire(shop.catalogue, shop.row, {3}, lambda: None)
        left = [one for one in shop.catalogue.verifications.articles(shop.row) if one.segment_row in old]
        contents = (ArticleKind.DATA, ArticleKind.PARITY)
        assert not [one for one in left if one.kind in contents], "parity of nothing goes with it"
        assert kinds_looked_after(shop)[ArticleKind.DATA] == 1
