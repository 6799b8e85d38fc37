"""Answers that go on: one JSON object a line, until there is nothing more to tell or the daemon stops."""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import structlog
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import StreamingResponse

from usenetsyncd.control.operations import Operations
from usenetsyncd.control.problems import problem_of, unexpected
from usenetsyncd.control.schema import SCHEMA, Document, Event, Job, LogLine
from usenetsyncd.control.summaries import job_parts, job_progress, job_summary
from usenetsyncd.errors import UsenetSyncError

log = structlog.get_logger("control")

MEDIA_TYPE = "application/x-ndjson"
POLL_S = 0.25
IDLE_POLL_S = 0.1
ENDED = frozenset({"done", "failed", "cancelled"})


def as_line(document: Document) -> bytes:
    """One line of a stream."""
    return document.model_dump_json(by_alias=True).encode() + b"\n"


def plain_line(document: dict[str, Any]) -> bytes:
    """The same for a document without a model."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def stream(lines: AsyncIterator[bytes]) -> StreamingResponse:
    """An answer made of lines. An error on the way becomes the last line, with ``"type": "error"``."""
    return StreamingResponse(_guarded(lines), media_type=MEDIA_TYPE)


async def _guarded(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for line in lines:
            yield line
    except UsenetSyncError as error:
        yield plain_line({"type": "error", **problem_of(error)})
    except Exception:
        log.exception("stream_failed_unexpectedly")
        yield plain_line({"type": "error", **unexpected()})


async def follow(
    first: Sequence[Event | LogLine],
    since: int,
    more: Callable[[int], Sequence[Event | LogLine]],
    stop: threading.Event,
) -> AsyncIterator[bytes]:
    """``first``, then whatever ``more(id of the last)`` has, until ``stop``."""
    rows = first
    while not stop.is_set():
        for row in rows:
            since = row.id
            yield as_line(row)
        if not rows:
            await asyncio.sleep(POLL_S)
        rows = await run_in_threadpool(more, since)


async def once(rows: Sequence[Event | LogLine]) -> AsyncIterator[bytes]:
    """Just these."""
    for row in rows:
        yield as_line(row)


async def job_lines(operations: Operations, job: Job, stop: threading.Event) -> AsyncIterator[bytes]:
    """Progress whenever there is some, each folder that is done, then the summary; or ``interrupted`` when the
    daemon stops before."""
    shown: dict[str, Any] | None = None
    parts = 0
    while job.state not in ENDED:
        for part in job_parts(job)[parts:]:
            parts += 1
            yield plain_line(part)
        progress = job_progress(job)
        if progress != shown:
            shown = progress
            yield plain_line(progress)
        if stop.is_set():
            message = "the daemon is stopping; the job goes on when it is started again"
            yield plain_line({"schema": SCHEMA, "type": "interrupted", "job": job.id, "message": message})
            return
        await run_in_threadpool(operations.wait_jobs, POLL_S)
        job = await run_in_threadpool(operations.job, job.id)
    for part in job_parts(job)[parts:]:
        yield plain_line(part)
    yield plain_line(job_summary(job))


async def document_lines(documents: Iterator[Document]) -> AsyncIterator[bytes]:
    """Lines from an iterator that blocks between two of them."""
    async for document in iterate_in_threadpool(documents):
        yield as_line(document)


def started(documents: Iterator[Document]) -> Iterator[Document]:
    """The same iterator with its first line made, so that what is wrong with the request is raised here."""
    head = list(itertools.islice(documents, 1))
    return itertools.chain(head, documents)
