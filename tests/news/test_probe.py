"""``server test``: what a person reads about a server."""

import re
import threading
import time
from pathlib import Path

import pytest

from tests.inn.instance import InnServer
from tests.news.conftest import Serve
from tests.news.peers import Authority, Peer, ScriptedServer, Store, article
from usenetsyncd.errors import NoServer
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ServerAccount, ServerRole, TlsMode
from usenetsyncd.news.records import IdPolicy


def test_a_good_server_gets_a_good_report(serve: Serve, tmp_path: Path, authority: Authority) -> None:
    certificate = authority.issue("probe")
    tls = (certificate.path, certificate.path)
    with LoopbackServer(tmp_path, users={"alice": "secret"}, tls=tls, implicit_tls=True) as server:
        account = ServerAccount(
            "main",
            "localhost",
            server.address[1],
            TlsMode.IMPLICIT,
            "alice",
            "secret",
            3,
            ca_file=str(authority.path),
        )
        report = serve(account).test("main")
        assert server.counters.connections_max == 3
    assert report.ok
    assert report.problem == ""
    assert report.tls == "TLSv1.3"
    assert report.certificate == "CN=localhost"
    assert report.certificate_expires_s is not None
    assert (report.login, report.posting, report.pipelining) == ("accepted", True, True)
    assert report.round_trip_s is not None
    assert report.round_trip_s < 1
    assert (report.connections, report.connections_tried) == (3, 3)
    text = "\n".join(report.lines)
    for words in (
        "TLSv1.3",
        "valid until",
        "login accepted for alice",
        "posting is allowed",
        "3 connections at once",
    ):
        assert words in text
    assert "secret" not in text


def test_a_certificate_that_ends_soon_is_pointed_out(
    serve: Serve, tmp_path: Path, authority: Authority
) -> None:
    certificate = authority.issue("soon", days=5)
    with ScriptedServer(Store(), certificate.context()) as server:
        account = server.account(
            tls=TlsMode.IMPLICIT, host="localhost", ca_file=str(authority.path), connections=1
        )
        assert any("<- soon" in line for line in serve(account).test("main").lines)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [("400 going down", "going down"), ("502 too many connections", "too many"), ("nonsense", "no reply")],
)
def test_a_server_that_does_not_let_us_in_is_told_with_its_own_words(
    serve: Serve, greeting: str, words: str
) -> None:
    with ScriptedServer(lambda peer: peer.say(greeting)) as server:
        report = serve(server.account()).test("main")
    assert not report.ok
    assert words in report.problem
    assert any(words in line for line in report.lines)


def test_a_wrong_password_is_told(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, users={"alice": "secret"}) as server:
        account = ServerAccount("main", *server.address, TlsMode.NONE, "alice", "wrong")
        report = serve(account).test("main")
    assert not report.ok
    assert "48" in report.problem
    assert "wrong" not in report.problem


def test_an_account_that_may_not_post_is_a_problem_only_where_it_should(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, users={"ro": "x"}, read_only=["ro"]) as server:
        posting = ServerAccount("posting", *server.address, TlsMode.NONE, "ro", "x", 1)
        reading = ServerAccount(
            "reading", *server.address, TlsMode.NONE, "ro", "x", 1, frozenset({ServerRole.READ})
        )
        service = serve(posting, reading)
        told = service.test("posting")
        assert not told.ok
        assert "post" in told.problem
        assert service.test("reading").ok


def test_fewer_connections_than_configured_are_counted(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, max_connections=2) as server:
        report = serve(ServerAccount("main", *server.address, TlsMode.NONE, connections=4)).test("main")
    assert not report.ok
    assert report.connections == 2
    assert report.connections_tried == 3
    assert "2 connections at once, of 4 configured; no more" in "\n".join(report.lines)


def test_a_server_that_answers_one_command_at_a_time_has_no_pipelining(serve: Serve) -> None:
    class OneByOne(Store):
        def give(self, peer: Peer, verb: str, name: str) -> None:
            peer._received = b""
            super().give(peer, verb, name)

    with ScriptedServer(OneByOne()) as server:
        report = serve(server.account(connections=1, timeout_s=0.3)).test("main")
    assert report.pipelining is False
    assert any("may not be sent ahead" in line for line in report.lines)


