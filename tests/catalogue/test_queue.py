"""The queue: order, exclusivity, outcomes, what survives a restart."""

import threading
from pathlib import Path

import pytest

from tests.catalogue.making import assert_sound, batch, content_hash, directory, file, post, post_all, seg
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.queue import ArticleKey, ArticleState, PostedArticle
from usenetsyncd.catalogue.rows import LeasedArticle
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.model import ArticleKind, Priority, RelativePath


def fill(
    catalogue: Catalogue, folder: int, names: str, priority: Priority = Priority.NORMAL, copies: int = 1
) -> None:
    files = [file(name.encode(), f"{folder}{name}") for name in names]
    catalogue.scan.store(batch(folder, directory(b"", *files), priority=priority, copies=copies)).result()


def lease(catalogue: Catalogue, limit: int = 100, **rest: object) -> list[LeasedArticle]:
    return catalogue.queue.lease(limit, **rest).result()  # type: ignore[arg-type]


def test_leases_go_by_priority_then_age_over_all_folders(catalogue: Catalogue, docs: int) -> None:
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    fill(catalogue, docs, "abc", Priority.LOW)
    fill(catalogue, other, "de", Priority.CRITICAL)
    fill(catalogue, docs, "f", Priority.NORMAL)
    fill(catalogue, other, "g", Priority.LOW)
    order = [(one.folder_id, one.priority.name) for one in lease(catalogue)]
    assert order == [(other, "CRITICAL")] * 2 + [(docs, "NORMAL")] + [(docs, "LOW")] * 3 + [(other, "LOW")]


def test_a_lease_tells_all_that_posting_needs(catalogue: Catalogue, docs: int) -> None:
    catalogue.folders.set_epoch(docs, 3).result()
    fill(catalogue, docs, "a")
    (leased,) = lease(catalogue)
    assert leased.kind is ArticleKind.DATA
    assert (leased.seg_id, leased.length, leased.epoch) == (seg(f"{docs}a"), 10, 3)
    assert (leased.copy, leased.generation, leased.attempts, leased.doubtful) == (0, 0, 1, False)


def test_no_article_is_leased_twice_whoever_asks(catalogue: Catalogue, docs: int) -> None:
    files = [file(b"%04d" % number, str(number)) for number in range(600)]
    catalogue.scan.store(batch(docs, directory(b"", *files))).result()
    taken: list[int] = []

    def work() -> None:
        while leased := lease(catalogue, 7):
            taken.extend(one.segment_row for one in leased)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 600
    assert_sound(catalogue)


def test_only_allowed_folders_and_kinds_are_leased(catalogue: Catalogue, docs: int) -> None:
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    fill(catalogue, docs, "ab")
    fill(catalogue, other, "cd")
    catalogue.segments.add_blob(docs, ArticleKind.INDEX, seg("i"), b"pages", 1).result()
    assert lease(catalogue, folders=[]) == []
    assert [one.kind for one in lease(catalogue, kinds=[ArticleKind.INDEX])] == [ArticleKind.INDEX]
    assert {one.folder_id for one in lease(catalogue, folders={other})} == {other}
    assert len(lease(catalogue)) == 2


@pytest.mark.parametrize("stop", ["paused", "held", "removed"])
def test_nothing_of_a_paused_held_or_removed_folder_is_leased(
    catalogue: Catalogue, docs: int, stop: str
) -> None:
    fill(catalogue, docs, "ab")
    if stop == "paused":
        catalogue.folders.set_paused(docs, True).result()
    elif stop == "held":
        catalogue.folders.set_held(docs, True, "31% of files deleted").result()
    else:
        catalogue.folders.remove(docs).result()
    assert lease(catalogue) == []
    if stop == "paused":
        catalogue.folders.set_paused(docs, False).result()
    elif stop == "held":
        catalogue.folders.set_held(docs, False).result()
    else:
        assert catalogue.folders.ensure("docs", b"/new", b"ignored, 16 byte").id == docs
    assert len(lease(catalogue)) == 2


def test_of_a_held_folder_what_was_posted_before_is_leased_again(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "ab")
    posted = lease(catalogue)
    post(catalogue, posted)
    fill(catalogue, docs, "cd")
    catalogue.folders.set_held(docs, True, "the root is gone").result()
    assert catalogue.queue.repost([(posted[0].segment_row, 0)]).result() == 1
    (again,) = lease(catalogue)
    assert (again.segment_row, again.generation) == (posted[0].segment_row, 1)
    assert lease(catalogue) == []
    assert_sound(catalogue)


