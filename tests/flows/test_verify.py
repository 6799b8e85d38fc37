"""Verification: what each server has lost is found there, whatever is no answer is unknown, and it goes on where it was."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.flows.backbones import BOTH, JUDGE, Backbones, backbones
from tests.flows.workshop import wait_until
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import Damage, StoredArticle
from usenetsyncd.errors import NotFound
from usenetsyncd.flows import verify as verifying
from usenetsyncd.flows.health import HealthWord
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.verify import Verification, VerifyRequest, VerifySummary
from usenetsyncd.loopback.faults import Damage as Spoiling
from usenetsyncd.wire.keys import ReadKeys


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}) as made:
        yield made


@pytest.fixture
def judged(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"main": BOTH, "judge": JUDGE}) as made:
        yield made


def test_a_folder_of_which_everything_is_there_is_restorable_after_a_check(two: Backbones) -> None:
    two.post_on_each(8)
    assert two.health().word is HealthWord.UNKNOWN
    assert two.health().action == "usyncctl verify docs"
    summary = two.verify()
    assert (summary.checked, summary.total, summary.missing, summary.finished) == (16, 16, 0, True)
    assert {name: counts.checked for name, counts in summary.by_server.items()} == {"east": 8, "west": 8}
    assert two.found() == set()
    health = two.health()
    assert (health.word, health.reasons, health.action) == (HealthWord.RESTORABLE, (), "")
    assert health.backbones == {1: 16}
    assert two.catalogue.folders.by_id(two.row).verified_at == two.clock.now()


def test_what_is_missing_is_found_on_the_server_that_lost_it(two: Backbones) -> None:
    two.post_on_each(8)
    lost = two.lose([*two.on("east")[:3], two.on("west")[5]])
    summary = two.verify()
    assert two.found(Damage.MISSING, Damage.CORRUPT) == lost
    assert (summary.missing, summary.corrupt, summary.unknown) == (4, 0, 0)
    assert {name: counts.missing for name, counts in summary.by_server.items()} == {"east": 3, "west": 1}
    # The source is there: nothing is beyond repair.
    assert (summary.at_risk, summary.unrepairable) == (4, 0)
    health = two.health()
    assert health.word is HealthWord.AT_RISK
    assert "east: 3 articles missing, 0 corrupt" in health.reasons
    assert health.action == "usyncctl repair docs"
    assert health.backbones == {0: 4, 1: 12}


def test_findings_go_when_the_articles_are_back(two: Backbones) -> None:
    two.post_on_each(4)
    two.witness.set([{"match": {"command": ["STAT", "BODY"]}, "act": {"reply": {"code": 430}}}])
    assert two.verify().missing == 4
    assert len(two.found(Damage.MISSING)) == 4
    assert len(two.found(Damage.ABSENT)) == 4  # west was asked as well
    two.witness.clear()
    assert two.verify().missing == 0
    assert two.found() == set()
    assert two.health().word is HealthWord.RESTORABLE


@pytest.mark.parametrize("how", list(Spoiling))
def test_a_full_check_finds_every_spoilt_body_and_remembers_where(two: Backbones, how: Spoiling) -> None:
    two.post_on_each(6)
    spoilt = two.spoil([two.on("east")[1], two.on("west")[2]], how)
    assert two.verify().corrupt == 0  # STAT is not proof
    summary = two.verify(full=True)
    assert two.found(Damage.CORRUPT) == spoilt
    assert (summary.corrupt, summary.missing, summary.sampled) == (2, 0, 12)
    assert summary.statement == "10 of 12 articles could be fetched and opened: 2 are missing"
    # What was bad once is fetched again without being drawn.
    again = two.verify()
    assert (again.corrupt, again.sampled) == (2, 0)
    assert two.found(Damage.CORRUPT) == spoilt


def test_a_sample_is_fetched_and_opened_and_says_how_much_it_says(two: Backbones) -> None:
    two.post_on_each(60)
    two.lose(two.on("east")[:6])
    summary = two.verify(sample=0.5)
    bodies = sum(server.counters.commands["BODY"] for server in two.servers.values())
    assert 40 <= summary.sampled <= 80
    assert bodies < summary.sampled  # what is gone needs no fetching
    good = sum(counts.good for counts in summary.by_server.values())
    assert summary.statement.startswith(
        f"{good} of {summary.sampled} sampled: with 99 % confidence less than "
    )
    latest = two.catalogue.verifications.latest(two.row)
    assert latest is not None
    assert latest.detail["statement"] == summary.statement


def test_a_server_that_says_it_has_what_it_does_not_give_out_is_found_out_by_the_sample(
    two: Backbones,
) -> None:
    two.post_on_each(5)
    lost = two.lose(two.on("east")[:2])
    two.witness.set([{"match": {"command": "STAT", "message_id": two.id_of(a)}, "act": {"stat_lie": True}}
                     for a in two.catalogue.verifications.articles(two.row)
                     if ("east", a.segment_row, a.copy) in lost])  # fmt: skip
    assert two.verify().missing == 0
    assert two.verify(full=True).missing == 2
    assert two.found(Damage.MISSING) == lost
    # Its word alone does not clear it.
    assert two.verify().missing == 2


def test_no_answer_is_unknown_and_changes_nothing_that_was_known(two: Backbones) -> None:
    two.post_on_each(5)
    lost = two.lose(two.on("east")[:2])
    two.verify()
    two.servers["west"].stop()
    with two.time_passes():
        summary = two.verify()
    assert (summary.missing, summary.unknown, summary.finished) == (2, 5, True)
    two.servers["east"].stop()
    with two.time_passes():
        summary = two.verify()
    assert (summary.missing, summary.unknown) == (0, 10)
    assert two.found(Damage.MISSING) == lost


def test_the_judge_is_asked_for_everything_and_its_losses_are_its_own(judged: Backbones) -> None:
    judged.segments(10)
    judged.scan()
    judged.post_all()
    judged.mirror("main", "judge")
    articles = judged.on("main")
    lost = judged.lose(articles[:2], "judge") | judged.lose(articles[3:4], "main")
    both = judged.lose(articles[5:6], "main") | judged.lose(articles[5:6], "judge")
    summary = judged.verify()
    assert judged.found() == lost | both
    assert {name: (c.checked, c.missing) for name, c in summary.by_server.items()} == {
        "main": (10, 2),
        "judge": (10, 3),
    }
    assert summary.missing == 4
    # On the judge alone is no loss of ours; at home it is, wherever else the article may be.
    assert summary.at_risk == 2
    assert judged.health().backbones == {0: 1, 1: 3, 2: 6}


def test_one_server_can_be_asked_alone(judged: Backbones) -> None:
    judged.segments(6)
    judged.scan()
    judged.post_all()
    judged.mirror("main", "judge")
    articles = judged.on("main")
    judged.lose(articles[:1], "main")
    lost = judged.lose(articles[2:4], "judge")
    summary = judged.verify(server="judge")
    assert judged.found() == lost
    assert (summary.checked, list(summary.by_server)) == (6, ["judge"])
    assert judged.catalogue.folders.by_id(judged.row).verified_at is None


def test_an_article_of_a_server_that_is_gone_is_asked_for_everywhere(two: Backbones) -> None:
    two.post_on_each(4)
    two.accounts = two.accounts[1:]
    two.news.replace_accounts(two.accounts)
    summary = two.verify()
    assert summary.missing == 4
    assert {name for name, _, _ in two.found()} == {""}
    two.mirror("east", "west")
    assert two.verify().missing == 0
    assert two.found() == set()


def test_a_stopped_check_goes_on_where_it_was(two: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "BATCH", 5)
    two.post_on_each(10)
    two.lose(two.on("east")[::3] + two.on("west")[::3])
    reports: list[VerifySummary] = []

    def stop_at_the_second(summary: VerifySummary) -> None:
        reports.append(summary)
        if len(reports) == 2:
            two.stop.set()

    request = VerifyRequest(two.row, sample=0.2)
    interrupted = Verification(two.scope(), request, stop_at_the_second, Random(1)).run()
    assert (interrupted.finished, interrupted.checked) == (False, 8)
    asked = two.servers["east"].counters.commands["STAT"]
    two.stop.clear()
    resumed = two.verify(sample=0.2)
    assert (resumed.finished, resumed.checked, resumed.missing) == (True, 20, 8)
    assert sum(counts.checked for counts in resumed.by_server.values()) == 20
    # Two of east were left, and it is asked for what west has lost.
    assert two.servers["east"].counters.commands["STAT"] - asked == 2 + 4
    assert [report.checked for report in reports] == [4, 8]


def test_a_stop_does_not_wait_for_a_slow_server(two: Backbones) -> None:
    two.post_on_each(6)
    two.witness.set([{"match": {"command": "STAT", "after": 2}, "act": {"delay": 30}}])
    summaries: list[VerifySummary] = []
    thread = threading.Thread(target=lambda: summaries.append(two.verify()))
    thread.start()
    wait_until(lambda: two.servers["east"].counters.commands["STAT"] >= 3, "the server is asked, and slow")
    two.stop.set()
    thread.join(20)
    assert not thread.is_alive()
    (summary,) = summaries
    assert (summary.finished, summary.checked) == (False, 0)
    two.witness.clear()
    two.stop.clear()
    assert two.verify().checked == 12


def test_a_check_survives_the_process(two: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kill -9 leaves it: the last batch was checked, and is not in the catalogue."""
    monkeypatch.setattr(verifying, "BATCH", 4)
    two.post_on_each(6)
    lost = two.lose(two.on("east")[:3])
    begun = threading.Event()

    def die(_: VerifySummary) -> None:
        begun.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Verification(two.scope(), VerifyRequest(two.row), die).run()
    assert begun.is_set()
    two.catalogue.close()
    two.catalogue = Catalogue.open(two.place / "catalogue.sqlite", two.clock)
    try:
        summary = two.verify()
        assert (summary.checked, summary.missing) == (12, 3)
        assert two.found(Damage.MISSING) == lost
    finally:
        two.catalogue.close()


