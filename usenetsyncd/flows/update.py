"""Turn a directory that holds one version into the next, without touching what did not change or what is not ours.

Ours is what stands as the version before has it: same kind, size and time. Anything else at a path that changes was put
there by whoever uses the directory: it gets another name beside its own before the new file takes its place, and is left
where it is when the publisher deleted the file. Files that only moved are renamed, files that only got other permissions
or times are not fetched. What is deleted goes last.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import structlog

from usenetsyncd.catalogue.follows import LeftPath, Step
from usenetsyncd.clock import Clock
from usenetsyncd.errors import ArticleMissing, FolderError, FormatError, UsenetSyncError
from usenetsyncd.flows.before import Before, Old, pack_stands, unpack_stands
from usenetsyncd.flows.index_reader import surviving_entries
from usenetsyncd.flows.locate import Located
from usenetsyncd.flows.restore import Restore
from usenetsyncd.flows.restore_index import PlanMaker, capacity_of
from usenetsyncd.flows.restore_order import RestoreProgress, RestoreRequest, RestoreSummary
from usenetsyncd.flows.restore_plan import Item, RestorePlan
from usenetsyncd.folders import standing
from usenetsyncd.folders.place import Sameness, Target
from usenetsyncd.model import Entry, EntryKind, PageRef, RelativePath, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.tree_diff import Difference, diff_trees
from usenetsyncd.wire.tree_read import ROOT, Load, find_entry, read_tree

log = structlog.get_logger("follow")

BATCH = 2_000
SHOWN = 5
# More paths than this that could not be placed, and the version does not count as placed.
LEFT_LIMIT = 100_000
_SAME = (Sameness.SAME, Sameness.BUT_FOR_MODE)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in the directory: a version but for some paths; version 0 and no root before the first."""

    version: int = 0
    root: PageRef | None = None
    left: Sequence[LeftPath] = ()


@dataclass(frozen=True, slots=True)
class Updated:
    """How an update ended. conflicts: local changes that are kept beside now; shown: the first of their names.

    kept: files that the publisher deleted but that were changed here, and stay. step: for the catalogue; None where so
    much is missing that the version does not count as placed.
    """

    step: Step | None
    summary: RestoreSummary
    conflicts: int
    shown: Sequence[bytes]
    kept: int
    moved: int
    removed: int


