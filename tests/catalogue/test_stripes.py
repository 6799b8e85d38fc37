"""Stripes in the catalogue: what is posted waits for parity once, and every version tells of what is ready."""

from collections.abc import Callable

import pytest

from tests.catalogue.making import assert_sound, batch, directory, file, post, post_all, seg
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ArticleState, PostedArticle, SegmentRow
from usenetsyncd.model import ArticleAddress, ArticleKind, Priority
from usenetsyncd.wire.overrides import Override
from usenetsyncd.wire.stripes import Member, Stripe


@pytest.fixture
def folder(catalogue: Catalogue) -> int:
    return catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id


@pytest.fixture
def plan(catalogue: Catalogue, folder: int) -> Callable[..., None]:
    """Files of one segment each, planned but not posted."""

    def store(*names: str) -> None:
        files = [file(name.encode(), name, size=10 + at) for at, name in enumerate(names)]
        catalogue.scan.store(batch(folder, directory(b"", *files))).result()

    return store


def waiting(catalogue: Catalogue, folder: int) -> list[SegmentRow]:
    return catalogue.stripes.unprotected(folder, 1_000)


def add(catalogue: Catalogue, folder: int, members: list[SegmentRow], *names: str) -> int | None:
    parity = [seg(name) for name in names]
    return catalogue.stripes.add(folder, members, parity, 1, Priority.NORMAL).result()


def begin(catalogue: Catalogue, folder: int) -> int:
    version = catalogue.versions.begin(folder).version
    catalogue.stripes.take(folder, version).result()
    return version


def finish(catalogue: Catalogue, folder: int, version: int) -> None:
    head = version.to_bytes(16, "big")
    totals = {"files": 0, "directories": 0, "size_bytes": 0}
    catalogue.versions.complete(
        folder, version, root=None, head_id=head, head=head, head_hash=head * 2, **totals
    ).result()
    post_all(catalogue)
    catalogue.versions.publish_done(folder, version).result()


