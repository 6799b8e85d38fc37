"""Starting, stopping, reloading, refusing, holding: a daemon among people, disks and other daemons."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.daemon.harness import DaemonProcess, World, assert_restored, until
from tests.daemon.trees import write_files


def _synced(here: World) -> tuple[DaemonProcess, str]:
    write_files(here.source, 60, random.Random(21), largest=20_000)
    one = here.daemon().start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    return one, string


# -- roots that go away ----------------------------------------------------------------------------


def test_a_root_that_vanished_is_held_and_goes_on_when_it_is_back(here: World) -> None:
    one, string = _synced(here)
    away = here.place / "away"
    here.source.rename(away)
    until(lambda: one.folder()["state"] == "held", 20, lambda: f"{one.folder()}")
    assert any(warning["code"] == "held" for warning in one.status()["warnings"])
    version, posts = one.folder()["version"], here.posts()
    one.wait_idle()
    assert (one.folder()["version"], here.posts()) == (version, posts)
    (away / "written meanwhile").write_bytes(b"new")
    away.rename(here.source)
    until(lambda: one.folder()["state"] != "held", 20, lambda: f"{one.folder()}")
    one.wait_idle()
    assert one.folder()["version"] == version + 1
    assert_restored(here.reader().start(), string, here.source, here.place / "out")


def test_a_root_that_is_suddenly_empty_is_no_deletion(here: World) -> None:
    one, string = _synced(here)
    away = here.place / "away"
    here.source.rename(away)
    here.source.mkdir()
    until(lambda: one.folder()["state"] == "held", 20, lambda: f"{one.folder()}")
    assert "empty" in one.folder()["reason"]
    # Neither does a restart take it for one.
    assert one.stop() == 0
    one.start()
    until(lambda: one.folder()["state"] == "held", 20, lambda: f"{one.folder()}")
    assert one.folder()["version"] == 1
    here.source.rmdir()
    away.rename(here.source)
    until(lambda: one.folder()["state"] == "up_to_date", 20, lambda: f"{one.folder()}")
    assert_restored(here.reader().start(), string, here.source, here.place / "out")


@pytest.mark.requires("root")
def test_an_unmounted_disk_is_held_until_it_is_mounted_again(here: World) -> None:
    disk = here.place / "disk"
    disk.mkdir()
    here.source.mkdir()
    write_files(disk, 30, random.Random(22))
    subprocess.run(["mount", "--bind", str(disk), str(here.source)], check=True)
    try:
        one = here.daemon().start()
        one.wait_idle()
        string = one.share()
        one.wait_idle()
        subprocess.run(["umount", str(here.source)], check=True)
        until(lambda: one.folder()["state"] == "held", 20, lambda: f"{one.folder()}")
        subprocess.run(["mount", "--bind", str(disk), str(here.source)], check=True)
        until(lambda: one.folder()["state"] == "up_to_date", 20, lambda: f"{one.folder()}")
        assert_restored(here.reader().start(), string, here.source, here.place / "out")
    finally:
        one.end()
        subprocess.run(["umount", str(here.source)], check=False, capture_output=True)


# -- configuration ---------------------------------------------------------------------------------


def test_sighup_takes_a_good_configuration_and_keeps_the_old_for_a_bad_one(here: World) -> None:
    one, _ = _synced(here)
    more = here.place / "more"
    write_files(more, 10, random.Random(23))
    one.config["folders"].append({"id": "more", "path": str(more)})
    one.write_config()
    assert one.process is not None
    one.process.send_signal(signal.SIGHUP)
    until(lambda: len(one.status()["folders"]) == 2, 20, one.tail)
    one.wait_idle()
    assert one.folder("more")["version"] == 1

    one.config_file.write_text('{"version": 1, "servers": [{"name": "main", "conections": 4}]}')
    one.process.send_signal(signal.SIGHUP)
    until(lambda: bool(one.events("reload_failed")), 20, one.tail)
    assert "conections" in one.events("reload_failed")[0]["message"]
    assert len(one.status()["folders"]) == 2
    (more / "later").write_bytes(b"still watched")
    one.wait_idle()
    assert one.folder("more")["version"] == 2


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("retry", {"no_such_row": {"tries": 3}}),
        ("control", {"socket": "SOCKET", "group": "no-such-group-here"}),
        ("servers", [{"name": "main", "host": "localhost", "port": "twenty"}]),
    ],
)
def test_a_configuration_that_cannot_be_ends_the_start_with_78(
    here: World, section: str, value: object
) -> None:
    one = here.daemon()
    if isinstance(value, dict) and "socket" in value:
        value["socket"] = str(one.socket)
    one.config[section] = value
    one.write_config()
    one.launch()
    assert one.wait_exit(20) == 78, one.tail()
    assert section in one.tail()


def test_a_second_daemon_on_the_same_data_is_refused_and_the_first_lives_on(here: World) -> None:
    one, _ = _synced(here)
    second = here.daemon("second", folders=[], storage={"data_dir": str(one.data_dir)})
    second.launch()
    assert one.process is not None
    pid = str(one.process.pid)
    assert second.wait_exit(20) == 1
    assert "already" in second.tail()
    assert pid in second.tail()
    same_socket = here.daemon("third", folders=[], control={"socket": str(one.socket), "group": None})
    same_socket.launch()
    assert same_socket.wait_exit(20) in (1, 78)
    assert one.status()["state"] == "running"


def test_a_catalogue_from_a_newer_version_is_refused_and_left_alone(here: World) -> None:
    one, _ = _synced(here)
    assert one.stop() == 0
    catalogue = one.data_dir / "catalogue.sqlite"
    database = sqlite3.connect(catalogue)
    database.execute("INSERT INTO schema_version (version, applied_at) VALUES (999, 0)")
    database.commit()
    database.close()
    before = catalogue.read_bytes()
    one.launch()
    assert one.wait_exit(20) == 1
    assert "newer" in one.tail().splitlines()[-1]
    assert catalogue.read_bytes() == before


# -- stopping --------------------------------------------------------------------------------------


def test_sigterm_in_the_middle_finishes_what_is_in_flight_and_leaves_no_lease(here: World) -> None:
    write_files(here.source, 200, random.Random(24), largest=60_000)
    for number in range(20):
        (here.source / f"large {number}").write_bytes(random.Random(number).randbytes(1_500_000))
    here.server.faults.set([{"match": {"command": "POST"}, "act": {"delay": 0.2}}])
    one = here.daemon().start()
    until(lambda: here.posts() >= 3, 30, one.tail)
    assert one.stop() == 0
    database = one.catalogue()
    try:
        states = dict(database.execute("SELECT state, count(*) FROM article GROUP BY state").fetchall())
    finally:
        database.close()
    # Posted, queued, and a head that waits: nobody is on the way any more, nothing is in doubt.
    assert set(states) <= {0, 1, 2, 6}, states
    assert states[0] == here.posts()
    assert not one.log("upload_failed_unexpectedly")
    here.server.faults.clear()
    one.start()
    one.wait_idle()
    here.assert_posted_once()
    assert one.folder()["state"] == "up_to_date"


def test_a_second_sigterm_hurries_and_nothing_is_posted_twice(here: World) -> None:
    write_files(here.source, 50, random.Random(25), largest=60_000)
    here.server.faults.set([{"match": {"command": "POST"}, "act": {"delay": 20.0}}])
    one = here.daemon().start()
    until(lambda: here.server.counters.commands["POST"] >= 2, 30, one.tail)
    assert one.process is not None
    one.process.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert one.process.poll() is None, "articles in flight are waited for"
    asked = time.monotonic()
    one.process.send_signal(signal.SIGTERM)
    assert one.wait_exit(15) == 0
    assert time.monotonic() - asked < 5.0
    here.server.drop_connections()
    here.server.faults.clear()
    one.start()
    one.wait_idle()
    assert one.folder()["state"] == "up_to_date"
    assert set(here.server.counters.posts.values()) == {1}


def test_stop_over_the_api_ends_it_as_sigterm_does(here: World) -> None:
    one, _ = _synced(here)
    one.post("/stop")
    assert one.wait_exit(20) == 0
    assert one.log("daemon_stopped")
    assert not one.socket.exists()


# -- full disks ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(here: World) -> Path:
    disk = here.place / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=True)
    return disk


@pytest.mark.requires("root")
def test_a_full_disk_is_said_clearly_and_work_goes_on_when_there_is_room(
    here: World, small_disk: Path
) -> None:
    write_files(here.source, 100, random.Random(26))
    one = here.daemon(storage={"data_dir": str(small_disk / "data"), "min_free": 0})
    try:
        one.start()
        one.wait_idle()
        ballast = small_disk / "ballast"
        with ballast.open("wb") as opened:
            try:
                while True:
                    opened.write(bytes(65_536))
                    opened.flush()
            except OSError:
                pass
        write_files(here.source / "more", 4_000, random.Random(27), largest=200)
        until(lambda: _says_full(one), 30, one.tail)
        if one.process is not None and one.process.poll() is not None:
            assert one.wait_exit() != 0
        ballast.unlink()
        if one.process is None:
            one.start()
        one.wait_idle()
        string = one.share()
        one.wait_idle()
        here.assert_posted_once()
        assert_restored(here.reader().start(), string, here.source, here.place / "out")
        assert one.stop() == 0
    finally:
        one.end()
        subprocess.run(["umount", "-l", str(small_disk)], check=False, capture_output=True)


def _says_full(daemon: DaemonProcess) -> bool:
    text = daemon.log_file.read_text(errors="replace").lower()
    return "no room" in text or "disk is full" in text or "no space left" in text or "disk full" in text


# -- pauses ----------------------------------------------------------------------------------------


def test_a_pause_lasts_over_a_restart_and_ends_on_request(here: World) -> None:
    one, _ = _synced(here)
    one.post("/pause", {"folder": "src"})
    (here.source / "paused").write_bytes(os.urandom(100_000))
    time.sleep(1.5)
    posts = here.posts()
    assert one.stop() == 0
    one.start()
    time.sleep(1.5)
    assert here.posts() == posts
    assert one.folder()["state"] == "paused"
    one.post("/resume", {"folder": "src"})
    one.wait_idle()
    assert one.folder()["version"] == 2


def test_the_log_tells_no_secret(here: World) -> None:
    one, string = _synced(here)
    two = here.reader().start()
    two.restore(string, here.place / "out")
    for daemon in (one, two):
        text = daemon.log_file.read_text() + json.dumps(daemon.status()) + json.dumps(daemon.events())
        assert string not in text
        assert string.rpartition("1")[2][:30] not in text
    shutil.rmtree(here.place / "out")
