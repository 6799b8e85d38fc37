"""Keep local copies of shares at their newest versions: asked for by the timetable, updated one after the other."""

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from usenetsyncd.catalogue.follows import FollowRow, FollowState
from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.errors import (
    BadAccessString,
    Cancelled,
    CatalogueError,
    NewsError,
    NotFound,
    NothingPublished,
    NotPermitted,
    Rollback,
    RootMissing,
    UsageError,
    UsenetSyncError,
)
from usenetsyncd.flows.locate import KnownVersion, Located, Opening
from usenetsyncd.flows.lookout import Lookout
from usenetsyncd.flows.restore_order import RestoreProgress
from usenetsyncd.flows.update import Standing, Update, Updated, planned_version
from usenetsyncd.folders.place import Target
from usenetsyncd.model import Fingerprint
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.vault.identities import own_identity
from usenetsyncd.wire.access import AccessKind, decode_access

log = structlog.get_logger("follow")

# Paths that could not be placed are tried again this often, when no newer version comes first.
LEFT_RETRY_S = 3_600.0
# What no retry mends: the share is closed, or the directory must not be used.
_FINAL = (NotPermitted, BadAccessString, UsageError)


@dataclass(frozen=True, slots=True)
class Activity:
    """An update under way."""

    follow: int
    version: int
    progress: RestoreProgress


