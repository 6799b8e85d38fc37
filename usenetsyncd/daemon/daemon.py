"""The daemon: every part built in one place, started and stopped in one order.

Start: lock, vault, catalogue, leases back, news, uploader, publisher, indexer, watch, timetable, control.
Stop: the same backwards, with a deadline. A second signal skips the waiting.
"""

import gc
import os
import threading
from pathlib import Path

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock
from usenetsyncd.daemon import timetable as times
from usenetsyncd.daemon.accounts import accounts_of, overrides_of
from usenetsyncd.daemon.allocator import give_memory_back
from usenetsyncd.daemon.caretaking import Care
from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.dashboard import HOUR_SPAN_S, Dashboard
from usenetsyncd.daemon.following import Following
from usenetsyncd.daemon.heartbeats import Heartbeats
from usenetsyncd.daemon.indexer import Indexer
from usenetsyncd.daemon.lane import Lane
from usenetsyncd.daemon.limits import limits_at
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.daemon.pauses import Pauses
from usenetsyncd.daemon.protecting import Protecting
from usenetsyncd.daemon.publishing import Publishing
from usenetsyncd.daemon.restoring import Restoring
from usenetsyncd.daemon.sharing import Sharing
from usenetsyncd.daemon.timetable import Timetable
from usenetsyncd.daemon.upkeep import Upkeep
from usenetsyncd.flows.content import ContentFinder, Rebuilds
from usenetsyncd.flows.staging import Staging
from usenetsyncd.flows.upload import Uploader
from usenetsyncd.folders.settle import Settle
from usenetsyncd.folders.watch import FolderWatch
from usenetsyncd.news.service import NewsService
from usenetsyncd.service.lock import LockFile
from usenetsyncd.settings.layers import LoadedSettings
from usenetsyncd.settings.schema import Settings
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.vault.vault import Vault

log = structlog.get_logger("daemon")

CATALOGUE_NAME = "catalogue.sqlite"
LOCK_NAME = "usenetsyncd.lock"
PLANS_NAME = "restores"
STAGING_NAME = "staging"
# Below TimeoutStopSec of the unit.
STOP_DEADLINE_S = 60.0
NEWS_CLOSE_S = 5.0
HURRY_POLL_S = 0.1


