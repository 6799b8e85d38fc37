"""The client's end of the control channel: plain HTTP on a Unix socket, without an import that costs.

http.client alone, with email and ssl behind it, costs as much as the whole of ``usyncctl status`` (32 of 60 ms):
hence the 1.0 dialect, in which an answer ends where the connection ends.
"""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from usenetsyncd.errors import DaemonUnreachable, ExitCode, NotPermitted, UsenetSyncError

PREFIX = "/api/v1"
CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 120.0
MAX_LINE_BYTES = 16 * 1024 * 1024
_OK, _MULTIPLE = 200, 300

Document = dict[str, Any]


class Refused(UsenetSyncError):
    """The daemon answered that it will not, or cannot. ``problem`` is its whole answer."""

    def __init__(self, problem: Document) -> None:
        super().__init__(str(problem.get("message", "the daemon refused without saying why")))
        self.problem = problem
        try:
            self.exit_code = ExitCode(problem.get("exit_code", ExitCode.FAILED))
        except ValueError:
            self.exit_code = ExitCode.FAILED

    @property
    def code(self) -> str:
        """The daemon's own code for it."""
        return str(self.problem.get("error", "failed"))

    @property
    def action(self) -> str:
        """The command that deals with it, or nothing."""
        return str(self.problem.get("action", ""))


class Client:
    """Asks one daemon. Connects anew for each request."""

    def __init__(self, candidates: Sequence[str]) -> None:
        """candidates: sockets, the first that answers is used."""
        self._candidates = candidates

    def get(self, *path: str, **query: object) -> Document:
        """A document. path: parts, quoted here. Raises Refused, DaemonUnreachable, NotPermitted."""
        return self.ask("GET", path, None, query)

    def post(self, *path: str, body: Document | None = None) -> Document:
        """Ask for something to be done."""
        return self.ask("POST", path, {} if body is None else body, {})

    def ask(
        self,
        method: str,
        path: Sequence[str],
        body: Document | None = None,
        query: Document | None = None,
        within_s: float = ANSWER_WITHIN_S,
    ) -> Document:
        """One request, one document. Secrets go into the body only."""
        with _told(), self._send(method, path, body, query or {}, within_s) as answer:
            status, content = _read_head(answer), answer.read()
        try:
            document = json.loads(content)
        except ValueError:
            raise DaemonUnreachable("the daemon's answer was cut off; is it stopping?") from None
        if not _OK <= status < _MULTIPLE:
            raise Refused(document)
        return dict(document)

    def text(self, *path: str) -> str:
        """An answer that is not JSON. Raises as get."""
        with _told(), self._send("GET", path, None, {}, ANSWER_WITHIN_S) as answer:
            status, content = _read_head(answer), answer.read()
            if not _OK <= status < _MULTIPLE:
                raise Refused(json.loads(content))
            return content.decode("utf-8", "replace")

    def stream(
        self, method: str, path: Sequence[str], body: Document | None = None, **query: object
    ) -> Iterator[Document]:
        """Documents as they come, without a time-out between two of them. Raises Refused at the first at the latest."""
        with _told(), self._send(method, path, body, query, None) as answer:
            if not _OK <= _read_head(answer) < _MULTIPLE:
                raise Refused(json.loads(answer.read()))
            while line := answer.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise ConnectionError("a line was cut off")
                document = json.loads(line)
                if document.get("type") == "error":
                    raise Refused(document)
                yield document

    def _send(
        self,
        method: str,
        path: Sequence[str],
        body: Document | None,
        query: Document,
        within_s: float | None,
    ) -> BinaryIO:
        wanted = {name: value for name, value in query.items() if value is not None}
        target = PREFIX + "".join(f"/{quote(part, safe='')}" for part in path)
        if wanted:
            target += "?" + urlencode(wanted)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.0\r\nHost: usenetsyncd\r\nContent-Length: {len(content)}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        with self._connect() as connection:
            connection.settimeout(within_s)
            # a refusal may come, and the other end close, before all of the body is taken
            with suppress(BrokenPipeError):
                connection.sendall(head.encode() + content)
            return connection.makefile("rb")

    def _connect(self) -> socket.socket:
        denied = None
        for path in self._candidates:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(CONNECT_WITHIN_S)
            try:
                connection.connect(path)
            except OSError as error:
                connection.close()
                if isinstance(error, PermissionError):
                    denied = path
                continue
            return connection
        if denied is not None:
            raise NotPermitted(
                f"you may not use {denied}; only root, the daemon's own user and members of control.group may"
            )
        tried = " and ".join(self._candidates)
        raise DaemonUnreachable(
            f"usenetsyncd isn't running (tried {tried}). Start: sudo systemctl start usenetsyncd"
        )


def _read_head(answer: BinaryIO) -> int:
    """Read up to the empty line; returns the status."""
    first = answer.readline(MAX_LINE_BYTES).split()
    while answer.readline(MAX_LINE_BYTES).strip():
        pass
    if len(first) < 2 or not first[0].startswith(b"HTTP/") or not first[1].isdigit():
        raise ConnectionError("no HTTP answer")
    return int(first[1])


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong on the way, as one of our errors."""
    try:
        yield
    except TimeoutError:
        raise DaemonUnreachable("the daemon does not answer in time; see: usyncctl health") from None
    except (OSError, ValueError) as error:
        raise DaemonUnreachable(f"the connection to the daemon was lost ({error})") from error
