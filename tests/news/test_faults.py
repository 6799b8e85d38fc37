"""Posting and reading through the embedded server's faults: nothing lost, nothing believed that is not so."""

import random
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.news.conftest import QUICK, Serve
from tests.news.peers import article, message_id
from usenetsyncd.errors import ArticleMissing, NewsError, PostDoubtful, PostDuplicate
from usenetsyncd.loopback.faults import FaultRules
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.news.service import NewsService

COUNT = 60
FAULTS: list[dict[str, Any]] = [
    {"match": {"command": "POST", "every": 7}, "act": {"close_silently": True}},
    {"match": {"command": "POST", "every": 5}, "act": {"cut_reply_at": 0}},
    {"match": {"command": "POST", "every": 5}, "act": {"cut_reply_at": 3}},
    {"match": {"command": "POST", "every": 5}, "act": {"reply": {"code": 441, "text": "posting failed"}}},
    {"match": {"command": "POST", "every": 5}, "act": {"lie": {"code": 441, "text": "posting failed"}}},
    {"match": {"command": "POST", "every": 6}, "act": {"reply": {"code": 436, "text": "later"}}},
    {"match": {"command": "POST", "every": 6}, "act": {"reply": {"code": 400, "text": "closing"}}},
    {"match": {"command": "POST-BEGIN", "every": 4}, "act": {"cut_article_at": 500}},
    {"match": {"command": "POST-BEGIN", "every": 4}, "act": {"close_silently": True}},
    {"match": {"command": "POST-BEGIN", "every": 4}, "act": {"reply": {"code": 480, "text": "log in"}}},
    {"match": {"command": "POST-BEGIN", "every": 4}, "act": {"reply": {"code": 500, "text": "what?"}}},
    {"match": {"command": "POST-BEGIN", "every": 4}, "act": {"reply": {"code": 503, "text": "not now"}}},
    {"match": {"command": "POST-BEGIN", "every": 4}, "act": {"extra_reply": "240 so soon"}},
    {"match": {"command": "POST", "every": 5}, "act": {"endless_line": True}},
    {"match": {"command": "POST", "every": 5}, "act": {"extra_reply": "240 once more"}},
    {"match": {"command": "CONNECT", "every": 3}, "act": {"close_silently": True}},
    {"match": {"command": "CONNECT", "every": 3}, "act": {"endless_line": True}},
    {"match": {"command": "CONNECT", "every": 3}, "act": {"reply": {"code": 400, "text": "busy"}}},
    {"match": {"command": "AUTHINFO PASS", "every": 3}, "act": {"close_silently": True}},
    {"match": {"command": ["CONNECT", "AUTHINFO"]}, "act": {"limit_connections": {"max": 2}}},
]
READING_FAULTS: list[dict[str, Any]] = [
    {"match": {"command": "BODY", "every": 9}, "act": {"close_silently": True}},
    {"match": {"command": "BODY", "every": 9}, "act": {"cut_reply_at": 200}},
    {"match": {"command": "BODY", "every": 9}, "act": {"reply": {"code": 480, "text": "log in"}}},
    {"match": {"command": "BODY", "times": 2}, "act": {"no_final_dot": True}},
    {"match": {"command": "BODY", "times": 2}, "act": {"endless_line": True}},
    {"match": {"command": "BODY", "every": 20}, "act": {"extra_reply": "430 no such article"}},
    {"match": {"command": "CONNECT", "every": 2}, "act": {"close_silently": True}},
    {"match": {"command": "BODY", "every": 15}, "act": {"reply": {"code": 400, "text": "idle time-out"}}},
    {"match": {"command": "BODY", "times": 2}, "act": {"slow": 5.0}},
]

# Short waits, and enough tries that dice cannot use them up.
PATIENT = {**QUICK, "out_of_service": {"base_s": 0.01, "attempts": 20}}
PATIENT = {name: {**fields, "attempts": 20} for name, fields in PATIENT.items()}
PATIENT["login_again"] = {"attempts": 20}
PATIENT["too_many_connections"] = {"base_s": 0.05, "jitter": 0, "attempts": 99}


def named(fault: dict[str, Any]) -> str:
    act, value = next(iter(fault["act"].items()))
    detail = value.get("code", "") if isinstance(value, dict) else value
    return f"{fault['match']['command']}-{act}-{detail}"


def account_of(server: LoopbackServer) -> ServerAccount:
    return ServerAccount("main", *server.address, TlsMode.NONE, "u", "p", connections=4, timeout_s=0.5)


