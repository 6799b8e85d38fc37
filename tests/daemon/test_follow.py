"""A directory that follows a share: it is brought to every new version by itself, and nobody's work is lost in it."""

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import API, DaemonProcess, Refused, World, _UnixConnection, until
from tests.daemon.test_shares import befriend, create
from tests.daemon.trees import describe, differences
from usenetsyncd.folders.safety import is_part

EVERY_S = 1
CONFLICT = re.compile(r"\.conflict-\d{8}-\d{4}")


def follow(reader: DaemonProcess, string: str, target: Path, **more: object) -> int:
    added = reader.post("/follows", {"source": string, "target": str(target), "every_s": EVERY_S, **more})
    return int(added["id"])


def state(reader: DaemonProcess, number: int = 1) -> Any:
    return reader.get(f"/follows/{number}")


def arrives(reader: DaemonProcess, version: int, number: int = 1) -> Any:
    """Wait until the directory holds a version, and nothing is under way."""
    until(
        lambda: state(reader, number)["version"] >= version and state(reader, number)["state"] != "updating",
        60.0,
        lambda: f"{state(reader, number)}\n{reader.tail()}",
    )
    return state(reader, number)


def becomes(reader: DaemonProcess, word: str, number: int = 1) -> Any:
    until(
        lambda: state(reader, number)["state"] == word,
        60.0,
        lambda: f"{state(reader, number)}\n{reader.tail()}",
    )
    return state(reader, number)


def equal(here: World, copy: Path) -> None:
    told = differences(describe(here.source), describe(copy))
    assert not told, "\n".join(told)


def lines_of(daemon: DaemonProcess, path: str) -> list[Any]:
    connection = _UnixConnection(daemon.socket, 30.0)
    try:
        connection.request("GET", API + path)
        return [json.loads(line) for line in connection.getresponse().read().splitlines()]
    finally:
        connection.close()


@pytest.fixture
def publisher(here: World) -> DaemonProcess:
    here.source.mkdir(exist_ok=True)
    (here.source / "big").write_bytes(os.urandom(2_000_000))
    (here.source / "doc.txt").write_bytes(b"first")
    (here.source / "gone").write_bytes(b"to be deleted")
    (here.source / "sub").mkdir()
    (here.source / "sub" / "deep").write_bytes(b"deep" * 100)
    (here.source / "sub" / "link").symlink_to("deep")
    a = here.daemon("a").start()
    a.wait_idle()
    return a


def bodies(here: World) -> int:
    """Bodies that the server gave out."""
    return here.server.counters.commands["BODY"]


