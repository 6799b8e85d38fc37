"""A reload is applied whole or not at all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.driving import configuration
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.daemon.reload import Reloader
from usenetsyncd.errors import CatalogueError, ConfigurationError
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.news.backoff import Backoff, Strategy
from usenetsyncd.news.replies import Step
from usenetsyncd.settings.layers import load_settings


class Brittle(Daemon):
    """A whole daemon in which one step may be told to fail once."""

    failing = ""

    def _fail_if(self, step: str) -> None:
        if self.failing == step:
            self.failing = ""
            raise CatalogueError(f"{step} failed")

    def fill_timetable(self) -> None:
        self._fail_if("timetable")
        super().fill_timetable()

    def apply_limits(self) -> None:
        self._fail_if("limits")
        super().apply_limits()


class Running:
    """A started daemon, its configuration file and its reloader."""

    def __init__(self, place: Path, server: tuple[str, int]) -> None:
        self.place, self.server = place, server
        self.config = self.write({"docs": place / "docs"})
        self.daemon = Brittle(load_settings(self.config), SYSTEM_CLOCK)
        self.reloader = Reloader(self.daemon, lambda: load_settings(self.config))

    def write(self, folders: dict[str, Path], more: str = "", connections: int = 2) -> Path:
        for path in folders.values():
            path.mkdir(exist_ok=True)
        return configuration(self.place, self.server, folders, connections, more)

    def state(self) -> tuple[object, ...]:
        daemon = self.daemon
        (server,) = daemon.news.snapshot()
        return (
            sorted(folder.name for folder in daemon.folders),
            server.connections_max,
            daemon.news._up.bytes_per_s,
            sorted(name for name in daemon.timetable.next_runs() if name.startswith("rescan:")),
            daemon.loaded,
        )


@pytest.fixture
def running(short_dir: Path) -> Iterator[Running]:
    with LoopbackServer(short_dir / "spool") as server:
        made = Running(short_dir, server.address)
        made.daemon.start()
        try:
            yield made
        finally:
            made.daemon.stop()


def change(running: Running) -> None:
    running.write(
        {"docs": running.place / "docs", "photos": running.place / "photos"},
        more="limits: {upload: 3 MB/s}\n",
        connections=5,
    )


def test_a_reload_applies_accounts_folders_limits_and_timetable(running: Running) -> None:
    change(running)
    reloaded = running.reloader.reload()
    folders, connections, rate, rescans, _ = running.state()
    assert folders == ["docs", "photos"]
    assert (connections, rate) == (5, 3e6)
    assert rescans == ["rescan:docs", "rescan:photos"]
    assert "limits.upload" in {change.key for change in reloaded.changes}
    assert running.reloader.compare() == []


def test_a_reload_changes_what_is_done_about_a_reply(running: Running) -> None:
    rule = "{wait: 1s, tries: 7, strategy: fibonacci, longest: 4s, jitter: 0%, rest: 9s}"
    running.write({"docs": running.place / "docs"}, more=f"retry: {{441: {rule}}}\n")
    assert "retry.441" in {change.key for change in running.reloader.reload().changes}
    row = running.daemon.news._table.find(Step.ARTICLE, 441, "posting failed")
    assert (row.backoff, row.rest_s) == (Backoff(Strategy.FIBONACCI, 1, 7, 0, 4), 9)
    running.write({"docs": running.place / "docs"})
    running.reloader.reload()
    assert running.daemon.news._table.find(Step.ARTICLE, 441, "posting failed").backoff.attempts == 3


@pytest.mark.parametrize("step", ["timetable", "limits"])
def test_a_commit_that_fails_puts_the_old_settings_back_in_every_part(running: Running, step: str) -> None:
    before = running.state()
    change(running)
    running.daemon.failing = step
    with pytest.raises(CatalogueError):
        running.reloader.reload()
    assert running.state() == before
    change(running)
    running.reloader.reload()
    assert running.state()[:3] == (["docs", "photos"], 5, 3e6)


def test_a_file_that_may_not_be_read_any_more_takes_no_folder_away(running: Running) -> None:
    before = running.state()
    left_out = replace(load_settings(None, (), {"HOME": "/"}), left_out=(running.config,))
    with pytest.raises(ConfigurationError, match="may not be read any more"):
        Reloader(running.daemon, lambda: left_out).reload()
    assert running.state() == before


def test_settings_that_make_no_sense_change_nothing(running: Running) -> None:
    before = running.state()
    running.config.write_text(running.config.read_text() + "limits: {upload: fast}\n")
    with pytest.raises(ConfigurationError):
        running.reloader.reload()
    assert running.state() == before


def test_a_signal_with_bad_settings_is_an_event_and_not_an_end(running: Running) -> None:
    before = running.state()
    running.config.write_text("version: 1\nfolders: 7\n")
    running.reloader.reload_or_keep()
    running.daemon.catalogue.writer.run(lambda database: None)
    assert running.state() == before
    assert "reload_failed" in {event.code for event in running.daemon.catalogue.events.latest()}


def test_what_needs_a_restart_is_said_and_waits(running: Running) -> None:
    text = running.config.read_text()
    running.config.write_text(text.replace(str(running.place / "data"), str(running.place / "elsewhere")))
    reloaded = running.reloader.reload()
    assert reloaded.restart_needed == ("storage.data_dir",)
    assert running.daemon.restart_needed == ("storage.data_dir",)
    assert not (running.place / "elsewhere").exists()