def test_copies_of_one_segment_are_counted_together(two: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "BATCH", 3)
    two.segments(5)
    two.scan(options=replace(ReindexOptions(), copies=2))
    accounts = two.accounts
    two.news.replace_accounts(accounts[:1])
    two.post_all()
    two.news.replace_accounts(accounts)
    summary = two.verify()
    assert (summary.checked, two.health().backbones) == (10, {1: 5})


def test_an_article_whose_keys_are_gone_is_nobodys_business(two: Backbones) -> None:
    """An envelope of a share that is no more: it can be neither named nor opened."""
    two.post_on_each(3)
    gone = two.on("east")[1]

    def keys_of(article: StoredArticle) -> ReadKeys:
        if article.key == gone.key:
            raise NotFound("its share is no more")
        return two.keys

    scope = replace(two.scope(), keys_of=keys_of)
    summary = Verification(scope, VerifyRequest(two.row, full=True)).run()
    assert (summary.checked, summary.unknown, summary.missing, summary.finished) == (5, 0, 0, True)
    assert two.found() == set()


# -- servers with ids of their own ---------------------------------------------------------------------


def test_articles_that_a_server_has_renamed_are_asked_for_by_the_names_it_gave(two: Backbones) -> None:
    for witness in two.witnesses.values():
        witness.set([{"match": {"command": "POST"}, "act": {"rewrite_id": True}}])
    two.post_on_each(5)
    for witness in two.witnesses.values():
        witness.clear()
    articles = two.stored()
    assert all(one.message_id for one in articles)
    assert two.verify(full=True).missing == 0
    lost = two.lose(articles[:2])
    spoilt = two.spoil(articles[3:4])
    assert two.verify(full=True).sampled == 10
    assert two.found(Damage.MISSING) == lost
    assert two.found(Damage.CORRUPT) == spoilt
    # Posted again, this time under the name that we give.
    assert two.repair().reposted == 3
    two.post_all()
    two.clock.advance(601)
    assert two.check_propagation().missing == 0
    assert [one.message_id for one in two.stored() if one.generation] == [None] * 3
    assert two.found() == set()


