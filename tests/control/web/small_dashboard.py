"""The small daemon with what a dashboard asks beside the rest."""

from tests.control.small_daemon import SmallDaemon
from usenetsyncd.control.schema import web as schema


class SmallDashboard(SmallDaemon):
    """Answers everything that a page may ask."""

    def directory(self, folder: str, path: bytes, after: str | None, limit: int) -> schema.DirectoryPage:
        self.folder(folder)
        entry = schema.DirectoryEntry(path=b"<b>\xff", kind="file", size=3, modified_at=0.0)
        return schema.DirectoryPage(folder=folder, path=path, entries=[entry])

    def traffic(self) -> schema.Traffic:
        points = [schema.TrafficPoint(up=number * 1e4, down=0.0) for number in range(40)]
        return schema.Traffic(hour_span_s=10.0, hour=points, day_span_s=300.0, day=[])

    def metrics(self) -> bytes:
        return b"usenetsyncd_ready 1.0\n"

    def web_login(self) -> schema.WebLogin:
        return schema.WebLogin(url="http://127.0.0.1:8734/login#word", expires_in_s=300.0)
