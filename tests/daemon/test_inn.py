"""The daemon against a real INN: a folder goes out and comes back, in clear with a login, and over TLS."""

import random
import shutil
from typing import Any

import pytest

from tests.daemon.commands import ctl, message_ids
from tests.daemon.harness import World, assert_restored
from tests.daemon.trees import edit_some, write_files
from tests.inn.instance import InnServer

pytestmark = pytest.mark.requires("inn")


def _account(server: InnServer, encrypted: bool) -> dict[str, Any]:
    host, port = server.tls_address if encrypted else server.address
    account = {"name": "inn", "host": host, "port": port, "connections": 4}
    account |= {"username": server.user, "password": "${env:NEWS_PASSWORD}"}
    if encrypted:
        return {**account, "tls": "implicit", "ca_file": str(server.ca_file)}
    return {**account, "tls": "none"}


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "tls"])
def test_a_folder_goes_to_inn_and_back_with_its_edits(
    here: World, inn_server: InnServer, encrypted: bool
) -> None:
    dice = random.Random(31)
    write_files(here.source, 2_000, dice, largest=6_000)
    for number in range(3):
        (here.source / f"large {number}").write_bytes(dice.randbytes(2_000_000))
    how = {"servers": [_account(inn_server, encrypted)], "environ": {"NEWS_PASSWORD": inn_server.password}}
    one = here.daemon(**how).start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    two = here.reader(**how).start()
    target = here.place / "out"
    assert_restored(two, string, here.source, target)
    for _ in range(2):
        shutil.rmtree(target)
        edit_some(here.source, dice, 25)
        (here.source / "folder 003").rename(here.source / f"renamed {dice.random()}")
        (here.source / "folder 003").mkdir()
        one.wait_idle()
        assert_restored(two, string, here.source, target)
    (server,) = one.status()["servers"]
    assert server["state"] in ("up", "idle")
    assert one.errors() == {}
    assert one.stop() == 0
    assert two.stop() == 0


def test_a_pause_of_inn_in_the_middle_posts_nothing_under_a_second_name(
    here: World, inn_server: InnServer
) -> None:
    write_files(here.source, 50, random.Random(32), largest=40_000)
    # A paused INN lets nobody new in: one connection, which is there already.
    account = {**_account(inn_server, False), "connections": 1}
    how = {"servers": [account], "environ": {"NEWS_PASSWORD": inn_server.password}}
    one = here.daemon(**how).start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    inn_server.pause()
    try:
        write_files(here.source / "more", 150, random.Random(33), largest=40_000)
        one.wait_idle(30.0)
    finally:
        inn_server.go()
    two = here.reader(**how).start()
    assert_restored(two, string, here.source, here.place / "out")
    database = one.catalogue()
    try:
        assert database.execute("SELECT max(generation) FROM article").fetchone() == (0,)
    finally:
        database.close()


def test_a_cancel_on_inn_is_a_loss_that_is_found_and_repaired(here: World, inn_server: InnServer) -> None:
    write_files(here.source, 60, random.Random(34), largest=40_000)
    (here.source / "large").write_bytes(random.Random(35).randbytes(3_000_000))
    how = {"servers": [_account(inn_server, False)], "environ": {"NEWS_PASSWORD": inn_server.password}}
    one = here.daemon(**how).start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    ids = message_ids(one)
    lost = random.Random(36).sample(ids, len(ids) // 2)
    for message_id in lost:
        inn_server.cancel(message_id)

    found = ctl(one, "verify", "--json")
    assert (found.code, found.summary["checked"], found.summary["missing"]) == (3, len(ids) + 1, len(lost))
    done = ctl(one, "repair", "--json")
    assert (done.code, done.summary["reposted"], done.summary["unrepairable"]) == (0, len(lost), 0)
    again = ctl(one, "verify", "--full", "--json")
    assert (again.code, again.summary["missing"], again.summary["corrupt"]) == (0, 0, 0)
    two = here.reader(**how).start()
    assert_restored(two, string, here.source, here.place / "out")
