"""One thread that does one thing after the other, the most urgent first."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import structlog

log = structlog.get_logger("daemon")

IDLE_WAIT_S = 1.0


class Urgency(IntEnum):
    """Smaller goes first, and interrupts what is larger."""

    ASKED = 0  # somebody waits for it
    SOON = 1
    WHENEVER = 2  # may take hours


class _Stop(threading.Event):
    """Whoever asks whether to stop is alive: a batch of bodies may take longer than the watchdog waits."""

    def __init__(self, beat: Callable[[], None]) -> None:
        super().__init__()
        self._beat = beat

    def is_set(self) -> bool:
        self._beat()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._beat()
        return super().wait(timeout)


@dataclass(slots=True)
class _Errand:
    name: str
    run: Callable[[threading.Event], bool]
    urgency: Urgency
    stop: threading.Event


class Lane:
    """Owner of the thread. What runs makes way for what is more urgent, and goes on later."""

    def __init__(self, name: str, beat: Callable[[], None]) -> None:
        """beat: called each time round, and whenever an errand looks at its event."""
        self.beat = beat
        self._changed = threading.Condition()
        self._waiting: list[_Errand] = []
        self._current: _Errand | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=name)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Interrupt what runs, leave what waits, join the thread."""
        with self._changed:
            self._stopping = True
            if self._current is not None:
                self._current.stop.set()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() or self._stopping

    def put(self, name: str, run: Callable[[threading.Event], bool], urgency: Urgency) -> None:
        """Have something done; one of that name that waits already is enough.

        run: heeds the event, and returns False when it was interrupted and has to go on. It is called again then.
        """
        with self._changed:
            waiting = next((errand for errand in self._waiting if errand.name == name), None)
            if waiting is None:
                self._waiting.append(_Errand(name, run, urgency, _Stop(self.beat)))
            else:
                waiting.urgency = min(waiting.urgency, urgency)
            if self._current is not None and urgency < self._current.urgency:
                self._current.stop.set()
            self._changed.notify_all()

    def withdraw(self, name: str) -> bool:
        """Take something out that waits. False when it does not wait: it runs, or is unknown."""
        with self._changed:
            kept = [errand for errand in self._waiting if errand.name != name]
            withdrawn = len(kept) < len(self._waiting)
            self._waiting = kept
        return withdrawn

    def interrupt(self, name: str) -> None:
        """If it is this that runs: stop it."""
        with self._changed:
            if self._current is not None and self._current.name == name:
                self._current.stop.set()

    def _work(self) -> None:
        while True:
            self.beat()
            with self._changed:
                if not self._waiting and not self._stopping:
                    self._changed.wait(IDLE_WAIT_S)
                if self._stopping:
                    return
                errand = self._current = self._take()
            if errand is not None:
                ended = self._do(errand)
                with self._changed:
                    self._current = None
                    if not ended and not self._stopping:
                        self._put_back(errand)

    def _take(self) -> _Errand | None:
        if not self._waiting:
            return None
        first = min(self._waiting, key=lambda errand: errand.urgency)  # of equals the one that came first
        self._waiting.remove(first)
        return first

    def _do(self, errand: _Errand) -> bool:
        try:
            return errand.run(errand.stop)
        except Exception:
            log.exception("errand_failed_unexpectedly", name=errand.name)
            return True

    def _put_back(self, errand: _Errand) -> None:
        errand.stop = _Stop(self.beat)
        if all(waiting.name != errand.name for waiting in self._waiting):
            self._waiting.insert(0, errand)
