"""usyncctl folder review and release."""

import pytest

from tests.cli.conftest import Run
from tests.control.small_daemon import SmallDaemon

pytestmark = pytest.mark.usefixtures("listener")


def test_a_held_folder_is_shown_with_its_share_its_paths_and_what_to_do(
    run: Run, daemon: SmallDaemon
) -> None:
    daemon.held = True
    outcome = run("folder", "review", "docs")
    assert outcome.code == 3
    assert "docs is held since" in outcome.out
    assert (
        "deleted  31 of 100 files (31%; allowed 25%)\n  a\n  \\x1b]0;owned\\x07\n  and 29 more" in outcome.out
    )
    assert "usyncctl folder release docs" in outcome.err
    assert "usyncctl restore docs@118 --to DIR" in outcome.err


def test_a_folder_that_is_not_held_says_so(run: Run) -> None:
    outcome = run("folder", "review", "docs")
    assert (outcome.code, outcome.out.splitlines()[0]) == (0, "docs is not held")
    assert run("folder", "review", "docs", "--json").document["held"] is False


def test_a_release_tells_what_was_accepted_and_is_refused_where_there_is_nothing_to_release(
    run: Run, daemon: SmallDaemon
) -> None:
    daemon.held = True
    assert run("folder", "release", "docs").out == "docs is released: 31 deletions, 0 changes accepted\n"
    assert run("folder", "release", "docs").code == 2
    assert run("folder", "release", "nothing").code == 5


def test_for_programs_a_release_is_one_document(run: Run, daemon: SmallDaemon) -> None:
    daemon.held = True
    document = run("folder", "release", "docs", "--json").document
    assert (document["folder"], document["deleted"]) == ("docs", 31)
