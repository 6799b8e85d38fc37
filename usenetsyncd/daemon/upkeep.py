"""What keeps an installation out of trouble: the deletion guard, backups, and numbers that are never used twice."""

from collections.abc import Callable

from usenetsyncd.daemon.abreast import Abreast
from usenetsyncd.daemon.backups import LOOK_S, Backups
from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.directory import LOOK_S as DIRECTORY_S
from usenetsyncd.daemon.directory import DirectoryKeeper
from usenetsyncd.daemon.guarding import Guard
from usenetsyncd.daemon.keeping import LOOK_S as KEEPING_S
from usenetsyncd.daemon.keeping import Keeper
from usenetsyncd.daemon.lane import Lane
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.daemon.notifying import LOOK_S as NOTIFY_S
from usenetsyncd.daemon.notifying import Notifying
from usenetsyncd.daemon.timetable import Timetable


class Upkeep:
    """All of it for one daemon."""

    def __init__(self, scopes: Scopes, lane: Lane, on_released: Callable[[LiveFolder], None]) -> None:
        """lane: where what takes time is done. on_released: a folder that was held may go on."""
        catalogue, folders, clock = scopes.catalogue, scopes.folders, scopes.clock
        self._scopes = scopes
        self.guard = Guard(catalogue, folders, clock, on_released)
        self.backups = Backups(catalogue, catalogue.path.parent, clock)
        self.directory = DirectoryKeeper(scopes, lane)
        self.keeper = Keeper(scopes, lane)
        self.notifying = Notifying(scopes, lane)
        self.abreast = Abreast(catalogue, scopes.vault, folders, scopes.news, clock, self._reads)

    def may_publish(self, folder: LiveFolder) -> bool:
        """Whether a version of the folder may be made now; asked by the publisher's thread."""
        return self.guard.allows(folder) and self.abreast.confirms(folder)

    def fill(self, timetable: Timetable) -> None:
        """What it does by the clock."""
        timetable.every("backups", LOOK_S, self.backups.look)
        timetable.every("keeping", KEEPING_S, self.keeper.look)
        timetable.every("notify", NOTIFY_S, self.notifying.look)
        timetable.every("directory", DIRECTORY_S, self.directory.look)

    def _reads(self) -> bool:
        return bool(self._scopes.servers().reading)
