"""One NNTP connection: opening it, and the dialogues (RFC 3977, 4642, 4643). Blocking, one thread at a time."""

import re
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import ConnectFailed, ConnectionLost, FormatError, NewsError, TlsFailed, UsageError
from usenetsyncd.model import MessageId, ServerAccount, TlsMode
from usenetsyncd.news.replies import NO_REPLY, TLS_REFUSED, UNREACHABLE, Outcome, ReplyTable, Row, Step
from usenetsyncd.news.tls import client_context
from usenetsyncd.news.transport import PROGRESS_BYTES, Transport, dial
from usenetsyncd.wire.article import OutgoingArticle
from usenetsyncd.wire.nntp import Reply, ReplyReader, command

MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""Largest body that is read; ours stay below 1.1 MB even with every byte escaped to two being rare."""

OPEN_S: Final = 20.0
"""Longest silence while a connection is opened."""

_MAX_CAPABILITIES_BYTES: Final = 65_536
_RECEIVE_BYTES: Final = 262_144
_QUIT_WAIT_S: Final = 2.0
_MESSAGE_ID: Final = re.compile(r"<[^<>\s@]{1,200}@[^<>\s@]{1,200}>")
_LINE: Final = {Step.BODY: "BODY", Step.STAT: "STAT"}
_T = TypeVar("_T")


class Setback(NewsError):
    """What the reply table has to be asked about; does not leave this package."""

    def __init__(self, step: Step, row: Row, text: str, reply_code: int = NO_REPLY) -> None:
        super().__init__(text)
        self.step = step
        self.row = row
        self.reply_code = reply_code


class Dialer:
    """Opens the connections of one account; remembers what the first one found out, so that the next need not ask."""

    def __init__(self, account: ServerAccount, table: ReplyTable, clock: Clock = SYSTEM_CLOCK) -> None:
        """Raises ConfigurationError where the account cannot be used safely."""
        self.account = account
        self.table = table
        self.clock = clock
        self.context = client_context(account)
        self.reader_mode: bool | None = None
        self._lock = threading.Lock()
        self._opening: set[Transport] = set()

    def open(self) -> "Connection":
        """Dial, greet, protect, log in. Raises Setback; then nothing is left open."""
        try:
            transport = dial(self.account, self.clock)
        except ConnectFailed as error:
            row = self.table.find(Step.CONNECT, UNREACHABLE)
            raise Setback(Step.CONNECT, row, str(error), UNREACHABLE) from error
        with self._lock:
            self._opening.add(transport)
        connection = Connection(self.account, transport, self.table, self.clock)
        try:
            # Who is let in at all is let in soon; a server that hangs must not keep a thread for a whole time-out.
            transport.limit_wait(min(self.account.timeout_s, OPEN_S))
            connection.open(self)
            transport.limit_wait(self.account.timeout_s)
        except BaseException:
            transport.hang_up()
            raise
        finally:
            with self._lock:
                self._opening.discard(transport)
        return connection

    def interrupt(self) -> None:
        """Cut off those that are being opened now; their threads get a Setback."""
        with self._lock:
            opening = list(self._opening)
        for transport in opening:
            transport.abort()


class Connection:
    """An open, logged-in connection. Any Setback whose row says ``close`` means: never use it again."""

    def __init__(
        self, account: ServerAccount, transport: Transport, table: ReplyTable, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._account = account
        self._transport = transport
        self._table = table
        self._clock = clock
        self._reader = ReplyReader()
        self._awaited: deque[MessageId] = deque()
        self._asked = Step.STAT
        self.opened_at = clock.monotonic()
        self.posting_allowed = True
        self.round_trip_s = 0.0
        self.uses = 0

    # -- opening ----------------------------------------------------------------------------------

    def open(self, dialer: Dialer) -> None:
        """Greeting, STARTTLS, reader mode, login. Raises Setback."""
        context = dialer.context
        if self._account.tls is TlsMode.IMPLICIT and context is not None:
            self._protect(context)
        greeting = self._expect(Step.CONNECT)
        self.posting_allowed = greeting.code == 200
        if self._account.tls is TlsMode.STARTTLS and context is not None:
            self._ask(Step.STARTTLS, command("STARTTLS"))
            # What was sent in clear behind the 382 may be an attacker's: a fresh reader knows nothing of it.
            self._reader = ReplyReader()
            self._protect(context)
        if dialer.reader_mode is None:
            offered = self.capabilities()
            dialer.reader_mode = offered is None or "MODE-READER" in offered
        later = dialer.reader_mode and not self._enter_reader_mode()
        self.login()
        if later:
            self._enter_reader_mode()

    def inquire(self, step: Step, line: bytes, block_bytes: int = 0) -> tuple[Reply, bytes] | None:
        """Ask one thing; None where the server has nothing such. Raises Setback.

        block_bytes: the longest block that may follow, which then comes along raw; 0 where none does.
        """
        self.uses += 1
        reply = self._exchange(line, step)
        row = self._table.find(step, reply.code, reply.text)
        if row.outcome is Outcome.MISSING:
            return None
        if row.outcome is not Outcome.DONE:
            raise self._setback(step, reply)
        if not block_bytes:
            return reply, b""
        self._reader.expect_block(block_bytes)
        return reply, self._await(self._reader.next_block, step)

    def capabilities(self) -> frozenset[str] | None:
        """The lines of CAPABILITIES in capitals, or None where the server does not know the command."""
        reply = self._exchange(command("CAPABILITIES"), Step.MODE)
        if reply.code != 101:
            if reply.code in (400, 502):
                raise self._setback(Step.MODE, reply)
            return None
        self._reader.expect_block(_MAX_CAPABILITIES_BYTES)
        lines = self._await(self._reader.next_block, Step.MODE)
        return frozenset(line.strip().decode("ascii", "replace").upper() for line in lines.split(b"\r\n"))

    def login(self) -> None:
        """AUTHINFO USER and PASS, where the account has them. Raises Setback."""
        username, password = self._account.username, self._account.password
        if username is None:
            return
        if not self._transport.is_private:
            row = self._table.find(Step.CONNECT, TLS_REFUSED)
            raise Setback(
                Step.LOGIN, row, f"{self._account.name}: no password goes over an open line", TLS_REFUSED
            )
        try:
            lines = command("AUTHINFO", "USER", username), command("AUTHINFO", "PASS", password or "")
        except UsageError as error:
            raise self._login_refused(f"the name or password cannot be sent: {error}") from error
        reply = self._ask(Step.LOGIN, lines[0])
        if self._table.find(Step.LOGIN, reply.code, reply.text).outcome is Outcome.GO_ON:
            reply = self._ask(Step.LOGIN, lines[1])
            if self._table.find(Step.LOGIN, reply.code, reply.text).outcome is not Outcome.DONE:
                raise self._login_refused(f"said '{reply.code}' to the password")

    def _login_refused(self, text: str) -> Setback:
        return Setback(Step.LOGIN, self._table.row("login_refused"), f"{self._account.name}: {text}")

    def _enter_reader_mode(self) -> bool:
        """Whether the server did not ask for the login first."""
        reply = self._exchange(command("MODE", "READER"), Step.MODE)
        if reply.code == 480:
            return False
        if not self._table.find(Step.MODE, reply.code, reply.text).succeeded:
            raise self._setback(Step.MODE, reply)
        if reply.code in (200, 201):
            self.posting_allowed = reply.code == 200
        return True

    # -- dialogues --------------------------------------------------------------------------------

    def post(self, article: OutgoingArticle) -> Reply:
        """Post one article; returns the 240. Raises Setback: step POST when nothing of it went out or it could not be
        sent whole, step ARTICLE for the server's verdict, or for none (outcome DOUBTFUL)."""
        self.uses += 1
        self._ask(Step.POST, b"POST\r\n")
        if self._reader.pending_bytes:
            raise self._lost(Step.POST, "the server spoke before the article was sent")
        try:
            self._transport.send_article(article.parts)
        except ConnectionLost as error:
            raise self._lost(Step.POST, str(error)) from error
        return self._expect(Step.ARTICLE)

    def may_post(self) -> bool:
        """Whether the server lets us post, by offering an article of one empty line: 340 and then 441 is a yes.

        Only that is certain: greetings and CAPABILITIES often say what is true of others. Raises Setback.
        """
        reply = self._exchange(b"POST\r\n", Step.POST)
        row = self._table.find(Step.POST, reply.code, reply.text)
        if row.outcome is Outcome.FORBIDDEN:
            return False
        if row.outcome is not Outcome.GO_ON:
            raise self._setback(Step.POST, reply)
        self._send(b"\r\n.\r\n", Step.POST)
        self._await(self._reader.next_reply, Step.POST)
        return True

    def request(self, step: Step, ids: Sequence[MessageId]) -> None:
        """Send STAT or BODY for all of these; their answers come in this order. One kind at a time. Raises Setback."""
        self._asked = step
        verb = _LINE[step]
        self._send(b"".join(command(verb, message_id) for message_id in ids), step)
        self._awaited.extend(ids)
        self.uses += 1

    def answer(self) -> tuple[MessageId, Row, Reply, bytes | None]:
        """The next answer to ``request``, with the raw block of a body.

        Raises Setback when the connection is lost or answers another question than the one that was asked.
        """
        step = self._asked
        reply = self._await(self._reader.next_reply, step)
        message_id = self._awaited.popleft()
        named = _MESSAGE_ID.search(reply.text)
        if named is not None and named.group() != message_id and reply.code in (222, 223, 430):
            raise self._lost(step, f"asked for {message_id}, the server speaks of {named.group()}")
        row = self._table.find(step, reply.code, reply.text)
        block = None
        if step is Step.BODY and row.outcome is Outcome.DONE:
            self._reader.expect_block(MAX_BLOCK_BYTES)
            block = self._await(self._reader.next_block, step)
        if row.close:
            raise self._setback(step, reply)
        return message_id, row, reply, block

    @property
    def awaited(self) -> int:
        """How many answers are still to come."""
        return len(self._awaited)

    def keep_alive(self, timeout_s: float) -> None:
        """Ask for the DATE. Raises Setback when nobody answers in time."""
        self._transport.limit_wait(min(timeout_s, self._account.timeout_s))
        self._ask(Step.KEEPALIVE, command("DATE"))
        self._transport.limit_wait(self._account.timeout_s)

    @property
    def is_in_step(self) -> bool:
        """Whether nothing is awaited, and nothing was said that was not asked for."""
        return self.has_all_answers and not self._transport.has_unexpected()

    @property
    def has_all_answers(self) -> bool:
        """The same as far as it is known without asking the socket."""
        return not self._awaited and not self._reader.pending_bytes

    def out_of_step(self, step: Step) -> Setback:
        """What to raise when ``is_in_step`` is not so."""
        return self._lost(step, "the server said something that was not asked for")

    # -- the end ----------------------------------------------------------------------------------

    def send_quit(self) -> bool:
        """Say QUIT without waiting; whether it went out."""
        try:
            self._transport.limit_wait(_QUIT_WAIT_S)
            self._transport.send(b"QUIT\r\n")
        except ConnectionLost:
            return False
        return True

    def finish(self) -> None:
        """Wait shortly for the server to hang up after QUIT, then close.

        Closing too early makes the next login "too many connections" at some providers.
        """
        ends_at = self._clock.monotonic() + _QUIT_WAIT_S
        room = memoryview(bytearray(4096))
        try:
            while self._clock.monotonic() < ends_at:
                self._transport.receive_into(room)
        except ConnectionLost:
            return
        finally:
            self._transport.close()

    def close(self) -> None:
        """Hang up without a word."""
        self._transport.hang_up()

    def abort(self) -> None:
        """Wake and end it from another thread; its owner gets a Setback."""
        self._transport.abort()

    @property
    def transport(self) -> Transport:
        """The line below, for its TLS version, certificate and byte counts."""
        return self._transport

    # -- inside -----------------------------------------------------------------------------------

    def _ask(self, step: Step, line: bytes) -> Reply:
        reply = self._exchange(line, step)
        if not self._table.find(step, reply.code, reply.text).succeeded:
            raise self._setback(step, reply)
        return reply

    def _exchange(self, line: bytes, step: Step) -> Reply:
        started = self._clock.monotonic()
        self._send(line, step)
        reply = self._await(self._reader.next_reply, step)
        took = self._clock.monotonic() - started
        self.round_trip_s = min(self.round_trip_s, took) if self.round_trip_s else took
        return reply

    def _expect(self, step: Step) -> Reply:
        reply = self._await(self._reader.next_reply, step)
        if not self._table.find(step, reply.code, reply.text).succeeded:
            raise self._setback(step, reply)
        return reply

    def _send(self, lines: bytes, step: Step) -> None:
        try:
            self._transport.send(lines)
        except ConnectionLost as error:
            raise self._lost(step, str(error)) from error

    def _await(self, take: Callable[[], _T | None], step: Step) -> _T:
        reader = self._reader
        since, moved = 0.0, 0
        try:
            while not reader.pending_bytes or (taken := take()) is None:
                if step is Step.STAT:
                    self._transport.acknowledge_at_once()
                count = self._transport.receive_into(reader.room(_RECEIVE_BYTES))
                reader.filled(count)
                moved += count
                now = self._clock.monotonic()
                if not since or moved >= PROGRESS_BYTES:
                    since, moved = now, 0
                elif now - since > self._account.timeout_s:
                    raise ConnectionLost("the server sends next to nothing")
        except (ConnectionLost, FormatError) as error:
            raise self._lost(step, str(error)) from error
        return taken

    def _setback(self, step: Step, reply: Reply) -> Setback:
        row = self._table.find(step, reply.code, reply.text)
        return Setback(
            step, row, f"{self._account.name} said '{reply.code} {self._harmless(reply.text)}'", reply.code
        )

    def _harmless(self, text: str) -> str:
        """A server's text for people and logs: no control characters, and not our password echoed."""
        if self._account.password:
            text = text.replace(self._account.password, "***")
        return "".join(c if c.isprintable() else "?" for c in text[:200])

    def _lost(self, step: Step, text: str) -> Setback:
        prefix = f"{self._account.name}: "
        return Setback(step, self._table.find(step, NO_REPLY), prefix + text.removeprefix(prefix))

    def _protect(self, context: ssl.SSLContext) -> None:
        try:
            self._transport.start_tls(context)
        except TlsFailed as error:
            raise Setback(
                Step.CONNECT, self._table.find(Step.CONNECT, TLS_REFUSED), str(error), TLS_REFUSED
            ) from error
        except ConnectionLost as error:
            raise self._lost(Step.CONNECT, str(error)) from error


def message_id_in(text: str) -> MessageId | None:
    """The message-id that a reply names, if any."""
    found = _MESSAGE_ID.search(text)
    return MessageId(found.group()) if found else None
