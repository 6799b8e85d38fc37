"""One thread that brings the catalogue in step with the folders, whenever something asks for it."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.guarding import ROOT
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import Cancelled, FolderError, NotFound, RootMissing, UsenetSyncError
from usenetsyncd.flows.departures import Departures
from usenetsyncd.flows.reindex import Reindex, ReindexOutcome
from usenetsyncd.folders.ignore import RULES_FILE
from usenetsyncd.folders.settle import Settle
from usenetsyncd.model import RelativePath

log = structlog.get_logger("index")

IDLE_WAIT_S = 1.0
# After a scan that failed, for want of room on the disk for example.
RETRY_S = 10.0


@dataclass(slots=True)
class ScanRequest:
    """A whole scan that somebody asked for; ``done`` is set when it has ended, however it ended."""

    folder: str
    reason: str
    done: threading.Event = field(default_factory=threading.Event)
    outcome: ReindexOutcome | None = None
    error: UsenetSyncError | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """What the indexer is doing now."""

    folder: str
    path: bytes
    files: int
    bytes: int


class Indexer:
    """Takes settled directories and scan requests, one folder at a time."""

    def __init__(
        self,
        catalogue: Catalogue,
        folders: LiveFolders,
        settle: Settle,
        clock: Clock,
        on_planned: Callable[[int], None],
        on_stored: Callable[[], None],
        beat: Callable[[], None],
    ) -> None:
        self._catalogue = catalogue
        self._folders = folders
        self._settle = settle
        self._clock = clock
        self._on_planned = on_planned
        self._on_stored = on_stored
        self._beat = beat
        self._departures = Departures()
        self._requests: list[ScanRequest] = []
        # Taken from the requests or from what has settled, and not finished yet.
        self._at_work: frozenset[str] = frozenset()
        # Folders whose last scan failed, and when the next is due on the monotonic clock.
        self._again_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indexer")
        self.activity: Activity | None = None
        self.missing: dict[str, str] = {}
        self._rules_stamps: dict[str, tuple[int, int] | None] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop between two files; what was committed stays."""
        self._stop.set()
        self._settle.wake()
        self._thread.join()
        with self._lock:
            requests, self._requests = self._requests, []
        for request in requests:
            request.error = Cancelled("the daemon is stopping")
            request.done.set()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() or self._stop.is_set()

    def request(self, folder: str, reason: str) -> ScanRequest:
        """Ask for a scan of a whole folder; a request that waits already is shared."""
        with self._lock:
            for waiting in self._requests:
                if waiting.folder == folder:
                    return waiting
            request = ScanRequest(folder, reason)
            self._requests.append(request)
        self._settle.wake()
        return request

    def scanning(self, folder: str) -> bool:
        """Whether a scan of the folder runs now."""
        activity = self.activity
        return activity is not None and activity.folder == folder

    def busy_with(self, folder: str) -> bool:
        """Whether a scan of the folder runs or waits, or something in it has not settled yet."""
        with self._lock:
            if (
                folder in self._at_work
                or folder in self._again_at
                or any(request.folder == folder for request in self._requests)
            ):
                return True
            return self._settle.is_dirty(folder)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._beat()
            self._request_again()
            if not (self._serve_request() or self._serve_settled()):
                self._settle.wait(IDLE_WAIT_S)

    def _serve_request(self) -> bool:
        with self._lock:
            if not self._requests:
                return False
            request = self._requests.pop(0)
            self._at_work = frozenset({request.folder})
            self.activity = Activity(request.folder, b"", 0, 0)
        self._settle.forget(request.folder)
        try:
            request.outcome, request.error = self._attempt(request.folder, None)
        finally:
            self._finished()
            request.done.set()
        return True

    def _serve_settled(self) -> bool:
        with self._lock:
            due = self._settle.due()
            self._at_work = frozenset(folder.folder_key for folder in due)
        for folder in due:
            if self._stop.is_set():
                break
            self.activity = Activity(folder.folder_key, b"", 0, 0)
            self._attempt(folder.folder_key, folder.directories)
            self.activity = None
        self._finished()
        return bool(due)

    def _attempt(
        self, name: str, directories: frozenset[RelativePath] | None
    ) -> tuple[ReindexOutcome | None, UsenetSyncError | None]:
        """Index; what was to be looked at and could not be is looked at again later, whatever the reason."""
        try:
            return self._index(self._folders.named(name), directories), None
        except (Cancelled, NotFound, RootMissing) as error:
            # The next start, the configuration or the return of the root brings a whole scan.
            log.info("scan_not_done", folder=name, reason=str(error))
            return None, error
        except UsenetSyncError as error:
            failure = error
            log.warning("scan_not_done", folder=name, reason=str(error))
        except Exception as error:
            failure = FolderError(f"{type(error).__name__}: {error}")
            log.exception("scan_failed_unexpectedly", folder=name)
        with self._lock:
            self._again_at[name] = self._clock.monotonic() + RETRY_S
        return None, failure

    def _request_again(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            due = [name for name, at in self._again_at.items() if at <= now]
        for name in due:
            self.request(name, "the scan before failed")
            with self._lock:
                self._again_at.pop(name, None)

    def _finished(self) -> None:
        with self._lock:
            self.activity = None
            self._at_work = frozenset()

    def _index(self, folder: LiveFolder, directories: frozenset[RelativePath] | None) -> ReindexOutcome:
        started = self._clock.monotonic()
        counted = [0, 0]

        def on_file(path: RelativePath, size_bytes: int) -> None:
            counted[0] += 1
            counted[1] += size_bytes
            self.activity = Activity(folder.name, path, counted[0], counted[1])

        run = Reindex(
            self._catalogue,
            folder.row,
            folder.root,
            folder.keys,
            folder.reindex_options(),
            self._stop,
            on_file,
            self._on_stored,
            self._beat,
            self._departures,
        )
        if directories is not None and RelativePath(b"") in directories and self._rules_changed(folder):
            directories = None
        try:
            outcome = run.whole() if directories is None else run.parts(directories)
        except RootMissing as error:
            self._root_missing(folder, error)
            raise
        self._found_again(folder)
        if directories is None:
            self._catalogue.folders.stamp(folder.row, scanned_at=self._clock.now())
        self._settle.put_back(folder.name, outcome.again)
        self._on_planned(folder.row)
        if outcome.files_hashed or outcome.deleted or directories is None:
            log.info(
                "folder_scanned",
                folder=folder.name,
                folders=outcome.folders,
                files_hashed=outcome.files_hashed,
                bytes_hashed=outcome.bytes_hashed,
                deleted=outcome.deleted,
                unreadable=outcome.unreadable,
                took_s=round(self._clock.monotonic() - started, 3),
            )
        return outcome

    def _rules_changed(self, folder: LiveFolder) -> bool:
        """Whether the folder's own ignore rules are others than at the last look: they reach every directory."""
        try:
            status = os.stat(os.path.join(folder.root, RULES_FILE))
            stamp: tuple[int, int] | None = status.st_mtime_ns, status.st_size
        except OSError:
            stamp = None
        before = self._rules_stamps.get(folder.name)
        self._rules_stamps[folder.name] = stamp
        return stamp != before

    def _root_missing(self, folder: LiveFolder, error: RootMissing) -> None:
        """An unmounted disk is not a deletion: nothing is published until the root is back or released."""
        if folder.name not in self.missing:
            log.warning("folder_root_missing", folder=folder.name, reason=str(error))
            self._catalogue.events.add("warning", "root_missing", str(error), folder.row)
        self.missing[folder.name] = str(error)
        self._catalogue.holds.hold(folder.row, ROOT, str(error))

    def _found_again(self, folder: LiveFolder) -> None:
        self.missing.pop(folder.name, None)
        if self._catalogue.holds.lift(folder.row, ROOT):
            self._catalogue.events.add("info", "root_back", "the folder is there again", folder.row)
