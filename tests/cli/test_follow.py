"""usyncctl follow and diff: what a person reads, what a program reads, and the code they end with."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.control.small_daemon import SmallDaemon

pytestmark = pytest.mark.usefixtures("listener")


def test_following_from_the_first_to_the_last(run: Run, daemon: SmallDaemon, tmp_path: Path) -> None:
    assert "nothing is followed" in run("follow", "list").err
    copy = tmp_path / "copy"
    added = run("follow", "add", "usyncread-string", str(copy))
    assert (added.code, added.out) == (
        0,
        f"{copy} is kept at the newest version; see it: usyncctl follow list\n",
    )
    assert "usyncread-string" not in added.out + added.err
    listed = run("follow", "list")
    assert listed.code == 0
    assert "up to date" in listed.out
    assert run("follow", "pause", str(copy)).out.endswith("usyncctl follow resume 1\n")
    assert json.loads(run("follow", "list", "--json").out)["follows"][0]["state"] == "paused"
    assert run("follow", "resume", "1").code == 0
    assert "its files stay" in run("follow", "remove", "1").out
    assert run("follow", "remove", "1").code == 5
    assert run("follow", "remove", "elsewhere").code == 5


def test_one_that_is_stopped_wants_attention(run: Run, daemon: SmallDaemon) -> None:
    run("follow", "add", "usyncread-string", "/copy")
    assert daemon.followed is not None
    reason = "this share was revoked by its owner"
    daemon.followed = daemon.followed.model_copy(
        update={"state": "stopped", "code": "share_revoked", "reason": reason}
    )
    outcome = run("follow", "list")
    assert outcome.code == 3
    assert reason in outcome.err


def test_a_folder_that_is_posted_is_refused(run: Run, daemon: SmallDaemon) -> None:
    outcome = run("follow", "add", "usyncread-string", "/docs")
    assert outcome.code == 2
    assert "overlaps" in outcome.err


def test_a_difference_is_told_line_by_line(run: Run, daemon: SmallDaemon) -> None:
    outcome = run("diff", "docs", "v1", "2")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "+ a   10 B",
        "~ b\\x1b]0;   20 B -> 30 B",
        "> d/c   from c",
        "1 added, 1 changed, 1 moved; 0 B new, 0 B gone",
    ]
    lines = [json.loads(line) for line in run("diff", "docs", "1", "2", "--json").out.splitlines()]
    assert [line["type"] for line in lines] == ["difference"] * 3 + ["summary"]
    assert run("diff", "nothing", "1", "2").code == 5
    assert run("diff", "docs", "one", "2").code == 2
