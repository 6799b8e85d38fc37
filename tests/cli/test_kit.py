"""usyncctl kit show."""

import pytest

from tests.cli.conftest import Run
from tests.control.small_daemon import SmallDaemon

pytestmark = pytest.mark.usefixtures("listener")


def test_a_secret_is_not_shown_where_nobody_can_be_asked(run: Run) -> None:
    outcome = run("kit", "show", stdin=b"")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--yes" in outcome.err


def test_the_kit_alone_is_on_stdout(run: Run) -> None:
    outcome = run("kit", "show", "--yes")
    assert outcome.code == 0
    assert outcome.out == "usyncrcvr1" + "q" * 59 + "\n"
    assert "usenetsyncd recover --kit -" in outcome.err
    assert run("kit", "show", "--yes", "--json").document["kit"].startswith("usyncrcvr1")


def test_a_kit_that_would_find_nothing_says_so(run: Run, daemon: SmallDaemon) -> None:
    daemon.directory_at = None
    outcome = run("kit", "show", "--yes")
    assert outcome.code == 3
    assert "the kit finds nothing" in outcome.err
