"""The dashboard's own listener: one TCP address, one thread. Made only where a dashboard is wanted."""

import socket
import threading
from typing import Any

import structlog
from uvicorn import Config

from usenetsyncd.control.operations import Operations
from usenetsyncd.control.serving import LoopServer
from usenetsyncd.control.web.access import Rules
from usenetsyncd.control.web.app import make_dashboard
from usenetsyncd.control.web.logins import Logins
from usenetsyncd.errors import ConfigurationError

log = structlog.get_logger("web")

MAX_CONNECTIONS = 100
KEEP_ALIVE_S = 15
BACKLOG = 64
STOP_WITHIN_S = 2


class WebListener:
    """start() returns when it can be connected to; after tell_to_stop() the address is free at once."""

    def __init__(self, operations: Operations, logins: Logins, rules: Rules) -> None:
        self.rules = rules
        self._stop = threading.Event()
        self._listening = _bind(rules.host, rules.port)
        self.port: int = self._listening.getsockname()[1]
        app = make_dashboard(operations, self._stop, logins, rules)
        self._server = LoopServer(_configuration(app))
        self._thread = threading.Thread(target=self._run, name="web")

    def start(self) -> None:
        """Raises ConfigurationError."""
        self._thread.start()
        while not self._server.ready.wait(0.05):
            if not self._thread.is_alive():
                raise ConfigurationError(f"web.listen: {self.rules.host}:{self.rules.port} cannot be served")
        log.info("web_listening", address=f"{self.rules.host}:{self.port}")

    def tell_to_stop(self) -> None:
        """Take no more requests and end streams; what is under way has two seconds. From any thread, its own too."""
        self._stop.set()
        self._server.tell_to_exit()

    def join(self) -> None:
        """Wait until its thread has ended; not from a request that it serves."""
        self._thread.join()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listening])
        except Exception:
            log.exception("web_failed")
        finally:
            self._listening.close()


def _bind(host: str, port: int) -> socket.socket:
    bare = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"web.listen: {host}:{port}: {error.strerror or error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigurationError(f"web.listen: {host}:{port}: {error.strerror or error}") from None
    return listening


def _configuration(app: Any) -> Config:
    return Config(
        app,
        http="h11",
        ws="wsproto",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        backlog=BACKLOG,
        ws_max_size=1_024,
    )
