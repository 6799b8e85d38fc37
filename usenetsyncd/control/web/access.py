"""The door of the dashboard's listener: which host was asked for, from where, and by whom.

A page of another site can neither read (host name, cookie) nor do anything here (Origin, SameSite=Strict): the host
name is compared so that a name that someone points at this machine (DNS rebinding) is of no use.
"""

import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usenetsyncd.control.problems import refused
from usenetsyncd.control.web.logins import Logins
from usenetsyncd.errors import ExitCode

log = structlog.get_logger("web")

SAFE = frozenset({"GET", "HEAD"})
RENEWING = "x-renew"
OPEN_PATHS = ("/login", "/static/")
API, METRICS, LOGIN = "/api/", "/metrics", "/login"

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not no-referrer: with that a browser says "null" for the origin of a form
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Rules:
    """What the configuration says. Everything is asked anew for each request, so a reload changes it at once.

    host, port: where it listens. hosts: further names it may be called by. password, metrics_token: look the secret
    up, None when none is set. metrics: whether /metrics is served.
    """

    host: str
    port: int
    hosts: Callable[[], Collection[str]]
    password: Callable[[], str | None]
    metrics: Callable[[], bool]
    metrics_token: Callable[[], str | None]

    @property
    def cookie(self) -> str:
        """Its name: cookies know no ports, and there may be several daemons on a machine."""
        return f"usenetsyncd_{self.port}"

    def names(self, host: str) -> bool:
        """Whether the listener may be called so: by this machine's own names, an address, or a name that is set."""
        bare = host.removeprefix("[").removesuffix("]").removesuffix(".").lower()
        if bare in {name.lower() for name in self.hosts()} or bare in ("localhost", self.host.strip("[]")):
            return True
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            return not is_loopback(self.host) and bare in (socket.gethostname().lower(), _full_name())
        return address.is_loopback or not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    bare = host.removeprefix("[").removesuffix("]").lower()
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"


def _full_name() -> str:
    name = socket.gethostname().lower()
    return f"{name}.local"


class Door:
    """Every request of the listener passes here first."""

    def __init__(self, app: ASGIApp, logins: Logins, rules: Rules) -> None:
        self._app = app
        self._logins = logins
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        shielded = _with_headers(send, scope["path"])
        await (self._app if refusal is None else refusal)(scope, receive, shielded)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is answered instead, or None to go on."""
        headers, path = Headers(scope=scope), scope["path"]
        host = _only(headers, "host")
        if host is None or not self._rules.names(_host_of(host)):
            log.warning("web_host_refused", host=host)
            return PlainTextResponse("This dashboard is not called so; add the name to web.hosts.\n", 421)
        safe = scope["type"] == "http" and scope["method"] in SAFE
        if not _same_origin(headers, host, needed=not safe):
            log.warning("web_origin_refused", origin=headers.get("origin"), path=path)
            return _forbidden("a request from another site is not taken")
        if path == METRICS:
            return self._metrics_refusal(scope, headers)
        # a page that only renews itself is not somebody at work
        cookie, used = cookie_of(headers, self._rules.cookie), RENEWING not in headers
        scope["usenetsyncd.session"] = session = self._logins.session(cookie, used)
        if session is not None or any(path == door or path.startswith(door) for door in OPEN_PATHS):
            return None
        if path.startswith(API) or scope["type"] == "websocket":
            return refused(401, "not_permitted", "log in first: usyncctl web", ExitCode.NOT_PERMITTED)
        return RedirectResponse(LOGIN, 303)

    def _metrics_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._rules.metrics():
            return PlainTextResponse("Metrics are off (web.metrics).\n", 404)
        token = self._rules.metrics_token()
        word, _, given = headers.get("authorization", "").partition(" ")
        right = token and word.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode())
        if right or self._logins.session(cookie_of(headers, self._rules.cookie)) is not None:
            return None
        if token is None and is_loopback(self._rules.host) and _is_direct(scope, headers):
            return None
        answer = {"www-authenticate": 'Bearer realm="usenetsyncd"'}
        return PlainTextResponse(
            "Set web.metrics_token and send it as a bearer token.\n", 401, headers=answer
        )


def cookie_of(headers: Headers, name: str) -> str | None:
    """The value of one cookie."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else found.value


def _only(headers: Headers, name: str) -> str | None:
    found = headers.getlist(name)
    return found[0] if len(found) == 1 else None


def _host_of(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str, needed: bool) -> bool:
    """needed: a browser sends Origin with everything that may change something; who sends none is no browser."""
    origin = headers.get("origin")
    if origin is not None:
        return _netloc(origin) == host.lower()
    site = headers.get("sec-fetch-site", "none" if not needed else "")
    return site in ("same-origin", "none") or (not needed and headers.get("sec-fetch-mode") == "navigate")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_direct(scope: Scope, headers: Headers) -> bool:
    # what a proxy passes on comes from loopback too, but says that it was passed on
    forwarded = any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    peer = scope.get("client")
    return not forwarded and peer is not None and is_loopback(peer[0])


def _forbidden(message: str) -> Response:
    return refused(403, "not_permitted", message, ExitCode.NOT_PERMITTED)


def _with_headers(send: Send, path: str) -> Send:
    async def shielded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
        await send(message)

    return shielded
