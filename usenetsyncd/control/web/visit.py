"""One request for a page: who asks, with which query and form; and how handlers become routes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from usenetsyncd.control.web.access import RENEWING
from usenetsyncd.control.web.logins import Session
from usenetsyncd.control.web.render import unpacked
from usenetsyncd.errors import LimitExceeded, UsageError, UsenetSyncError

MAX_FORM_BYTES = 1024 * 1024
MAX_FORM_FIELDS = 2_000


@dataclass(frozen=True)
class Visit:
    """What a handler gets. here: the page's own path with its query. renewing: asked for by its own script."""

    here: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, list[str]]
    session: Session | None
    renewing: bool = False

    def field(self, name: str, otherwise: str = "") -> str:
        """One value of the form."""
        return (self.form.get(name) or [otherwise])[0].strip()

    def choice(self, name: str) -> str | None:
        """A value of the query; None when it is empty."""
        return self.query.get(name) or None

    def path(self, name: str = "p") -> bytes:
        """A packed path in the query. Raises UsageError."""
        try:
            return unpacked(self.query.get(name, ""))
        except ValueError:
            raise UsageError("this link names no path") from None

    def link(self, **changes: str | None) -> str:
        """This page with another query; None takes a value out."""
        kept = {name: value for name, value in {**self.query, **changes}.items() if value}
        path = self.here.partition("?")[0]
        return f"{path}?{urlencode(kept)}" if kept else path

    def back(self, level: str, text: str, to: str | None = None) -> Response:
        """To the page that the form stood on, or ``to``, with something to tell there."""
        if self.session is not None:
            self.session.tell(level, text)
        where = to or self.field("back", "/")
        # only ever to a page of our own
        if not where.startswith("/") or where.startswith("//") or "\\" in where or not where.isprintable():
            where = "/"
        return RedirectResponse(where, 303)


Page = Callable[[Visit], Response]


def page_route(path: str, page: Page, failed: Callable[[Visit, UsenetSyncError], Response]) -> Route:
    """GET. failed: the page for an error that was foreseen."""

    def shown(visit: Visit) -> Response:
        try:
            return page(visit)
        except UsenetSyncError as error:
            return failed(visit, error)

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(shown, _visit(request, {}))

    return Route(path, endpoint, methods=["GET"])


def action_route(path: str, action: Page) -> Route:
    """POST of a form: does something, then back to the page; an error is told there."""

    def done(visit: Visit) -> Response:
        try:
            return action(visit)
        except UsenetSyncError as error:
            return visit.back("failed", str(error))

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(done, _visit(request, await read_form(request)))

    return Route(path, endpoint, methods=["POST"])


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a form. Raises LimitExceeded, UsageError."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise LimitExceeded(f"a form holds at most {MAX_FORM_BYTES} bytes")
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise UsageError("the form cannot be read") from None


def _visit(request: Request, form: Mapping[str, list[str]]) -> Visit:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    session = request.scope.get("usenetsyncd.session")
    renewing = RENEWING in request.headers
    return Visit(here, request.path_params, dict(request.query_params), form, session, renewing)
