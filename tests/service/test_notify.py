"""What systemd hears, over a real datagram socket."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from usenetsyncd.service import Notifier


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind("\0" + address[1:] if address.startswith("@") else address)
        self._channel.settimeout(10)

    def heard(self) -> list[str]:
        """The next message, as its lines."""
        return self._channel.recv(65536).decode().split("\n")

    def heard_nothing_more(self) -> bool:
        self._channel.setblocking(False)
        try:
            self._channel.recv(1)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def manager(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    listening = Manager(str(short_dir / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", listening.address)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield listening
    listening.close()


def test_start_status_and_stop_reach_the_service_manager(manager: Manager) -> None:
    notifier = Notifier()
    assert notifier.active
    notifier.status("scanning docs")
    notifier.ready()
    notifier.watchdog()
    notifier.stopping()
    assert [manager.heard() for _ in range(4)] == [
        ["STATUS=scanning docs"],
        ["READY=1"],
        ["WATCHDOG=1"],
        ["STOPPING=1"],
    ]


def test_a_reload_says_when_it_began_and_that_it_is_over(manager: Manager) -> None:
    notifier = Notifier()
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready("reloaded, 2 changes")
    first, when = manager.heard()
    assert first == "RELOADING=1"
    assert before_us <= int(when.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert manager.heard() == ["READY=1", "STATUS=reloaded, 2 changes"]


def test_a_file_name_cannot_forge_a_message(manager: Manager) -> None:
    Notifier().status("uploading a\nSTOPPING=1\x1b[2J\udcff.txt")
    assert manager.heard() == ["STATUS=uploading a?STOPPING=1?[2J?.txt"]


def test_a_long_status_is_cut(manager: Manager) -> None:
    Notifier().status("x" * 5000)
    (line,) = manager.heard()
    assert len(line) < 400
    assert line.endswith("…")


def test_the_same_status_is_sent_once(manager: Manager) -> None:
    notifier = Notifier()
    notifier.status("idle")
    notifier.status("idle")
    notifier.status("busy")
    assert [manager.heard(), manager.heard()] == [["STATUS=idle"], ["STATUS=busy"]]
    assert manager.heard_nothing_more()


def test_watchdog_interval_is_half_of_what_systemd_allows(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Notifier().watchdog_interval_s is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert Notifier().watchdog_interval_s == 15.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Notifier().watchdog_interval_s == 15.0


def test_a_watchdog_meant_for_another_process_is_not_ours(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().watchdog_interval_s is None


@pytest.mark.parametrize("nonsense", ["", "0", "-5", "soon"])
def test_a_senseless_watchdog_time_means_nobody_watches(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, nonsense: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", nonsense)
    assert Notifier().watchdog_interval_s is None


def test_without_a_service_manager_every_call_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    notifier = Notifier()
    assert not notifier.active
    assert notifier.watchdog_interval_s is None
    notifier.reloading()
    notifier.ready("up")
    notifier.status("idle")
    notifier.watchdog()
    notifier.stopping()


def test_a_service_manager_that_went_away_does_not_stop_the_daemon(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "gone"))
    Notifier().ready()


SPEAK = """
    import sys
    {before}
    from usenetsyncd.service import Notifier
    Notifier().ready("up and running")
    print("systemd._daemon" in sys.modules)
"""


def _speak_from_another_process(address: str, before: str = "") -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SPEAK).format(before=before)],
        env={**os.environ, "NOTIFY_SOCKET": address},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.mark.requires("systemd-python")
def test_systemd_python_speaks_where_it_is_installed(manager: Manager) -> None:
    assert _speak_from_another_process(manager.address) == "True"
    assert manager.heard() == ["READY=1", "STATUS=up and running"]


@pytest.mark.requires("systemd-python")
def test_the_libsystemd_of_this_machine_refuses_what_we_report_as_a_warning(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from systemd.daemon import notify

    monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "gone"))
    with pytest.raises(OSError, match="No such file"):
        notify("READY=1")


WITHOUT_SYSTEMD = "sys.modules['systemd'] = None"


def test_the_same_words_go_out_without_systemd_python(manager: Manager) -> None:
    assert _speak_from_another_process(manager.address, WITHOUT_SYSTEMD) == "False"
    assert manager.heard() == ["READY=1", "STATUS=up and running"]


@pytest.mark.requires("linux")
def test_an_abstract_socket_is_reached_without_systemd_python() -> None:
    listening = Manager(f"@usenetsync-test-{os.getpid()}")
    try:
        _speak_from_another_process(listening.address, WITHOUT_SYSTEMD)
        assert listening.heard() == ["READY=1", "STATUS=up and running"]
    finally:
        listening.close()
