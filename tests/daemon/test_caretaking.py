"""Verify, repair and their schedule, end to end: real processes, articles really lost, files really compared."""

import random
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.daemon.commands import ctl
from tests.daemon.harness import DaemonProcess, World, assert_restored, until
from tests.daemon.trees import write_files
from usenetsyncd.loopback.server import LoopbackServer

# Checks by the timetable, soon enough for a test, and regular ones so rarely that none comes by itself.
SELDOM = {"after": "1h", "every": "30d", "sample": "2%"}


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


def account(server: LoopbackServer, name: str = "main", *roles: str) -> dict[str, Any]:
    host, port = server.address
    return {
        "name": name,
        "host": host,
        "port": port,
        "tls": "none",
        "connections": 4,
        "roles": list(roles) or ["post", "read"],
    }


def aged(daemon: DaemonProcess, seconds: float) -> None:
    """Every check of a stopped daemon is that much longer ago."""
    database = sqlite3.connect(daemon.data_dir / "catalogue.sqlite")
    try:
        database.execute("UPDATE verification SET finished_at = finished_at - ?", (seconds,))
        database.commit()
    finally:
        database.close()


def warning_codes(daemon: DaemonProcess) -> set[str]:
    return {warning["code"] for warning in daemon.status()["warnings"]}


def counted(daemon: DaemonProcess, name: str, label: str) -> dict[str, float]:
    """A counter of its metrics by the one label that it has."""
    sample = re.compile(rf'^usenetsyncd_{name}_total{{{label}="(\w+)"}} (\S+)$', re.MULTILINE)
    return {value: float(number) for value, number in sample.findall(daemon.text("/metrics"))}


def version_healths(daemon: DaemonProcess) -> dict[int, str]:
    (told,) = ctl(daemon, "versions", "src", "--json").lines
    return {version["version"]: version["health"] for version in told["versions"]}


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
    heard = counted(one, "verify_answers", "condition")
    assert heard == {"good": 2 * posted - 6, "missing": 5, "corrupt": 1, "unknown": 0}
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
    assert sum(counted(one, "article_repairs", "place").values()) == 6
    assert counted(one, "article_repairs", "place")["source"] > 0
    assert warning_codes(one) == set()
    again = ctl(one, "verify", "src", "--full", "--json")
    assert (again.code, again.summary["missing"], again.summary["corrupt"]) == (0, 0, 0)
    two = here.reader().start()
    assert_restored(two, string, here.source, here.place / "out")
    ways = counted(two, "article_retrievals", "way")
    assert (ways["copy"], ways["nowhere"]) == (6, 0)  # under the name that they were posted again
    assert ways["id"] > 0
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


def test_what_is_nowhere_is_named_and_the_rest_is_repaired(here: World) -> None:
    # Changes settle for an hour: until the scan that the test asks for, the daemon knows the file as it was.
    one, _ = synced(here, files=5, large=1, defaults={**defaults(), "settle": "1h"})
    posted = here.posts()
    assert version_healths(one) == {1: "unknown"}
    for name in here.server.message_ids():
        here.server.remove(name)
    one.post("/pause", {"folder": "src"})
    (here.source / "large 0").write_bytes(bytes(1_600_000))
    found = ctl(one, "verify", "--json")
    assert (found.code, found.summary["missing"]) == (3, posted)
    assert found.summary["unrepairable"] == 3  # what only that file had
    assert found.lines[-2]["files"] == ["large 0"]
    folder = one.folder()
    assert (folder["health"], folder["restorable_at"]) == ("damaged", None)
    assert warning_codes(one) == {"damaged"}
    assert ctl(one, "health").code == 1
    assert "v1   damaged" in ctl(one, "status").out
    assert "not whole     large 0" in ctl(one, "folder", "show", "src").out
    (event,) = one.events("unrepairable")
    assert (event["level"], event["fields"]["segments"]) == ("error", 3)

    # What is paused is queued and not waited for.
    paused = ctl(one, "repair", "--json")
    assert paused.code == 3
    assert (paused.summary["unrepairable"], paused.summary["waiting"]) == (3, posted - 3)
    assert [failure["what"] for failure in paused.summary["failures"]] == ["src: large 0"]
    one.post("/resume", {"folder": "src"})
    assert ctl(one, "scan", "src", "--wait").code == 0
    one.wait_idle()
    done = ctl(one, "repair", "--json")
    assert (done.code, done.summary["waiting"]) == (3, 0)
    again = ctl(one, "verify", "--json").summary
    assert again["missing"] == again["unrepairable"] == 3
    # The file as it is now is safe: only the version before has lost it.
    assert one.folder()["health"] == "at_risk"
    assert len(one.events("unrepairable")) == 1
    assert version_healths(one) == {1: "damaged", 2: "restorable"}
    unasked = one.get("/folders/src/versions")["versions"]
    assert {version["health"] for version in unasked} == {None}
    assert "usyncctl folder show src" in ctl(one, "versions", "src").err
    assert_restored(here.reader().start(), one.share(), here.source, here.place / "out")


