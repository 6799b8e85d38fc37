"""The connections of one account: opened when needed, used again last in first out, never more than allowed.

Every change of state happens under one lock; dialling, QUIT and closing happen outside of it.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import Cancelled, NewsError, NoServer
from usenetsyncd.news.connection import Connection, Setback

IDLE_S: Final = 300.0
LIFE_S: Final = 3600.0
KEEP_ALIVE_S: Final = 60.0
_KEEP_ALIVE_WAIT_S: Final = 10.0
_GROW_S: Final = 30.0
_GROW_MAX_S: Final = 600.0
_NAP_S: Final = 0.5
_SLOW_DIAL_S: Final = 2.0
_SLOW_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class PoolState:
    """How many connections there are: lent, idle, being opened or closed; and how many there may be."""

    lent: int
    idle: int
    changing: int
    allowed: int
    limit: int
    held_until: float
    reason: str


class Pool:
    """At most ``limit`` connections at any moment, those being opened and closed included."""

    def __init__(
        self,
        limit: int,
        dial: Callable[[], Connection],
        interrupt: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """dial: opens one, or raises Setback. interrupt: wakes those that are dialling, for close()."""
        self._limit = limit
        self._dial = dial
        self._interrupt = interrupt
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # for those who wait for the end
        self._queue: deque[threading.Condition] = deque()  # those who wait for a connection, in turn
        self._idle: list[tuple[Connection, float, float]] = []  # connection, idle since, heard from
        self._lent: set[Connection] = set()
        self._changing = 0  # being opened, closed or kept alive: they count
        self._dialling = 0
        self._dialling_since = 0.0
        self._proven = False  # the last dial succeeded; until then only one is tried at a time
        self._allowed = limit
        self._only_one = False  # the account is shared with somebody else's address
        self._grow_at = 0.0
        self._grow_after_s = _GROW_S
        self._held_until = 0.0
        self._hold: NewsError | None = None
        self._closed = False

    # -- lending ----------------------------------------------------------------------------------

    def obtain(self, stopped: Callable[[], bool] = lambda: False) -> Connection:
        """A connection; whoever gets it calls ``give_back`` or ``discard``.

        Waits while all are lent. Raises Setback when dialling fails, NoServer while dialling is held back and no
        connection is left, Cancelled once stopped() or after close().
        """
        while True:
            with self._lock:
                quickly = bool(self._idle) and not self._queue and not self._closed
                found = self._take_idle() if quickly else self._wait_for_place(stopped)
            if found is None:
                return self._open()
            connection, since, heard_at = found
            is_young = self._is_young(connection, since)
            if is_young and self._is_alive(connection, heard_at):
                return connection
            self.discard(connection, politely=not is_young)

    def _wait_for_place(self, stopped: Callable[[], bool]) -> tuple[Connection, float, float] | None:
        """Under the lock: an idle connection, or None for the right to open one. First come, first served, so that a
        long reading job cannot keep a post waiting."""
        turn = threading.Condition(self._lock)
        self._queue.append(turn)
        try:
            while True:
                self._check_open(stopped)
                if self._queue[0] is turn:
                    if self._idle:
                        return self._take_idle()
                    if self._may_dial():
                        if not self._dialling:
                            self._dialling_since = self._clock.monotonic()
                        self._dialling += 1
                        self._changing += 1
                        return None
                turn.wait(_NAP_S)
        finally:
            self._queue.remove(turn)
            self._wake()

    def _take_idle(self) -> tuple[Connection, float, float]:
        found = self._idle.pop()
        self._lent.add(found[0])
        return found

    def _check_open(self, stopped: Callable[[], bool]) -> None:
        if self._closed:
            raise Cancelled("the news service is closing")
        if stopped():
            raise Cancelled("stopped while waiting for a connection")
        held_s = self._held_until - self._clock.monotonic()
        if held_s > 0 and not self._count() and self._hold is not None:
            error = NoServer(str(self._hold))
            error.retry_after_s = held_s
            raise error
        if (
            self._is_cold()
            and self._dialling
            and self._clock.monotonic() - self._dialling_since > _SLOW_DIAL_S
        ):
            # One waits for it; the others have better things to do, if there is another server.
            error = NoServer("the server takes long to answer")
            error.retry_after_s = _SLOW_RETRY_S
            raise error

    def _may_dial(self) -> bool:
        now = self._clock.monotonic()
        if self._held_until > now:
            return False
        self._grow(now)
        return self._count() < self._allowed and (self._proven or not self._dialling)

    def _wake(self, everybody: bool = False) -> None:
        """Under the lock, something changed: whose turn it is looks again."""
        for turn in self._queue if everybody else list(self._queue)[:1]:
            turn.notify()
        self._changed.notify_all()

    @property
    def is_contended(self) -> bool:
        """Whether somebody waits for a connection: who has had one for long should give it back."""
        return bool(self._queue)

    @property
    def is_cold(self) -> bool:
        """Whether nothing is open, and it is not known that the server answers."""
        with self._lock:
            return self._is_cold()

    def _is_cold(self) -> bool:
        return not self._proven and not self._live()

    def _live(self) -> int:
        return len(self._idle) + len(self._lent)

    def _count(self) -> int:
        return self._live() + self._changing

    def _open(self) -> Connection:
        connection: Connection | None = None
        try:
            connection = self._dial()
        finally:
            with self._lock:
                self._dialling -= 1
                self._changing -= 1
                self._proven = connection is not None
                if connection is not None:
                    self._lent.add(connection)
                    if not self._only_one:
                        # Others were refused while this one was let in: that many are evidently allowed.
                        self._allowed = max(self._allowed, min(self._live(), self._limit))
                self._wake()
        return connection

    def _is_young(self, connection: Connection, since: float) -> bool:
        now = self._clock.monotonic()
        return now - connection.opened_at <= LIFE_S and now - since <= IDLE_S

    def _is_alive(self, connection: Connection, heard_at: float) -> bool:
        if not connection.is_in_step:
            return False
        # Silent for long: a firewall may have forgotten it, and then a POST would wait for the whole time-out.
        return self._clock.monotonic() - heard_at <= KEEP_ALIVE_S or self._answers(connection)

    def _answers(self, connection: Connection) -> bool:
        try:
            connection.keep_alive(_KEEP_ALIVE_WAIT_S)
        except Setback:
            return False
        return True

    def give_back(self, connection: Connection) -> None:
        """Return a lent connection; it is kept only if it is in step, young enough and within the limit."""
        now = self._clock.monotonic()
        # Whether it was told anything since is asked when it is lent the next time.
        sound = connection.has_all_answers and now - connection.opened_at <= LIFE_S
        with self._lock:
            kept = sound and not self._closed and self._live() <= self._allowed
            self._lent.discard(connection)
            if kept:
                self._idle.append((connection, now, now))
                if self._queue:
                    self._wake()
            else:
                self._changing += 1
        if not kept:
            self._end([connection], politely=sound)

    def discard(self, connection: Connection, politely: bool = False) -> None:
        """Close a lent connection, on any doubt; it counts until it is closed."""
        with self._lock:
            self._lent.discard(connection)
            self._changing += 1
        self._end([connection], politely)

    def _end(self, connections: list[Connection], politely: bool) -> None:
        """Close connections that count as changing. All QUITs go out before the first answer is waited for."""
        try:
            said = [politely and connection.send_quit() for connection in connections]
            for connection, was_said in zip(connections, said, strict=True):
                if was_said:
                    connection.finish()
                else:
                    connection.close()
        finally:
            with self._lock:
                self._changing -= len(connections)
                self._wake()

    # -- what the server makes of us ----------------------------------------------------------------

    def shrink(self, to_one: bool) -> None:
        """The server says that there are too many: allow what is running (or one), and one more after 30 s to 10 min."""
        with self._lock:
            self._only_one = to_one
            running = 1 if to_one else self._live()
            self._allowed = max(1, min(running, self._limit))
            self._grow_at = self._clock.monotonic() + self._grow_after_s
            self._grow_after_s = min(self._grow_after_s * 2, _GROW_MAX_S)
            surplus = max(0, self._live() - self._allowed)
            ended = [self._idle.pop(0)[0] for _ in range(min(surplus, len(self._idle)))]
            self._changing += len(ended)
        self._end(ended, politely=True)

    def hold(self, for_s: float, error: NewsError) -> None:
        """Open nothing new for that long; what is open goes on being used."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock.monotonic() + for_s)
            self._hold = error
            self._wake(everybody=True)

    def reserve(self, wanted: int) -> int:
        """Set up to that many places aside, closing idle connections for them; returns how many. See ``unreserve``."""
        with self._lock:
            spare = max(0, min(wanted, self._allowed - self._count()))
            ended = [self._idle.pop(0)[0] for _ in range(min(wanted - spare, len(self._idle)))]
            # Counted twice while they close, so that nobody slips into the place they leave.
            self._changing += spare + 2 * len(ended)
        self._end(ended, politely=True)
        return spare + len(ended)

    def unreserve(self, count: int) -> None:
        """Give the places back."""
        with self._lock:
            self._changing -= count
            self._wake()

    def release(self) -> None:
        """End a hold early."""
        with self._lock:
            self._held_until, self._hold = 0.0, None
            self._wake()

    def busy_share(self) -> float:
        """Share of the allowed connections that is lent, 0..1 and above while the pool shrinks."""
        return len(self._lent) / self._allowed

    def _grow(self, now: float) -> None:
        if self._allowed < self._limit and now >= self._grow_at:
            self._allowed += 1
            self._only_one = False
            self._grow_at = now + _GROW_S
            if self._allowed == self._limit:
                self._grow_after_s = _GROW_S

    # -- upkeep and the end -------------------------------------------------------------------------

    def tick(self) -> None:
        """Close what has been idle or open for too long, and keep the others alive. Call it twice a minute or so."""
        now = self._clock.monotonic()
        with self._lock:
            stale = [i for i in self._idle if now - i[1] > IDLE_S or now - i[0].opened_at > LIFE_S]
            quiet = [i for i in self._idle if i not in stale and now - i[2] >= KEEP_ALIVE_S]
            self._idle = [i for i in self._idle if i not in stale and i not in quiet]
            self._changing += len(stale) + len(quiet)
        self._end([connection for connection, _, _ in stale], politely=True)
        for connection, since, _ in quiet:
            if connection.is_in_step and self._answers(connection):
                self._return_kept(connection, since)
            else:
                self._end([connection], politely=False)

    def _return_kept(self, connection: Connection, since: float) -> None:
        with self._lock:
            if not self._closed:
                self._changing -= 1
                # At the bottom: the least used go first, and keep-alive does not count as use.
                self._idle.insert(0, (connection, since, self._clock.monotonic()))
                self._wake()
                return
        self._end([connection], politely=True)

    def state(self) -> PoolState:
        """How things stand."""
        with self._lock:
            held = self._held_until > self._clock.monotonic()
            telling = held or self._allowed < self._limit
            reason = str(self._hold) if telling and self._hold is not None else ""
            return PoolState(
                len(self._lent),
                len(self._idle),
                self._changing,
                self._allowed,
                self._limit,
                self._held_until if held else 0.0,
                reason,
            )

    def retire(self) -> None:
        """Lend no more, say QUIT to the idle ones; lent ones are closed as they come back."""
        with self._lock:
            self._closed = True
            self._wake(everybody=True)
            ended = [connection for connection, _, _ in self._idle]
            self._idle.clear()
            self._changing += len(ended)
            self._wake()
        self._end(ended, politely=True)

    def close(self, deadline_s: float) -> None:
        """Retire; wait for what is lent until the deadline, then cut it off. Afterwards nothing is open."""
        ends_at = self._clock.monotonic() + deadline_s
        self.retire()
        with self._changed:
            self._changed.wait_for(lambda: not self._count(), max(0.0, ends_at - self._clock.monotonic()))
            left = list(self._lent)
        self._interrupt()
        for connection in left:
            connection.abort()
        with self._changed:
            self._changed.wait_for(lambda: not self._count(), _KEEP_ALIVE_WAIT_S)