def test_each_version_arrives_and_only_what_differs_is_fetched(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    follow(b, create(publisher, "public")["string"], copy)
    first = arrives(b, 1)
    assert (first["state"], first["files"], first["conflicts"]) == ("up_to_date", 4, 0)
    equal(here, copy)
    before = {path: os.stat(path, follow_symlinks=False) for path in copy.rglob("*")}

    (here.source / "doc.txt").write_bytes(b"second")
    (here.source / "sub" / "deep").rename(here.source / "moved")
    (here.source / "big").rename(here.source / "sub" / "big")
    (here.source / "gone").unlink()
    (here.source / "new").mkdir()
    (here.source / "new" / "file").write_bytes(b"new")
    (here.source / "sub" / "link").unlink()
    (here.source / "sub" / "link").symlink_to("big")
    publisher.wait_idle()
    posted = here.posts()
    fetched = bodies(here)
    second = arrives(b, publisher.folder()["version"])
    assert second["state"] == "up_to_date"
    equal(here, copy)
    # What moved was renamed, not fetched: its inode is the same.
    assert (copy / "sub" / "big").stat().st_ino == before[copy / "big"].st_ino
    assert (copy / "moved").stat().st_ino == before[copy / "sub" / "deep"].st_ino
    assert bodies(here) - fetched <= 8
    assert here.posts() == posted
    assert not [event for event in b.events() if event["level"] in ("error", "warning")]
    for daemon in (publisher, b):
        assert daemon.stop() == 0


def test_kinds_that_change_places(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    follow(b, create(publisher, "public")["string"], copy)
    arrives(b, 1)
    (here.source / "gone").unlink()
    (here.source / "gone").mkdir()
    (here.source / "gone" / "inside").write_bytes(b"a file became a folder")
    (here.source / "sub" / "deep").unlink()
    (here.source / "sub" / "link").unlink()
    (here.source / "sub").rmdir()
    (here.source / "sub").write_bytes(b"a folder became a file")
    (here.source / "doc.txt").chmod(0o640)
    publisher.wait_idle()
    assert arrives(b, publisher.folder()["version"])["conflicts"] == 0
    equal(here, copy)


def test_what_is_changed_in_the_copy_is_never_lost(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    follow(b, create(publisher, "public")["string"], copy)
    arrives(b, 1)
    mine = {
        "doc.txt": b"my own words",
        "gone": b"still mine",
        "new": b"my new file",
        "big": b"mine and small",
    }
    for name, content in mine.items():
        (copy / name).write_bytes(content)
    (copy / "sub" / "note").write_bytes(b"my note")
    (here.source / "doc.txt").write_bytes(b"theirs")
    (here.source / "gone").unlink()
    (here.source / "new").write_bytes(b"their new file")
    for name in ("deep", "link"):
        (here.source / "sub" / name).unlink()
    (here.source / "sub").rmdir()
    publisher.wait_idle()
    told = arrives(b, publisher.folder()["version"])
    assert told["conflicts"] == 2
    assert (copy / "doc.txt").read_bytes() == b"theirs"
    assert (copy / "new").read_bytes() == b"their new file"
    assert (copy / "gone").read_bytes() == b"still mine", "deleted there, changed here: it stays"
    assert (copy / "big").read_bytes() == b"mine and small", "not changed there: it is left alone"
    assert [path.name for path in (copy / "sub").iterdir()] == ["note"]
    beside = sorted(path.name for path in copy.iterdir() if CONFLICT.search(path.name))
    assert len(beside) == 2
    assert re.fullmatch(r"doc\.conflict-\d{8}-\d{4}\.txt", beside[0])
    assert (copy / beside[0]).read_bytes() == b"my own words"
    assert (copy / beside[1]).read_bytes() == b"my new file"
    (event,) = b.events("follow_conflict")
    assert beside[0] in event["message"]


def test_it_is_killed_in_the_middle_and_goes_on(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    follow(b, create(publisher, "public")["string"], copy)
    arrives(b, 1)
    contents: dict[str, set[bytes]] = {}
    kills = 0
    for version in (2, 3):
        inodes = {name: (copy / name).stat().st_ino for name in contents}
        for number in range(40):
            content = os.urandom(300_000)
            (here.source / f"f{number}").write_bytes(content)
            contents.setdefault(f"f{number}", set()).add(content)
        publisher.wait_idle()
        for wanted in (1, 15, 30):
            until(
                lambda wanted=wanted, inodes=inodes: _placed(copy, contents, inodes) >= wanted,
                60.0,
                b.tail,
                every_s=0.001,
            )  # type: ignore[misc]
            b.kill()
            kills += _placed(copy, contents, inodes) < len(contents)
            for name, known in contents.items():
                if (copy / name).exists():
                    assert (copy / name).read_bytes() in known, "every file is whole"
            b.start()
        told = arrives(b, publisher.folder()["version"])
        assert (told["version"], told["conflicts"]) == (version, 0)
        equal(here, copy)
    assert kills, "no kill came in the middle"
    assert not [name for name in os.listdir(copy) if is_part(os.fsencode(name))]
    assert b.stop() == 0


def _placed(copy: Path, names: Iterable[str], inodes: dict[str, int]) -> int:
    """How many of the files are there that were not, or are others now."""
    placed = 0
    for name in names:
        with suppress(FileNotFoundError):
            placed += (copy / name).stat().st_ino != inodes.get(name)
    return placed


def test_paused_resumed_and_removed(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    number = follow(b, create(publisher, "public")["string"], copy)
    arrives(b, 1)
    assert b.post(f"/follows/{number}/pause")["state"] == "paused"
    (here.source / "doc.txt").write_bytes(b"second")
    publisher.wait_idle()
    b.stop()
    b.start()
    assert state(b)["state"] == "paused", "it outlives the process"
    assert (copy / "doc.txt").read_bytes() == b"first"
    b.post(f"/follows/{number}/resume")
    arrives(b, 2)
    equal(here, copy)
    b.ask("DELETE", f"/follows/{number}")
    assert b.get("/follows")["follows"] == []
    equal(here, copy)
    with pytest.raises(Refused, match="nothing is followed"):
        state(b)


def test_shares_of_every_kind_and_one_that_is_taken_back(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    befriend(publisher, b, "bob")
    private = create(publisher, "private", to=["bob"])
    phrase = "orbit velvet maple canyon drift humble"
    protected = create(publisher, "protected", passphrase=phrase)
    with pytest.raises(Refused) as refused:
        follow(b, protected["string"], here.place / "none", passphrase="wrong")
    assert refused.value.problem["error"] == "wrong_passphrase"
    one = follow(b, private["string"], here.place / "one")
    two = follow(b, protected["string"], here.place / "two", passphrase=phrase)
    for number, name in ((one, "one"), (two, "two")):
        arrives(b, 1, number)
        equal(here, here.place / name)
    publisher.ask("DELETE", f"/shares/{private['share_id']}/members/bob")
    publisher.wait_idle()
    (here.source / "doc.txt").write_bytes(b"not for bob")
    publisher.wait_idle()
    stopped = becomes(b, "stopped", one)
    assert stopped["code"] == "not_a_member"
    arrives(b, publisher.folder()["version"], two)
    equal(here, here.place / "two")
    assert (here.place / "one" / "doc.txt").read_bytes() == b"first"
    publisher.post(f"/shares/{protected['share_id']}/revoke")
    publisher.wait_idle()
    stopped = becomes(b, "stopped", two)
    assert (stopped["code"], stopped["reason"]) == ("share_revoked", "this share was revoked by its owner")
    assert len(b.events("follow_stopped")) == 2
    for daemon in (publisher, b):
        log = daemon.log_file.read_text()
        assert phrase not in log
        assert private["string"] not in log


def test_where_it_must_not_go_and_a_disk_that_is_not_there(here: World, publisher: DaemonProcess) -> None:
    string = create(publisher, "public")["string"]
    for place in (here.source, here.source / "below", here.place, publisher.data_dir / "x"):
        with pytest.raises(Refused, match="overlaps"):
            follow(publisher, string, place)
    b = here.reader("b").start()
    copy = here.place / "copy"
    number = follow(b, string, copy)
    arrives(b, 1)
    with pytest.raises(Refused, match="overlaps"):
        follow(b, string, copy / "below")
    copy.rename(here.place / "elsewhere")
    told = becomes(b, "trouble", number)
    assert "is its disk there" in told["reason"]
    assert not copy.exists()
    b.post(f"/follows/{number}/resume")
    becomes(b, "up_to_date", number)
    equal(here, copy)


def test_differences_between_versions(here: World, publisher: DaemonProcess) -> None:
    (here.source / "doc.txt").write_bytes(b"longer now")
    (here.source / "big").rename(here.source / "sub" / "big")
    (here.source / "gone").unlink()
    publisher.wait_idle()
    lines = lines_of(publisher, "/folders/src/versions/1/difference/2")
    told = {line["path"]: line for line in lines[:-1] if line["kind"] != "folder"}
    assert {path: line["change"] for path, line in told.items()} == {
        "doc.txt": "changed",
        "gone": "removed",
        "sub/big": "moved",
    }
    assert told["sub/big"]["old_path"] == "big"
    assert (told["doc.txt"]["old_size"], told["doc.txt"]["size"]) == (5, 10)
    assert lines[-1]["type"] == "summary"
    assert (lines[-1]["moved"], lines[-1]["removed_bytes"]) == (1, 18)
    with pytest.raises(Refused, match="no version"):
        publisher.get("/folders/src/versions/1/difference/9")
