"""The dashboard of the running daemon: its listener as the settings say, logins, and traffic over time."""

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

import structlog

from usenetsyncd.clock import Clock
from usenetsyncd.control.operations import Operations
from usenetsyncd.errors import ConfigurationError, NotFound
from usenetsyncd.settings.references import SecretRef, resolve
from usenetsyncd.settings.schema import Settings, Web
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.vault.vault import Vault

if TYPE_CHECKING:
    from usenetsyncd.control.web.listener import WebListener
    from usenetsyncd.control.web.logins import Logins

log = structlog.get_logger("web")

HOUR_SPAN_S, HOUR_SPANS = 10.0, 360
DAY_SPAN_S, DAY_SPANS = 300.0, 288


class TrafficHistory:
    """Means of bytes per second up and down: of ten seconds for an hour, of five minutes for a day. In memory."""

    def __init__(self, up: RateWindow, down: RateWindow, clock: Clock) -> None:
        self._up, self._down, self._clock = up, down, clock
        self._last = (clock.monotonic(), up.total, down.total)
        self._part: list[tuple[float, float]] = []
        self.hour: deque[tuple[float, float]] = deque(maxlen=HOUR_SPANS)
        self.day: deque[tuple[float, float]] = deque(maxlen=DAY_SPANS)

    def sample(self) -> None:
        """Every ten seconds."""
        then_s, up, down = self._last
        self._last = now_s, up_now, down_now = self._clock.monotonic(), self._up.total, self._down.total
        span_s = max(now_s - then_s, 0.001)
        point = (up_now - up) / span_s, (down_now - down) / span_s
        self.hour.append(point)
        self._part.append(point)
        if len(self._part) * HOUR_SPAN_S >= DAY_SPAN_S:
            size = len(self._part)
            self.day.append((sum(u for u, _ in self._part) / size, sum(d for _, d in self._part) / size))
            self._part = []


class Dashboard:
    """start() and apply() make, replace or end the listener. A dashboard that cannot listen is a warning, no more:
    the daemon goes on. Nothing of the web is imported while ``web.listen`` is null."""

    def __init__(self, vault: Vault, up: RateWindow, down: RateWindow, clock: Clock) -> None:
        self.traffic = TrafficHistory(up, down, clock)
        self._problem = ""
        self._clock, self._vault = clock, vault
        self._lock = threading.Lock()
        self._operations: Operations | None = None
        self._web: Web | None = None
        self._logins: Logins | None = None
        self._listener: WebListener | None = None
        self._ending: list[WebListener] = []

    @property
    def problem(self) -> str:
        """Why there is no dashboard though one is wanted; empty when all is as it should be."""
        listener = self._listener
        if listener is not None and not listener.alive():
            return "its thread has ended; usyncctl config reload begins another"
        return self._problem

    def start(self, operations: Operations, settings: Settings) -> None:
        """Serve these operations from now on."""
        self._operations = operations
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Put the ``web`` section into force. A request of the dashboard itself may be what asks for it."""
        with self._lock:
            before, self._web = self._web, settings.web
            if self._logins is not None and before is not None and before.password != self._web.password:
                self._logins.end_all()
            wanted = settings.web.listen
            alive = self._listener is not None and self._listener.alive()
            same = before is not None and before.listen == wanted and alive
            if self._operations is None or same:
                return
            self._end_listener()
            self._problem = ""
            if wanted is None:
                return
            try:
                self._listener = self._begin_listener(wanted, self._operations)
            except ConfigurationError as error:
                self._problem = str(error)
                log.error("web_not_listening", reason=str(error))

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        with self._lock:
            self._operations = None
            self._end_listener()
            ending, self._ending = self._ending, []
        for listener in ending:
            listener.join()

    def credential_changed(self, name: str) -> None:
        """Another password ends every session, as everybody expects of it."""
        with self._lock:
            ref = None if self._web is None else self._web.password
            if ref is not None and name in ref.credentials and self._logins is not None:
                self._logins.end_all()

    def login_link(self) -> str | None:
        """A link that logs one browser in, once; None while there is no dashboard."""
        with self._lock:
            if self._listener is None or self._logins is None:
                return None
            return f"http://{_reachable(self._listener.rules.host)}:{self._listener.port}/login#{self._logins.new_link()}"

    def _begin_listener(self, listen: str, operations: Operations) -> "WebListener":
        # templates, WebSockets and a second application: for those who want a dashboard
        from usenetsyncd.control.web.access import Rules, is_loopback
        from usenetsyncd.control.web.listener import WebListener
        from usenetsyncd.control.web.logins import Logins

        if self._logins is None:
            self._logins = Logins(self._clock)
        host, _, port = listen.rpartition(":")
        rules = Rules(
            host=host,
            port=int(port),
            hosts=lambda: () if self._web is None else self._web.hosts,
            password=lambda: self._secret("password"),
            metrics=lambda: self._web is not None and self._web.metrics,
            metrics_token=lambda: self._secret("metrics_token"),
        )
        if not is_loopback(host) and not rules.password():
            raise ConfigurationError(
                "web.listen: not on an address that others can reach without web.password"
            )
        listener = WebListener(operations, self._logins, rules)
        listener.start()
        return listener

    def _end_listener(self) -> None:
        if self._listener is not None:
            self._listener.tell_to_stop()
            self._ending.append(self._listener)
            self._listener = None
        still = [listener for listener in self._ending if listener.alive()]
        for listener in self._ending:
            if listener not in still:
                listener.join()
        self._ending = still

    def _secret(self, name: str) -> str | None:
        """None where none is set. One that is set and missing opens nothing: empty."""
        ref: SecretRef | None = getattr(self._web, name, None)
        if ref is None:
            return None
        try:
            found = resolve(ref, self._vault.credentials.get, os.environ, f"web.{name}")
        except (ConfigurationError, NotFound) as error:
            log.warning("web_secret_missing", key=f"web.{name}", reason=str(error))
            return ""
        register_secret(found)
        return found


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
