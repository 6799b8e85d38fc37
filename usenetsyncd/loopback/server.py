"""The embedded news server: a listener, and one thread for each connection."""

import ipaddress
import selectors
import socket
import ssl
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import ConfigurationError, NotFound, UsageError
from usenetsyncd.loopback.channel import Channel
from usenetsyncd.loopback.damage import damaged
from usenetsyncd.loopback.faults import Damage, FaultRules
from usenetsyncd.loopback.posting import another_article
from usenetsyncd.loopback.session import Session
from usenetsyncd.loopback.site import Counters, Site
from usenetsyncd.loopback.spool import Spool

log = structlog.get_logger("loopback")

MAX_ARTICLE_BYTES = 4_000_000
BACKLOG = 256


class LoopbackServer:
    """A news server on this machine alone, with its articles below ``spool``. Also a context manager.

    listen: host and port, port 0 for a free one; anything but a loopback address is refused (UsageError).
    users: name -> password; with any, nothing but login and small talk works before AUTHINFO.
    read_only: users who may not post.
    tls: certificate (with its chain) and key, PEM files. Then STARTTLS is offered, and a client that begins with
    TLS at once gets it on the same port; clients in clear wait half a second for their greeting, unless
    implicit_tls says what they do: True TLS at once and nothing else, False STARTTLS and nothing else.
    groups: shell patterns of the newsgroups that exist. max_connections: more are turned away with 502.
    faults: rules to begin with; ``faults`` may be changed at any time.
    """

    def __init__(
        self,
        spool: Path,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        users: Mapping[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        faults: FaultRules | None = None,
        max_connections: int = 500,
        *,
        implicit_tls: bool | None = None,
        read_only: Collection[str] = (),
        groups: Sequence[str] = ("alt.*",),
        max_article_bytes: int = MAX_ARTICLE_BYTES,
        idle_timeout_s: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._family, self._listen = _loopback_address(*listen)
        self._spool_directory = spool
        self._users = dict(users or {})
        self._read_only = frozenset(read_only)
        self._tls = None if tls is None else _tls_context(*tls)
        self._implicit_tls = implicit_tls
        self._groups = tuple(groups)
        self._max_article_bytes = max_article_bytes
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[threading.Thread, Channel] = {}
        self._site: Site | None = None
        self._waker: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.faults = faults or FaultRules()
        self.counters = Counters()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where it listens; while it does not yet, what it was told."""
        return self._listen

    @property
    def spool(self) -> Spool:
        """The articles, while the server runs."""
        return self._running().spool

    # -- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Read the spool and listen. A server that was stopped listens at its old port again.

        Raises ConfigurationError if the address is taken or the spool cannot be written.
        """
        if self._acceptor is not None:
            raise RuntimeError("the server runs already")
        listener = self._bind()
        try:
            spool = Spool(self._spool_directory, self._clock)
        except OSError as error:
            listener.close()
            raise ConfigurationError(f"the spool {self._spool_directory} cannot be used: {error}") from error
        self._listen = listener.getsockname()[:2]
        self._site = Site(
            spool=spool,
            faults=self.faults,
            clock=self._clock,
            users=self._users,
            read_only=self._read_only,
            groups=self._groups,
            max_article_bytes=self._max_article_bytes,
            max_connections=self._max_connections,
            tls=self._tls,
            implicit_tls=self._implicit_tls,
            counters=self.counters,
        )
        woken, self._waker = socket.socketpair()
        selector = selectors.DefaultSelector()
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._site, listener, woken, selector), name="nntp-listener"
        )
        self._acceptor.start()

    def _bind(self) -> socket.socket:
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._listen)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            host, port = self._listen
            raise ConfigurationError(f"cannot listen at {host} port {port}: {error.strerror}") from error
        return listener

    def stop(self) -> None:
        """Stop listening, end every connection, wait for all threads. Does nothing if it does not run."""
        site, waker, acceptor = self._site, self._waker, self._acceptor
        if site is None or waker is None or acceptor is None:
            return
        site.stopping.set()
        waker.close()
        acceptor.join()
        while sessions := self._open_sessions():
            self.drop_connections()
            # Again and again: a channel is deaf to it for a moment while its socket changes over to TLS.
            next(iter(sessions)).join(0.05)
        site.spool.close()
        self._site = self._waker = self._acceptor = None

    def drop_connections(self) -> None:
        """End every connection now, as a server does that crashes."""
        for channel in self._open_sessions().values():
            channel.abort()

    def _open_sessions(self) -> dict[threading.Thread, Channel]:
        with self._lock:
            return dict(self._sessions)

    def _accept(
        self, site: Site, listener: socket.socket, woken: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        with selector, listener, woken:
            while not site.stopping.is_set():
                selector.select()
                try:
                    accepted, _ = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue
                except OSError as error:
                    # No descriptor left, most likely: connections that end will bring some back.
                    log.warning("connection_not_accepted", reason=str(error))
                    site.stopping.wait(0.1)
                    continue
                self._serve(site, accepted)

    def _serve(self, site: Site, accepted: socket.socket) -> None:
        channel = Channel(accepted, site.stopping, self._idle_timeout_s)
        number = site.counters.connected()
        thread = threading.Thread(
            target=self._run_session, args=(Session(site, channel, number), site), name=f"nntp-{number}"
        )
        with self._lock:
            self._sessions[thread] = channel
        thread.start()

    def _run_session(self, session: Session, site: Site) -> None:
        try:
            session.run()
        finally:
            site.counters.disconnected()
            with self._lock:
                del self._sessions[threading.current_thread()]

    # -- articles ------------------------------------------------------------------------

    def message_ids(self) -> list[str]:
        """Every article that is here, oldest first."""
        return self.spool.message_ids()

    def article(self, message_id: str) -> bytes:
        """An article in wire form, without the final dot. Raises NotFound."""
        wire = self.spool.read(message_id)
        if wire is None:
            raise NotFound(f"no article {message_id} in the spool")
        return wire

    def remove(self, message_id: str) -> None:
        """Lose an article. Its id stays used, as with INN: posting it again gives 441. Raises NotFound."""
        if not self.spool.remove(message_id):
            raise NotFound(f"no article {message_id} in the spool")

    def corrupt(self, message_id: str, how: Damage | str = Damage.FLIP) -> None:
        """Spoil a stored article: ``flip`` a bit of its body, ``cut`` it, or ``wrong``: another body. Raises NotFound."""
        wire = self.article(message_id)
        self.spool.replace(
            message_id, damaged(wire, Damage(how), another_article(self._running(), message_id))
        )

    def _running(self) -> Site:
        if self._site is None:
            raise RuntimeError("the server does not run")
        return self._site


def _loopback_address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host!r} is not an address to listen at: {error}") from error
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            raise UsageError(
                f"the embedded news server listens on this machine only: {host} is no loopback address, "
                "use 127.0.0.1, ::1 or localhost"
            )
    family, *_, address = found[0]
    return family, (str(address[0]), port)


def _tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"certificate {certificate} and key {key} cannot be used: {error}"
        ) from error
    return context
