"""usyncctl verify and repair: what a person reads, what a program reads, and the code they end with."""

import threading
import time
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.control.small_daemon import STARTED, SmallDaemon
from usenetsyncd.cli import following
from usenetsyncd.cli.telling import progress_text
from usenetsyncd.control import schema

pytestmark = pytest.mark.usefixtures("listener")

STATEMENT = "459 of 459 sampled: with 99 % confidence less than 1 % is missing"
NASTY = "\x1b]0;owned\x07.raw"


def checked(**wrong: Any) -> dict[str, Any]:
    """The result of a check as the daemon stores it."""
    counts = {"checked": 20_480, "missing": 0, "corrupt": 0, "unknown": 0, "sampled": 459}
    counts |= {"at_risk": 0, "unrepairable": 0, **wrong}
    word = "damaged" if counts["unrepairable"] else "at_risk" if counts["at_risk"] else "restorable"
    told = {
        "folder": "docs",
        "health": word,
        "statement": STATEMENT,
        "reasons": ["1 article lost on main; the source file has it"] if counts["at_risk"] else [],
        "files": [NASTY] if counts["unrepairable"] else [],
        "action": "usyncctl repair docs" if counts["missing"] else "",
    }
    servers = [
        {"server": name, **{key: counts[key] for key in ("checked", "missing", "corrupt", "unknown")}}
        for name in ("main", "judge")
    ]
    return {"type": "summary", **counts, "servers": servers, "folders": [{**counts, **told}]}


def repaired(**values: Any) -> dict[str, Any]:
    """The result of a repair as the daemon stores it."""
    counts = {"reposted": 0, "rebuilt": 0, "unrepairable": 0, "waiting": 0, "failures": []}
    return {"type": "summary", **counts, "folders": [], **values}


# -- verify --------------------------------------------------------------------------------


def test_a_check_that_finds_nothing_wrong_shows_servers_and_statistics(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = checked()
    outcome = run("verify", "docs")
    assert outcome.code == 0
    assert outcome.out == (
        "SERVER  CHECKED  MISSING  CORRUPT  UNKNOWN\n"
        "main     20,480        0        0        0\n"
        "judge    20,480        0        0        0\n"
        f"docs: restorable; {STATEMENT}\n"
    )
    assert outcome.err == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"missing": 3},
        {"corrupt": 1},
        {"unknown": 7},
        {"missing": 3, "at_risk": 2},
        {"missing": 3, "unrepairable": 1},
    ],
    ids=str,
)
def test_a_check_that_finds_something_ends_with_3(
    run: Run, daemon: SmallDaemon, wrong: dict[str, int]
) -> None:
    daemon.care_ends = checked(**wrong)
    assert run("verify", "docs").code == 3
    last = run("verify", "docs", "--json").lines[-1]
    assert last["type"] == "summary"
    assert last.keys() >= {"checked", "missing", "corrupt", "at_risk", "unrepairable"}
    assert last["exit_code"] == 3
    assert {name: last[name] for name in wrong} == wrong


def test_what_to_do_next_is_said_on_stderr_and_names_of_files_are_escaped(
    run: Run, daemon: SmallDaemon
) -> None:
    daemon.care_ends = checked(missing=3, unrepairable=1)
    outcome = run("verify")
    assert "docs: damaged; " in outcome.out
    assert "cannot be restored: \\x1b]0;owned\\x07.raw" in outcome.out
    assert outcome.err == "next: usyncctl repair docs\n"


