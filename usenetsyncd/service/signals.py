"""Signals become plain calls on a thread of their own, where locks may be taken and files written."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger("service")

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP


class SignalHandlers:
    """SIGTERM and SIGINT stop, SIGHUP reloads. Made and closed by the main thread.

    on_stop(now): now is False for the first signal, True for the second: skip the waiting. The third ends
    the process there and then, with 128 + the signal's number.
    on_reload(): once per SIGHUP, in order. Both must return soon, or they hold up the next signal: set an
    event, or start the work elsewhere.
    """

    def __init__(self, on_stop: Callable[[bool], None], on_reload: Callable[[], None]) -> None:
        self._on_stop, self._on_reload = on_stop, on_reload
        self._stops = 0
        self._arrived, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        # Python runs a handler only when the main thread gets round to it, which it does not when the signal
        # comes just before it sleeps on a lock. The byte in the wake-up socket is written there and then.
        self._previous_wake = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _handled_elsewhere) for number in (*STOP, RELOAD)}
        self._thread = threading.Thread(target=self._dispatch, name="signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Put the former handlers back and end the thread."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wake)
        self._wake.close()
        self._thread.join()
        self._arrived.close()

    def _dispatch(self) -> None:
        while numbers := self._arrived.recv(64):
            for number in numbers:
                try:
                    self._act(number)
                except Exception:  # whatever it was: without this thread nobody could stop us politely
                    log.exception("signal_handler_failed", signal=signal.Signals(number).name)

    def _act(self, number: int) -> None:
        if number == RELOAD and not self._stops:
            self._on_reload()
        elif number in STOP:
            self._stops += 1
            if self._stops > 2:
                os._exit(128 + number)
            self._on_stop(self._stops == 2)


def _handled_elsewhere(number: int, frame: FrameType | None) -> None:
    """Stands in for the default, which would end the process; the dispatching thread does the work."""


def install_signal_handlers(on_stop: Callable[[bool], None], on_reload: Callable[[], None]) -> SignalHandlers:
    """From here on signals call these two; see SignalHandlers. Only from the main thread."""
    return SignalHandlers(on_stop, on_reload)
