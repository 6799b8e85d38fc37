"""Starts a private INN and stops it again. Debian's innd runs as user news and nobody else, so this needs root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.inn import configuration

START_S = 20.0
STOP_S = 10.0
BIN = configuration.NEWS / "bin"


@dataclass(frozen=True, slots=True)
class InnServer:
    """A running INN: where it is and who may log in."""

    root: Path
    host: str
    port: int
    tls_port: int
    ca_file: Path
    user: str
    password: str = field(repr=False)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def tls_address(self) -> tuple[str, int]:
        return self.host, self.tls_port

    def ctl(self, *args: str) -> None:
        """Tell innd something through ctlinnd."""
        _run_as_news([str(BIN / "ctlinnd"), "-t", "20", *args], self.root)

    def cancel(self, message_id: str) -> None:
        """Lose an article; INN remembers the id and never takes it again."""
        self.ctl("cancel", message_id)

    def pause(self) -> None:
        """From now on POST says 240, but the article is not to be had until ``go``."""
        self.ctl("pause", "late on purpose")

    def go(self) -> None:
        """End a pause; what was posted meanwhile, and put aside, is taken in now."""
        self.ctl("go", "late on purpose")
        _run_as_news([str(BIN / "rnews"), "-U"], self.root)


class Instance:
    """The processes of one private INN, and its directory."""

    def __init__(self, users: Mapping[str, str]) -> None:
        # INN's sockets need a short path, and user news has to get to it: not pytest's own directory.
        self.root = Path(tempfile.mkdtemp(prefix="inn-", dir="/tmp"))
        self._users = dict(users)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> InnServer:
        """Write the configuration and start both processes; returns when both have greeted."""
        port, tls_port = _free_ports(2)
        configuration.write(self.root, port, self._users)
        _give_to_news(self.root)
        _run_as_news([str(BIN / "makedbz"), "-i", "-o", "-s", "100000"], self.root, cwd=self.root / "db")
        self._spawn(str(BIN / "innd"), "-f")
        self._spawn(str(BIN / "nnrpd"), "-D", "-f", "-S", "-p", str(tls_port), "-4", "127.0.0.1")
        user, password = next(iter(self._users.items()))
        server = InnServer(self.root, "127.0.0.1", port, tls_port, self.root / "etc/cert.pem", user, password)
        self._wait_until(lambda: _greets(server.address))
        self._wait_until(lambda: _accepts(server.tls_address))
        return server

    def stop(self) -> None:
        """End the processes and whatever they started, and remove the directory."""
        innd = self._processes[0] if self._processes else None
        if innd is not None and innd.poll() is None:
            # On SIGTERM innd would finish its wait for work first, which takes minutes where there is none.
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                _run_as_news([str(BIN / "ctlinnd"), "-t", "20", "shutdown", "over"], self.root)
                innd.wait(STOP_S)
        for process in self._processes:
            _end_group(process)
        shutil.rmtree(self.root, ignore_errors=True)

    def _spawn(self, *command: str) -> None:
        with (self.root / "log" / "output").open("ab") as output:
            process = subprocess.Popen(
                command,
                env=_environment(self.root),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **_AS_NEWS,
            )
        self._processes.append(process)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                said = (self.root / "log" / "output").read_text(errors="replace")
                raise RuntimeError(f"INN did not start: {said or 'it said nothing'}")
            time.sleep(0.05)


_AS_NEWS: dict[str, Any] = {"user": "news", "group": "news", "extra_groups": []}


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "INNCONF": str(root / "etc/inn.conf")}


def _run_as_news(command: list[str], root: Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        command,
        env=_environment(root),
        cwd=cwd or root,
        capture_output=True,
        text=True,
        timeout=60,
        **_AS_NEWS,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def _give_to_news(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        shutil.chown(path, "news", "news")
    (root / "etc/key.pem").chmod(0o600)
    (root / "etc/passwd").chmod(0o600)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """The nnrpd of each open connection is in the group of what started it, and may outlive that."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


def _greets(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=2) as sock:
            return sock.recv(3) in (b"200", b"201")
    except OSError:
        return False
