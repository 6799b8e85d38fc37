"""Posting: intent before POST, doubt before a second POST, and never wrong bytes."""

import os
import threading
import time
from collections import Counter

from tests.flows.workshop import Workshop, wait_until
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.flows import making
from usenetsyncd.flows import upload as uploading
from usenetsyncd.flows.content import Origins
from usenetsyncd.model import ArticleAddress, ArticleKind, Compression
from usenetsyncd.wire.article import build_article
from usenetsyncd.wire.keys import name_article
from usenetsyncd.wire.seal import Workbench
from usenetsyncd.wire.segment import content_hash, segment_id


def large_files(shop: Workshop, count: int, size: int = 60_000) -> list[bytes]:
    """Each is a segment of its own."""
    contents = [os.urandom(size) for _ in range(count)]
    for number, content in enumerate(contents):
        shop.write(f"file{number:03}", content)
    return contents


def make_doubtful(shop: Workshop) -> None:
    """As a start does after a crash in the middle of posting."""
    shop.catalogue.queue.lease(1_000).result()
    shop.catalogue.queue.return_leases()


def post_and_forget(shop: Workshop) -> None:
    """As a crash between the answer and its record leaves it: on the server, and doubtful here."""
    bench = Workbench()
    leased = shop.catalogue.queue.lease(1_000).result()
    origins = Origins(shop.catalogue, {article.segment_row for article in leased}, 1)
    for article in leased:
        at = making.wire_address(article)
        content = origins.read(article.segment_row, article.length, os.fsencode(shop.root), bench)
        body = bench.seal(shop.keys, at, content, Compression.ZSTD)
        shop.news.post(build_article(name_article(shop.keys.location, at), ("alt.binaries.test",), body))
    origins.release()
    assert shop.catalogue.queue.return_leases() == len(leased)


# -- the outbox --------------------------------------------------------------------------------------


def test_the_intent_is_committed_before_the_article_reaches_a_server(shop: Workshop) -> None:
    large_files(shop, 30)
    shop.scan()
    ids = {shop.message_id(article): article for article in shop.articles(ArticleState.QUEUED)}
    early: list[str] = []

    def on_post(message_id: str) -> None:
        article = ids[message_id]
        if all(a.segment_row != article.segment_row for a in shop.articles(ArticleState.SENDING)):
            early.append(message_id)

    shop.witness.on_post = on_post
    shop.post_all()
    assert early == []
    assert set(shop.server.counters.offers) == ids.keys()
    shop.assert_sound()


def test_everything_is_posted_once_and_opens_with_the_content_of_its_files(shop: Workshop) -> None:
    contents = large_files(shop, 12)
    shop.fill("small", 100, seed=1)
    shop.scan()
    shop.post_all()
    assert set(shop.server.counters.posts.values()) == {1}
    posted = shop.articles(ArticleState.POSTED, ArticleKind.DATA)
    assert len(posted) == 13
    found = {shop.content_on_server(article) for article in posted}
    assert set(contents) < found
    assert shop.recorded
    shop.assert_sound()


def test_a_doubtful_article_is_asked_for_first_and_not_posted_when_it_is_there(shop: Workshop) -> None:
    large_files(shop, 4)
    shop.scan()
    post_and_forget(shop)
    before = shop.server.counters.posts
    shop.witness.asked.clear()
    shop.post_all()
    assert {command for command, _ in shop.witness.asked} == {"BODY"}
    assert shop.server.counters.posts == before
    assert shop.states() == {ArticleState.POSTED: 4}


def test_a_doubtful_article_that_is_not_there_is_asked_for_and_then_posted(shop: Workshop) -> None:
    large_files(shop, 3)
    shop.scan()
    make_doubtful(shop)
    shop.post_all()
    for message_id in shop.server.message_ids():
        commands = [command for command, asked in shop.witness.asked if asked == message_id]
        assert commands == ["BODY", "POST"]
    assert shop.states() == {ArticleState.POSTED: 3}


