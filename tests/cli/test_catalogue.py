"""usyncctl backup and catalogue."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.control.small_daemon import SmallDaemon


@pytest.mark.usefixtures("listener")
def test_a_backup_says_where_it_is(run: Run, tmp_path: Path) -> None:
    assert run("backup", "catalogue", "--to", str(tmp_path / "new")).out == f"{tmp_path}/new: 61.0 MB\n"
    assert run("backup", "catalogue", "--json").document["bytes"] == 61_000_000


@pytest.mark.usefixtures("listener")
def test_a_check_has_an_exit_code_of_its_own_for_damage(run: Run, daemon: SmallDaemon) -> None:
    assert (run("catalogue", "check").code, run("catalogue", "check", "--full").out) == (
        0,
        "the catalogue is healthy\n",
    )
    daemon.problems = ("row 7 is missing from index \x1b[2J",)
    outcome = run("catalogue", "check")
    assert outcome.code == 1
    assert outcome.out.startswith("! row 7 is missing from index \\x1b[2J\n")
    assert "usyncctl catalogue restore FILE" in outcome.err


def config(tmp_path: Path) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"version": 1, "storage": {"data_dir": str(tmp_path)}}))
    return str(file)


def test_without_a_daemon_the_file_is_read_directly(run: Run, tmp_path: Path) -> None:
    assert run("catalogue", "check", "--config", config(tmp_path)).code == 5
    (tmp_path / "catalogue.sqlite").write_bytes(b"not a database" * 1_000)
    outcome = run("catalogue", "check", "--config", config(tmp_path), "--json")
    assert (outcome.code, outcome.document["healthy"]) == (1, False)


def test_what_is_no_catalogue_is_not_put_back(run: Run, tmp_path: Path) -> None:
    assert run("catalogue", "restore", str(tmp_path / "none"), "--config", config(tmp_path)).code == 5
    with sqlite3.connect(tmp_path / "foreign") as other:
        other.execute("CREATE TABLE things (name TEXT)")
    other.close()
    outcome = run("catalogue", "restore", str(tmp_path / "foreign"), "--config", config(tmp_path))
    assert outcome.code == 1
    assert "not a UsenetSync catalogue" in outcome.err
    assert not (tmp_path / "catalogue.sqlite").exists()
