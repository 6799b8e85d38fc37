"""Parity from end to end: what is lost comes back as far as arithmetic allows, and no further."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.flows.backbones import BOTH, Backbones, backbones
from tests.flows.protected import (
    beyond_arithmetic,
    content_articles,
    contents,
    files_of,
    gone_segments,
    lose_fraction,
    maker,
    parity_folder,
    protect,
    publish_protected,
    restore,
    stripes,
)
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.findings import StoredArticle
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.errors import ArticleMissing
from usenetsyncd.flows.parity import MAX_STAGED
from usenetsyncd.flows.rebuild import CatalogueStripes, Rebuilder
from usenetsyncd.flows.retrieve import WAYS
from usenetsyncd.loopback.faults import Damage as Spoiling
from usenetsyncd.model import ArticleKind
from usenetsyncd.wire.segment import content_hash, segment_id

LOSSES = (0.0, 0.02, 0.05, 0.1, 0.2)


@pytest.fixture
def two(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}) as made:
        yield made


@pytest.fixture
def one(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"main": BOTH}) as made:
        yield made


# -- row R3 of the targets -----------------------------------------------------------------------------


def test_what_two_servers_lose_comes_back_exactly_as_far_as_arithmetic_allows(two: Backbones) -> None:
    """5 % of articles gone on each of two servers, the source gone, 10 % parity; then up to 20 %."""
    two.segments(300, size=51_000)
    publish_protected(two)
    whole = contents(two.root)
    known = stripes(two)
    assert sorted({(len(stripe.members), len(stripe.parity)) for stripe in known}) == [(20, 2)]
    two.hide_source()
    dice = Random(20)
    kept = 1.0
    seen = []
    for number, loss in enumerate(LOSSES):
        lose_fraction(two, 1 - (1 - loss) / kept, dice)
        kept = 1 - loss
        gone = gone_segments(two)
        lost = files_of(two, beyond_arithmetic(known, gone))
        summary = restore(two, f"back{number}")
        assert contents(two.place / f"back{number}") == {
            path: content for path, content in whole.items() if path not in lost
        }
        assert summary.failed == len(lost)
        seen.append((len(gone), len(lost)))
    assert seen[0] == (0, 0)
    assert all(gone > 0 for gone, _ in seen[1:])
    assert all(lost < gone for gone, lost in seen[1:])
    assert seen[-1][1] > 0  # a fifth is more than a tenth can bring back


def test_with_copies_spread_over_two_servers_all_of_it_comes_back(two: Backbones) -> None:
    two.segments(200, size=51_000)
    publish_protected(two, copies=2)
    whole = contents(two.root)
    known = stripes(two)
    two.hide_source()
    lose_fraction(two, 0.05, Random(3))
    assert beyond_arithmetic(known, gone_segments(two)) == set()
    assert restore(two).failed == 0
    assert contents(two.place / "back") == whole


def test_of_every_stripe_as_much_may_be_lost_as_it_has_parity(one: Backbones) -> None:
    one.segments(43, size=50_500)
    publish_protected(one)
    whole = contents(one.root)
    known = stripes(one)
    assert sorted((len(stripe.members), len(stripe.parity)) for stripe in known) == [(3, 1), (20, 2), (20, 2)]
    dice = Random(5)
    articles = {article.seg_id: article for article in content_articles(one)}
    for stripe in known:
        one.lose([articles[segment] for segment in dice.sample(stripe.segments, len(stripe.parity))])
    one.hide_source()
    before = WAYS.value("by_parity")
    assert restore(one).failed == 0
    assert contents(one.place / "back") == whole
    assert 0 < WAYS.value("by_parity") - before <= 5


def test_a_stripe_is_fetched_once_for_all_that_it_has_lost(one: Backbones) -> None:
    one.segments(4, size=50_500)
    publish_protected(one, fraction=1.0)
    whole = contents(one.root)
    articles = content_articles(one)
    one.lose([article for article in articles if article.kind is ArticleKind.DATA])
    one.hide_source()
    one.witness.asked.clear()
    assert restore(one).failed == 0
    assert contents(one.place / "back") == whole
    bodies = Counter(name for command, name in one.witness.asked if command == "BODY")
    for article in articles:
        if article.kind is ArticleKind.PARITY:
            assert bodies[one.id_of(article)] == 1


def test_the_owner_rebuilds_data_and_parity_alike_under_whatever_ids(one: Backbones) -> None:
    one.segments(6, size=50_500)
    one.witness.set([{"match": {"command": "POST"}, "act": {"rewrite_id": True}}])
    publish_protected(one, fraction=0.5)
    one.hide_source()
    source = CatalogueStripes(one.catalogue, one.row)
    stripe = source.stripe_of(content_articles(one)[0].seg_id)
    assert stripe is not None
    for lost in (stripe.members[0].segment, stripe.parity[0]):
        rebuilder = Rebuilder(one.news, (one.keys,), source, name_of=source.name_of)
        content = rebuilder.rebuild(lost)
        assert content is not None
        assert segment_id(content_hash(one.keys.identity, content)) == lost
    plain = Rebuilder(one.news, (one.keys,), source)
    assert plain.rebuild(stripe.parity[0]) is None  # nothing is under the ids that addresses make


def test_a_stripe_beyond_rebuilding_is_asked_for_again_after_a_while(
    one: Backbones, clock: FakeClock
) -> None:
    one.segments(4, size=50_500)
    publish_protected(one, fraction=0.5)
    source = CatalogueStripes(one.catalogue, one.row)
    rebuilder = Rebuilder(one.news, (one.keys,), source, clock=clock)
    first = [article for article in content_articles(one) if article.kind is ArticleKind.DATA][:3]
    one.hide(first)
    assert rebuilder.rebuild(first[0].seg_id) is None
    one.witness.asked.clear()
    assert rebuilder.rebuild(first[1].seg_id) is None
    assert one.witness.asked == []
    one.show()
    clock.advance(61)
    assert rebuilder.rebuild(first[0].seg_id) is not None


def test_a_spoilt_article_is_as_good_as_a_lost_one(one: Backbones) -> None:
    one.segments(20, size=50_500)
    publish_protected(one)
    whole = contents(one.root)
    one.hide_source()
    data = [article for article in content_articles(one) if article.kind is ArticleKind.DATA]
    one.spoil(data[:1])
    one.spoil(data[9:10], Spoiling.CUT)
    assert restore(one).failed == 0
    assert contents(one.place / "back") == whole


def test_a_folder_of_one_small_file_is_protected(one: Backbones) -> None:
    one.write("only", b"all there is")
    publish_protected(one)
    (stripe,) = stripes(one)
    assert (len(stripe.members), len(stripe.parity)) == (1, 1)
    one.lose([article for article in content_articles(one) if article.kind is ArticleKind.DATA])
    one.hide_source()
    assert restore(one).failed == 0
    assert contents(one.place / "back") == {"only": b"all there is"}


def test_parity_of_old_content_still_serves_newer_versions(one: Backbones) -> None:
    one.segments(20, size=50_500)
    publish_protected(one)
    first = contents(one.root)
    names = sorted(first)
    for name in names[:5]:
        one.write(name, Random(name).randbytes(50_501))
    publish_protected(one)
    second = contents(one.root)
    assert [(len(stripe.members), len(stripe.parity)) for stripe in stripes(one)] == [(20, 2), (5, 1)]
    assert len(stripes(one, 1)) == 1
    one.hide_source()
    # Of the first stripe one segment that the newest version still uses, and one that it has replaced.
    old = sorted(one.stored(), key=lambda article: article.segment_row)
    data = [article for article in old if article.kind is ArticleKind.DATA]
    one.lose([data[0], data[19], data[22]])
    assert restore(one, "newest").failed == 0
    assert contents(one.place / "newest") == second
    assert restore(one, "oldest", version=1).failed == 0
    assert contents(one.place / "oldest") == first


# -- making ------------------------------------------------------------------------------------------


def test_full_stripes_are_made_at_once_and_the_rest_when_it_is_asked_for(one: Backbones) -> None:
    one.segments(45, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    made = protect(one, rest=False)
    assert (made.stripes, made.parity, made.left) == (2, 4, 5)
    made = protect(one, rest=False)
    assert (made.stripes, made.left) == (0, 5)
    made = protect(one, rest=True)
    assert (made.stripes, made.parity, made.left) == (1, 1, 0)
    assert one.posted(ArticleKind.PARITY) == 5


def test_segments_of_like_length_share_a_stripe(one: Backbones) -> None:
    for number in range(80):
        one.write(f"{number:02}", Random(number).randbytes(50_100 if number % 2 else 400_000))
    publish_protected(one, rest=False)
    lengths = [{member.length for member in stripe.members} for stripe in stripes(one)]
    assert sorted(map(sorted, lengths)) == [[50_100], [50_100], [400_000], [400_000]]


def test_staged_content_is_gone_once_it_is_posted(one: Backbones) -> None:
    one.segments(20, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    made = maker(one)
    made.make(parity_folder(one), rest=False)
    assert len(list((one.place / "staging").iterdir())) == 2
    assert made.tidy() == 2
    one.post_all()
    assert made.tidy() == 0
    assert list((one.place / "staging").iterdir()) == []


def test_no_more_parity_is_staged_than_waits_to_be_posted(
    one: Backbones, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_STAGED == 256
    monkeypatch.setattr("usenetsyncd.flows.parity.MAX_STAGED", 4)
    one.segments(100, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    made = maker(one).make(parity_folder(one), rest=True)
    assert (made.stripes, made.parity, made.left) == (2, 4, 60)
    one.post_all()
    assert maker(one).make(parity_folder(one), rest=True).stripes == 2


def test_a_segment_that_nobody_needs_any_more_gets_no_parity(one: Backbones) -> None:
    one.segments(3, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    (one.root / "large1" / "00001").unlink()
    one.scan()
    made = protect(one)
    assert (made.stripes, made.left) == (1, 0)
    assert [len(stripe.members) for _, stripe in one.catalogue.stripes.unposted(one.row)] == []
    one.publish()
    assert [len(stripe.members) for stripe in stripes(one)] == [2]


def test_a_packed_segment_of_which_one_file_has_changed_is_fetched_for_its_parity(one: Backbones) -> None:
    one.write("kept", b"k" * 1_000)
    one.write("changed", b"c" * 1_000)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    one.write("changed", b"other content")  # not scanned yet: both files are still said to be in it
    made = protect(one)
    assert (made.stripes, made.left) == (1, 0)


def test_what_is_neither_in_its_files_nor_on_a_server_waits_and_keeps_nothing_else_waiting(
    one: Backbones,
) -> None:
    one.segments(3, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    (victim,) = [article for article in one.stored() if article.seg_id == min(a.seg_id for a in one.stored())]
    one.lose([victim])
    for path in (one.root / "large1").iterdir():
        path.write_bytes(path.read_bytes()[::-1])  # changed, and not scanned yet
    made = protect(one)
    assert (made.stripes, made.left) == (1, 1)


def test_a_folder_that_is_not_mounted_waits(one: Backbones) -> None:
    one.segments(3, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    one.hide_source()
    made = protect(one)
    assert (made.stripes, made.left) == (0, 3)


# -- after a crash ------------------------------------------------------------------------------------


def test_staged_content_that_vanished_is_made_again_from_the_members(one: Backbones) -> None:
    one.segments(20, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    maker(one).make(parity_folder(one), rest=False)
    staged = sorted((one.place / "staging").iterdir())
    before = {path.name: path.read_bytes() for path in staged}
    staged[0].unlink()
    maker(one).recover(parity_folder(one))
    assert {path.name: path.read_bytes() for path in sorted((one.place / "staging").iterdir())} == before
    one.post_all()
    assert one.catalogue.stripes.ready(one.row) == (1, 0)


def test_a_stripe_that_cannot_be_finished_is_given_up_and_made_anew_from_what_is_left(
    one: Backbones,
) -> None:
    one.segments(20, size=50_100)
    one.catalogue.stripes.track(one.row)
    one.scan()
    one.post_all()
    maker(one).make(parity_folder(one), rest=False)
    for path in (one.place / "staging").iterdir():
        path.unlink()
    (one.root / "large1" / "00003").unlink()
    one.scan()
    maker(one).recover(parity_folder(one))
    assert one.catalogue.stripes.unposted(one.row) == []
    assert one.states()[ArticleState.ABANDONED] == 2
    made = protect(one)
    assert (made.stripes, made.left) == (1, 0)
    one.publish()
    assert [(len(stripe.members), len(stripe.parity)) for stripe in stripes(one)] == [(19, 2)]
    assert maker(one).tidy() == 0


# -- other ways ------------------------------------------------------------------------------------


def test_articles_under_ids_that_their_server_made_are_found_by_the_list_of_overrides(one: Backbones) -> None:
    one.segments(5, size=50_100)
    one.write("small", b"a small file")
    one.witness.set([{"match": {"command": "POST"}, "act": {"rewrite_id": True}}])
    one.scan()
    one.post_all()
    one.witness.clear()
    one.publish()
    whole = contents(one.root)
    one.hide_source()
    before = WAYS.snapshot()
    assert restore(one).failed == 0
    assert contents(one.place / "back") == whole
    assert WAYS.value("by_subject") == before.get("by_subject", 0)


def test_what_no_list_tells_of_is_found_by_its_subject(one: Backbones) -> None:
    one.segments(3, size=50_100)
    publish_protected(one)
    whole = contents(one.root)
    one.hide_source()
    # Another server took them over under ids of its own: all of one stripe, so that parity cannot help.
    for article in content_articles(one):
        rename(one, article)
    assert restore(one, "without groups").failed == 3
    before = WAYS.value("by_subject")
    assert restore(one, groups=("alt.binaries.test",)).failed == 0
    assert contents(one.place / "back") == whole
    assert WAYS.value("by_subject") - before == 3


def test_the_index_is_found_by_its_subject_as_well(one: Backbones) -> None:
    one.segments(3, size=50_100)
    publish_protected(one)
    whole = contents(one.root)
    one.hide_source()
    for article in one.stored():
        if article.kind is not ArticleKind.HEAD:
            rename(one, article)
    with pytest.raises(ArticleMissing):
        restore(one, "without groups")
    assert restore(one, groups=("alt.binaries.test",)).failed == 0
    assert contents(one.place / "back") == whole


def rename(shop: Backbones, article: StoredArticle) -> None:
    """The server gives an article another id, and tells nobody."""
    spool, name = shop.server.spool, shop.id_of(article)
    stored, wire = spool.find(name), spool.read(name)
    assert stored is not None
    assert wire is not None
    shop.server.remove(name)
    other = f"<{article.kind}.{article.seg_id.hex()}@elsewhere>"
    assert spool.claim(other)
    spool.add(replace(stored.overview, message_id=other), [*stored.numbers], [wire])
