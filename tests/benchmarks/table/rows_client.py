"""P8, P11 to P15: what living with the daemon is like."""

import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.table import daemons, trees
from tests.benchmarks.table.harness import REPOSITORY, Contestant, Figure, Row, Sample, Scale, run, workspace
from tests.benchmarks.table.sink import Sink

FILE_TABLES = ("entry", "directory", "extent")
SEGMENT_TABLES = ("segment", "article", "failure")
IDLE_S = 20.0
SETTLE_S = 1.0
SEGMENTS = 20_000


def alone(title: str, unit: str, values: list[float], mark: float, goal: float) -> Figure:
    """A figure without a peer; less is better."""
    samples = [Sample(value) for value in values]
    return Figure(title, unit, Contestant("UsenetSync", samples), [], mark, goal, True)


def living_with_it(scale: Scale) -> dict[str, Row]:
    """One daemon with tree A posted: its catalogue, its idleness, its answers, and small changes."""
    files = scale.of(100_000, 100_000)
    with workspace() as place, Sink() as sink:
        tree = place / "tree"
        size = trees.tree_a(tree, files)
        plain = {"compression": "none", "settle": f"{SETTLE_S}s", "redundancy": {"copies": 1, "parity": 0}}
        with daemons.daemon(place / "one", daemons.server(sink.port), tree, defaults=plain) as running:
            daemons.wait_published(running)
            posted = sink.counts()
            rows = {
                "P14": _disk(running, files, _per_segment(place)),
                "P15": _fill(posted.article_bytes, size),
            }
            rows["P11"] = _idle(running, scale)
            rows |= _changes(running, sink, tree, scale.of(5, 10))
    return rows


def _fill(article_bytes: int, source_bytes: int) -> Row:
    figure = alone("article bytes per source byte", "", [article_bytes / source_bytes], 1.10, 1.05)
    told = "Tree A, incompressible, compression none, copies 1, no parity; index and head are counted, and every header."
    return Row([figure], [told])


def _per_segment(place: Path) -> float:
    """Bytes of the catalogue's tables of segments for each of many, posted; tree A has too few of them to tell."""
    tree = place / "segments"
    trees.tree_of_segments(tree, SEGMENTS)
    with Sink() as sink, daemons.daemon(place / "two", daemons.server(sink.port), tree) as running:
        daemons.wait_published(running)
        database = running.catalogue()
    try:
        segments = int(database.execute("SELECT count(*) FROM segment").fetchone()[0])
        return _table_bytes(database, SEGMENT_TABLES) / segments
    finally:
        database.close()
        shutil.rmtree(tree)


def _disk(running: daemons.Daemon, files: int, per_segment: float) -> Row:
    """Bytes of the catalogue's tables with their indexes; the index as the version was built."""
    database = running.catalogue()
    try:
        per_file = _table_bytes(database, FILE_TABLES) / files
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        whole = pages * database.execute("PRAGMA page_size").fetchone()[0]
    finally:
        database.close()
    how = (
        f"Tree A, {files:,} files. Per file: {', '.join(FILE_TABLES)}; per segment, from {SEGMENTS:,} files of one each: "
        f"{', '.join(SEGMENT_TABLES)}; each with its indexes, as they are after the first publication."
    )
    index_bytes = sum(int(line["index_bytes"]) for line in running.log("version_built"))
    return Row(
        [
            alone("catalogue, per file", "bytes", [per_file], 300, 200),
            alone("catalogue, per segment", "bytes", [per_segment], 120, 80),
            alone("index, per file", "bytes", [index_bytes / files], 60, 40),
            Figure("whole catalogue", "MB", Contestant("UsenetSync", [Sample(whole / 1e6)])),
        ],
        [how],
    )


def _table_bytes(database: sqlite3.Connection, tables: tuple[str, ...]) -> int:
    total = 0
    for table in tables:
        taken = database.execute(
            "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = ?)",
            (table,),
        )
        total += taken.fetchone()[0] or 0
    return total


