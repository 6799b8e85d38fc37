"""Servers, configuration, credentials, and what happened."""

from pathlib import Path
from typing import Any

from usenetsyncd.control import schema
from usenetsyncd.daemon.operations.base import Base
from usenetsyncd.daemon.reload import Reloaded, Reloader
from usenetsyncd.errors import UsageError
from usenetsyncd.settings.difference import Change
from usenetsyncd.settings.layers import LoadedSettings, load_text
from usenetsyncd.settings.report import ConfigurationErrors
from usenetsyncd.settings.show import render_show, show_document
from usenetsyncd.telemetry.logs import ring


class SetupOperations(Base):
    """server *, config *, credential *, events, logs."""

    _reloader: Reloader

    def servers(self) -> schema.ServerList:
        """All configured servers."""
        return schema.ServerList(servers=self._servers())  # type: ignore[attr-defined]

    def server_test(self, name: str, post: bool = False) -> schema.ServerReport:
        """Connect, log in, ask. Takes seconds. post: also post one article. Raises NotFound, UsageError, NoServer."""
        groups = self._daemon.folders.newsgroups()[:1] if post else []  # ours are in one newsgroup each, too
        if post and not groups:
            raise UsageError("no newsgroup is configured to post the test article to; see `newsgroups:`")
        report = self._daemon.news.test(name, post, groups)
        return schema.ServerReport(
            name=report.name,
            ok=report.ok,
            problem=report.problem,
            lines=report.lines,
            tls=report.tls,
            certificate=report.certificate,
            certificate_expires_at=report.certificate_expires_s,
            login=report.login,
            posting=report.posting,
            round_trip_s=report.round_trip_s,
            pipelining=report.pipelining,
            connections=report.connections,
            connections_tried=report.connections_tried,
            id_policy=str(report.id_policy),
            article_bytes=report.article_bytes,
            group="".join(groups) if report.posting else "",
        )

    # -- configuration -----------------------------------------------------------------------

    def config_show(self, origin: bool) -> schema.ConfigShown:
        """The settings in effect."""
        loaded = self._daemon.loaded
        shown: dict[str, Any] = show_document(loaded, origin)
        return schema.ConfigShown(
            text=render_show(loaded, origin),
            settings=shown["settings"],
            origins=shown.get("origins"),
            files=[str(file) for file in loaded.files],
        )

    def config_validate(self, text: schema.ConfigText | None) -> schema.ConfigReport:
        """Check a text, or when None what stands in the files now."""
        try:
            loaded: LoadedSettings = (
                self._reloader.load() if text is None else load_text(text.text, text.name)
            )
        except ConfigurationErrors as error:
            problems = [str(problem) for problem in error.problems]
            return schema.ConfigReport(valid=False, problems=problems)
        return schema.ConfigReport(valid=True, warnings=[str(problem) for problem in loaded.warnings])

    def config_diff(self) -> schema.ConfigDifference:
        """The running settings against the files. Raises ConfigurationError."""
        return schema.ConfigDifference(changes=[_change(c) for c in self._reloader.compare()], applied=False)

    def config_reload(self) -> schema.ConfigDifference:
        """Apply what stands in the files. Raises ConfigurationError; the old settings stay then."""
        return _difference(self._reloader.reload())

    def _reloaded(self, file: Path) -> schema.ConfigDifference:
        return _difference(self._reloader.reload(), str(file))

    # -- credentials ---------------------------------------------------------------------------

    def credentials(self) -> schema.CredentialList:
        """Names, never values."""
        kept = self._daemon.vault.credentials.list()
        named = {
            name
            for server in self._daemon.settings.servers
            if server.password
            for name in server.password.credentials
        }
        return schema.CredentialList(
            credentials=[schema.Credential(name=one.name, source=one.source) for one in kept],
            missing=sorted(named - {one.name for one in kept}),
        )

    def credential_set(self, name: str, value: str) -> None:
        """Store or replace one, and reconnect what uses it."""
        self._daemon.vault.credentials.set(name, value)
        with self._daemon.reloading:
            self._daemon.connect_accounts(self._daemon.settings)
        self._daemon.dashboard.credential_changed(name)
        self._daemon.catalogue.events.add("info", "credential_set", f"the credential {name} was set")

    def credential_remove(self, name: str) -> None:
        """Raises NotFound."""
        self._daemon.vault.credentials.remove(name)
        self._daemon.catalogue.events.add("info", "credential_removed", f"the credential {name} was removed")

    # -- what happened -----------------------------------------------------------------------

    def events(self, since: int | None, limit: int) -> list[schema.Event]:
        """After this id, the oldest first; the newest ``limit`` of all, oldest first, when None."""
        events = self._daemon.catalogue.events
        rows = list(reversed(events.latest(limit))) if since is None else events.since(since, limit)
        return [
            schema.Event(
                id=row.id,
                at=row.at,
                level=row.level,
                code=row.code,
                folder=self._name_of(row.folder_id),
                message=row.message,
                fields=row.fields,
            )
            for row in rows
        ]

    def logs(self, since: int, limit: int, component: str | None, level: str | None) -> list[schema.LogLine]:
        """The newest ``limit`` after this id that fit, oldest first."""
        return [
            schema.LogLine(
                id=record.id,
                at=record.at_s,
                level=record.level,
                component=record.component,
                event=record.event,
                fields=record.fields,
                traceback=record.traceback,
            )
            for record in ring.recent(limit, component, level, since)
        ]


def _change(change: Change) -> schema.ConfigChange:
    return schema.ConfigChange(
        key=change.key, old=change.old, new=change.new, live=change.live, text=str(change)
    )


def _difference(reloaded: Reloaded, file: str | None = None) -> schema.ConfigDifference:
    return schema.ConfigDifference(
        changes=[_change(change) for change in reloaded.changes],
        applied=True,
        restart_needed=reloaded.restart_needed,
        warnings=reloaded.warnings,
        file=file,
    )