def test_unknown_is_never_called_missing(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = checked(unknown=7)
    outcome = run("verify", "docs")
    assert "It is not counted as missing" in outcome.err
    assert run("verify", "docs", "--json").lines[-1]["missing"] == 0


def test_the_orders_of_verify_reach_the_daemon(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = checked()
    run("verify", "docs", "--sample", "2.5%", "--server", "main")
    run("verify", "--full")
    assert daemon.care_orders == [
        schema.VerifyOrder(folder="docs", sample=0.025, server="main"),
        schema.VerifyOrder(full=True),
    ]


def test_every_folder_has_a_line_for_programs_and_the_summary_comes_last(
    run: Run, daemon: SmallDaemon
) -> None:
    daemon.care_ends = checked(missing=1)
    lines = run("verify", "--json").lines
    assert [line["type"] for line in lines] == ["folder", "summary"]
    assert (lines[0]["folder"], lines[0]["missing"], lines[0]["statement"]) == ("docs", 1, STATEMENT)


def test_progress_is_told_until_the_end(run: Run, daemon: SmallDaemon) -> None:
    def finish() -> None:
        while not daemon.jobs_by_id:
            time.sleep(0.01)
        daemon.change_job(1, progress={"phase": "asking", "folder": "docs", "done": 30, "total": 30})
        time.sleep(0.4)
        daemon.change_job(1, state="done", result=checked())

    thread = threading.Thread(target=finish)
    thread.start()
    lines = run("verify", "docs", "--json").lines
    thread.join()
    assert {line["type"] for line in lines[:-1]} == {"progress", "folder"}
    assert lines[0]["kind"] == "verify"
    assert lines[-1]["type"] == "summary"


def test_away_from_a_terminal_progress_is_a_line_now_and_then(
    run: Run, daemon: SmallDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LINE_EVERY_S", 0.0)
    run("verify", "docs", "--detach")
    timer = threading.Timer(0.3, lambda: daemon.change_job(1, state="done", result=checked()))
    timer.start()
    outcome = run("job", "show", "1", "--follow")
    timer.join()
    assert outcome.err == "docs: asking: 10 of 30 articles, 1 missing\n"
    assert "docs: restorable" in outcome.out


def test_what_is_not_known_yet_is_not_in_the_line() -> None:
    assert progress_text({"state": "queued", "kind": "verify"}) == "queued"
    assert progress_text({"phase": "asking", "folder": "docs"}) == "docs: asking"


# -- repair --------------------------------------------------------------------------------


def test_a_repair_says_what_was_posted_and_where_it_came_from(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = repaired(reposted=1_024, from_source=1_000, from_copy=21, rebuilt=3)
    outcome = run("repair", "docs")
    assert outcome.code == 0
    assert outcome.out == (
        "1,024 articles posted again "
        "(1,000 from source files, 21 from other copies and servers, 3 rebuilt from parity)\n"
    )


def test_a_repair_that_cannot_bring_everything_back_names_it_and_ends_with_3(
    run: Run, daemon: SmallDaemon
) -> None:
    failures = [
        {"what": f"{number}-{NASTY}", "reason": "no source, no copy, no parity"} for number in range(25)
    ]
    daemon.care_ends = repaired(reposted=2, unrepairable=25, failures=failures)
    outcome = run("repair", "docs")
    assert outcome.code == 3
    assert outcome.out == "2 articles posted again, 25 unrepairable\n"
    assert outcome.err.count("no source, no copy, no parity") == 20
    assert "! and 5 more: usyncctl job show 1 --json" in outcome.err
    last = run("repair", "docs", "--json").lines[-1]
    assert last.keys() >= {"type", "reposted", "rebuilt", "unrepairable"}
    assert (last["type"], last["exit_code"], last["unrepairable"]) == ("summary", 3, 25)


def test_a_dry_run_says_would_and_changes_nothing(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = repaired(reposted=2, from_source=2, dry_run=True)
    assert "2 articles would be posted again (2 from source files)" in run("repair", "--dry-run").out
    assert daemon.care_orders == [schema.RepairOrder(dry_run=True)]


def test_nothing_to_repair_is_all_right(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = repaired()
    outcome = run("repair", "docs", "--no-wait")
    assert (outcome.code, outcome.out[:17]) == (0, "nothing to repair")
    assert daemon.care_orders == [schema.RepairOrder(folder="docs", wait=False)]


def test_what_is_not_seen_everywhere_yet_needs_attention(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = repaired(reposted=2, waiting=1)
    outcome = run("repair", "docs")
    assert outcome.code == 3
    assert "1 article not seen on every server yet" in outcome.err


# -- both ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_nothing_goes_unsaid_when_it_cannot_be_done(run: Run, daemon: SmallDaemon, command: str) -> None:
    assert run(command, "nobody").code == 5
    assert run(command, "--detach", "--json").document["kind"] == command
    daemon.change_job(1, state="failed", error_code="no_server", error="no server answers")
    outcome = run("job", "show", "1", "--follow")
    assert (outcome.code, outcome.err) == (1, "job 1: no server answers\n")
    assert "no server answers" in run("job", "list").out


def test_wrong_words_are_usage(run: Run) -> None:
    assert run("verify", "--sample", "lots").code == 2
    assert run("verify", "--sample", "2%", "--full").code == 2
    assert run("verify", "--server", "nobody").code == 5


def test_the_list_of_jobs_tells_how_each_ended(run: Run, daemon: SmallDaemon) -> None:
    daemon.care_ends = checked(missing=3)
    run("verify")
    daemon.care_ends = repaired(reposted=3)
    run("repair")
    listed = run("job", "list").out
    assert "20,480 articles asked for, 3 missing" in listed
    assert "3 articles posted again" in listed
    daemon.change_job(2, state="running", result=None)
    assert "docs: asking: 10 of 30 articles, 1 missing" in run("job", "show", "2").out


# -- folder show ---------------------------------------------------------------------------


def test_a_folder_shows_its_health_and_what_to_do(run: Run, daemon: SmallDaemon) -> None:
    daemon.known["docs"] = daemon.make_folder("docs", b"/srv/docs", health="damaged")
    daemon.damage = schema.Damage(
        lost=2,
        at_risk=3,
        reasons=["2 segments are nowhere any more"],
        files=[NASTY],
        backbones={1: 3, 2: 40},
        action="usyncctl repair docs",
    )
    daemon.last_check = schema.LastCheck(
        finished_at=STARTED, checked=45, missing=5, sampled=9, statement=STATEMENT
    )
    shown = run("folder", "show", "docs").out
    assert "health        damaged: 2 segments are nowhere any more" in shown
    assert "lost          2 segments, 3 more at risk: usyncctl repair docs" in shown
    assert "not whole     \\x1b]0;owned\\x07.raw" in shown
    assert "kept on       1 server: 3 segments, 2 servers: 40 segments" in shown
    assert f"last check    45 articles asked for, 5 missing; {STATEMENT}" in shown
