"""Several servers: one that is down, hangs or refuses us stops none of the others, and returns by itself."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.news.conftest import Serve
from tests.news.peers import Hung, Peer, ScriptedServer, article, message_id
from tests.plugins.clock import FakeClock
from usenetsyncd.errors import Cancelled, NewsError
from usenetsyncd.loopback.faults import FaultRules
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.news.service import NewsService


def account(server: LoopbackServer, name: str = "main", **changes: object) -> ServerAccount:
    return ServerAccount(name, *server.address, TlsMode.NONE, timeout_s=2.0, **changes)  # type: ignore[arg-type]


def post_all(service: NewsService, numbers: range, threads: int = 8) -> dict[int, str]:
    """Post from several threads; number -> server, or the error."""
    told: dict[int, str] = {}

    def post(first: int) -> None:
        for number in numbers[first::threads]:
            try:
                told[number] = service.post(article(number)).server
            except NewsError as error:
                told[number] = repr(error)

    posting = [threading.Thread(target=post, args=(first,)) for first in range(threads)]
    for thread in posting:
        thread.start()
    for thread in posting:
        thread.join()
    return told


def fetch_all(service: NewsService, numbers: range) -> set[MessageId]:
    """The ids whose bodies came."""
    got: set[MessageId] = set()

    def deliver(name: MessageId, block: bytes | None, _: NewsError | None) -> None:
        if block is not None:
            got.add(name)

    service.fetch([message_id(number) for number in numbers], deliver)
    return got


def ask(service: NewsService, server: str) -> None:
    with contextlib.suppress(NewsError, Cancelled):
        service.stat([message_id(0)], server=server)


@contextlib.contextmanager
def hanging() -> Iterator[ScriptedServer]:
    """Takes connections and never says a word."""
    with ScriptedServer(Peer.linger) as server:
        yield server


def refusing(peer: Peer) -> None:
    peer.say("400 out of service")


def breaking(peer: Peer) -> None:
    """Lets us in and hangs up at the first command that matters."""
    peer.greet()
    peer.hear()
    raise Hung


@pytest.mark.parametrize("script", [refusing, breaking, Peer.linger])
@pytest.mark.parametrize("priority", [1, 2])
def test_a_first_server_that_is_down_stops_no_posting_and_no_reading(
    serve: Serve, tmp_path: Path, script: Callable[[Peer], None], priority: int
) -> None:
    with ScriptedServer(script) as bad, LoopbackServer(tmp_path) as good:
        down = bad.account("down", timeout_s=30.0)
        up = account(good, "up", priority=priority)
        # While the first one hangs, the thread that dials it waits, and nobody else.
        service = serve(down, up)
        dialling = threading.Thread(target=ask, args=(service, "down"))
        dialling.start()
        assert set(post_all(service, range(40)).values()) == {"up"}
        assert fetch_all(service, range(40)) == {message_id(number) for number in range(40)}
        assert set(service.stat([message_id(n) for n in range(40)]).values()) == {Presence.PRESENT}
        service.close(1)
        dialling.join()


def test_a_server_that_goes_down_in_the_middle_is_replaced_and_comes_back(
    serve: Serve, tmp_path: Path
) -> None:
    clock = FakeClock()
    with LoopbackServer(tmp_path / "a") as first, LoopbackServer(tmp_path / "b") as second:
        service = serve(
            account(first, "first"), account(second, "second", priority=2), clock=clock, overrides={}
        )
        assert set(post_all(service, range(20)).values()) == {"first"}
        first.stop()
        assert set(post_all(service, range(20, 60)).values()) == {"second"}
        assert fetch_all(service, range(20, 60)) == {message_id(number) for number in range(20, 60)}
        first.start()
        clock.advance(3600)
        assert set(post_all(service, range(60, 80)).values()) == {"first"}
        assert fetch_all(service, range(80)) == {message_id(number) for number in range(80)}


@pytest.mark.parametrize(
    ("text", "least"), [("Too many connections", 2), ("too many simultaneous IP addresses", 1)]
)
def test_a_pool_shrinks_when_told_so_and_grows_back_when_it_may(
    serve: Serve, tmp_path: Path, text: str, least: int
) -> None:
    clock = FakeClock()
    slow = {"match": {"command": "POST"}, "act": {"delay": 0.01}}
    few = {"match": {"command": "CONNECT"}, "act": {"limit_connections": {"max": 2, "text": text}}}
    with LoopbackServer(tmp_path, faults=FaultRules([slow, few])) as server:
        service = serve(account(server, connections=6), clock=clock)
        assert set(post_all(service, range(60)).values()) == {"main"}
        assert service.snapshot()[0].allowed == least
        server.faults.set([slow])
        for turn in range(8):
            clock.advance(700)
            assert set(post_all(service, range(100 + 30 * turn, 130 + 30 * turn)).values()) == {"main"}
        (state,) = service.snapshot()
        assert (state.allowed, state.state) == (6, "up")
        assert server.counters.connections_max > 2


def test_every_server_down_is_told_and_the_first_to_return_is_used(serve: Serve, tmp_path: Path) -> None:
    clock = FakeClock()
    with LoopbackServer(tmp_path / "a") as one, LoopbackServer(tmp_path / "b") as two:
        long = {"unreachable": {"base_s": 100, "max_s": 600}}
        service = serve(account(one, "one"), account(two, "two", priority=2), clock=clock, overrides=long)
        one.stop()
        two.stop()
        with pytest.raises(NewsError):
            service.post(article(1))
        two.start()
        clock.advance(3600)
        assert service.post(article(1)).server == "two"


def test_a_server_without_an_article_and_one_that_cannot_say_are_told_apart(
    serve: Serve, tmp_path: Path
) -> None:
    with hanging() as silent, LoopbackServer(tmp_path) as good:
        service = serve(account(good, "good"), silent.account("silent", priority=2, timeout_s=0.3))
        service.post(article(1))
        found = service.stat([message_id(1), message_id(2)])
        assert found == {message_id(1): Presence.PRESENT, message_id(2): Presence.UNKNOWN}
