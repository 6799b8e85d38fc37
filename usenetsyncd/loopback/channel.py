"""One client's connection as bytes: what it sends, what is sent to it, and the faults of the line itself."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence

from usenetsyncd.wire.nntp import CommandReader

Bytes = bytes | memoryview

FLUSH_BYTES = 1_048_576
MAX_PIECES = 64  # well under any system's limit for sendmsg
LINGER_S = 0.5
TLS_HANDSHAKE_RECORD = b"\x16"


class Channel:
    """Belongs to one session's thread; only ``abort`` may be called from another one."""

    def __init__(self, sock: socket.socket, stopping: threading.Event, idle_timeout_s: float | None) -> None:
        self.reader = CommandReader()
        self.bytes_per_s: float | None = None
        self._socket = sock
        self._stopping = stopping
        self._pieces: list[Bytes] = []
        self._waiting_bytes = 0
        sock.settimeout(idle_timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return isinstance(self._socket, ssl.SSLSocket)

    def begins_with_tls(self, patience_s: float) -> bool:
        """Whether the client speaks first, within ``patience_s``, and with a TLS handshake."""
        before = self._socket.gettimeout()
        self._socket.settimeout(patience_s)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE_RECORD
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(before)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Hand over to TLS. Raises OSError (ssl.SSLError among them) if the handshake fails."""
        # First changed over, then shaken hands, so that abort reaches a handshake that hangs.
        self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket.do_handshake()

    def receive(self) -> bool:
        """Send what is waiting, then take in what comes. False at the end of the connection."""
        self.flush()
        count = self._socket.recv_into(self.reader.room())
        self.reader.filled(count)
        return count > 0

    def put(self, pieces: Sequence[Bytes]) -> None:
        """Queue bytes; they leave before the next ``receive``, or when many have gathered."""
        self._pieces += pieces
        self._waiting_bytes += sum(len(piece) for piece in pieces)
        if self._waiting_bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send everything that is waiting."""
        pieces, self._pieces, self._waiting_bytes = self._pieces, [], 0
        if not pieces:
            return
        if self.bytes_per_s is not None:
            self._send_slowly(b"".join(pieces), self.bytes_per_s)
        elif self.encrypted:
            self._socket.sendall(b"".join(pieces))
        else:
            self._send_pieces(pieces)

    def _send_pieces(self, pieces: list[Bytes]) -> None:
        at = 0
        while at < len(pieces):
            sent = self._socket.sendmsg(pieces[at : at + MAX_PIECES])
            while at < len(pieces) and sent >= len(pieces[at]):
                sent -= len(pieces[at])
                at += 1
            if sent:
                pieces[at] = memoryview(pieces[at])[sent:]

    def _send_slowly(self, content: bytes, bytes_per_s: float) -> None:
        step = max(1, int(bytes_per_s / 20))
        for at in range(0, len(content), step):
            self._socket.sendall(content[at : at + step])
            if self._stopping.wait(step / bytes_per_s):
                return

    def pause(self, seconds: float) -> bool:
        """Send what is waiting and do nothing for a while. False as soon as the server stops."""
        self.flush()
        return not self._stopping.wait(seconds)

    def close(self) -> None:
        """Send what is waiting and end the connection so that the client can still read all of it."""
        with contextlib.suppress(OSError, ValueError):
            self.flush()
            self._end_politely()
        self._socket.close()

    def _end_politely(self) -> None:
        # Closing with bytes unread would reset the connection and could take the last reply away again.
        self._socket.settimeout(LINGER_S)
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.unwrap()
            return
        self._socket.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_S
        while time.monotonic() < deadline and not self._stopping.is_set() and self._socket.recv(65_536):
            pass

    def abort(self) -> None:
        """End the connection at once; whoever waits in it wakes up. From any thread."""
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which takes the TLS object away under the session's hands.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
