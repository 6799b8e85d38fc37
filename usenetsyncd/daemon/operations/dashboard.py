"""What the dashboard and a metrics collector ask beside the rest: directories, traffic, metrics, logins."""

from usenetsyncd.control.schema import web as schema
from usenetsyncd.daemon.dashboard import DAY_SPAN_S, HOUR_SPAN_S
from usenetsyncd.daemon.operations.state import StateOperations
from usenetsyncd.errors import ConfigurationError, UsageError
from usenetsyncd.model import EntryKind, RelativePath

LINK_VALID_S = 300.0
_KINDS = {EntryKind.FILE: "file", EntryKind.FOLDER: "folder", EntryKind.SYMLINK: "symlink"}


class DashboardOperations(StateOperations):
    """directory, traffic, metrics, web."""

    def directory(self, folder: str, path: bytes, after: str | None, limit: int) -> schema.DirectoryPage:
        """What a directory holds, as the last scan saw it."""
        below = RelativePath(path.strip(b"/"))
        page = self._daemon.catalogue.listing.page(self._live(folder).row, below, after, limit)
        entries = [
            schema.DirectoryEntry(
                path=entry.name,
                kind=_KINDS[entry.kind],
                size=entry.size,
                modified_at=None if entry.mtime_ns is None else entry.mtime_ns / 1e9,
            )
            for entry in page.rows
        ]
        return schema.DirectoryPage(folder=folder, path=below, entries=entries, next=page.next)

    def traffic(self) -> schema.Traffic:
        """How fast it went lately."""
        history = self._daemon.dashboard.traffic
        return schema.Traffic(
            hour_span_s=HOUR_SPAN_S,
            hour=[schema.TrafficPoint(up=up, down=down) for up, down in list(history.hour)],
            day_span_s=DAY_SPAN_S,
            day=[schema.TrafficPoint(up=up, down=down) for up, down in list(history.day)],
        )

    def metrics(self) -> bytes:
        """In the text format of Prometheus."""
        # its library brings HTTP servers along: for those who collect
        from usenetsyncd.daemon.measuring import Measuring
        from usenetsyncd.telemetry.metrics import exposition

        return exposition(Measuring(self._daemon, self.status(), self.health()).readings())

    def web_login(self) -> schema.WebLogin:
        """A one-time link."""
        link = self._daemon.dashboard.login_link()
        if link is None and self._daemon.settings.web.listen is None:
            raise UsageError(
                'the dashboard is off; set web.listen to "127.0.0.1:8734" and run usyncctl config reload'
            )
        if link is None:
            raise ConfigurationError(f"the dashboard does not run: {self._daemon.dashboard.problem}")
        return schema.WebLogin(url=link, expires_in_s=LINK_VALID_S)
