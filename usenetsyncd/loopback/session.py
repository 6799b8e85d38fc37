"""One client's dialogue: login, TLS, posting, and the faults that belong to a reply."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from hmac import compare_digest

import structlog

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.loopback.channel import Channel
from usenetsyncd.loopback.damage import damaged
from usenetsyncd.loopback.faults import NO_EFFECTS, Effects, Occasion
from usenetsyncd.loopback.posting import Submission, accept, another_article, parse_submission
from usenetsyncd.loopback.reading import Reading
from usenetsyncd.loopback.response import Response, listing
from usenetsyncd.loopback.site import Site
from usenetsyncd.wire.nntp import Command

log = structlog.get_logger("loopback")

TLS_PATIENCE_S = 0.5
"""How long a server that does both waits for a client to begin with TLS before it greets in clear."""

ENDLESS_PIECE = b"x" * 65_536

_WITHOUT_LOGIN = frozenset({"AUTHINFO", "CAPABILITIES", "DATE", "HELP", "MODE", "QUIT", "STARTTLS"})
_LOGIN_FIRST = Response(480, "Authentication required for command")


class _Closed(Exception):
    """The dialogue is over."""


class Session:
    """Runs in a thread of its own until the client, a fault or the end of the server closes it."""

    def __init__(self, site: Site, channel: Channel, number: int) -> None:
        self._site = site
        self._channel = channel
        self._number = number
        self._reading = Reading(site)
        self._user: str | None = None
        self._asked_user: str | None = None
        self._commands: dict[str, Callable[[Command], Response | None]] = {
            **self._reading.commands,
            "AUTHINFO": self._authinfo,
            "CAPABILITIES": self._capabilities,
            "DATE": self._date,
            "HELP": self._help,
            "MODE": self._mode,
            "POST": self._post,
            "QUIT": self._quit,
            "STARTTLS": self._starttls,
        }

    def run(self) -> None:
        """Hold the dialogue. Never raises: a broken connection is an end like any other."""
        try:
            self._begin()
            while True:
                command = self._next_command()
                if command is not None:
                    self._execute(command)
        except (_Closed, OSError):
            return
        except Exception:
            log.exception("session_failed", number=self._number)
        finally:
            self._channel.close()

    # -- the dialogue --------------------------------------------------------------------

    def _begin(self) -> None:
        if self._starts_with_tls():
            self._handshake()
        effects = self._effects(Occasion("CONNECT", self._number))
        self._channel.bytes_per_s = effects.slow
        if self._site.counters.connections > self._site.max_connections:
            self._deliver(Response(502, "Too many connections"), effects)
            raise _Closed("too many connections")
        if self._carry_out(effects, self._greeting) >= 400:
            raise _Closed("turned away")

    def _starts_with_tls(self) -> bool:
        if self._site.tls is None or self._site.implicit_tls is False:
            return False
        return self._site.implicit_tls is True or self._channel.begins_with_tls(TLS_PATIENCE_S)

    def _handshake(self) -> None:
        if self._site.tls is None:
            raise _Closed("no TLS here")
        self._channel.start_tls(self._site.tls)

    def _next_command(self) -> Command | None:
        """The next command; None for one that was refused already."""
        while True:
            try:
                command = self._channel.reader.next_command()
            except FormatError as error:
                self._channel.put(Response(501, f"Line refused: {error}").pieces())
                return None
            if command is not None:
                return command
            if not self._channel.receive():
                raise _Closed("the client went away")

    def _execute(self, command: Command) -> None:
        self._site.counters.command(command.verb)
        occasion_verb = "POST-BEGIN" if command.verb == "POST" else command.verb
        effects = NO_EFFECTS
        if self._site.faults:
            group = self._reading.group
            effects = self._effects(
                Occasion(
                    command=occasion_verb,
                    connection=self._number,
                    argument=command.args[0].upper() if command.args else "",
                    message_id=self._reading.message_id(command),
                    groups=(group,) if group else (),
                )
            )
        if command.verb == "POST" and effects.reply is None and self._may_post() is None:
            self._receive_article(effects)
            return
        self._carry_out(effects, lambda: self._answer(command, effects))

    def _answer(self, command: Command, effects: Effects) -> Response | None:
        handler = self._commands.get(command.verb)
        if handler is None:
            return Response(500, "What?")
        if self._locked_out() and command.verb not in _WITHOUT_LOGIN:
            return _LOGIN_FIRST
        response = handler(command)
        return (
            response
            if effects is NO_EFFECTS or response is None
            else self._falsified(response, command, effects)
        )

    def _falsified(self, response: Response, command: Command, effects: Effects) -> Response:
        if effects.stat_lie and command.verb == "STAT" and command.args:
            present = response.code == 223
            return Response(430, "No such article") if present else Response(223, f"0 {command.args[0]}")
        if effects.corrupt is not None and response.code in (220, 222) and response.block is not None:
            return self._spoilt(response, effects, self._reading.message_id(command))
        return response

    def _spoilt(self, response: Response, effects: Effects, message_id: str) -> Response:
        wire = self._site.spool.read(message_id)
        if wire is None or effects.corrupt is None or response.block is None:
            return response
        spoilt = damaged(wire, effects.corrupt, another_article(self._site, message_id))
        if response.code == 220:
            return Response(response.code, response.text, spoilt)
        headers = len(wire) - len(response.block)
        return Response(response.code, response.text, memoryview(spoilt)[headers:])

    # -- faults --------------------------------------------------------------------------

    def _effects(self, occasion: Occasion) -> Effects:
        return self._site.faults.effects(occasion)

    def _carry_out(self, effects: Effects, act: Callable[[], Response | None]) -> int:
        """Do what was asked, or what the faults want instead, and reply. Returns the code said, 0 for none."""
        if effects.delay and not self._channel.pause(effects.delay):
            raise _Closed("the server stops")
        limit = effects.limit_connections
        if limit is not None and self._site.counters.connections > limit.max:
            self._channel.put(Response(limit.code, limit.text).pieces())
            raise _Closed("fault: connection limit")
        if effects.close_silently:
            raise _Closed("fault: closed silently")
        said = effects.reply
        response = act() if said is None else Response(said.code, said.text)
        if response is None:
            return 0
        self._deliver(response, effects)
        return response.code

    def _deliver(self, response: Response, effects: Effects) -> None:
        if effects is NO_EFFECTS:
            self._channel.put(response.pieces())
        else:
            self._deliver_with(effects, response)
        if response.code in (205, 400):
            raise _Closed("said good-bye")

    def _deliver_with(self, effects: Effects, response: Response) -> None:
        if effects.lie is not None:
            response = Response(effects.lie.code, effects.lie.text)
        if effects.endless_line:
            self._send_endless_line(response.code)
        wire = b"".join(response.pieces(b"") if effects.no_final_dot else response.pieces())
        if effects.extra_reply is not None:
            wire += effects.extra_reply.encode("utf-8") + b"\r\n"
        if effects.cut_reply_at is not None:
            wire = wire[: effects.cut_reply_at]
        self._channel.flush()
        before = self._channel.bytes_per_s
        self._channel.bytes_per_s = effects.slow or before
        self._channel.put([wire])
        self._channel.flush()
        self._channel.bytes_per_s = before
        if effects.cut_reply_at is not None:
            raise _Closed("fault: reply cut")

    def _send_endless_line(self, code: int) -> None:
        self._channel.put([b"%d " % code])
        while not self._site.stopping.is_set():
            self._channel.put([ENDLESS_PIECE])
            self._channel.flush()
        raise _Closed("fault: endless line")

    # -- posting -------------------------------------------------------------------------

    def _may_post(self) -> Response | None:
        """Why posting is refused, None where it is not."""
        if self._locked_out():
            return _LOGIN_FIRST
        return Response(440, "Posting not permitted") if self._user in self._site.read_only else None

    def _post(self, _: Command) -> Response:
        return self._may_post() or Response(340, "Send it")

    def _receive_article(self, before: Effects) -> None:
        self._carry_out(before, lambda: Response(340, "Send it"))
        reader = self._channel.reader
        reader.expect_block(self._site.max_article_bytes)
        cut_at = before.cut_article_at
        refused: str | None = None
        wire = b""
        while reader.expects_block:
            if cut_at is not None and reader.pending_bytes >= cut_at:
                self._channel.abort()
                raise _Closed("fault: article cut")
            try:
                found = reader.next_block()
            except LimitExceeded as error:
                refused = str(error)
                break
            if found is not None:
                wire = found
            elif not self._channel.receive():
                raise _Closed("the client went away in the middle of an article")
        self._settle(wire, refused)

    def _settle(self, wire: bytes, refused: str | None) -> None:
        try:
            if refused is not None:
                raise FormatError(refused)
            article = parse_submission(wire)
        except FormatError as error:
            self._deliver(Response(441, str(error)), NO_EFFECTS)
            return
        self._site.counters.offered(article.message_id)
        effects = self._effects(Occasion("POST", self._number, "", article.message_id, article.groups))
        self._carry_out(effects, lambda: self._accept(article, effects))

    def _accept(self, article: Submission, effects: Effects) -> Response:
        try:
            return accept(self._site, article, effects)
        except OSError as error:
            log.warning("article_not_stored", reason=str(error))
            return Response(441, f"Article not stored: {error.strerror}")

    # -- the rest ------------------------------------------------------------------------

    def _greeting(self) -> Response:
        return Response(200, "UsenetSync embedded news server ready")

    def _locked_out(self) -> bool:
        return bool(self._site.users) and self._user is None

    def _authinfo(self, command: Command) -> Response:
        kind, _, value = command.rest.strip().partition(" ")
        if not value or kind.upper() not in ("USER", "PASS"):
            return Response(501, "Only AUTHINFO USER and PASS")
        if self._user is not None or not self._site.users:
            return Response(502, "Already authenticated")
        if kind.upper() == "USER":
            self._asked_user = value
            return Response(381, "Enter password")
        if self._asked_user is None:
            return Response(482, "AUTHINFO USER comes first")
        expected = self._site.users.get(self._asked_user)
        given = value.encode("utf-8", "surrogateescape")
        if expected is None or not compare_digest(expected.encode("utf-8", "surrogateescape"), given):
            self._asked_user = None
            return Response(481, "Authentication failed")
        self._user = self._asked_user
        return Response(281, "Authentication succeeded")

    def _capabilities(self, _: Command) -> Response:
        lines = [
            "VERSION 2",
            "IMPLEMENTATION UsenetSync embedded news server",
            "READER",
            "POST",
            "OVER MSGID",
            "HDR",
        ]
        lines.append("LIST ACTIVE NEWSGROUPS OVERVIEW.FMT HEADERS")
        if self._locked_out():
            lines.append("AUTHINFO USER")
        if self._site.tls is not None and not self._channel.encrypted and self._user is None:
            lines.append("STARTTLS")
        return listing(101, "Capability list:", lines)

    def _starttls(self, _: Command) -> Response | None:
        if self._site.tls is None:
            return Response(580, "No TLS here")
        if self._channel.encrypted or self._user is not None:
            return Response(502, "Too late for TLS")
        if self._channel.reader.pending_bytes:
            # What came in clear after the command must never be taken for something said inside TLS.
            raise _Closed("commands were sent behind STARTTLS")
        self._channel.put(Response(382, "Begin with TLS").pieces())
        self._channel.flush()
        self._asked_user = None
        try:
            self._handshake()
        except ssl.SSLError as error:
            raise _Closed(f"TLS handshake failed: {error.reason}") from error
        return None

    def _date(self, _: Command) -> Response:
        return Response(111, datetime.fromtimestamp(self._site.clock.now(), UTC).strftime("%Y%m%d%H%M%S"))

    def _help(self, _: Command) -> Response:
        return listing(100, "Commands", (f"  {verb}" for verb in sorted(self._commands)))

    def _mode(self, command: Command) -> Response:
        if [arg.upper() for arg in command.args] != ["READER"]:
            return Response(501, "Unknown MODE variant")
        return self._greeting()

    def _quit(self, _: Command) -> Response:
        return Response(205, "Bye")
