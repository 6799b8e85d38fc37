"""Moments at which to kill a daemon, chosen by watching what it does."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.daemon.harness import DaemonProcess, World

LONGEST_S = 2.5
STEP_S = 0.001

Moment = Callable[[], None]


def after_commits(daemon: DaemonProcess, count: int) -> Moment:
    """When the write-ahead log of its catalogue has grown so often."""
    log = daemon.data_dir / "catalogue.sqlite-wal"
    seen = [_stamp(log), 0]

    def grown() -> bool:
        now = _stamp(log)
        if now != seen[0]:
            seen[:] = [now, seen[1] + 1]
        return seen[1] >= count

    return lambda: _watch(grown)


def after_posts(world: World, count: int) -> Moment:
    """When the server has been asked to take so many more articles; their answers may be under way."""
    before = world.server.counters.commands["POST"]
    return lambda: _watch(lambda: world.server.counters.commands["POST"] - before >= count)


def after_line(daemon: DaemonProcess, event: bytes, delay_s: float) -> Moment:
    """So long after it has logged an event."""
    start = daemon.log_file.stat().st_size if daemon.log_file.exists() else 0
    needle = b'"event":"' + event

    def logged() -> bool:
        with daemon.log_file.open("rb") as opened:
            opened.seek(start)
            return needle in opened.read().replace(b'": "', b'":"')

    def moment() -> None:
        _watch(logged)
        time.sleep(delay_s)

    return moment


def after_bodies(world: World, count: int) -> Moment:
    """When so many more articles have been asked for."""
    before = world.server.counters.commands["BODY"]
    return lambda: _watch(lambda: world.server.counters.commands["BODY"] - before >= count)


def after_time(delay_s: float) -> Moment:
    """Just then."""
    return lambda: time.sleep(delay_s)


def while_sending(world: World, daemon: DaemonProcess, dice: random.Random) -> tuple[str, Moment]:
    """One of them, for a daemon that has something to index, upload and publish."""
    phase = dice.choice(("start", "index", "index", "upload", "upload", "upload", "publish", "publish"))
    if phase == "start":
        return phase, after_time(dice.uniform(0.0, 1.5))
    if phase == "index":
        return phase, after_commits(daemon, dice.randint(1, 12))
    if phase == "upload":
        return phase, after_posts(world, dice.randint(1, 12))
    event = dice.choice((b"version_built", b"version_published", b"folder_scanned"))
    return f"publish ({event.decode()})", after_line(daemon, event, dice.choice((0.0, 0.002, 0.01, 0.05)))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _watch(come: Callable[[], bool]) -> None:
    """A moment that does not come is one as well: the daemon had nothing to do."""
    ends = time.monotonic() + LONGEST_S
    while not come() and time.monotonic() < ends:
        time.sleep(STEP_S)