def test_posted_articles_leave_the_queue_for_good(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "ab", copies=2)
    leased = lease(catalogue)
    assert post(catalogue, leased) == 4
    assert post(catalogue, leased) == 0
    assert lease(catalogue) == []
    counts = catalogue.queue.counts(docs)
    assert (counts.articles[ArticleState.POSTED], counts.bytes[ArticleState.POSTED], counts.pending) == (
        4,
        40,
        0,
    )
    (first, *_) = catalogue.queue.page(state=ArticleState.POSTED).rows
    assert (first.server, first.posted_at, first.attempts) == ("main", 1_800_000_000, 1)
    assert_sound(catalogue)


def test_the_id_that_a_server_chose_is_kept(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "a")
    (leased,) = lease(catalogue)
    given = PostedArticle(leased.segment_row, 0, 0, "rewriting", "<other@server>", 1.0)
    catalogue.queue.posted([given]).result()
    assert catalogue.queue.page(state=ArticleState.POSTED).rows[0].message_id == "<other@server>"


def test_a_retry_waits_until_it_is_due_and_then_goes_before_younger_articles(
    catalogue: Catalogue, docs: int, clock: FakeClock
) -> None:
    fill(catalogue, docs, "abc")
    first = lease(catalogue, 1)[0]
    assert catalogue.queue.retry(first.segment_row, 0, clock.now() + 60).result()
    assert catalogue.queue.next_due() == clock.now() + 60
    assert first.segment_row not in [one.segment_row for one in lease(catalogue, 1)]
    clock.advance(61)
    again = lease(catalogue, 1)[0]
    assert (again.segment_row, again.attempts, again.doubtful) == (first.segment_row, 2, False)
    assert catalogue.queue.next_due() is None


def test_a_doubtful_article_comes_first_and_says_where_it_was_sent(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "ab", Priority.BACKGROUND)
    first = lease(catalogue, 1)[0]
    fill(catalogue, docs, "c", Priority.CRITICAL)
    catalogue.queue.retry(first.segment_row, 0, 0, doubtful=True, count_attempt=False, server="main").result()
    again = lease(catalogue, 1)[0]
    assert (again.segment_row, again.doubtful, again.attempts, again.server) == (
        first.segment_row,
        True,
        1,
        "main",
    )


def test_what_is_given_back_is_as_it_was(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "ab")
    first, second = lease(catalogue)
    catalogue.queue.retry(first.segment_row, 0, 0, doubtful=True).result()
    doubtful = lease(catalogue, 1)[0]
    keys = [ArticleKey(doubtful.segment_row, 0), (second.segment_row, 0), (999, 0)]
    assert catalogue.queue.give_back(keys).result() == 2
    assert [(one.segment_row, one.doubtful, one.attempts) for one in lease(catalogue)] == [
        (first.segment_row, True, 2),
        (second.segment_row, False, 1),
    ]


def test_only_a_leased_article_can_be_retried(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "a")
    leased = lease(catalogue)
    post(catalogue, leased)
    assert not catalogue.queue.retry(leased[0].segment_row, 0, 0).result()
    assert not catalogue.queue.retry(12_345, 0, 0).result()
    assert catalogue.queue.counts(docs).pending == 0


def test_a_failed_article_says_why_and_stays_until_it_is_retried(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "ab")
    first = lease(catalogue, 1)[0]
    catalogue.queue.failed(first.segment_row, 0, "441 posting failed").result()
    assert len(lease(catalogue)) == 1
    (row,) = catalogue.queue.page(state=ArticleState.FAILED).rows
    assert (row.segment_row, row.reason) == (first.segment_row, "441 posting failed")
    assert catalogue.folders.by_id(docs).failed_articles == 1
    assert catalogue.queue.retry_failed(docs).result() == 1
    again = lease(catalogue)[0]
    assert (again.segment_row, again.attempts, again.doubtful) == (first.segment_row, 1, True)
    assert catalogue.queue.page(state=ArticleState.FAILED).rows == ()
    assert_sound(catalogue)