def test_nothing_posted_is_nothing_known(here: World) -> None:
    write_files(here.source, 3, random.Random(42))
    here.server.stop()
    try:
        one = here.daemon(defaults=defaults()).start()
        found = ctl(one, "verify", "--json")
        assert (found.code, found.summary["checked"]) == (0, 0)
        assert found.lines[-2]["health"] == "unknown"
        assert one.folder()["health"] == "unknown"
        assert one.status()["next_check_at"] is None
    finally:
        here.server.start()
    one.wait_idle()
    assert ctl(one, "verify").code == 0


def test_names_that_do_not_exist_end_with_5(here: World) -> None:
    one, _ = synced(here, files=2, large=0)
    assert ctl(one, "verify", "nobody").code == 5
    assert ctl(one, "verify", "--server", "nobody").code == 5
    assert ctl(one, "repair", "nobody").code == 5


def test_a_server_that_does_not_answer_is_unknown_and_never_missing(here: World, short_dir: Path) -> None:
    with LoopbackServer(short_dir / "judge") as judge:
        one, _ = synced(
            here, files=5, large=0, servers=[account(here.server), account(judge, "judge", "verify")]
        )
        posted = here.posts()
        assert ctl(one, "verify", "--server", "main").code == 0
        judge.stop()
        found = ctl(one, "verify", "--json")
        assert (found.code, found.summary["missing"], found.summary["unknown"]) == (3, 0, posted)
        assert one.folder()["health"] == "restorable"
        assert warning_codes(one) >= {"unasked"}


def test_a_server_that_loses_everything_gets_it_from_the_other_one_without_the_source(
    here: World, short_dir: Path
) -> None:
    with LoopbackServer(short_dir / "second") as second:
        servers = [account(here.server), account(second, "second")]
        one, string = synced(here, servers=servers, defaults=defaults(copies=2))
        on_main, on_second = here.server.message_ids(), second.message_ids()
        lost = len(lose(second, len(on_second)))
        kept = here.place / "kept"
        here.source.rename(kept)
        until(lambda: one.folder()["state"] == "held", 20, one.tail)
        found = ctl(one, "verify", "--json").summary
        assert {of["server"]: of["missing"] for of in found["servers"]} == {"main": 0, "second": lost}
        assert found["unrepairable"] == 0
        # What was posted before is posted again, though the folder is held: that publishes nothing new.
        done = ctl(one, "repair", "--json")
        assert (done.code, done.summary["reposted"]) == (0, lost)
        assert done.summary["from_copy"] > 0
        assert ctl(one, "verify").code == 0
        assert one.folder()["state"] == "held"
        for name in on_main:
            here.server.remove(name)
        assert_restored(here.reader(servers=servers).start(), string, kept, here.place / "out")


# -- killed in the middle --------------------------------------------------------------------------------


