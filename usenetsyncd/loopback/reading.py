"""The reading half of a session: groups, articles, overview (RFC 3977 6, 7.6, 8)."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from usenetsyncd.loopback.damage import body_start
from usenetsyncd.loopback.response import Response, listing
from usenetsyncd.loopback.site import Site
from usenetsyncd.loopback.spool import Stored
from usenetsyncd.wire.nntp import Command

NO_GROUP = Response(412, "No newsgroup selected")
NO_SUCH_GROUP = Response(411, "No such newsgroup")
NO_SUCH_ID = Response(430, "No such article")
NO_SUCH_NUMBER = Response(423, "No such article number")
NO_CURRENT = Response(420, "No current article")
SYNTAX = Response(501, "Syntax error")

OVERVIEW_FIELDS = ("Subject:", "From:", "Date:", "Message-ID:", "References:", ":bytes", ":lines")

_ARTICLE_CODES = {"ARTICLE": 220, "HEAD": 221, "BODY": 222, "STAT": 223}


class Reading:
    """What one client has selected, and the commands that look at articles."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._spool = site.spool
        self.group: str | None = None
        self._current = 0
        self.commands: dict[str, Callable[[Command], Response]] = {
            "ARTICLE": self._article,
            "HEAD": self._article,
            "BODY": self._article,
            "STAT": self._article,
            "GROUP": self._select,
            "LISTGROUP": self._listgroup,
            "NEXT": self._step,
            "LAST": self._step,
            "OVER": self._over,
            "XOVER": self._over,
            "HDR": self._hdr,
            "XHDR": self._hdr,
            "LIST": self._list,
        }

    # -- articles ------------------------------------------------------------------------

    def _article(self, command: Command) -> Response:
        found = self._locate(command.args[0] if command.args else None)
        if isinstance(found, Response):
            return found
        number, stored = found
        message_id = stored.overview.message_id
        if number and command.args:
            self._current = number
        text = f"{number} {message_id}"
        code = _ARTICLE_CODES[command.verb]
        if command.verb == "STAT":
            return Response(code, text)
        wire = self._spool.read(message_id)
        if wire is None:
            return NO_SUCH_ID
        if command.verb == "HEAD":
            return Response(code, text, memoryview(wire)[: max(0, body_start(wire) - 2)])
        return Response(
            code, text, wire if command.verb == "ARTICLE" else memoryview(wire)[body_start(wire) :]
        )

    def _locate(self, wanted: str | None) -> tuple[int, Stored] | Response:
        """The article meant by a message-id, a number, or nothing: (0 or its number, what is stored)."""
        if wanted is not None and wanted.startswith("<"):
            stored = self._spool.find(wanted)
            return (0, stored) if stored else NO_SUCH_ID
        if wanted is not None and not (wanted.isascii() and wanted.isdigit()):
            return SYNTAX
        if self.group is None:
            return NO_GROUP
        number = self._current if wanted is None else int(wanted)
        for found, message_id in self._spool.numbered(self.group, number, number):
            stored = self._spool.find(message_id)
            if stored:
                return found, stored
        return NO_CURRENT if wanted is None else NO_SUCH_NUMBER

    def message_id(self, command: Command) -> str:
        """The message-id that a command is about, "" if it is about none."""
        if command.verb not in _ARTICLE_CODES:
            return ""
        if command.args and command.args[0].startswith("<"):
            return command.args[0]
        found = self._locate(command.args[0] if command.args else None)
        return "" if isinstance(found, Response) else found[1].overview.message_id

    # -- groups --------------------------------------------------------------------------

    def _enter(self, group: str) -> str | None:
        """Select a group; the text of the 211 reply, None if there is no such group."""
        if not self._site.carries(group):
            return None
        low, high = self._spool.marks(group)
        count = self._spool.count(group)
        self.group = group
        self._current = low if count else 0
        return f"{count} {low} {high} {group}"

    def _select(self, command: Command) -> Response:
        if len(command.args) != 1:
            return SYNTAX
        text = self._enter(command.args[0])
        return Response(211, text) if text else NO_SUCH_GROUP

    def _listgroup(self, command: Command) -> Response:
        if not command.args and self.group is None:
            return NO_GROUP
        text = self._enter(command.args[0] if command.args else self.group or "")
        if not text:
            return NO_SUCH_GROUP
        span = _range(command.args[1]) if len(command.args) > 1 else (0, None)
        if span is None:
            return SYNTAX
        return listing(211, text, (str(n) for n, _ in self._spool.numbered(self.group or "", *span)))

    def _step(self, command: Command) -> Response:
        if self.group is None:
            return NO_GROUP
        if not self._current:
            return NO_CURRENT
        if command.verb == "NEXT":
            ahead = self._spool.numbered(self.group, self._current + 1, None)[:1]
        else:
            ahead = self._spool.numbered(self.group, 0, self._current - 1)[-1:]
        if not ahead:
            return (
                Response(421, "No next article")
                if command.verb == "NEXT"
                else Response(422, "No previous article")
            )
        self._current, message_id = ahead[0]
        return Response(223, f"{self._current} {message_id}")

    # -- overview ------------------------------------------------------------------------

    def _chosen(self, wanted: str | None) -> list[tuple[int, Stored]] | Response:
        """The articles meant by a message-id, a range, or nothing."""
        span = None if wanted is None or wanted.startswith("<") else _range(wanted)
        if span is None:
            found = self._locate(wanted)
            return found if isinstance(found, Response) else [found]
        if self.group is None:
            return NO_GROUP
        numbered = (
            (n, self._spool.find(message_id)) for n, message_id in self._spool.numbered(self.group, *span)
        )
        return [(number, stored) for number, stored in numbered if stored] or NO_SUCH_NUMBER

    def _over(self, command: Command) -> Response:
        chosen = self._chosen(command.args[0] if command.args else None)
        if isinstance(chosen, Response):
            return chosen
        return listing(
            224, "Overview follows", (f"{number}\t{stored.overview.line()}" for number, stored in chosen)
        )

    def _hdr(self, command: Command) -> Response:
        if not command.args:
            return SYNTAX
        fields = {name.strip(":").lower(): index for index, name in enumerate(OVERVIEW_FIELDS)}
        index = fields.get(command.args[0].strip(":").lower())
        if index is None:
            return Response(503, "No such header in the overview")
        chosen = self._chosen(command.args[1] if len(command.args) > 1 else None)
        if isinstance(chosen, Response):
            return chosen
        lines = (f"{number} {stored.overview.line().split(chr(9))[index]}" for number, stored in chosen)
        return listing(225 if command.verb == "HDR" else 221, "Headers follow", lines)

    # -- lists ---------------------------------------------------------------------------

    def _list(self, command: Command) -> Response:
        keyword = command.args[0].upper() if command.args else "ACTIVE"
        pattern = command.args[1] if len(command.args) > 1 else "*"
        if keyword == "ACTIVE":
            return listing(215, "Newsgroups follow", self._active(pattern))
        if keyword == "NEWSGROUPS":
            groups = (group for group in self._spool.groups() if fnmatchcase(group, pattern))
            return listing(215, "Descriptions follow", (f"{group}\tKept on this machine" for group in groups))
        if keyword == "OVERVIEW.FMT":
            return listing(215, "Order of fields follows", OVERVIEW_FIELDS)
        if keyword == "HEADERS":
            return listing(
                215, "Fields follow", (name if name[0] == ":" else name[:-1] for name in OVERVIEW_FIELDS)
            )
        return Response(501, "Unknown LIST keyword")

    def _active(self, pattern: str) -> Iterable[str]:
        for group, (low, high) in self._spool.groups().items():
            if fnmatchcase(group, pattern):
                yield f"{group} {high} {low} y"


def _range(text: str) -> tuple[int, int | None] | None:
    """``n``, ``n-`` or ``n-m`` as (first, last or None for no end); None for anything else."""
    first, dash, last = text.partition("-")
    if not (text.isascii() and first.isdigit() and (not last or last.isdigit())):
        return None
    if not dash:
        return int(first), int(first)
    return int(first), int(last) if last else None
