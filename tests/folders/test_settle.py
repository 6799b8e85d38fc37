"""Settling: quiet time for each directory, a longest wait, and a bound on memory."""

import threading
import time

from tests.plugins.clock import FakeClock
from usenetsyncd.folders.settle import DIRECTORIES_LIMIT, DueFolder, Settle
from usenetsyncd.model import RelativePath

A, B = RelativePath(b"a"), RelativePath(b"b")


def test_a_directory_is_due_when_it_has_been_quiet(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.mark("docs", A)
    clock.advance(1.9)
    assert settle.due() == []
    clock.advance(0.1)
    assert settle.due() == [DueFolder("docs", frozenset({A}))]
    assert settle.due() == []
    assert settle.next_due() is None


def test_each_event_puts_it_off_but_not_for_ever(clock: FakeClock) -> None:
    settle = Settle(clock)
    started = clock.monotonic()
    settle.mark("docs", A)
    while not settle.due():
        clock.advance(0.5)
        settle.mark("docs", A)
    assert clock.monotonic() - started == 10.0


def test_one_busy_directory_does_not_hold_up_another(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.mark("docs", A)
    settle.mark("docs", B)
    clock.advance(1.5)
    settle.mark("docs", A)
    clock.advance(0.5)
    assert settle.due() == [DueFolder("docs", frozenset({B}))]
    assert settle.is_dirty("docs")
    assert settle.next_due() == clock.monotonic() + 1.5


def test_folders_are_told_apart(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.mark("docs", A)
    settle.mark("photos", A)
    settle.forget("docs")
    clock.advance(2)
    assert settle.due() == [DueFolder("photos", frozenset({A}))]


def test_too_many_directories_become_the_whole_folder(clock: FakeClock) -> None:
    settle = Settle(clock)
    for number in range(DIRECTORIES_LIMIT + 5):
        settle.mark("docs", RelativePath(b"%d" % number))
    assert settle.pending() == 1
    clock.advance(2)
    (due,) = settle.due()
    assert due.whole
    assert not settle.is_dirty("docs")


def test_a_whole_folder_keeps_the_time_of_its_first_event(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.mark("docs", A)
    for _ in range(9):
        clock.advance(1)
        settle.mark_whole("docs")
    clock.advance(1)
    assert [due.whole for due in settle.due()] == [True]


def test_what_could_not_be_scanned_is_put_back(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.put_back("docs", {A, B})
    clock.advance(2)
    assert settle.due() == [DueFolder("docs", frozenset({A, B}))]


def test_new_times_count_at_once(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.mark("docs", A)
    settle.set_times("docs", 0.0, 0.0)
    assert settle.due() == [DueFolder("docs", frozenset({A}))]


def test_folders_have_times_of_their_own(clock: FakeClock) -> None:
    settle = Settle(clock)
    settle.mark("docs", A)
    settle.mark("photos", A)
    settle.set_times("docs", 0.5)
    settle.set_times("photos", 60.0, 10.0)
    clock.advance(0.5)
    assert [due.folder_key for due in settle.due()] == ["docs"]
    clock.advance(59)
    assert settle.due() == []
    clock.advance(0.5)
    assert [due.folder_key for due in settle.due()] == ["photos"]


def test_a_waiter_wakes_for_the_first_event_and_when_it_is_due() -> None:
    settle = Settle(quiet_s=0.05, longest_s=0.1)
    threading.Timer(0.05, settle.mark, ("docs", A)).start()
    started = time.monotonic()
    while not settle.wait(5):
        assert time.monotonic() - started < 5
    assert settle.due()


def test_a_waiter_can_be_woken_to_stop() -> None:
    settle = Settle()
    threading.Timer(0.05, settle.wake).start()
    started = time.monotonic()
    assert not settle.wait(30)
    assert time.monotonic() - started < 10
