"""One TCP connection, plain or TLS: bounded waits, whole articles out, nothing of NNTP.

Used by one thread at a time; only ``abort`` may come from another.
"""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import ConnectFailed, ConnectionLost
from usenetsyncd.model import ServerAccount
from usenetsyncd.news.tls import is_loopback, secure

Buffer = bytes | bytearray | memoryview

PROGRESS_BYTES: Final = 16_384
"""Less than this within one time-out counts as standing still: a peer must not hold us with a byte now and then."""

DIAL_S: Final = 15.0
"""Longest wait for one TCP connection: a stop cannot interrupt it."""

_QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_FAREWELL_S: Final = 0.25
_FAREWELL_READS: Final = 4
_RECORD_BYTES: Final = 16_384  # plaintext of one TLS record
_MORE: Final[int] = getattr(
    socket, "MSG_MORE", 0
)  # Linux: the terminator rides in the same packet as the body's end


class Transport:
    """A connected socket. Every OSError comes out as ConnectionLost."""

    def __init__(self, sock: socket.socket, account: ServerAccount, clock: Clock = SYSTEM_CLOCK) -> None:
        self._sock = sock
        self._account = account
        self._clock = clock
        self._tls: ssl.SSLSocket | None = None
        self._timeout_s = account.timeout_s
        # Without TLS we wait ourselves: a socket with a time-out asks the kernel before every call whether it may.
        sock.setblocking(False)
        self._readable = _Readiness(sock, writing=False)
        self._writable = _Readiness(sock, writing=True)
        self._closing = threading.Lock()
        self._closed = False
        self.bytes_up = 0
        self.bytes_down = 0

    @property
    def is_private(self) -> bool:
        """Whether a password may go over it: TLS, or a peer on this very machine."""
        return self._tls is not None or is_loopback(str(self._sock.getpeername()[0]))

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS socket, to ask for version and certificate."""
        return self._tls

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands and verify. Raises TlsFailed, or ConnectionLost."""
        self._sock.settimeout(self._timeout_s)
        try:
            self._sock = self._tls = secure(self._sock, context, self._account)
        except OSError as error:
            raise ConnectionLost(f"{self._account.name}: {_why(error)} during the TLS handshake") from error
        self._readable = _Readiness(self._sock, writing=False)

    def acknowledge_at_once(self) -> None:
        """Have what came, and comes next, acknowledged now. Many short answers in a row come from servers that send one
        only when the one before was acknowledged (Nagle), which a system puts off by 40 ms: INN answers 15 times as many
        STATs a second like this. To be said before each receive; does nothing but on Linux."""
        if _QUICK_ACK is not None:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def receive_into(self, room: memoryview) -> int:
        """Read what there is, at least one byte; returns the count. Raises ConnectionLost at the end of the stream."""
        try:
            if self._tls is None:
                self._readable.wait(self._timeout_s)
            count = self._sock.recv_into(room)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"{self._account.name}: {_why(error)}") from error
        if not count:
            raise ConnectionLost(f"{self._account.name}: the server closed the connection")
        self.bytes_down += count
        return count

    def send(self, line: Buffer) -> None:
        """Send commands. Raises ConnectionLost."""
        self._send_parts((line,))

    def send_article(self, parts: Sequence[Buffer]) -> None:
        """Send an article whole, without joining its parts; the last part is the terminator.

        Raises ConnectionLost; then the terminator has not gone out whole, so the server cannot have the article.
        """
        *text, terminator = parts
        self._send_parts(text, _MORE)
        if self.has_unexpected():
            raise ConnectionLost(
                f"{self._account.name}: the server spoke before the article had been sent whole"
            )
        self._send_parts((terminator,))

    def has_unexpected(self) -> bool:
        """Whether the server has said something, or hung up, while it was not asked. Does not wait."""
        try:
            if self._tls is not None and self._tls.pending():
                return True
            if self._tls is None:
                return self._readable.now()
            return self._readable.now() and self._tls_has_text(self._tls)
        except (OSError, ValueError):
            return True

    def abort(self) -> None:
        """End it now, whatever its thread is doing with it. The one method for other threads."""
        with self._closing:
            if not self._closed:
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown: that one takes TLS off while the owner may still be writing.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Tell the server that nothing more comes, wait shortly for it to see that, and close.

        A place that is given to a new connection before the server has noticed counts twice over there.
        """
        with contextlib.suppress(OSError, ValueError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            self._sock.settimeout(_FAREWELL_S)
            for _ in range(_FAREWELL_READS):
                if not socket.socket.recv(self._sock, 65_536):
                    break
        self.close()

    def close(self) -> None:
        """Close the socket. Harmless when it is closed already."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(OSError):
                self._sock.close()

    def limit_wait(self, timeout_s: float) -> None:
        """Wait no longer than this for one read or write."""
        self._timeout_s = timeout_s
        if self._tls is not None:
            with contextlib.suppress(OSError):
                self._tls.settimeout(timeout_s)

    def _tls_has_text(self, secured: ssl.SSLSocket) -> bool:
        # Readable may mean no more than a TLS 1.3 session ticket.
        secured.settimeout(0)
        try:
            secured.recv(1)
        except ssl.SSLWantReadError:
            return False
        finally:
            secured.settimeout(self._timeout_s)
        return True

    def _send_parts(self, parts: Sequence[Buffer], flags: int = 0) -> None:
        left = [memoryview(part).cast("B") for part in parts if len(part)]
        try:
            if self._tls is None:
                self._send_plain(left, flags)
            else:
                self._send_tls(self._tls, left)
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"{self._account.name}: {_why(error)} while sending") from error

    def _send_plain(self, left: list[memoryview], flags: int) -> None:
        since, moved = 0.0, 0
        while left:
            try:
                sent = self._sock.sendmsg(left, (), flags)
            except BlockingIOError:
                self._writable.wait(self._timeout_s)
                continue
            self.bytes_up += sent
            moved += sent
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if left:
                left[0] = left[0][sent:]
                since, moved = self._check_progress(since, moved)

    def _send_tls(self, secured: ssl.SSLSocket, left: list[memoryview]) -> None:
        # One send is one record, and must end within the time-out: that is progress enough.
        for piece in _records(left):
            done, size = 0, len(piece)
            while done < size:
                done += secured.send(piece[done:] if done else piece)
            self.bytes_up += size

    def _check_progress(self, since: float, moved: int) -> tuple[float, int]:
        now = self._clock.monotonic()
        if not since or moved >= PROGRESS_BYTES:
            return now, 0
        if now - since > self._account.timeout_s:
            raise TimeoutError
        return since, moved


