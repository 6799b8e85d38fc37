"""Repair: from the source, from another copy or server; asked before it acts; never twice, never in vain."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.backbones import BOTH, JUDGE, Backbones, backbones
from tests.flows.workshop import wait_until
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import Damage
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.flows import repair as repairing
from usenetsyncd.flows.health import HealthWord
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.repair import Repair, RepairRequest, RepairSummary
from usenetsyncd.flows.retrieve import GENERATIONS_ASKED
from usenetsyncd.model import ArticleKind


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}) as made:
        yield made


def copies_on_each(shop: Backbones, count: int) -> None:
    """Copy 0 of every segment on the first server, copy 1 on the second."""
    shop.segments(count)
    shop.scan(options=replace(ReindexOptions(), copies=2))
    leased = shop.catalogue.queue.lease(10_000).result()
    for copy, account in enumerate(shop.accounts):
        shop.catalogue.queue.give_back([(one.segment_row, one.copy) for one in leased if one.copy == copy])
        shop.news.replace_accounts([account])
        post_copies(shop, (copy + 1) * count)
    shop.news.replace_accounts(shop.accounts)


def post_copies(shop: Backbones, until: int) -> None:
    with shop.uploader() as uploader:
        uploader.wake()
        wait_until(lambda: len(shop.stored()) == until, "this copy is posted")


def test_what_is_lost_is_posted_again_from_its_source_and_found_there(two: Backbones) -> None:
    two.post_on_each(6)
    lost = two.on("east")[:2] + two.on("west")[4:5]
    two.lose(lost)
    two.verify()
    summary = two.repair()
    assert summary == RepairSummary(reposted=3, from_source=3, finished=True)
    assert two.states()[ArticleState.QUEUED] == 3
    assert two.health().word is HealthWord.AT_RISK
    two.post_all()
    again = {one.key: one for one in two.stored()}
    assert {again[one.key].generation for one in lost} == {1}
    assert two.health().word is HealthWord.RESTORABLE
    two.clock.advance(601)
    assert two.check_propagation().missing == 0
    assert two.found() == set()
    two.assert_sound()


def test_what_is_queued_already_is_not_queued_again(two: Backbones) -> None:
    two.post_on_each(4)
    two.lose(two.on("east"))
    two.verify()
    assert two.repair().reposted == 4
    assert two.repair() == RepairSummary(finished=True)
    two.catalogue.queue.lease(2).result()
    assert two.repair().reposted == 0
    assert two.states() == {ArticleState.POSTED: 4, ArticleState.SENDING: 2, ArticleState.QUEUED: 2}


def test_a_dry_run_tells_the_same_and_changes_nothing(two: Backbones) -> None:
    two.post_on_each(4)
    two.lose(two.on("east")[:3])
    two.verify()
    found = two.found()
    told = two.repair(dry_run=True)
    assert told == RepairSummary(reposted=3, from_source=3, finished=True)
    assert two.states() == {ArticleState.POSTED: 8}
    assert two.found() == found
    assert two.repair() == told


def test_an_article_that_is_there_again_is_left_alone(two: Backbones) -> None:
    two.post_on_each(4)
    two.witness.set([{"match": {"command": ["STAT", "BODY"]}, "act": {"reply": {"code": 430}}}])
    assert two.verify().missing == 4
    two.witness.clear()
    assert two.repair() == RepairSummary(returned=4, finished=True)
    assert {server for server, _, _ in two.found(Damage.MISSING)} == set()
    assert two.states() == {ArticleState.POSTED: 8}


def test_a_server_that_lies_about_what_it_has_is_not_believed_the_second_time(two: Backbones) -> None:
    two.post_on_each(3)
    lost = two.on("east")[:2]
    two.lose(lost)
    two.verify()
    two.witness.set([{"match": {"command": "STAT", "message_id": two.id_of(one)}, "act": {"stat_lie": True}}
                     for one in lost])  # fmt: skip
    assert two.repair().reposted == 2


def test_nothing_is_done_about_a_server_that_gives_no_answer(two: Backbones) -> None:
    two.post_on_each(3)
    two.lose(two.on("east")[:2])
    two.verify()
    two.servers["east"].stop()
    with two.time_passes():
        summary = two.repair()
    assert summary == RepairSummary(unasked=2, finished=True)
    assert len(two.found(Damage.MISSING)) == 2


def test_a_spoilt_article_is_posted_again_where_it_was_spoilt(two: Backbones) -> None:
    two.post_on_each(4)
    spoilt = two.on("west")[:2]
    two.spoil(spoilt)
    two.verify(full=True)
    assert two.repair().reposted == 2
    two.post_all()
    two.clock.advance(601)
    assert two.check_propagation().checked >= 2
    assert two.verify(full=True).corrupt == 0
    assert two.found() == set()


def test_without_the_source_a_lost_copy_is_made_from_the_other(two: Backbones) -> None:
    copies_on_each(two, 6)
    assert {name: len(two.on(name)) for name in two.servers} == {"east": 6, "west": 6}
    east, west = two.on("east"), two.on("west")
    two.lose([*east[:2], west[3]])
    two.hide_source()
    two.verify()
    health = two.health()
    assert (health.word, health.at_risk_segments, health.lost_segments) == (HealthWord.AT_RISK, 3, 0)
    assert two.repair() == RepairSummary(reposted=3, from_copy=3, finished=True)
    two.post_all()
    two.clock.advance(601)
    two.check_propagation()
    assert two.verify(full=True).missing == 0
    assert two.health().word is HealthWord.RESTORABLE


def test_what_is_nowhere_is_named_and_keeps_its_name_so_that_it_can_come_back(two: Backbones) -> None:
    copies_on_each(two, 5)
    doomed = [two.on("east")[1], two.on("west")[1]]
    assert doomed[0].segment_row == doomed[1].segment_row
    two.hide(doomed)
    two.hide_source()
    summary = two.verify()
    assert (summary.at_risk, summary.unrepairable) == (0, 1)
    health = two.health()
    assert (health.word, health.lost_segments) == (HealthWord.DAMAGED, 1)
    assert health.files == (b"large1/00001",)
    told = two.repair()
    assert (told.reposted, told.unrepairable) == (0, 2)
    assert {name for name, _ in told.failures} == {"large1/00001"}
    assert two.states() == {ArticleState.POSTED: 10}
    # A provider that mends its disks: the old names count.
    two.show()
    assert two.verify().missing == 0
    assert two.health().word is HealthWord.RESTORABLE


def test_what_only_older_versions_need_does_not_make_a_folder_damaged(two: Backbones) -> None:
    two.post_on_each(3)
    two.scan()
    gone = two.on("east")[0]
    (two.root / "large1/00000").unlink()
    two.scan()
    two.lose([gone])
    two.verify()
    health = two.health()
    assert (health.word, health.lost_segments, health.files) == (HealthWord.AT_RISK, 1, ())
    assert "only older versions need" in health.reasons[0]


def test_pages_and_heads_come_from_the_catalogue(two: Backbones) -> None:
    two.news.replace_accounts(two.accounts[:1])
    two.segments(3)
    two.commit()
    two.news.replace_accounts(two.accounts)
    index = [one for one in two.stored() if one.kind is not ArticleKind.DATA]
    assert {one.kind for one in index} == {ArticleKind.INDEX, ArticleKind.HEAD}
    two.lose(index)
    two.hide_source()
    assert two.verify().missing == len(index)
    assert two.health().word is HealthWord.AT_RISK
    assert two.repair().from_source == len(index)
    two.post_all()
    two.clock.advance(601)
    assert two.check_propagation().missing == 0
    assert two.found() == set()


def test_a_loss_on_the_judge_alone_is_no_reason_to_post_again(tmp_path: Path, clock: FakeClock) -> None:
    with backbones(tmp_path, clock, {"main": BOTH, "judge": JUDGE}) as shop:
        shop.segments(4)
        shop.scan()
        shop.post_all()
        shop.mirror("main", "judge")
        shop.lose(shop.on("main")[:2], "judge")
        assert shop.verify().missing == 2
        assert shop.health().word is HealthWord.RESTORABLE
        assert shop.repair() == RepairSummary(finished=True)
        # At home it is lost, and the judge has it: that is where the content comes from.
        shop.lose(shop.on("main")[3:])
        shop.hide_source()
        shop.verify()
        assert shop.repair() == RepairSummary(reposted=1, from_copy=1, finished=True)


def test_an_article_that_keeps_vanishing_goes_to_another_server_and_is_reported(two: Backbones) -> None:
    two.news.replace_accounts(two.accounts[:1])
    two.segments(3)
    two.scan()
    two.post_all()
    two.news.replace_accounts(two.accounts)
    victim = two.on("east")[0]

    def vanish_and_repair() -> RepairSummary:
        (article,) = [one for one in two.stored() if one.key == victim.key]
        two.lose([article])
        two.verify()
        two.news.replace_accounts(two.accounts[:1] if article.generation == 0 else two.accounts)
        summary = two.repair()
        two.post_all()
        two.news.replace_accounts(two.accounts)
        return summary

    assert vanish_and_repair().vanishing == 0
    assert two.catalogue.events.latest() == []
    assert vanish_and_repair().vanishing == 1
    (article,) = [one for one in two.stored() if one.key == victim.key]
    assert (article.generation, article.server) == (2, "west")
    (event,) = two.catalogue.events.latest()
    assert (event.code, event.level, event.fields) == ("articles_keep_vanishing", "warning", {"articles": 1})


def test_no_generation_is_burnt_that_no_reader_would_look_for(two: Backbones) -> None:
    two.post_on_each(1)
    two.catalogue.writer.run(
        lambda database: database.run("UPDATE article SET generation = ?", (GENERATIONS_ASKED - 1,))
    )
    assert two.verify().missing == 2
    told = two.repair()
    assert (told.reposted, told.unrepairable) == (0, 2)
    assert "readers look for no more generations" in told.failures[0][1]


def test_a_stopped_repair_goes_on_where_it_was(two: Backbones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairing, "BATCH", 2)
    two.post_on_each(5)
    two.lose(two.on("east"))
    two.verify()

    def stop(_: RepairSummary) -> None:
        two.stop.set()

    assert Repair(two.scope(), RepairRequest(two.row), stop).run() == RepairSummary(
        reposted=2, from_source=2, finished=False
    )
    two.stop.clear()
    assert two.repair() == RepairSummary(reposted=3, from_source=3, finished=True)


def test_kill_9_in_the_middle_burns_each_generation_once(
    two: Backbones, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue as a killed process leaves it: a copy of its files at that moment."""
    monkeypatch.setattr(repairing, "BATCH", 2)
    two.post_on_each(6)
    two.lose(two.on("east"))
    two.verify()
    crashed = two.place / "crashed"
    crashed.mkdir()

    def kill(summary: RepairSummary) -> None:
        if summary.reposted == 4:
            for file in two.place.glob("catalogue.sqlite*"):
                shutil.copy(file, crashed / file.name)

    Repair(two.scope(), RepairRequest(two.row), kill).run()
    with Catalogue.open(crashed / "catalogue.sqlite", two.clock) as revived:
        two.catalogue, whole = revived, two.catalogue
        revived.queue.return_leases()
        assert two.repair().reposted == 2
        two.post_all()
        two.clock.advance(601)
        assert two.check_propagation().missing == 0
        assert {one.generation for one in two.stored()} == {0, 1}
        assert set(two.servers["east"].counters.posts.values()) == {1}
        two.assert_sound()
        two.catalogue = whole
