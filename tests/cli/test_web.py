"""``usyncctl web`` and ``usyncctl metrics``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SOCKET, Run
from tests.control.web.small_dashboard import SmallDashboard
from usenetsyncd.control.listener import Listener
from usenetsyncd.control.schema.web import WebLogin
from usenetsyncd.errors import ExitCode, UsageError


class Off(SmallDashboard):
    """Without a dashboard."""

    def web_login(self) -> WebLogin:
        raise UsageError("the dashboard is off")


@pytest.fixture
def dashboard(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDashboard]:
    daemon = SmallDashboard()
    path = short_dir / "web.sock"
    monkeypatch.setenv(SOCKET, str(path))
    listener = Listener(daemon, path)
    listener.start()
    yield daemon
    listener.stop(1.0)


def test_the_link_alone_goes_to_standard_output(dashboard: SmallDashboard, run: Run) -> None:
    told = run("web")
    assert (told.code, told.out) == (0, "http://127.0.0.1:8734/login#word\n")
    assert "one login within 5m" in told.err
    assert run("web", "--json").document["url"] == "http://127.0.0.1:8734/login#word"


def test_metrics_are_text(dashboard: SmallDashboard, run: Run) -> None:
    told = run("metrics")
    assert (told.code, told.out) == (0, "usenetsyncd_ready 1.0\n")


def test_without_a_dashboard_it_says_so(short_dir: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    path = short_dir / "off.sock"
    monkeypatch.setenv(SOCKET, str(path))
    listener = Listener(Off(), path)
    listener.start()
    try:
        told = run("web")
    finally:
        listener.stop(1.0)
    assert told.code == ExitCode.USAGE
    assert "the dashboard is off" in told.err