def test_what_is_posted_waits_for_parity_from_the_day_that_its_folder_is_tracked(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    plan("before")
    post_all(catalogue)
    assert waiting(catalogue, folder) == []
    catalogue.stripes.track(folder)
    assert [row.seg_id for row in waiting(catalogue, folder)] == [seg("before")]
    plan("after")
    assert len(waiting(catalogue, folder)) == 1  # planned is not posted
    post_all(catalogue)
    assert [row.seg_id for row in waiting(catalogue, folder)] == [seg("before"), seg("after")]
    assert catalogue.stripes.unprotected_count(folder) == 2
    assert waiting(catalogue, folder) == [
        *catalogue.stripes.unprotected(folder, 1),
        *catalogue.stripes.unprotected(folder, 9, after=waiting(catalogue, folder)[0].id),
    ]
    catalogue.stripes.forget(folder)
    assert waiting(catalogue, folder) == []
    catalogue.stripes.track(folder)
    assert len(waiting(catalogue, folder)) == 2


def test_a_stripe_is_posted_with_the_last_of_its_parity(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a", "b", "c")
    post_all(catalogue)
    members = waiting(catalogue, folder)
    assert add(catalogue, folder, members, "p", "q") is not None
    assert waiting(catalogue, folder) == []
    stripe = Stripe(tuple(Member(row.seg_id, row.length) for row in members), (seg("p"), seg("q")))
    assert [found for _, found in catalogue.stripes.unposted(folder)] == [stripe]
    first, second = catalogue.queue.lease(10).result()
    assert {first.kind, second.kind} == {ArticleKind.PARITY}
    assert first.length == stripe.length == 12
    post(catalogue, [first])
    assert catalogue.stripes.ready(folder) == (0, 0)
    assert [catalogue.stripes.parity_wanted(seg(name)) for name in "pq"] == [False, True]
    post(catalogue, [second])
    assert catalogue.stripes.ready(folder) == (1, 0)
    assert catalogue.stripes.unposted(folder) == []
    for name in "bq":
        assert catalogue.stripes.find(folder, seg(name)) == stripe
    assert catalogue.stripes.find(folder, seg("z")) is None
    assert_sound(catalogue)


def test_a_segment_gets_into_one_stripe_only(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a", "b")
    post_all(catalogue)
    members = waiting(catalogue, folder)
    assert add(catalogue, folder, members, "p") is not None
    assert add(catalogue, folder, members[:1], "q") is None
    assert catalogue.segments.find(folder, ArticleKind.PARITY, seg("q")) is None
    assert_sound(catalogue)


def test_a_segment_that_is_posted_anew_keeps_its_stripe(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a")
    post_all(catalogue)
    (member,) = waiting(catalogue, folder)
    add(catalogue, folder, [member], "p")
    post_all(catalogue)
    catalogue.queue.repost([(member.id, 0)]).result()
    assert post_all(catalogue) == 1
    assert waiting(catalogue, folder) == []


def test_a_segment_that_is_being_posted_anew_is_not_offered(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a")
    post_all(catalogue)
    (member,) = waiting(catalogue, folder)
    catalogue.queue.repost([(member.id, 0)]).result()
    assert waiting(catalogue, folder) == []
    assert catalogue.stripes.unprotected_count(folder) == 0
    assert add(catalogue, folder, [member], "p") is None


def test_a_stripe_that_is_given_up_leaves_its_members_waiting_and_nothing_queued(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a", "b")
    post_all(catalogue)
    members = waiting(catalogue, folder)
    stripe = add(catalogue, folder, members, "p", "q")
    assert stripe is not None
    assert catalogue.stripes.give_up(stripe).result()
    assert waiting(catalogue, folder) == members
    assert post_all(catalogue) == 0
    assert not catalogue.stripes.parity_wanted(seg("p"))
    assert not catalogue.stripes.give_up(stripe).result()
    # The same content again is queued again.
    assert add(catalogue, folder, members, "p", "q") is not None
    assert post_all(catalogue) == 2
    assert_sound(catalogue)


def test_a_posted_stripe_is_not_given_up(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a")
    post_all(catalogue)
    stripe = add(catalogue, folder, waiting(catalogue, folder), "p")
    post_all(catalogue)
    assert stripe is not None
    assert not catalogue.stripes.give_up(stripe).result()
    assert catalogue.stripes.ready(folder) == (1, 0)


def test_equal_parity_of_two_stripes_is_one_segment(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a", "b")
    post_all(catalogue)
    one, two = waiting(catalogue, folder)
    add(catalogue, folder, [one], "same", "same")
    assert post_all(catalogue) == 1
    add(catalogue, folder, [two], "same")
    assert post_all(catalogue) == 0
    assert catalogue.stripes.ready(folder) == (2, 0)


def test_a_version_takes_what_is_ready_and_a_given_up_one_gives_it_back(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    catalogue.stripes.track(folder)
    plan("a", "b", "c")
    post_all(catalogue)
    one, two, three = waiting(catalogue, folder)
    add(catalogue, folder, [one], "p")
    post_all(catalogue)
    version = begin(catalogue, folder)
    add(catalogue, folder, [two], "q")
    post_all(catalogue)  # too late for this version
    taken = list(catalogue.stripes.taken_stripes(folder, version))
    assert [stripe.parity for stripe in taken] == [(seg("p"),)]
    catalogue.versions.abandon(folder, version).result()
    assert catalogue.stripes.ready(folder) == (2, 0)
    version = begin(catalogue, folder)
    assert [stripe.parity for stripe in catalogue.stripes.taken_stripes(folder, version)] == [
        (seg("p"),),
        (seg("q"),),
    ]
    finish(catalogue, folder, version)
    assert catalogue.stripes.ready(folder) == (0, 0)
    add(catalogue, folder, [three], "r")
    post_all(catalogue)
    version = begin(catalogue, folder)
    assert [stripe.parity for stripe in catalogue.stripes.taken_stripes(folder, version)] == [(seg("r"),)]


def test_message_ids_that_a_server_changed_are_told_in_the_next_version(
    catalogue: Catalogue, folder: int, plan: Callable[..., None]
) -> None:
    plan("a", "b")
    leased = catalogue.queue.lease(10).result()
    changed = [
        PostedArticle(one.segment_row, one.copy, one.generation, "main", f"<{at}@server>", 1.0)
        for at, one in enumerate(leased)
    ]
    catalogue.queue.posted(changed).result()
    assert catalogue.stripes.ready(folder) == (0, 2)
    version = begin(catalogue, folder)
    assert list(catalogue.stripes.taken_overrides(folder, version)) == [
        Override(ArticleAddress(ArticleKind.DATA, one.seg_id), f"<{at}@server>")
        for at, one in enumerate(leased)
    ]
    finish(catalogue, folder, version)
    assert catalogue.stripes.ready(folder) == (0, 0)
    catalogue.queue.repost([(leased[0].segment_row, 0)]).result()
    (again,) = catalogue.queue.lease(10).result()
    catalogue.queue.posted([PostedArticle(again.segment_row, 0, 1, "main", "<c@server>", 2.0)]).result()
    version = begin(catalogue, folder)
    assert [override.at.generation for override in catalogue.stripes.taken_overrides(folder, version)] == [1]


def test_changed_ids_of_index_articles_alone_are_no_reason_for_a_version(
    catalogue: Catalogue, folder: int
) -> None:
    catalogue.segments.add_blob(folder, ArticleKind.INDEX, seg("page"), b"page", 1).result()
    (leased,) = catalogue.queue.lease(10).result()
    catalogue.queue.posted([PostedArticle(leased.segment_row, 0, 0, "main", "<x@server>", 1.0)]).result()
    assert catalogue.stripes.ready(folder) == (0, 0)
    version = begin(catalogue, folder)
    assert len(list(catalogue.stripes.taken_overrides(folder, version))) == 1


def test_index_and_newest_head_get_a_second_copy_once(catalogue: Catalogue, folder: int) -> None:
    page = catalogue.segments.add_blob(folder, ArticleKind.INDEX, seg("page"), b"page", 1).result()
    post_all(catalogue)
    for _ in range(2):
        finish(catalogue, folder, catalogue.versions.begin(folder).version)
    assert catalogue.stripes.copy_index(folder, 0, Priority.LOW).result() == 2
    leased = catalogue.queue.lease(10).result()
    assert {(one.kind, one.copy, one.priority) for one in leased} == {
        (ArticleKind.INDEX, 1, Priority.LOW),
        (ArticleKind.HEAD, 1, Priority.LOW),
    }
    post(catalogue, leased)
    assert catalogue.stripes.copy_index(folder, 0, Priority.LOW).result() == 0
    assert catalogue.stripes.copy_index(folder, page, Priority.LOW).result() == 0
    assert catalogue.queue.counts(folder).articles[ArticleState.QUEUED] == 0
    assert_sound(catalogue)
