"""Verify, repair and their schedule, end to end: real processes, articles really lost, files really compared."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.daemon.harness import REPOSITORY, DaemonProcess, World, assert_restored, until
from tests.daemon.trees import write_files
from usenetsyncd.loopback.server import LoopbackServer

CTL_S = 90.0
# Checks by the timetable, soon enough for a test, and regular ones so rarely that none comes by itself.
SELDOM = {"after": "1h", "every": "30d", "sample": "2%"}


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
    done = subprocess.run(
        [sys.executable, "-m", "usenetsyncd.cli.usyncctl", "--socket", str(daemon.socket), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CTL_S,
    )
    return Called(done.returncode, done.stdout, done.stderr)


def defaults(copies: int = 1, parity: str = "0%", **verify: str) -> dict[str, Any]:
    return {
        "settle": "0.3s",
        "redundancy": {"copies": copies, "parity": parity},
        "verify": {**SELDOM, **verify},
    }


def synced(here: World, files: int = 60, large: int = 6, **changes: Any) -> tuple[DaemonProcess, str]:
    """A daemon with a folder that is posted and shared."""
    write_files(here.source, files, random.Random(41), largest=30_000)
    for number in range(large):
        (here.source / f"large {number}").write_bytes(random.Random(number).randbytes(1_600_000 + number))
    one = here.daemon(**{"defaults": defaults(), **changes}).start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    return one, string


def lose(server: LoopbackServer, count: int, seed: int = 1) -> Sequence[str]:
    lost = random.Random(seed).sample(server.message_ids(), count)
    for message_id in lost:
        server.remove(message_id)
    return lost


def warning_codes(daemon: DaemonProcess) -> set[str]:
    return {warning["code"] for warning in daemon.status()["warnings"]}


# -- by hand -------------------------------------------------------------------------------------------


def test_what_is_lost_is_found_repaired_and_restored(here: World) -> None:
    one, string = synced(here)
    assert one.folder()["health"] == "unknown"
    posted = len(here.server.message_ids())
    clean = ctl(one, "verify", "src", "--json")
    assert clean.code == 0
    assert (clean.summary["checked"], clean.summary["missing"]) == (posted, 0)
    assert one.folder()["health"] == "restorable"
    assert one.folder()["verified_fraction"] == 1.0

    lost = lose(here.server, 5)
    spoilt = next(name for name in here.server.message_ids() if name not in lost)
    here.server.corrupt(spoilt)
    found = ctl(one, "verify", "src", "--full", "--json")
    assert found.code == 3
    summary = found.summary
    assert (summary["missing"], summary["corrupt"], summary["at_risk"]) == (5, 1, 6)
    assert summary["unrepairable"] == 0
    assert summary["servers"] == [
        {"server": "main", "checked": posted, "missing": 5, "corrupt": 1, "unknown": 0, "sampled": posted}
    ]
    assert one.folder()["health"] == "at_risk"
    assert warning_codes(one) == {"at_risk"}
    (damage,) = one.events("damage_found")
    assert (damage["level"], damage["fields"]["missing"], damage["fields"]["corrupt"]) == ("warning", 5, 1)
    assert ctl(one, "health").code == 3

    dry = ctl(one, "repair", "src", "--dry-run", "--json")
    assert (dry.code, dry.summary["reposted"], dry.summary["dry_run"]) == (0, 6, True)
    assert here.posts() == posted

    done = ctl(one, "repair", "src", "--json")
    assert done.code == 0
    assert (done.summary["reposted"], done.summary["unrepairable"], done.summary["waiting"]) == (6, 0, 0)
    assert here.posts() == posted + 6
    assert one.folder()["health"] == "restorable"
    assert one.events("repaired")[0]["fields"]["reposted"] == 6
    assert warning_codes(one) == set()
    again = ctl(one, "verify", "src", "--full", "--json")
    assert (again.code, again.summary["missing"], again.summary["corrupt"]) == (0, 0, 0)
    assert_restored(here.reader().start(), string, here.source, here.place / "out")
    here.assert_posted_once()


def test_a_person_reads_a_table_a_sentence_and_what_to_do(here: World) -> None:
    one, _ = synced(here, large=2)
    lose(here.server, 2)
    told = ctl(one, "verify")
    assert told.code == 3
    heading, main, folder, *_ = told.out.splitlines()
    assert heading.split() == ["SERVER", "CHECKED", "MISSING", "CORRUPT", "UNKNOWN"]
    assert main.split()[0] == "main"
    assert main.split()[2] == "2"
    assert folder.startswith("src: at risk; ")
    assert told.err == "next: usyncctl repair src\n"
    shown = ctl(one, "folder", "show", "src").out
    assert "at risk" in shown
    assert "usyncctl repair src" in shown
    assert "2 articles posted again (2 from source files)\n" in ctl(one, "repair").out
    assert "nothing to repair" in ctl(one, "repair").out
    assert ctl(one, "verify").code == 0
    status = ctl(one, "status").out
    assert "sample check in 29d" in status


def test_a_segment_that_is_nowhere_is_named_and_nothing_is_made_up(here: World) -> None:
    one, string = synced(here, files=5, large=1)
    before = here.posts()
    away = here.place / "away"
    one.post("/pause", {"folder": "src"})
    # The file changes in place while the folder rests: the published version has the only trace of the old content.
    shutil.copytree(here.source, away)
    database = one.catalogue()
    try:
        segments = database.execute("SELECT count(*) FROM segment WHERE kind = 1").fetchone()[0]
    finally:
        database.close()
    assert segments >= 3
    for name in here.server.message_ids():
        here.server.remove(name)
    (here.source / "large 0").unlink()
    found = ctl(one, "verify", "--json")
    assert found.code == 3
    assert found.summary["missing"] == before
    done = ctl(one, "repair", "--json")
    assert done.code == 3
    assert done.summary["unrepairable"] > 0
    assert all(failure["reason"] for failure in done.summary["failures"])
    assert string


def test_names_that_do_not_exist_end_with_5(here: World) -> None:
    one, _ = synced(here, files=2, large=0)
    assert ctl(one, "verify", "nobody").code == 5
    assert ctl(one, "verify", "--server", "nobody").code == 5
    assert ctl(one, "repair", "nobody").code == 5
