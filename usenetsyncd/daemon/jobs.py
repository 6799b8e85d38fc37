"""Run what people asked for and may take long: restores. A job outlives the process that began it."""

import base64
import threading
from pathlib import Path
from typing import Any

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import JobRow, JobState
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.live import LiveFolders
from usenetsyncd.errors import ArticleMissing, Cancelled, NewsError, UsenetSyncError, Verdict
from usenetsyncd.flows.locate import KnownVersion, Located, locate, locate_own
from usenetsyncd.flows.restore import Restore, RestoreProgress, RestoreRequest, RestoreSummary
from usenetsyncd.model import Fingerprint, RelativePath
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.vault.vault import Vault

log = structlog.get_logger("restore")

RESTORE = "restore"
PROGRESS_EVERY_S = 0.5
# A job that fails for want of a server is tried again by itself.
NEWS_RETRIES = 5
NEWS_RETRY_S = 30.0


class Jobs:
    """Starts, continues and cancels jobs, each on a thread of its own."""

    def __init__(
        self,
        catalogue: Catalogue,
        vault: Vault,
        folders: LiveFolders,
        news: NewsService,
        clock: Clock,
        plans: Path,
        rate: RateWindow,
    ) -> None:
        """plans: directory for the plans of restores. rate: told of the bytes that were placed."""
        self._catalogue = catalogue
        self._vault = vault
        self._folders = folders
        self._news = news
        self._clock = clock
        self._plans = plans
        self._rate = rate
        self._lock = threading.Lock()
        self._running: dict[int, tuple[threading.Thread, threading.Event]] = {}
        self._stopping = threading.Event()
        self._changed = threading.Condition()

    def resume(self) -> None:
        """Continue the jobs that were under way when the process ended."""
        self._plans.mkdir(mode=0o700, exist_ok=True)
        for job in self._catalogue.jobs.unfinished():
            if job.kind == RESTORE:
                self._launch(job)
            else:
                self._catalogue.jobs.finish(
                    job.id, JobState.FAILED, None, "interrupted", "the daemon was stopped"
                )

    def start_restore(
        self, source: str, paths: list[bytes], target: Path, overwrite: bool, dry_run: bool
    ) -> int:
        """Queue a restore; source is an access string, or FOLDER or FOLDER@VERSION of this daemon."""
        params: dict[str, Any] = {
            "source": base64.b64encode(self._vault.seal_secret(source.encode())).decode(),
            "paths": [base64.b64encode(path).decode() for path in paths],
            "target": base64.b64encode(str(target).encode("utf-8", "surrogateescape")).decode(),
            "overwrite": overwrite,
            "dry_run": dry_run,
        }
        job = self._catalogue.jobs.add(RESTORE, None, params)
        self._launch(job)
        return job.id

    def cancel(self, job_id: int) -> None:
        """Stop a job for good; what it placed stays. Raises NotFound."""
        job = self._catalogue.jobs.get(job_id)
        with self._lock:
            running = self._running.get(job_id)
        if running is not None:
            running[1].set()
            self._catalogue.jobs.finish(
                job.id, JobState.CANCELLED, None, "cancelled", "cancelled on request"
            ).result()
            self._plan_path(job_id).unlink(missing_ok=True)
        elif job.state in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED):
            self._catalogue.jobs.finish(
                job.id, JobState.CANCELLED, None, "cancelled", "cancelled on request"
            ).result()
        self._notify()

    def target_of(self, job: JobRow) -> str:
        """Where a job writes to, for people."""
        target = job.params.get("target")
        return "" if target is None else base64.b64decode(target).decode("utf-8", "backslashreplace")

    def active(self) -> int:
        """How many jobs run."""
        with self._lock:
            return len(self._running)

    def wait_change(self, timeout_s: float) -> None:
        """Until some job got further, or the time is over."""
        with self._changed:
            self._changed.wait(timeout_s)

    def stop(self, deadline_s: float) -> None:
        """Leave every job where it is; the next start continues it."""
        self._stopping.set()
        with self._lock:
            running = list(self._running.values())
        for _, stop in running:
            stop.set()
        for thread, _ in running:
            thread.join(deadline_s)
        self._notify()

    def _launch(self, job: JobRow) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(job, stop), name=f"job-{job.id}")
        with self._lock:
            self._running[job.id] = (thread, stop)
        thread.start()

    def _run(self, job: JobRow, stop: threading.Event) -> None:
        try:
            self._catalogue.jobs.start(job.id).result()
            summary = self._restore_patiently(job, stop)
            result = _as_result(summary)
            self._catalogue.jobs.finish(job.id, JobState.DONE, result, None, None).result()
            log.info(
                "restore_finished",
                job=job.id,
                files=summary.files,
                bytes=summary.bytes,
                failed=summary.failed,
            )
        except Cancelled:
            log.info("job_interrupted", job=job.id)
        except UsenetSyncError as error:
            self._fail(job, error.code, str(error))
        except Exception as error:
            log.exception("job_failed_unexpectedly", job=job.id)
            self._fail(job, "unexpected", f"{type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._running.pop(job.id, None)
            self._notify()

    def _fail(self, job: JobRow, code: str, text: str) -> None:
        self._catalogue.jobs.finish(job.id, JobState.FAILED, None, code, text).result()
        self._catalogue.events.add("error", "job_failed", f"{job.kind} {job.id}: {text}", job.folder_id)
        log.error("job_failed", job=job.id, code=code, reason=text)

    def _restore_patiently(self, job: JobRow, stop: threading.Event) -> RestoreSummary:
        for attempt in range(NEWS_RETRIES):
            try:
                return self._restore(job, stop)
            except NewsError as error:
                lost = isinstance(error, ArticleMissing)  # every server said so: asking again brings nothing
                if lost or error.verdict is Verdict.PERSON or attempt == NEWS_RETRIES - 1:
                    raise
                log.warning("restore_waits_for_servers", job=job.id, reason=str(error), wait_s=NEWS_RETRY_S)
                if stop.wait(NEWS_RETRY_S):
                    raise Cancelled("stopped") from error
        raise AssertionError("unreachable")

    def _restore(self, job: JobRow, stop: threading.Event) -> RestoreSummary:
        params = job.params
        target = Path(base64.b64decode(params["target"]).decode("utf-8", "surrogateescape"))
        request = RestoreRequest(
            target,
            tuple(RelativePath(base64.b64decode(path)) for path in params["paths"]),
            params["overwrite"],
            params["dry_run"],
        )
        located = self._locate(self._vault.open_secret(base64.b64decode(params["source"])).decode())
        last = [0.0]
        placed = [0]

        def on_progress(progress: RestoreProgress) -> None:
            now = self._clock.monotonic()
            self._rate.add(max(0, progress.bytes - placed[0]))
            placed[0] = progress.bytes
            if now - last[0] >= PROGRESS_EVERY_S:
                last[0] = now
                self._catalogue.jobs.progress(job.id, _as_progress(progress))
                self._notify()

        restore = Restore(self._news, located, request, self._plan_path(job.id), stop, on_progress)
        summary = restore.run()
        head = located.head
        self._catalogue.heads.remember(head.fingerprint, head.version, located.head_hash)
        return summary

    def _locate(self, source: str) -> Located:
        name, _, version = source.partition("@")
        if any(folder.name == name for folder in self._folders):
            folder = self._folders.named(name)
            return locate_own(
                self._news, self._catalogue, folder.row, folder.keys, int(version) if version else None
            )
        return locate(self._news, source, self._clock, self._known)

    def _known(self, fingerprint: Fingerprint) -> KnownVersion | None:
        known = self._catalogue.heads.get(fingerprint)
        return None if known is None else KnownVersion(known.version, known.head_hash)

    def _plan_path(self, job_id: int) -> Path:
        return self._plans / f"restore-{job_id}.plan"

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _as_progress(progress: RestoreProgress) -> dict[str, Any]:
    return {
        "phase": progress.phase,
        "files": progress.files,
        "files_total": progress.files_total,
        "bytes": progress.bytes,
        "bytes_total": progress.bytes_total,
        "failed": progress.failed,
    }


def _as_result(summary: RestoreSummary) -> dict[str, Any]:
    return {
        "type": "summary",
        "version": summary.version,
        "files": summary.files,
        "bytes": summary.bytes,
        "failed": summary.failed,
        "failures": [
            {"path": path.decode("utf-8", "backslashreplace"), "reason": reason}
            for path, reason in summary.failures
        ],
        "warnings": list(summary.warnings),
    }
