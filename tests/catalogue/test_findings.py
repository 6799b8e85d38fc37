"""Findings: sparse, about an article on a server, gone when the article is back."""

from dataclasses import replace

import pytest

from tests.catalogue.making import assert_sound, batch, directory, file, post, post_all
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue import verifications
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import Damage, Finding, FindingCounts, Seen, StoredArticle
from usenetsyncd.catalogue.rows import ArticleKey, ArticleState
from usenetsyncd.catalogue.verifications import Advance, CheckKind, CheckState
from usenetsyncd.errors import NotFound
from usenetsyncd.model import Priority


def fill(catalogue: Catalogue, folder: int, count: int, copies: int = 1, prefix: str = "f") -> None:
    files = [file(f"{prefix}{number:04}".encode(), f"{folder}{prefix}{number}") for number in range(count)]
    catalogue.scan.store(batch(folder, directory(prefix.encode(), *files), copies=copies)).result()


def seen(article: StoredArticle, server: str, damage: Damage | None) -> Seen:
    return Seen(article.segment_row, article.copy, article.generation, server, damage)


def found(catalogue: Catalogue, folder: int) -> dict[tuple[int, int, str], Finding]:
    every = catalogue.findings.between(folder, 0, 2**40)
    return {(one.segment_row, one.copy, one.server): one for ones in every.values() for one in ones}


@pytest.fixture
def posted(catalogue: Catalogue, docs: int) -> list[StoredArticle]:
    """Six segments with two copies each, all on the server "main"."""
    fill(catalogue, docs, 6, copies=2)
    post_all(catalogue)
    return catalogue.verifications.articles(docs)


# -- findings ----------------------------------------------------------------------------------------


def test_what_is_found_is_kept_by_article_and_server_and_goes_when_it_is_seen_again(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle], clock: FakeClock
) -> None:
    one, two = posted[0], posted[3]
    first = clock.now()
    catalogue.findings.note(
        docs,
        [seen(one, "main", Damage.MISSING), seen(one, "judge", Damage.CORRUPT), seen(two, "main", None)],
    ).result()
    assert found(catalogue, docs) == {
        (*one.key, "main"): Finding(*one.key, "main", Damage.MISSING, 0, first, first, None),
        (*one.key, "judge"): Finding(*one.key, "judge", Damage.CORRUPT, 0, first, first, None),
    }
    clock.advance(3_600)
    catalogue.findings.note(
        docs, [seen(one, "main", None), seen(one, "judge", Damage.MISSING), seen(two, "main", Damage.MISSING)]
    ).result()
    assert {key: (f.damage, f.since, f.checked_at) for key, f in found(catalogue, docs).items()} == {
        (*one.key, "judge"): (Damage.MISSING, first, first + 3_600),
        (*two.key, "main"): (Damage.MISSING, first + 3_600, first + 3_600),
    }


