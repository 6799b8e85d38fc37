"""The dashboard as an application: pages for people, the same API for their scripts, metrics, one door before all."""

import threading
from pathlib import Path

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usenetsyncd.control.app import make_app
from usenetsyncd.control.operations import Operations
from usenetsyncd.control.problems import problem_of, refused, unexpected
from usenetsyncd.control.routes_web import METRICS_TYPE
from usenetsyncd.control.web.access import METRICS, Door, Rules, cookie_of
from usenetsyncd.control.web.base import Pages
from usenetsyncd.control.web.logins import LONGEST_S, Logins
from usenetsyncd.control.web.pages import DaemonPages
from usenetsyncd.control.web.pages_folders import FolderPages
from usenetsyncd.control.web.pages_people import PeoplePages
from usenetsyncd.control.web.progress import Progress, is_progress, serve
from usenetsyncd.control.web.render import Renderer
from usenetsyncd.control.web.visit import Visit, read_form
from usenetsyncd.errors import ExitCode, NotFound, UsenetSyncError

log = structlog.get_logger("web")

STATIC = Path(__file__).with_name("static")


def make_dashboard(operations: Operations, stop: threading.Event, logins: Logins, rules: Rules) -> ASGIApp:
    """Everything that the dashboard's listener answers. stop: ends every stream."""
    return Door(_Dashboard(operations, stop, logins, rules), logins, rules)


class _Dashboard:
    def __init__(self, operations: Operations, stop: threading.Event, logins: Logins, rules: Rules) -> None:
        self._operations, self._stop, self._logins, self._rules = operations, stop, logins, rules
        self._renderer = Renderer()
        self._api = make_app(operations, stop)
        self._progress = Progress(operations)
        self._frame = Pages(operations, self._renderer)
        groups = [kind(operations, self._renderer) for kind in (DaemonPages, FolderPages, PeoplePages)]
        self._pages = Router(
            routes=[
                Mount("/static", StaticFiles(directory=STATIC)),
                Route("/login", self._login_page, methods=["GET"]),
                Route("/login", self._login, methods=["POST"]),
                Route("/logout", self._logout, methods=["POST"]),
                Route(METRICS, self._metrics, methods=["GET"]),
                *(route for group in groups for route in group.routes()),
            ],
            redirect_slashes=False,
            default=self._nowhere,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_progress(scope):
            session = scope.get("usenetsyncd.session")

            def allowed() -> bool:
                return not self._stop.is_set() and self._logins.holds(session)

            await serve(self._progress, allowed, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["path"].startswith("/api/"):
            await self._api(scope, receive, send)
        else:
            await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._pages(scope, receive, watched)
        except HTTPException as error:
            await refused(error.status_code, "usage_error", str(error.detail), ExitCode.USAGE)(
                scope, receive, watched
            )
        except Exception as error:
            foreseen = isinstance(error, UsenetSyncError)
            if not foreseen:
                log.exception("page_failed_unexpectedly", path=scope["path"])
            if not begun:
                problem = problem_of(error) if isinstance(error, UsenetSyncError) else unexpected()
                visit = Visit(scope["path"], {}, {}, {}, scope.get("usenetsyncd.session"))
                answer = self._frame.page(visit, "problem.html", 400 if foreseen else 500, problem=problem)
                await answer(scope, receive, send)

    async def _nowhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = Visit(scope["path"], {}, {}, {}, scope.get("usenetsyncd.session"))
        answer = self._frame.failed(visit, NotFound("there is no such page"))
        await answer(scope, receive, send)

    async def _metrics(self, _: Request) -> Response:
        return Response(await run_in_threadpool(self._operations.metrics), media_type=METRICS_TYPE)

    # -- coming and going ----------------------------------------------------------------------

    async def _login_page(self, _: Request) -> Response:
        return await run_in_threadpool(self._ask_in, "", 200)

    def _ask_in(self, problem: str, status: int) -> Response:
        has_password = self._rules.password() is not None
        return self._renderer.page("login.html", status, problem=problem, has_password=has_password)

    async def _login(self, request: Request) -> Response:
        """By the word of a link, or by the password. The word is never part of a URL that a server sees."""
        try:
            form = await read_form(request)
        except UsenetSyncError as error:
            return await run_in_threadpool(self._ask_in, str(error), 400)
        return await run_in_threadpool(self._enter, form)

    def _enter(self, form: dict[str, list[str]]) -> Response:
        word, password = (form.get(name, [""])[0] for name in ("word", "password"))
        if password:
            cookie = self._logins.enter_by_password(password, self._rules.password)
            problem = "That is not the password."
            if cookie is None and (wait_s := self._logins.locked_s()):
                problem = f"Too many tries; the next one counts in {wait_s:.0f} s."
        else:
            cookie = self._logins.enter(word.strip())
            problem = "That link was used already, or is older than five minutes. Get another: usyncctl web"
        if cookie is None:
            return self._ask_in(problem, 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._rules.cookie, cookie, max_age=int(LONGEST_S), path="/", httponly=True, samesite="strict"
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        cookie = cookie_of(request.headers, self._rules.cookie)
        if cookie is not None:
            self._logins.leave(cookie)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._rules.cookie, path="/", httponly=True, samesite="strict")
        return answer
