"""Lanes: few threads busy while answers come at once, all of them waiting where they do not."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from usenetsyncd.flows.lanes import Lane, Lanes

WAIT_S = 20.0


class Bench:
    """Counts itself; two threads on one bench at once is what must never be."""

    def __init__(self) -> None:
        self.user: int | None = None


class Crew:
    """Threads that take numbers from lanes; ``answer`` is called between sending and the next piece."""

    def __init__(self, lanes: Lanes[int, Bench], count: int, answer: Callable[[int], None]) -> None:
        self.lanes = lanes
        self.done: Counter[int] = Counter()
        self.used = set[int]()
        self.clashes = 0
        self._lock = threading.Lock()
        self._answer = answer
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        lane: Lane[Bench] = Lane()
        me = threading.get_ident()
        while (piece := self.lanes.take(lane)) is not None:
            bench = self.lanes.bench(lane)
            self.clashes += bench.user is not None
            bench.user = me
            with self._lock:
                self.used.add(me)
                self.done[piece] += 1
            bench.user = None
            lane.sends()
            self._answer(piece)

    def end(self) -> None:
        self.lanes.close()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


def test_every_piece_is_done_once_by_at_most_as_many_threads_as_there_are_lanes() -> None:
    lanes: Lanes[int, Bench] = Lanes(2, Bench)
    lanes.put(range(500))
    crew = Crew(lanes, 8, lambda _: None)
    lanes.put(range(500, 1000))
    crew.end()
    assert crew.done == Counter(range(1000))
    assert crew.clashes == 0


def test_where_answers_do_not_come_every_thread_waits_for_one() -> None:
    lanes: Lanes[int, Bench] = Lanes(2, Bench)
    everybody = threading.Barrier(9)
    crew = Crew(lanes, 8, lambda _: (everybody.wait(WAIT_S), None)[1])
    lanes.put(range(8))
    everybody.wait(WAIT_S)  # only passed when all eight have sent something
    crew.end()
    assert len(crew.used) == 8
    assert crew.clashes == 0


def test_a_thread_whose_lane_was_taken_gets_another_for_its_next_piece() -> None:
    lanes: Lanes[int, Bench] = Lanes(1, Bench)
    others_done = threading.Event()

    def answer(piece: int) -> None:
        if piece == 0:
            assert others_done.wait(WAIT_S)
        elif piece == 3:
            others_done.set()

    crew = Crew(lanes, 2, answer)
    lanes.put(range(4))
    assert others_done.wait(WAIT_S)
    lanes.put(range(4, 40))
    crew.end()
    assert crew.done == Counter(range(40))
    assert crew.clashes == 0


@pytest.mark.parametrize("count", [1, 3])
def test_close_lets_what_is_there_be_done_and_ends_those_who_wait(count: int) -> None:
    lanes: Lanes[int, Bench] = Lanes(count, Bench)
    crew = Crew(lanes, 4, lambda _: None)
    lanes.put([1, 2, 3])
    crew.end()
    assert sum(crew.done.values()) == 3
    assert len(lanes) == 0


def test_benches_that_nobody_holds_are_let_go() -> None:
    made: list[Bench] = []

    def make() -> Bench:
        made.append(Bench())
        return made[-1]

    lanes: Lanes[int, Bench] = Lanes(1, make)
    lane: Lane[Bench] = Lane()
    for _ in range(2):
        lanes.put([1, 2])
        assert lanes.take(lane) == 1
        assert lanes.take(lane) == 2
        lanes.put([3])
        assert lanes.take(lane) == 3
        lanes.close()
        assert lanes.take(lane) is None
        lanes.rest()
    assert len(made) == 2


def test_who_comes_back_for_a_bench_gets_one_though_nothing_else_is_to_be_done() -> None:
    for seed in range(20):
        lanes: Lanes[int, object] = Lanes(2, object)
        done: Counter[int] = Counter()

        def work(lanes: Lanes[int, object] = lanes, done: Counter[int] = done, seed: int = seed) -> None:
            dice = random.Random(seed)
            lane: Lane[object] = Lane()
            while (piece := lanes.take(lane)) is not None:
                for longest_s in (0.006, 0.003):  # looks elsewhere first, then sends
                    lanes.bench(lane)
                    lane.sends()
                    time.sleep(dice.random() * longest_s)
                done[piece] += 1

        threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        lanes.put(range(23))
        lanes.close()
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        assert done == Counter(range(23))
