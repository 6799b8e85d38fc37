"""News servers that misbehave while a folder is uploaded: posted exactly once in the end, or reported."""

import random
import time
from typing import Any

import pytest

from tests.daemon.harness import DaemonProcess, Refused, World, assert_restored, until
from tests.daemon.trees import write_files

QUICK = {"wait": "20ms", "rest": "200ms"}
RETRY = dict.fromkeys(
    (
        "400",
        "403",
        "440",
        "441",
        "480",
        "481",
        "482",
        "502",
        "503",
        "lost",
        "unreachable",
        "lost_at_start",
        "article_refused",
        "too_many_connections",
    ),
    QUICK,
)


def _folder(here: World) -> None:
    write_files(here.source, 120, random.Random(11), largest=30_000)
    for number in range(5):
        (here.source / f"large {number}").write_bytes(random.Random(number).randbytes(1_700_000))


def _impatient(here: World, **changes: Any) -> DaemonProcess:
    return here.daemon(retry=RETRY, impatient=True, **changes)


def _finish(here: World, one: DaemonProcess) -> None:
    """Whatever happened: everything is published, is on the server once, and comes back."""
    one.wait_idle()
    here.server.faults.clear()
    string = one.share()
    one.wait_idle()
    assert one.folder()["state"] == "up_to_date", one.folder()
    assert_restored(here.reader(retry=RETRY).start(), string, here.source, here.place / "out")
    assert set(here.server.counters.posts.values()) == {1}
    assert one.stop() == 0


def _some(command: str, act: dict[str, Any], times: int = 6, every: int = 2) -> dict[str, Any]:
    return {"match": {"command": command, "every": every, "times": times}, "act": act}


PASSING = {
    "441 refused": [_some("POST", {"reply": {"code": 441, "text": "Posting failed"}})],
    "440 forbidden": [_some("POST-BEGIN", {"reply": {"code": 440, "text": "Posting not allowed"}}, 1)],
    "502 busy": [_some("POST-BEGIN", {"reply": {"code": 502, "text": "Too many connections"}})],
    "502 flat": [_some("POST-BEGIN", {"reply": {"code": 502, "text": "No"}}, 2)],
    "502 greeting": [_some("CONNECT", {"reply": {"code": 502, "text": "Too many connections"}})],
    "400 going down": [_some("POST-BEGIN", {"reply": {"code": 400, "text": "Service discontinued"}})],
    "480 in the middle": [_some("POST-BEGIN", {"reply": {"code": 480, "text": "Authentication required"}})],
    "500 unknown": [_some("POST-BEGIN", {"reply": {"code": 500, "text": "What?"}}, 2)],
    "cut in the article": [_some("POST-BEGIN", {"cut_article_at": 5_000})],
    "closed before 340": [_some("POST-BEGIN", {"close_silently": True})],
    "stored, no answer": [_some("POST", {"cut_reply_at": 0})],
    "stored, half an answer": [_some("POST", {"cut_reply_at": 7})],
    "not stored, no answer": [_some("POST", {"close_silently": True})],
    "stored, 441 said": [_some("POST", {"lie": {"code": 441, "text": "Posting failed"}})],
    "stored, 400 said": [_some("POST", {"lie": {"code": 400, "text": "Going down"}})],
    "slow and delayed": [
        {"match": {"command": "POST", "probability": 0.3}, "act": {"delay": 0.3}},
        {"match": {"command": "CONNECT", "every": 3}, "act": {"slow": 3_000.0}},
    ],
    "two connections allowed": [{"match": {"command": "CONNECT"}, "act": {"limit_connections": {"max": 2}}}],
    "extra replies": [_some("POST", {"extra_reply": "200 by the way"}, 3)],
}


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_leaves_everything_posted_once(here: World, name: str) -> None:
    _folder(here)
    here.server.faults.set(PASSING[name])
    one = _impatient(here).start()
    _finish(here, one)
    assert not one.log("upload_failed_unexpectedly")


def test_articles_that_are_late_to_be_seen_are_not_posted_again(here: World) -> None:
    """The answer is lost and the article shows up seconds later, as with INN in a pause."""
    _folder(here)
    here.server.faults.set(
        [{"match": {"command": "POST", "times": 4}, "act": {"cut_reply_at": 0, "hide": 2.0}}]
    )
    one = here.daemon(retry=RETRY).start()
    _finish(here, one)
    database = one.catalogue()
    try:
        assert database.execute("SELECT max(generation) FROM article").fetchone() == (0,)
    finally:
        database.close()