def dial(account: ServerAccount, clock: Clock = SYSTEM_CLOCK) -> Transport:
    """Connect by TCP. Raises ConnectFailed with the reason."""
    try:
        sock = socket.create_connection(
            (account.host.strip("[]"), account.port), min(account.timeout_s, DIAL_S)
        )
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConnectFailed(
            f"{account.name}: no connection to {account.host}:{account.port}: {_why(error)}"
        ) from error
    sock.settimeout(account.timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Transport(sock, account, clock)


def _records(parts: list[memoryview]) -> Iterator[memoryview]:
    """The parts as writes for TLS. Short pieces are joined until they fill a record, so that none is nearly empty; the
    long middle is never copied."""
    carried = b""
    for part in parts:
        taken = min(-len(carried) % _RECORD_BYTES, len(part))
        carried += part[:taken]
        if len(carried) == _RECORD_BYTES:
            yield memoryview(carried)
            carried = b""
        whole = taken + (len(part) - taken) // _RECORD_BYTES * _RECORD_BYTES
        if whole > taken:
            yield part[taken:whole]
        carried += part[whole:]
    if carried:
        yield memoryview(carried)


class _Readiness:
    """Whether a socket can be read from, or written to."""

    __slots__ = ("_poll", "_sock", "_writing")

    def __init__(self, sock: socket.socket, writing: bool) -> None:
        self._sock = sock
        self._writing = writing
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock, select.POLLOUT if writing else select.POLLIN)

    def now(self) -> bool:
        """At once."""
        return self._within(0.0)

    def wait(self, timeout_s: float) -> None:
        """As soon as it is so. Raises TimeoutError, ValueError for a closed socket."""
        if not self._within(timeout_s):
            raise TimeoutError

    def _within(self, timeout_s: float) -> bool:
        if self._sock.fileno() < 0:
            raise ValueError("the socket is closed")  # its number may be another's by now
        if self._poll is not None:
            return bool(self._poll.poll(timeout_s * 1000))
        one = [self._sock]
        return any(select.select([] if self._writing else one, one if self._writing else [], [], timeout_s))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return "the connection was cut"
    text = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
    return str(text) or type(error).__name__