def test_the_next_generation_is_a_fresh_article(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "a")
    leased = lease(catalogue)[0]
    assert catalogue.queue.next_generation(leased.segment_row, 0).result() == 1
    again = lease(catalogue)[0]
    assert (again.generation, again.doubtful) == (1, False)
    with pytest.raises(NotFound):
        catalogue.queue.next_generation(999, 0).result()


def test_leases_of_a_killed_process_are_doubtful_for_the_next(tmp_path: Path, clock: FakeClock) -> None:
    with Catalogue.open(tmp_path / "c.db", clock) as catalogue:
        folder = catalogue.folders.ensure("docs", b"/d", b"u" * 16).id
        fill(catalogue, folder, "abc")
        first, second = lease(catalogue, 2)
        catalogue.queue.retry(first.segment_row, 0, 0, doubtful=True).result()
        lease(catalogue, 1)
    with Catalogue.open(tmp_path / "c.db", clock) as catalogue:
        assert catalogue.queue.return_leases() == 2
        assert [(one.segment_row, one.doubtful) for one in lease(catalogue)] == [
            (first.segment_row, True),
            (second.segment_row, True),
            (second.segment_row + 1, False),
        ]
        assert catalogue.queue.return_leases() == 3
        assert_sound(catalogue)


def test_moved_articles_are_leased_by_their_new_priority(catalogue: Catalogue, docs: int) -> None:
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    fill(catalogue, docs, "ab")
    fill(catalogue, other, "cd")
    assert catalogue.queue.move(Priority.HIGH, folder_id=other).result() == 2
    assert [one.folder_id for one in lease(catalogue, 2)] == [other, other]
    last = catalogue.queue.page(folder_id=docs).rows[-1]
    assert catalogue.queue.move(Priority.CRITICAL, keys=[(last.segment_row, last.copy)]).result() == 1
    assert lease(catalogue, 1)[0].segment_row == last.segment_row
    assert_sound(catalogue)


def test_cancelled_articles_are_not_posted_until_retried(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "ab")
    assert catalogue.queue.cancel(docs).result() == 2
    assert lease(catalogue) == []
    assert {row.reason for row in catalogue.queue.page(state=ArticleState.FAILED).rows} == {"cancelled"}
    assert catalogue.queue.retry_failed().result() == 2
    assert len(lease(catalogue)) == 2
    assert_sound(catalogue)


def test_an_abandoned_segment_is_read_anew_by_the_next_scan(catalogue: Catalogue, docs: int) -> None:
    both = [
        file(b"a", "a", 10, "pack", extents=[(0, seg("pack"), 0, 10)]),
        file(b"b", "b", 5, extents=[(0, seg("pack"), 10, 5)]),
    ]
    catalogue.scan.store(
        batch(
            docs, directory(b"one", *both), directory(b"two", file(b"c", "c")), segments={"pack": 15, "c": 10}
        )
    ).result()
    row = next(one.segment_row for one in lease(catalogue) if one.seg_id == seg("pack"))
    assert catalogue.queue.abandon(row).result() == 2
    assert {row.path: row.digest is None for row in catalogue.scan.digests(docs)} == {
        b"one": True,
        b"two": False,
    }
    assert [entry.hash for entry in catalogue.scan.entries(1)] == [None, None]
    assert catalogue.segments.sources(row) == []
    assert not catalogue.scan.has_segment(docs, seg("pack"))
    assert catalogue.scan.find_content(docs, content_hash("a")) is None
    ready = {bytes(path) for path, _ in catalogue.versions.changes(docs)}
    assert ready == {b"one", b"two"}
    assert_sound(catalogue)


def test_abandoned_content_that_turns_up_again_is_asked_for_before_it_is_posted(
    catalogue: Catalogue, docs: int
) -> None:
    fill(catalogue, docs, "ab")
    tried = lease(catalogue, 1)[0]
    untried = tried.segment_row + 1
    for row in (tried.segment_row, untried):
        catalogue.queue.abandon(row).result()
    assert lease(catalogue) == []
    fill(catalogue, docs, "ab")
    assert [(one.segment_row, one.doubtful) for one in lease(catalogue)] == [
        (tried.segment_row, True),
        (untried, False),
    ]
    assert_sound(catalogue)