def test_a_check_of_an_older_generation_says_nothing_of_a_newer_one(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    new = posted[0]._replace(generation=1)
    catalogue.findings.note(docs, [seen(new, "main", Damage.MISSING)]).result()
    catalogue.findings.note(docs, [seen(posted[0], "main", None)]).result()
    catalogue.findings.note(docs, [seen(posted[0], "main", Damage.CORRUPT)]).result()
    (finding,) = found(catalogue, docs).values()
    assert (finding.generation, finding.damage) == (1, Damage.MISSING)


def test_counts_are_by_server_and_leave_out_where_nobody_expected_the_article(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    catalogue.findings.note(
        docs,
        [
            *(seen(article, "main", Damage.MISSING) for article in posted[:3]),
            seen(posted[4], "main", Damage.CORRUPT),
            seen(posted[0], "other", Damage.ABSENT),
        ],
    ).result()
    assert catalogue.findings.counts(docs) == {
        "main": FindingCounts(3, 1, 0),
        "other": FindingCounts(0, 0, 0),
    }


def test_damaged_articles_come_in_pages_with_their_findings(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    bad = [posted[1], posted[2], posted[7]]
    catalogue.findings.note(
        docs, [seen(article, server, Damage.MISSING) for article in bad for server in ("main", "judge")]
    ).result()
    listed = []
    after = (0, -1)
    while page := catalogue.findings.damaged(docs, after, 2):
        listed += page
        after = page[-1].article.key
    assert [one.article for one in listed] == bad
    assert {one.state for one in listed} == {ArticleState.POSTED}
    assert [sorted(f.server for f in one.findings) for one in listed] == [["judge", "main"]] * 3
    assert catalogue.findings.segments(docs) == sorted({article.segment_row for article in bad})


def test_every_copy_of_a_segment_is_told_also_the_good_ones(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    bad = posted[2]
    catalogue.findings.note(docs, [seen(bad, "main", Damage.MISSING)]).result()
    (told,) = catalogue.findings.articles_of([bad.segment_row]).values()
    assert [(one.article.copy, len(one.findings)) for one in told] == [(0, 1), (1, 0)]


# -- repost ------------------------------------------------------------------------------------------


def test_a_repost_queues_a_new_generation_with_high_priority_and_keeps_the_counters(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    keys = [posted[0].key, posted[5].key]
    assert catalogue.queue.repost(keys).result() == 2
    assert_sound(catalogue)
    leased = catalogue.queue.lease(10).result()
    assert [(one.segment_row, one.copy) for one in leased] == keys
    assert {(one.generation, one.priority, one.attempts, one.doubtful, one.server) for one in leased} == {
        (1, Priority.HIGH, 1, False, "main")
    }
    assert_sound(catalogue)


def test_what_is_in_the_queue_already_is_not_given_another_generation(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    keys = [posted[0].key, posted[1].key]
    assert catalogue.queue.repost(keys[:1]).result() == 1
    assert catalogue.queue.repost([*keys, ArticleKey(999_999, 0)]).result() == 1
    leased = catalogue.queue.lease(10).result()
    assert catalogue.queue.repost(keys).result() == 0
    assert [one.generation for one in leased] == [1, 1]


def test_a_repost_that_failed_can_be_asked_for_again(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    key = posted[0].key
    catalogue.queue.repost([key]).result()
    catalogue.queue.lease(1).result()
    catalogue.queue.failed(*key, "refused").result()
    assert catalogue.queue.repost([key]).result() == 1
    (leased,) = catalogue.queue.lease(1).result()
    assert (leased.generation, leased.attempts) == (2, 1)
    assert_sound(catalogue)


def test_the_last_generation_is_not_passed(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    key = posted[0].key
    catalogue.writer.run(
        lambda database: database.run("UPDATE article SET generation = 65535 WHERE segment_id = ?", key[:1])
    )
    assert catalogue.queue.repost([key]).result() == 0
    assert_sound(catalogue)


def test_findings_wait_for_a_check_of_the_generation_that_was_posted_instead(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle], clock: FakeClock
) -> None:
    bad = posted[:2]
    catalogue.findings.note(docs, [seen(article, "main", Damage.MISSING) for article in bad]).result()
    catalogue.queue.repost([article.key for article in bad]).result()
    assert {f.reposted_at for f in found(catalogue, docs).values()} == {None}
    post(catalogue, catalogue.queue.lease(10).result(), "other")
    assert {f.reposted_at for f in found(catalogue, docs).values()} == {1_800_000_000.0}
    assert catalogue.findings.counts(docs) == {"main": FindingCounts(0, 0, 2)}
    assert catalogue.findings.reposted(docs, 1_799_999_999.0) == []
    waiting = catalogue.findings.reposted(docs, 1_800_000_000.0)
    assert [(one.key, one.generation, one.server) for one in waiting] == [(a.key, 1, "other") for a in bad]
    assert [one.key for one in catalogue.findings.reposted(docs, 2e9, waiting[0].key)] == [bad[1].key]

    catalogue.findings.note(
        docs, [seen(waiting[0], "main", None), seen(waiting[1], "main", Damage.MISSING)]
    ).result()
    (left,) = found(catalogue, docs).values()
    assert (left.segment_row, left.generation, left.reposted_at) == (bad[1].segment_row, 1, None)


# -- the articles to check, and how far a check is ----------------------------------------------------


def test_articles_of_a_folder_come_by_key_whatever_stands_between_them(
    catalogue: Catalogue, docs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifications, "STRETCH", 7)
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    for number in range(3):
        fill(catalogue, docs, 5, prefix=f"d{number}")
        fill(catalogue, other, 20, prefix=f"o{number}")
    post_all(catalogue)
    fill(catalogue, docs, 4, prefix="queued")
    every = catalogue.verifications.articles(docs, limit=1_000)
    assert len(every) == 15
    paged: list[StoredArticle] = []
    while page := catalogue.verifications.articles(docs, paged[-1].key if paged else (0, -1), 4):
        paged += page
        assert len(page) == 4 or len(paged) == 15
    assert paged == every == sorted(every)
    assert {(one.server, one.folder_id, one.posted_at, one.message_id) for one in every} == {
        ("main", docs, 1_800_000_000, None)
    }


def test_settled_articles_end_before_the_first_that_is_pending_or_too_young(
    catalogue: Catalogue, docs: int
) -> None:
    fill(catalogue, docs, 10)
    leased = catalogue.queue.lease(4).result()
    post(catalogue, leased)
    articles, reached = catalogue.verifications.settled(docs, (0, -1), 1_800_000_000.0)
    assert len(articles) == 4
    assert reached == articles[-1].key
    assert catalogue.verifications.settled(docs, (0, -1), 1_799_999_999.0) == ([], (0, -1))
    assert catalogue.verifications.settled(docs, reached, 2e9) == ([], reached)
    given_up = catalogue.queue.lease(1).result()[0]
    catalogue.queue.failed(given_up.segment_row, given_up.copy, "refused").result()
    post(catalogue, catalogue.queue.lease(2).result())
    articles, reached = catalogue.verifications.settled(docs, reached, 2e9)
    assert [one.segment_row for one in articles] == [given_up.segment_row + 1, given_up.segment_row + 2]
    assert catalogue.verifications.settled(docs, (0, -1), 2e9, limit=2)[1] == (leased[1].segment_row, 0)


def test_a_check_goes_on_where_it_was_and_ends_with_a_stamp_on_the_folder(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle], clock: FakeClock
) -> None:
    begun = catalogue.verifications.begin(docs, CheckKind.AVAILABILITY)
    assert (begun.state, begun.cursor, begun.checked) == (CheckState.RUNNING, (0, -1), 0)
    step = Advance(
        posted[3].key, 4, 1, 0, 0, 2, {"mode": "", "good": 2}, [seen(posted[3], "main", Damage.MISSING)]
    )
    catalogue.verifications.advance(begun.id, step).result()
    again = catalogue.verifications.begin(docs, CheckKind.AVAILABILITY)
    assert again == replace(
        begun, cursor=posted[3].key, checked=4, missing=1, sampled=2, detail={"mode": "", "good": 2}
    )
    assert len(found(catalogue, docs)) == 1
    assert catalogue.folders.by_id(docs).verified_at is None
    assert catalogue.verifications.latest(docs) is None
    catalogue.verifications.finish(begun.id).result()
    assert catalogue.folders.by_id(docs).verified_at == clock.now()
    latest = catalogue.verifications.latest(docs)
    assert latest is not None
    assert (latest.id, latest.state, latest.finished_at) == (begun.id, CheckState.DONE, clock.now())
    assert catalogue.verifications.begin(docs, CheckKind.AVAILABILITY).id > begun.id


def test_another_server_or_mode_begins_anew_and_other_kinds_are_left_alone(
    catalogue: Catalogue, docs: int
) -> None:
    standing = catalogue.verifications.begin(docs, CheckKind.PROPAGATION)
    first = catalogue.verifications.begin(docs, CheckKind.AVAILABILITY, mode="full")
    second = catalogue.verifications.begin(docs, CheckKind.AVAILABILITY, server="main", mode="full")
    assert second.id != first.id
    assert catalogue.verifications.get(first.id).state is CheckState.CANCELLED
    assert catalogue.verifications.begin(docs, CheckKind.PROPAGATION).id == standing.id


def test_only_the_newest_checks_are_kept(
    catalogue: Catalogue, docs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifications, "KEPT", 3)
    ids = []
    for _ in range(6):
        ids.append(catalogue.verifications.begin(docs, CheckKind.AVAILABILITY).id)
        catalogue.verifications.finish(ids[-1]).result()
    with pytest.raises(NotFound):
        catalogue.verifications.get(ids[0])
    assert catalogue.verifications.get(ids[-3]).id == ids[-3]


def test_a_check_that_is_not_there_advances_nothing(
    catalogue: Catalogue, docs: int, posted: list[StoredArticle]
) -> None:
    with pytest.raises(NotFound):
        catalogue.verifications.advance(
            77, Advance(posted[0].key, 1, 1, 0, 0, 0, {}, [seen(posted[0], "main", Damage.MISSING)])
        ).result()
    assert found(catalogue, docs) == {}