def _idle(running: daemons.Daemon, scale: Scale) -> Row:
    command = [sys.executable, "-m", "usenetsyncd.cli.usyncctl", "--socket", str(running.socket), "status"]
    asked = [run(command, cwd=REPOSITORY) for _ in range(scale.of(15, 30))]
    started, before = time.monotonic(), running.meter.cpu_s()
    time.sleep(IDLE_S)
    percent = (running.meter.cpu_s() - before) / (time.monotonic() - started) * 100
    status = Contestant("UsenetSync", [Sample(one.seconds * 1e3, one.cpu_s, one.peak_bytes) for one in asked])
    resident = running.meter.resident_bytes() / 1e6
    return Row(
        [
            Figure("usyncctl status", "ms", status, [], 150, 80, True),
            alone("idle daemon, processor", "%", [percent], 1, 0.2),
            alone("idle daemon, memory", "MB", [resident], 120, 70),
        ],
        [f"100,000 files, everything posted; idle for {IDLE_S:.0f} s. Memory is what is resident then."],
    )


def _changes(running: daemons.Daemon, sink: Sink, tree: Path, rounds: int) -> dict[str, Row]:
    """Save a small file again and again, and wait until the version with it is on the server."""
    taken: list[tuple[float, int, int]] = []
    changed = tree / "group-0003" / "folder-07" / "file-0030742.dat"
    assert changed.exists()
    for _ in range(rounds):
        running.wait_idle()
        before, version = sink.counts(), _version(running)
        with changed.open("wb") as saved:
            saved.write(os.urandom(10_000))
        closed = time.monotonic()
        _wait(lambda: _version(running) > version, 60)  # noqa: B023 - runs inside the loop
        took_s, after = time.monotonic() - closed, sink.counts()
        taken.append((took_s, after.articles - before.articles, after.article_bytes - before.article_bytes))
    times = [took_s for took_s, _, _ in taken]
    how = f"A 10 KB file of tree A's 100,000 is saved; settle {SETTLE_S:g} s; until status shows the version."
    return {
        "P8": Row(
            [
                alone(
                    "one changed file: articles", "articles", [float(count) for _, count, _ in taken], 3, 2
                ),
                alone("one changed file: bytes", "KiB", [size / 1024 for _, _, size in taken], 256, 128),
                alone(
                    "one changed file: after the settle", "s", [took_s - SETTLE_S for took_s in times], 3, 1
                ),
            ],
            [how, "The table's row is for 3,000,000 files; this is for 100,000."],
        ),
        "P12": Row([alone("close to head on the server", "s", times, 3, SETTLE_S + 0.3)], [how]),
    }


def _version(running: daemons.Daemon) -> int:
    return int(running.folder(daemons.FOLDER)["version"])


def _wait(come: Callable[[], bool], timeout_s: float, every_s: float = 0.02) -> None:
    ends = time.monotonic() + timeout_s
    while not come():
        if time.monotonic() > ends:
            raise RuntimeError("it does not come")
        time.sleep(every_s)


def p13(scale: Scale) -> dict[str, Row]:
    """kill -9 with a long queue, and how long the next life takes to its first article."""
    files = scale.of(100_000, 1_000_000)
    times: list[float] = []
    with workspace() as place:
        tree = place / "tree"
        trees.tree_of_segments(tree, files)
        with Sink() as unused:
            port = unused.port
        with daemons.daemon(place / "one", daemons.server(port), tree) as running:
            running.wait_ready()
            _wait(lambda: bool(running.log("folder_scanned")), 900, 0.2)
            for _ in range(scale.rounds):
                running.meter.close()
                running.kill()
                with Sink(port=port) as sink:
                    started = time.monotonic()
                    running.begin()
                    _wait(lambda: sink.counts().articles > 0, 120, 0.005)
                    times.append(time.monotonic() - started)
                    assert running.process is not None
                    running.process.send_signal(signal.SIGKILL)
            database = running.catalogue()
            waiting = database.execute("SELECT count(*) FROM article WHERE state > 0").fetchone()[0]
            database.close()
    figure = alone("kill -9 to the first article", "s", times, 30, 5)
    note = f"{files:,} files of a segment each; {waiting:,} articles still waiting after the last kill."
    return {
        "P13": Row([figure], [note, "The table's row is for 1,000,000 queued articles and 3,000,000 files."])
    }