class Daemon:
    """All parts of one running daemon. ``start`` once, ``stop`` once."""

    def __init__(self, loaded: LoadedSettings, clock: Clock) -> None:
        self.loaded = loaded
        self.clock = clock
        self.started_at = clock.now()
        settings = loaded.settings
        self.data_dir = Path(settings.storage.data_dir)
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = LockFile(self.data_dir / LOCK_NAME)
        self.lock.acquire()
        try:
            self._build(settings)
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """What was opened before the building failed is closed: a thread left alive would keep the process."""
        for part in ("news", "catalogue"):
            if part in self.__dict__:
                self.__dict__[part].close(*((0.0,) if part == "news" else ()))
        self.lock.release()

    def _build(self, settings: Settings) -> None:
        self.vault = Vault.open(self.data_dir)
        self.catalogue = Catalogue.open(self.data_dir / CATALOGUE_NAME, self.clock)
        self.heartbeats = Heartbeats(self.clock)
        self.up_rate, self.down_rate = RateWindow(self.clock), RateWindow(self.clock)
        self.dashboard = Dashboard(self.vault, self.up_rate, self.down_rate, self.clock)
        accounts, self.account_problems = accounts_of(settings, self.vault.credentials.get, os.environ)
        self.news = NewsService(accounts, self.clock, overrides_of(settings))
        self.folders = LiveFolders(self.catalogue, self.vault)
        self.sharing = Sharing(self.catalogue, self.vault, self.folders)
        self.scopes = Scopes(
            self.catalogue, self.vault, self.folders, self.news, self.clock, lambda: self.settings
        )
        self.care_lane = Lane("caretaker", self.heartbeats.of("caretaker"))
        self.upkeep = Upkeep(self.scopes, self.care_lane, self._released)
        self._build_posting()
        self.restoring = Restoring(
            self.catalogue,
            self.vault,
            self.folders,
            self.news,
            self.clock,
            self.data_dir / PLANS_NAME,
            self.down_rate,
        )
        plans, beat = self.data_dir / PLANS_NAME, self.heartbeats.of("follower")
        self.following = Following(self.scopes, self.data_dir, plans, self.down_rate, beat)
        care = Care(self.scopes, self.care_lane, self.restoring, self.uploader.wake, self._posting_rests)
        self.book, self.jobs, self.caretaker = care.book, care.jobs, care.caretaker
        self.timetable = Timetable(lambda name: self._request_scan(name, "timetable"))
        self.watch: FolderWatch | None = None
        self.pauses = Pauses(self.catalogue, self.clock, self._pauses_changed)
        self.restart_needed: tuple[str, ...] = ()
        self.reloading = threading.Lock()
        self._was_busy = True
        # Folders in which events were lost, why and when; each was scanned whole because of it.
        self.overflows: dict[str, tuple[str, float]] = {}
        self._stopping = threading.Event()

    def _build_posting(self) -> None:
        """The way out: from changes to articles to versions."""
        self.settle = Settle(self.clock)
        self.staging = Staging(self.data_dir / STAGING_NAME)
        self.finder = ContentFinder(self.catalogue, self.news, self.staging, self._rebuilder_of)
        self.uploader = Uploader(
            self.catalogue,
            self.news,
            self.folders.posting_of,
            self.clock,
            self.up_rate,
            on_recorded=self._recorded,
            on_changed=self._source_changed,
            finder=self.finder,
        )
        self.indexer = Indexer(
            self.catalogue,
            self.folders,
            self.settle,
            self.clock,
            on_planned=self._planned,
            on_stored=self.uploader.wake,
            beat=self.heartbeats.of("indexer"),
        )
        self.protecting = Protecting(
            self.catalogue,
            self.folders,
            self.news,
            self.staging,
            self.clock,
            scanning=self.indexer.busy_with,
            on_queued=self.uploader.wake,
            on_idle=self._parity_rests,
            beat=self.heartbeats.of("protector"),
        )
        self.publishing = Publishing(
            self.catalogue,
            self.folders,
            self.news,
            self.clock,
            scanning=self.indexer.busy_with,
            on_queued=self.uploader.wake,
            beat=self.heartbeats.of("publisher"),
            on_published=self._tell_readers,
            allows=self.upkeep.may_publish,
            awaits_parity=self.protecting.awaited,
        )

    @property
    def settings(self) -> Settings:
        """The snapshot in force."""
        return self.loaded.settings

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up work where it was. Returns when everything runs."""
        returned = self.catalogue.queue.return_leases()
        if returned:
            log.info("doubtful_articles_found", articles=returned)
        self.folders.load(self.settings)
        self.apply_limits()
        self.publishing.recover()
        self.uploader.start()
        self.publishing.start()
        self.protecting.start()
        self.indexer.start()
        self.watch = FolderWatch(self.settle.mark, self._overflowed)
        for folder in self.folders:
            self.watch_folder(folder)
            self._request_scan(folder.name, "start")
        self.fill_timetable()
        self.timetable.start()
        self.care_lane.start()
        self.following.start()
        self.jobs.resume()
        log.info("daemon_started", folders=len(list(self.folders)), servers=len(self.settings.servers))

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Stop in order; ``hurry``, set now or later, cuts off articles in flight (they come back as doubtful)."""
        self._stopping.set()
        stopped = threading.Event()
        cutter = threading.Thread(target=self._cut_off, args=(hurry, stopped), name="hurry")
        if hurry is not None:
            cutter.start()
        try:
            self._stop_parts(STOP_DEADLINE_S)
        finally:
            stopped.set()
            if hurry is not None:
                cutter.join()
        log.info("daemon_stopped")

    def _cut_off(self, hurry: threading.Event, stopped: threading.Event) -> None:
        while not stopped.wait(HURRY_POLL_S):
            if hurry.is_set():
                self.news.close(0.0)
                return

    def _stop_parts(self, deadline_s: float) -> None:
        self.timetable.stop()
        if self.watch is not None:
            self.watch.close()
        self.care_lane.stop()
        self.following.stop()
        self.jobs.stop(deadline_s)
        self.indexer.stop()
        self.protecting.stop()
        self.publishing.stop()
        self.uploader.stop(deadline_s)
        self.news.close(NEWS_CLOSE_S)
        self.protecting.join()
        self.catalogue.close()
        self.lock.release()

    @property
    def stopping(self) -> bool:
        """Whether the stop has begun."""
        return self._stopping.is_set()

    def summary(self) -> str:
        """One line for the service manager."""
        totals = self.catalogue.folders.totals()
        if totals.pending_articles:
            return f"{totals.folders} folders, {totals.pending_articles} articles to post"
        return f"{totals.folders} folders, {totals.files} files, all posted"

    def dead_parts(self) -> list[str]:
        """Names of parts that are dead or hang; the watchdog is fed while there are none."""
        dead = self.heartbeats.stale()
        if not self.uploader.alive():
            dead.append("uploader")
        if not self.indexer.alive():
            dead.append("indexer")
        if not self.publishing.alive():
            dead.append("publisher")
        if not self.protecting.alive():
            dead.append("protector")
        if not self.care_lane.alive():
            dead.append("caretaker")
        if not self.following.alive():
            dead.append("follower")
        if self.catalogue.writer.failed is not None:
            dead.append("catalogue writer")
        return dead

    # -- what the parts tell one another -------------------------------------------------------

    def _planned(self, row: int) -> None:
        self.upkeep.guard.scanned(row)
        self.uploader.wake()
        self.publishing.wake()

    def _released(self, folder: LiveFolder) -> None:
        self._request_scan(folder.name, "released by the deletion guard")
        self.uploader.wake()
        self.publishing.wake()

    def _recorded(self, rows: set[int]) -> None:
        self.uploader.wake()  # the last page of a version lets its head go
        self.publishing.wake()
        self.protecting.wake()

    def _tell_readers(self, folder: LiveFolder) -> None:
        if self.sharing.tell_readers(folder):
            self.uploader.wake()

    def _source_changed(self, row: int) -> None:
        folder = self.folders.by_row(row)
        if folder is not None:
            self._request_scan(folder.name, "a file changed before it was posted")

    def _posting_rests(self) -> bool:
        now = limits_at(self.settings.limits, self.clock.now())
        return now.up_paused or self.pauses.until(None) is not None

    def _rebuilder_of(self, row: int) -> Rebuilds | None:
        return self.protecting.rebuilder_of(row)

    def _parity_rests(self) -> None:
        self.publishing.wake()

    def _overflowed(self, name: str, reason: str) -> None:
        self.overflows[name] = reason, self.clock.now()
        self.catalogue.events.add(
            "warning", "watch_overflow", f"{name}: {reason}; the folder is scanned again"
        )
        self._request_scan(name, reason)

    def _request_scan(self, name: str, reason: str) -> None:
        if not self._stopping.is_set():
            self.indexer.request(name, reason)

    # -- settings that can be applied while it runs -----------------------------------------------

    def watch_folder(self, folder: LiveFolder) -> None:
        """Set the watches of a folder, before it is scanned."""
        if self.watch is not None:
            self.settle.set_times(folder.name, folder.settings.settle)
            self.watch.add(folder.name, folder.root, folder.ignore)

    def apply_limits(self) -> None:
        """Put the limits of this hour into force."""
        now = limits_at(self.settings.limits, self.clock.now())
        self.news.set_limits(now.up_bytes_per_s, now.down_bytes_per_s)
        self.pauses.expire([folder.row for folder in self.folders])
        self.uploader.pause(now.up_paused or self.pauses.until(None) is not None)

    def unwatch_folder(self, name: str) -> None:
        """A folder left the configuration."""
        if self.watch is not None:
            self.watch.remove(name)
        self.settle.forget(name)

    def connect_accounts(self, settings: Settings) -> None:
        """Use these accounts, and what the settings say of retrying, from now on; connections of unchanged accounts are
        kept."""
        self.news.set_retry(overrides_of(settings))
        accounts, self.account_problems = accounts_of(settings, self.vault.credentials.get, os.environ)
        self.news.replace_accounts(accounts)
        self.uploader.servers_changed()

    def fill_timetable(self) -> None:
        """(Re)schedule everything that happens by the clock."""
        self.timetable.set_rescans({folder.name: folder.settings.rescan for folder in self.folders})
        self.timetable.every("limits", times.SCHEDULE_S, self.apply_limits)
        self.timetable.every("checkpoint", times.CHECKPOINT_S, self._checkpoint)
        self.timetable.every("upkeep", times.UPKEEP_S, self._upkeep)
        self.timetable.every("following", times.FOLLOWING_S, self.following.look)
        self.timetable.every("caretaking", times.CARETAKING_S, self.caretaker.look)
        self.upkeep.fill(self.timetable)
        self.timetable.every("unwatched", times.UNWATCHED_S, self._scan_unwatched)
        self.timetable.every("traffic", HOUR_SPAN_S, self.dashboard.traffic.sample)

    def _pauses_changed(self) -> None:
        self.apply_limits()
        self.uploader.wake()
        self.publishing.wake()

    def _checkpoint(self) -> None:
        self.catalogue.writer.checkpoint()

    def _upkeep(self) -> None:
        self.news.tick()
        self.uploader.resize()
        if self.sharing.expire():
            self.publishing.wake()
        self._rest()
        if self.watch is not None and not self.watch.healthy() and not self._stopping.is_set():
            log.error("watch_died")
            self.watch.revive()

    def _rest(self) -> None:
        """Once after work: what indexing and posting took is given back."""
        busy = self.indexer.activity is not None or self.jobs.active() > 0
        busy = busy or self.catalogue.folders.totals().pending_articles > 0
        if self._was_busy and not busy:
            self.uploader.rest()
            self.catalogue.rest()
            gc.collect()
            give_memory_back()
        self._was_busy = busy

    def _scan_unwatched(self) -> None:
        """What the kernel does not tell is found by looking, and often: an unchanged folder costs little."""
        for folder in self.folders:
            coverage = None if self.watch is None else self.watch.coverage(folder.name)
            if coverage is not None and not coverage.complete:
                self._request_scan(folder.name, "not all of it is watched")
