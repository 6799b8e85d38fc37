"""Finding articles by subject: with ids that a server changed, newest first, within bounds, on the servers there are."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.inn.instance import InnServer
from tests.news.conftest import Serve
from tests.news.peers import Peer, ScriptedServer, article, message_id
from usenetsyncd.errors import Cancelled, NewsError, NoServer
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.news.overview import SearchLimit
from usenetsyncd.wire.article import ArticleName, OutgoingArticle, build_article

GROUP = "alt.binaries.test"


def account(server: LoopbackServer, name: str = "main", **changes: object) -> ServerAccount:
    return ServerAccount(name, *server.address, TlsMode.NONE, timeout_s=2.0, **changes)  # type: ignore[arg-type]


def subject(number: int) -> str:
    return article(number).name.subject


def namesake(number: int, of: int) -> OutgoingArticle:
    """Another article with the subject of that one."""
    name = ArticleName(message_id(number), subject(of), "b <b@test.invalid>", "b")
    return build_article(name, (GROUP,), b"something else")


@pytest.mark.parametrize("how", ["rewrite_id", "swallow_id"])
def test_articles_whose_ids_a_server_changed_are_found_and_fetched(
    serve: Serve, tmp_path: Path, how: str
) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(account(server))
        server.faults.set([{"match": {"command": "POST"}, "act": {how: True}}])
        receipts = [service.post(article(number)) for number in range(20)]
        assert {receipt.message_id for receipt in receipts} == set(server.message_ids())
        assert set(service.stat([message_id(n) for n in range(20)]).values()) == {Presence.MISSING}
        found = service.find_by_subject([GROUP], [subject(n) for n in range(20)])
        real = [only[0] for only in (found[subject(n)] for n in range(20)) if len(only) == 1]
        assert {name for _, name in real} == set(server.message_ids())
        assert {where for where, _ in real} == {"main"}
        assert service.fetch_one(real[7][1]) == article(7).block().partition(b"\r\n\r\n")[2]


def test_all_with_one_subject_are_told_newest_first_and_not_without_end(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(account(server))
        service.post(article(0))
        for number in range(1, 6):
            service.post(namesake(number, of=0))
        few = service.find_by_subject([GROUP], [subject(0)], SearchLimit(candidates=3))
        assert few == {subject(0): [("main", message_id(number)) for number in (5, 4, 3)]}


def test_subjects_and_groups_that_are_not_there_are_left_out(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, groups=(GROUP,)) as server:
        service = serve(account(server))
        service.post(article(1))
        assert service.find_by_subject(["comp.none", "alt.none"], [subject(1)]) == {}
        assert service.find_by_subject([], [subject(1)]) == {}
        assert service.find_by_subject([GROUP], []) == {}
        found = service.find_by_subject(["comp.none", GROUP], [subject(1), subject(2)])
        assert found == {subject(1): [("main", message_id(1))]}


def test_the_search_ends_where_everything_is_found(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(account(server))
        for number in range(250):
            service.post(article(number, 8))
        assert subject(249) in service.find_by_subject([GROUP], [subject(249)])
        assert server.counters.commands["OVER"] == 1
        assert subject(0) in service.find_by_subject([GROUP], [subject(0)])
        assert server.counters.commands["OVER"] == 3


@pytest.mark.parametrize(
    "limit", [SearchLimit(articles=100), SearchLimit(size_bytes=20), SearchLimit(time_s=0)]
)
def test_the_search_keeps_within_its_bounds(serve: Serve, tmp_path: Path, limit: SearchLimit) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(account(server))
        for number in range(250):
            service.post(article(number, 8))
        assert service.find_by_subject([GROUP], [subject(0)], limit) == {}
        assert server.counters.commands["OVER"] <= 1


def test_a_server_that_knows_only_xover_is_asked_with_that(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path) as server:
        server.faults.set([{"match": {"command": "OVER"}, "act": {"reply": {"code": 500}}}])
        service = serve(account(server))
        service.post(article(1))
        assert service.find_by_subject([GROUP], [subject(1)]) == {subject(1): [("main", message_id(1))]}


@pytest.mark.parametrize(
    "act", [{"close_silently": True}, {"cut_reply_at": 90}, {"reply": {"code": 480, "text": "log in"}}]
)
@pytest.mark.parametrize("verb", ["GROUP", "OVER"])
def test_a_broken_connection_is_replaced_and_the_search_goes_on(
    serve: Serve, tmp_path: Path, verb: str, act: dict[str, object]
) -> None:
    with LoopbackServer(tmp_path) as server:
        service = serve(account(server))
        for number in range(250):
            service.post(article(number, 8))
        server.faults.set([{"match": {"command": verb, "times": 1}, "act": act}])
        assert list(service.find_by_subject([GROUP], [subject(0)])) == [subject(0)]


def test_what_one_server_does_not_have_is_looked_for_on_the_next(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path / "a") as one, LoopbackServer(tmp_path / "b") as two:
        service = serve(account(one, "first"), account(two, "second", priority=2))
        service.post(article(1))
        service.post(article(2), prefer="second", avoid={"first"})
        found = service.find_by_subject([GROUP], [subject(1), subject(2)])
        assert found == {subject(1): [("first", message_id(1))], subject(2): [("second", message_id(2))]}
        assert service.find_by_subject([GROUP], [subject(1)], server="second") == {}


def test_a_server_that_is_down_stops_no_search_and_silence_is_not_absence(
    serve: Serve, tmp_path: Path
) -> None:
    with ScriptedServer(lambda peer: peer.say("400 closed today")) as down:
        with LoopbackServer(tmp_path) as up:
            service = serve(down.account("down"), account(up, "up", priority=2))
            service.post(article(1))
            assert subject(1) in service.find_by_subject([GROUP], [subject(1)])
        alone = serve(down.account())
        with pytest.raises(NewsError, match="closed today"):
            alone.find_by_subject([GROUP], [subject(1)])
    with pytest.raises(NoServer):
        serve().find_by_subject([GROUP], [subject(1)])


def test_a_search_ends_when_it_is_stopped(serve: Serve, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with LoopbackServer(tmp_path) as server, pytest.raises(Cancelled):
        serve(account(server)).find_by_subject([GROUP], [subject(1)], stop=stop)


def saying(group: str, *overview: str) -> Callable[[Peer], None]:
    def reply(line: str) -> str:
        if line.startswith("GROUP"):
            return group
        return "\r\n".join(["224 here it is", *overview, "."])

    def script(peer: Peer) -> None:
        peer.greet()
        peer.serve(reply)

    return script


@pytest.mark.parametrize(
    ("group", "overview"),
    [
        ("211 nonsense", []),
        ("211 0 1 0 alt.binaries.test", []),
        ("211 9 -5 99999999999999999999 alt.binaries.test", []),
        ("211 1 1 1 alt.binaries.test", ["", "1", "1\t00000001", "\t\t\t\t\t\t\t\t"]),
        ("211 1 1 1 alt.binaries.test", ["1\t00000001\tme\tnow\tno message-id\t\t1\t1"]),
        ("211 1 1 1 alt.binaries.test", ["1\t00000001\tme\tnow\t<a@b>\r\n\t\t1\t1\xff"]),
    ],
)
def test_overview_that_makes_no_sense_finds_nothing_wrong(
    serve: Serve, group: str, overview: list[str]
) -> None:
    with ScriptedServer(saying(group, *overview)) as server:
        found = serve(server.account()).find_by_subject([GROUP], [subject(1)], SearchLimit(articles=5000))
        assert found in ({}, {subject(1): [("main", MessageId("<a@b>"))]})


@pytest.mark.requires("inn")
def test_an_article_on_inn_is_found_by_its_subject(serve: Serve, inn_server: InnServer) -> None:
    there = ServerAccount("inn", *inn_server.address, TlsMode.NONE, "test", inn_server.password, timeout_s=10)
    service = serve(there)
    known = article(0x1DEA)
    service.post(known)
    for _ in range(200):
        # INN writes its overview a moment after it took the article.
        if found := service.find_by_subject([GROUP], [known.name.subject]):
            break
        threading.Event().wait(0.05)
    assert found == {known.name.subject: [("inn", known.name.message_id)]}
