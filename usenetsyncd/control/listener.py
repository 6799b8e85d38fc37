"""The API on its Unix socket, served by one thread of the daemon."""

import asyncio
import os
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import structlog
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from usenetsyncd.control.app import make_app
from usenetsyncd.control.operations import Operations
from usenetsyncd.control.peer import Permitted, peer_of, permitted
from usenetsyncd.errors import AlreadyRunning, ConfigurationError

log = structlog.get_logger("control")

MAX_CONNECTIONS = 100
KEEP_ALIVE_S = 15
BACKLOG = 64
START_WITHIN_S = 30.0
PROBE_WITHIN_S = 2.0
PRIVATE, SHARED = 0o600, 0o660
# sun_path of Linux, less its final zero
MAX_SOCKET_PATH_BYTES = 107


class _PeerProtocol(H11Protocol):
    """Puts the kernel's word on the other end into the scope of every request of a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            peer = peer_of(cast("socket.socket", transport.get_extra_info("socket")))
        except OSError:
            transport.abort()
            return
        app = self.app

        async def with_peer(scope: Any, receive: Any, send: Any) -> None:
            scope["usenetsyncd.peer"] = peer
            await app(scope, receive, send)

        self.app = with_peer


class _Server(Server):
    """Waits to be told; uvicorn's own loop wakes ten times a second to look."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: asyncio.Event | None = None

    async def main_loop(self) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await self.on_tick(0)
        self.ready.set()
        if not self.should_exit:
            await self._told.wait()

    def tell_to_exit(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None and self._told is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._told.set)


class Listener:
    """Owner of the socket. start() returns when it can be connected to, stop() when its thread has ended."""

    def __init__(self, operations: Operations, path: Path, group: str | None = None) -> None:
        """group: its members may use the daemon, beside root and the daemon's own user."""
        self.path = path
        self._operations = operations
        self._group = group
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self._identity: tuple[int, int] | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """The caller holds the daemon's lock. Raises ConfigurationError, AlreadyRunning."""
        allowed = permitted(self._group)
        app = make_app(self._operations, self._stop, allowed)
        listening = _bind(self.path, allowed)
        made = os.lstat(self.path)
        self._identity = (made.st_dev, made.st_ino)
        self._server = _Server(_configuration(app))
        self._thread = threading.Thread(target=self._run, args=(self._server, listening), name="control")
        self._thread.start()
        while not self._server.ready.wait(0.05):
            if not self._thread.is_alive():
                self._remove()
                raise ConfigurationError(f"the control socket {self.path} cannot be served: {self._failure}")
        log.info("control_listening", path=str(self.path))

    def stop(self, deadline_s: float = 5.0) -> None:
        """Take no more requests, end streams, finish what is under way until the deadline, remove the socket."""
        self._stop.set()
        if self._server is None or self._thread is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(deadline_s))
        self._server.tell_to_exit()
        self._thread.join()
        self._remove()
        self._server = None

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._stop.is_set() or (self._thread is not None and self._thread.is_alive())

    def _run(self, server: _Server, listening: socket.socket) -> None:
        try:
            server.run(sockets=[listening])
        except BaseException as error:
            self._failure = error
            log.exception("control_failed")
        finally:
            listening.close()

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            found = os.lstat(self.path)
            # another daemon may have been given the same path since
            if (found.st_dev, found.st_ino) == self._identity:
                self.path.unlink()


def _configuration(app: Any) -> Config:
    return Config(
        app,
        http=_PeerProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
    )


def _bind(path: Path, allowed: Permitted) -> socket.socket:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise ConfigurationError(f"control.socket: {path} is longer than {MAX_SOCKET_PATH_BYTES} bytes")
    listening, bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), False
    try:
        path.parent.mkdir(mode=0o700 if allowed.gid is None else 0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        # Nobody may connect between bind and chmod.
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
            bound = True
        finally:
            os.umask(before)
        if allowed.gid is not None:
            os.chown(path, -1, allowed.gid)
        path.chmod(PRIVATE if allowed.gid is None else SHARED)
    except BaseException as error:
        listening.close()
        if bound:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise ConfigurationError(f"control.socket: {path} cannot be made: {reason}") from error
        raise
    return listening


def _remove_stale(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"control.socket: {path} is there and not a socket; it is left alone")
    # The lock file guards a data directory: a daemon with another one may have been given the same socket.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_WITHIN_S)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise AlreadyRunning(f"another daemon answers on {path}; give this one a control.socket of its own")
