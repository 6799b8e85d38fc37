"""What the API asks for, answered by the running daemon: a thin layer of conversions."""

from collections.abc import Callable

from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.daemon.operations.dashboard import DashboardOperations
from usenetsyncd.daemon.operations.folders import FolderOperations
from usenetsyncd.daemon.operations.following import FollowingOperations
from usenetsyncd.daemon.operations.people import PeopleOperations
from usenetsyncd.daemon.operations.setup import SetupOperations
from usenetsyncd.daemon.operations.upkeep import UpkeepOperations
from usenetsyncd.daemon.operations.work import WorkOperations
from usenetsyncd.daemon.reload import Reloader


class DaemonOperations(
    FollowingOperations,
    DashboardOperations,
    FolderOperations,
    WorkOperations,
    PeopleOperations,
    UpkeepOperations,
    SetupOperations,
):
    """Implements control.operations.Operations."""

    def __init__(self, daemon: Daemon, reloader: Reloader, stop: Callable[[], None]) -> None:
        """stop: begins the graceful stop of the process."""
        super().__init__(daemon)
        self._reloader = reloader
        self._stop = stop
