"""Backups of the catalogue, and what a daemon does with an old one: it asks before it numbers."""

from pathlib import Path

import pytest

from tests.daemon.commands import ctl
from tests.daemon.harness import DaemonProcess, Refused, World, assert_restored


def restore(daemon: DaemonProcess, backup: Path) -> int:
    called = ctl(daemon, "catalogue", "restore", str(backup), "--config", str(daemon.config_file))
    return called.code


def test_a_backup_is_whole_private_and_never_replaces_a_file(here: World) -> None:
    one = here.daemon().start()
    one.wait_idle()
    to = here.place / "copy.sqlite"
    made = one.post("/catalogue/backup", {"to": str(to)})
    assert made["bytes"] == to.stat().st_size
    assert to.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="never replaces"):
        one.post("/catalogue/backup", {"to": str(to)})
    assert Path(one.post("/catalogue/backup", {})["path"]).parent == one.data_dir / "backups"
    assert one.get("/catalogue/check?full=true")["healthy"]
    # Not while the daemon runs, and not a file that is none.
    assert restore(one, to) == 1
    one.stop()
    (here.place / "junk").write_bytes(b"junk" * 1_000)
    assert restore(one, here.place / "junk") == 1
    assert ctl(one, "catalogue", "check", "--config", str(one.config_file)).code == 0
    assert restore(one, to) == 0


def test_after_an_old_catalogue_is_put_back_no_number_is_used_twice(here: World) -> None:
    here.source.mkdir()
    (here.source / "first").write_bytes(b"1" * 60_000)
    one = here.daemon().start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    backup = here.place / "old.sqlite"
    one.post("/catalogue/backup", {"to": str(backup)})
    for number in range(2, 5):
        (here.source / f"file {number}").write_bytes(b"%d" % number * 60_000)
        one.wait_idle()
    assert one.folder()["version"] == 4
    # A follower has seen version 4: it would call a second version 2 a rollback, and another 4 a fork.
    two = here.reader().start()
    assert_restored(two, string, here.source, here.place / "out4")

    one.stop()
    assert restore(one, backup) == 0
    (here.source / "file 2").unlink()
    (here.source / "later").write_bytes(b"later" * 20_000)
    one.start()
    one.wait_idle()
    assert one.folder()["version"] == 5
    (event,) = one.events("newer_version_found")
    assert "version 4 is on the servers, 1 was the newest known here; the next is 5" in event["message"]
    assert_restored(two, string, here.source, here.place / "out5")
    # It is asked once: what comes then is numbered as ever.
    (here.source / "last").write_bytes(b"last")
    one.wait_idle()
    assert one.folder()["version"] == 6
    assert_restored(two, string, here.source, here.place / "out6")


def test_a_copied_data_directory_is_noticed_at_the_start(here: World) -> None:
    import shutil

    here.source.mkdir()
    (here.source / "first").write_bytes(b"1" * 60_000)
    one = here.daemon().start()
    one.wait_idle()
    one.stop()
    shutil.copytree(one.data_dir, here.place / "copied")
    one.start()
    (here.source / "second").write_bytes(b"2" * 60_000)
    one.wait_idle()
    assert one.folder()["version"] == 2
    one.stop()
    shutil.rmtree(one.data_dir)
    shutil.copytree(here.place / "copied", one.data_dir)
    (here.source / "third").write_bytes(b"3" * 60_000)
    one.start()
    one.wait_idle()
    assert one.folder()["version"] == 3
    string = one.share()
    one.wait_idle()
    assert_restored(here.reader().start(), string, here.source, here.place / "out")
