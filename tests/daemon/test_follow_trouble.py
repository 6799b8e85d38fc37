"""Following when servers lose articles, or tell of an older history than before, and when several kills come."""

import os

from tests.daemon.harness import DaemonProcess, World, until
from tests.daemon.test_follow import CONFLICT, arrives, becomes, equal, follow, publisher, state
from tests.daemon.test_shares import create

__all__ = ["publisher"]  # the fixture


def after(here: World, before: set[str]) -> list[str]:
    """Articles that came since then, the largest first."""
    came = [name for name in here.server.message_ids() if name not in before]
    return sorted(came, key=lambda name: -len(here.server.article(name)))


def test_what_cannot_be_had_comes_later_and_the_rest_now(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    number = follow(b, create(publisher, "public")["string"], copy)
    arrives(b, 1)
    b.post(f"/follows/{number}/pause")
    before = set(here.server.message_ids())
    lost = os.urandom(600_000)
    (here.source / "big").write_bytes(lost)
    (here.source / "doc.txt").write_bytes(b"second")
    publisher.wait_idle()
    here.server.remove(after(here, before)[0])
    b.post(f"/follows/{number}/resume")
    told = arrives(b, 2)
    assert (told["state"], told["left"], told["conflicts"]) == ("incomplete", 1, 0)
    assert (copy / "doc.txt").read_bytes() == b"second"
    assert (copy / "big").stat().st_size == 2_000_000, "the old one stays whole"
    assert [warning["code"] for warning in b.status()["warnings"]] == ["follow_left"]

    # A newer version that touches other files: what is left is known as ours still.
    (here.source / "doc.txt").write_bytes(b"third")
    publisher.wait_idle()
    told = arrives(b, 3)
    assert (told["state"], told["left"]) == ("incomplete", 1)
    # The file is another now, and can be had: nothing of it was ever a local change.
    (here.source / "big").write_bytes(os.urandom(500_000))
    publisher.wait_idle()
    told = arrives(b, 4)
    assert (told["state"], told["left"], told["conflicts"]) == ("up_to_date", 0, 0)
    equal(here, copy)
    assert not [path for path in copy.iterdir() if CONFLICT.search(path.name)]


def test_servers_that_go_back_in_time_change_nothing(here: World, publisher: DaemonProcess) -> None:
    b = here.reader("b").start()
    copy = here.place / "copy"
    follow(b, create(publisher, "public")["string"], copy)
    arrives(b, 1)
    before = set(here.server.message_ids())
    (here.source / "doc.txt").write_bytes(b"second")
    publisher.wait_idle()
    arrives(b, 2)
    assert b.stop() == 0
    for name in after(here, before):
        here.server.remove(name)
    b.start()
    told = becomes(b, "trouble")
    assert told["code"] == "rollback"
    assert "version 2 was seen before" in told["reason"]
    assert told["version"] == 2
    assert (copy / "doc.txt").read_bytes() == b"second", "nothing is undone"
    asked = told["asked_at"]
    until(lambda: state(b)["asked_at"] != asked, 30.0, b.tail)
    assert len(b.events("follow_trouble")) == 1, "said once, asked for on"
    # The publisher goes on, and so does the copy. Nobody can tell any more what version 2 had: it is kept beside.
    (here.source / "doc.txt").write_bytes(b"third")
    publisher.wait_idle()
    told = arrives(b, 3)
    assert (told["state"], told["conflicts"]) == ("up_to_date", 1)
    (beside,) = [path for path in copy.iterdir() if CONFLICT.search(path.name)]
    assert beside.read_bytes() == b"second"
    assert (copy / "doc.txt").read_bytes() == b"third"


def test_a_directory_with_something_in_it_already(here: World, publisher: DaemonProcess) -> None:
    """What is there and the same is not fetched; what is there and different is kept beside."""
    b = here.reader("b").start()
    copy = here.place / "copy"
    copy.mkdir()
    (copy / "doc.txt").write_bytes(b"from another time")
    (copy / "mine").write_bytes(b"not in the share at all")
    big = (here.source / "big").stat()
    (copy / "big").write_bytes((here.source / "big").read_bytes())
    os.utime(copy / "big", ns=(big.st_mtime_ns, big.st_mtime_ns))
    inode = (copy / "big").stat().st_ino
    follow(b, create(publisher, "public")["string"], copy)
    told = arrives(b, 1)
    assert told["conflicts"] == 1
    assert (copy / "big").stat().st_ino == inode
    assert (copy / "mine").read_bytes() == b"not in the share at all"
    (beside,) = [path for path in copy.iterdir() if CONFLICT.search(path.name)]
    assert beside.read_bytes() == b"from another time"
