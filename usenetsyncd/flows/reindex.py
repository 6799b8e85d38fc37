"""Bring the catalogue in step with a folder: find what changed, hash it, plan its segments.

The tree is walked in order and compared with the catalogue folder by folder: an equal digest means that
nothing below it is read. What is new or different is hashed once; the content that is already known,
under whatever name, keeps its segments.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from threading import Event
from typing import Protocol

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.scan_store import EntryRow, ScanBatch, StoreResult
from usenetsyncd.errors import Cancelled, FileChanged, FileUnreadable, FolderError
from usenetsyncd.flows.departures import Departures
from usenetsyncd.flows.intake import Intake
from usenetsyncd.flows.plan import FileWork, FolderWork, Plan
from usenetsyncd.flows.troubles import TroubleLedger
from usenetsyncd.folders import attributes, scan
from usenetsyncd.folders.ignore import NO_RULES, RULES_FILE, IgnoreRules, load_rules
from usenetsyncd.folders.root import check_root
from usenetsyncd.model import EntryKind, Priority, RelativePath
from usenetsyncd.wire.keys import ReadKeys

log = structlog.get_logger("index")

NOTED_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class ReindexOptions:
    """What the settings of a folder ask of indexing. epoch: that of the keys; None: the folder's only one."""

    ignore: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    copies: int = 1
    owner: bool = False
    xattrs: bool = False
    epoch: int | None = None


@dataclass(slots=True)
class ReindexOutcome:
    """What a scan found. ``again``: folders to look at once more, because a file was changing or racy."""

    folders: int = 0
    files_hashed: int = 0
    bytes_hashed: int = 0
    deleted: int = 0
    segments: int = 0
    again: set[RelativePath] = field(default_factory=set)
    unreadable: int = 0
    skipped: int = 0


class Progress(Protocol):
    """Told of each file as it is hashed."""

    def __call__(self, path: RelativePath, size_bytes: int) -> None: ...


