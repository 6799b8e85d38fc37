"""What the groups of operations share."""

from usenetsyncd.catalogue.rows import FolderRow
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.daemon.live import LiveFolder


class Base:
    """Holds the daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def _row(self, name: str) -> FolderRow:
        """The catalogue row of a configured folder. Raises NotFound."""
        return self._daemon.catalogue.folders.by_id(self._live(name).row)

    def _live(self, name: str) -> LiveFolder:
        return self._daemon.folders.named(name)

    def _folder_row_or_none(self, name: str | None) -> int | None:
        return None if name is None else self._live(name).row

    def _name_of(self, row: int | None) -> str | None:
        folder = None if row is None else self._daemon.folders.by_row(row)
        return None if folder is None else folder.name
