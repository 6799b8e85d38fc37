"""What all pages share: the operations, the templates, and the frame around a page."""

from typing import Any

from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import Route

from usenetsyncd.control.operations import Operations
from usenetsyncd.control.problems import problem_of
from usenetsyncd.control.web.render import Renderer
from usenetsyncd.control.web.visit import Page, Visit, page_route
from usenetsyncd.errors import ExitCode, UsageError, UsenetSyncError

_STATUS = {ExitCode.NOT_FOUND: 404, ExitCode.USAGE: 400, ExitCode.NOT_PERMITTED: 403}


class Pages:
    """Base of the groups of pages."""

    def __init__(self, operations: Operations, renderer: Renderer) -> None:
        self.operations = operations
        self._renderer = renderer

    def get(self, path: str, page: Page) -> Route:
        """A route that shows a page, or the page about its error."""
        return page_route(path, page, self.failed)

    def page(self, visit: Visit, template: str, status_code: int = 200, /, **values: Any) -> Response:
        """A page within the frame."""
        # a script that renews parts of another page must not take them
        notes = [] if visit.session is None or visit.renewing else visit.session.take_notes()
        return self._renderer.page(template, status_code, visit=visit, notes=notes, **values)

    def failed(self, visit: Visit, error: UsenetSyncError) -> Response:
        """What went wrong, and the command that deals with it."""
        problem = problem_of(error)
        return self.page(visit, "problem.html", _STATUS.get(error.exit_code, 409), problem=problem)


def made(model: type[Any], **values: Any) -> Any:
    """A request from what a form gave. Raises UsageError, without repeating a value: it may be a secret."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise UsageError(told) from None
