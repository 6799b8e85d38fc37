"""The service as a whole: reload, snapshots, the end, and that nothing is left behind."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.news.conftest import Serve
from tests.news.peers import Peer, ScriptedServer, Store, article, message_id
from usenetsyncd.errors import Cancelled, ConfigurationError, NewsError, NotFound, PostRefused
from usenetsyncd.loopback.faults import FaultRules
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ServerAccount, TlsMode


def test_building_a_service_connects_to_nobody(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account())
        assert [(state.state, state.connections) for state in service.snapshot()] == [("idle", 0)]
        assert service.posting_capacity() == service.reading_capacity() == server.account().connections
        assert server.connections == 0


def test_an_unsafe_account_is_refused_when_the_service_is_built(serve: Serve) -> None:
    with pytest.raises(ConfigurationError, match="only for a server on this machine"):
        serve(ServerAccount("main", "news.example.com", 119, TlsMode.NONE))


def test_two_servers_of_one_name_are_refused(serve: Serve) -> None:
    account = ServerAccount("main", "localhost", 119, TlsMode.NONE)
    with pytest.raises(ConfigurationError, match="same name"):
        serve(account, replace(account, port=120))


def test_a_snapshot_counts_what_was_done(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account(connections=3))
        service.post(article(1))
        service.fetch_one(message_id(1))
        (state,) = service.snapshot()
        assert (state.name, state.state, state.connections, state.connections_max) == ("main", "up", 1, 3)
        assert (state.posted, state.fetched) == (1, 1)
        assert state.bytes_up > 3000 < state.bytes_down
        assert state.score == 1.0


def test_a_reload_keeps_the_connections_of_accounts_that_did_not_change(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        kept, changed = one.account("kept"), two.account("changed", priority=2)
        service = serve(kept, changed)
        service.post(article(1))
        service.post(article(2), avoid={"kept"})
        service.replace_accounts([kept, replace(changed, connections=2)])
        assert two.open == 0
        service.post(article(3))
        service.post(article(4), avoid={"kept"})
        assert (one.connections, two.connections) == (1, 2)
        assert [state.connections_max for state in service.snapshot()] == [8, 2]


def test_a_reload_lets_what_is_under_way_end_and_never_exceeds_the_account(serve: Serve) -> None:
    store = Store(delay_s=0.3)
    with ScriptedServer(store) as server:
        account = server.account(connections=1)
        service = serve(account)
        posting = threading.Thread(target=service.post, args=(article(1),))
        posting.start()
        time.sleep(0.1)
        service.replace_accounts([replace(account, timeout_s=3.0)])
        posting.join()
        service.post(article(2))
        assert store.posted == [message_id(1), message_id(2)]
        assert server.most_open == 1


def test_what_is_said_of_retrying_counts_at_once_and_an_impossible_rule_changes_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    refusing = FaultRules([{"name": "no", "match": {"command": "POST"}, "act": {"reply": {"code": 441}}}])
    with LoopbackServer(tmp_path, faults=refusing) as server:
        service = serve(ServerAccount("main", *server.address, TlsMode.NONE))
        for attempts in (5, 1):
            service.set_retry({"441": {"base_s": 0.01, "attempts": attempts}})
            with pytest.raises(ConfigurationError):
                service.set_retry({"441": {"attempts": 0}})
            before = server.faults.fired()["no"]
            with pytest.raises(PostRefused):
                service.post(article(1))
            assert server.faults.fired()["no"] - before == attempts
        assert server.counters.connections_total == 1


def test_a_reload_with_an_unsafe_account_changes_nothing(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account())
        bad = [ServerAccount("bad", "news.example.com", 119, TlsMode.NONE)]
        with pytest.raises(ConfigurationError):
            service.verify_accounts(bad)
        with pytest.raises(ConfigurationError):
            service.replace_accounts(bad)
        assert service.post(article()).server == "main"


def test_a_server_that_is_no_longer_configured_is_not_asked(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        service = serve(one.account("one"))
        service.post(article(1))
        service.replace_accounts([two.account("two")])
        assert service.post(article(2)).server == "two"
        assert [state.name for state in service.snapshot()] == ["two"]
        with pytest.raises(NotFound):
            service.test("one")


def test_closing_while_a_server_hangs_takes_no_longer_than_the_deadline(serve: Serve) -> None:
    with ScriptedServer(Peer.linger) as server:
        service = serve(server.account(timeout_s=30))
        outcome: list[NewsError | Cancelled] = []

        def post() -> None:
            try:
                service.post(article())
            except (NewsError, Cancelled) as error:
                outcome.append(error)

        threads = [threading.Thread(target=post) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        started = time.monotonic()
        service.close(0.2)
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 2
        assert len(outcome) == 5


def test_closing_in_the_middle_of_a_fetch_ends_it(serve: Serve) -> None:
    with ScriptedServer(Store(delay_s=0.02).put(*range(300))) as server:
        service = serve(server.account(connections=3))
        outcome: list[str] = []

        def fetch() -> None:
            try:
                service.fetch([message_id(n) for n in range(300)], lambda *_: None)
            except Cancelled:
                outcome.append("cancelled")

        thread = threading.Thread(target=fetch)
        thread.start()
        time.sleep(0.2)
        service.close(1)
        thread.join(2)
        assert outcome == ["cancelled"]


def test_closing_twice_is_harmless(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account())
        service.post(article())
        service.close(1)
        service.close(1)
        assert server.open == 0
        with pytest.raises(Cancelled):
            service.fetch_one(message_id(1))


def test_upkeep_keeps_idle_connections(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account())
        service.post(article())
        service.tick()
        assert service.snapshot()[0].connections == 1