def test_a_login_refused_for_a_while_is_said_and_got_over(here: World) -> None:
    _folder(here)
    refusal = {"reply": {"code": 481, "text": "Authentication failed"}}
    here.server.faults.set([{"match": {"command": "AUTHINFO PASS"}, "act": refusal}])
    host, port = here.server.address
    server = {"name": "main", "host": host, "port": port, "tls": "none", "connections": 4}
    server |= {"username": "u", "password": "${env:PW}"}
    here.server._users["u"] = "secret"
    here.server.stop()
    here.server.start()
    one = _impatient(here, servers=[server], environ={"PW": "secret"}).start()
    until(lambda: _warned(one, "server"), 20, lambda: f"nothing is said: {one.status()}")
    here.server.faults.clear()
    one.wait_idle()
    assert one.folder()["state"] == "up_to_date"


def _warned(daemon: DaemonProcess, code: str) -> bool:
    return any(warning["code"] == code for warning in daemon.status()["warnings"])


def test_articles_refused_for_good_are_reported_and_retried_on_request(here: World) -> None:
    write_files(here.source, 40, random.Random(12), largest=30_000)
    here.server.faults.set(
        [{"match": {"command": "POST"}, "act": {"reply": {"code": 441, "text": "Posting failed"}}}]
    )
    one = _impatient(here).start()
    until(lambda: one.folder()["state"] == "error", 60, lambda: f"{one.folder()} {one.tail()}")
    assert _warned(one, "failed")
    page = one.get("/queue?state=failed")
    assert page["articles"]
    assert "Posting failed" in page["articles"][0]["reason"]
    assert one.events("article_failed")
    until(
        lambda: one.idle()["idle"],
        30,
        lambda: f"what waits for a person is nothing to wait for: {one.idle()}",
    )
    page = one.get("/queue?state=failed")  # some more may have used up their attempts after the first
    here.server.faults.clear()
    assert one.post("/queue/retry", {})["count"] == len(page["articles"])
    _finish(here, one)


def test_a_head_refused_for_good_is_published_after_a_retry(here: World) -> None:
    write_files(here.source, 10, random.Random(13))
    one = _impatient(here).start()
    one.wait_idle()
    here.server.faults.set(
        [{"match": {"command": "POST"}, "act": {"reply": {"code": 441, "text": "Posting failed"}}}]
    )
    (here.source / "folder 000" / "file 00001").unlink()
    until(lambda: one.folder()["state"] == "error", 60, lambda: f"{one.folder()} {one.tail()}")
    here.server.faults.clear()
    one.post("/queue/retry", {})
    one.wait_idle()
    assert one.folder()["version"] == 2
    _finish(here, one)


@pytest.mark.parametrize("how", ["rewrite_id", "swallow_id"])
def test_ids_that_a_server_changed_are_noticed_and_kept(here: World, how: str) -> None:
    _folder(here)
    here.server.faults.set([{"match": {"command": "POST"}, "act": {how: True}}])
    one = _impatient(here).start()
    one.wait_idle()
    database = one.catalogue()
    try:
        kept = {row[0] for row in database.execute("SELECT message_id FROM article WHERE state = 0")}
    finally:
        database.close()
    assert kept == set(here.server.message_ids())
    assert one.stop() == 0


def test_a_server_that_goes_away_and_comes_back_is_waited_for(here: World) -> None:
    _folder(here)
    one = _impatient(here).start()
    until(lambda: here.posts() >= 2, 20, one.tail)
    here.server.stop()
    (here.source / "while it was away").write_bytes(b"written")
    time.sleep(2.0)
    assert one.status()["state"] == "running"
    here.server.start()
    _finish(here, one)


def test_one_article_is_posted_to_test_a_server_where_that_is_asked_for(here: World) -> None:
    here.server.faults.set([{"match": {"command": "POST"}, "act": {"swallow_id": True}}])
    one = here.daemon(folders=[], newsgroups=["alt.binaries.b", "alt.binaries.a"]).start()
    asked = one.post("/servers/main/test")
    assert (asked["ok"], asked["id_policy"], asked["article_bytes"], asked["group"]) == (
        True,
        "unknown",
        0,
        "",
    )
    assert here.posts() == 0
    posted = one.post("/servers/main/test", {"post": True})
    assert (posted["ok"], posted["id_policy"], posted["group"]) == (True, "swallows", "alt.binaries.a")
    assert here.posts() == 1
    (server,) = one.get("/servers")["servers"]
    assert (server["id_policy"], server["article_bytes"]) == ("swallows", posted["article_bytes"])
    assert one.stop() == 0
    here.daemon("two", folders=[], newsgroups=[]).start()
    with pytest.raises(Refused, match="no newsgroup is configured"):
        here.daemons[-1].post("/servers/main/test", {"post": True})
