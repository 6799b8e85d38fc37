"""Copies of one segment stand on different servers, and the best servers share the load."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.news.conftest import Serve
from tests.news.peers import ScriptedServer, Store, article, message_id
from usenetsyncd.model import ServerAccount, ServerRole, TlsMode
from usenetsyncd.news.spreading import spread_over


def account(name: str, priority: int = 1) -> ServerAccount:
    return ServerAccount(name, "localhost", 119, TlsMode.NONE, priority=priority)


SEGMENT_IDS = st.binary(min_size=16, max_size=16)


@given(st.lists(st.integers(1, 3), min_size=2, max_size=6), SEGMENT_IDS)
def test_as_many_copies_as_there_are_servers_never_meet(priorities: list[int], seg_id: bytes) -> None:
    accounts = [account(f"s{number}", priority) for number, priority in enumerate(priorities)]
    names = [spread_over(accounts, copy, seg_id) for copy in range(len(accounts))]
    assert sorted(filter(None, names)) == sorted(one.name for one in accounts)
    assert names == [spread_over(accounts[::-1], copy, seg_id) for copy in range(len(accounts))]


def test_with_one_server_there_is_nothing_to_choose() -> None:
    assert spread_over([account("only")], 3, bytes(16)) is None
    assert spread_over([], 0, bytes(16)) is None


def test_first_copies_are_shared_by_the_best_and_the_others_get_the_second() -> None:
    accounts = [account("a"), account("b"), account("backup", 2)]
    ids = [number.to_bytes(4) + bytes(12) for number in range(1000)]
    assert Counter(spread_over(accounts, 0, seg_id) for seg_id in ids) == {"a": 500, "b": 500}
    assert Counter(spread_over(accounts, 1, seg_id) for seg_id in ids) == {"a": 500, "b": 500}
    assert {spread_over(accounts, 2, seg_id) for seg_id in ids} == {"backup"}


def test_an_article_goes_to_the_server_that_is_preferred(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        service = serve(one.account("first"), two.account("second", priority=2))
        assert service.post(article(1), prefer="second").server == "second"
        assert service.post(article(2), prefer="nobody").server == "first"
        assert service.post(article(3), avoid={"second"}, prefer="second").server == "first"
        assert {service.spread(copy, bytes(16)) for copy in range(2)} == {"first", "second"}


def test_a_preferred_server_that_is_down_stops_nobody(serve: Serve) -> None:
    with ScriptedServer(lambda peer: peer.say("400 out of service")) as down, ScriptedServer(Store()) as up:
        service = serve(up.account("up"), down.account("down"))
        assert [service.post(article(number), prefer="down").server for number in range(5)] == ["up"] * 5


def test_copies_are_spread_over_the_servers_that_may_post(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        reader = two.account("reader", roles=frozenset({ServerRole.READ}))
        assert serve(one.account("poster"), reader).spread(1, bytes(16)) is None


def test_bodies_are_fetched_from_exactly_the_server_that_is_named(serve: Serve) -> None:
    first, second = Store().put(1, 2), Store().put(2, 3)
    with ScriptedServer(first) as one, ScriptedServer(second) as two:
        service = serve(one.account("first"), two.account("second", priority=2))
        got: dict[str, str] = {}
        ids = [message_id(number) for number in (1, 2, 3)]
        service.fetch_from(
            "second", ids, lambda name, block, error: got.update({name: type(error or block).__name__})
        )
        assert [got[name] for name in ids] == ["ArticleMissing", "bytes", "bytes"]
        assert first.asked == []
