"""One thread that makes parity: full stripes at once, smaller ones before a version or when a folder is quiet."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import Cancelled, NewsError, UsenetSyncError
from usenetsyncd.flows.parity import ParityFolder, ParityMaker
from usenetsyncd.flows.rebuild import CatalogueStripes, Rebuilder
from usenetsyncd.flows.staging import Staging
from usenetsyncd.model import Priority
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.parity import shape_of

log = structlog.get_logger("parity")

IDLE_WAIT_S = 2.0
# Posting wakes this thread many times a second; a stripe fills less often.
REST_S = 0.1
AFTER_ERROR_S = 60.0
# Staged content that vanished is looked for that often.
RECOVER_EVERY_S = 3_600.0


@dataclass(slots=True)
class _Watched:
    """One folder as it was seen last."""

    seen: tuple[int, ...] = ()
    since: float = 0.0  # when anything of that last changed
    left: int = 0  # segments that could get no parity when everything that could was given it
    asked: bool = False  # the publisher waits for the rest
    recovered: float | None = None
    not_before: float = 0.0
    copied_version: int = 0
    copied_row: int = 0


class Protecting:
    """Watches what is posted and gives it parity, folder after folder."""

    def __init__(
        self,
        catalogue: Catalogue,
        folders: LiveFolders,
        news: NewsService,
        staging: Staging,
        clock: Clock,
        scanning: Callable[[str], bool],
        on_queued: Callable[[], None],
        on_idle: Callable[[], None],
        beat: Callable[[], None],
    ) -> None:
        """scanning: whether a folder is being scanned now. on_queued: articles are waiting. on_idle: the publisher
        may look again, whatever it was told to wait for."""
        self._catalogue = catalogue
        self._folders = folders
        self._news = news
        self._clock = clock
        self._scanning = scanning
        self._on_queued = on_queued
        self._on_idle = on_idle
        self._beat = beat
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._maker = ParityMaker(catalogue, news, staging, clock, self._stop, beat)
        self._watched: dict[int, _Watched] = {}
        self._rebuilders: dict[int, tuple[int, Rebuilder]] = {}
        self._thread = threading.Thread(target=self._run, name="protector")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more stripes. What is being fetched ends with the news service: ``join`` after that."""
        self._stop.set()
        self._wake.set()

    def join(self) -> None:
        """Wait for the thread."""
        self._thread.join()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() or self._stop.is_set()

    def wake(self) -> None:
        """Something was posted."""
        self._wake.set()

    def awaited(self, folder: LiveFolder, version: int) -> bool:
        """Whether a version should wait until more of the folder has parity; that is then made at once.

        version: the newest so far, 0 for none. What cannot be given parity now is not waited for.
        """
        fraction = folder.settings.redundancy.parity
        if not fraction:
            return False
        watched = self._watched_of(folder)
        enough = 1 if not version else max(1, shape_of(fraction).data // 2)
        if self._catalogue.stripes.unprotected_count(folder.row) - watched.left < enough:
            return False
        if not watched.asked:
            watched.asked = True
            self._wake.set()
        return True

    def rebuilder_of(self, row: int) -> Rebuilder | None:
        """What gives back lost segments of a folder; None for one that is not configured."""
        folder = self._folders.by_row(row)
        if folder is None:
            return None
        epoch, rebuilder = self._rebuilders.get(row, (0, None))
        if rebuilder is None or epoch != folder.epoch:
            source = CatalogueStripes(self._catalogue, row)
            rings = folder.epochs.rings(folder.epoch)
            rebuilder = Rebuilder(self._news, rings, source, self._stop, source.name_of, self._clock)
            self._rebuilders[row] = folder.epoch, rebuilder
        return rebuilder

    # -- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._beat()
            self._wake.clear()
            for folder in self._folders:
                if self._stop.is_set():
                    return
                self._step_safely(folder)
            self._tidy()
            self._wake.wait(IDLE_WAIT_S)
            self._stop.wait(REST_S)

    def _tidy(self) -> None:
        try:
            self._maker.tidy()
        except UsenetSyncError as error:
            log.error("staging_not_tidied", reason=str(error))

    def _step_safely(self, folder: LiveFolder) -> None:
        watched = self._watched_of(folder)
        if watched.not_before > self._clock.monotonic():
            return
        try:
            self._step(folder, watched)
        except Cancelled:
            return
        except NewsError as error:
            log.debug("parity_postponed", folder=folder.name, reason=str(error))
            self._put_off(folder, watched)
        except UsenetSyncError as error:
            log.error("parity_not_made", folder=folder.name, reason=str(error))
            self._catalogue.events.add("error", "parity_failed", f"{folder.name}: {error}", folder.row)
            self._put_off(folder, watched)
        except Exception:
            log.exception("protecting_failed_unexpectedly", folder=folder.name)
            self._put_off(folder, watched)

    def _put_off(self, folder: LiveFolder, watched: _Watched) -> None:
        """No version waits for what fails."""
        watched.not_before = self._clock.monotonic() + AFTER_ERROR_S
        watched.left = self._catalogue.stripes.unprotected_count(folder.row)
        watched.asked = False
        self._on_idle()

    def _step(self, folder: LiveFolder, watched: _Watched) -> None:
        redundancy = folder.settings.redundancy
        if not redundancy.parity:
            self._catalogue.stripes.forget(folder.row)
            return
        row = self._catalogue.folders.by_id(folder.row)
        if row.paused or row.held:
            return
        self._catalogue.stripes.track(folder.row)
        parity = self._parity_folder(folder)
        now = self._clock.monotonic()
        if watched.recovered is None or now - watched.recovered >= RECOVER_EVERY_S:
            self._maker.recover(parity)
            watched.recovered = now
        # Looked at before counting: who asks meanwhile is answered in the next round.
        asked, watched.asked = watched.asked, False
        quiet = self._quiet(folder, watched, row.version, row.pending_articles, redundancy.parity_after)
        made = self._maker.make(parity, rest=asked or quiet)
        if made.stripes:
            self._on_queued()
        watched.left = made.left if asked or quiet else min(watched.left, made.left)
        if asked:
            self._on_idle()
        if quiet and redundancy.copies == 1:
            self._copy_index(folder, watched, row.version)

    def _quiet(
        self, folder: LiveFolder, watched: _Watched, version: int, pending: int, parity_after_s: float
    ) -> bool:
        """Whether nothing has happened in the folder for that long."""
        newest = self._catalogue.stripes.newest_unprotected(folder.row)
        seen = (version, pending, newest, self._scanning(folder.name))
        now = self._clock.monotonic()
        if seen != watched.seen or pending or seen[-1]:
            watched.seen, watched.since = seen, now
            return False
        return now - watched.since >= parity_after_s

    def _copy_index(self, folder: LiveFolder, watched: _Watched, version: int) -> None:
        """What leads to everything else gets a second copy: parity is of no use to one who cannot find its list."""
        if version <= watched.copied_version:
            return
        newest = self._catalogue.stripes.newest_segment()
        queued = self._catalogue.stripes.copy_index(folder.row, watched.copied_row, Priority.LOW).result()
        watched.copied_version, watched.copied_row = version, newest
        if queued:
            log.info("index_copied", folder=folder.row, version=version, articles=queued)
            self._on_queued()

    def _watched_of(self, folder: LiveFolder) -> _Watched:
        return self._watched.setdefault(folder.row, _Watched(since=self._clock.monotonic()))

    def _parity_folder(self, folder: LiveFolder) -> ParityFolder:
        redundancy = folder.settings.redundancy
        # A little ahead of the folder's own: its parity goes out while its files are still in memory.
        ahead = Priority(max(int(Priority.HIGH), int(folder.settings.priority) - 1))
        return ParityFolder(
            folder.row, folder.root, redundancy.parity, redundancy.copies, ahead, folder.epochs.keys
        )
