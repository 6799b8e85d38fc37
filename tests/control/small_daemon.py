"""A daemon of one folder, one server and a few rows: the smallest that answers all that the API may ask."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.control.small_following import SmallFollowing
from tests.control.small_people import STARTED, SmallPeople
from tests.control.small_upkeep import SmallUpkeep
from usenetsyncd.control import schema
from usenetsyncd.errors import ConfigurationError, LoginRefused, NotFound, UsageError

NASTY = b"\x1b]0;owned\x07/caf\xc3\xa9\xff"
CONFIG_PROBLEMS = (
    "usenetsyncd.yaml:11:18: error: servers[0].connections: expected a whole number, got 'twenty'\n"
    "usenetsyncd.yaml:27:3: error: defaults.setle: unknown key; did you mean 'settle'?"
)


class SmallDaemon(SmallFollowing, SmallUpkeep, SmallPeople):
    """Implements control.operations.Operations on plain lists. Its attributes are the test's hands."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.name = "nas01"
        self.is_idle = True
        self.ready = True
        self.verdict = schema.Verdict.OK
        self.warnings: list[schema.Trouble] = []
        self.restart_needed: list[str] = []
        self.known = {"docs": self.make_folder("docs", b"/srv/docs")}
        self.paused: dict[str | None, float | None] = {}
        self.secrets: dict[str, str] = {"main": "hunter2"}
        self.jobs_by_id: dict[int, schema.Job] = {}
        self.orders: list[schema.RestoreOrder] = []
        self.care_orders: list[schema.VerifyOrder | schema.RepairOrder] = []
        self.care_ends: dict[str, object] | None = None
        self.job_changed = threading.Condition()
        self.event_rows = [self.make_event(i) for i in range(1, 4)]
        self.log_rows = [
            schema.LogLine(
                id=i, at=STARTED + i, level="info", component="news", event="posted", fields={"n": i}
            )
            for i in range(1, 4)
        ]
        self.config_refuses = False
        self.file_refuses: Exception | None = None
        self.server_works = True
        self.restore_warnings: list[str] = []
        self.unreadable = 0
        self.damage = schema.Damage()
        self.last_check: schema.LastCheck | None = None

    @staticmethod
    def make_folder(name: str, path: bytes, **values: object) -> schema.Folder:
        shown = {
            "state": "up_to_date",
            "files": 48_213,
            "bytes": 61_000_000_000,
            "version": 118,
            "restorable_at": STARTED,
            "verified_at": STARTED,
            "verified_fraction": 1.0,
            "health": "restorable",
        }
        return schema.Folder.model_validate({"id": name, "path": path, **shown, **values})

    @staticmethod
    def make_event(number: int) -> schema.Event:
        return schema.Event(
            id=number, at=STARTED + number, level="info", code="tested", message=f"event {number}"
        )

    def add_event(self) -> None:
        with self.lock:
            self.event_rows.append(self.make_event(len(self.event_rows) + 1))

    # -- the daemon ------------------------------------------------------------------------

    def status(self) -> schema.Status:
        return schema.Status(
            name=self.name,
            version="1.0.0",
            state=schema.DaemonState.RUNNING,
            started_at=STARTED,
            uptime_s=532_800.0,
            restorable_at=time.time() - 720,
            warnings=self.warnings,
            folders=list(self.known.values()),
            folders_total=len(self.known),
            transfer=schema.Transfer(
                up_bytes_per_s=7.6e6, up_limit_bytes_per_s=8e6, left_bytes=41_200_000_000, eta_s=5_700
            ),
            servers=self.servers().servers,
            restart_needed=self.restart_needed,
        )

    def health(self) -> schema.Health:
        return schema.Health(verdict=self.verdict, ready=self.ready, reasons=self.warnings)

    def version(self) -> schema.Version:
        return schema.Version(version="1.0.0", format_version=1, python="3.11", pid=4711)

    def idle(self) -> schema.Idle:
        return schema.Idle(idle=self.is_idle, reasons=[] if self.is_idle else ["docs: 3 files to upload"])

    def stop(self) -> None:
        self.stopped.set()

    # -- folders and files -------------------------------------------------------------------

    def folders(self, after: str | None, limit: int) -> schema.FolderList:
        rows = [folder for name, folder in sorted(self.known.items()) if after is None or name > after]
        following = rows[limit - 1].id if len(rows) > limit else None
        return schema.FolderList(folders=rows[:limit], next=following)

    def folder(self, folder: str) -> schema.FolderDetail:
        found = self._folder(folder)
        named = {name: getattr(found, name) for name in schema.Folder.model_fields}
        return schema.FolderDetail(
            **named,
            directories=12,
            watched=12,
            fingerprint="ab" * 16,
            newsgroups=["alt.test"],
            damage=self.damage,
            last_check=self.last_check,
        )

    def folder_add(self, spec: schema.FolderSpec) -> schema.ConfigDifference:
        if self.file_refuses is not None:
            raise self.file_refuses
        if spec.id in self.known:
            raise UsageError(f"there is a folder '{spec.id}' already")
        self.known[spec.id] = self.make_folder(spec.id, spec.path, state="scanning", version=0)
        return self._difference(f"folders[{spec.id}]: added")

    def folder_remove(self, folder: str) -> schema.ConfigDifference:
        self._folder(folder)
        if self.file_refuses is not None:
            raise self.file_refuses
        del self.known[folder]
        return self._difference(f"folders[{folder}]: removed")

    def folder_errors(self, folder: str, after: str | None, limit: int) -> schema.FolderErrorList:
        self._folder(folder)
        row = schema.FolderError(path=NASTY, code="unreadable", message="Permission denied", since=STARTED)
        return schema.FolderErrorList(folder=folder, errors=[row])

    def folder_versions(
        self, folder: str, after: str | None, limit: int, health: bool = False
    ) -> schema.FolderVersionList:
        self._folder(folder)
        row = schema.FolderVersion(
            version=118, state="published", created_at=STARTED, published_at=STARTED, files=3, bytes=9
        )
        if health:
            row = row.model_copy(update={"health": schema.FolderHealth.AT_RISK})
        return schema.FolderVersionList(folder=folder, versions=[row])

    def file_status(self, path: bytes) -> schema.FileStatus:
        self._inside(path)
        return schema.FileStatus(
            path=path, folder="docs", state="published", size=10, version=118, segments=1, segments_posted=1
        )

    def file_versions(self, path: bytes, after: str | None, limit: int) -> schema.FileVersionList:
        self._inside(path)
        rows = [
            schema.FileVersion(version=7, created_at=STARTED, kind="absent"),
            schema.FileVersion(version=3, created_at=STARTED, kind="file", size=10, modified_at=STARTED),
        ]
        return schema.FileVersionList(path=path, folder="docs", versions=rows)

    # -- work --------------------------------------------------------------------------------

    def scan(self, folder: str | None) -> schema.ScanStarted:
        return schema.ScanStarted(folders=self._names(folder))

    def scan_lines(
        self, folder: str | None, stop: threading.Event
    ) -> Iterator[schema.ScanProgress | schema.ScanEnded | schema.ScanSummary]:
        names = self._names(folder)
        return self._scan_lines(names, stop)

    def _scan_lines(
        self, names: list[str], stop: threading.Event
    ) -> Iterator[schema.ScanProgress | schema.ScanEnded | schema.ScanSummary]:
        for name in names:
            yield schema.ScanProgress(folder=name, files=1, bytes=2)
            while not self.is_idle:
                if stop.wait(0.02):
                    return
            yield schema.ScanEnded(folder=name, files_hashed=2, bytes_hashed=20, unreadable=self.unreadable)
        yield schema.ScanSummary(
            folders=len(names), files_hashed=2, bytes_hashed=20, unreadable=self.unreadable
        )

    def pause(self, request: schema.PauseRequest) -> schema.Paused:
        if request.folder is not None:
            self._folder(request.folder)
        until = None if request.for_s is None else time.time() + request.for_s
        self.paused[request.folder] = until
        return schema.Paused(folder=request.folder, paused=True, until=until)

    def resume(self, folder: str | None) -> schema.Paused:
        self.paused.pop(folder, None)
        return schema.Paused(folder=folder, paused=False)

    def queue(self, state: str | None, folder: str | None, after: str | None, limit: int) -> schema.QueuePage:
        row = schema.QueuedArticle(
            id="12-0",
            folder="docs",
            kind="data",
            state=state or "queued",
            priority="normal",
            bytes=768_000,
            reason="441 no",
        )
        counts = {"queued": 1, "failed": 0}
        return schema.QueuePage(
            articles=[row][:limit],
            counts=counts,
            pending_bytes=768_000,
            next="12-0" if after is None else None,
        )

    def queue_retry(self, selection: schema.QueueSelection) -> schema.Counted:
        return schema.Counted(count=len(selection.articles) or 7)

    def queue_cancel(self, selection: schema.QueueSelection) -> schema.Counted:
        return schema.Counted(count=len(selection.articles) or 7)

    def queue_move(self, selection: schema.QueueMove) -> schema.Counted:
        return schema.Counted(count=len(selection.articles) or 7)

    def jobs(self, state: str | None, after: str | None, limit: int) -> schema.JobPage:
        rows = sorted(self.jobs_by_id.values(), key=lambda job: -job.id)
        return schema.JobPage(jobs=[job for job in rows if state in (None, job.state)][:limit])

    def job(self, job_id: int) -> schema.Job:
        try:
            return self.jobs_by_id[job_id]
        except KeyError:
            raise NotFound(f"there is no job {job_id}") from None

    def job_cancel(self, job_id: int) -> schema.Job:
        self.job(job_id)
        return self.change_job(
            job_id, state="cancelled", error_code="cancelled", error="cancelled on request"
        )

    def change_job(self, job_id: int, **values: object) -> schema.Job:
        with self.job_changed:
            self.jobs_by_id[job_id] = self.jobs_by_id[job_id].model_copy(update=values)
            self.job_changed.notify_all()
        return self.jobs_by_id[job_id]

    def wait_jobs(self, timeout_s: float) -> None:
        with self.job_changed:
            self.job_changed.wait(timeout_s)

    def restore(self, order: schema.RestoreOrder) -> schema.Job:
        self.orders.append(order)
        job_id = len(self.jobs_by_id) + 1
        target = order.target.decode("utf-8", "backslashreplace")
        progress = {
            "phase": "fetching",
            "files": 1,
            "files_total": 3,
            "bytes": 10,
            "bytes_total": 30,
            "failed": 0,
        }
        job = schema.Job(
            id=job_id, kind="restore", state="running", target=target, created_at=STARTED, progress=progress
        )
        self.jobs_by_id[job_id] = job
        return job

    def finish_restore(self, job_id: int, failed: int = 0) -> None:
        failures = [
            {"path": NASTY.decode("utf-8", "backslashreplace"), "reason": "a different file stands there"}
        ]
        result = {
            "type": "summary",
            "version": 7,
            "files": 3 - failed,
            "bytes": 30,
            "failed": failed,
            "warnings": self.restore_warnings,
        }
        self.change_job(
            job_id, state="done", result=result | {"failures": failures[:failed]}, finished_at=STARTED
        )

    def verify(self, order: schema.VerifyOrder) -> schema.Job:
        if order.server not in (None, "main"):
            raise NotFound(f"no server is called {order.server!r}")
        return self._care("verify", order.folder, order)

    def repair(self, order: schema.RepairOrder) -> schema.Job:
        return self._care("repair", order.folder, order)

    def _care(
        self, kind: str, folder: str | None, order: schema.VerifyOrder | schema.RepairOrder
    ) -> schema.Job:
        self._names(folder)
        self.care_orders.append(order)
        progress = {"phase": "asking", "folder": "docs", "done": 10, "total": 30, "missing": 1}
        job_id = len(self.jobs_by_id) + 1
        job = schema.Job(
            id=job_id, kind=kind, state="running", folder=folder, created_at=STARTED, progress=progress
        )
        self.jobs_by_id[job_id] = job
        if self.care_ends is not None:
            self.change_job(job_id, state="done", result=self.care_ends, finished_at=STARTED)
        return self.jobs_by_id[job_id]

    # -- servers, configuration, credentials -------------------------------------------------

    def servers(self) -> schema.ServerList:
        server = schema.Server(
            name="main",
            state="up",
            connections=18,
            connections_max=20,
            host="news.example",
            port=563,
            tls="implicit",
            roles=["post"],
            id_policy="swallows",
            article_bytes=790_000,
        )
        return schema.ServerList(servers=[server])

    def server_test(self, name: str, post: bool = False) -> schema.ServerReport:
        if name == "refusing":
            raise LoginRefused("481 wrong password")
        if name != "main":
            raise NotFound(f"no server '{name}' in the configuration")
        problem = "" if self.server_works else "no"
        report = schema.ServerReport(name=name, ok=self.server_works, problem=problem, lines=["TLSv1.3"])
        found = {"id_policy": "keeps", "article_bytes": 790_000, "group": "alt.binaries.test"}
        return report.model_copy(update=found) if post else report

    def config_show(self, origin: bool) -> schema.ConfigShown:
        origins = {"version": "c.yaml:1:1"} if origin else None
        return schema.ConfigShown(
            text="version: 1\n", settings={"version": 1}, origins=origins, files=self.files()
        )

    def files(self) -> list[str]:
        return [str(Path("/etc/usenetsyncd/usenetsyncd.yaml"))]

    def config_validate(self, text: schema.ConfigText | None) -> schema.ConfigReport:
        return schema.ConfigReport(valid=text is None or "bad" not in text.text)

    def config_diff(self) -> schema.ConfigDifference:
        return self._difference("limits.upload: 0 -> 8 MB/s").model_copy(update={"applied": False})

    def config_reload(self) -> schema.ConfigDifference:
        if self.config_refuses:
            raise ConfigurationError(CONFIG_PROBLEMS)
        return self._difference("limits.upload: 0 -> 8 MB/s")

    def credentials(self) -> schema.CredentialList:
        kept = [schema.Credential(name=name, source="store") for name in sorted(self.secrets)]
        return schema.CredentialList(credentials=kept, missing=["other"])

    def credential_set(self, name: str, value: str) -> None:
        self.secrets[name] = value

    def credential_remove(self, name: str) -> None:
        if name not in self.secrets:
            raise NotFound(f"there is no credential '{name}'")
        del self.secrets[name]

    # -- what happened -----------------------------------------------------------------------

    def events(self, since: int | None, limit: int) -> list[schema.Event]:
        with self.lock:
            rows = list(self.event_rows)
        return rows[-limit:] if since is None else [row for row in rows if row.id > since][:limit]

    def logs(self, since: int, limit: int, component: str | None, level: str | None) -> list[schema.LogLine]:
        if component == "broken":
            raise ZeroDivisionError("hunter2")
        return [row for row in self.log_rows if row.id > since and component in (None, row.component)][
            -limit:
        ]

    # -- parts -------------------------------------------------------------------------------

    def _folder(self, name: str) -> schema.Folder:
        try:
            return self.known[name]
        except KeyError:
            raise NotFound(f"no folder named '{name}' (folders: {', '.join(self.known)})") from None

    def _names(self, folder: str | None) -> list[str]:
        return list(self.known) if folder is None else [self._folder(folder).id]

    def _inside(self, path: bytes) -> None:
        if not path.startswith(b"/srv/docs/"):
            raise NotFound("this path is in no folder")

    def _difference(self, text: str) -> schema.ConfigDifference:
        change = schema.ConfigChange(key=text.split(":")[0], live=True, text=text)
        return schema.ConfigDifference(changes=[change], applied=True, restart_needed=self.restart_needed)
