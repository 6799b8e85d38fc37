"""The workers of one retrieval: how many there are for each server, and which of them have a connection."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from usenetsyncd.news.connection import Connection
from usenetsyncd.news.server import Server

_MODEST_SHARE: Final = 4


class Shift:
    """Counts under the lock of the retrieval. A worker without a connection is *seeking*: it may hang for as long as a
    server that does not answer keeps it, and nobody waits for it."""

    def __init__(self, changed: threading.Condition, modest: bool) -> None:
        self._changed = changed
        self._modest = modest
        self._working: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()
        self._seeking: Counter[str] = Counter()
        self._seeking_since: dict[str, float] = {}
        self.lent: set[Connection] = set()

    def share(self, server: Server) -> int:
        """How many connections the retrieval may use now."""
        capacity = max(1, server.capacity())
        return max(1, capacity // _MODEST_SHARE) if self._modest and server.pool.is_contended else capacity

    def join(self, server: Server, count: int) -> None:
        """Under the lock: so many workers begin."""
        self._working[server.name] += count

    def leave(self, server: Server) -> None:
        """One ends."""
        with self._changed:
            self._working[server.name] -= 1
            self._leaving[server.name] = max(0, self._leaving[server.name] - 1)
            self._changed.notify_all()

    def is_surplus(self, server: Server) -> bool:
        """Whether the worker that asks should end, so that others get its connection."""
        if not self._modest or not server.pool.is_contended:
            return False
        with self._changed:
            if self._working[server.name] - self._leaving[server.name] <= self.share(server):
                return False
            self._leaving[server.name] += 1
            return True

    def count(self, server: Server) -> int:
        """How many workers there are for a server."""
        return self._working[server.name]

    @property
    def is_empty(self) -> bool:
        """Whether nobody works any more."""
        return not any(self._working.values())

    @property
    def is_harmless(self) -> bool:
        """Whether all that still work are seeking: none of them has a connection or is in a callback."""
        return self._working.total() == self._seeking.total()

    def seeks_in_vain(self, server: Server, for_s: float) -> bool:
        """Under the lock: whether nobody has had a connection of this server for so long, though it was sought."""
        since = self._seeking_since.get(server.name)
        only = self._seeking[server.name] == self._working[server.name]
        return only and since is not None and server.clock.monotonic() - since >= for_s

    @contextmanager
    def connection(self, server: Server, is_over: Callable[[], bool]) -> Iterator[Connection | None]:
        """A connection of the server; None where it came too late, because the retrieval is over. Raises as ``lend``."""
        name = server.name
        with self._changed:
            self._seeking[name] += 1
            self._seeking_since.setdefault(name, server.clock.monotonic())
        with ExitStack() as stack:
            lent: Connection | None = None
            try:
                lent = stack.enter_context(server.lend(is_over))
            finally:
                with self._changed:
                    self._seeking[name] -= 1
                    if lent is not None:
                        self._seeking_since.pop(name, None)
                    # In one step with the end of seeking: who waits for the end sees this worker before it can begin.
                    useful = None if lent is None or is_over() else lent
                    if useful is not None:
                        self.lent.add(useful)
                    self._changed.notify_all()
            try:
                yield useful
            finally:
                if useful is not None:
                    with self._changed:
                        self.lent.discard(useful)
