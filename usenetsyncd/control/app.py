"""The API as an application: routes under /api/v1, errors as documents, bounded requests, known peers.

The same application serves the Unix socket, and later the dashboard's listener.
"""

import threading

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usenetsyncd import __version__
from usenetsyncd.control.operations import Operations
from usenetsyncd.control.peer import Peer, Permitted
from usenetsyncd.control.problems import problem_response, refused, refused_request, unexpected_response
from usenetsyncd.control.routes_daemon import daemon_routes
from usenetsyncd.control.routes_folders import folder_routes
from usenetsyncd.control.routes_following import following_routes
from usenetsyncd.control.routes_people import people_routes
from usenetsyncd.control.routes_setup import setup_routes
from usenetsyncd.control.routes_upkeep import upkeep_routes
from usenetsyncd.control.routes_web import web_routes
from usenetsyncd.control.routes_work import work_routes
from usenetsyncd.errors import ExitCode, LimitExceeded, UsenetSyncError

log = structlog.get_logger("control")

PREFIX = "/api/v1"
MAX_BODY_BYTES = 4 * 1024 * 1024


def make_app(operations: Operations, stop: threading.Event, allowed: Permitted | None = None) -> ASGIApp:
    """The API of one daemon.

    stop: ends every stream. allowed: who may use it; None when the listener decides that by other means.
    """
    api = FastAPI(
        title="UsenetSync",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    for routes in (
        daemon_routes(operations, stop),
        folder_routes(operations),
        following_routes(operations),
        work_routes(operations, stop),
        setup_routes(operations),
        people_routes(operations),
        upkeep_routes(operations),
        web_routes(operations),
    ):
        api.include_router(routes, prefix=PREFIX)
    _answer_errors(api)
    bounded = _Bounded(api)
    return bounded if allowed is None else _Guarded(bounded, allowed)


def _answer_errors(api: FastAPI) -> None:
    @api.exception_handler(UsenetSyncError)
    async def expected(request: Request, error: UsenetSyncError) -> JSONResponse:
        log.info("request_refused", method=request.method, path=request.url.path, code=error.code)
        return problem_response(error)

    @api.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> JSONResponse:
        return refused_request(error.errors())

    @api.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> JSONResponse:
        # it is raised again after this answer, and logged by _Bounded
        return unexpected_response()

    @api.exception_handler(HTTPException)
    async def not_served(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return refused(404, "not_found", "there is no such resource", ExitCode.NOT_FOUND)
        return refused(error.status_code, "usage_error", str(error.detail), ExitCode.USAGE)


class _Guarded:
    """Lets nobody in but those that the configuration permits."""

    def __init__(self, app: ASGIApp, allowed: Permitted) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("usenetsyncd.peer")
        if isinstance(peer, Peer) and self._allowed.allows(peer):
            await self._app(scope, receive, send)
            return
        uid = peer.uid if isinstance(peer, Peer) else None
        log.warning("peer_refused", uid=uid)
        message = f"user {uid} may not use this daemon; only root, the daemon's own user and members of control.group may"
        await refused(403, "not_permitted", message, ExitCode.NOT_PERMITTED)(scope, receive, send)


class _Bounded:
    """Cuts off a request body beyond 4 MiB, whatever its header promised, and answers what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise LimitExceeded(f"a request holds at most {MAX_BODY_BYTES} bytes")
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except Exception:
            log.exception("request_failed_unexpectedly", method=scope.get("method"), path=scope.get("path"))
            if not begun:
                await unexpected_response()(scope, receive, send)
