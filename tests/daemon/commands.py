"""``usyncctl`` as a process of its own, and what a daemon has posted."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.daemon.harness import REPOSITORY, DaemonProcess
from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.keys import folder_secret, message_id_of, read_keys, read_secret, signing_key

CTL_S = 90.0


@dataclass(frozen=True)
class Called:
    """One call of usyncctl."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line."""
        assert self.lines[-1]["type"] == "summary", self
        return self.lines[-1]


def ctl(daemon: DaemonProcess, *arguments: str) -> Called:
    """The real command in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "usenetsyncd.cli.usyncctl", "--socket", str(daemon.socket), *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CTL_S,
        )
    except subprocess.TimeoutExpired as error:
        queued = {
            state: daemon.get(f"/queue?state={state}")["articles"]
            for state in ("queued", "sending", "doubtful")
        }
        raise AssertionError(f"{arguments} does not end: {queued}\n{daemon.tail()}") from error
    return Called(done.returncode, done.stdout, done.stderr)


def message_ids(daemon: DaemonProcess, name: str = "src") -> list[str]:
    """The ids of everything that a folder has on servers, but for the envelopes of its shares, oldest first."""
    master = Vault.open(daemon.data_dir).master()
    database = daemon.catalogue()
    try:
        folder, uid = database.execute("SELECT id, uid FROM folder WHERE name = ?", (name,)).fetchone()
        rows = database.execute(
            "SELECT s.kind, s.seg_id, a.copy, a.generation, s.epoch FROM article a "
            "JOIN segment s ON s.id = a.segment_id WHERE a.folder_id = ? AND a.state = 0 AND s.kind <> ? "
            "ORDER BY a.segment_id, a.copy",
            (folder, int(ArticleKind.ENVELOPE)),
        ).fetchall()
    finally:
        database.close()
    secret = folder_secret(master, uid)
    fingerprint = signing_key(secret).fingerprint
    keys = {epoch: read_keys(read_secret(secret, epoch), fingerprint) for *_, epoch in rows}
    return [
        message_id_of(keys[epoch].location, ArticleAddress(ArticleKind(kind), seg_id, copy, generation))
        for kind, seg_id, copy, generation, epoch in rows
    ]
