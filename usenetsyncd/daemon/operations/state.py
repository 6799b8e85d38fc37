"""How things are: status, health, whether everything is done."""

import os
import platform
import socket

from usenetsyncd import __version__
from usenetsyncd.catalogue.rows import ArticleState, FolderRow
from usenetsyncd.control import schema
from usenetsyncd.daemon.limits import limits_at
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.daemon.operations.care import CareOperations
from usenetsyncd.daemon.operations.following import follow_fields, follow_trouble
from usenetsyncd.flows.health import HealthWord
from usenetsyncd.news.records import ServerState
from usenetsyncd.telemetry.counters import eta_s

FORMAT_VERSION = 1
FOLDERS_SHOWN = 1_000
OVERFLOW_SHOWN_S = 3_600.0
CATCH_UP_S = 2.0


class StateOperations(CareOperations):
    """status, health, version, idle, stop."""

    _stop: object

    def status(self) -> schema.Status:
        """Everything at a glance."""
        daemon = self._daemon
        folders = [self._folder(folder) for folder in daemon.folders]
        limits = limits_at(daemon.settings.limits, daemon.clock.now())
        up = daemon.up_rate.per_second()
        left = sum(folder.pending_bytes for folder in folders)
        state, reason = self._state()
        restorable = [folder.restorable_at for folder in folders if folder.restorable_at is not None]
        checks = [at for folder in daemon.folders if (at := self._next_check_at(folder)) is not None]
        return schema.Status(
            name=socket.gethostname(),
            version=__version__,
            state=state,
            reason=reason,
            started_at=daemon.started_at,
            uptime_s=daemon.clock.now() - daemon.started_at,
            restorable_at=min(restorable, default=None) if len(restorable) == len(folders) else None,
            next_check_at=min(checks, default=None),
            warnings=self._warnings(folders),
            folders=folders[:FOLDERS_SHOWN],
            folders_total=len(folders),
            transfer=schema.Transfer(
                up_bytes_per_s=up,
                down_bytes_per_s=daemon.down_rate.per_second(),
                left_bytes=left,
                eta_s=eta_s(left, up),
                up_limit_bytes_per_s=limits.up_bytes_per_s or None,
                down_limit_bytes_per_s=limits.down_bytes_per_s or None,
            ),
            servers=self._servers(),
            restart_needed=daemon.restart_needed,
            follows=[
                schema.FollowState(**follow_fields(row, daemon.following.activity))
                for row in daemon.catalogue.follows.list()[:FOLDERS_SHOWN]
            ],
        )

    def health(self) -> schema.Health:
        """One verdict with reasons."""
        folders = [self._folder(folder) for folder in self._daemon.folders]
        reasons = self._warnings(folders)
        if any(reason.level == "error" for reason in reasons):
            verdict = schema.Verdict.ERROR
        else:
            verdict = schema.Verdict.WARNING if reasons else schema.Verdict.OK
        usable = any(server.state in ("idle", "up", "limited") for server in self._daemon.news.snapshot())
        return schema.Health(verdict=verdict, ready=usable and not self._daemon.dead_parts(), reasons=reasons)

    def version(self) -> schema.Version:
        """Versions of what runs."""
        return schema.Version(
            version=__version__,
            format_version=FORMAT_VERSION,
            python=platform.python_version(),
            pid=os.getpid(),
        )

    def idle(self) -> schema.Idle:
        """Whether everything that changed is scanned, posted and published, and no job runs."""
        daemon = self._daemon
        reasons: list[str] = []
        if daemon.watch is not None and not daemon.watch.caught_up(CATCH_UP_S):
            reasons.append("changes are being noticed")
        for folder in daemon.folders:
            reasons += self._why_busy(folder)
        if daemon.jobs.asked():
            reasons.append(f"{daemon.jobs.asked()} jobs run")
        if (update := daemon.following.activity) is not None:
            reasons.append(f"follow {update.follow}: version {update.version} is being placed")
        return schema.Idle(idle=not reasons, reasons=reasons)

    def _why_busy(self, folder: LiveFolder) -> list[str]:
        """In the order in which a change passes the stages, each of which begins before the one before it ends:
        so nothing slips through between two questions."""
        daemon = self._daemon
        if daemon.indexer.busy_with(folder.name):
            return [f"{folder.name}: changes are being read"]
        publishing = daemon.publishing.publishing(folder.row) or daemon.publishing.telling(folder.row)
        row = daemon.catalogue.folders.by_id(folder.row)
        if row.held or self._stuck(row):
            return []
        if row.pending_articles:
            return [f"{folder.name}: {row.pending_articles} articles to post"]
        if daemon.sharing.awaits_version(folder) and not (row.paused or row.held):
            return [f"{folder.name}: a new epoch begins"]
        if daemon.catalogue.versions.any_ready(folder.row) and not (row.paused or row.held):
            return [f"{folder.name}: changes are to be published"]
        if publishing or daemon.publishing.publishing(folder.row):
            return [f"{folder.name}: a version is being published"]
        return []

    def stop(self) -> None:
        """Begin a graceful stop and return at once."""
        self._stop()  # type: ignore[operator]

    def _state(self) -> tuple[schema.DaemonState, str]:
        daemon = self._daemon
        if daemon.stopping:
            return schema.DaemonState.STOPPING, "asked to stop"
        until = daemon.pauses.until(None)
        if until is not None:
            return schema.DaemonState.PAUSED, "paused; usyncctl resume goes on"
        limits = limits_at(daemon.settings.limits, daemon.clock.now())
        if limits.up_paused:
            return schema.DaemonState.PAUSED, limits.reason
        return schema.DaemonState.RUNNING, limits.reason

    def _folder(self, folder: LiveFolder) -> schema.Folder:
        row = self._daemon.catalogue.folders.by_id(folder.row)
        troubles = self._daemon.catalogue.troubles.counts(folder.row)
        state, reason = self._folder_state(folder, row)
        pending_files = 0
        if state is not schema.FolderState.UP_TO_DATE:
            pending_files = self._daemon.catalogue.versions.unready_count(folder.row)
        health = self._health(folder)
        return schema.Folder(
            id=folder.name,
            path=folder.root,
            state=state,
            reason=reason,
            files=row.files,
            bytes=row.bytes,
            pending_files=pending_files,
            pending_bytes=row.pending_bytes,
            version=row.version,
            restorable_at=None if health.word is HealthWord.DAMAGED else row.restorable_at,
            verified_at=row.verified_at,
            verified_fraction=self._verified_fraction(folder, row),
            health=schema.FolderHealth(health.word.value if row.version else HealthWord.UNKNOWN.value),
            errors=sum(count for code, count in troubles.items() if code != "skipped"),
        )

    def _folder_state(self, folder: LiveFolder, row: FolderRow) -> tuple[schema.FolderState, str]:
        """What it does and, where it does not do more, why."""
        daemon = self._daemon
        if row.held:
            return schema.FolderState.HELD, row.reason or "held"
        if row.paused or daemon.pauses.until(None) is not None:
            return schema.FolderState.PAUSED, "paused on request"
        if daemon.indexer.scanning(folder.name):
            return schema.FolderState.SCANNING, ""
        if self._stuck(row):
            return schema.FolderState.ERROR, f"{row.failed_articles} articles could not be posted"
        if row.pending_articles:
            return schema.FolderState.UPLOADING, self._why_not_posting()
        if daemon.publishing.publishing(folder.row) or daemon.catalogue.versions.any_ready(folder.row):
            return schema.FolderState.PUBLISHING, ""
        if row.failed_articles:
            return schema.FolderState.ERROR, f"{row.failed_articles} articles could not be posted"
        return schema.FolderState.UP_TO_DATE, ""

    def _stuck(self, row: FolderRow) -> bool:
        """Whether a version under way can only go on after ``queue retry``: a page or the head itself has failed."""
        if not row.failed_articles or not self._daemon.publishing.publishing(row.id):
            return False
        waiting = self._daemon.catalogue.queue.counts(row.id).articles[ArticleState.WAITING]
        return row.pending_articles == waiting

    def _why_not_posting(self) -> str:
        states = self._daemon.news.snapshot()
        if not states:
            return "no news server is configured"
        if all(state.state == "resting" for state in states):
            return states[0].reason
        return ""

    def _warnings(self, folders: list[schema.Folder]) -> list[schema.Trouble]:
        daemon = self._daemon
        found = [
            schema.Trouble(
                code="account", message=problem, action="usyncctl credential set NAME", level="error"
            )
            for problem in daemon.account_problems
        ]
        found += [
            schema.Trouble(
                code="server",
                message=f"{state.name}: {state.reason}",
                action=f"usyncctl server test {state.name}",
            )
            for state in daemon.news.snapshot()
            if state.state in ("resting", "limited")
        ]
        for folder in folders:
            found += self._folder_warnings(folder)
        found += filter(None, map(follow_trouble, daemon.catalogue.follows.list()))
        if daemon.dead_parts():
            message = "not alive: " + ", ".join(daemon.dead_parts())
            found.append(schema.Trouble(code="dead", message=message, action="usyncctl logs", level="error"))
        if daemon.dashboard.problem:
            message = f"no dashboard: {daemon.dashboard.problem}"
            found.append(schema.Trouble(code="web", message=message, action="usyncctl config validate"))
        if daemon.restart_needed:
            message = "waits for a restart: " + ", ".join(daemon.restart_needed)
            found.append(schema.Trouble(code="restart", message=message, action="usyncctl stop"))
        return found

    def _folder_warnings(self, folder: schema.Folder) -> list[schema.Trouble]:
        found: list[schema.Trouble] = []

        def warn(code: str, message: str, action: str, level: str = "warning") -> None:
            text = f"{folder.id}: {message}"
            found.append(schema.Trouble(code=code, message=text, action=action, level=level))

        if folder.state is schema.FolderState.HELD:
            warn("held", folder.reason, f"usyncctl folder review {folder.id}", "error")
        if folder.errors:
            warn("unreadable", f"{folder.errors} files cannot be kept", f"usyncctl folder errors {folder.id}")
        live = self._live(folder.id)
        row = self._daemon.catalogue.folders.by_id(live.row)
        if row.failed_articles:
            warn(
                "failed",
                f"{row.failed_articles} articles could not be posted",
                "usyncctl queue --state failed",
            )
        found += self._health_warnings(live)
        watch = self._daemon.watch
        coverage = None if watch is None else watch.coverage(folder.id)
        if coverage is not None and not coverage.complete:
            text = f"{coverage.watched} of {coverage.total} folders watched"
            message = f"{text}; {coverage.problem}" if coverage.problem else text
            warn("watch", message, "sysctl fs.inotify.max_user_watches")
        reason, at = self._daemon.overflows.get(folder.id, ("", 0.0))
        if self._daemon.clock.now() - at < OVERFLOW_SHOWN_S:
            message = f"events were lost ({reason}); the folder was scanned whole"
            warn("overflow", message, f"usyncctl scan {folder.id}")
        return found

    def _servers(self) -> list[schema.Server]:
        return [self._server(state) for state in self._daemon.news.snapshot()]

    def _server(self, state: ServerState) -> schema.Server:
        kept = next((s for s in self._daemon.settings.servers if s.name == state.name), None)
        return schema.Server(
            name=state.name,
            state=state.state,
            connections=state.connections,
            connections_max=state.connections_max,
            reason=state.reason or state.posting_reason,
            allowed=state.allowed,
            posted=state.posted,
            fetched=state.fetched,
            bytes_up=state.bytes_up,
            bytes_down=state.bytes_down,
            score=state.score,
            retry_after_s=state.retry_after_s,
            host=kept.host if kept else "",
            port=kept.port if kept else 0,
            tls=str(kept.tls) if kept else "",
            roles=[str(role) for role in kept.roles] if kept else [],
            priority=kept.priority if kept else 0,
            id_policy=str(state.id_policy),
            article_bytes=state.largest_posted,
        )
