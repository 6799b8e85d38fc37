"""Real signals to real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

import pytest

from usenetsyncd.service import install_signal_handlers

DAEMON = """
import sys, threading
from usenetsyncd.service import install_signal_handlers

def say(word):
    print(word, flush=True)

def reload():
    say("reload")
    if "fail" in sys.argv:
        raise RuntimeError("a reload that fails")

install_signal_handlers(lambda now: say("stop now" if now else "stop"), reload)
say("up")
threading.Event().wait()
"""


@contextmanager
def daemon(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", DAEMON, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert heard(process) == "up"
        yield process
    finally:
        process.kill()
        process.communicate()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_hangup_reloads_terminate_stops_a_second_one_hurries_a_third_ends() -> None:
    with daemon() as process:
        process.send_signal(signal.SIGHUP)
        assert heard(process) == "reload"
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "stop"
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "stop now"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_interrupt_from_the_keyboard_counts_as_a_stop() -> None:
    with daemon() as process:
        process.send_signal(signal.SIGINT)
        assert heard(process) == "stop"
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "stop now"


def test_once_stopping_nothing_is_reloaded() -> None:
    with daemon() as process:
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "stop"
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)  # the two signals must not arrive together, or the kernel may swap them
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "stop now"


def test_a_reload_that_fails_leaves_the_daemon_stoppable() -> None:
    with daemon("fail") as process:
        process.send_signal(signal.SIGHUP)
        assert heard(process) == "reload"
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        until_stop = list(iter(lambda: heard(process), "stop"))
        assert "signal_handler_failed" in until_stop[0]
        assert "RuntimeError: a reload that fails" in until_stop


def test_callbacks_run_off_the_main_thread_so_that_they_may_take_its_locks() -> None:
    held, reloaded_on = threading.Lock(), Queue[str]()

    def on_reload() -> None:
        with held:
            reloaded_on.put(threading.current_thread().name)

    handlers = install_signal_handlers(lambda now: None, on_reload)
    try:
        with held:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
            assert reloaded_on.empty()
        assert reloaded_on.get(timeout=10) == "signals"
    finally:
        handlers.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_closing_puts_the_former_handlers_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    handlers = install_signal_handlers(lambda now: None, lambda: None)
    assert signal.getsignal(number) != before
    handlers.close()
    assert signal.getsignal(number) == before


def test_signals_in_quick_succession_are_all_heard() -> None:
    for _ in range(10):
        with daemon() as process:
            process.send_signal(signal.SIGHUP)
            assert heard(process) == "reload"
            process.send_signal(signal.SIGTERM)
            assert heard(process) == "stop"
