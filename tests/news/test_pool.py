"""The pool: lazy, last in first out, within its limit whatever happens, tidy at the end."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.news.peers import Peer, ScriptedServer, Store, message_id
from tests.plugins.clock import FakeClock
from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import Cancelled, ConnectionLost, NoServer
from usenetsyncd.news.connection import Connection, Dialer, Setback
from usenetsyncd.news.pool import IDLE_S, KEEP_ALIVE_S, LIFE_S, Pool
from usenetsyncd.news.replies import ReplyTable, Step


@contextmanager
def pool_of(
    server: ScriptedServer, limit: int, clock: Clock = SYSTEM_CLOCK, **account: object
) -> Iterator[Pool]:
    dialer = Dialer(server.account(**account), ReplyTable(), clock)
    pool = Pool(limit, dialer.open, dialer.interrupt, clock)
    try:
        yield pool
    finally:
        # A clock that stands still cannot time out: what a test leaves lent is cut off at once.
        pool.close(0)


def settled(check: object) -> bool:
    ends_at = time.monotonic() + 2
    while time.monotonic() < ends_at:
        if check():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def test_nothing_is_opened_before_it_is_needed_and_one_serves_all_in_turn() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 5) as pool:
        assert server.connections == 0
        for _ in range(5):
            pool.give_back(pool.obtain())
        assert server.connections == 1


def test_the_last_returned_is_lent_first() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 3) as pool:
        lent = [pool.obtain() for _ in range(3)]
        for connection in lent:
            pool.give_back(connection)
        assert pool.obtain() is lent[2]
        pool.discard(lent[2])


def test_never_more_than_the_limit_under_fifty_threads_that_fail_at_random() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 4) as pool:

        def borrow(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(10):
                connection = pool.obtain()
                if chance.random() < 0.2:
                    pool.discard(connection, politely=chance.random() < 0.5)
                else:
                    connection.keep_alive(2)
                    pool.give_back(connection)

        threads = [threading.Thread(target=borrow, args=(seed,)) for seed in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = pool.state()
        assert state.lent == state.changing == 0
        assert server.most_open <= 4


def test_polite_closing_keeps_the_limit_on_the_servers_side_too() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 3) as pool:

        def borrow() -> None:
            for _ in range(10):
                connection = pool.obtain()
                connection.keep_alive(2)
                pool.discard(connection, politely=True)

        threads = [threading.Thread(target=borrow) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_open <= 3


def test_a_connection_that_ended_while_idle_is_replaced_without_anybody_noticing() -> None:
    def once(peer: Peer) -> None:
        peer.greet()
        if peer.number > 1:
            peer.linger()

    with ScriptedServer(once) as server, pool_of(server, 2) as pool:
        pool.give_back(first := pool.obtain())
        assert settled(lambda: server.open == 0)
        assert (second := pool.obtain()) is not first
        pool.discard(second)


def test_a_connection_that_spoke_unasked_is_not_lent_again(clock: FakeClock) -> None:
    def chatty(peer: Peer) -> None:
        peer.greet()
        peer.say("400 idle time-out")
        peer.linger()

    with ScriptedServer(chatty) as server, pool_of(server, 2, clock) as pool:
        connection = pool.obtain()
        assert settled(lambda: not connection.is_in_step)
        pool.give_back(connection)
        clock.advance(1)
        other = pool.obtain()
        pool.discard(other)
        assert other is not connection


def test_old_and_long_idle_connections_are_closed(clock: FakeClock) -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 2, clock) as pool:
        pool.give_back(pool.obtain())
        clock.advance(IDLE_S + 1)
        pool.tick()
        assert pool.state().idle == 0
        connection = pool.obtain()
        clock.advance(LIFE_S + 1)
        pool.give_back(connection)
        assert pool.state().idle == 0
        assert server.connections == 2


def test_idle_connections_are_kept_alive_by_tick_but_not_for_ever(clock: FakeClock) -> None:
    dates = 0

    class Counting(Store):
        def answer(self, peer: Peer, line: str) -> None:
            nonlocal dates
            dates += line == "DATE"
            super().answer(peer, line)

    with ScriptedServer(Counting()) as server, pool_of(server, 2, clock) as pool:
        pool.give_back(pool.obtain())
        for _ in range(5):
            clock.advance(KEEP_ALIVE_S)
            pool.tick()
        assert dates == IDLE_S / KEEP_ALIVE_S
        clock.advance(KEEP_ALIVE_S)
        pool.tick()
        assert pool.state().idle == 0


def test_a_connection_silent_for_a_minute_is_asked_before_it_is_lent(clock: FakeClock) -> None:
    def deaf(peer: Peer) -> None:
        peer.greet()
        peer.linger()

    with ScriptedServer(deaf) as server, pool_of(server, 2, clock, timeout_s=0.2) as pool:
        pool.give_back(first := pool.obtain())
        clock.advance(KEEP_ALIVE_S + 1)
        assert (second := pool.obtain()) is not first
        pool.discard(second)


def test_until_one_dial_has_succeeded_only_one_is_tried_at_a_time() -> None:
    def slow(peer: Peer) -> None:
        time.sleep(0.1)
        Store()(peer)

    with ScriptedServer(slow) as server, pool_of(server, 8) as pool:
        threads = [threading.Thread(target=lambda: pool.give_back(pool.obtain())) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        assert server.connections == 1
        for thread in threads:
            thread.join()


def test_after_too_many_the_pool_shrinks_to_what_runs_and_grows_back(clock: FakeClock) -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 6, clock) as pool:
        lent = [pool.obtain() for _ in range(3)]
        pool.shrink(to_one=False)
        assert pool.state().allowed == 3
        for connection in lent:
            pool.give_back(connection)
        assert pool.state().idle == 3
        for expected in (4, 5, 6):
            clock.advance(31)
            lent = [pool.obtain() for _ in range(expected)]
            assert pool.state().allowed == expected
            for connection in lent:
                pool.give_back(connection)


def test_to_one_closes_the_idle_surplus_at_once_and_the_lent_as_they_return() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 6) as pool:
        lent = [pool.obtain() for _ in range(4)]
        pool.give_back(lent.pop())
        pool.shrink(to_one=True)
        assert (pool.state().idle, pool.state().lent) == (0, 3)
        for connection in lent:
            pool.give_back(connection)
        assert (pool.state().idle, pool.state().lent) == (1, 0)
        assert settled(lambda: server.open == 1)


def test_while_dialling_is_held_back_the_reason_and_the_wait_are_told(clock: FakeClock) -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 2, clock) as pool:
        pool.hold(30, ConnectionLost("because of the weather"))
        clock.advance(10)
        with pytest.raises(NoServer, match="weather") as caught:
            pool.obtain()
        assert caught.value.retry_after_s == pytest.approx(20)
        clock.advance(20)
        pool.give_back(pool.obtain())
        assert pool.state().held_until == 0


def test_a_waiter_gets_what_comes_back_while_dialling_is_held() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 2) as pool:
        first = pool.obtain()
        pool.hold(60, ConnectionLost("held"))
        got: list[Connection] = []
        waiter = threading.Thread(target=lambda: got.append(pool.obtain()))
        waiter.start()
        time.sleep(0.05)
        assert pool.is_contended
        pool.give_back(first)
        waiter.join(2)
        assert got == [first]
        pool.give_back(first)


def test_a_failed_dial_leaves_its_place_free() -> None:
    with ScriptedServer(lambda peer: peer.say("502 no")) as server, pool_of(server, 1) as pool:
        for _ in range(3):
            with pytest.raises(Setback):
                pool.obtain()
        assert pool.state().changing == 0


def test_places_set_aside_make_room_and_count() -> None:
    with ScriptedServer(Store()) as server, pool_of(server, 3) as pool:
        lent = [pool.obtain() for _ in range(2)]
        pool.give_back(lent.pop())
        assert pool.reserve(3) == 2
        assert pool.state().idle == 0
        assert settled(lambda: server.open == 1)
        assert pool.reserve(1) == 0
        pool.unreserve(2)
        pool.give_back(lent.pop())
        assert pool.state().changing == 0


def test_closing_says_quit_to_the_idle_cuts_off_the_lent_and_wakes_the_waiting() -> None:
    quits = 0

    class Counting(Store):
        def give(self, peer: Peer, verb: str, name: str) -> None:
            """Never answer."""

        def __call__(self, peer: Peer) -> None:
            nonlocal quits
            super().__call__(peer)
            quits += 1

    with ScriptedServer(Counting()) as server, pool_of(server, 2) as pool:
        idle, lent = pool.obtain(), pool.obtain()
        outcome: list[type[BaseException]] = []

        def wait() -> None:
            try:
                pool.obtain()
            except Cancelled as error:
                outcome.append(type(error))

        def work() -> None:
            try:
                lent.request(Step.STAT, [message_id(1)])
                lent.answer()
            except Setback:
                pool.discard(lent)

        waiter, worker = threading.Thread(target=wait), threading.Thread(target=work)
        waiter.start()
        worker.start()
        time.sleep(0.05)
        pool.retire()
        pool.give_back(idle)
        pool.close(0.05)
        waiter.join(2)
        worker.join(2)
        assert outcome == [Cancelled]
        assert pool.state().lent == 0
        assert quits >= 1
