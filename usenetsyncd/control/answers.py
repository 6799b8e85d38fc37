"""What the routes share: the forms of parameters, and documents as answers."""

from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from usenetsyncd.control.schema import DEFAULT_PAGE, PAGE_LIMIT, Document
from usenetsyncd.control.schema.bases import path_of_base64
from usenetsyncd.errors import UsageError

After = Annotated[str | None, Query(max_length=2_000, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT)]
Name = Annotated[str | None, Query(max_length=200)]
PathText = Annotated[str | None, Query(max_length=65_536, description="absolute path")]
PathBase64 = Annotated[str | None, Query(max_length=131_072, description="the same, where it is not UTF-8")]
PAGE = DEFAULT_PAGE


def answer(document: Document, status: int = 200) -> Response:
    """The document as JSON."""
    return Response(document.model_dump_json(by_alias=True), status, media_type="application/json")


def done() -> Response:
    """Nothing to tell but that it is done."""
    return Response('{"schema":1,"done":true}', media_type="application/json")


def described(document: type[Document], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI description alone: a response_model would check again what a model has checked."""
    return {status: {"model": document}}


def absolute_path(path: str | None, path_b64: str | None) -> bytes:
    """The path that a query names, one way or the other. Raises UsageError."""
    try:
        found = path_of_base64(path_b64) if path_b64 is not None else (path or "").encode()
    except ValueError:
        raise UsageError("path_b64 is not base64") from None
    if not found.startswith(b"/"):
        raise UsageError("give the absolute path of a file as `path` or `path_b64`")
    return found
