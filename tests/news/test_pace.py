"""The byte limiter: its rate holds, can be changed while others wait, and lets go of who is stopped."""

import threading
import time

import pytest

from usenetsyncd.news.pace import ByteLimiter


def test_without_a_rate_nothing_waits() -> None:
    limiter = ByteLimiter()
    started = time.monotonic()
    for _ in range(1000):
        limiter.take(10**9)
    assert time.monotonic() - started < 0.5


def test_many_threads_together_keep_to_the_rate() -> None:
    limiter = ByteLimiter(1_000_000)
    started = time.monotonic()
    threads = [threading.Thread(target=lambda: [limiter.take(25_000) for _ in range(5)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.monotonic() - started
    # 750 kB at 1 MB/s, less a quarter second's burst and the last article's debt
    assert 0.4 < took_s < 1.5


def test_a_new_rate_reaches_those_who_wait() -> None:
    limiter = ByteLimiter(10)
    limiter.take(100_000)
    waiting = threading.Thread(target=limiter.take, args=(1,))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    limiter.set_rate(0)
    waiting.join(2)
    assert not waiting.is_alive()


def test_a_stopped_waiter_is_let_go() -> None:
    limiter = ByteLimiter(10)
    limiter.take(100_000)
    started = time.monotonic()
    limiter.take(1, lambda: True)
    assert time.monotonic() - started < 1


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        ByteLimiter().set_rate(-1)
