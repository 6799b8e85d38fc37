"""Work that was asked for: scans, pauses, the queue, jobs, restores."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from usenetsyncd.catalogue.rows import ArticleKey, ArticleState, JobRow, JobState, QueuedArticle
from usenetsyncd.control import schema
from usenetsyncd.daemon.indexer import ScanRequest
from usenetsyncd.daemon.operations.base import Base
from usenetsyncd.daemon.restoring import RESTORE
from usenetsyncd.errors import UsageError
from usenetsyncd.model import Priority
from usenetsyncd.wire.access import decode_access

SCAN_LINE_S = 0.5

# Made by systemd/tmpfiles.d/usenetsyncd.conf.
RESTORED = "restored"


class WorkOperations(Base):
    """scan, pause, queue, job, restore."""

    def scan(self, folder: str | None) -> schema.ScanStarted:
        """Ask for a whole scan of one folder, or of all."""
        names = self._names(folder)
        for name in names:
            self._daemon.indexer.request(name, "asked for")
        return schema.ScanStarted(folders=names)

    def scan_lines(
        self, folder: str | None, stop: threading.Event
    ) -> Iterator[schema.ScanProgress | schema.ScanEnded | schema.ScanSummary]:
        """The same, told as it goes; the summary comes last."""
        requests = [self._daemon.indexer.request(name, "asked for") for name in self._names(folder)]
        return self._scan_lines(requests, stop)

    def _scan_lines(
        self, requests: list[ScanRequest], stop: threading.Event
    ) -> Iterator[schema.ScanProgress | schema.ScanEnded | schema.ScanSummary]:
        ended: list[schema.ScanEnded] = []
        for request in requests:
            while not request.done.wait(SCAN_LINE_S):
                if stop.is_set():
                    return
                activity = self._daemon.indexer.activity
                if activity is not None and activity.folder == request.folder:
                    yield schema.ScanProgress(
                        folder=request.folder, files=activity.files, bytes=activity.bytes
                    )
            ended.append(_scan_ended(request))
            yield ended[-1]
        yield schema.ScanSummary(
            folders=len(ended),
            files_hashed=sum(line.files_hashed for line in ended),
            bytes_hashed=sum(line.bytes_hashed for line in ended),
            deleted=sum(line.deleted for line in ended),
            unreadable=sum(line.unreadable for line in ended),
            failed=sum(1 for line in ended if line.error),
        )

    def _names(self, folder: str | None) -> list[str]:
        if folder is not None:
            return [self._live(folder).name]
        return sorted(live.name for live in self._daemon.folders)

    # -- pause -------------------------------------------------------------------------------

    def pause(self, request: schema.PauseRequest) -> schema.Paused:
        """Post and publish nothing (more) of a folder, or of all."""
        until = self._daemon.pauses.pause(self._folder_row_or_none(request.folder), request.for_s)
        return schema.Paused(folder=request.folder, paused=True, until=until)

    def resume(self, folder: str | None) -> schema.Paused:
        """Go on."""
        self._daemon.pauses.resume(self._folder_row_or_none(folder))
        return schema.Paused(folder=folder, paused=False)

    # -- queue -------------------------------------------------------------------------------

    def queue(self, state: str | None, folder: str | None, after: str | None, limit: int) -> schema.QueuePage:
        """state: one of ARTICLE_STATES, queued when None."""
        queue = self._daemon.catalogue.queue
        row = self._folder_row_or_none(folder)
        page = queue.page(after, limit, _article_state(state or "queued"), row)
        counts = queue.counts(row)
        return schema.QueuePage(
            articles=[self._article(article) for article in page.rows],
            counts={kind.name.lower(): count for kind, count in counts.articles.items()},
            pending_bytes=counts.pending_bytes,
            next=page.next,
        )

    def queue_retry(self, selection: schema.QueueSelection) -> schema.Counted:
        """Failed articles back into the queue."""
        count = self._daemon.catalogue.queue.retry_failed(*self._selected(selection)).result()
        self._daemon.uploader.wake()
        return schema.Counted(count=count)

    def queue_cancel(self, selection: schema.QueueSelection) -> schema.Counted:
        """Queued articles become failed."""
        return schema.Counted(count=self._daemon.catalogue.queue.cancel(*self._selected(selection)).result())

    def queue_move(self, selection: schema.QueueMove) -> schema.Counted:
        """Another priority for queued articles."""
        priority = Priority[str(selection.priority).upper()]
        count = self._daemon.catalogue.queue.move(priority, *self._selected(selection)).result()
        return schema.Counted(count=count)

    def _selected(self, selection: schema.QueueSelection) -> tuple[int | None, list[ArticleKey] | None]:
        keys = [ArticleKey(*map(int, name.split("-"))) for name in selection.articles]
        return self._folder_row_or_none(selection.folder), keys or None

    def _article(self, article: QueuedArticle) -> schema.QueuedArticle:
        return schema.QueuedArticle(
            id=f"{article.segment_row}-{article.copy}",
            folder=self._name_of(article.folder_id) or "",
            kind=article.kind.name.lower(),
            state=article.state.name.lower(),
            priority=article.priority.name.lower(),
            bytes=article.length,
            copy_number=article.copy,
            generation=article.generation,
            attempts=article.attempts,
            not_before=article.not_before or None,
            server=article.server,
            posted_at=article.posted_at,
            message_id=article.message_id,
            reason=article.reason,
        )

    # -- jobs ----------------------------------------------------------------------------------

    def jobs(self, state: str | None, after: str | None, limit: int) -> schema.JobPage:
        """The newest first."""
        states = None if state is None else [_job_state(state)]
        page = self._daemon.catalogue.jobs.list(after, limit, states)
        return schema.JobPage(jobs=[self._job(row) for row in page.rows], next=page.next)

    def job(self, job_id: int) -> schema.Job:
        """Raises NotFound."""
        return self._job(self._daemon.catalogue.jobs.get(job_id))

    def job_cancel(self, job_id: int) -> schema.Job:
        """Stop it for good; what it placed stays. Raises NotFound."""
        self._daemon.jobs.cancel(job_id)
        return self.job(job_id)

    def wait_jobs(self, timeout_s: float) -> None:
        """Until some job got further, or the time is over."""
        self._daemon.jobs.wait_change(timeout_s)

    def restore(self, order: schema.RestoreOrder) -> schema.Job:
        """Begin a restore. The source is secret: never logged, never in the job."""
        target = Path(os.fsdecode(order.target))
        if not target.is_absolute():
            raise UsageError("the target of a restore must be an absolute path")
        self._check_target(target)
        name = order.source.partition("@")[0]
        if not any(live.name == name for live in self._daemon.folders):
            decode_access(order.source)  # mistyped strings are refused before a job is made
        params = self._daemon.restoring.params(
            order.source,
            list(order.paths),
            target,
            order.overwrite,
            order.dry_run,
            order.passphrase,
            order.owner,
        )
        return self.job(self._daemon.jobs.start(RESTORE, None, params))

    def _check_target(self, target: Path) -> None:
        """Never into our own state: a hostile index must not replace the catalogue.

        But into ``restored`` inside it, the one place where the hardened service may write unasked.
        """
        own = self._daemon.data_dir.resolve()
        resolved = target.resolve()
        if resolved.is_relative_to(own / RESTORED):
            return
        if resolved == own or own in resolved.parents or resolved in own.parents:
            raise UsageError(f"{target} holds the daemon's own state; restore somewhere else")

    def _job(self, row: JobRow) -> schema.Job:
        return schema.Job(
            id=row.id,
            kind=row.kind,
            state=str(row.state),
            folder=self._name_of(row.folder_id),
            target=self._daemon.jobs.target_of(row),
            progress=row.progress,
            result=row.result,
            error_code=row.error_code,
            error=row.error_text,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            attempts=row.attempts,
        )


def _scan_ended(request: ScanRequest) -> schema.ScanEnded:
    outcome = request.outcome
    if outcome is None:
        return schema.ScanEnded(folder=request.folder, error=str(request.error or "it ended early"))
    return schema.ScanEnded(
        folder=request.folder,
        files_hashed=outcome.files_hashed,
        bytes_hashed=outcome.bytes_hashed,
        deleted=outcome.deleted,
        unreadable=outcome.unreadable,
    )


def _article_state(name: str) -> ArticleState:
    try:
        return ArticleState[name.upper()]
    except KeyError:
        known = ", ".join(schema.ARTICLE_STATES)
        raise UsageError(f"no articles are in a state {name!r} (states: {known})") from None


def _job_state(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        known = ", ".join(JobState)
        raise UsageError(f"no jobs are in a state {name!r} (states: {known})") from None
