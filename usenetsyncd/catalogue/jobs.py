"""Jobs: what was asked for that takes time, how far it is, how it ended."""

import json
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

import peewee as pw

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, page_of
from usenetsyncd.catalogue.rows import JobRow, JobState
from usenetsyncd.catalogue.tables import Job
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound

__all__ = ["JobRow", "JobState", "Jobs"]

OPEN_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)

_Rows = list[dict[str, Any]]


class Jobs:
    """The table of jobs. ids only ever grow."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def add(self, kind: str, folder_id: int | None = None, params: dict[str, Any] | None = None) -> JobRow:
        """Queue a job; waits for the commit.

        params: plain JSON without a secret in clear. What is under ``sealed`` is forgotten when the job has ended.
        """
        at = self._clock.now()
        text = json.dumps(params or {})

        def intent(database: Connection) -> int:
            query = Job.insert(kind=kind, folder_id=folder_id, state="queued", params=text, created_at=at)
            return int(query.execute(database))

        return self.get(self._writer.run(intent))

    def get(self, job_id: int) -> JobRow:
        """Raises NotFound."""
        rows = self._select(Job.id == job_id, 1)
        if not rows:
            raise NotFound(f"there is no job {job_id}")
        return _job(rows[0])

    def list(
        self,
        after: str | None = None,
        limit: int = 100,
        states: Collection[JobState] | None = None,
        folder_id: int | None = None,
    ) -> Page[JobRow]:
        """The newest first."""
        limit = bounded(limit)
        where = Job.id < (decode_cursor(after, (int,))[0] if after else 2**62)
        if states is not None:
            where &= Job.state.in_([state.value for state in states])
        if folder_id is not None:
            where &= Job.folder_id == folder_id
        return page_of(self._select(where, limit + 1), limit, _job, lambda row: (row["id"],))

    def unfinished(self) -> "tuple[JobRow, ...]":
        """Jobs to go on with after a start, the oldest first."""
        rows = self._select(Job.state.in_([state.value for state in OPEN_STATES]), 100_000)
        return tuple(_job(row) for row in reversed(rows))

    def start(self, job_id: int) -> "Future[None]":
        """It runs now; counts an attempt and keeps when it first ran."""
        at = self._clock.now()
        return self._update(
            job_id,
            state=JobState.RUNNING.value,
            started_at=pw.fn.COALESCE(Job.started_at, at),
            attempts=Job.attempts + 1,
        )

    def progress(self, job_id: int, progress: dict[str, Any]) -> "Future[None]":
        """How far it is; plain JSON."""
        return self._update(job_id, progress=json.dumps(progress))

    def set_state(self, job_id: int, state: JobState) -> "Future[None]":
        """Queued again, or paused."""
        return self._update(job_id, state=state.value)

    def finish(
        self,
        job_id: int,
        state: JobState = JobState.DONE,
        result: dict[str, Any] | None = None,
        error_code: str | None = None,
        error_text: str | None = None,
    ) -> "Future[None]":
        """Done, failed or cancelled: over for good, so that its sealed secrets are needed no more."""
        return self._update(
            job_id,
            state=state.value,
            params=pw.fn.json_remove(Job.params, "$.sealed"),
            result=None if result is None else json.dumps(result),
            error_code=error_code,
            error_text=error_text,
            finished_at=self._clock.now(),
        )

    def prune(self, keep: int = 10_000) -> "Future[int]":
        """Forget finished jobs beyond the newest ``keep``."""

        def intent(database: Connection) -> int:
            cursor = database.run(
                "DELETE FROM job WHERE state IN ('done', 'failed', 'cancelled') AND id <= "
                "(SELECT coalesce(max(id), 0) - ? FROM job)",
                (keep,),
            )
            return int(cursor.rowcount)

        return self._writer.submit(intent)

    def _update(self, job_id: int, **values: Any) -> "Future[None]":
        def intent(database: Connection) -> None:
            if not Job.update(**values).where(Job.id == job_id).execute(database):
                raise NotFound(f"there is no job {job_id}")

        return self._writer.submit(intent)

    def _select(self, where: Any, limit: int) -> _Rows:
        query = Job.select().where(where).order_by(Job.id.desc()).limit(limit).dicts()
        return self._readers.query(lambda database: [*query.execute(database)])


def _job(row: dict[str, Any]) -> JobRow:
    result = row["result"]
    return JobRow(
        **{
            **row,
            "state": JobState(row["state"]),
            "params": json.loads(row["params"]),
            "progress": json.loads(row["progress"]),
            "result": None if result is None else json.loads(result),
        }
    )
