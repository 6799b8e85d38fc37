"""One folder, given to several people in several ways, and taken back from one of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import DaemonProcess, Refused, World, assert_restored
from tests.daemon.trees import describe, differences

PHRASE = "orbit velvet maple canyon drift humble"


def befriend(owner: DaemonProcess, other: DaemonProcess, name: str) -> None:
    """What two people do: one hands over his card, both compare the words."""
    card = other.get(f"/identity/card?name={name}")
    added = owner.post("/users", {"card": card["card"]})
    assert added["name"] == name
    assert added["words"] == other.get("/identity")["words"]


def create(owner: DaemonProcess, access: str, **more: object) -> Any:
    made = owner.post("/shares", {"folder": "src", "access": access, **more})
    owner.wait_idle()
    return made


def restored(reader: DaemonProcess, string: str, target: Path, **more: object) -> Any:
    """The result of a restore that ends well."""
    job = reader.wait_job(reader.begin_restore(string, target, **more))
    assert job["state"] == "done", job
    assert job["result"]["failed"] == 0, job
    return job["result"]


def refusal(reader: DaemonProcess, string: str, target: Path, **more: object) -> tuple[str, str]:
    """Code and sentence of a restore that opens nothing; nothing is made for it either."""
    job = reader.wait_job(reader.begin_restore(string, target, **more))
    assert job["state"] == "failed", job
    assert not target.exists()
    return job["error_code"], job["error"]


def same(here: World, target: Path) -> bool:
    return not differences(describe(here.source), describe(target))


def test_private_for_one_protected_for_another_and_one_is_taken_out(here: World) -> None:
    here.source.mkdir(exist_ok=True)
    (here.source / "first").write_bytes(b"of the first epoch" * 10_000)
    (here.source / "kept").write_bytes(b"never touched again" * 40_000)
    a = here.daemon("a").start()
    b, c, d = (here.reader(name).start() for name in "bcd")
    befriend(a, b, "bob")
    a.wait_idle()
    private = create(a, "private", to=["bob"])
    protected = create(a, "protected", passphrase=PHRASE)

    # Everybody who should reads it, each in his own way; nobody else does.
    restored(b, private["string"], here.place / "b1")
    restored(c, protected["string"], here.place / "c1", passphrase=PHRASE)
    assert same(here, here.place / "b1")
    assert same(here, here.place / "c1")
    nowhere = here.place / "nowhere"
    assert refusal(d, private["string"], nowhere)[0] == "not_a_member"
    assert refusal(c, private["string"], nowhere)[0] == "not_a_member"
    assert refusal(d, protected["string"], nowhere)[0] == "passphrase_needed"
    assert refusal(d, protected["string"], nowhere, passphrase="orbit velvet")[0] == "wrong_passphrase"

    # B is taken out. What he had stays readable to him; the act says so.
    taken = a.ask("DELETE", f"/shares/{private['share_id']}/members/bob")
    assert taken["new_epoch"]
    assert "nothing there can be called back" in taken["statement"]
    a.wait_idle()
    assert a.folder()["version"] == 2, "a version without changes begins the epoch"
    (here.source / "first").write_bytes(b"of the second epoch" * 10_000)
    (here.source / "second").write_bytes(b"new")
    a.wait_idle()
    assert a.folder()["version"] == 3
    assert refusal(b, private["string"], nowhere)[0] == "not_a_member"
    assert (here.place / "b1" / "kept").exists()

    # C reads on with the same string and passphrase, old files and new ones, and into the folder he had as well.
    result = restored(c, protected["string"], here.place / "c2", passphrase=PHRASE)
    assert result["version"] == 3
    assert same(here, here.place / "c2")
    restored(c, protected["string"], here.place / "c1", passphrase=PHRASE, overwrite=True)
    assert same(here, here.place / "c1")
    here.assert_posted_once()
    no_secret_in_logs(here, PHRASE, private["string"], protected["string"])
    for daemon in (a, b, c, d):
        assert daemon.stop() == 0


def no_secret_in_logs(here: World, *secrets: str) -> None:
    for daemon in here.daemons:
        log = daemon.log_file.read_text()
        told = json.dumps(daemon.events())
        for secret in secrets:
            assert secret not in log
            assert secret not in told


def test_a_revoked_share_opens_nothing_more_and_the_others_go_on(here: World) -> None:
    here.source.mkdir(exist_ok=True)
    (here.source / "file").write_bytes(b"content" * 1_000)
    a = here.daemon("a").start()
    b = here.reader("b").start()
    a.wait_idle()
    one, two = create(a, "public"), create(a, "public")
    restored(b, one["string"], here.place / "one")
    a.post(f"/shares/{one['share_id']}/revoke")
    a.wait_idle()
    (here.source / "file").write_bytes(b"changed" * 1_000)
    a.wait_idle()
    assert refusal(b, one["string"], here.place / "none")[0] == "share_revoked"
    assert_restored(b, two["string"], here.source, here.place / "two")
    states = {share["share_id"]: share["state"] for share in a.get("/shares")["shares"]}
    assert states == {one["share_id"]: "revoked", two["share_id"]: "active"}
    with pytest.raises(Refused, match="revoked before"):
        a.post(f"/shares/{one['share_id']}/revoke")

    # The epoch outlives the process, and the owner restores versions of both himself.
    assert a.stop() == 0
    a.start().wait_idle()
    (here.source / "more").write_bytes(b"after the restart")
    a.wait_idle()
    assert_restored(b, two["string"], here.source, here.place / "three")
    restored(a, "src@1", here.place / "mine1")
    restored(a, "src", here.place / "mine")
    assert (here.place / "mine1" / "file").read_bytes() == b"content" * 1_000
    assert same(here, here.place / "mine")
    history = a.get(f"/files/versions?path={here.source / 'file'}")
    assert [row["version"] for row in history["versions"]][-1] == 1
    assert a.stop() == 0
    assert b.stop() == 0


def test_a_share_made_before_anything_is_published_and_a_user_who_is_removed(here: World) -> None:
    here.source.mkdir(exist_ok=True)
    a = here.daemon("a").start()
    b, c = (here.reader(name).start() for name in "bc")
    befriend(a, b, "bob")
    befriend(a, c, "carol")
    private = create(a, "private", to=["bob", "carol"])
    assert [user["shares"] for user in a.get("/users")["users"]] == [1, 1]
    removed = a.ask("DELETE", "/users/bob")
    assert removed["shares"] == [private["share_id"]]
    (here.source / "file").write_bytes(b"secret from bob" * 99)
    a.wait_idle()
    assert refusal(b, private["string"], here.place / "none")[0] == "not_a_member"
    assert_restored(c, private["string"], here.source, here.place / "out")
    assert [member["name"] for member in a.get(f"/shares/{private['share_id']}/members")["members"]] == [
        "carol"
    ]
    with pytest.raises(Refused, match="no user"):
        a.post("/shares", {"folder": "src", "access": "private", "to": ["bob"]})
    for daemon in (a, b, c):
        assert daemon.stop() == 0


def test_who_was_taken_out_stays_out_when_the_daemon_dies_in_that_moment(here: World) -> None:
    here.source.mkdir(exist_ok=True)
    (here.source / "file").write_bytes(b"content" * 1_000)
    a = here.daemon("a").start()
    b, c = (here.reader(name).start() for name in "bc")
    befriend(a, b, "bob")
    befriend(a, c, "carol")
    a.wait_idle()
    private = create(a, "private", to=["bob", "carol"])
    restored(b, private["string"], here.place / "before")
    a.ask("DELETE", f"/shares/{private['share_id']}/members/bob")
    a.kill()
    a.start().wait_idle()
    assert a.folder()["version"] == 2
    (here.source / "file").write_bytes(b"changed" * 1_000)
    a.wait_idle()
    assert refusal(b, private["string"], here.place / "none")[0] == "not_a_member"
    assert_restored(c, private["string"], here.source, here.place / "carol")
    for daemon in (a, b, c):
        assert daemon.stop() == 0


def test_taking_back_while_a_folder_is_paused_says_that_it_has_to_wait(here: World) -> None:
    here.source.mkdir(exist_ok=True)
    (here.source / "file").write_bytes(b"content")
    a = here.daemon("a").start()
    b = here.reader("b").start()
    a.wait_idle()
    made = create(a, "public")
    a.post("/pause", {"folder": "src"})
    taken = a.post(f"/shares/{made['share_id']}/revoke")
    assert "paused" in taken["pending"]
    restored(b, made["string"], here.place / "still")
    a.post("/resume", {"folder": "src"})
    a.wait_idle()
    assert refusal(b, made["string"], here.place / "none")[0] == "share_revoked"
    assert create(a, "public")["state"] == "active"
    for daemon in (a, b):
        assert daemon.stop() == 0
