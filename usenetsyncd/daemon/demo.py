"""``usenetsyncd demo``: the whole job on one machine, with the real commands and a news server in this process.

Nothing is staged: two daemons run as processes of their own, the client talks to them over their sockets, and
the last step compares every file by its SHA-256.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from usenetsyncd.errors import ExitCode, UsenetSyncError
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import SEGMENT_SIZE_BYTES

SMALL_FILES = 400
LOST_OF_EACH = 15
# Each stripe of the folder as it is first has three parity segments: any three articles may go.
LOST_WITH_THE_DISK = 3
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
WAIT = "120s"


class DemoFailed(UsenetSyncError):
    """A step of the demo did not do what it should."""


def run_demo(keep: Path | None = None, say: Callable[[str], None] = print) -> int:
    """Play the whole story; the exit code is 0 only if every byte matched.

    keep: play it in this directory, which must be empty or new, and leave everything there.
    """
    place = Path(tempfile.mkdtemp(prefix="usenetsync-demo-")) if keep is None else keep.absolute()
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise DemoFailed(f"{place} is not empty; the demo wants a directory of its own")
    try:
        return _Story(place, say).play()
    finally:
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)


class _Story:
    """One run; each method is a scene."""

    def __init__(self, place: Path, say: Callable[[str], None]) -> None:
        self._place = place
        self._say = say
        self._photos = place / "home" / "photos"
        self._started = time.monotonic()
        self._spool = place / "server"
        self._dice = random.Random(7)  # noqa: S311 - a demo, not a key

    def play(self) -> int:
        self._say("UsenetSync demo: a folder goes to a news server and comes back somewhere else.\n")
        _make_tree(self._photos)
        files, size = _count(self._photos)
        self._scene(
            f"A folder with {files} files, {size / 1e6:.1f} MB: small ones, large ones, links, odd names."
        )
        with LoopbackServer(self._spool) as server:
            host, port = server.address
            self._scene(f"A news server of our own listens on {host}:{port}; any other would do.")
            with self._daemon("first", f"- {{id: photos, path: {self._photos}}}", host, port) as first:
                first.call("wait", "--idle", "--timeout", WAIT)
                first.show("status")
                self._lose_the_disk(first, server)
                string = self._work_on(first)
                self._lose_articles(first, server)
            restored = self._place / "elsewhere" / "photos"
            with self._daemon("second", "", host, port) as second:
                self._scene("A second machine knows the server and the string, and nothing else.")
                second.show("restore", "-", "--to", str(restored), stdin=string)
            return self._compare(restored)

    def _lose_the_disk(self, daemon: "_DaemonProcess", server: LoopbackServer) -> None:
        away = self._photos.with_name("a disk that is not mounted")
        self._photos.rename(away)
        large = [one for one in server.message_ids() if len(server.article(one)) > SEGMENT_SIZE_BYTES // 2]
        for message_id in self._dice.sample(large, LOST_WITH_THE_DISK):
            server.remove(message_id)
        self._scene(
            f"The disk with the folder is gone, and the server loses {LOST_WITH_THE_DISK} articles as well. The rest of their\n"
            "          stripes, and parity, still give back what was in them."
        )
        self._verify_and_repair(daemon)
        away.rename(self._photos)
        self._scene(
            "The disk is back. An empty mount point was no deletion: nothing was forgotten meanwhile."
        )
        daemon.call("scan", "photos", "--wait")
        daemon.call("wait", "--idle", "--timeout", WAIT)

    def _work_on(self, daemon: "_DaemonProcess") -> str:
        self._scene("Somebody works in it: files are edited, renamed, removed. Nobody tells the daemon.")
        _edit_tree(self._photos)
        time.sleep(0.3)  # the daemon is killed while it is busy with that
        self._scene("And the power fails (kill -9). The daemon starts again and goes on where it was.")
        daemon.kill_and_restart()
        daemon.call("wait", "--idle", "--timeout", WAIT)
        daemon.show("versions", "photos")
        share = json.loads(daemon.call("share", "create", "photos", "--access", "public", "--json"))
        daemon.call("wait", "--idle", "--timeout", WAIT)
        self._scene(f"One string gives the folder to whoever has it:\n\n    {share['string']}\n")
        return str(share["string"])

    def _lose_articles(self, daemon: "_DaemonProcess", server: LoopbackServer) -> None:
        ids = server.message_ids()
        lost = self._dice.sample(ids, max(1, len(ids) // LOST_OF_EACH))
        for message_id in lost:
            server.remove(message_id)
        self._scene(
            f"The server loses {len(lost)} of its {len(ids)} articles, as servers do after some years."
        )
        self._verify_and_repair(daemon)
        self._scene("Is everything there now? Each article is fetched, opened and hashed.")
        daemon.show("verify", "photos", "--full")
        daemon.show("status")

    def _verify_and_repair(self, daemon: "_DaemonProcess") -> None:
        daemon.show("verify", "photos", ends_with=ExitCode.ATTENTION)
        daemon.show("repair", "photos")

    def _compare(self, restored: Path) -> int:
        expected, found = _hashes(self._photos), _hashes(restored)
        took_s = time.monotonic() - self._started
        wrong = sorted(
            path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)
        )
        if wrong:
            self._say(f"\n{len(wrong)} of {len(expected)} paths differ, the first: {wrong[0]!r}")
            return int(ExitCode.FAILED)
        self._say(
            f"\n{len(expected)} paths compared by SHA-256, kind, mode and time: all the same. ({took_s:.1f} s)"
        )
        return int(ExitCode.DONE)

    def _scene(self, text: str) -> None:
        self._say(f"[{time.monotonic() - self._started:5.1f} s] {text}")

    @contextlib.contextmanager
    def _daemon(self, name: str, folders: str, host: str, port: int) -> Iterator["_DaemonProcess"]:
        home = self._place / name
        home.mkdir()
        config = home / "usenetsyncd.yaml"
        config.write_text(
            "version: 1\n"
            f"servers: [{{name: demo, host: {host}, port: {port}, tls: none, connections: 4}}]\n"
            "newsgroups: [alt.binaries.test]\n"
            "defaults: {settle: 500ms, redundancy: {copies: 1, parity: 30%}}\n"
            f"folders:\n  {folders or '[]'}\n"
            f"storage: {{data_dir: {home / 'state'}}}\n"
            f"control: {{socket: {home / 's'}}}\n",
            encoding="utf-8",
        )
        daemon = _DaemonProcess(config, home, self._say)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


class _DaemonProcess:
    """``usenetsyncd run`` and the ``usyncctl`` that talks to it."""

    def __init__(self, config: Path, home: Path, say: Callable[[str], None]) -> None:
        self._config = config
        self._home = home
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "usenetsyncd.cli.usenetsyncd", "run", "--config", str(self._config)]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._client("wait", "--ready", "--timeout", "1s").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"the daemon did not start:\n{(self._home / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill_and_restart(self) -> None:
        """As a power cut would, for the process."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self.start()

    def stop(self) -> None:
        """Politely."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def call(self, *arguments: str, stdin: str | None = None, ends_with: ExitCode = ExitCode.DONE) -> str:
        """Run the client, told in the transcript; its standard output. Raises DemoFailed for another exit code."""
        self._say(f"          $ usyncctl {' '.join(arguments)}")
        done = self._client(*arguments, stdin=stdin)
        if done.returncode != ends_with:
            told = f"{done.stdout}{done.stderr}".strip()
            raise DemoFailed(f"usyncctl {arguments[0]} exited with {done.returncode}: {told}")
        return done.stdout

    def show(self, *arguments: str, stdin: str | None = None, ends_with: ExitCode = ExitCode.DONE) -> None:
        """Run the client and show what it prints."""
        for line in self.call(*arguments, stdin=stdin, ends_with=ends_with).rstrip().splitlines():
            self._say(f"            {line}")

    def _client(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "usenetsyncd.cli.usyncctl",
            "--socket",
            str(self._home / "s"),
            *arguments,
        ]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
        return subprocess.run(
            command, input=stdin or "", capture_output=True, text=True, env=environment, check=False
        )


def _make_tree(root: Path) -> None:
    dice = random.Random(42)  # noqa: S311 - the same tree in every run
    for i in range(SMALL_FILES):
        path = root / f"year-{2000 + i % 20}" / f"note-{i:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.randrange(20_000)))
    for i in range(6):
        (root / f"film-{i}.raw").write_bytes(dice.randbytes(3 * SEGMENT_SIZE_BYTES + 1000 * i))
    (root / "zeros.img").write_bytes(bytes(4_000_000))
    (root / "words.txt").write_text("to be kept safe, and with no one watching\n" * 50_000)
    (root / "empty").touch()
    (root / "empty folder").mkdir()
    (root / "to the first film").symlink_to("film-0.raw")
    (root / "film-1, again.raw").hardlink_to(root / "film-1.raw")
    Path(os.fsdecode(bytes(root) + b"/caf\xe9 with a\nnewline")).write_text("names are bytes")


def _edit_tree(root: Path) -> None:
    with (root / "film-2.raw").open("r+b") as film:
        film.seek(SEGMENT_SIZE_BYTES + 5)
        film.write(b"one changed block")
    (root / "film-3.raw").rename(root / "year-2001" / "moved film.raw")
    (root / "year-2002" / "note-0002.txt").unlink()
    shutil.rmtree(root / "year-2003")
    shutil.copytree(root / "year-2004", root / "copied" / "year-2004", symlinks=True)
    (root / "new.txt").write_text("written a moment ago")


def _count(root: Path) -> tuple[int, int]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return len(files), sum(path.stat().st_size for path in files)


def _hashes(root: Path) -> dict[bytes, tuple[str, int, int]]:
    """Relative path -> (what it is or holds, mode, mtime_ns)."""
    found: dict[bytes, tuple[str, int, int]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            what = f"-> {path.readlink()}"
        elif path.is_dir():
            what = "folder"
        else:
            with path.open("rb") as opened:
                what = hashlib.file_digest(opened, "sha256").hexdigest()
        found[os.fsencode(path.relative_to(root))] = (what, status.st_mode, status.st_mtime_ns)
    return found
