"""Losses on two servers, the source gone: what is wrong is found per server, what theory allows comes back, no more."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.flows.backbones import BOTH, Backbones, Lost, backbones
from tests.flows.protected import beyond_arithmetic, contents, publish_protected, stripes
from tests.flows.protected import restore as restore_protected
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.findings import Damage, StoredArticle
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.flows.health import HealthWord
from usenetsyncd.flows.locate import locate
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.restore import Restore, RestoreRequest, RestoreSummary
from usenetsyncd.flows.share import access_string
from usenetsyncd.model import ArticleKind
from usenetsyncd.wire.keys import share_keys

SEGMENTS = 300
LOST = 0.05
SPOILT = 0.02


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}) as made:
        yield made


def published(shop: Backbones, count: int, size: int) -> str:
    """A folder of so many segments with two copies each, published and shared; the access string."""
    shop.segments(count, size=size)
    shop.scan(options=replace(ReindexOptions(), copies=2))
    shop.post_all()
    shop.publish()
    share = shop.sharer(copies=2).public()
    shop.share_keys = share_keys(shop.vault.open_secret(share.secret), shop.signing.fingerprint)
    shop.post_all()
    return access_string(shop.vault, share, shop.signing.fingerprint)


def afflict(shop: Backbones, seed: int) -> tuple[Lost, Lost]:
    """5 % of each server's articles are lost, 2 % of the others spoilt, and one segment wherever it is."""
    dice = Random(seed)
    victim = next(one.segment_row for one in shop.stored() if one.kind is ArticleKind.DATA)
    lost = [one for one in shop.stored() if one.segment_row == victim]
    spoilt: list[StoredArticle] = []
    for name in shop.servers:
        articles = [one for one in shop.on(name) if one.segment_row != victim]
        dice.shuffle(articles)
        gone = round(len(articles) * LOST)
        bad = round((len(articles) - gone) * SPOILT)
        lost += articles[:gone]
        spoilt += articles[gone : gone + bad]
    return shop.lose(lost), shop.spoil(spoilt)


def beyond_help(shop: Backbones, damage: Lost) -> set[int]:
    """Rows of data segments of which no copy is left. What else there is, the catalogue keeps."""
    left: dict[int, int] = {}
    for article in shop.stored():
        if article.kind is ArticleKind.DATA:
            whole = (article.server, article.segment_row, article.copy) not in damage
            left[article.segment_row] = left.get(article.segment_row, 0) + whole
    return {row for row, copies in left.items() if not copies}


def restore(shop: Backbones, access: str, target: Path) -> RestoreSummary:
    located = locate(shop.news, access, shop.clock, lambda _: None)
    request = RestoreRequest(target)
    plan = target.with_name(target.name + ".plan")
    return Restore(shop.news, located, request, plan, threading.Event(), lambda _: None).run()


def names_of(shop: Backbones, rows: set[int]) -> set[bytes]:
    return {bytes(source.path) for row in rows for source in shop.catalogue.segments.sources(row)}


