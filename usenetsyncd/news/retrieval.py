"""Asking for many articles at once: pipelined, over many connections, from server to server until each is answered.

Every wanted article stands in one queue: that of the servers of one priority, where anybody may take it, or that of
one server, which is the next to ask. Workers, one for each connection, take from both.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from usenetsyncd.errors import ArticleMissing, Cancelled, ConnectionLost, NewsError
from usenetsyncd.model import MessageId
from usenetsyncd.news.connection import Connection, Setback
from usenetsyncd.news.crew import Crew
from usenetsyncd.news.pace import ByteLimiter
from usenetsyncd.news.replies import Outcome, Row, Step
from usenetsyncd.news.server import Server, public_error
from usenetsyncd.news.shift import Shift

Deliver = Callable[[MessageId, bytes | None, NewsError | None], None]
"""Called with (id, raw block, None), for STAT (id, None, None), or with (id, None, ArticleMissing or another NewsError)."""

_STAT_DEPTH: Final = 100
_BODY_DEPTH: Final = 4
_BODY_DEPTH_MAX: Final = 10
_RTT_PER_BODY_S: Final = 0.008
_TRIES: Final = 5
_UNSURE_MAX: Final = 200
_HOLD_S: Final = 1.0
_MODEST_HOLD_S: Final = 0.1
_SOUGHT_S: Final = 2.0
_PATIENCE_S: Final = 15.0
_AT_ONCE_S: Final = 0.5
_NAP_S: Final = 0.2


@dataclass(slots=True, eq=False)
class _Wanted:
    message_id: MessageId
    asked: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)  # had no connection to spare when it was their turn
    tries: int = 0
    unknown: NewsError | None = None


class Retrieval:
    """One run over a list of ids. Use once."""

    def __init__(
        self,
        step: Step,
        ids: Sequence[MessageId],
        tiers: Sequence[Sequence[Server]],
        crew: Crew,
        deliver: Deliver,
        stopped: Callable[[], bool],
        pace: ByteLimiter,
        modest: bool = False,
    ) -> None:
        """step: STAT or BODY. tiers: the servers in the order in which to ask, those of one tier side by side.

        modest: while others wait for connections, leave them three quarters of those there are, and hold none for
        long. For checking, which must never keep articles from being posted.
        """
        self._step = step
        self._first = tiers[0]
        self._servers = [server for tier in tiers for server in tier]
        self._crew = crew
        self._deliver = deliver
        self._user_stopped = stopped
        self._pace = pace
        self._hold_s = _MODEST_HOLD_S if modest else _HOLD_S
        self._changed = threading.Condition()
        self._own: dict[str, deque[_Wanted]] = {server.name: deque() for server in self._servers}
        self._common: dict[str, deque[_Wanted]] = {}
        for tier in tiers:
            shared: deque[_Wanted] = deque()
            self._common.update((server.name, shared) for server in tier)
        self._common[self._servers[0].name].extend(map(_Wanted, ids))
        self._left = len(ids)
        self._shift = Shift(self._changed, modest)
        self._handed_over: set[str] = set()
        self._failed: dict[str, NewsError] = {}
        self._broken: BaseException | None = None

    def run(self) -> None:
        """Ask until every id is delivered. Raises Cancelled when stopped, or what the callback raised."""
        for server in self._first:
            self._call_workers(server)
        with self._changed:
            while self._left and not self._stopped():
                self._work_here_or_wait()
            stopped = [] if not self._left else list(self._shift.lent)
        for connection in stopped:
            connection.abort()
        with self._changed:
            # Workers may be in the callback: nobody returns before they have ended.
            self._changed.wait_for(lambda: self._shift.is_harmless)
        if self._broken is not None:
            raise self._broken
        if self._left:
            raise Cancelled("the retrieval was stopped")

    # -- workers ----------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self._broken is not None or self._user_stopped()

    def _work_here_or_wait(self) -> None:
        """Under the lock: do the share of a server that nobody works on in this thread, so that small jobs need no
        other; else wait."""
        for server in self._servers:
            if self._waiting(server) and not self._shift.count(server) and server.name not in self._failed:
                break
        else:
            self._wait()
            return
        self._shift.join(server, 1)
        if len(self._servers) > 1 and server.pool.is_cold:
            # It may turn out not to answer, and this thread must be there for the others.
            self._put_to_work(server)
            return
        self._changed.release()
        try:
            self._work(server)
        finally:
            self._changed.acquire()

    def _wait(self) -> None:
        if self._shift.is_empty:
            raise RuntimeError("articles are wanted that stand in no queue")
        self._changed.wait(0.5)
        for server in self._servers:
            if server.name not in self._handed_over and self._shift.seeks_in_vain(server, _SOUGHT_S):
                self._handed_over.add(server.name)
                self._hand_over(server)

    def _put_to_work(self, server: Server) -> None:
        if not self._crew.submit(lambda: self._work(server)):
            self._shift.leave(server)

    def _call_workers(self, server: Server) -> None:
        """Have as many workers for a server as its queue is worth; a small queue is left to the caller's thread."""
        worth = 2 if self._step is Step.BODY else 2 * _STAT_DEPTH
        with self._changed:
            wished = min(self._shift.share(server), -(-self._waiting(server) // worth))
            missing = wished - self._shift.count(server)
            if wished < 2 or missing <= 0 or server.name in self._failed:
                return
            self._shift.join(server, missing)
        for _ in range(missing):
            self._put_to_work(server)

    def _is_over(self) -> bool:
        return not self._left or self._stopped()

    def _work(self, server: Server) -> None:
        """One worker's life: connections to one server until nothing is left to ask of it."""
        failures, waited_s = 0, 0.0
        try:
            while self._waiting(server) and not self._stopped() and not self._shift.is_surplus(server):
                before = self._left
                try:
                    with self._shift.connection(server, self._is_over) as connection:
                        if connection is None:
                            return
                        waited_s = 0.0
                        self._converse(server, connection)
                except Cancelled:
                    raise
                except Setback as setback:
                    failures = failures + 1 if before == self._left else 1
                    self._after_setback(server, setback, failures)
                except NewsError as error:
                    waited_s += error.retry_after_s
                    self._without_connection(server, error, waited_s)
        except Cancelled as error:
            if not self._is_over():
                self._give_up_on(server, NewsError(str(error)))
        except Exception as error:  # noqa: BLE001 - the callback's, or ours: run() raises it again
            self._broken = error
        finally:
            self._shift.leave(server)

    def _after_setback(self, server: Server, setback: Setback, failures: int) -> None:
        """Wait a little and try again, or leave this server to itself after the table's tries."""
        if self._stopped():
            return
        server.suffer(setback)
        delay_s = setback.row.backoff.delay_s(failures, server.draw())
        if setback.row.backoff.exhausted(failures):
            self._give_up_on(server, public_error(setback, delay_s))
        else:
            self._bide(server, delay_s)

    def _without_connection(self, server: Server, error: NewsError, waited_s: float) -> None:
        """No connection came about, perhaps because of others' trouble: a short while, all in all, is waited for one."""
        if self._stopped():
            return
        if 0 < waited_s <= _PATIENCE_S:
            self._bide(server, error.retry_after_s)
        else:
            self._give_up_on(server, error)

    def _bide(self, server: Server, delay_s: float) -> None:
        """Wait; what others can answer goes to them if it takes long. Cancelled when the service closes."""
        if delay_s > _AT_ONCE_S:
            self._hand_over(server)
        while delay_s > 0 and self._waiting(server) and not self._stopped():
            nap_s = min(delay_s, _NAP_S)
            server.wait(nap_s)
            delay_s -= nap_s

    def _converse(self, server: Server, connection: Connection) -> None:
        """Ask and listen on one connection. Raises Setback with everything unanswered put back into the queue."""
        asked: deque[_Wanted] = deque()
        unsure: list[_Wanted] = []  # said to be missing, by replies that name no id
        since = server.clock.monotonic()
        login_again = False
        depth = self._depth(connection)
        try:
            while True:
                if self._stopped():
                    raise Cancelled("the retrieval was stopped")
                overdue = server.pool.is_contended and server.clock.monotonic() - since > self._hold_s
                if not login_again and not overdue and len(unsure) < _UNSURE_MAX and len(asked) <= depth // 2:
                    self._ask_more(server, connection, asked, depth)
                if not asked:
                    break
                message_id, row, reply, block = connection.answer()
                wanted = asked.popleft()
                if row.outcome is Outcome.LOGIN_AGAIN:
                    login_again = True
                    wanted.tries += 1
                    self._again(server, [wanted])
                elif row.outcome is Outcome.MISSING and message_id not in reply.text:
                    unsure.append(wanted)
                else:
                    if message_id in reply.text:
                        self._settle(server, unsure)
                    self._answered(server, wanted, row, reply.text, block)
                if login_again and not asked:
                    connection.login()
                    login_again = False
            if not connection.is_in_step:
                raise connection.out_of_step(self._step)
            self._settle(server, unsure)
        except BaseException:
            if asked:
                # Whatever broke the connection, it did so at the first: that one may be the reason.
                asked[0].tries += 1
            self._again(server, [*unsure, *asked])
            raise

    def _depth(self, connection: Connection) -> int:
        if self._step is Step.STAT:
            return _STAT_DEPTH
        return min(_BODY_DEPTH_MAX, _BODY_DEPTH + int(connection.round_trip_s / _RTT_PER_BODY_S))

    def _ask_more(self, server: Server, connection: Connection, asked: deque[_Wanted], depth: int) -> None:
        with self._changed:
            fair = -(-self._waiting(server) // max(1, self._shift.count(server)))
            batch = [self._take(server) for _ in range(min(fair, depth - len(asked)))]
        if batch:
            asked.extend(batch)
            connection.request(self._step, [wanted.message_id for wanted in batch])

    # -- queues -----------------------------------------------------------------------------------

    def _waiting(self, server: Server) -> int:
        return len(self._own[server.name]) + len(self._common[server.name])

    def _take(self, server: Server) -> _Wanted:
        own = self._own[server.name]
        return own.popleft() if own else self._common[server.name].popleft()

    def _again(self, server: Server, unanswered: list[_Wanted]) -> None:
        """These got no answer from the server: ask it once more, or somebody else after three tries."""
        for wanted in unanswered:
            with self._changed:
                again = wanted.tries < _TRIES and server.name not in self._failed
                if again:
                    self._own[server.name].append(wanted)
            if not again:
                wanted.unknown = ConnectionLost(f"{server.name} gave no answer about {wanted.message_id}")
                self._next(server, wanted)

    def _settle(self, server: Server, unsure: list[_Wanted]) -> None:
        """The replies are in step up to here: what was said to be missing is missing there."""
        for wanted in unsure:
            self._next(server, wanted)
        unsure.clear()

    def _answered(self, server: Server, wanted: _Wanted, row: Row, text: str, block: bytes | None) -> None:
        if row.outcome is Outcome.DONE:
            if block is not None:
                server.count(fetched=1, bytes_down=len(block))
                self._pace.take(len(block), self._stopped)
            self._finish(wanted, block, None)
            return
        if row.outcome is not Outcome.MISSING:
            setback = Setback(self._step, row, f"{server.name} said '{text[:200]}' of {wanted.message_id}")
            server.suffer(setback)
            wanted.unknown = public_error(setback, row.backoff.delay_s(1))
        self._next(server, wanted)

    def _next(self, server: Server, wanted: _Wanted) -> None:
        """This server has been asked: the next one, or the final word."""
        wanted.asked.add(server.name)
        wanted.tries = 0
        with self._changed:
            following = self._following(wanted)
            if following is not None:
                self._own[following.name].append(wanted)
                self._changed.notify_all()
        if following is None:
            self._finish(wanted, None, wanted.unknown or ArticleMissing(f"no server has {wanted.message_id}"))
        elif following is not server:
            self._call_workers(following)

    def _following(self, wanted: _Wanted) -> Server | None:
        """Whom to ask next; those that had no connection last."""
        later = None
        for server in self._servers:
            if server.name in wanted.asked:
                continue
            if server.name in self._failed:
                wanted.unknown = self._failed[server.name]
            elif server.name not in wanted.later:
                return server
            else:
                later = later or server
        return later

    def _queues_of(self, server: Server) -> list[deque[_Wanted]]:
        """The queues that nobody but this server serves now."""
        common = self._common[server.name]
        mates = [name for name, shared in self._common.items() if shared is common and name != server.name]
        alone = all(name in self._failed for name in mates)
        return [self._own[server.name], common] if alone else [self._own[server.name]]

    def _hand_over(self, server: Server) -> None:
        """The server has no connection now: others are asked first, where there are any."""
        helpers: dict[str, Server] = {}
        with self._changed:
            for waiting in self._queues_of(server):
                for _ in range(len(waiting)):
                    wanted = waiting.popleft()
                    wanted.later.add(server.name)
                    helper = self._following(wanted) or server
                    self._own[helper.name].append(wanted)
                    helpers[helper.name] = helper
            self._changed.notify_all()
        for helper in helpers.values():
            if helper is not server:
                self._call_workers(helper)

    def _give_up_on(self, server: Server, error: NewsError) -> None:
        """No connection to this server: what waits for it goes to the others, and stays unknown here."""
        with self._changed:
            self._failed[server.name] = error
            queued = self._queues_of(server)
            moved = [wanted for waiting in queued for wanted in waiting]
            for waiting in queued:
                waiting.clear()
        for wanted in moved:
            wanted.unknown = error
            self._next(server, wanted)

    def _finish(self, wanted: _Wanted, block: bytes | None, error: NewsError | None) -> None:
        self._deliver(wanted.message_id, block, error)
        with self._changed:
            self._left -= 1
            if not self._left:
                self._changed.notify_all()