def test_a_lost_answer_is_asked_after_and_the_article_is_not_posted_twice(shop: Workshop) -> None:
    large_files(shop, 3)
    shop.scan()
    shop.witness.set([{"match": {"command": "POST", "times": 2}, "act": {"cut_reply_at": 0}}])
    with shop.uploader() as uploader:
        wait_until(lambda: shop.states()[ArticleState.POSTED] == 1, "the one with an answer")
        wait_until(lambda: shop.states()[ArticleState.DOUBTFUL] == 2, "those without one")
        shop.clock.advance(10)
        shop.wait_posted(uploader)
    assert Counter(shop.server.counters.offers.values()) == {1: 3}
    assert shop.states() == {ArticleState.POSTED: 3}


def test_a_duplicate_that_is_ours_counts_as_posted(shop: Workshop) -> None:
    """An article that was posted before the catalogue was lost."""
    large_files(shop, 2)
    shop.scan()
    shop.witness.set([{"match": {"command": "POST"}, "act": {"lie": {"code": 441, "text": "435 Duplicate"}}}])
    shop.post_all()
    posted = shop.articles(ArticleState.POSTED)
    assert [article.generation for article in posted] == [0, 0]
    assert len(shop.server.message_ids()) == 2


def test_a_duplicate_that_is_not_ours_moves_to_the_next_generation(shop: Workshop) -> None:
    (content,) = large_files(shop, 1)
    shop.scan()
    (article,) = shop.articles(ArticleState.QUEUED)
    squatter = name_article(shop.keys.location, ArticleAddress(ArticleKind.DATA, article.seg_id))
    shop.news.post(build_article(squatter, ("alt.binaries.test",), b"something else"))
    shop.post_all(patiently=True)
    (posted,) = shop.articles(ArticleState.POSTED)
    assert posted.generation == 1
    assert shop.content_on_server(posted) == content


def test_a_duplicate_whose_text_is_gone_moves_to_the_next_generation(shop: Workshop) -> None:
    (content,) = large_files(shop, 1)
    shop.scan()
    post_and_forget(shop)
    (article,) = shop.articles(ArticleState.DOUBTFUL)
    shop.server.remove(shop.message_id(article))
    shop.post_all(patiently=True)
    (posted,) = shop.articles(ArticleState.POSTED)
    assert posted.generation == 1
    assert shop.content_on_server(posted) == content


# -- the source --------------------------------------------------------------------------------------


def test_a_file_that_changed_between_plan_and_post_is_given_up_and_planned_anew(shop: Workshop) -> None:
    large_files(shop, 2)
    shop.write("small1", b"one")
    shop.write("small2", b"two")
    shop.scan()
    shop.write("file000", os.urandom(60_000))
    shop.write("small1", b"ONE!")
    shop.post_all()
    assert shop.changed == [shop.row] * 2
    assert shop.states() == {ArticleState.POSTED: 1, ArticleState.ABANDONED: 2}
    outcome = shop.scan()
    assert outcome.files_hashed == 3, "both that changed, and the neighbour that shared a segment with one"
    version = shop.commit()
    index = shop.index(version)
    assert len(index) == 5
    contents = {
        shop.content_on_server(article) for article in shop.articles(ArticleState.POSTED, ArticleKind.DATA)
    }
    assert (shop.root / "file000").read_bytes() in contents
    assert any(b"ONE!" in content for content in contents)
    shop.assert_sound()


def test_wrong_bytes_are_never_posted(shop: Workshop) -> None:
    """Content that changed behind the file's times: only the hash can tell."""
    large_files(shop, 4)
    shop.scan()
    planned = {article.seg_id for article in shop.articles(ArticleState.QUEUED)}
    for number in (1, 2):
        file = shop.root / f"file{number:03}"
        times = file.stat()
        with file.open("r+b") as opened:
            opened.seek(30_000)
            opened.write(b"other bytes")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    shop.post_all()
    assert shop.states() == {ArticleState.POSTED: 2, ArticleState.ABANDONED: 2}
    assert len(shop.server.counters.offers) == 2
    for article in shop.articles(ArticleState.POSTED):
        content = shop.content_on_server(article)
        assert segment_id(content_hash(shop.keys.identity, content)) == article.seg_id
        assert article.seg_id in planned


