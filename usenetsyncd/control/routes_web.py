"""The entries of directories, traffic, metrics, logins."""

import base64
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from usenetsyncd.control.answers import PAGE, After, Limit, PathBase64, answer, described
from usenetsyncd.control.operations_web import WebOperations
from usenetsyncd.control.schema import web as schema
from usenetsyncd.errors import UsageError

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Below = Annotated[str, Query(max_length=65_536, description="below the folder's root")]


def web_routes(operations: WebOperations) -> APIRouter:
    """Routes that the dashboard and a metrics collector need."""
    routes = APIRouter(tags=["web"])

    @routes.get("/folders/{folder}/directory", responses=described(schema.DirectoryPage))
    def directory(
        folder: str, path: Below = "", path_b64: PathBase64 = None, after: After = None, limit: Limit = PAGE
    ) -> Response:
        """What a directory of the folder holds, as the last scan saw it."""
        return answer(operations.directory(folder, _below(path, path_b64), after, limit))

    @routes.get("/traffic", responses=described(schema.Traffic))
    def traffic() -> Response:
        """The last hour and the last day."""
        return answer(operations.traffic())

    @routes.get("/metrics")
    def metrics() -> Response:
        """The text format of Prometheus."""
        return Response(operations.metrics(), media_type=METRICS_TYPE)

    @routes.post("/web/login", responses=described(schema.WebLogin))
    def web_login() -> Response:
        """A one-time link to the dashboard."""
        return answer(operations.web_login())

    return routes


def _below(path: str, path_b64: str | None) -> bytes:
    try:
        return path.encode() if path_b64 is None else base64.b64decode(path_b64, validate=True)
    except ValueError:
        raise UsageError("path_b64 is not base64") from None