class Reindex:
    """One run over a folder, whole or some of its sub-folders. Single use."""

    def __init__(
        self,
        catalogue: Catalogue,
        folder_id: int,
        path: bytes,
        keys: ReadKeys,
        options: ReindexOptions,
        stop: Event,
        on_file: Progress | None = None,
        on_stored: Callable[[], None] | None = None,
        beat: Callable[[], None] = lambda: None,
        departures: Departures | None = None,
    ) -> None:
        """beat: called while it goes on, also where nothing has changed; from several threads.
        departures: outlives a run, so that what moves from one to the next is not posted again.
        """
        self._catalogue = catalogue
        self._folder_id = folder_id
        self._path = path
        self._identity = keys.identity
        self._options = options
        self._stop = stop
        self._on_file = on_file
        self._on_stored = on_stored
        self._beat = beat
        self._departures = departures or Departures()
        self._plan = Plan(folder_id, keys.identity, options.priority, options.copies, self._store)
        self._outcome = ReindexOutcome()
        self._known: dict[RelativePath, tuple[int, bytes | None]] = {}
        self._fresh = False
        self._rules: IgnoreRules = NO_RULES
        self._troubles = TroubleLedger(catalogue, folder_id)

    def whole(self) -> ReindexOutcome:
        """Scan the whole folder. Raises RootMissing (nothing is changed then) and Cancelled."""
        self._known = {
            path: (row, digest) for path, row, digest in self._catalogue.scan.digests(self._folder_id)
        }
        self._fresh = not self._known
        with check_root(self._path, self._had_files()) as self._root:
            self._load_rules()
            return self._run(self._scan_tree())

    def parts(self, folders: Collection[RelativePath]) -> ReindexOutcome:
        """Scan only these sub-folders, and whatever is new below them."""
        self._troubles.only_these()
        with check_root(self._path, self._had_files()) as self._root:
            self._load_rules()
            return self._run(self._scan_parts(sorted(folders)))

    def _load_rules(self) -> None:
        """Raises FileUnreadable: a folder must not be published with half its rules."""
        try:
            self._rules = load_rules(self._root, self._options.ignore)
        except OSError as error:
            shown = os.fsdecode(RULES_FILE)
            raise FileUnreadable(
                f"{shown} cannot be read ({error.strerror or error}); nothing was scanned"
            ) from error
        for problem in self._rules.problems:
            self._troubles.note(RULES_FILE, "ignore_rule", problem)

    def _store(self, batch: ScanBatch) -> Future[StoreResult]:
        stored = self._catalogue.scan.store(replace(batch, epoch=self._options.epoch))
        if self._on_stored is not None:
            told = self._on_stored
            stored.add_done_callback(lambda _: told())
        return stored

    def _had_files(self) -> bool:
        if self._catalogue.holds.get(self._folder_id).accepting:
            return False  # somebody said that its emptiness is meant
        folder = self._catalogue.folders.by_id(self._folder_id)
        return folder.files > 0

    def _run(self, steps: Iterator[None]) -> ReindexOutcome:
        self._intake = Intake(
            self._catalogue,
            self._folder_id,
            self._identity,
            self._root,
            self._plan,
            self._check_stop,
            self._departures,
            self._fresh,
            self._hashed,
            self._trouble,
        )
        self._intake.older_epochs = (self._options.epoch or 1) > 1
        try:
            for _ in steps:
                self._check_stop()
            self._intake.finish()
            self._plan.finish()
            self._troubles.forget_settled()
        finally:
            self._intake.close()
        self._outcome.segments = self._plan.segments_planned
        return self._outcome

    def _check_stop(self) -> None:
        self._beat()
        if self._stop.is_set():
            raise Cancelled("indexing was stopped; it goes on where it was at the next start")

    def _scan_tree(self) -> Iterator[None]:
        unvisited = set(self._known)
        for listing in scan.walk(self._root, self._rules):
            unvisited.discard(listing.path)
            if listing.problem is not None:
                unvisited = {path for path in unvisited if not _is_below(path, listing.path)}
            self._compare(listing, *self._known.get(listing.path, (None, None)))
            yield
        self._remove(unvisited)

    def _scan_parts(self, folders: Collection[RelativePath]) -> Iterator[None]:
        """What is new comes before what is gone, as in a whole scan: it may be the same."""
        done: set[RelativePath] = set()
        gone: set[RelativePath] = set()
        for path in folders:
            if path in done:
                continue
            listing = scan.scan_directory(self._root, path, self._rules)
            stored = self._catalogue.scan.directory(self._folder_id, path)
            if listing is None:
                if stored is not None:
                    gone.add(path)
                continue
            done.add(path)
            self._compare(listing, *((stored.id, stored.digest) if stored else (None, None)))
            yield
            children = {scan.join(path, name) for name in listing.subdirectories}
            known = set(self._catalogue.scan.subdirectories(self._folder_id, path))
            if listing.problem is None:
                gone |= known - children
            for child in sorted(children - known):
                for found in scan.walk(self._root, self._rules, child):
                    done.add(found.path)
                    self._compare(found, None, None)
                    yield
        self._remove(gone - done)

    def _remove(self, gone: set[RelativePath]) -> None:
        for path in sorted(gone):
            parent = RelativePath(path.rpartition(b"/")[0])
            if not path or parent not in gone:
                self._note_departures(path)
                self._plan.remove_folder(path)
                self._outcome.deleted += 1

    def _note_departures(self, path: RelativePath) -> None:
        """Remember the contents of a folder that goes, and of those below it, as many as there is room for."""
        waiting, hashes, left = [path], set[bytes | None](), self._departures.room
        while waiting and left > 0:
            self._check_stop()
            folder = self._catalogue.scan.directory(self._folder_id, waiting.pop())
            if folder is None:
                continue
            entries = self._catalogue.scan.entries(folder.id)
            hashes.update(entry.hash for entry in entries)
            left -= 1 + len(entries)
            if len(hashes) >= NOTED_AT_ONCE:
                self._note_contents(hashes)
                hashes.clear()
            waiting += self._catalogue.scan.subdirectories(self._folder_id, folder.path)
        self._note_contents(hashes)

    def _note_contents(self, hashes: Iterable[bytes | None]) -> None:
        known = list({content_hash for content_hash in hashes if content_hash})
        for at in range(0, len(known), NOTED_AT_ONCE):
            self._check_stop()
            places = self._catalogue.scan.find_contents(self._folder_id, known[at : at + NOTED_AT_ONCE])
            self._departures.note(self._folder_id, places)

    def _compare(self, listing: scan.DirectoryListing, row: int | None, digest: bytes | None) -> None:
        """Hand over what differs between a folder and its rows; equal digests: nothing is read."""
        self._outcome.folders += 1
        self._troubles.looked_at(listing.path)
        self._note_troubles(listing)
        if listing.problem is not None or listing.status is None:
            self._outcome.unreadable += 1
            reason = (listing.problem and listing.problem.strerror) or "unreadable"
            self._troubles.note(listing.path, "unreadable", reason)
            return
        try:
            kept = self._attributes(listing.path)
        except (OSError, FolderError):
            self._outcome.again.add(listing.path)  # it vanished since it was listed
            return
        now = self._digest(listing.digest, kept)
        if row is not None and digest is not None and digest == now:
            return
        if now is None:
            self._outcome.again.add(listing.path)
        status = listing.status
        stored = {} if row is None else {entry.name: entry for entry in self._catalogue.scan.entries(row)}
        changed = True
        if row is not None:
            own = self._catalogue.scan.directory(self._folder_id, listing.path)
            before = own and (own.mode, own.mtime_ns, own.attributes or None)
            changed = before != (status.mode, status.mtime_ns, kept)
        work = FolderWork(listing.path, status.mode, status.mtime_ns, status.inode, now, changed, kept)
        self._plan.open_folder(work)
        for entry in listing.entries:
            self._check_stop()  # a folder may hold a million files
            self._compare_entry(work, entry, stored.pop(entry.name, None))
        unreadable = {name for name, _ in listing.unreadable}
        work.deletes.extend(name for name in stored if name not in unreadable)
        if work.deletes:
            self._note_contents(stored[name].hash for name in work.deletes)
        self._outcome.deleted += len(work.deletes)
        self._plan.close_folder(work)

    def _compare_entry(self, folder: FolderWork, entry: scan.ListedEntry, stored: EntryRow | None) -> None:
        if (
            stored is not None
            and stored.size == entry.size
            and stored.mtime_ns == entry.mtime_ns
            and stored.ctime_ns == entry.ctime_ns
            and stored.inode == entry.inode
            and stored.kind == entry.kind
            and (stored.hash is not None or entry.kind is not EntryKind.FILE or entry.size == 0)
            and self._has_attributes(folder, stored)
        ):
            return
        work = FileWork(
            folder,
            entry.name,
            entry.kind,
            entry.size,
            entry.mtime_ns,
            # A racy file may change again without a trace: no stored time will match it next time.
            0 if entry.racy else entry.ctime_ns,
            entry.inode,
            entry.mode,
            entry.nlink,
            entry.sparse,
            stored,
        )
        self._plan.begin_file(work)
        if self._options.owner or self._options.xattrs:
            try:
                work.attributes = self._attributes(scan.join(folder.path, work.name))
            except FolderError as error:
                self._plan.drop_file(work)
                self._trouble(work, error)
                return
        self._intake.take(work)

    def _hashed(self, work: FileWork) -> None:
        self._outcome.files_hashed += 1
        self._outcome.bytes_hashed += work.size
        if self._on_file is not None:
            self._on_file(scan.join(work.folder.path, work.name), work.size)

    def _attributes(self, path: RelativePath) -> bytes | None:
        if not (self._options.owner or self._options.xattrs):
            return None
        kept = attributes.read_attributes(self._root, path, self._options.owner, self._options.xattrs)
        return kept or None

    def _digest(self, listed: bytes | None, kept: bytes | None) -> bytes | None:
        """The digest to store: of the listing, and of what is kept beside it.

        No time of the folder moves with its owner and xattrs, and none of a file with the settings.
        """
        if listed is None or not (self._options.owner or self._options.xattrs):
            return listed
        settings = bytes((self._options.owner, self._options.xattrs))
        return blake2b(listed + settings + (kept or b""), digest_size=scan.DIGEST_SIZE_BYTES).digest()

    def _has_attributes(self, folder: FolderWork, stored: EntryRow) -> bool:
        """Whether what is stored for a file is what the settings ask for; its ctime tells of changes to the file."""
        try:
            kept = self._attributes(scan.join(folder.path, RelativePath(stored.name)))
        except FolderError:
            return False
        return kept == (stored.attributes or None)

    def _note_troubles(self, listing: scan.DirectoryListing) -> None:
        self._outcome.skipped += len(listing.skipped)
        for name, kind in listing.skipped:
            self._troubles.note(scan.join(listing.path, name), "skipped", f"{kind} are not kept")
        for name, error in listing.unreadable:
            self._outcome.unreadable += 1
            text = error.strerror or "unreadable"
            self._troubles.note(scan.join(listing.path, name), "unreadable", text)

    def _trouble(self, work: FileWork, error: FolderError) -> None:
        path = scan.join(work.folder.path, work.name)
        if isinstance(error, FileChanged):
            self._outcome.again.add(work.folder.path)
            self._troubles.note(path, "changing", str(error))
        elif isinstance(error, FileUnreadable):
            self._outcome.unreadable += 1
            self._troubles.note(path, "unreadable", str(error))
        else:
            raise error


def _is_below(path: RelativePath, folder: RelativePath) -> bool:
    return not folder or path == folder or path.startswith(folder + b"/")
