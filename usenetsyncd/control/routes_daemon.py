"""The daemon as a whole: status, health, events, logs, stop."""

import asyncio
import threading
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from usenetsyncd.control import schema
from usenetsyncd.control.answers import PAGE, Limit, Name, answer, described, done
from usenetsyncd.control.operations import Operations
from usenetsyncd.control.streams import IDLE_POLL_S, follow, once, stream

MAX_WAIT_S = 60.0
Level = Annotated[str | None, Query(pattern="^(debug|info|warning|error|critical)$")]
Since = Annotated[int, Query(ge=0)]
Follow = Annotated[bool, Query(alias="follow")]


def daemon_routes(operations: Operations, stop: threading.Event) -> APIRouter:
    """Routes that tell how the daemon is."""
    routes = APIRouter(tags=["daemon"])

    @routes.get("/status", responses=described(schema.Status))
    def status() -> Response:
        """Everything at a glance."""
        return answer(operations.status())

    @routes.get("/health", responses=described(schema.Health))
    def health() -> Response:
        """One verdict with reasons."""
        return answer(operations.health())

    @routes.get("/version", responses=described(schema.Version))
    def version() -> Response:
        """Versions of what runs."""
        return answer(operations.version())

    @routes.get("/idle", responses=described(schema.Idle))
    async def idle(wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0) -> Response:
        """Whether nothing is left to do; answers when it is so, or after wait_s."""
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            found = await run_in_threadpool(operations.idle)
            if found.idle or stop.is_set() or asyncio.get_running_loop().time() >= until:
                return answer(found)
            await asyncio.sleep(IDLE_POLL_S)

    @routes.post("/stop")
    def stop_daemon() -> Response:
        """Begin a graceful stop."""
        operations.stop()
        return done()

    _history_routes(routes, operations, stop)
    return routes


def _history_routes(routes: APIRouter, operations: Operations, stop: threading.Event) -> None:
    @routes.get("/events", responses=described(schema.Event))
    async def events(
        since: Annotated[int | None, Query(ge=0)] = None, limit: Limit = PAGE, follow_on: Follow = False
    ) -> Response:
        """One event a line: those after `since`, else the newest; with `follow` also those to come."""
        first = await run_in_threadpool(operations.events, since, limit)
        if not follow_on:
            return stream(once(first))
        start = since if since is not None else await _newest_event(operations)
        return stream(follow(first, start, lambda after: operations.events(after, schema.PAGE_LIMIT), stop))

    @routes.get("/logs", responses=described(schema.LogLine))
    async def logs(
        since: Since = 0,
        limit: Limit = PAGE,
        component: Name = None,
        level: Level = None,
        follow_on: Follow = False,
    ) -> Response:
        """One log record a line, as events."""
        first = await run_in_threadpool(operations.logs, since, limit, component, level)
        if not follow_on:
            return stream(once(first))
        return stream(
            follow(
                first,
                since,
                lambda after: operations.logs(after, schema.PAGE_LIMIT, component, level),
                stop,
            )
        )


async def _newest_event(operations: Operations) -> int:
    newest = await run_in_threadpool(operations.events, None, 1)
    return newest[-1].id if newest else 0
