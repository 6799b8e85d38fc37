"""What a server does with message-ids is learnt from what it says and shows, and no posted article is lost sight of."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.news.conftest import Serve
from tests.news.peers import article, message_id
from tests.plugins.clock import FakeClock
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.news.records import IdPolicy

SAYS_NO_ID = {"lie": {"code": 240, "text": "article posted"}}


def account(server: LoopbackServer) -> ServerAccount:
    return ServerAccount("main", *server.address, TlsMode.NONE, connections=2, timeout_s=2.0)


def play(server: LoopbackServer, **act: Any) -> None:
    server.faults.set([{"match": {"command": "POST"}, "act": act}])


def test_a_server_that_tells_our_id_is_not_asked(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(account(server))
        for number in range(5):
            assert service.post(article(number)).message_id == message_id(number)
        assert service.snapshot()[0].id_policy is IdPolicy.KEEPS
        assert server.counters.commands["STAT"] == 0


def test_a_server_that_tells_no_id_but_keeps_ours_is_asked_once(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path) as server:
        play(server, **SAYS_NO_ID)
        service = serve(account(server))
        for number in range(20):
            assert service.post(article(number)).message_id == message_id(number)
        assert service.snapshot()[0].id_policy is IdPolicy.KEEPS
        assert server.counters.commands["STAT"] == 1


def test_where_a_server_swallows_ids_every_receipt_has_the_one_that_it_gave(
    serve: Serve, tmp_path: Path
) -> None:
    with LoopbackServer(tmp_path) as server:
        play(server, swallow_id=True)
        service = serve(account(server))
        receipts: dict[int, MessageId] = {}

        def post(numbers: range) -> None:
            for number in numbers:
                receipts[number] = service.post(article(number)).message_id

        threads = [threading.Thread(target=post, args=(range(first, 40, 4),)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert service.snapshot()[0].id_policy is IdPolicy.SWALLOWS
        assert set(receipts.values()) == set(server.message_ids())
        assert set(service.stat(list(receipts.values())).values()) == {Presence.PRESENT}
        body = service.fetch_one(receipts[7])
        assert body == article(7).block().partition(b"\r\n\r\n")[2]


def test_what_cannot_be_seen_yet_is_asked_about_now_and_then_and_not_each_time(
    serve: Serve, tmp_path: Path
) -> None:
    clock = FakeClock()
    with LoopbackServer(tmp_path) as server:
        play(server, hide=3600, **SAYS_NO_ID)
        service = serve(account(server), clock=clock)
        for number in range(20):
            assert service.post(article(number)).message_id == message_id(number)
        assert service.snapshot()[0].id_policy is IdPolicy.UNKNOWN
        assert server.counters.commands["STAT"] == 1
        play(server, **SAYS_NO_ID)
        clock.advance(31)
        service.post(article(100))
        assert service.snapshot()[0].id_policy is IdPolicy.KEEPS
        assert server.counters.commands["STAT"] == 2


@pytest.mark.parametrize("verb", ["STAT", "GROUP", "OVER"])
@pytest.mark.parametrize(
    "act", [{"close_silently": True}, {"reply": {"code": 502}}, {"extra_reply": "223 0"}]
)
def test_a_question_that_goes_wrong_takes_nothing_from_an_article_that_was_taken(
    serve: Serve, tmp_path: Path, verb: str, act: dict[str, Any]
) -> None:
    with LoopbackServer(tmp_path) as server:
        server.faults.set(
            [
                {"match": {"command": "POST", "times": 1}, "act": {"swallow_id": True}},
                {"match": {"command": verb}, "act": act},
            ]
        )
        service = serve(account(server))
        receipts = [service.post(article(number)).server for number in range(4)]
        assert receipts == ["main"] * 4
        assert len(server.message_ids()) == 4
        assert max(server.counters.posts.values()) == 1
