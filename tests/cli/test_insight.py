"""usyncctl doctor, schedule and history."""

import pytest

from tests.cli.conftest import Run
from tests.control.small_daemon import SmallDaemon

pytestmark = pytest.mark.usefixtures("listener")


@pytest.mark.parametrize(("grade", "code"), [("ok", 0), ("warning", 3), ("error", 1)])
def test_the_worst_finding_is_the_exit_code(run: Run, daemon: SmallDaemon, grade: str, code: int) -> None:
    daemon.grade = grade
    assert run("doctor").code == code
    assert run("doctor", "--json").document["grade"] == grade


def test_every_finding_that_is_not_well_has_what_mends_it(run: Run, daemon: SmallDaemon) -> None:
    daemon.grade = "error"
    out = run("doctor").out
    assert "ok  disk           6.1 GB free\n" in out
    assert "!!  servers        main: \\x1b[2J\n" in out
    assert "usyncctl server test main" in out


def test_the_schedule_says_what_applies_now_and_why(run: Run) -> None:
    out = run("schedule").out.splitlines()
    assert out[0] == "now       up 1.0 MB/s, down without limit  (timetable: mon-fri 08:00-18:00)"
    assert out[1] == "*         mon-fri 08:00-18:00: up 1.0 MB/s"
    assert out[2] == "          sat 20:00-23:00: up paused"
    assert out[3].endswith("rescan docs")


def test_history_is_paged(run: Run) -> None:
    outcome = run("history", "docs")
    assert "docs: version 8" in outcome.out
    assert "usyncctl history docs --after 7" in outcome.err
    assert run("history", "--after", "7", "--json").document["next"] is None
    assert run("history", "nothing").code == 5