class Update(Restore):
    """One update. Single use; one that was killed is continued by another with the same plan file."""

    def __init__(
        self,
        news: NewsService,
        located: Located,
        target: Path,
        before: Standing,
        plan_path: Path,
        clock: Clock,
        stop: Event,
        on_progress: Callable[[RestoreProgress], None],
        on_placed: Callable[[Updated], None],
        groups: Sequence[str] = (),
    ) -> None:
        """on_placed: told when everything is on the disk and before the plan is removed: what it keeps is the truth."""
        super().__init__(
            news,
            located,
            RestoreRequest(target, overwrite=True),
            plan_path,
            stop,
            on_progress,
            groups,
        )
        self._clock = clock
        self._on_placed = on_placed
        self._standing = before
        self._before = Before(self._plan)
        self._kept_here = self._moved = self._removed = 0

    # -- what is to be done ----------------------------------------------------------------------

    def _make_plan(self, maker: PlanMaker) -> None:
        head = self._located.head
        self._before.forget()
        self._before.set_goal(
            (
                head.version,
                head.root and head.root.segment,
                head.root and head.root.offset,
                head.root and head.root.length,
                head.files,
                head.bytes_total,
            )
        )
        if self._standing.root is None and not self._standing.left:
            # A version of which pages are lost is no version to follow: what it lacks would count as deleted.
            maker.take_all(read_tree(head.root, self._ways.index.load), self._planning)
            return
        load, old, new = self._ways.index.load, self._standing.root, head.root
        try:
            maker.take_all(self._split(diff_trees(old, new, load)), self._planning, self._parents)
        except (ArticleMissing, FormatError) as error:
            # The version that stands here is old, and its index may be gone: what it tells no more counts as not ours.
            log.warning("old_index_lost", reason=str(error))
            self._before.forget()
            again = PlanMaker(self._plan, self._ways.index, capacity_of(self._request.target))
            again.take_all(
                self._split(_side_by_side(_surviving(old, load), read_tree(new, load))), self._planning
            )

    def _split(self, differences: Iterable[Difference]) -> Iterator[Entry]:
        """New entries in the order of their paths; the old ones go into ``before``."""
        load, root = self._ways.index.load, self._located.head.root
        left = {one.path: one for one in self._standing.left}
        waiting: list[Old] = []
        for path, was, becomes in _with(differences, sorted(left)):
            old, new = was, becomes
            if path in left:
                stands, new = left[path].stands, find_entry(root, load, path)
                old = None if stands is None else unpack_stands(path, stands)
            if old is not None:
                waiting.append((old, new is None))
            if len(waiting) >= BATCH:
                self._before.add(waiting)
                waiting = []
            if new is not None:
                yield new
        self._before.add(waiting)

    def _parents(self) -> Iterator[Entry]:
        """What changes in a folder changes its time, which is put right afterwards."""
        load, root = self._ways.index.load, self._located.head.root
        for path in self._before.parents():
            entry = find_entry(root, load, path)
            if entry is not None and entry.kind is EntryKind.FOLDER:
                yield entry

    # -- doing it --------------------------------------------------------------------------------

    def _apply(self, target: Target, nothing_there: bool) -> None:
        super()._apply(target, nothing_there=False)

    def _skip_what_is_there(self, target: Target) -> None:
        done: list[int] = []
        for item in self._plan.items(EntryKind.FILE):
            self._check_stop()
            try:
                if self._stands_already(target, item):
                    done.append(item.id)
            except UsenetSyncError as error:
                self._fail(item, error)
            if len(done) >= BATCH:
                self._plan.set_done(done)
                done.clear()
        self._plan.set_done(done)

    def _stands_already(self, target: Target, item: Item) -> bool:
        """Whether a file has its content without being fetched; it is given its permissions and time."""
        entry = item.entry
        sameness = target.compare(entry.path, entry)
        if sameness not in _SAME:
            old = self._before.at(entry.path)
            if old is not None and _same_content(old, entry) and target.compare(entry.path, old) in _SAME:
                standing.set_time(target, entry.path, entry.mtime_ns)
            elif not (sameness is Sameness.ABSENT and self._move_here(target, entry)):
                return False
        target.dress_again(entry.path, entry.mode, self._kept(item))
        return True

    def _move_here(self, target: Target, entry: Entry) -> bool:
        """Rename a file of this content that the new version has no more. Its time must be right: it is all that tells
        after a crash whose it is."""
        if entry.link_group:
            return False
        for old in self._before.gone_with(entry.content_hash, entry.size):
            if old.mtime_ns == entry.mtime_ns and target.compare(old.path, old) in _SAME:
                try:
                    moved = standing.move(target, old.path, entry.path)
                except FolderError:
                    return False
                self._moved += moved
                return moved
        return False

    def _make_way(self, target: Target, item: Item) -> None:
        """Called just before something gets its name: what is not ours is put aside, never replaced."""
        entry = item.entry
        if not entry.path:
            return
        kind = standing.kind_at(target, entry.path)
        if kind is None or (kind is entry.kind is EntryKind.FOLDER):
            return
        if kind is not EntryKind.FOLDER and target.compare(entry.path, entry) in _SAME:
            return
        if self._is_ours(target, entry.path, kind):
            if kind is entry.kind or EntryKind.FOLDER not in (kind, entry.kind):
                return  # a rename replaces it in one step
            if kind is EntryKind.FOLDER:
                for old in self._before.gone(entry.path):
                    self._remove_if_ours(target, old)
            if standing.remove(target, entry.path):
                return
        beside = standing.put_aside(target, entry.path, self._clock.now())
        self._before.note_aside(entry.path, beside)
        log.info("local_change_kept_beside", item=item.id)

    def _is_ours(self, target: Target, path: RelativePath, kind: EntryKind) -> bool:
        old = self._before.at(path)
        if old is None or old.kind is not kind:
            return False
        return kind is EntryKind.FOLDER or target.compare(path, old) in _SAME

    def _clear(self, target: Target) -> None:
        for old in self._before.gone():
            self._check_stop()
            try:
                self._remove_if_ours(target, old)
            except FolderError as error:
                log.warning("deleted_file_stays", reason=str(error))
                self._kept_here += 1
            except FormatError:
                self._kept_here += 1  # somebody put a symlink into its way: nothing behind it is ours

    def _remove_if_ours(self, target: Target, old: Entry) -> None:
        kind = standing.kind_at(target, old.path)
        if kind is None:
            return
        if self._is_ours(target, old.path, kind):
            removed = standing.remove(target, old.path)
            self._removed += removed and kind is not EntryKind.FOLDER
        elif kind is not EntryKind.FOLDER:
            self._kept_here += 1

    # -- the end ---------------------------------------------------------------------------------

    def _conclude(self, summary: RestoreSummary) -> None:
        version, segment, offset, length, files, size = self._before.goal()
        root = None if segment is None else PageRef(SegmentId(segment), offset, length)
        conflicts, shown = self._before.aside(SHOWN)
        failed = self._before.failed(LEFT_LIMIT + 1)
        step: Step | None = None
        if len(failed) == summary.failed <= LEFT_LIMIT:
            left = [LeftPath(path, pack_stands(old), reason) for path, old, reason in failed]
            step = Step(version, root, files, size, conflicts, left)
        told = Updated(step, summary, conflicts, shown, self._kept_here, self._moved, self._removed)
        self._on_placed(told)


def planned_version(plan_path: Path) -> int | None:
    """The version that an interrupted update leads to; None when there is none, or its plan is not complete."""
    if not plan_path.exists():
        return None
    plan = RestorePlan(plan_path)
    try:
        if not plan.complete:
            return None
        goal = Before(plan).goal()
        return int(goal[0]) if goal else None
    finally:
        plan.close()


def _same_content(old: Entry, new: Entry) -> bool:
    return (
        old.kind is new.kind is EntryKind.FILE
        and old.size == new.size
        and old.content_hash == new.content_hash
    )


def _surviving(root: PageRef | None, load: Load) -> Iterator[Entry]:
    """What can still be read of a version, in the order of the paths."""
    try:
        yield from surviving_entries(root, load, ROOT, lambda _: None)
    except (ArticleMissing, FormatError) as error:
        log.warning("old_index_lost", reason=str(error))


def _side_by_side(old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[Difference]:
    """Everything in either, whether or not it differs, in the order of the paths."""
    one, two = next(old, None), next(new, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one.path < two.path):
            path = one.path if one is not None else ROOT
            yield path, one, None
            one = next(old, None)
        elif one is None or two.path < one.path:
            yield two.path, None, two
            two = next(new, None)
        else:
            yield two.path, one, two
            one, two = next(old, None), next(new, None)


def _with(differences: Iterable[Difference], more: Sequence[RelativePath]) -> Iterator[Difference]:
    """The differences and these paths, which are sorted as well, each path once."""
    at = 0
    for one in differences:
        while at < len(more) and more[at] < one[0]:
            yield more[at], None, None
            at += 1
        if at < len(more) and more[at] == one[0]:
            at += 1
        yield one
    for path in more[at:]:
        yield path, None, None
