"""Errors as documents: what a request that failed answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse

from usenetsyncd.control.schema import SCHEMA
from usenetsyncd.errors import ExitCode, NewsError, UsenetSyncError

_STATUS: Mapping[ExitCode, int] = {
    ExitCode.USAGE: 400,
    ExitCode.NOT_FOUND: 404,
    ExitCode.NOT_PERMITTED: 403,
    ExitCode.CONFIGURATION: 422,
    ExitCode.UNREACHABLE: 503,
}
_CONFLICT, _BAD_GATEWAY = 409, 502

# The command that deals with an error, where there is one for every case of it.
_ACTIONS: Mapping[str, str] = {
    "catalogue_damaged": "usyncctl logs --component catalogue",
    "configuration_error": "usyncctl config validate",
    "configuration_errors": "usyncctl config validate",
    "history_error": "usyncctl events",
    "login_refused": "usyncctl server test",
    "no_server": "usyncctl server list",
    "nothing_published": "usyncctl server test",
    "tls_failed": "usyncctl server test",
    "vault_error": "usyncctl logs --component vault",
}


def problem_of(error: UsenetSyncError) -> dict[str, Any]:
    """``{"schema", "error", "message", "exit_code", "action"}``; the message is a sentence for a person."""
    return _problem(error.code, str(error), error.exit_code)


def unexpected() -> dict[str, Any]:
    """For an error that nobody foresaw: its text stays in the log, it may hold anything."""
    problem = _problem("unexpected", "something unexpected went wrong in the daemon", ExitCode.FAILED)
    return problem | {"action": "usyncctl logs --level error"}


def problem_response(error: UsenetSyncError) -> JSONResponse:
    """The document with the HTTP status that fits."""
    if isinstance(error, NewsError):
        return JSONResponse(problem_of(error), _BAD_GATEWAY)
    return JSONResponse(problem_of(error), _STATUS.get(error.exit_code, _CONFLICT))


def unexpected_response() -> JSONResponse:
    """500."""
    return JSONResponse(unexpected(), 500)


def refused_request(errors: Sequence[Any]) -> JSONResponse:
    """A request that does not fit the schema. Names the fields and never repeats a value: it may be a secret."""
    told = "; ".join(f"{_where(error['loc'])}: {error['msg']}" for error in errors)
    return JSONResponse(_problem("usage_error", told or "the request is not valid", ExitCode.USAGE), 400)


def refused(status: int, code: str, message: str, exit_code: ExitCode) -> JSONResponse:
    """Any other refusal."""
    return JSONResponse(_problem(code, message, exit_code), status)


def _problem(code: str, message: str, exit_code: ExitCode) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "error": code,
        "message": message,
        "exit_code": int(exit_code),
        "action": _ACTIONS.get(code, ""),
    }


def _where(location: Sequence[str | int]) -> str:
    # the first part says body, query or path
    named = location[1:] if len(location) > 1 else location
    return ".".join(str(part) for part in named) or "request"
