"""Metrics: names by convention, one table for all of them, and what stands beside them in contrib/ fits."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.daemon.harness import world
from usenetsyncd.telemetry.metrics import COUNTER, FAMILIES, GAUGE, Reading, exposition

CONTRIB = Path(__file__).parents[2] / "contrib"
RULES = CONTRIB / "prometheus" / "usenetsyncd.rules.yml"
OURS = re.compile(r"usenetsyncd_\w+")
BASE_UNITS = {
    "milliseconds",
    "minutes",
    "hours",
    "kilobytes",
    "megabytes",
    "kb",
    "mb",
    "percent",
}


def names() -> set[str]:
    """As they appear in a scrape."""
    return {f"usenetsyncd_{f.name}{'_total' if f.kind == COUNTER else ''}" for f in FAMILIES.values()}


def test_every_family_follows_the_convention() -> None:
    for family in FAMILIES.values():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", family.name), family
        assert family.kind in (COUNTER, GAUGE)
        assert family.help.endswith("."), family
        assert not BASE_UNITS & set(family.name.split("_")), family
        assert not family.name.endswith("_total"), family
        assert not {"path", "file", "error", "message", "message_id"} & set(family.labels), family


def test_readings_are_told_with_escaped_labels() -> None:
    text = exposition(
        [
            Reading("ready", True),
            Reading("transfer_bytes", 5e9, ("up",)),
            Reading("transfer_bytes", 0.0, ("down",)),
            Reading("folder_files", 3, ('do"c\ns',)),
        ]
    ).decode()
    assert "\nusenetsyncd_ready 1.0\n" in text
    assert '\nusenetsyncd_transfer_bytes_total{direction="up"} 5e+09\n' in text
    assert "# TYPE usenetsyncd_transfer_bytes_total counter\n" in text
    assert '\nusenetsyncd_folder_files{folder="do\\"c\\ns"} 3.0\n' in text
    assert "process_resident_memory_bytes" in text
    assert text.count("# HELP usenetsyncd_transfer_bytes_total") == 1


def test_alerts_and_dashboard_ask_only_for_what_there_is() -> None:
    asked = set(OURS.findall(RULES.read_text())) - {"usenetsyncd_rules"}
    board = json.loads((CONTRIB / "grafana" / "usenetsyncd.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            asked |= set(OURS.findall(target["expr"]))
    assert asked
    assert asked <= names()


def test_every_alert_says_what_to_do_and_how_bad_it_is() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert re.search(r"See: (usyncctl|systemctl) \w+", rule["annotations"]["description"]), rule["alert"]


@pytest.mark.requires("promtool")
def test_promtool_finds_nothing_wrong_with_the_alerts() -> None:
    for arguments in (("check", "rules", RULES.name), ("test", "rules", "usenetsyncd.rules.test.yml")):
        done = subprocess.run(["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a daemon tells that has done some work."""
    with world(tmp_path_factory.mktemp("m")) as here:
        here.source.mkdir()
        (here.source / "secret-plan.txt").write_text("text")
        daemon = here.daemon(name="d").start()
        daemon.wait_idle()
        text = daemon.text("/metrics")
        assert daemon.stop() == 0
    return text


def test_a_running_daemon_tells_everything_and_no_path(scraped: str) -> None:
    told = set(re.findall(r"^# TYPE (usenetsyncd_\w+)", scraped, re.MULTILINE))
    # these are told only where there is something to tell of
    sometimes = {f"usenetsyncd_{name}" for name in ("warnings", "jobs", "folder_verified_timestamp_seconds")}
    assert names() - sometimes - {"usenetsyncd_folder_verified_ratio"} <= told <= names()
    assert 'usenetsyncd_folder_files{folder="src"} 1.0' in scraped
    assert 'usenetsyncd_folder_state{folder="src",state="up_to_date"} 1.0' in scraped
    assert re.search(r'usenetsyncd_server_articles_posted_total\{server="main"\} [1-9]', scraped)
    assert "secret-plan" not in scraped
    assert "/src" not in scraped


@pytest.mark.requires("promtool")
def test_promtool_finds_nothing_wrong_with_what_a_daemon_tells(scraped: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=scraped, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
