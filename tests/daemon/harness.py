"""Daemons as processes of their own, spoken to over their control sockets, with the news server in the test."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.daemon.trees import describe, differences
from usenetsyncd.flows.directory import COPIES
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.directory import directory_address, directory_keys
from usenetsyncd.wire.keys import message_id_of

REPOSITORY = Path(__file__).resolve().parents[2]
START_S = 30.0
STOP_S = 30.0
IDLE_S = 90.0
SETTLE_S = 0.3
API = "/api/v1"


class Refused(Exception):
    """The daemon answered with a problem."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


@dataclass
class DaemonProcess:
    """One ``usenetsyncd run``, its configuration, data directory and log below ``place``.

    powerless: file modes bind it, even where the tests are run by root.
    """

    place: Path
    config: dict[str, Any]
    powerless: bool = False
    impatient: bool = False
    watchful: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self.write_config()

    # -- files -----------------------------------------------------------------------------

    @property
    def config_file(self) -> Path:
        return self.place / "config.yaml"

    @property
    def socket(self) -> Path:
        return Path(self.config["control"]["socket"])

    @property
    def data_dir(self) -> Path:
        return Path(self.config["storage"]["data_dir"])

    @property
    def log_file(self) -> Path:
        return self.place / "log"

    def write_config(self) -> None:
        # JSON is YAML, and has no anchors.
        self.config_file.write_text(json.dumps(self.config, indent=1))

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """What it has logged since it was made, over all its lives; torn last lines are left out."""
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.log_file.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    lines.append(json.loads(line))
        return [line for line in lines if event is None or line["event"] == event]

    def catalogue(self) -> sqlite3.Connection:
        """A copy of the catalogue as it is on disk; to be closed. Of a running daemon it may be of two moments."""
        copy = self.place / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in ("catalogue.sqlite", "catalogue.sqlite-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self.data_dir / name, copy / name)
        return sqlite3.connect(copy / "catalogue.sqlite")

    # -- life ------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the process and return at once."""
        assert self.process is None
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.place), "PYTHONPATH": str(REPOSITORY)}
        self.started_at = time.monotonic()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(POWERLESS if self.powerless else ()),
                    *(IMPATIENT if self.impatient else WATCHFUL if self.watchful else COMMAND),
                    "run",
                    "--config",
                    str(self.config_file),
                ],
                env={**environ, **self.environ},
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> "DaemonProcess":
        """Start it; returns when it answers."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        until(self._answers, START_S, lambda: f"it does not answer: {self.tail()}")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.tail()}")
        try:
            return bool(self.ask("GET", "/version", timeout_s=5.0)["pid"] == self.process.pid)
        except (OSError, http.client.HTTPException):
            return False

    def tail(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self.log_file.read_text(errors="replace")[-3_000:]
        return "nothing was logged"

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal_number)
        return self.wait_exit()

    def wait_exit(self, timeout_s: float = STOP_S) -> int:
        assert self.process is not None
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            tail = self.tail()
            self.kill()
            raise AssertionError(f"it does not stop: {tail}") from None
        self.process = None
        return code

    def end(self) -> None:
        """For fixtures: whatever happens, no process is left."""
        if self.process is not None:
            self.kill()

    # -- talk ------------------------------------------------------------------------------

    def ask(self, verb: str, path: str, body: object = None, timeout_s: float = 60.0) -> Any:
        """One request; the document of the answer. Raises Refused, OSError."""
        connection = _UnixConnection(self.socket, timeout_s)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(verb, API + path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status >= 400:
            raise Refused(answer.status, document)
        return document

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: object = None) -> Any:
        return self.ask("POST", path, body)

    def text(self, path: str) -> str:
        """An answer that is not JSON."""
        connection = _UnixConnection(self.socket, 30.0)
        try:
            connection.request("GET", API + path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def status(self) -> Any:
        return self.get("/status")

    def folder(self, name: str = "src") -> Any:
        return next(folder for folder in self.status()["folders"] if folder["id"] == name)

    def events(self, code: str | None = None) -> list[dict[str, Any]]:
        connection = _UnixConnection(self.socket, 30.0)
        try:
            connection.request("GET", f"{API}/events?limit=1000")
            lines = connection.getresponse().read().splitlines()
        finally:
            connection.close()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in events if code is None or event["code"] == code]

    def errors(self, name: str = "src") -> dict[str, str]:
        """Path -> code of the folder's troubles."""
        found: dict[str, str] = {}
        after = ""
        while True:
            page = self.get(f"/folders/{quote(name)}/errors?limit=1000{after}")
            found.update({_shown(error): error["code"] for error in page["errors"]})
            if not page.get("next"):
                return found
            after = f"&after={quote(page['next'])}"

    def idle(self) -> Any:
        return self.get("/idle")

    def wait_idle(self, timeout_s: float = IDLE_S) -> None:
        """Until everything that changed is scanned, posted and published."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            told = self.get("/idle?wait_s=10")
            if told["idle"]:
                return
            assert self.process is not None
            assert self.process.poll() is None, self.tail()
        raise AssertionError(f"not idle: {told['reasons']}\n{self.tail()}")

    def share(self, name: str = "src") -> str:
        """A public access string for a folder."""
        made = self.post("/shares", {"folder": name, "access": "public"})
        return str(made["string"])

    def begin_restore(self, source: str, target: Path, **more: object) -> int:
        order = {"source": source, "target": str(target), **more}
        return int(self.post("/restore", order)["id"])

    def job(self, job_id: int) -> Any:
        return self.get(f"/jobs/{job_id}")

    def wait_job(self, job_id: int, timeout_s: float = IDLE_S) -> Any:
        """The job when it has ended."""
        ended = ("done", "failed", "cancelled")
        until(
            lambda: self.job(job_id)["state"] in ended,
            timeout_s,
            lambda: f"the job goes on: {self.job(job_id)} {self.tail()}",
        )
        return self.job(job_id)

    def restore(self, source: str, target: Path) -> Any:
        """Restore all and return the result; the job must not fail."""
        job = self.wait_job(self.begin_restore(source, target))
        assert job["state"] == "done", job
        return job["result"]


def _shown(error: Mapping[str, Any]) -> str:
    return str(error["path"])


# Root without the right to read everything: another user could not even reach the interpreter everywhere.
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

COMMAND = [sys.executable, "-m", "usenetsyncd.cli.usenetsyncd"]
# The same with waits of tenths of a second where the uploader waits for seconds or minutes.
IMPATIENT = [
    sys.executable,
    "-c",
    """import sys, usenetsyncd.flows.upload as upload
