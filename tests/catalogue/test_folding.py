"""Equal events within a while become one row with an exact count, whoever adds them and however fast."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.folding import FOLDS_AT_ONCE


def test_ten_thousand_equal_events_are_one_row_with_their_count(catalogue: Catalogue, docs: int) -> None:
    def add(number: int) -> int:
        reason = f"refused {number}"
        return catalogue.events.add_folded("error", "article_failed", reason, docs, number=number).result()

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(add, range(10_000)))
    (row,) = catalogue.events.since(0)
    assert ids == {row.id}
    assert (row.level, row.code, row.folder_id) == ("error", "article_failed", docs)
    assert row.message.startswith("refused ")
    assert row.message.endswith(" (and 9,999 more like it)")
    assert row.fields["count"] == 10_000


def test_one_event_alone_looks_like_any_other(catalogue: Catalogue, docs: int, clock: FakeClock) -> None:
    catalogue.events.add_folded("error", "article_failed", "refused", docs, number=1).result()
    (row,) = catalogue.events.since(0)
    assert (row.message, row.fields, row.at) == ("refused", {"number": 1}, clock.now())


def test_the_row_says_when_the_last_one_came(catalogue: Catalogue, clock: FakeClock) -> None:
    first = clock.now()
    for _ in range(3):
        catalogue.events.add_folded("error", "failed", "it failed").result()
        clock.advance(5)
    (row,) = catalogue.events.since(0)
    assert (row.at, row.fields) == (first, {"count": 3, "last_at": clock.now() - 5})


def test_level_code_folder_and_time_keep_events_apart(
    catalogue: Catalogue, docs: int, clock: FakeClock
) -> None:
    add = catalogue.events.add_folded
    add("error", "failed", "a").result()
    add("warning", "failed", "b").result()
    add("error", "other", "c").result()
    add("error", "failed", "d", docs).result()
    clock.advance(59)
    add("error", "failed", "e", window_s=60).result()  # the window of the first counts
    add("error", "short", "f", window_s=60).result()
    clock.advance(60)
    add("error", "short", "g", window_s=60).result()
    clock.set_wall(clock.now() - 10_000)
    add("error", "short", "h", window_s=60).result()
    assert [row.message for row in catalogue.events.since(0)] == ["a (and 1 more like it)", *"bcdfgh"]


def test_none_is_lost_while_the_writer_is_busy(catalogue: Catalogue) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def busy(database: Connection) -> None:
        begun.set()
        go_on.wait()

    blocked = catalogue.writer.submit(busy)
    begun.wait()
    futures = [catalogue.events.add_folded("error", "failed", "it failed") for _ in range(500)]
    assert len(set(map(id, futures))) == 1  # one change for all of them
    go_on.set()
    blocked.result()
    assert {future.result() for future in futures} == {catalogue.events.newest_id()}
    assert catalogue.events.since(0)[0].fields["count"] == 500


def test_a_row_that_was_taken_back_is_written_again(catalogue: Catalogue) -> None:
    row = catalogue.events.add_folded("error", "failed", "it failed").result()
    catalogue.writer.run(lambda database: database.run("DELETE FROM event WHERE id = ?", (row,)))
    catalogue.events.add("info", "another", "takes the id").result()
    catalogue.events.add_folded("error", "failed", "it failed").result()
    assert [event.message for event in catalogue.events.since(0)] == [
        "takes the id",
        "it failed (and 1 more like it)",
    ]


def test_more_kinds_than_are_remembered_are_still_recorded(catalogue: Catalogue) -> None:
    for _ in range(2):
        futures = [
            catalogue.events.add_folded("info", f"code {number}", "message")
            for number in range(FOLDS_AT_ONCE + 5)
        ]
        for future in futures:
            future.result()
    rows = catalogue.events.since(0, limit=5_000)
    assert sum(row.fields.get("count", 1) for row in rows) == 2 * (FOLDS_AT_ONCE + 5)
    assert len(rows) == FOLDS_AT_ONCE + 10
