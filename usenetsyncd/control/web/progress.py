"""``/api/v1/progress``: what moves, told over a WebSocket whenever it moved; one question a second for all listeners."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from usenetsyncd.control.operations import Operations
from usenetsyncd.control.schema import SCHEMA, Folder, Job
from usenetsyncd.control.summaries import job_progress
from usenetsyncd.errors import UsenetSyncError

log = structlog.get_logger("web")

EVERY_S = 1.0
FOLDERS_TOLD = JOBS_TOLD = 100
_ACTIVE = ("running", "queued")


class Progress:
    """Asked for by any number of listeners, made at most once a second."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._lock = threading.Lock()
        self._made_at = 0.0
        self._made: dict[str, Any] = {}

    def now(self) -> dict[str, Any]:
        """``{"schema", "type": "progress", "state", "verdict", "transfer", "folders", "jobs", "queue", "event"}``

        folders: those with something to do, at most 100. event: the newest's id.
        """
        with self._lock:
            if time.monotonic() - self._made_at >= EVERY_S * 0.9:
                self._made, self._made_at = self._make(), time.monotonic()
            return self._made

    def _make(self) -> dict[str, Any]:
        operations = self._operations
        status = operations.status()
        jobs = [job for state in _ACTIVE for job in operations.jobs(state, None, JOBS_TOLD).jobs]
        newest = operations.events(None, 1)
        return {
            "schema": SCHEMA,
            "type": "progress",
            "state": str(status.state),
            "warnings": len(status.warnings),
            "transfer": status.transfer.model_dump(mode="json"),
            "folders": [_folder(folder) for folder in _moving(status.folders)],
            "jobs": [_job(job) for job in jobs],
            "queue": dict(operations.queue(None, None, None, 1).counts),
            "event": newest[-1].id if newest else 0,
        }


def _moving(folders: Sequence[Folder]) -> list[Folder]:
    return [folder for folder in folders if str(folder.state) != "up_to_date" or folder.pending_bytes][
        :FOLDERS_TOLD
    ]


def _folder(folder: Folder) -> dict[str, Any]:
    told = {"id", "state", "reason", "files", "bytes", "pending_files", "pending_bytes", "version"}
    return folder.model_dump(mode="json", include=told)


def _job(job: Job) -> dict[str, Any]:
    return {**job_progress(job), "type": "job", "folder": job.folder}


async def serve(progress: Progress, allowed: Callable[[], bool], receive: Receive, send: Send) -> None:
    """One listener, from its connecting until it goes, or may not listen any more."""
    if (await receive())["type"] != "websocket.connect":
        return
    await send({"type": "websocket.accept"})
    gone = asyncio.ensure_future(_until_gone(receive))
    told: dict[str, Any] | None = None
    try:
        while allowed() and not gone.done():
            now = await run_in_threadpool(progress.now)
            if now != told:
                told = now
                await send({"type": "websocket.send", "text": json.dumps(now, separators=(",", ":"))})
            await asyncio.wait({gone}, timeout=EVERY_S)
        if not gone.done():
            await send({"type": "websocket.close", "code": 1001})
    except UsenetSyncError as error:
        log.warning("progress_ended", reason=str(error))
        await send({"type": "websocket.close", "code": 1011})
    finally:
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    # what a listener says is not of interest
    while (await receive())["type"] != "websocket.disconnect":
        pass


def is_progress(scope: Scope) -> bool:
    """Whether a scope asks for this."""
    return (scope["type"], scope["path"]) == ("websocket", "/api/v1/progress")
