"""usyncctl in this process, in front of a small daemon on a real socket."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.control.small_daemon import SmallDaemon
from usenetsyncd.cli import usyncctl
from usenetsyncd.control.listener import Listener

SOCKET = "USENETSYNCD_SOCKET"


@dataclass(frozen=True)
class Outcome:
    """One call of the command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        (line,) = self.lines
        return line

    @property
    def lines(self) -> list[dict[str, Any]]:
        """One JSON object a line."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(line["schema"] == 1 for line in found)
        return found


class Standard(io.TextIOWrapper):
    """Standard input with a few bytes in it, on a terminal or not."""

    def __init__(self, content: bytes, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, short_dir: Path) -> Iterator[None]:
    """No daemon of this machine, no configuration of this user."""
    monkeypatch.setenv(SOCKET, str(short_dir / "none.sock"))
    monkeypatch.setenv("HOME", str(short_dir))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_dir / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(short_dir / "state"))
    monkeypatch.setenv("TZ", "UTC")
    with capture_logs():
        yield


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: str, stdin: bytes | None = None) -> Outcome:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", Standard(stdin))
        code = usyncctl.main(arguments)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def daemon() -> SmallDaemon:
    return SmallDaemon()


@pytest.fixture
def listener(daemon: SmallDaemon, short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    listener = Listener(daemon, short_dir / "control.sock")
    monkeypatch.setenv(SOCKET, str(listener.path))
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(1.0)
