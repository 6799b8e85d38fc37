"""Restores as jobs: an order kept without its secret in clear, a plan on disk that outlives the process."""

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import JobRow
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.jobs import Progress
from usenetsyncd.daemon.lane import Urgency
from usenetsyncd.daemon.live import LiveFolders
from usenetsyncd.flows.locate import KnownVersion, Located, Opening, locate, locate_own
from usenetsyncd.flows.restore import Restore, RestoreProgress, RestoreRequest, RestoreSummary
from usenetsyncd.model import Fingerprint, RelativePath
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.vault.identities import own_identity
from usenetsyncd.vault.vault import Vault

RESTORE = "restore"


class Restoring:
    """The work of jobs of the kind ``restore``."""

    in_turn = False
    urgency = Urgency.ASKED

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
        """plans: directory for the plans, made when it is missing. rate: told of the bytes that were placed."""
        self._catalogue = catalogue
        self._vault = vault
        self._folders = folders
        self._news = news
        self._clock = clock
        self._plans = plans
        self._rate = rate

    def params(
        self,
        source: str,
        paths: list[bytes],
        target: Path,
        overwrite: bool,
        dry_run: bool,
        passphrase: str | None = None,
        owner: bool = False,
    ) -> dict[str, Any]:
        """A job's params; source is an access string, or FOLDER or FOLDER@VERSION of this daemon.

        Under ``sealed`` is what the catalogue forgets when the job has ended.
        """
        if passphrase is not None:
            register_secret(passphrase)
        return {
            "sealed": {
                "source": self._sealed(source),
                "passphrase": None if passphrase is None else self._sealed(passphrase),
            },
            "paths": [base64.b64encode(path).decode() for path in paths],
            "target": base64.b64encode(str(target).encode("utf-8", "surrogateescape")).decode(),
            "overwrite": overwrite,
            "dry_run": dry_run,
            "owner": owner,
        }

    def _sealed(self, secret: str) -> str:
        return base64.b64encode(self._vault.seal_secret(secret.encode())).decode()

    def _opened(self, sealed: str) -> str:
        return self._vault.open_secret(base64.b64decode(sealed)).decode()

    def target_of(self, job: JobRow) -> str:
        """Where it writes to."""
        target = job.params.get("target")
        return "" if target is None else base64.b64decode(target).decode("utf-8", "backslashreplace")

    def discard(self, job: JobRow) -> None:
        """Remove the plan; what was placed stays."""
        for left in self._plans.glob(f"{self._plan_path(job.id).stem}.*"):
            left.unlink(missing_ok=True)

    def run(self, job: JobRow, stop: threading.Event, report: Callable[[Progress], None]) -> Progress:
        """Restore, going on with the plan of an earlier process."""
        self._plans.mkdir(mode=0o700, exist_ok=True)
        self._sweep()
        params = job.params
        target = Path(base64.b64decode(params["target"]).decode("utf-8", "surrogateescape"))
        request = RestoreRequest(
            target,
            tuple(RelativePath(base64.b64decode(path)) for path in params["paths"]),
            params["overwrite"],
            params["dry_run"],
            params.get("owner", False),
        )
        source, passphrase = params["sealed"]["source"], params["sealed"]["passphrase"]
        located = self._locate(self._opened(source), None if passphrase is None else self._opened(passphrase))
        placed = [0]

        def on_progress(progress: RestoreProgress) -> None:
            self._rate.add(max(0, progress.bytes - placed[0]))
            placed[0] = progress.bytes
            report(_as_progress(progress))

        groups = self._folders.newsgroups()
        restore = Restore(self._news, located, request, self._plan_path(job.id), stop, on_progress, groups)
        summary = restore.run()
        head = located.head
        self._catalogue.heads.remember(head.fingerprint, head.version, located.head_hash)
        return _as_result(summary)

    def _sweep(self) -> None:
        """Plans of jobs that failed, or ended just before the process did: they name files and serve nobody."""
        unfinished = {f"restore-{job.id}" for job in self._catalogue.jobs.unfinished()}
        for left in self._plans.glob("restore-*"):
            if left.name.partition(".")[0] not in unfinished:
                left.unlink(missing_ok=True)

    def _locate(self, source: str, passphrase: str | None) -> Located:
        name, _, version = source.partition("@")
        if any(folder.name == name for folder in self._folders):
            folder = self._folders.named(name)
            return locate_own(
                self._news,
                self._catalogue,
                folder.row,
                folder.epochs,
                int(version) if version else None,
                folder.newsgroups,
            )
        opening = Opening(passphrase, own_identity(self._vault))
        return locate(self._news, source, self._clock, self._known, opening, self._folders.newsgroups())

    def _known(self, fingerprint: Fingerprint) -> KnownVersion | None:
        known = self._catalogue.heads.get(fingerprint)
        return None if known is None else KnownVersion(known.version, known.head_hash)

    def _plan_path(self, job_id: int) -> Path:
        return self._plans / f"restore-{job_id}.plan"


def _as_progress(progress: RestoreProgress) -> Progress:
    return {
        "phase": progress.phase,
        "files": progress.files,
        "files_total": progress.files_total,
        "bytes": progress.bytes,
        "bytes_total": progress.bytes_total,
        "failed": progress.failed,
    }


def _as_result(summary: RestoreSummary) -> Progress:
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
