"""Everything a disk can hold goes through the whole daemon: restored or reported, never torn, never fatal."""

import os
import random
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from tests.daemon.harness import DaemonProcess, World, assert_restored
from tests.daemon.trees import describe, differences, write_files
from tests.folders.zoo import deep_path, make_zoo

pytestmark = pytest.mark.requires("linux")


def _published(here: World, daemon: DaemonProcess) -> str:
    daemon.wait_idle()
    string = daemon.share()
    daemon.wait_idle()
    return string


def test_odd_names_links_and_kinds_come_back_or_are_reported(here: World) -> None:
    here.source.mkdir()
    make_zoo(os.fsencode(here.source))
    one = here.daemon().start()
    string = _published(here, one)
    assert_restored(here.reader().start(), string, here.source, here.place / "out")
    errors = one.errors()
    assert errors == {"fifo": "skipped", "socket": "skipped"}
    assert (here.place / "out" / "sparse").stat().st_blocks * 512 < 100_000
    assert one.stop() == 0


def test_a_path_of_4096_bytes_and_one_beyond_do_not_keep_the_rest_from_going_out(here: World) -> None:
    here.source.mkdir()
    (here.source / "plain").write_bytes(b"plain")
    for length in (4_096, 4_097):
        with deep_path(os.fsencode(here.source), length, 255 if length == 4_096 else 254) as (parents, last):
            name = b"f" * (length - len(parents) - 1)
            opened = os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=last)
            os.write(opened, b"deep")
            os.close(opened)
    one = here.daemon().start()
    string = _published(here, one)
    two = here.reader().start()
    result = two.restore(string, here.place / "out")
    restored, source = describe(here.place / "out"), describe(here.source)
    assert restored[b"plain"] == source[b"plain"]
    for path, kept in source.items():
        if kept.kind == "file" and len(path) <= 4_096:
            assert restored[path] == kept, len(path)
    beyond = [path for path in source if len(path) > 4_096]
    assert len(beyond) == 1
    assert [code for path, code in one.errors().items() if len(path) > 4_096] == ["unpublishable"]
    assert result["failed"] == 0
    # Idle, and not building one version after the other for a path that no version can hold.
    version = one.folder()["version"]
    time.sleep(1.0)
    assert one.folder()["version"] == version


def test_the_deepest_tree_of_short_names_does_not_stop_the_daemon(here: World) -> None:
    here.source.mkdir()
    (here.source / "plain").write_bytes(b"plain")
    with deep_path(os.fsencode(here.source), 1_200, 2) as (_, last):
        opened = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, dir_fd=last)
        os.write(opened, b"deep")
        os.close(opened)
    one = here.daemon().start()
    string = _published(here, one)
    two = here.reader().start()
    two.restore(string, here.place / "out")
    assert (here.place / "out" / "plain").read_bytes() == b"plain"
    told = one.errors()
    assert set(told.values()) == {"unpublishable"}, {code: path[-40:] for path, code in told.items()}


def test_what_may_not_be_read_is_reported_and_taken_once_it_may(here: World) -> None:
    write_files(here.source, 20, random.Random(2))
    secret = here.source / "folder 000" / "secret"
    secret.write_bytes(b"not for you")
    secret.chmod(0)
    closed = here.source / "closed"
    closed.mkdir()
    (closed / "inner").write_bytes(b"inner")
    closed.chmod(0)
    one = here.daemon(powerless=True).start()
    string = _published(here, one)
    assert one.errors() == {"folder 000/secret": "unreadable", "closed": "unreadable"}
    assert any("cannot be kept" in warning["message"] for warning in one.status()["warnings"])
    two = here.reader().start()
    two.restore(string, here.place / "out")
    assert len(list((here.place / "out").rglob("file *"))) == 20
    assert not (here.place / "out" / "folder 000" / "secret").exists()

    secret.chmod(0o644)
    closed.chmod(0o755)
    one.wait_idle()
    assert one.errors() == {}
    assert_restored(two, string, here.source, here.place / "out2")


@pytest.mark.requires("root")
def test_devices_are_skipped_and_named(here: World) -> None:
    here.source.mkdir()
    os.mknod(here.source / "null", 0o20666, os.makedev(1, 3))
    (here.source / "plain").write_bytes(b"plain")
    one = here.daemon().start()
    one.wait_idle()
    assert one.errors() == {"null": "skipped"}
    assert one.folder()["state"] == "up_to_date"
    (here.source / "null").unlink()
    one.wait_idle()
    assert one.errors() == {}


class _Rewriting:
    """A thread that rewrites files as a whole, each time with one byte value throughout, so that a torn one shows."""

    def __init__(self, files: list[Path], sizes: list[int]) -> None:
        self._files = list(zip(files, sizes, strict=True))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            for path, size in self._files:
                # Replaced, not written in place: the content of one moment is one value.
                fresh = path.with_name(".usenetsync-swap.part")
                fresh.write_bytes(bytes([turn % 251]) * size)
                fresh.rename(path)
                if self._stop.wait(0.0005):
                    return


def test_files_changing_while_they_are_read_are_never_torn(here: World) -> None:
    dice = random.Random(3)
    write_files(here.source, 200, dice)
    changing = [here.source / f"changing {number}" for number in range(150)]
    sizes = [dice.choice((10, 5_000, 60_000, 1_600_000)) for _ in changing]
    for path, size in zip(changing, sizes, strict=True):
        path.write_bytes(bytes(size))
    one = here.daemon(defaults={"settle": "100ms", "redundancy": {"copies": 1, "parity": "0%"}}).start()
    two = here.reader().start()
    with _Rewriting(changing, sizes):
        time.sleep(2.0)
        string = one.share()
        ends = time.monotonic() + 20
        while one.folder()["version"] < 2 and time.monotonic() < ends:
            time.sleep(0.2)
        assert one.folder()["version"] >= 1, "nothing is published while something changes"
        result = two.restore(string, here.place / "during")
        assert result["failed"] == 0
        for path in (here.place / "during").glob("changing *"):
            content = path.read_bytes()
            assert len(set(content)) <= 1, f"{path.name} is torn"
    one.wait_idle()
    assert one.errors() == {}
    assert_restored(two, string, here.source, here.place / "after")


def test_a_file_written_in_place_is_whole_at_some_moment_or_not_there(here: World) -> None:
    """Appended to all the time: every published content is one that the file had."""
    here.source.mkdir()
    (here.source / "still").write_bytes(b"still")
    growing = here.source / "growing"
    one = here.daemon(defaults={"settle": "100ms", "redundancy": {"copies": 1, "parity": "0%"}}).start()
    two = here.reader().start()
    with growing.open("ab", buffering=0) as opened:
        for number in range(300):
            opened.write(f"{number:09}\n".encode())
            time.sleep(0.01)
            if number == 150:
                string = one.share()
        result = two.restore(string, here.place / "during")
        assert result["failed"] == 0
        part = here.place / "during" / "growing"
        if part.exists():
            lines = part.read_bytes()
            assert lines == b"".join(f"{n:09}\n".encode() for n in range(len(lines) // 10))
        one.wait_idle()
        # Still held open, but quiet: it is there.
        assert_restored(two, string, here.source, here.place / "held open")
    assert not differences(describe(here.source), describe(here.place / "held open"))
