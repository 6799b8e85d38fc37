"""Under which message-id a server keeps what it took: learnt from its 240, or by looking where that does not say."""

import threading
from typing import Final

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.model import MessageId
from usenetsyncd.news.connection import Connection, Setback
from usenetsyncd.news.records import IdPolicy
from usenetsyncd.news.replies import Outcome, Step
from usenetsyncd.news.walk import Walk, articles_in
from usenetsyncd.wire.article import OutgoingArticle

log = structlog.get_logger("news")

_LOOKED_THROUGH: Final = 2_000
_FIRST_ANSWER_S: Final = 10.0
_ASK_AGAIN_S: Final = 30.0
_ASK_AGAIN_MAX_S: Final = 3600.0


class Naming:
    """What one server does with message-ids. Thread-safe.

    A server that keeps ours without saying so is asked once for an article that it took, and then believed. One that
    gives others without saying so is asked after every article: slow, but what it has can be found again.
    """

    def __init__(self, server: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._server = server
        self._clock = clock
        self._changed = threading.Condition()
        self._asking = False
        self._ask_at = 0.0
        self._ask_after_s = _ASK_AGAIN_S
        self.policy = IdPolicy.UNKNOWN

    def settle(self, connection: Connection, article: OutgoingArticle, told: MessageId | None) -> MessageId:
        """The id under which an article that was just taken over this connection can be found, as far as is known.

        told: the id in the 240, if any. May leave the connection out of step; raises nothing that a server can cause.
        """
        ours = article.name.message_id
        if told is not None:
            self.learn(IdPolicy.KEEPS if told == ours else IdPolicy.REWRITES)
            return told
        if not self._is_worth_asking():
            return ours
        try:
            policy, found = look_for(connection, article)
            self.learn(policy)
        except Setback as setback:
            log.info("message_id_not_settled", server=self._server, reason=str(setback))
            return ours
        finally:
            with self._changed:
                self._asking = False
                self._changed.notify_all()
        return found

    def learn(self, policy: IdPolicy) -> None:
        """Remember what was seen; that nothing could be seen changes nothing."""
        if policy in (IdPolicy.UNKNOWN, self.policy):
            return
        if policy is not IdPolicy.KEEPS:
            log.warning(
                "message_ids_changed_by_server", server=self._server, told=policy is IdPolicy.REWRITES
            )
        self.policy = policy

    def _is_worth_asking(self) -> bool:
        with self._changed:
            # Who comes while the first one asks needs the answer too.
            self._changed.wait_for(lambda: not self._asking, _FIRST_ANSWER_S)
            if self.policy is not IdPolicy.UNKNOWN:
                return self.policy is not IdPolicy.KEEPS
            now = self._clock.monotonic()
            if now < self._ask_at:
                return False
            # Some servers show an article only later: not each one is worth a question until then.
            self._ask_at = now + self._ask_after_s
            self._ask_after_s = min(2 * self._ask_after_s, _ASK_AGAIN_MAX_S)
            self._asking = True
            return True


def look_for(connection: Connection, article: OutgoingArticle) -> tuple[IdPolicy, MessageId]:
    """Whether the server has an article under our id, or under another one that its overview tells. Raises Setback."""
    ours = article.name.message_id
    if has(connection, ours):
        return IdPolicy.KEEPS, ours
    subject = article.name.subject.encode("ascii")
    for group in article.newsgroups:
        walk = Walk(group)
        while (block := walk.next_block(connection, _LOOKED_THROUGH)) is not None:
            for _, found in articles_in(block, {subject}):
                return IdPolicy.SWALLOWS, found
    return IdPolicy.UNKNOWN, ours


def has(connection: Connection, message_id: MessageId) -> bool:
    """Whether the server says that it has this article. Raises Setback."""
    connection.request(Step.STAT, [message_id])
    _, row, _, _ = connection.answer()
    return row.outcome is Outcome.DONE
