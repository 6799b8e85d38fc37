"""Asking and fetching: everything answered once, from server to server, and never missing where it is only unknown."""

import threading
import time
from collections.abc import Callable

import pytest

from tests.news.conftest import Serve
from tests.news.peers import Hung, Peer, ScriptedServer, Store, article, message_id
from usenetsyncd.errors import ArticleMissing, Cancelled, NewsError, NoServer, NotFound
from usenetsyncd.model import MessageId, Presence, ServerRole
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body

READ = frozenset({ServerRole.READ})


def fetched(service: NewsService, numbers: range | list[int]) -> dict[MessageId, bytes | NewsError | None]:
    """What arrived for each id; fails if one arrived twice."""
    lock = threading.Lock()
    found: dict[MessageId, bytes | NewsError | None] = {}

    def keep(name: MessageId, block: bytes | None, error: NewsError | None) -> None:
        with lock:
            assert name not in found
            found[name] = error if block is None else block

    service.fetch([message_id(n) for n in numbers], keep)
    assert set(found) == {message_id(n) for n in numbers}
    return found


def body(number: int) -> bytes:
    return (b"%08d" % number) * (3000 // 8)


def test_many_bodies_arrive_each_once_and_unharmed_over_several_connections(serve: Serve) -> None:
    with ScriptedServer(Store(delay_s=0.001).put(*range(300))) as server:
        service = serve(server.account(connections=4))
        found = fetched(service, range(300))
        assert all(decode_body(found[message_id(n)]) == body(n) for n in range(300))  # type: ignore[arg-type]
        assert 2 <= server.most_open <= 4
        (state,) = service.snapshot()
        assert state.fetched == 300
        assert state.bytes_down > 300 * 3000


def test_one_body_needs_one_connection_and_no_thread(serve: Serve) -> None:
    before = threading.active_count()
    with ScriptedServer(Store().put(1)) as server:
        in_server = threading.active_count()
        service = serve(server.account(connections=4))
        assert decode_body(service.fetch_one(message_id(1))) == body(1)
        assert server.connections == 1
        assert threading.active_count() <= in_server + 1
    assert before <= in_server


def test_bodies_are_asked_for_ahead(serve: Serve) -> None:
    most = 0

    class Late(Store):
        def __call__(self, peer: Peer) -> None:
            nonlocal most
            peer.greet()
            while True:
                lines = [peer.hear()]
                time.sleep(0.03)
                while b"\r\n" in peer._received or self._more(peer):
                    lines.append(peer.hear())
                most = max(most, len(lines))
                for line in lines:
                    self.answer(peer, line)

        def _more(self, peer: Peer) -> bool:
            peer.sock.setblocking(False)
            try:
                peer._received += peer.sock.recv(65536)
            except BlockingIOError:
                return False
            finally:
                peer.sock.setblocking(True)
            return b"\r\n" in peer._received

    with ScriptedServer(Late().put(*range(30))) as server:
        fetched(serve(server.account(connections=1)), range(30))
    assert 3 <= most <= 10


def test_what_one_server_does_not_have_comes_from_the_next(serve: Serve) -> None:
    odd, all_of_them = Store().put(*range(1, 100, 2)), Store().put(*range(100))
    with ScriptedServer(odd) as one, ScriptedServer(all_of_them) as two:
        service = serve(one.account("odd"), two.account("all", priority=2))
        found = fetched(service, range(100))
    assert all(isinstance(block, bytes) for block in found.values())
    assert set(all_of_them.asked) == {message_id(n) for n in range(0, 100, 2)}


def test_servers_of_one_priority_share_the_work(serve: Serve) -> None:
    one_store, two_store = (Store(delay_s=0.002).put(*range(200)) for _ in range(2))
    with ScriptedServer(one_store) as one, ScriptedServer(two_store) as two:
        fetched(serve(one.account("one"), two.account("two")), range(200))
    assert len(one_store.asked) + len(two_store.asked) == 200
    assert min(len(one_store.asked), len(two_store.asked)) > 20


def test_missing_is_said_only_when_every_reading_server_says_so(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        service = serve(one.account("one"), two.account("two", priority=2))
        assert isinstance(fetched(service, [1])[message_id(1)], ArticleMissing)
        with pytest.raises(ArticleMissing):
            service.fetch_one(message_id(1))


def test_an_article_is_unknown_and_not_missing_when_one_server_could_not_be_asked(serve: Serve) -> None:
    with ScriptedServer(Store()) as gone:
        account = gone.account("gone", priority=2)
    with ScriptedServer(Store()) as one:
        service = serve(one.account("one"), account)
        error = fetched(service, [1])[message_id(1)]
        assert isinstance(error, NewsError)
        assert not isinstance(error, ArticleMissing)
        assert service.stat([message_id(1)]) == {message_id(1): Presence.UNKNOWN}


@pytest.mark.parametrize("reply", ["500 what?", "503 not now", "412 no group selected", "403 fault"])
def test_trouble_is_unknown_and_another_server_is_asked(serve: Serve, reply: str) -> None:
    class Troubled(Store):
        def give(self, peer: Peer, verb: str, name: str) -> None:
            peer.say(reply)

    with ScriptedServer(Troubled()) as one, ScriptedServer(Store().put(1)) as two:
        alone = serve(one.account("one"))
        error = fetched(alone, [1])[message_id(1)]
        assert isinstance(error, NewsError)
        assert not isinstance(error, ArticleMissing)
        both = serve(one.account("one"), two.account("two", priority=2))
        assert isinstance(fetched(both, [1])[message_id(1)], bytes)


def failing_once(how: Callable[[Peer, str], None], at: int) -> Store:
    """A store that does something else instead of its at-th answer, once."""

    class Failing(Store):
        answers = 0

        def give(self, peer: Peer, verb: str, name: str) -> None:
            self.answers += 1
            if self.answers == at:
                how(peer, name)
            else:
                super().give(peer, verb, name)

    return Failing()


def cut(peer: Peer, name: str) -> None:
    raise Hung


def cut_in_the_body(peer: Peer, name: str) -> None:
    peer.send(b"222 0 " + name.encode() + b"\r\nhalf a li")
    raise Hung


def extra_reply(peer: Peer, name: str) -> None:
    peer.say("430 no such article", f"222 0 {name}", "text", ".")


def wrong_article(peer: Peer, name: str) -> None:
    peer.say("222 0 <somebody@else.example>", "text", ".")


def silence(peer: Peer, name: str) -> None:
    peer.linger()


def nonsense(peer: Peer, name: str) -> None:
    peer.say("What did you say?")
    peer.linger()


def log_in_again(peer: Peer, name: str) -> None:
    peer.say("480 who are you?")


@pytest.mark.parametrize("how", [cut, cut_in_the_body, wrong_article, silence, nonsense])
@pytest.mark.parametrize("at", [1, 7, 40])
def test_a_broken_connection_in_the_middle_loses_nothing(
    serve: Serve, how: Callable[[Peer, str], None], at: int
) -> None:
    with ScriptedServer(failing_once(how, at).put(*range(40))) as server:
        service = serve(server.account(connections=2, timeout_s=0.3))
        found = fetched(service, range(40))
    assert all(isinstance(block, bytes) for block in found.values())


def test_an_extra_reply_makes_no_article_missing(serve: Serve) -> None:
    store = failing_once(extra_reply, 5).put(*range(40))
    with ScriptedServer(store) as server:
        found = fetched(serve(server.account(connections=1)), range(40))
    assert all(isinstance(block, bytes) for block in found.values())


def test_a_server_that_wants_the_login_again_gets_it_and_nothing_is_lost(serve: Serve) -> None:
    class LogsOut(Store):
        logins = 0
        answers = 0
        logged_in = True

        def answer(self, peer: Peer, line: str) -> None:
            if line.startswith("AUTHINFO USER"):
                self.logins += 1
                self.logged_in = True
                peer.say("281 welcome")
            elif not self.logged_in:
                peer.say("480 who are you?")
            else:
                self.answers += 1
                self.logged_in = self.answers != 10
                super().answer(peer, line)

    store = LogsOut().put(*range(40))
    with ScriptedServer(store) as server:
        service = serve(server.account(connections=1, username="a", password="b"))
        assert all(isinstance(block, bytes) for block in fetched(service, range(40)).values())
        assert server.connections == 1
    assert store.logins == 2


def test_a_server_that_always_hangs_up_is_given_up_and_the_articles_stay_unknown(serve: Serve) -> None:
    class Moody(Store):
        def give(self, peer: Peer, verb: str, name: str) -> None:
            raise Hung

    with ScriptedServer(Moody()) as server:
        found = fetched(serve(server.account(connections=2)), range(20))
    assert all(isinstance(e, NewsError) and not isinstance(e, ArticleMissing) for e in found.values())


def test_a_fetch_ends_soon_after_it_is_stopped(serve: Serve) -> None:
    with ScriptedServer(Store(delay_s=0.05).put(*range(400))) as server:
        service = serve(server.account(connections=2))
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            service.fetch([message_id(n) for n in range(400)], lambda *_: None, stop)
        assert time.monotonic() - started < 2


def test_a_fetch_from_a_server_that_hangs_ends_soon_after_it_is_stopped(serve: Serve) -> None:
    class Hanging(Store):
        def give(self, peer: Peer, verb: str, name: str) -> None:
            """Say nothing."""

    with ScriptedServer(Hanging()) as server:
        service = serve(server.account(connections=2, timeout_s=30))
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            service.fetch([message_id(n) for n in range(20)], lambda *_: None, stop)
        assert time.monotonic() - started < 3


def test_what_the_callback_raises_ends_the_fetch_and_is_raised(serve: Serve) -> None:
    def fail(_name: MessageId, _block: bytes | None, _error: NewsError | None) -> None:
        raise OSError("disk full")

    with ScriptedServer(Store().put(*range(50))) as server:
        service = serve(server.account(connections=4))
        with pytest.raises(OSError, match="disk full"):
            service.fetch([message_id(n) for n in range(50)], fail)
        assert isinstance(fetched(service, [1])[message_id(1)], bytes)


def test_the_threads_of_one_fetch_serve_the_next(serve: Serve) -> None:
    with ScriptedServer(Store().put(*range(60))) as server:
        service = serve(server.account(connections=4))
        fetched(service, range(60))
        readers = {t.name for t in threading.enumerate() if t.name.startswith("news-read")}
        for _ in range(3):
            fetched(service, range(60))
        assert len({t.name for t in threading.enumerate() if t.name.startswith("news-read")}) <= 4
        service.close(1)
        assert readers
        assert not {t.name for t in threading.enumerate() if t.name.startswith("news-read")}


def test_stat_tells_the_three_states_apart(serve: Serve) -> None:
    class Unsure(Store):
        def give(self, peer: Peer, verb: str, name: str) -> None:
            if name == message_id(3):
                peer.say("500 what?")
            elif name == message_id(4):
                peer.say("223")
            else:
                super().give(peer, verb, name)

    with ScriptedServer(Unsure().put(1)) as server:
        found = serve(server.account()).stat([message_id(n) for n in (1, 2, 3, 4)])
    assert [found[message_id(n)] for n in (1, 2, 3, 4)] == [
        Presence.PRESENT,
        Presence.MISSING,
        Presence.UNKNOWN,
        Presence.MISSING,
    ]


def test_a_thousand_stats_are_answered_in_order(serve: Serve) -> None:
    with ScriptedServer(Store().put(*range(0, 1000, 3))) as server:
        found = serve(server.account(connections=2)).stat([message_id(n) for n in range(1000)])
    assert {n for n in range(1000) if found[message_id(n)] is Presence.PRESENT} == set(range(0, 1000, 3))


def test_stat_of_one_server_asks_no_other(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store().put(1)) as two:
        service = serve(one.account("one"), two.account("two"))
        assert service.stat([message_id(1)], server="one") == {message_id(1): Presence.MISSING}
        assert service.stat([message_id(1)], server="two") == {message_id(1): Presence.PRESENT}
        assert service.stat([message_id(1)]) == {message_id(1): Presence.PRESENT}
        with pytest.raises(NotFound, match="there are one, two"):
            service.stat([message_id(1)], server="three")


def test_verifying_asks_the_verifying_servers_and_else_the_reading_ones(serve: Serve) -> None:
    with ScriptedServer(Store().put(1)) as one, ScriptedServer(Store()) as two:
        reading = one.account("reading")
        judge = two.account("judge", roles=frozenset({ServerRole.VERIFY}))
        both = serve(reading, judge)
        assert both.stat([message_id(1)], ServerRole.VERIFY) == {message_id(1): Presence.MISSING}
        alone = serve(reading)
        assert alone.stat([message_id(1)], ServerRole.VERIFY) == {message_id(1): Presence.PRESENT}


def test_reading_without_a_reading_server_says_so(serve: Serve) -> None:
    with pytest.raises(NoServer):
        serve().fetch_one(message_id(1))


def test_nothing_asked_is_nothing_done(serve: Serve) -> None:
    assert serve().stat([]) == {}
    serve().fetch([], lambda *_: None)


def test_an_id_that_is_asked_for_twice_is_answered_once(serve: Serve) -> None:
    with ScriptedServer(Store().put(1)) as server:
        got: list[MessageId] = []
        serve(server.account()).fetch([message_id(1)] * 3, lambda name, *_: got.append(name))
    assert got == [message_id(1)]


def test_a_long_reading_job_gives_way_to_posts(serve: Serve) -> None:
    store = Store(delay_s=0.01).put(*range(160))
    with ScriptedServer(store) as server:
        service = serve(server.account(connections=1, roles=frozenset({ServerRole.READ, ServerRole.POST})))
        reading = threading.Thread(target=fetched, args=(service, range(160)))
        reading.start()
        time.sleep(0.2)
        service.post(article(1000))
        assert reading.is_alive()
        reading.join()


class Together(Store):
    """Takes articles only when so many come at once; says of every article that it is there."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.meeting = threading.Barrier(parties, timeout=10)

    def take(self, peer: Peer, name: str) -> None:
        self.meeting.wait()
        super().take(peer, name)

    def give(self, peer: Peer, verb: str, name: str) -> None:
        peer.say(f"223 0 {name}")


def test_a_long_check_leaves_most_connections_to_posts_and_none_of_them_waits_long(serve: Serve) -> None:
    store = Together(3)
    with ScriptedServer(store) as server:
        service = serve(server.account(connections=4))
        ids = [MessageId(f"<{number}@test.invalid>") for number in range(20_000)]
        stop = threading.Event()

        def check() -> None:
            while not stop.is_set():
                service.stat(ids)

        def post(first: int) -> None:
            for number in range(first, first + 5):
                service.post(article(number))

        checking = threading.Thread(target=check)
        checking.start()
        while server.open < 4:
            time.sleep(0.01)
        posting = [threading.Thread(target=post, args=(n * 10,)) for n in range(3)]
        before = len(store.asked)
        for thread in posting:
            thread.start()
        for thread in posting:
            thread.join()
        between = len(store.asked) - before
        stop.set()
        checking.join()
        assert len(store.posted) == 15
        assert not store.meeting.broken
        # Each of the five meetings waits for one turn of the checkers: 0.1 s, and what is under way then.
        assert between < 40_000


def test_with_one_connection_a_check_and_posts_take_turns(serve: Serve) -> None:
    store = Together(1)
    with ScriptedServer(store) as server:
        service = serve(server.account(connections=1))
        ids = [MessageId(f"<{number}@test.invalid>") for number in range(100_000)]
        asked = threading.Thread(target=service.stat, args=(ids,))
        asked.start()
        for number in range(6):
            service.post(article(number))
        assert len(store.asked) < 70_000
        asked.join()
        assert len(store.asked) == 100_000


def test_the_download_limit_holds(serve: Serve) -> None:
    with ScriptedServer(Store().put(*range(20))) as server:
        service = serve(server.account(roles=READ))
        service.set_limits(0, 100_000)
        started = time.monotonic()
        fetched(service, range(20))
        # 65 kB at 100 kB/s, less a quarter second's burst
        assert 0.25 < time.monotonic() - started < 3