def test_a_test_never_exceeds_the_account_beside_what_is_running(serve: Serve) -> None:
    class SlowPost(Store):
        def take(self, peer: Peer, name: str) -> None:
            time.sleep(0.4)
            super().take(peer, name)

    with ScriptedServer(SlowPost()) as server:
        service = serve(server.account(connections=2))
        posting = threading.Thread(target=service.post, args=(article(),))
        posting.start()
        while not service.snapshot()[0].connections:
            pass
        report = service.test("main")
        posting.join()
        assert report.connections == 1
        assert server.most_open <= 2


def test_when_all_connections_are_in_use_the_test_says_so(serve: Serve) -> None:
    with ScriptedServer(Store(delay_s=0.3)) as server:
        service = serve(server.account(connections=1))
        posting = threading.Thread(target=service.post, args=(article(),))
        posting.start()
        while not service.snapshot()[0].connections:
            pass
        with pytest.raises(NoServer, match="in use"):
            service.test("main")
        posting.join()


def test_without_being_asked_a_test_posts_nothing_and_says_what_is_known(
    serve: Serve, tmp_path: Path
) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(ServerAccount("main", *server.address, TlsMode.NONE))
        before = service.test("main")
        assert server.message_ids() == []
        assert (before.id_policy, before.article_bytes) == (IdPolicy.UNKNOWN, 0)
        assert "what it does with message-ids is not known yet" in before.lines
        service.post(article(1, 50_000))
        after = service.test("main")
        assert after.id_policy is service.snapshot()[0].id_policy is IdPolicy.KEEPS
        assert after.article_bytes == service.snapshot()[0].largest_posted == article(1, 50_000).size_bytes
        assert "has taken articles of up to 50 kB" in after.lines


@pytest.mark.parametrize(
    ("act", "policy", "words"),
    [
        ({"delay": 0}, IdPolicy.KEEPS, "keeps the message-ids"),
        ({"rewrite_id": True}, IdPolicy.REWRITES, "tells the new ones"),
        ({"swallow_id": True}, IdPolicy.SWALLOWS, "without telling"),
    ],
)
def test_one_article_tells_what_a_server_does_with_ids(
    serve: Serve, tmp_path: Path, act: dict[str, object], policy: IdPolicy, words: str
) -> None:
    with LoopbackServer(tmp_path) as server:
        server.faults.set([{"match": {"command": "POST"}, "act": act}])
        service = serve(ServerAccount("main", *server.address, TlsMode.NONE))
        report = service.test("main", post=True)
        assert (report.ok, report.id_policy) == (True, policy)
        assert any(words in line for line in report.lines)
        assert any(re.fullmatch(r"took an article of 79\d kB", line) for line in report.lines)
        assert len(server.message_ids()) == 1
        assert service.snapshot()[0].id_policy is policy


def test_where_our_size_is_refused_a_small_article_tells_the_difference(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, max_article_bytes=500_000) as server:
        report = serve(ServerAccount("main", *server.address, TlsMode.NONE)).test("main", post=True)
        assert report.ok
        assert report.article_bytes < 2_000
        assert any("was refused: main said '441" in line for line in report.lines)
        assert len(server.message_ids()) == 1


def test_a_server_that_refuses_every_article_is_a_problem(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, groups=("misc.*",)) as server:
        report = serve(ServerAccount("main", *server.address, TlsMode.NONE)).test("main", post=True)
        assert (report.ok, report.article_bytes) == (False, 0)
        assert "No valid newsgroups" in report.problem
        report = serve(ServerAccount("main", *server.address, TlsMode.NONE)).test(
            "main", post=True, groups=("misc.test",)
        )
        assert report.ok


@pytest.mark.requires("inn")
def test_inn_keeps_our_ids_and_takes_our_size(serve: Serve, inn_server: InnServer) -> None:
    account = ServerAccount("inn", *inn_server.address, TlsMode.NONE, "test", inn_server.password)
    report = serve(account).test("inn", post=True)
    assert (report.ok, report.id_policy) == (True, IdPolicy.KEEPS)
    assert report.article_bytes > 790_000
