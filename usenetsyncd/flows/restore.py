"""Bring a folder back: index to plan, plan to segments, segments to files in their places.

Nothing an index says is trusted: every entry is checked for itself, what is wrong is reported and the
rest is restored. Each segment is fetched once, each file is hashed before it gets its name, and a killed
restore goes on with what is not there yet.
"""

import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from threading import Event, Lock

import structlog

from usenetsyncd.errors import (
    ArticleMissing,
    Cancelled,
    ContentMismatch,
    FormatError,
    NewsError,
    TargetExists,
    TargetUnwritable,
    UsenetSyncError,
)
from usenetsyncd.flows.file_assembly import FileAssembly, ends_the_job
from usenetsyncd.flows.locate import Located
from usenetsyncd.flows.recovery import Recovery
from usenetsyncd.flows.restore_index import PlanMaker, capacity_of
from usenetsyncd.flows.restore_order import RestoreProgress, RestoreRequest, RestoreSummary
from usenetsyncd.flows.restore_plan import DONE, FAILED, Item, RestorePlan
from usenetsyncd.flows.retrieve import WAYS
from usenetsyncd.folders.attributes import Attributes
from usenetsyncd.folders.place import FolderLook, Sameness, Target
from usenetsyncd.folders.small import sweep_small
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    EntryKind,
    MessageId,
    SegmentId,
)
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.seal import open_sealed

__all__ = ["Restore", "RestoreProgress", "RestoreRequest", "RestoreSummary"]

log = structlog.get_logger("restore")

PLAN_REPORT = 2_000
DONE_BATCH = 2_000
REFUSALS_SHOWN = 5
FETCH_BATCH = 256
# A part that does not add up is fetched once more from the start, then given up.
CONTENT_ROUNDS = 3