def test_a_check_that_is_killed_goes_on_and_finds_the_same(here: World) -> None:
    one, _ = synced(here, files=80, large=0)
    lost = len(lose(here.server, 2))
    here.server.faults.set([{"match": {"command": "STAT"}, "act": {"delay": 0.5}}])
    job = one.post("/verify", {"folder": "src"})["id"]
    until(lambda: one.job(job)["state"] == "running", 20, one.tail)
    one.kill()
    here.server.faults.clear()
    one.start()
    ended = one.wait_job(job)
    assert (ended["state"], ended["result"]["missing"], ended["attempts"]) == ("done", lost, 2)


def test_a_repair_that_is_killed_again_and_again_ends_whole_and_posts_nothing_twice(here: World) -> None:
    one, string = synced(here, large=12)
    posted = here.posts()
    lost = len(lose(here.server, posted // 2))
    assert ctl(one, "verify", "--json").summary["missing"] == lost
    here.server.faults.set([{"match": {"command": "POST"}, "act": {"delay": 0.1}}])
    job = one.post("/repair", {"folder": "src"})["id"]
    for more in (1, lost // 3, lost // 2):
        until(lambda more=more: here.posts() >= posted + more, 30, one.tail)  # type: ignore[misc]
        one.kill()
        one.start()
    here.server.faults.clear()
    ended = one.wait_job(job)
    assert ended["state"] == "done", ended
    assert (ended["result"]["unrepairable"], ended["result"]["waiting"]) == (0, 0)
    assert ended["result"]["reposted"] == lost
    assert here.posts() == posted + lost
    here.assert_posted_once()
    assert one.folder()["health"] == "restorable"
    assert ctl(one, "verify", "--full").code == 0
    assert_restored(here.reader().start(), string, here.source, here.place / "out")


def test_a_cancelled_check_is_over_and_the_next_begins_anew(here: World) -> None:
    one, _ = synced(here, files=80, large=0)
    here.server.faults.set([{"match": {"command": "STAT"}, "act": {"delay": 0.3}}])
    job = one.post("/verify", {"folder": "src"})["id"]
    until(lambda: one.job(job)["state"] == "running", 20, one.tail)
    assert ctl(one, "job", "cancel", str(job)).code == 0
    assert one.job(job)["state"] == "cancelled"
    here.server.faults.clear()
    lost = len(lose(here.server, 1))
    assert ctl(one, "verify", "--json").summary["missing"] == lost
    assert one.job(job)["state"] == "cancelled"


# -- by the timetable ------------------------------------------------------------------------------------


def test_new_articles_are_asked_for_and_what_vanished_is_posted_again_by_itself(here: World) -> None:
    one, string = synced(here, watchful=True, defaults=defaults(after="2s"))
    posted = here.posts()
    lost = len(lose(here.server, 4))
    until(lambda: here.posts() == posted + lost, 60, one.tail)
    until(lambda: one.folder()["health"] == "restorable", 60, lambda: f"{one.folder()} {one.tail()}")
    assert sum(event["fields"]["missing"] for event in one.events("damage_found")) == lost
    assert sum(event["fields"]["reposted"] for event in one.events("repaired")) == lost
    assert one.folder()["verified_at"] is not None
    assert_restored(here.reader().start(), string, here.source, here.place / "out")
    here.assert_posted_once()


def test_all_is_asked_for_regularly_and_repaired_by_itself_also_after_a_restart(here: World) -> None:
    one, _ = synced(here, watchful=True, defaults=defaults(every="60s", after="0s"))
    until(lambda: bool(one.events("verification_finished")), 60, one.tail)
    at = one.status()["next_check_at"]
    assert at is not None
    assert one.stop() == 0
    posted = here.posts()
    lost = len(lose(here.server, 3))
    one.start()
    assert one.status()["next_check_at"] == at
    # An hour later by the catalogue's word: nobody waits a minute for a test.
    assert one.stop() == 0
    aged(one, 3_600)
    one.start()
    until(lambda: here.posts() == posted + lost, 60, one.tail)
    until(lambda: one.folder()["health"] == "restorable", 60, lambda: f"{one.folder()} {one.tail()}")
    one.wait_idle()