def test_a_batch_planned_on_a_segment_that_was_given_up_meanwhile_is_read_again(
    catalogue: Catalogue, docs: int
) -> None:
    fill(catalogue, docs, "a")
    catalogue.queue.abandon(lease(catalogue)[0].segment_row).result()
    late = file(b"copy", "copy", segment=f"{docs}a")
    catalogue.scan.store(batch(docs, directory(b"late", late), segments={})).result()
    entry = catalogue.scan.entry(docs, RelativePath(b"late/copy"))
    assert entry is not None
    assert entry.hash is None
    row = catalogue.scan.directory(docs, RelativePath(b"late"))
    assert row is not None
    assert row.digest is None
    assert_sound(catalogue)


def test_abandoning_where_one_copy_is_posted_keeps_the_files(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "a", copies=2)
    first, second = lease(catalogue)
    post(catalogue, [first])
    assert catalogue.queue.abandon(second.segment_row).result() == 0
    assert catalogue.scan.find_content(docs, content_hash(f"{docs}a")) == [(seg(f"{docs}a"), 0, 10)]
    assert catalogue.queue.counts(docs).articles[ArticleState.ABANDONED] == 1
    assert_sound(catalogue)


def test_pages_go_on_where_they_stopped_while_articles_come_and_go(catalogue: Catalogue, docs: int) -> None:
    files = [file(b"%03d" % number, str(number)) for number in range(40)]
    catalogue.scan.store(batch(docs, directory(b"", *files))).result()
    seen: list[int] = []
    after = None
    for round_ in range(100):
        page = catalogue.queue.page(after, 7)
        seen += [row.segment_row for row in page.rows]
        if page.next is None:
            break
        after = page.next
        if round_ < 3:
            # The rows just shown go, and younger ones come.
            post(catalogue, lease(catalogue, 7))
            fill(catalogue, docs, chr(ord("p") + round_))
    assert len(seen) == len(set(seen))
    assert set(range(1, 41)) <= set(seen)


def test_posted_pages_and_bad_cursors(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "abcde")
    post_all(catalogue)
    first = catalogue.queue.page(None, 2, ArticleState.POSTED, docs)
    second = catalogue.queue.page(first.next, 9, ArticleState.POSTED, docs)
    assert [row.segment_row for row in (*first.rows, *second.rows)] == [1, 2, 3, 4, 5]
    assert second.next is None
    for wrong in ("%%%", "", "bm90IGpzb24", first.next):
        if wrong:
            with pytest.raises(UsageError, match="not a cursor"):
                catalogue.queue.page(wrong, state=ArticleState.QUEUED)


def test_a_page_of_posted_articles_looks_at_a_bounded_stretch(
    catalogue: Catalogue, docs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usenetsyncd.catalogue.queue.POSTED_STRETCH", 4)
    fill(catalogue, docs, "abcdefghijklmnopqrst")
    post(catalogue, [one for one in lease(catalogue) if one.segment_row in (2, 3, 15, 20)])
    found, after, pages = [], None, 0
    while True:
        page = catalogue.queue.page(after, 3, ArticleState.POSTED)
        found += [row.segment_row for row in page.rows]
        pages += 1
        if page.next is None:
            break
        after = page.next
    assert found == [2, 3, 15, 20]
    assert pages == 6


def test_counts_follow_every_move_and_leave_removed_folders_out(catalogue: Catalogue, docs: int) -> None:
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    fill(catalogue, docs, "abcd")
    fill(catalogue, other, "e")
    leased = lease(catalogue, 3, folders=[docs])
    post(catalogue, leased[:1])
    counts = catalogue.queue.counts()
    assert counts.articles[ArticleState.QUEUED] == 2
    assert counts.articles[ArticleState.SENDING] == 2
    assert (counts.pending, counts.pending_bytes) == (4, 40)
    catalogue.folders.remove(other).result()
    assert catalogue.queue.counts().pending == 3
    totals = catalogue.folders.totals()
    assert (totals.folders, totals.files, totals.pending_articles) == (1, 4, 3)


def test_a_copy_that_somebody_else_is_sending_is_left_to_them(catalogue: Catalogue, docs: int) -> None:
    fill(catalogue, docs, "a", copies=3)
    first, second = lease(catalogue, 2)
    assert catalogue.queue.abandon(first.segment_row, first.copy).result() == 1
    fill(catalogue, docs, "a")
    assert {one.copy for one in lease(catalogue)} == {0, 2}
    assert post(catalogue, [second]) == 1
    assert_sound(catalogue)
