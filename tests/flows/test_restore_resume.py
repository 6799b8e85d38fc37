"""A restore that was stopped or killed goes on: nothing that was placed is fetched again, parts are resumed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.flows.driving import wait_until
from tests.flows.hostile import Publisher, Reader, leaf_of
from usenetsyncd.errors import Cancelled
from usenetsyncd.flows import restore
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import Entry, EntryKind, Extent, RelativePath

SLICE = 768_000
LARGE_SLICES = 30
WHOLE_FILES = 30


def published(publisher: Publisher) -> dict[str, bytes]:
    """One file of 30 segments and 30 files of one segment each; path -> content."""
    large = os.urandom(SLICE * LARGE_SLICES)
    slices = [large[at : at + SLICE] for at in range(0, len(large), SLICE)]
    extents = tuple(Extent(publisher.segment(one), 0, len(one)) for one in slices)
    contents = {"large": large}
    entries = [
        Entry(
            RelativePath(b"large"),
            EntryKind.FILE,
            size=len(large),
            content_hash=publisher.hash_of(large),
            extents=extents,
        )
    ]
    for number in range(WHOLE_FILES):
        content = os.urandom(100_000)
        entries.append(publisher.file(b"whole%02d" % number, content))
        contents[f"whole{number:02}"] = content
    publisher.publish(publisher.index([leaf_of(entries)]))
    return contents


def bodies(server: LoopbackServer) -> int:
    return server.counters.commands["BODY"]


def check_restored(target: Path, contents: dict[str, bytes]) -> None:
    assert sorted(os.listdir(target)) == sorted(contents)  # and no temporary file is left
    for path, content in contents.items():
        assert (target / path).read_bytes() == content


def test_a_stopped_restore_goes_on_without_fetching_again(
    server: LoopbackServer,
    publisher: Publisher,
    reader: Reader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contents = published(publisher)
    monkeypatch.setattr(restore, "FETCH_BATCH", 8)
    target, segments = tmp_path / "target", LARGE_SLICES + WHOLE_FILES
    stop, rounds, before = threading.Event(), 0, bodies(server)
    summary = None
    while summary is None:
        assert rounds < 40
        rounds += 1
        stop.clear()
        reader.progress = _StopAfter(2, stop)  # type: ignore[assignment]
        try:
            summary = reader.restore(publisher.access, target, stop)
        except Cancelled:
            continue
    assert rounds > 2
    assert summary.failed == 0
    check_restored(target, contents)
    # Beside the segments, each once: envelope and head in each round, and one index segment.
    assert bodies(server) - before <= segments + 2 * rounds + 1


class _StopAfter(list[object]):
    """Stops a restore after some reports."""

    def __init__(self, reports: int, stop: threading.Event) -> None:
        super().__init__()
        self.left, self.stop = reports, stop

    def append(self, report: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.set()


def test_a_killed_restore_goes_on_without_fetching_again(
    server: LoopbackServer, publisher: Publisher, reader: Reader, tmp_path: Path
) -> None:
    contents = published(publisher)
    target = tmp_path / "target"
    before = bodies(server)
    command = [sys.executable, "-m", "tests.flows.restoring", publisher.access, *map(str, server.address)]
    command += [str(target), str(reader.work / "plan")]
    killed = 0
    for wanted in (15, 35):
        with subprocess.Popen(command) as child:
            wait_until(
                lambda wanted=wanted: bodies(server) - before > wanted or child.poll() is not None, "bodies"
            )
            child.send_signal(signal.SIGKILL)
        killed += child.returncode == -signal.SIGKILL
    assert killed
    on_the_way = bodies(server) - before
    summary = reader.restore(publisher.access, target)
    assert summary.failed == 0
    check_restored(target, contents)
    assert on_the_way < LARGE_SLICES + WHOLE_FILES
    # What was asked for and not yet written when the process died is asked for once more; nothing else is.
    lost_per_kill = 2 * 2 * 10
    assert bodies(server) - before <= LARGE_SLICES + WHOLE_FILES + 3 * 3 + killed * lost_per_kill


def test_parts_that_did_not_last_are_fetched_once_more(
    publisher: Publisher, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power failure: the plan says that parts were written, the disk has other bytes."""
    contents = published(publisher)
    monkeypatch.setattr(restore, "FETCH_BATCH", 8)
    target, stop = tmp_path / "target", threading.Event()
    reader.progress = _StopAfter(1, stop)  # type: ignore[assignment]
    with pytest.raises(Cancelled):
        reader.restore(publisher.access, target, stop)
    (part,) = (name for name in os.listdir(target) if name.startswith("."))
    with (target / part).open("r+b") as spoilt:
        spoilt.write(b"other bytes" * 100)
    reader.progress = []
    summary = reader.restore(publisher.access, target)
    assert summary.failed == 0
    check_restored(target, contents)