from usenetsyncd.cli.usenetsyncd import main
upload.FIRST_BACKOFF_S = upload.DOUBTFUL_WAIT_S = 0.05
upload.LONGEST_BACKOFF_S = 0.2
sys.exit(main())""",
]
# The same with a timetable that looks several times a second whether something is to be checked or repaired.
WATCHFUL = [
    sys.executable,
    "-c",
    """import sys, usenetsyncd.daemon.timetable as timetable
from usenetsyncd.cli.usenetsyncd import main
timetable.CARETAKING_S = 0.3
sys.exit(main())""",
]


def until(
    done: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str], every_s: float = 0.02
) -> None:
    """Wait for something to come true; fails with a sentence when it does not."""
    ends = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > ends:
            raise AssertionError(otherwise())
        time.sleep(every_s)


@cache
def _directory_ids(data_dir: Path) -> frozenset[str]:
    """Message-ids of the first directories that the recovery kit of a daemon finds."""
    keys = directory_keys(Vault.open(data_dir).master())
    addresses = (directory_address(serial, 0, copy) for serial in range(1, 10) for copy in range(COPIES))
    return frozenset(message_id_of(keys.reading.location, at) for at in addresses)


@dataclass
class World:
    """A folder, a news server and daemons, in one short directory."""

    place: Path
    server: LoopbackServer
    daemons: list[DaemonProcess] = field(default_factory=list)

    @property
    def source(self) -> Path:
        return self.place / "src"

    def daemon(self, name: str = "one", **changes: Any) -> DaemonProcess:
        """A daemon that watches ``source``; not started. changes: sections of the configuration."""
        host, port = self.server.address
        self.source.mkdir(exist_ok=True)
        place = self.place / name
        config: dict[str, Any] = {
            "version": 1,
            "servers": [{"name": "main", "host": host, "port": port, "tls": "none", "connections": 4}],
            "newsgroups": ["alt.binaries.test"],
            # Tests count articles, and delete what they like; those of parity and of the guard ask for it.
            "defaults": {
                "settle": f"{SETTLE_S}s",
                "redundancy": {"copies": 1, "parity": "0%"},
                "guard": {"max_deleted": "100%", "max_changed": "100%"},
            },
            "folders": [{"id": "src", "path": str(self.source)}],
            "storage": {"data_dir": str(place / "data"), "min_free": 0},
            "control": {"socket": str(place / "s"), "group": None},
            "log": {"format": "json", "level": "info"},
        }
        known = ("powerless", "impatient", "watchful", "environ")
        how = {name: changes.pop(name) for name in known if name in changes}
        config.update(changes)
        made = DaemonProcess(place, config, **how)
        self.daemons.append(made)
        return made

    def reader(self, name: str = "two", **changes: Any) -> DaemonProcess:
        """A second machine: servers and nothing else."""
        return self.daemon(name, folders=[], **changes)

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.end()

    def posts(self) -> int:
        """Articles that the server took, less the directories of folders: those go beside the queue, some time later."""
        begun = [daemon for daemon in self.daemons if daemon.data_dir.is_dir()]
        beside = frozenset[str]().union(*(_directory_ids(daemon.data_dir) for daemon in begun))
        return sum(count for name, count in self.server.counters.posts.items() if name not in beside)

    def assert_posted_once(self) -> None:
        """No id was offered a second time, and none was taken twice."""
        twice = {name: count for name, count in self.server.counters.offers.items() if count > 1}
        assert not twice


@contextlib.contextmanager
def world(place: Path, **server: Any) -> Iterator[World]:
    """A world that ends with its processes and its server."""
    with LoopbackServer(place / "spool", **server) as running:
        made = World(place, running)
        try:
            yield made
        finally:
            made.end()


def assert_restored(reader: DaemonProcess, string: str, source: Path, target: Path) -> Any:
    """Restore on another daemon and compare with the source, byte for byte."""
    result = reader.restore(string, target)
    assert result["failed"] == 0, result
    told = differences(describe(source), describe(target))
    assert not told, "\n".join(told)
    return result


def base64_path(path: bytes) -> str:
    return b64encode(path).decode()