def test_files_rewritten_while_they_are_posted_leave_no_wrong_article(shop: Workshop) -> None:
    large_files(shop, 40)
    shop.scan()
    stop = threading.Event()

    def scribble() -> None:
        number = 0
        while not stop.is_set():
            shop.write(f"file{number % 40:03}", os.urandom(60_000))
            number += 7
            time.sleep(0.001)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        shop.post_all()
    finally:
        stop.set()
        thread.join()
    for article in shop.articles(ArticleState.POSTED, ArticleKind.DATA):
        content = shop.content_on_server(article)
        assert segment_id(content_hash(shop.keys.identity, content)) == article.seg_id
    version = shop.commit()
    index = shop.index(version)
    found = {shop.content_on_server(a) for a in shop.articles(ArticleState.POSTED, ArticleKind.DATA)}
    for path in index.keys() - {b""}:
        assert (shop.root / os.fsdecode(path)).read_bytes() in found


def test_a_repeated_post_of_one_article_has_the_same_bytes(shop: Workshop) -> None:
    """A (key, nonce) belongs to one block, so a second sealing under one address may not differ."""
    (content,) = large_files(shop, 1)
    shop.scan()
    shop.post_all()
    (article,) = shop.articles(ArticleState.POSTED)
    at = ArticleAddress(article.kind, article.seg_id)
    body = bytes(Workbench().seal(shop.keys, at, content, Compression.ZSTD))
    again = build_article(name_article(shop.keys.location, at), ("alt.binaries.test",), body)
    assert shop.server.article(shop.message_id(article)).partition(b"\r\n\r\n")[2].rstrip() in b"".join(
        bytes(part) for part in again.parts
    )


# -- trouble -----------------------------------------------------------------------------------------


def test_without_a_server_the_feeder_rests_and_no_attempt_is_used_up(shop: Workshop) -> None:
    large_files(shop, 3)
    shop.scan()
    port = shop.server.address
    shop.server.stop()
    with shop.uploader() as uploader:
        wait_until(lambda: uploader._rest_until > shop.clock.monotonic(), "the rest")
        wait_until(lambda: shop.states() == {ArticleState.QUEUED: 3}, "all of them back")
        assert {article.attempts for article in shop.articles(ArticleState.QUEUED)} == {0}
        uploader.wake()
        time.sleep(0.1)
        assert shop.states() == {ArticleState.QUEUED: 3}
        assert shop.server.address == port
        shop.server.start()
        for _ in range(100):
            shop.clock.advance(60)
            time.sleep(0.02)
            uploader.wake()
            if shop.states() == {ArticleState.POSTED: 3}:
                break
        shop.wait_posted(uploader)
    assert shop.states() == {ArticleState.POSTED: 3}


def test_without_any_configured_server_nothing_spins(shop: Workshop) -> None:
    large_files(shop, 1)
    shop.scan()
    shop.news.replace_accounts([])
    with shop.uploader() as uploader:
        wait_until(lambda: uploader._rest_until > shop.clock.monotonic(), "the rest")
        rest_until = uploader._rest_until
        assert rest_until >= shop.clock.monotonic() + uploading.SHORTEST_REST_S
        time.sleep(0.2)
        assert uploader._rest_until == rest_until
    assert shop.states() == {ArticleState.QUEUED: 1}