class Restore:
    """One restore job. Single use; a job that was killed is continued by another with the same plan file."""

    def __init__(
        self,
        news: NewsService,
        located: Located,
        request: RestoreRequest,
        plan_path: Path,
        stop: Event,
        on_progress: Callable[[RestoreProgress], None],
        groups: Sequence[str] = (),
    ) -> None:
        """groups: newsgroups in which lost articles may be found by their subjects."""
        self._news = news
        self._located = located
        self._request = request
        self._plan = RestorePlan(plan_path)
        self._stop = stop
        self._on_progress = on_progress
        self._ways = Recovery(news, located.rings, located.head, plan_path, stop, groups)
        self._rings = list(located.rings)
        self._totals = self._done = (0, 0)
        self._planned = 0
        self._resumed = False
        self._assembly: FileAssembly | None = None
        self._refused: list[tuple[bytes, int]] = []
        self._failure: UsenetSyncError | None = None
        self._failure_lock = Lock()

    def run(self) -> RestoreSummary:
        """Restore. Raises Cancelled (can be continued), DiskFull, NewsError, NotFound; single files do not raise."""
        finished = False
        try:
            fresh = not self._plan.complete
            self._resumed = not fresh
            if fresh:
                self._make_plan(PlanMaker(self._plan, self._ways.index, capacity_of(self._request.target)))
            self._totals = self._plan.totals()
            if not self._request.dry_run:
                with Target(self._request.target) as target:
                    self._apply(target, fresh and target.is_empty())
            summary = self._summary()
            self._conclude(summary)
            finished = True
            return summary
        except OSError as error:
            raise TargetUnwritable(f"the target cannot be written: {error.strerror or error}") from error
        finally:
            self._ways.close()
            self._plan.close(delete=finished)

    def _make_plan(self, maker: PlanMaker) -> None:
        maker.read(self._located.head.root, self._request.paths, self._planning)

    def _make_way(self, target: Target, item: Item) -> None:
        """Just before something gets its name."""

    def _clear(self, target: Target) -> None:
        """When everything is in its place, before folders get their times."""

    def _conclude(self, summary: RestoreSummary) -> None:
        """All is on the disk; the plan goes afterwards."""

    def _planning(self) -> None:
        """Between two entries of the index."""
        self._check_stop()
        self._planned += 1
        if self._planned % PLAN_REPORT == 0:
            self._on_progress(RestoreProgress("planning", 0, self._planned, 0, 0, 0))

    # -- apply ------------------------------------------------------------------------------

    def _apply(self, target: Target, nothing_there: bool) -> None:
        self._make_folders(target)
        if not nothing_there:
            self._skip_what_is_there(target)
        self._done = self._plan.done_totals()
        assembly = self._assembly = FileAssembly(
            self._plan,
            target,
            self._located.rings,
            self._request.overwrite,
            self._kept,
            self._check_stop,
            lambda item: self._make_way(target, item),
        )
        try:
            self._fetch_contents(assembly)
            self._make_links(target)
            if self._plan.open_orphaned_links():
                self._fetch_contents(assembly)
        finally:
            assembly.close()
        if self._resumed:
            sweep_small(target, self._plan.token)
        self._make_symlinks(target)
        self._clear(target)
        self._finish_folders(target)
        self._refused = target.refusals.counts()
        target.sync()

    def _make_folders(self, target: Target) -> None:
        for item in self._plan.items(EntryKind.FOLDER):
            self._check_stop()
            self._each(item, lambda item=item: self._make_folder(target, item))  # type: ignore[misc]

    def _make_folder(self, target: Target, item: Item) -> None:
        self._make_way(target, item)
        target.make_folder(item.entry.path, self._kept(item))

    def _skip_what_is_there(self, target: Target) -> None:
        """Files that stand there already are kept if they are the same, and never replaced unasked.

        What a file is kept under is put right: permission bits, and attributes where the version has any.
        """
        done: list[int] = []
        for item in self._plan.items(EntryKind.FILE):
            self._check_stop()
            try:
                sameness = target.compare(item.entry.path, item.entry)
                if sameness in (Sameness.SAME, Sameness.BUT_FOR_MODE):
                    if sameness is Sameness.BUT_FOR_MODE or item.attributes:
                        target.dress_again(item.entry.path, item.entry.mode, self._kept(item))
                    done.append(item.id)
                elif sameness is Sameness.DIFFERENT and not self._request.overwrite:
                    raise TargetExists("a different file stands there already; --overwrite replaces it")
            except UsenetSyncError as error:
                self._fail(item, error)
            if len(done) >= DONE_BATCH:
                self._plan.set_done(done)
                done.clear()
        self._plan.set_done(done)

    def _fetch_contents(self, assembly: FileAssembly) -> None:
        self._place_empty(assembly)
        for _ in range(CONTENT_ROUNDS):
            self._finish_complete(assembly)
            batch: list[tuple[int, SegmentId]] = []
            fetched = False
            for segment in self._plan.open_segments():
                batch.append(segment)
                fetched = True
                if len(batch) == FETCH_BATCH:
                    self._fetch_batch(batch, assembly)
                    batch = []
            if batch:
                self._fetch_batch(batch, assembly)
            self._report()
            if not fetched:
                break
        self._finish_complete(assembly)
        for item in self._plan.items(EntryKind.FILE):
            assembly.fail(item, ContentMismatch("its parts do not add up to the file that the index names"))

    def _place_empty(self, assembly: FileAssembly) -> None:
        empty = self._plan.empty_files()
        while items := list(islice(empty, DONE_BATCH)):
            self._check_stop()
            assembly.place_empty(items)

    def _finish_complete(self, assembly: FileAssembly) -> None:
        """Files that have all their parts but no name: a crash, or too many files at once, came between."""
        tried: set[int] = set()
        while items := [item for item in self._plan.complete_files() if item.id not in tried]:
            for item in items:
                self._check_stop()
                tried.add(item.id)
                try:
                    assembly.finish_file(item)
                except UsenetSyncError as error:
                    assembly.fail(item, error)

    def _fetch_batch(self, batch: list[tuple[int, SegmentId]], assembly: FileAssembly) -> None:
        """Fetch some segments, many at a time; what does not come the plain way is sought afterwards.

        In which epoch each was sealed nobody says: first the one is asked that gave most of the batch before.
        """
        astray = batch
        for keys in tuple(self._rings):
            if not astray:
                return
            left = self._fetch_of(keys, astray, assembly)
            if len(left) * 2 < len(astray):
                self._rings.remove(keys)
                self._rings.insert(0, keys)
            astray = left
        rows = {seg_id: row for row, seg_id in astray}
        for seg_id, found in self._ways.find(rows):
            self._check_stop()
            self._place_or_fail(assembly, rows[seg_id], found)

    def _fetch_of(
        self, keys: ReadKeys, batch: list[tuple[int, SegmentId]], assembly: FileAssembly
    ) -> list[tuple[int, SegmentId]]:
        """Fetch and place what is there under the keys of one epoch; returns the rest."""
        wanted: dict[MessageId, tuple[int, SegmentId]] = {}
        for row, seg_id in batch:
            wanted[self._ways.name_of(keys, ArticleAddress(ArticleKind.DATA, seg_id))] = (row, seg_id)
        astray: list[tuple[int, SegmentId]] = []

        def take(name: MessageId, raw: bytes | None, error: NewsError | None) -> None:
            row, seg_id = wanted[name]
            try:
                if raw is None:
                    raise error or ArticleMissing("not there")
                at = ArticleAddress(ArticleKind.DATA, seg_id)
                content = open_sealed(keys, at, decode_body(raw))
            except (NewsError, FormatError):
                astray.append((row, seg_id))
                return
            self._place(assembly, row, content)

        self._news.fetch(list(wanted), take, self._stop)
        self._check_stop()
        WAYS.add("by_id", len(wanted) - len(astray))
        self._report()
        return astray

    def _place(self, assembly: FileAssembly, row: int, content: bytes) -> None:
        try:
            assembly.place_segment(row, content)
        except UsenetSyncError as error:
            # In a fetching thread: remember it for the job's own thread.
            with self._failure_lock:
                self._failure = self._failure or error

    def _place_or_fail(self, assembly: FileAssembly, row: int, found: bytes | UsenetSyncError) -> None:
        if isinstance(found, bytes):
            self._place(assembly, row, found)
            return
        for need in self._plan.needs(row):
            assembly.fail(need.item, found)
        self._plan.segment_written(row)

    def _make_links(self, target: Target) -> None:
        while links := self._plan.links():
            for item, first in links:
                self._check_stop()
                if self._each(
                    item,
                    lambda a=first, b=item: self._make_link(target, a, b),  # type: ignore[misc]
                ):
                    self._plan.set_state(item.id, DONE)

    def _make_link(self, target: Target, first: Item, item: Item) -> None:
        self._make_way(target, item)
        target.make_hard_link(first.entry.path, item.entry.path, self._request.overwrite)

    def _make_symlinks(self, target: Target) -> None:
        for item in self._plan.items(EntryKind.SYMLINK):
            self._check_stop()
            if self._each(item, lambda item=item: self._make_symlink(target, item)):  # type: ignore[misc]
                self._plan.set_state(item.id, DONE)

    def _make_symlink(self, target: Target, item: Item) -> None:
        entry, overwrite = item.entry, self._request.overwrite
        if target.compare(entry.path, entry) is not Sameness.SAME:
            self._make_way(target, item)
            target.make_symlink(entry.path, entry.target, entry.mtime_ns, overwrite, self._kept(item))

    def _kept(self, item: Item) -> Attributes:
        """What an item gets of the attributes that the version has."""
        kept = self._plan.attributes_of(item)
        return kept if self._request.owner or kept.owner is None else Attributes(None, kept.xattrs)

    def _finish_folders(self, target: Target) -> None:
        folders = (
            FolderLook(item.entry.path, item.entry.mode, item.entry.mtime_ns, self._kept(item))
            for item in self._plan.items(EntryKind.FOLDER, open_only=False)
        )
        for error in target.finish_folders(folders):
            log.warning("folder_attributes_not_set", reason=str(error))

    # -- keeping count --------------------------------------------------------------------------

    def _each(self, item: Item, act: Callable[[], object]) -> bool:
        try:
            act()
        except UsenetSyncError as error:
            self._fail(item, error)
            return False
        return True

    def _fail(self, item: Item, error: UsenetSyncError) -> None:
        if ends_the_job(error):
            raise error
        self._plan.set_state(item.id, FAILED, str(error))

    def _check_stop(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stop.is_set():
            raise Cancelled("the restore was stopped; it goes on where it was when it is started again")

    def _report(self) -> None:
        """Counted here, not in the plan: a question to the plan costs more the larger it is."""
        files, size = self._done
        if self._assembly is not None:
            files, size = files + self._assembly.placed_files, size + self._assembly.placed_bytes
        self._on_progress(
            RestoreProgress(
                "restoring", files, self._totals[0], size, self._totals[1], self._plan.failed_count()
            )
        )

    def _summary(self) -> RestoreSummary:
        files, size = self._totals if self._request.dry_run else self._plan.done_totals()
        failures = tuple(self._plan.failures())
        version = self._located.head.version
        warnings = (*self._located.warnings, *_refusals(self._refused))
        return RestoreSummary(version, files, size, self._plan.failed_count(), failures, warnings)


def _refusals(counts: list[tuple[bytes, int]]) -> tuple[str, ...]:
    """One line for all attributes that could not be set, or none."""
    if not counts:
        return ()
    named = [f"{os.fsdecode(name)!r} of {count:,}" for name, count in counts[:REFUSALS_SHOWN]]
    more = f" and {len(counts) - len(named):,} more" if len(counts) > len(named) else ""
    return (f"attributes of some files and folders could not be set here: {', '.join(named)}{more}",)