@pytest.mark.parametrize("seed", [3, 11])
def test_losses_are_found_per_server_and_made_good_as_far_as_theory_allows(
    two: Backbones, tmp_path: Path, seed: int
) -> None:
    access = published(two, SEGMENTS, size=51_000)
    on = {name: len(two.on(name)) for name in two.servers}
    assert min(on.values()) > SEGMENTS * 0.9
    holders: dict[int, set[str]] = {}
    for one in two.stored():
        if one.kind is ArticleKind.DATA:
            holders.setdefault(one.segment_row, set()).add(one.server)
    assert set(map(len, holders.values())) == {2}
    lost, spoilt = afflict(two, seed)
    two.hide_source()

    summary = two.verify(full=True)
    assert two.found(Damage.MISSING) == lost
    assert two.found(Damage.CORRUPT) == spoilt
    for name, counts in summary.by_server.items():
        assert (counts.checked, counts.unknown) == (on[name], 0)
        assert counts.missing == sum(server == name for server, _, _ in lost)
        assert counts.corrupt == sum(server == name for server, _, _ in spoilt)

    doomed = beyond_help(two, lost | spoilt)
    assert doomed
    assert summary.unrepairable == len(doomed)
    assert summary.at_risk == len({row for _, row, _ in lost | spoilt}) - len(doomed)
    health = two.health()
    assert health.word is HealthWord.DAMAGED
    assert {bytes(path) for path in health.files} == names_of(two, doomed)

    told = two.repair(dry_run=True)
    repaired = two.repair()
    assert told == repaired
    assert (repaired.finished, repaired.unasked, repaired.returned) == (True, 0, 0)
    assert repaired.unrepairable == 2 * len(doomed)
    assert repaired.reposted == len(lost | spoilt) - 2 * len(doomed)
    two.post_all()
    assert two.states().keys() == {ArticleState.POSTED}

    two.clock.advance(601)
    two.check_propagation()
    again = two.verify(full=True)
    assert again.missing + again.corrupt == 2 * len(doomed)
    assert {row for _, row, _ in two.found(Damage.MISSING, Damage.CORRUPT)} == doomed
    assert two.repair().reposted == 0

    target = tmp_path / "restored"
    outcome = restore(two, access, target)
    assert outcome.failed == len(doomed)
    two.root = two.root.with_name("moved away")
    expected = {f.relative_to(two.root): f.read_bytes() for f in two.root.rglob("*") if f.is_file()}
    found = {f.relative_to(target): f.read_bytes() for f in target.rglob("*") if f.is_file()}
    missing = {Path(name.decode()) for name in names_of(two, doomed)}
    assert found == {path: content for path, content in expected.items() if path not in missing}
    two.assert_sound()


def test_parity_brings_back_what_it_can_and_itself_as_well(two: Backbones) -> None:
    two.segments(SEGMENTS, size=51_000)
    publish_protected(two, 0.1)
    known = stripes(two)
    assert sum(len(stripe.members) for stripe in known) == SEGMENTS
    lost, spoilt = afflict(two, 4)
    # In one stripe more is lost than it has parity.
    hopeless = set(known[3].segments[: len(known[3].parity) + 1])
    there = [one for one in two.stored() if one.seg_id in hopeless]
    lost |= two.lose([one for one in there if (one.server, one.segment_row, 0) not in lost | spoilt])
    two.hide_source()

    gone = {one.seg_id for one in two.stored() if (one.server, one.segment_row, 0) in lost | spoilt}
    doomed = beyond_arithmetic(known, gone & {seg_id for stripe in known for seg_id in stripe.segments})
    doomed_data = doomed & {member.segment for stripe in known for member in stripe.members}
    assert len(doomed_data) >= 1
    rows = {one.segment_row for one in two.stored() if one.seg_id in doomed_data}
    doomed_files = {name.decode() for name in names_of(two, rows)}

    summary = two.verify(full=True)
    assert two.found(Damage.MISSING) | two.found(Damage.CORRUPT) >= lost | spoilt
    assert summary.unrepairable == len(doomed_data)
    assert {path.decode() for path in two.health().files} == doomed_files
    told = two.repair(dry_run=True)
    assert told == two.repair()
    assert told.unrepairable == len(doomed)
    assert told.rebuilt == len(
        [one for one in gone - doomed if any(one in stripe.segments for stripe in known)]
    )
    two.post_all()
    assert two.states().keys() == {ArticleState.POSTED}
    two.clock.advance(601)
    two.check_propagation()
    again = two.verify(full=True)
    assert again.missing + again.corrupt == len(doomed)
    outcome = restore_protected(two)
    assert outcome.failed == len(doomed_files)
    found = contents(two.place / "back")
    expected = contents(two.root.with_name("moved away"))
    assert found == {path: content for path, content in expected.items() if path not in doomed_files}
    two.assert_sound()


def test_losses_return_again_and_again_and_are_made_good_each_time(two: Backbones) -> None:
    """Half a year of an unkind provider; the source is there."""
    two.post_on_each(40)
    dice = Random(5)
    for _ in range(4):
        for name in two.servers:
            two.lose(dice.sample(two.on(name), 6))
        two.verify()
        two.repair()
        two.post_all()
        two.clock.advance(601)
        assert two.check_propagation().missing == 0
        assert two.found() == set()
        assert two.health().word is HealthWord.RESTORABLE
    assert two.verify(full=True).statement == "all 80 articles were fetched and opened: nothing is missing"
    assert max(one.generation for one in two.stored()) >= 2
    two.assert_sound()
