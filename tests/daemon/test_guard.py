"""The deletion guard, with real daemons: what looks like an accident is held, and what was meant goes on."""

import shutil

import pytest

from tests.daemon.harness import DaemonProcess, Refused, World, assert_restored, until

MANY = 40
# As it is where nobody configured anything.
GUARDED = {"settle": "0.3s", "redundancy": {"copies": 1, "parity": "0%"}}


def fill(here: World, count: int = MANY) -> None:
    (here.source / "sub").mkdir(parents=True)
    for number in range(count):
        (here.source / "sub" / f"file {number:03}").write_bytes(b"content %d " % number * 50)


def wait_state(daemon: DaemonProcess, state: str) -> None:
    until(lambda: daemon.folder()["state"] == state, 30.0, lambda: f"{daemon.folder()} {daemon.tail()}")


def delete(here: World, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        (here.source / "sub" / f"file {number:03}").unlink()


def test_a_mass_deletion_is_held_over_a_restart_reviewed_and_released(here: World) -> None:
    fill(here)
    one = here.daemon(defaults=GUARDED).start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    shutil.copytree(here.source, here.place / "before")
    delete(here, 12)
    wait_state(one, "held")
    one.wait_idle()
    posts = here.posts()

    assert one.folder()["reason"] == "30% of files deleted (12)"
    (warning,) = [w for w in one.status()["warnings"] if w["code"] == "held"]
    assert warning["action"] == "usyncctl folder review src"
    (event,) = one.events("folder_held")
    assert (event["level"], event["folder"]) == ("warning", "src")
    review = one.get("/folders/src/review")
    assert (review["deleted"], review["files"], review["cause"]) == (12, MANY, "losses")
    assert review["deleted_paths"][:2] == ["sub/file 000", "sub/file 001"]
    assert (review["deleted_share"], review["max_deleted"]) == (0.3, 0.25)

    # It stays held over a restart, and new files wait with it.
    one.stop()
    (here.source / "new").write_bytes(b"waits")
    one.start()
    one.wait_idle()
    assert one.folder()["state"] == "held"
    assert (one.folder()["version"], here.posts()) == (1, posts)
    assert len(one.events("folder_held")) == 1
    assert_restored(here.reader().start(), string, here.place / "before", here.place / "out")

    assert one.post("/folders/src/release")["deleted"] == 12
    one.wait_idle()
    assert (one.folder()["state"], one.folder()["version"]) == ("up_to_date", 2)
    with pytest.raises(Refused, match="not held"):
        one.post("/folders/src/release")
    # What was accepted is not held again, and the next accident is.
    delete(here, 2, first=12)
    one.wait_idle()
    assert one.folder()["version"] == 3
    delete(here, 12, first=14)
    wait_state(one, "held")


def test_files_that_come_back_end_the_hold_and_nothing_is_posted_again(here: World) -> None:
    fill(here)
    (here.source / "stays").write_bytes(b"another disk")
    one = here.daemon(defaults=GUARDED).start()
    one.wait_idle()
    posts = here.posts()
    (here.source / "sub").rename(here.place / "unmounted")
    wait_state(one, "held")
    (here.place / "unmounted").rename(here.source / "sub")
    until(lambda: bool(one.events("hold_ended")), 30.0, one.tail)
    one.wait_idle()
    assert one.folder()["state"] == "up_to_date"
    assert here.posts() <= posts + 3, "a version of the same files, and nothing else"
    here.assert_posted_once()


def test_an_unmounted_root_is_held_and_an_empty_one_can_be_accepted(here: World) -> None:
    fill(here, 3)
    one = here.daemon(defaults=GUARDED).start()
    one.wait_idle()
    here.source.rename(here.place / "elsewhere")
    one.post("/scan", {"folder": "src"})
    wait_state(one, "held")
    with pytest.raises(Refused, match="mount its disk"):
        one.post("/folders/src/release")
    # Its mount point is there again, and empty: still no deletion, until somebody says so.
    here.source.mkdir()
    one.post("/scan", {"folder": "src"})
    until(lambda: "suddenly empty" in one.folder()["reason"], 30.0, one.tail)
    review = one.get("/folders/src/review")
    assert (review["cause"], review["deleted"], review["deleted_share"]) == ("root", 3, 1.0)
    assert one.post("/folders/src/release")["deleted"] == 3
    one.wait_idle()
    assert (one.folder()["files"], one.folder()["version"]) == (0, 2)


def test_everything_changed_at_once_is_held_and_small_or_moved_or_touched_things_are_not(here: World) -> None:
    fill(here)
    one = here.daemon(defaults=GUARDED).start()
    one.wait_idle()
    # Fewer than ten files, a move of everything, other permissions of everything: days like any other.
    delete(here, 9)
    one.wait_idle()
    (here.source / "sub").rename(here.source / "moved")
    one.wait_idle()
    for path in (here.source / "moved").iterdir():
        path.chmod(0o600)
    one.wait_idle()
    assert not one.events("folder_held")
    assert one.folder()["version"] == 4
    for path in (here.source / "moved").iterdir():
        path.write_bytes(b"encrypted by somebody " + path.name.encode())
    wait_state(one, "held")
    assert one.folder()["reason"] == "100% of files changed (31)"
    one.wait_idle()
    assert one.folder()["version"] == 4


def test_a_deletion_bit_by_bit_is_one_deletion(here: World) -> None:
    fill(here)
    one = here.daemon(defaults=GUARDED).start()
    one.wait_idle()
    delete(here, 8)
    one.wait_idle()
    assert one.folder()["version"] == 2
    delete(here, 8, first=8)
    wait_state(one, "held")
    assert one.folder()["reason"] == "40% of files deleted (16)"
