"""The others: Nyuu from npm, restic, Borg and Syncthing from PATH. What cannot be had is said, never estimated."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.table.harness import CACHE, Meter, Ran, Sample, Unavailable, fresh, run

SECRETS = {
    "RESTIC_PASSWORD": "benchmark",
    "BORG_PASSPHRASE": "benchmark",
    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
}
# Nyuu 0.4.0 ends with this when a server's reply overtakes its own next tick (lib/nntp.js, _uploadPost): such a run
# counts for nobody.
NYUU_RACE = "Timer already set"
NYUU_TRIES = 10


def need(program: str) -> str:
    found = shutil.which(program)
    if not found:
        raise Unavailable(f"{program} is not installed")
    return found


def available(makers: dict[str, Callable[[], Any]]) -> tuple[dict[str, Any], list[str]]:
    """Those that can be had, and for the others why not."""
    found, missing = {}, []
    for name, make in makers.items():
        try:
            found[name] = make()
        except Unavailable as reason:
            missing.append(f"{name}: {reason}")
    return found, missing


# -- posting -------------------------------------------------------------------------------------


class Nyuu:
    """The poster that everybody measures against; installed into .bench/ once."""

    def __init__(self) -> None:
        self._node, npm = need("node"), need("npm")
        self._script = CACHE / "node_modules" / "nyuu" / "bin" / "nyuu.js"
        if not self._script.exists():
            CACHE.mkdir(exist_ok=True)
            told = subprocess.run(
                [npm, "install", "--prefix", str(CACHE), "--no-audit", "--no-fund", "nyuu"],
                capture_output=True,
                text=True,
            )
            if not self._script.exists():
                raise Unavailable(f"npm install nyuu failed: {told.stderr.strip()[-200:]}")

    def post(self, tree: Path, port: int, *more: str, group: str = "alt.binaries.test") -> Ran:
        """All files of a flat directory over 8 connections."""
        files = sorted(str(path) for path in tree.iterdir())
        command = [self._node, str(self._script), "-h", "127.0.0.1", "-P", str(port), "-n", "8", "-a", "750K"]
        command += ["--post-chunk-size", "0", "-f", "bench <bench@bench.invalid>", "-g", group, "-q", *more]
        for left in reversed(range(NYUU_TRIES)):
            try:
                return run([*command, *files])
            except RuntimeError as error:
                if NYUU_RACE not in str(error) or not left:
                    raise
                print("     (Nyuu fell over its own timer and is run again)", flush=True)
        raise AssertionError("unreachable")


# -- indexing ------------------------------------------------------------------------------------


class Restic:
    """``restic backup`` into a repository beside the tree."""

    def __init__(self) -> None:
        self._restic = need("restic")

    def prepare(self, place: Path) -> None:
        self._repository, self._cache = fresh(place / "restic") / "repository", place / "restic" / "cache"
        self._run("init")

    def index(self, tree: Path) -> Ran:
        return self._run("backup", "--quiet", "--host", "bench", str(tree))

    rescan = index

    def end(self) -> None:
        pass

    def _run(self, *arguments: str) -> Ran:
        at = ["--repo", str(self._repository), "--cache-dir", str(self._cache)]
        return run([self._restic, *at, *arguments], SECRETS)


class Borg:
    """``borg create``, neither encrypted nor compressed: its fastest way."""

    def __init__(self) -> None:
        self._borg, self._count = need("borg"), 0

    def prepare(self, place: Path) -> None:
        self._place = fresh(place / "borg")
        self._run("init", "--encryption", "none", str(self._place / "repository"))

    def index(self, tree: Path) -> Ran:
        self._count += 1
        return self._run(
            "create", "--compression", "none", f"{self._place}/repository::{self._count}", str(tree)
        )

    rescan = index

    def end(self) -> None:
        pass

    def _run(self, *arguments: str) -> Ran:
        return run([self._borg, *arguments], {**SECRETS, "BORG_BASE_DIR": str(self._place)})


class Syncthing:
    """A running Syncthing to which the tree is added as a folder; its start is not counted, its database is."""

    def __init__(self) -> None:
        self._syncthing = need("syncthing")

    def prepare(self, place: Path) -> None:
        self._home = fresh(place / "syncthing")
        environ = {"HOME": str(self._home), "STNOUPGRADE": "1"}
        run([self._syncthing, "generate", f"--home={self._home}", "--skip-port-probing"], environ)
        # Or it would make itself nice before it can be told not to.
        config = self._home / "config.xml"
        config.write_text(config.read_text().replace("<setLowPriority>true<", "<setLowPriority>false<"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self._process = subprocess.Popen(
            [
                self._syncthing,
                "serve",
                f"--home={self._home}",
                "--no-browser",
                f"--gui-address={self._address}",
                "--gui-apikey=benchmark",
                "--no-default-folder",
            ],
            env={**os.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._meter = Meter(self._process.pid)
        self._wait(lambda: self._ask("GET", "system/ping") is not None)
        quiet = ("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled")
        options = {**dict.fromkeys(quiet, False), "crashReportingEnabled": False, "urAccepted": -1}
        self._ask("PATCH", "config/options", {**options, "listenAddresses": ["tcp://127.0.0.1:0"]})

    def index(self, tree: Path) -> Ran:
        folder = {"id": "tree", "path": str(tree), "fsWatcherEnabled": False, "rescanIntervalS": 0}
        (tree / ".stfolder").mkdir(exist_ok=True)
        try:
            return self._measured(lambda: self._added(folder))
        finally:
            (tree / ".stfolder").rmdir()

    def rescan(self, tree: Path) -> Ran:
        (tree / ".stfolder").mkdir(exist_ok=True)
        try:
            return self._measured(lambda: self._ask("POST", "db/scan?folder=tree"))
        finally:
            (tree / ".stfolder").rmdir()

    def end(self) -> None:
        self._meter.close()
        # It is a process that watches another one.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _added(self, folder: dict[str, Any]) -> None:
        self._ask("PUT", "config/folders/tree", folder)
        self._wait(self._is_idle)

    def _is_idle(self) -> bool:
        status = self._ask("GET", "db/status?folder=tree")
        return bool(status and status["state"] == "idle" and status["localFiles"])

    def _measured(self, work: Callable[[], object]) -> Ran:
        cpu_s, started = self._meter.cpu_s(), time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        self._meter.sample()
        return Ran(seconds, self._meter.cpu_s() - cpu_s, self._meter.peak_bytes, "")

    def _ask(self, verb: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://{self._address}/rest/{path}",
            None if body is None else json.dumps(body).encode(),
            {"X-API-Key": "benchmark"},
            method=verb,
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
                told = answer.read()
        except OSError as error:
            if verb == "GET":
                return None
            raise RuntimeError(f"syncthing {path}: {error}") from error
        return json.loads(told) if told.strip() else {}

    def _wait(self, come: Callable[[], bool], timeout_s: float = 600) -> None:
        ends = time.monotonic() + timeout_s
        while not come():
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError("syncthing does not get there")
            time.sleep(0.02)


INDEXERS: dict[str, Callable[[], Any]] = {"restic": Restic, "Borg": Borg, "Syncthing": Syncthing}


def index_and_rescan(peer: Any, place: Path, tree: Path, amount: float) -> tuple[Sample, Sample]:
    """Both rates of one peer, from nothing."""
    peer.prepare(place)
    try:
        return peer.index(tree).rate(amount), peer.rescan(tree).rate(amount)
    finally:
        peer.end()
