"""Hand work to threads so that few are busy while the line is fast, and many wait for answers where it is slow.

A thread works in a lane: it takes a piece of work, makes something of it on the lane's bench, and sends that. While
answers come at once it keeps its lane and takes the next piece, without waking anybody. Where one does not come within
``PATIENCE_S``, another thread takes the lane over and the first goes on waiting for its answer without one.

Source: 1 GB into a discard sink on two cores costs 1.3 CPU s with eight threads at once and 1.0 with two: the rest are
wake-ups and waits for the interpreter's lock.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Work = TypeVar("Work")
Bench = TypeVar("Bench")

PATIENCE_S = 0.002


class Lane(Generic[Bench]):
    """What a thread holds while it has a lane. bench: whatever it makes things on, reused from piece to piece."""

    __slots__ = ("bench", "held", "sending_since")

    def __init__(self) -> None:
        self.bench: Bench | None = None
        self.held = False
        self.sending_since = 0.0

    def sends(self) -> None:
        """The bench is not needed any more for this piece: from now on the lane may be taken over."""
        self.sending_since = time.monotonic()


class Lanes(Generic[Work, Bench]):
    """A queue of work with ``count`` lanes. Thread-safe; each thread uses a Lane of its own."""

    def __init__(self, count: int, make_bench: Callable[[], Bench]) -> None:
        self._make_bench = make_bench
        self._changed = threading.Condition()
        self._work: deque[Work] = deque()
        self._benches: list[Bench | None] = [None] * count
        self._held: set[Lane[Bench]] = set()
        self._watched = False
        self._closed = False

    def __len__(self) -> int:
        """How many pieces nobody has taken."""
        return len(self._work)

    def put(self, pieces: Iterable[Work]) -> None:
        """More work."""
        with self._changed:
            self._work.extend(pieces)
            self._changed.notify(len(self._benches) + 1)

    def close(self) -> None:
        """No more comes: ``take`` gives out what is there and then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, lane: Lane[Bench]) -> Work | None:
        """The next piece, with a lane to work in; waits for both. None: there is none any more, and no lane is held."""
        with self._changed:
            lane.sending_since = 0.0
            if lane.held and self._work:
                return self._work.popleft()
            self._leave(lane)
            while not (self._work and self._enter(lane)):
                if self._closed and not self._work:
                    self._changed.notify_all()  # the others may have begun to wait while there was work
                    return None
                self._wait()
            piece = self._work.popleft()
            if self._work:
                self._changed.notify()  # somebody else is to look for late ones now
            return piece

    def bench(self, lane: Lane[Bench]) -> Bench:
        """The lane's bench, to make something on; waits for another lane if it was taken over."""
        with self._changed:
            lane.sending_since = 0.0
            while not (lane.held or self._enter(lane)):
                # Looks for itself: whoever is woken by a lane that comes free may have no use for it.
                self._changed.wait(PATIENCE_S)
                if self._work:
                    self._changed.notify()  # that may have been meant for somebody who waits for work
            if lane.bench is None:
                raise AssertionError("a lane that is held has a bench")
            return lane.bench

    def rest(self) -> None:
        """Let the benches go that no thread holds."""
        with self._changed:
            self._benches = [None] * len(self._benches)

    def _enter(self, lane: Lane[Bench]) -> bool:
        """Under the lock: into a free lane, or one whose holder has been waiting for its answer."""
        if self._benches:
            lane.bench = self._benches.pop() or self._make_bench()
        else:
            late = time.monotonic() - PATIENCE_S
            other = next((other for other in self._held if 0 < other.sending_since < late), None)
            if other is None:
                return False
            lane.bench, other.bench, other.held = other.bench, None, False
            self._held.discard(other)
        lane.held = True
        self._held.add(lane)
        return True

    def _leave(self, lane: Lane[Bench]) -> None:
        if lane.held:
            self._held.discard(lane)
            self._benches.append(lane.bench)
            lane.bench, lane.held = None, False
            self._changed.notify()

    def _wait(self) -> None:
        """Until something changes. One of those who could use a lane looks now and then whether one is late."""
        if self._watched or not (self._held and self._work):
            self._changed.wait()
            return
        self._watched = True
        try:
            self._changed.wait(PATIENCE_S)
        finally:
            self._watched = False