def test_when_all_attempts_are_used_up_the_article_fails_and_an_event_says_so(shop: Workshop) -> None:
    large_files(shop, 1)
    shop.scan()
    shop.witness.set([{"match": {"command": "POST"}, "act": {"reply": {"code": 441, "text": "Go away"}}}])
    with shop.uploader() as uploader:

        def failed() -> bool:
            if not shop.states()[ArticleState.SENDING]:
                shop.clock.advance(400)
            uploader.wake()
            return shop.states() == {ArticleState.FAILED: 1}

        wait_until(failed, "the end of its attempts")
    shop.flush()
    (article,) = shop.articles(ArticleState.FAILED)
    assert article.attempts == uploading.MAX_ATTEMPTS
    assert "Go away" in (article.reason or "")
    assert "article_failed" in {event.code for event in shop.catalogue.events.latest(folder_id=shop.row)}
    assert shop.server.message_ids() == []
    shop.witness.clear()
    shop.catalogue.queue.retry_failed(shop.row).result()
    shop.post_all()
    assert shop.states() == {ArticleState.POSTED: 1}


def test_a_pause_posts_nothing_and_ends_when_it_is_taken_back(shop: Workshop) -> None:
    large_files(shop, 5)
    with shop.uploader() as uploader:
        uploader.pause(True)
        shop.scan()
        uploader.wake()
        time.sleep(0.2)
        assert shop.server.counters.posts == {}
        uploader.pause(False)
        shop.wait_posted(uploader)
    assert len(shop.server.counters.posts) == 5


def test_a_stop_gives_back_what_was_leased_and_not_begun(shop: Workshop) -> None:
    large_files(shop, 150)
    shop.scan()
    shop.witness.set([{"match": {"command": "POST"}, "act": {"delay": 0.05}}])
    with shop.uploader():
        wait_until(lambda: shop.states()[ArticleState.POSTED] >= 4, "some posts")
    states = shop.states()
    assert set(states) == {ArticleState.POSTED, ArticleState.QUEUED}
    assert sum(states.values()) == 150
    assert {article.attempts for article in shop.articles(ArticleState.QUEUED)} == {0}
    assert len(shop.server.message_ids()) == states[ArticleState.POSTED]
    shop.witness.clear()
    shop.post_all()
    assert Counter(shop.server.counters.posts.values()) == {1: 150}
    shop.assert_sound()


def test_after_the_news_service_closed_an_article_comes_back_and_costs_no_attempt(shop: Workshop) -> None:
    large_files(shop, 1)
    shop.scan()
    shop.news.close(0.1)
    with shop.uploader():
        wait_until(lambda: shop.states()[ArticleState.DOUBTFUL] == 1, "the article back")
    shop.flush()  # it was asked after again and again until the end; where the last time left it may not be committed
    (article,) = [*shop.articles(ArticleState.DOUBTFUL)]
    assert article.attempts == 0


def test_an_unknown_folder_keeps_its_articles_in_the_queue(shop: Workshop) -> None:
    large_files(shop, 1)
    shop.scan()
    known = shop.posting_of
    asked: list[int] = []

    def posting_of(row: int) -> None:
        asked.append(row)

    shop.posting_of = posting_of  # type: ignore[method-assign, assignment]
    with shop.uploader():
        wait_until(lambda: bool(asked), "the question")
        time.sleep(0.1)
    shop.flush()
    assert shop.states() == {ArticleState.QUEUED: 1}
    assert len(asked) == 1, "not over and over"
    shop.posting_of = known  # type: ignore[method-assign]
    shop.clock.advance(10)
    shop.post_all()
    assert shop.states() == {ArticleState.POSTED: 1}


def test_a_repeated_post_goes_to_the_same_newsgroup(shop: Workshop) -> None:
    large_files(shop, 8)
    shop.scan()
    leased = shop.catalogue.queue.lease(8).result()
    groups = ("alt.a", "alt.b", "alt.c")
    chosen = [making.choose_groups(groups, article) for article in leased]
    assert chosen == [making.choose_groups(groups, article) for article in leased]
    assert {group for (group,) in chosen} <= set(groups)