def keep_in(
    got: dict[MessageId, bytes | NewsError | None], service: NewsService, ids: list[MessageId]
) -> None:
    service.fetch(ids, lambda name, block, error: got.update({name: block or error}))


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_every_article_is_there_or_is_reported(serve: Serve, tmp_path: Path, fault: dict[str, Any]) -> None:
    rules = FaultRules([fault])
    with LoopbackServer(tmp_path, users={"u": "p"}, faults=rules) as server:
        service = serve(account_of(server), overrides=PATIENT)
        posted, doubtful, lost = set[int](), set[int](), dict[int, NewsError]()

        def post(numbers: range) -> None:
            for number in numbers:
                try:
                    service.post(article(number))
                    posted.add(number)
                except PostDoubtful:
                    doubtful.add(number)
                except NewsError as error:
                    lost[number] = error

        threads = [threading.Thread(target=post, args=(range(n, COUNT, 6),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lost == {}
        assert posted | doubtful == set(range(COUNT))
        assert posted
        server.faults.clear()
        held = set(server.message_ids())
        assert {message_id(number) for number in posted} <= held
        found = service.stat([message_id(number) for number in range(COUNT)])
        assert {name for name, presence in found.items() if presence is Presence.PRESENT} == held
        assert max(server.counters.posts.values()) == 1


@pytest.mark.parametrize("fault", READING_FAULTS, ids=named)
def test_every_article_comes_back_through_faults(serve: Serve, tmp_path: Path, fault: dict[str, Any]) -> None:
    with LoopbackServer(tmp_path, users={"u": "p"}) as server:
        service = serve(account_of(server), overrides=PATIENT)
        for number in range(COUNT):
            service.post(article(number))
        service.replace_accounts([])
        service.replace_accounts([account_of(server)])
        server.faults.set([fault])
        got: dict[MessageId, bytes | NewsError | None] = {}
        keep_in(got, service, [message_id(n) for n in range(COUNT)])
        assert not [error for error in got.values() if not isinstance(error, bytes)]


def test_a_lost_reply_is_settled_by_asking_and_posting_again_says_duplicate(
    serve: Serve, tmp_path: Path
) -> None:
    with LoopbackServer(
        tmp_path, faults=FaultRules([{"match": {"command": "POST"}, "act": {"cut_reply_at": 0}}])
    ) as server:
        service = serve(account_of(server))
        with pytest.raises(PostDoubtful):
            service.post(article())
        server.faults.clear()
        assert service.stat([message_id(1)]) == {message_id(1): Presence.PRESENT}
        with pytest.raises(PostDuplicate):
            service.post(article())


def test_what_a_server_threw_away_after_240_is_missing(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, faults=FaultRules([{"act": {"drop_after_240": True}}])) as server:
        service = serve(account_of(server))
        service.post(article())
        with pytest.raises(ArticleMissing):
            service.fetch_one(message_id(1))


def test_the_id_that_a_server_chose_is_the_one_to_ask_for(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(
        tmp_path, faults=FaultRules([{"match": {"command": "POST"}, "act": {"rewrite_id": True}}])
    ) as server:
        service = serve(account_of(server))
        receipt = service.post(article())
        assert receipt.message_id != message_id(1)
        assert service.stat([receipt.message_id, message_id(1)]) == {
            receipt.message_id: Presence.PRESENT,
            message_id(1): Presence.MISSING,
        }


def test_a_mixture_of_faults_on_two_servers_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    chance = random.Random(11)
    mixed = [
        {"match": {"command": command, "probability": 0.04}, "act": act}
        for command, act in [
            ("POST", {"close_silently": True}),
            ("POST", {"reply": {"code": 441, "text": "posting failed"}}),
            ("POST-BEGIN", {"cut_article_at": 700}),
            ("CONNECT", {"reply": {"code": 502, "text": "too many connections"}}),
            ("BODY", {"cut_reply_at": 900}),
            ("BODY", {"close_silently": True}),
            ("BODY", {"reply": {"code": 480, "text": "log in"}}),
        ]
    ]
    with (
        LoopbackServer(tmp_path / "a", faults=FaultRules(mixed, chance.randrange(1000))) as one,
        LoopbackServer(tmp_path / "b", faults=FaultRules(mixed, chance.randrange(1000))) as two,
    ):
        first = account_of(one)
        second = ServerAccount("second", *two.address, TlsMode.NONE, connections=3, priority=2, timeout_s=0.5)
        service = serve(first, second, overrides=PATIENT)
        kept: list[int] = []
        for number in range(150):
            try:
                service.post(article(number))
                kept.append(number)
            except PostDoubtful:
                pass
        assert len(kept) > 100
        wanted = {message_id(number) for number in kept}
        for _ in range(5):
            got: dict[MessageId, bytes | NewsError | None] = {}
            keep_in(got, service, list(wanted))
            assert not [error for error in got.values() if isinstance(error, ArticleMissing)]
            wanted -= {name for name, found in got.items() if isinstance(found, bytes)}
            if not wanted:
                break
        assert not wanted
