"""Our side as people run it: a daemon process, watched from outside."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.table.harness import Meter, Sample, fresh
from tests.daemon.harness import DaemonProcess

LONGEST_S = 1_800.0
FOLDER = "src"


class Daemon(DaemonProcess):
    """A daemon with a meter on it."""

    meter: Meter

    def begin(self) -> None:
        self.launch()
        assert self.process is not None
        self.meter = Meter(self.process.pid)

    def finish(self) -> None:
        self.meter.close()
        self.end()


def server(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "main", "host": "127.0.0.1", "port": port, "tls": "none", "connections": 8, **more}


def configuration(
    place: Path, account: dict[str, Any], tree: Path | None, settle_s: float = 1.0
) -> dict[str, Any]:
    return {
        "version": 1,
        "servers": [account],
        "newsgroups": ["alt.binaries.test"],
        # No row of the table counts parity as work; where it is on, the row says so.
        "defaults": {"settle": f"{settle_s}s", "redundancy": {"copies": 1, "parity": "0%"}},
        "folders": [{"id": FOLDER, "path": str(tree)}] if tree else [],
        "storage": {"data_dir": str(place / "data"), "min_free": 0},
        "control": {"socket": str(place / "s"), "group": None},
        "log": {"format": "json", "level": "info"},
    }


@contextmanager
def daemon(place: Path, account: dict[str, Any], tree: Path | None, **more: Any) -> Iterator[Daemon]:
    """One daemon with a fresh data directory, started on entry; not waited for."""
    environ = more.pop("environ", {})
    made = Daemon(fresh(place), {**configuration(place, account, tree), **more}, environ=environ)
    made.begin()
    try:
        yield made
    finally:
        made.finish()


def wait_published(running: Daemon) -> None:
    """Until its folder is scanned, posted and published."""
    running.wait_ready()
    running.wait_idle(LONGEST_S)
    folder = running.folder(FOLDER)
    if not folder["version"]:
        raise RuntimeError(f"idle, but nothing is published: {folder}")


def post(place: Path, account: dict[str, Any], tree: Path, amount: float, **more: Any) -> Sample:
    """Launch a daemon with a folder that it does not know; the rate from there until all is published."""
    started = time.perf_counter()
    with daemon(place, account, tree, **more) as running:
        wait_published(running)
        seconds = time.perf_counter() - started
        running.meter.sample()
        return Sample(amount / seconds, running.meter.cpu_s(), running.meter.peak_bytes)


def post_while_running(place: Path, account: dict[str, Any], tree: Path, amount: float) -> Sample:
    """A daemon that runs is given a folder by a reload; the rate from there until all is published.

    Its processor time from there, too: it is started once and posts for years.
    """
    with daemon(place, account, None) as running:
        running.wait_ready()
        running.wait_idle(LONGEST_S)
        running.config["folders"] = [{"id": FOLDER, "path": str(tree)}]
        running.write_config()
        before_s, started = running.meter.cpu_s(), time.perf_counter()
        running.post("/config/reload")
        running.wait_idle(LONGEST_S)
        seconds = time.perf_counter() - started
        if not running.folder(FOLDER)["version"]:
            raise RuntimeError("idle, but nothing is published")
        running.meter.sample()
        return Sample(amount / seconds, running.meter.cpu_s() - before_s, running.meter.peak_bytes)
