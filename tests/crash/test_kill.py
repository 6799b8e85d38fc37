"""kill -9 at random moments: nothing lost, nothing torn, nothing posted twice, nothing hashed twice."""

import os
import random
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.moments import after_bodies, while_sending
from tests.daemon.harness import DaemonProcess, World, assert_restored
from tests.daemon.trees import describe, differences, edit_some, write_files

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "30"))
SEED = int(os.environ.get("CRASH_SEED", "7"))
# Of all kills, those that hit a restore; the rest hit indexing, uploading, publishing.
RESTORE_SHARE = 4
# Articles asked for and not yet placed when the process dies: connections times those under way on each.
IN_FLIGHT = 64

Key = tuple[bytes, int, int, int, int]
"""Path, size, mtime, ctime, inode."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a catalogue holds: files with a hash by entry, and the entries of each segment that is not posted."""

    files: dict[int, Key] = field(default_factory=dict)
    waiting: tuple[set[int], ...] = ()


def test_no_kill_while_sending_loses_tears_or_repeats_anything(here: World) -> None:
    dice = random.Random(SEED)
    write_files(here.source, 3_000, dice, largest=6_000, per_folder=150)
    for number in range(8):
        (here.source / f"large {number}").write_bytes(dice.randbytes(dice.randrange(800_000, 4_000_000)))
    one = here.daemon()
    heads: dict[int, bytes] = {}
    known = Committed()
    kills = ROUNDS - ROUNDS // RESTORE_SHARE
    for number in range(kills):
        lines = len(one.log("folder_scanned"))
        phase, moment = while_sending(here, one, dice)
        due = _to_hash(here.source, known)
        one.launch()
        moment()
        one.kill()
        told = f"kill {number} in {phase}"
        here.assert_posted_once()
        known = _committed(one, heads, told)
        for line in one.log("folder_scanned")[lines : lines + 1]:
            assert line["files_hashed"] <= due, f"{told}: {line}, but only {due} were not committed"
        edit_some(here.source, dice)
    one.start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    here.assert_posted_once()
    two = here.reader().start()
    assert_restored(two, string, here.source, here.place / "out")
    assert not [event for event in one.events() if event["level"] == "error"]
    assert one.stop() == 0
    _committed(one, heads, "the end")


def test_a_restore_killed_at_any_moment_goes_on_and_fetches_nothing_placed_again(here: World) -> None:
    dice = random.Random(SEED + 1)
    write_files(here.source, 1_500, dice, largest=12_000)
    for number in range(12):
        (here.source / f"large {number}").write_bytes(dice.randbytes(dice.randrange(1_000_000, 4_000_000)))
    one = here.daemon().start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    articles = here.posts()
    # Slow enough that a kill hits the middle.
    here.server.faults.set([{"match": {"command": "BODY"}, "act": {"delay": 0.02}}])
    two = here.reader().start()
    kills = max(2, ROUNDS // RESTORE_SHARE)
    target, asked, job = here.place / "out", 0, 0
    for number in range(kills):
        if job == 0:
            before = here.server.counters.commands["BODY"]
            job, hits = two.begin_restore(string, target), 0
        after_bodies(here, dice.randint(1, articles // 3))()
        two.kill()
        hits += 1
        two.start()
        if two.job(job)["state"] == "done" or number == kills - 1:
            result = two.wait_job(job)
            assert result["state"] == "done", result
            asked = here.server.counters.commands["BODY"] - before
            # Of a segment that was under way when the process died nothing had been placed.
            assert asked <= articles + hits * IN_FLIGHT, (
                f"{asked} asked for {articles} articles in {hits} lives"
            )
            _assert_same(here.source, target)
            shutil.rmtree(target)
            job = 0
    assert asked


def _assert_same(source: Path, target: Path) -> None:
    told = differences(describe(source), describe(target))
    assert not told, "\n".join(told)
    assert not list(target.rglob("*.part"))


def _committed(daemon: DaemonProcess, heads: dict[int, bytes], told: str) -> Committed:
    """Check a dead daemon's catalogue; what it holds of the files."""
    database = daemon.catalogue()
    try:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'folder'").fetchone():
            return Committed()
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), told
        assert database.execute("SELECT coalesce(max(generation), 0) FROM article").fetchone() == (0,), told
        _note_heads(database, heads, told)
        waiting: dict[int, set[int]] = {}
        for segment, entry in database.execute(
            "SELECT x.segment_id, x.entry_id FROM extent x JOIN article a ON a.segment_id = x.segment_id WHERE a.state > 0"
        ):
            waiting.setdefault(segment, set()).add(entry)
        rows = database.execute(
            "SELECT e.id, d.path, e.name, e.size, e.mtime_ns, e.ctime_ns, e.inode FROM entry e "
            "JOIN directory d ON d.id = e.directory_id WHERE e.kind = 1 AND e.hash IS NOT NULL"
        )
        files = {entry: (path + b"/" + name if path else name, *key) for entry, path, name, *key in rows}
        return Committed(files, tuple(waiting.values()))
    finally:
        database.close()


def _note_heads(database: sqlite3.Connection, heads: dict[int, bytes], told: str) -> None:
    """A number whose head may have left must stand for that head for ever."""
    rows = database.execute(
        "SELECT v.version, v.head_hash FROM version v JOIN article a ON a.segment_id = v.head_segment_id "
        "WHERE a.attempts > 0 OR a.state = 0"
    )
    for version, head_hash in rows:
        assert heads.setdefault(version, head_hash) == head_hash, f"{told}: version {version} has two heads"


def _to_hash(root: Path, known: Committed) -> int:
    """Files with content that must be read: not known as they are now, or in a segment with one that is not.

    Such a segment can never be posted; what else it was to hold is packed anew.
    """
    now: set[Key] = set()
    for path in root.rglob("*"):
        status = path.lstat()
        if path.is_file() and not path.is_symlink() and status.st_size:
            times = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            now.add((os.fsencode(path.relative_to(root)), status.st_size, *times))
    kept = {entry for entry, key in known.files.items() if key in now}
    for members in known.waiting:
        if not members <= kept:
            kept -= members
    return len(now) - len(kept)
