"""One writer: group commit, failures kept apart, durability, back-pressure, death."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from usenetsyncd.catalogue import database
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.errors import Cancelled, CatalogueDamaged, CatalogueError, DiskFull


def put(key: str, value: str = "v") -> Any:
    return lambda connection: (
        connection.run("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value)).rowcount
    )


def keys(catalogue: Catalogue) -> set[str]:
    return {row[0] for row in catalogue._readers.fetch("SELECT key FROM meta")}


def block(writer: Writer) -> threading.Event:
    """Keep the writer busy until the event is set, so that what follows lands in one group."""
    go, entered = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        entered.set()
        go.wait(20)

    writer.submit(wait)
    assert entered.wait(20)
    return go


def test_a_future_resolves_with_what_the_intent_returned_and_after_the_commit(catalogue: Catalogue) -> None:
    assert catalogue.writer.submit(put("a")).result() == 1
    assert catalogue.values.get("a") == "v"


def test_intents_that_wait_together_are_committed_together(catalogue: Catalogue) -> None:
    go = block(catalogue.writer)
    seen: list[bool] = []
    futures: list[Future[Any]] = [catalogue.writer.submit(put(f"k{number}")) for number in range(20)]
    futures[0].add_done_callback(lambda _: seen.append(len(keys(catalogue)) >= 20))
    go.set()
    for future in futures:
        future.result(20)
    assert seen == [True]


def test_a_failing_intent_fails_alone_and_leaves_nothing_behind(catalogue: Catalogue) -> None:
    go = block(catalogue.writer)

    def half(connection: Connection) -> None:
        connection.run("INSERT INTO meta (key, value) VALUES ('half', 'x')")
        raise ValueError("changed my mind")

    before, bad, after = (catalogue.writer.submit(intent) for intent in (put("before"), half, put("after")))
    go.set()
    assert before.result(20) == 1
    assert after.result(20) == 1
    with pytest.raises(ValueError, match="changed my mind"):
        bad.result(20)
    assert keys(catalogue) == {"before", "after"}
    assert catalogue.writer.failed is None


def test_a_failing_bulk_intent_leaves_nothing_behind_either(catalogue: Catalogue) -> None:
    def half(connection: Connection) -> None:
        connection.run("INSERT INTO meta (key, value) VALUES ('half', 'x')")
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        catalogue.writer.submit(half, alone=True).result()
    assert keys(catalogue) == set()
    assert catalogue.writer.run(put("after")) == 1


def test_wrong_sql_is_a_catalogue_error_of_its_submitter(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="no such table"):
        catalogue.writer.run(lambda connection: connection.run("DELETE FROM absent"))
    assert catalogue.writer.run(put("after")) == 1


def test_a_durable_intent_is_committed_with_fsync_and_others_are_not(catalogue: Catalogue) -> None:
    def mode(connection: Connection) -> int:
        return int(connection.run("PRAGMA synchronous").fetchone()[0])

    normal, full = 1, 2
    assert catalogue.writer.submit(mode).result() == normal
    assert catalogue.writer.submit(mode, durable=True).result() == full
    assert catalogue.writer.submit(mode).result() == normal
    go = block(catalogue.writer)
    group = [catalogue.writer.submit(mode), catalogue.writer.submit(mode, durable=True)]
    go.set()
    assert [future.result() for future in group] == [full, full]


def test_a_full_queue_makes_submitters_wait(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    database.prepare(path)
    writer = Writer(path, queue_limit=5)
    go = block(writer)
    count = []

    def submit() -> None:
        for number in range(12):
            writer.submit(put(f"k{number}"))
            count.append(number)

    thread = threading.Thread(target=submit)
    thread.start()
    deadline = time.monotonic() + 20
    while len(count) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(count) == 5
    go.set()
    thread.join(20)
    writer.flush()
    assert len(count) == 12
    writer.close()


def test_an_intent_that_submits_is_told_off_instead_of_hanging(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="must not submit"):
        catalogue.writer.run(lambda _: catalogue.writer.run(put("inner")))


def test_a_cancelled_future_is_not_run(catalogue: Catalogue) -> None:
    go = block(catalogue.writer)
    future = catalogue.writer.submit(put("never"))
    assert future.cancel()
    go.set()
    catalogue.writer.flush()
    assert keys(catalogue) == set()


def test_close_commits_what_is_queued_and_refuses_what_comes_later(tmp_path: Path) -> None:
    catalogue = Catalogue.open(tmp_path / "catalogue.db")
    go = block(catalogue.writer)
    futures = [catalogue.writer.submit(put(f"k{number}")) for number in range(10)]
    closer = threading.Thread(target=catalogue.close)
    closer.start()
    go.set()
    closer.join(20)
    assert all(future.result() == 1 for future in futures)
    with pytest.raises(Cancelled):
        catalogue.writer.submit(put("late"))
    assert not (tmp_path / "catalogue.db-wal").exists()


def test_a_full_disk_fails_the_change_and_work_goes_on_when_there_is_room(catalogue: Catalogue) -> None:
    def limit(pages: int) -> Any:
        return lambda connection: connection.run(f"PRAGMA max_page_count = {pages}").fetchone()[0]

    used = catalogue.writer.run(lambda connection: connection.run("PRAGMA page_count").fetchone()[0])
    catalogue.writer.run(limit(used + 2))
    with pytest.raises(DiskFull, match="free some space"):
        catalogue.writer.run(put("big", "x" * 200_000))
    with pytest.raises(DiskFull):
        catalogue.writer.submit(put("big", "x" * 200_000), alone=True).result()
    assert catalogue.writer.failed is None
    assert catalogue.writer.run(put("small")) == 1
    catalogue.writer.run(limit(1_000_000))
    assert catalogue.writer.run(put("big", "x" * 200_000)) == 1
    assert catalogue.check(full=True).healthy


def test_another_writer_in_the_way_fails_the_group_and_nobody_hangs(catalogue: Catalogue) -> None:
    catalogue.writer.run(lambda connection: connection.run("PRAGMA busy_timeout = 10").fetchone())
    intruder = database.open_writable(catalogue.path)
    intruder.run("BEGIN IMMEDIATE")
    go = [catalogue.writer.submit(put(f"k{number}")) for number in range(3)]
    for future in go:
        with pytest.raises(CatalogueError, match="locked"):
            future.result(20)
    intruder.run("ROLLBACK")
    intruder.close()
    assert catalogue.writer.run(put("after")) == 1


def test_a_dead_writer_is_visible_and_nobody_waits_for_it(tmp_path: Path) -> None:
    catalogue = Catalogue.open(tmp_path / "catalogue.db")
    go = block(catalogue.writer)

    def damaged(_: Connection) -> None:
        raise CatalogueDamaged("page 7 is not what it was")

    first, second = catalogue.writer.submit(damaged), catalogue.writer.submit(put("never"))
    go.set()
    with pytest.raises(CatalogueDamaged):
        first.result(20)
    with pytest.raises(CatalogueError):
        second.result(20)
    catalogue.writer._thread.join(20)
    assert isinstance(catalogue.writer.failed, CatalogueDamaged)
    assert not catalogue.writer.alive
    with pytest.raises(CatalogueError, match="writer has ended"):
        catalogue.writer.submit(put("late"))
    catalogue.close()


def test_the_wal_is_cut_by_a_checkpoint(catalogue: Catalogue) -> None:
    catalogue.writer.run(put("big", "x" * 500_000))
    wal = Path(f"{catalogue.path}-wal")
    assert wal.stat().st_size > 500_000
    assert catalogue.writer.checkpoint()
    assert wal.stat().st_size == 0


KILLED = """
import sys
from pathlib import Path
from usenetsyncd.catalogue.catalogue import Catalogue
catalogue = Catalogue.open(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    futures = [catalogue.values.set(f"k{number + n}", "x" * 300) for n in range(20)]
    for future in futures:
        future.result()
    number += 20
    print(number, flush=True)
"""


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    acknowledged = 0
    for run in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(acknowledged)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(10 + 17 * run)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
        child.stdout.close()
        child.wait()
        acknowledged = int([line for line in lines if line.endswith(b"\n")][-1])
        with Catalogue.open(path) as catalogue:
            found = keys(catalogue)
            assert {f"k{number}" for number in range(acknowledged)} <= found
            assert catalogue.check(full=True).healthy