class Following:
    """Owner of all followed shares; its lane does one update at a time."""

    def __init__(
        self, scopes: Scopes, data_dir: Path, plans: Path, rate: RateWindow, beat: Callable[[], None]
    ) -> None:
        """plans: directory for the plans of updates. rate: told of the bytes that were placed. beat: sign of life."""
        self._catalogue = scopes.catalogue
        self._vault = scopes.vault
        self._folders = scopes.folders
        self._news = scopes.news
        self._clock = scopes.clock
        self._data_dir = data_dir
        self._plans = plans
        self._rate = rate
        self._lane = Lane("follower", beat)
        self._lock = threading.Lock()
        self._lookouts: dict[int, Lookout] = {}
        self._due: dict[int, float] = {}
        self._left_due: dict[int, float] = {}
        self._rows: dict[int, FollowRow] | None = None
        self.activity: Activity | None = None

    def start(self) -> None:
        """Start the thread."""
        self._lane.start()

    def stop(self) -> None:
        """Leave an update where it is, and end the thread."""
        self._lane.stop()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._lane.alive()

    # -- what people ask for -----------------------------------------------------------------------

    def add(self, access: str, target: Path, passphrase: str | None, every_s: float) -> FollowRow:
        """Follow a share into a directory.

        Raises BadAccessString, UsageError for a directory that is in use, and what tells that the share opens nothing
        for us. A share without a version, or servers that do not answer, are waited for.
        """
        kind, _, fingerprint = decode_access(access)
        if kind is not AccessKind.READ:
            raise NotPermitted("this string does not allow reading; ask the owner for a read string")
        register_secret(access)
        if passphrase is not None:
            register_secret(passphrase)
        place = Path(os.path.realpath(target))
        self._check_free(place, None)
        lookout = self._lookout(access, passphrase)
        try:
            lookout.newest()
        except (NothingPublished, NewsError) as error:
            log.info("followed_share_is_waited_for", reason=str(error))
        sealed = None if passphrase is None else self._vault.seal_secret(passphrase.encode())
        row = self._catalogue.follows.add(
            os.fsencode(place), self._vault.seal_secret(access.encode()), sealed, fingerprint, every_s
        )
        with self._lock:
            self._lookouts[row.id] = lookout
        self._tell("info", "follow_added", row, "is followed from now on")
        self._changed(row.id)
        return row

    def pause(self, follow_id: int) -> FollowRow:
        """Ask and change nothing until it is resumed; an update under way stops where it is. Raises NotFound."""
        self._catalogue.follows.set_state(follow_id, FollowState.PAUSED).result()
        self._interrupt(follow_id)
        return self._catalogue.follows.get(follow_id)

    def resume(self, follow_id: int) -> FollowRow:
        """Go on, also after it was stopped; a directory that is gone is made again. Raises NotFound, UsageError."""
        row = self._catalogue.follows.get(follow_id)
        self._check_free(Path(os.fsdecode(row.target)), row.id)
        if _is_gone(row):
            self._discard_plan(row.id)
            self._catalogue.follows.start_over(follow_id).result()
        self._catalogue.follows.set_state(follow_id, FollowState.ACTIVE).result()
        with self._lock:
            self._lookouts.pop(follow_id, None)
            self._left_due.pop(follow_id, None)
        self._changed(follow_id)
        return self._catalogue.follows.get(follow_id)

    def remove(self, follow_id: int) -> FollowRow:
        """Forget it; every file stays as it is. Raises NotFound."""
        row = self._catalogue.follows.get(follow_id)
        self._catalogue.follows.remove(follow_id).result()
        self._interrupt(follow_id)
        with self._lock:
            self._lookouts.pop(follow_id, None)
        # Whatever runs has seen that it is gone before the lane comes to this.
        self._lane.put(f"forget-{follow_id}", lambda _: self._forget(row), Urgency.SOON)
        self._tell("info", "follow_removed", row, "is not followed any more; its files stay")
        return row

    def look(self) -> None:
        """Ask for newer versions where it is time. Called by the timetable; returns at once."""
        now = self._clock.monotonic()
        for row in self._active():
            if self._due.get(row.id, 0.0) <= now:
                self._due[row.id] = now + row.every_s
                self._put(row.id)

    # -- one share -------------------------------------------------------------------------------

    def _turn(self, follow_id: int, stop: threading.Event) -> bool:
        """Ask, and update. False when it was interrupted and has to go on."""
        try:
            row = self._catalogue.follows.get(follow_id)
        except NotFound:
            return True
        if row.state is not FollowState.ACTIVE:
            return True
        try:
            self._bring_up_to_date(row, stop)
        except Cancelled:
            return False
        except UsenetSyncError as error:
            self._trouble(row, error)
        except OSError as error:
            self._trouble(row, RootMissing(f"{os.fsdecode(row.target)} cannot be used: {error.strerror}"))
        finally:
            self.activity = None
        return True

    def _bring_up_to_date(self, row: FollowRow, stop: threading.Event) -> None:
        self._check_free(Path(os.fsdecode(row.target)), row.id)
        if _is_gone(row):
            raise RootMissing(
                f"{os.fsdecode(row.target)} is gone or empty: is its disk there? "
                f"usyncctl follow resume {row.id} fills it again"
            )
        located = self._newest(row)
        while self._is_to_do(row, located):
            self._update(row, located, stop)
            before, row = row, self._catalogue.follows.get(row.id)
            if row.version == before.version:
                break  # nothing more can be had of it now
        self._note_well(row, located)

    def _newest(self, row: FollowRow) -> Located:
        with self._lock:
            lookout = self._lookouts.get(row.id)
        if lookout is None:
            sealed = row.passphrase
            passphrase = None if sealed is None else self._vault.open_secret(sealed).decode()
            lookout = self._lookout(self._vault.open_secret(row.access).decode(), passphrase)
            with self._lock:
                self._lookouts[row.id] = lookout
        located = lookout.newest()
        head = located.head
        if head.version < row.version:
            raise Rollback(f"version {row.version} stands here, but {head.version} is the newest on offer")
        self._catalogue.heads.remember(head.fingerprint, head.version, located.head_hash)
        return located

    def _is_to_do(self, row: FollowRow, located: Located) -> bool:
        """Whether the directory is behind, or an update was interrupted, or what is left is due again."""
        plan = self._plan_path(row.id)
        try:
            planned = planned_version(plan)
        except CatalogueError:
            planned = -1
        if planned is not None and (planned < row.version or (planned == row.version and not row.left)):
            self._discard_plan(row.id)
            planned = None
        if planned is not None or located.head.version > row.version:
            return True
        return bool(row.left) and self._left_due.get(row.id, 0.0) <= self._clock.monotonic()

    def _update(self, row: FollowRow, located: Located, stop: threading.Event) -> None:
        self._plans.mkdir(mode=0o700, exist_ok=True)
        self._left_due[row.id] = self._clock.monotonic() + LEFT_RETRY_S
        placed = [0]

        def on_progress(progress: RestoreProgress) -> None:
            self._rate.add(max(0, progress.bytes - placed[0]))
            placed[0] = progress.bytes
            self.activity = Activity(row.id, located.head.version, progress)

        def on_placed(updated: Updated) -> None:
            if updated.step is not None:
                self._catalogue.follows.step(row.id, updated.step).result()
            self._tell_update(row, updated)

        target = Path(os.fsdecode(row.target))
        standing = Standing(row.version, row.root, self._catalogue.follows.left(row.id))
        plan = self._plan_path(row.id)
        Update(self._news, located, target, standing, plan, self._clock, stop, on_progress, on_placed).run()

    def _tell_update(self, row: FollowRow, updated: Updated) -> None:
        if updated.step is None:
            reason = f"{updated.summary.failed:,} entries of version {updated.summary.version} cannot be had"
            self._tell("error", "follow_incomplete", row, reason)
            return
        told = f"version {updated.step.version} is here"
        log.info("follow_updated", follow=row.id, version=updated.step.version, files=updated.summary.files)
        if left := len(updated.step.left):
            first = updated.step.left[0]
            told += f"; {left:,} paths could not be placed, as {_shown(first.path)}: {first.reason}"
        if updated.kept:
            told += f"; {updated.kept:,} files that were deleted there were changed here, and stay"
        self._tell("warning" if left else "info", "follow_updated", row, told)
        if updated.conflicts:
            names = ", ".join(_shown(name) for name in updated.shown)
            more = updated.conflicts - len(updated.shown)
            names += f" and {more:,} more" if more > 0 else ""
            self._tell("warning", "follow_conflict", row, f"changes made here are kept beside: {names}")

    # -- how it is -------------------------------------------------------------------------------

    def _note_well(self, row: FollowRow, located: Located) -> None:
        warnings = "; ".join(located.warnings)
        code = "warning" if warnings else ""
        if warnings and warnings != row.reason:
            self._tell("warning", "follow_warning", row, warnings)
        self._catalogue.follows.asked(row.id, code, warnings).result()

    def _trouble(self, row: FollowRow, error: UsenetSyncError) -> None:
        """Said once, however often it is met."""
        follows = self._catalogue.follows
        final = isinstance(error, _FINAL) and not isinstance(error, NewsError)
        if final:
            follows.set_state(row.id, FollowState.STOPPED, error.code, str(error)).result()
            self._forget_rows()
            self._tell("error", "follow_stopped", row, f"is stopped: {error}")
            return
        if error.code != row.code:
            self._tell("warning", "follow_trouble", row, str(error))
        follows.asked(row.id, error.code, str(error)).result()

    def _tell(self, level: str, code: str, row: FollowRow, told: str) -> None:
        message = f"follow {row.id} ({_shown(row.target)}): {told}"
        self._catalogue.events.add(level, code, message, follow=row.id)

    # -- helpers ---------------------------------------------------------------------------------

    def _check_free(self, place: Path, own: int | None) -> None:
        """Raises UsageError for a directory that something else uses."""
        real = Path(os.path.realpath(place))
        taken: list[tuple[Path, str]] = [(self._data_dir, "the daemon's own state")]
        taken += [
            (Path(os.fsdecode(one.root)), f"the folder {one.name}, which is posted") for one in self._folders
        ]
        taken += [
            (Path(os.fsdecode(one.target)), f"what follow {one.id} keeps")
            for one in self._catalogue.follows.list()
            if one.id != own
        ]
        for path, what in taken:
            other = Path(os.path.realpath(path))
            if real == other or other in real.parents or real in other.parents:
                raise UsageError(f"{real} overlaps {other}: {what}")

    def _lookout(self, access: str, passphrase: str | None) -> Lookout:
        opening = Opening(passphrase, own_identity(self._vault))
        return Lookout(self._news, access, self._clock, self._known, opening)

    def _known(self, fingerprint: Fingerprint) -> KnownVersion | None:
        known = self._catalogue.heads.get(fingerprint)
        return None if known is None else KnownVersion(known.version, known.head_hash)

    def _active(self) -> Iterable[FollowRow]:
        """Read from the catalogue only after something changed: this is asked for every few seconds."""
        with self._lock:
            if self._rows is None:
                self._rows = {row.id: row for row in self._catalogue.follows.list()}
            return [row for row in self._rows.values() if row.state is FollowState.ACTIVE]

    def _forget_rows(self) -> None:
        with self._lock:
            self._rows = None

    def _changed(self, follow_id: int) -> None:
        self._forget_rows()
        self._due.pop(follow_id, None)
        self._put(follow_id)

    def _put(self, follow_id: int) -> None:
        self._lane.put(_errand(follow_id), lambda stop: self._turn(follow_id, stop), Urgency.SOON)

    def _interrupt(self, follow_id: int) -> None:
        self._forget_rows()
        if not self._lane.withdraw(_errand(follow_id)):
            self._lane.interrupt(_errand(follow_id))

    def _plan_path(self, follow_id: int) -> Path:
        return self._plans / f"follow-{follow_id}.plan"

    def _forget(self, row: FollowRow) -> bool:
        """Remove what an interrupted update left: its plan, and files under temporary names."""
        if self._plan_path(row.id).exists() and not _is_gone(row):
            try:
                with Target(row.target) as target:
                    target.sweep()
            except (UsenetSyncError, OSError) as error:
                log.warning("temporary_files_stay", follow=row.id, reason=str(error))
        return self._discard_plan(row.id)

    def _discard_plan(self, follow_id: int) -> bool:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._plan_path(follow_id)}{suffix}").unlink(missing_ok=True)
        return True


def _is_gone(row: FollowRow) -> bool:
    """A directory that has had files and has none: a disk that is not mounted looks like this."""
    if not row.version or not row.files:
        return False
    try:
        with os.scandir(row.target) as found:
            return next(found, None) is None
    except OSError:
        return True


def _errand(follow_id: int) -> str:
    return f"follow-{follow_id}"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
