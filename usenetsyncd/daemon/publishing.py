"""One thread that publishes versions: when a folder's changes are all posted, or regularly while many are."""

import threading
from collections.abc import Callable

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import VersionRow
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.flows.epochs import epoch_awaits_version
from usenetsyncd.flows.publish import Publisher
from usenetsyncd.model import Priority
from usenetsyncd.news.service import NewsService

log = structlog.get_logger("publish")

IDLE_WAIT_S = 1.0
# While a large folder is uploaded, what is there already becomes restorable this often.
PARTIAL_EVERY_S = 300.0
# A silent publisher cannot be told from one whose newer heads are withheld: say something every week.
HEARTBEAT_S = 7 * 86_400.0
AFTER_ERROR_S = 30.0
# Stripes that no change of a file takes along get a version of their own after that.
LISTS_WAIT_S = 600.0


class Publishing:
    """Watches the journal of each folder and turns it into versions, one at a time per folder."""

    def __init__(
        self,
        catalogue: Catalogue,
        folders: LiveFolders,
        news: NewsService,
        clock: Clock,
        scanning: Callable[[str], bool],
        on_queued: Callable[[], None],
        beat: Callable[[], None],
        on_published: Callable[[LiveFolder], None] = lambda _: None,
        allows: Callable[[LiveFolder], bool] = lambda _: True,
        awaits_parity: Callable[[LiveFolder, int], bool] = lambda _folder, _version: False,
    ) -> None:
        """scanning: whether a folder is being scanned now. on_queued: articles are waiting. on_published: a version is
        on a server, now or before the process was started. awaits_parity: whether a folder's next version should wait,
        given the number of its newest one."""
        self._catalogue = catalogue
        self._folders = folders
        self._news = news
        self._clock = clock
        self._scanning = scanning
        self._on_queued = on_queued
        self._beat = beat
        self._on_published = on_published
        self._allows = allows
        self._awaits_parity = awaits_parity
        self._lists_since: dict[int, float] = {}
        self._told: set[int] = set()
        self._posting: dict[int, VersionRow] = {}
        self._building: int | None = None
        self._waiting_since: dict[int, float] = {}
        self._not_before: dict[int, float] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")

    def recover(self) -> None:
        """Before anything is posted: take up versions that were under way when the process ended."""
        for folder in self._folders:
            version = self._publisher(folder).recover()
            if version is not None:
                self._posting[folder.row] = version

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop between two steps."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() or self._stop.is_set()

    def wake(self) -> None:
        """Something was posted or planned."""
        self._wake.set()

    def publishing(self, row: int) -> bool:
        """Whether a version of the folder is under way."""
        return row in self._posting or row == self._building

    def telling(self, row: int) -> bool:
        """Whether readers are still to hear of the newest version."""
        return row not in self._told

    def _run(self) -> None:
        while not self._stop.is_set():
            self._beat()
            self._wake.clear()
            for folder in self._folders:
                if self._stop.is_set():
                    return
                self._step_safely(folder)
            self._wake.wait(IDLE_WAIT_S)

    def _step_safely(self, folder: LiveFolder) -> None:
        if self._not_before.get(folder.row, 0.0) > self._clock.monotonic():
            return
        try:
            self._step(folder)
        except UsenetSyncError as error:
            self._not_before[folder.row] = self._clock.monotonic() + AFTER_ERROR_S
            log.error("version_not_published", folder=folder.name, reason=str(error))
            self._catalogue.events.add("error", "publish_failed", f"{folder.name}: {error}", folder.row)
        except Exception:
            self._not_before[folder.row] = self._clock.monotonic() + AFTER_ERROR_S
            log.exception("publishing_failed_unexpectedly", folder=folder.name)

    def _step(self, folder: LiveFolder) -> None:
        publisher = self._publisher(folder)
        under_way = self._posting.get(folder.row)
        if under_way is not None:
            if not publisher.finish(under_way):
                return
            self._published(folder, under_way)
        if folder.row not in self._told:
            self._on_published(folder)
            self._told.add(folder.row)
        if self._should_build(folder) and self._allows(folder):
            self._waiting_since[folder.row] = self._clock.monotonic()
            self._building = folder.row
            try:
                self._posting[folder.row] = publisher.build()
            finally:
                self._building = None
            self._on_queued()

    def _published(self, folder: LiveFolder, version: VersionRow) -> None:
        self._told.discard(folder.row)
        del self._posting[folder.row]
        message = f"{folder.name}: version {version.version} is published ({version.files} files)"
        self._catalogue.events.add(
            "info", "version_published", message, folder.row, version=version.version, files=version.files
        )

    def _should_build(self, folder: LiveFolder) -> bool:
        row = self._catalogue.folders.by_id(folder.row)
        if row.paused or row.held:
            return False
        versions = self._catalogue.versions
        if epoch_awaits_version(self._catalogue, folder.row):
            return True
        now = self._clock.monotonic()
        if not versions.any_ready(folder.row):
            self._waiting_since[folder.row] = now
            return self._heartbeat_due(row.version, row.published_at) or self._lists_due(folder, row.version)
        done = row.pending_articles == 0 and not self._scanning(folder.name)
        if done and not self._awaits_parity(folder, row.version):
            return True
        # Parity of much that was posted long ago takes days: no change waits for that either.
        return now - self._waiting_since.setdefault(folder.row, now) >= PARTIAL_EVERY_S

    def _heartbeat_due(self, version: int, published_at: float | None) -> bool:
        return version > 0 and published_at is not None and self._clock.now() - published_at >= HEARTBEAT_S

    def _lists_due(self, folder: LiveFolder, version: int) -> bool:
        """Whether stripes, or ids that servers changed, have waited long enough for a version of their own."""
        if not version or not any(self._catalogue.stripes.ready(folder.row)):
            self._lists_since.pop(folder.row, None)
            return False
        now = self._clock.monotonic()
        return now - self._lists_since.setdefault(folder.row, now) >= LISTS_WAIT_S

    def _publisher(self, folder: LiveFolder) -> Publisher:
        return Publisher(
            self._catalogue,
            self._news,
            self._clock,
            folder.row,
            folder.signing,
            folder.keys,
            folder.settings.redundancy.copies,
            min(Priority.HIGH, folder.settings.priority),
            folder.epochs,
        )