def test_articles_that_were_accepted_and_thrown_away_are_found_missing_and_posted_again(
    two: Backbones,
) -> None:
    two.witness.set([{"match": {"command": "POST", "every": 3}, "act": {"drop_after_240": True}}])
    two.post_on_each(6)
    two.witness.clear()
    two.clock.advance(601)
    assert two.check_propagation().missing == 2
    assert two.repair().reposted == 2
    two.post_all()
    two.clock.advance(601)
    assert two.check_propagation().missing == 0
    assert two.health().word is HealthWord.RESTORABLE


# -- some minutes after posting -----------------------------------------------------------------------


def test_new_articles_are_checked_once_when_they_have_had_time_to_spread(judged: Backbones) -> None:
    judged.segments(5)
    judged.scan()
    judged.post_all()
    judged.mirror("main", "judge")
    assert judged.check_propagation().checked == 0
    judged.clock.advance(601)
    lost = judged.lose(judged.on("main")[:1], "judge")
    summary = judged.check_propagation()
    assert (summary.checked, summary.missing, summary.finished) == (5, 1, True)
    assert judged.found() == lost
    assert judged.check_propagation().checked == 0
    assert judged.catalogue.folders.by_id(judged.row).verified_at is not None
    judged.segments(3, seed=9)
    judged.scan()
    judged.post_all()
    judged.mirror("main", "judge")
    judged.clock.advance(601)
    assert judged.check_propagation().checked == 3
    assert judged.health().backbones == {1: 1, 2: 7}


def test_what_was_posted_again_is_checked_again_and_only_that(two: Backbones) -> None:
    two.post_on_each(4)
    two.clock.advance(601)
    two.check_propagation()
    lost = two.on("east")[:2]
    two.lose(lost)
    two.verify()
    two.catalogue.queue.repost([one.key for one in lost]).result()
    assert two.health().reasons[0] == "2 segments are being posted again"
    two.post_all()
    assert two.check_propagation().checked == 0
    two.clock.advance(601)
    again = [one for one in two.stored() if one.generation == 1]
    assert len(again) == 2
    two.lose(again[:1])
    summary = two.check_propagation()
    assert (summary.checked, summary.missing) == (2, 1)
    (left,) = two.found(Damage.MISSING)
    assert left == (again[0].server, again[0].segment_row, 0)
    assert two.check_propagation().checked == 0


# -- scale --------------------------------------------------------------------------------------------


def test_queries_grow_with_batches_not_with_articles(two: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    two.post_on_each(50)
    readers = two.catalogue._readers
    lent = 0
    original = readers.lend

    def counting():  # type: ignore[no-untyped-def]
        nonlocal lent
        lent += 1
        return original()

    monkeypatch.setattr(readers, "lend", counting)
    two.verify()
    few = lent
    two.lose(two.on("east")[:20])
    two.verify()
    assert lent - few <= few + 5
