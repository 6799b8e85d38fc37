"""Work that was asked for: scans, pauses, the queue, jobs, restores, checks, repairs, shares."""

import threading
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from usenetsyncd.control import schema
from usenetsyncd.control.answers import PAGE, After, Limit, Name, answer, described
from usenetsyncd.control.operations import Operations
from usenetsyncd.control.streams import document_lines, job_lines, started, stream

ArticleState = Annotated[str | None, Query(pattern=f"^({'|'.join(schema.ARTICLE_STATES)})$")]
JobState = Annotated[str | None, Query(pattern="^(queued|running|paused|done|failed|cancelled)$")]
JobId = Annotated[int, Path(ge=1, lt=2**63)]


def work_routes(operations: Operations, stop: threading.Event) -> APIRouter:
    """Routes that begin, tell and end work."""
    routes = APIRouter(tags=["work"])

    @routes.post("/scan", responses=described(schema.ScanStarted))
    def scan(request: schema.FolderChoice) -> Response:
        """Scan one folder, or all."""
        return answer(operations.scan(request.folder))

    @routes.post("/scan/stream", responses=described(schema.ScanSummary))
    async def scan_stream(request: schema.FolderChoice) -> Response:
        """The same, told line by line until it is over; the summary comes last."""
        lines = await run_in_threadpool(lambda: started(operations.scan_lines(request.folder, stop)))
        return stream(document_lines(lines))

    @routes.post("/pause", responses=described(schema.Paused))
    def pause(request: schema.PauseRequest) -> Response:
        """Post nothing more, of one folder or of all."""
        return answer(operations.pause(request))

    @routes.post("/resume", responses=described(schema.Paused))
    def resume(request: schema.FolderChoice) -> Response:
        """Go on."""
        return answer(operations.resume(request.folder))

    _queue_routes(routes, operations)
    _job_routes(routes, operations, stop)
    return routes


def _queue_routes(routes: APIRouter, operations: Operations) -> None:
    @routes.get("/queue", responses=described(schema.QueuePage))
    def queue(
        state: ArticleState = None, folder: Name = None, after: After = None, limit: Limit = PAGE
    ) -> Response:
        """Articles in one state, in the order in which they go."""
        return answer(operations.queue(state, folder, after, limit))

    @routes.post("/queue/retry", responses=described(schema.Counted))
    def queue_retry(selection: schema.QueueSelection) -> Response:
        """Failed articles back into the queue."""
        return answer(operations.queue_retry(selection))

    @routes.post("/queue/cancel", responses=described(schema.Counted))
    def queue_cancel(selection: schema.QueueSelection) -> Response:
        """Queued articles become failed."""
        return answer(operations.queue_cancel(selection))

    @routes.post("/queue/move", responses=described(schema.Counted))
    def queue_move(selection: schema.QueueMove) -> Response:
        """Another priority for queued articles."""
        return answer(operations.queue_move(selection))


def _job_routes(routes: APIRouter, operations: Operations, stop: threading.Event) -> None:
    @routes.get("/jobs", responses=described(schema.JobPage))
    def jobs(state: JobState = None, after: After = None, limit: Limit = PAGE) -> Response:
        """The newest first."""
        return answer(operations.jobs(state, after, limit))

    @routes.get("/jobs/{job_id}", responses=described(schema.Job))
    def job_show(job_id: JobId) -> Response:
        """One job."""
        return answer(operations.job(job_id))

    @routes.post("/jobs/{job_id}/cancel", responses=described(schema.Job))
    def job_cancel(job_id: JobId) -> Response:
        """Stop it for good; what it did stays."""
        return answer(operations.job_cancel(job_id))

    @routes.get("/jobs/{job_id}/stream", responses=described(schema.Job))
    async def job_stream(job_id: JobId) -> Response:
        """Its progress line by line; the summary comes last."""
        job = await run_in_threadpool(operations.job, job_id)
        return stream(job_lines(operations, job, stop))

    @routes.post("/restore", status_code=202, responses=described(schema.Job, 202))
    def restore(order: schema.RestoreOrder) -> Response:
        """Begin a restore; it goes on whether or not anybody watches."""
        return answer(operations.restore(order), 202)

    @routes.post("/verify", status_code=202, responses=described(schema.Job, 202))
    def verify(order: schema.VerifyOrder) -> Response:
        """Begin to check what is posted; it goes on whether or not anybody watches."""
        return answer(operations.verify(order), 202)

    @routes.post("/repair", status_code=202, responses=described(schema.Job, 202))
    def repair(order: schema.RepairOrder) -> Response:
        """Begin to post again what checks found lost."""
        return answer(operations.repair(order), 202)
