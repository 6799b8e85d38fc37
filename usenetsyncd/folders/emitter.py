"""A watchdog emitter of our own for Linux: one kernel queue for all folders, and nothing lost in silence.

watchdog's own emitter delivers a part of a burst, and neither tells its handler of an overflow nor of a
lack of watches. This one reads fast, says only which directory changed, and says when it does not know.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import ClassVar

import structlog
from watchdog.events import FileSystemEvent
from watchdog.observers.api import EventEmitter, EventQueue, ObservedWatch

from usenetsyncd.errors import FolderError, RootMissing
from usenetsyncd.folders import inotify
from usenetsyncd.folders.inotify import Inotify
from usenetsyncd.folders.root import ROOT_PATH
from usenetsyncd.folders.scan import join
from usenetsyncd.folders.watched_tree import Tree, WatchTable
from usenetsyncd.model import RelativePath

log = structlog.get_logger("folders")

# A trickle of events is gathered into fewer rounds; in a burst of 130,000 files a second the kernel's
# default queue of 16,384 events is full after 40 ms.
_GATHER_S = 0.01
_BURST_BYTES = 1 << 16
_DRAIN_EVERY_S = 0.004
# Reads kept in memory, 64 MB at most; beyond them the kernel's queue may overflow, and a rescan follows.
_RAW_LIMIT = 256
# Events are taken for so long before what they told is delivered.
_TAKE_S = 0.25
_ROOTS_EVERY_S = 2.0
# After an overflow the trees are walked again once the kernel's queue is empty, at the latest after this.
_REWALK_AFTER_S = 5.0
_DELIVERY_LIMIT = 50_000
_ALIVE_EVERY_S = 0.5

_OF_TREE = inotify.CREATE | inotify.MOVED_TO | inotify.MOVED_FROM | inotify.DELETE | inotify.ATTRIB
_OF_SELF = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT | inotify.IGNORED | inotify.Q_OVERFLOW


@dataclass(unsafe_hash=True)
class DirectoryDirty(FileSystemEvent):
    """Something happened in the directory ``src_path`` (bytes, relative) of a folder."""

    event_type: ClassVar[str] = "dirty"  # type: ignore[misc]  # watchdog's subclasses do the same
    is_directory: ClassVar[bool] = True  # type: ignore[misc]
    folder_key: str = ""


@dataclass(unsafe_hash=True)
class FolderUnknown(FileSystemEvent):
    """Anything may have happened in a folder; ``reason`` is a sentence for a person."""

    event_type: ClassVar[str] = "unknown"  # type: ignore[misc]
    is_directory: ClassVar[bool] = True  # type: ignore[misc]
    folder_key: str = ""
    reason: str = ""


@dataclass(unsafe_hash=True)
class CaughtUp(FileSystemEvent):
    """Everything that the kernel had told before this was asked for has been handed on."""

    event_type: ClassVar[str] = "caught_up"  # type: ignore[misc]
    is_directory: ClassVar[bool] = True  # type: ignore[misc]
    reached: Event = field(default_factory=Event)


class KernelEmitter(EventEmitter):
    """Reads one inotify queue for every folder. All its state belongs to its own thread.

    Folders are added with ``watch_tree``, which may be called from any thread; the watch that the
    observer schedules only gives this thread its life.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        timeout: float = 1.0,
        event_filter: list[type[FileSystemEvent]] | None = None,
    ) -> None:
        super().__init__(event_queue, watch, timeout=timeout, event_filter=event_filter)
        self.name = "watch"
        self._inotify = Inotify()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waking = Lock()
        self._poll = select.poll()
        self._poll.register(self._inotify.fd, select.POLLIN)
        self._poll.register(self._waker, select.POLLIN)
        self._calls: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        self._raw: deque[bytes] = deque()
        self._drained_s = 0.0
        self._drained_bytes = 0
        self._table = WatchTable(self._inotify, self._drain_if_late)
        self._trees: dict[str, Tree] = {}
        self._touched: set[int] = set()
        self._dirty: set[tuple[str, RelativePath]] = set()
        self._moved_out: set[tuple[Tree, RelativePath]] = set()
        self._rewalk_from_s: float | None = None
        self._roots_at_s = time.monotonic() + _ROOTS_EVERY_S
        self.beat_s = time.monotonic()
        """When the thread last came round; a disk that hangs holds it up."""

    # -- for other threads -------------------------------------------------------------------

    def watch_tree(self, tree: Tree) -> None:
        """Watch a folder; returns when every directory in it is watched. Raises FolderError."""
        self._call(lambda: self._add(tree))

    def unwatch_tree(self, key: str) -> None:
        """Watch a folder no more. Raises FolderError."""
        self._call(lambda: self._remove(key))

    def catch_up(self, reached: Event) -> None:
        """Have ``reached`` set once all that happened until now was handed on. Returns at once."""
        self._calls.put((lambda: self._catch_up(reached), Future()))
        self._wake()

    def on_thread_stop(self) -> None:
        """Wake the thread so that it ends at once."""
        self._wake()

    # -- watchdog's thread -----------------------------------------------------------------

    def run(self) -> None:
        """Deliver until stopped, then give every descriptor back."""
        try:
            super().run()
        except Exception:
            # The thread ends; ``FolderWatch.healthy`` says so and the supervisor revives it.
            log.exception("watch_thread_failed")
        finally:
            self._inotify.close()
            with self._waking:
                waker, self._waker = self._waker, -1
                os.close(waker)
            self._refuse_calls()

    def queue_events(self, timeout: float) -> None:
        """Wait for something to happen and turn it into events for the observer."""
        self.beat_s = time.monotonic()
        ready = {fd for fd, _ in self._poll.poll(0 if self._raw else timeout * 1000)}
        if self._waker in ready:
            os.eventfd_read(self._waker)
            self._run_calls()
        if self._inotify.fd in ready and self.should_keep_running():
            if self._drained_bytes < _BURST_BYTES:
                time.sleep(_GATHER_S)
            self._drain()
        until_s = time.monotonic() + _TAKE_S
        while self._raw and time.monotonic() < until_s:
            self._take(self._raw.popleft())
            self._drain_if_late()
        self._rewalk_when_quiet()
        self._look_at_roots()
        self._deliver()

    # -- folders -----------------------------------------------------------------------------

    def _add(self, tree: Tree) -> None:
        self._remove(tree.key)
        self._trees[tree.key] = tree
        self._walk(tree)

    def _remove(self, key: str) -> None:
        tree = self._trees.pop(key, None)
        if tree is not None:
            self._table.drop(tree)

    def _rewalk(self, tree: Tree, reason: str) -> None:
        """Find the watches of a tree anew, and have the whole folder scanned."""
        self._walk(tree)
        self._unknown(tree, reason)

    def _walk(self, tree: Tree) -> None:
        tree.missing = None
        try:
            self._table.walk_all(tree)
        except RootMissing as missing:
            tree.root_id = None
            tree.missing = str(missing)
        self._warn_if_incomplete(tree, 0)

    @staticmethod
    def _warn_if_incomplete(tree: Tree, unwatched_before: int) -> None:
        if tree.unwatched_count and not unwatched_before:
            log.warning("watches_incomplete", folder=tree.key, reason=tree.problem)

    def _look_at_roots(self) -> None:
        """Notice a root that was deleted, replaced, unmounted or mounted over; not all of these make events."""
        now_s = time.monotonic()
        if now_s < self._roots_at_s:
            return
        self._roots_at_s = now_s + _ROOTS_EVERY_S
        for tree in self._trees.values():
            try:
                status = os.stat(tree.path)
            except OSError:
                if tree.root_id is not None:
                    self._rewalk(tree, "its root is gone")
                continue
            if tree.root_id != (status.st_dev, status.st_ino):
                self._rewalk(tree, "its root was replaced or came back")

    def _rewalk_when_quiet(self) -> None:
        if self._rewalk_from_s is None:
            return
        quiet = not any(fd == self._inotify.fd for fd, _ in self._poll.poll(0))
        if quiet or time.monotonic() >= self._rewalk_from_s + _REWALK_AFTER_S:
            self._rewalk_from_s = None
            for tree in self._trees.values():
                self._rewalk(tree, "the kernel's event queue overflowed")

    # -- events ------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Empty the kernel's queue into our own, without looking at anything."""
        self._drained_bytes = 0
        while len(self._raw) < _RAW_LIMIT and (raw := self._inotify.read()):
            self._raw.append(raw)
            self._drained_bytes += len(raw)
        self._drained_s = time.monotonic()

    def _drain_if_late(self) -> None:
        """For whatever takes long in this thread: the kernel's queue must not overflow meanwhile."""
        if time.monotonic() >= self._drained_s + _DRAIN_EVERY_S:
            self._drain()

    def _take(self, raw: bytes) -> None:
        """Turn a read into touched watches; only what changes the tree is looked at closely."""
        unpack = inotify.EVENT.unpack_from
        header = inotify.EVENT.size
        touch = self._touched.add
        at = 0
        while at < len(raw):
            watch, mask, _, length = unpack(raw, at)
            at += header
            if mask & _OF_SELF:
                self._take_self(watch, mask)
            else:
                touch(watch)
                if mask & inotify.ISDIR and mask & _OF_TREE and length:
                    self._take_directory(watch, mask, raw[at : at + length].rstrip(b"\0"))
            at += length
        self._forget_moved()
        for watch in self._touched:
            self._dirty.update((tree.key, path) for tree, path in self._table.owners(watch))
        self._touched.clear()

    def _take_self(self, watch: int, mask: int) -> None:
        if mask & inotify.Q_OVERFLOW:
            if self._rewalk_from_s is None:
                log.warning("watch_queue_overflowed", sysctl=inotify.QUEUE_SYSCTL)
                self._rewalk_from_s = time.monotonic()
            return
        if any(watch == tree.root_watch for tree, _ in self._table.owners(watch)):
            self._roots_at_s = 0.0
        if mask & inotify.IGNORED:
            self._table.ended(watch)

    def _take_directory(self, watch: int, mask: int, name: bytes) -> None:
        """A sub-directory came, went or changed its mode."""
        for tree, parent in list(self._table.owners(watch)):
            path = join(parent, name)
            if mask & inotify.MOVED_FROM:
                self._moved_out.add((tree, path))
            elif mask & inotify.ATTRIB:
                self._dirty.add((tree.key, path))
            elif mask & (inotify.CREATE | inotify.MOVED_TO):
                self._come(tree, path)

    def _come(self, tree: Tree, path: RelativePath) -> None:
        """Watch a new directory and all below it; whatever was made there before the watch is scanned."""
        if tree.ignore and tree.ignore.matches(path, True):
            return
        # A directory that moved inside the tree keeps its watch; one that stands where another left does not.
        if any(
            gone is tree and (path == top or path.startswith(top + b"/")) for gone, top in self._moved_out
        ):
            self._forget_moved()
        unwatched = tree.unwatched_count
        try:
            self._table.walk(tree, path, lambda met: self._dirty.add((tree.key, met)))
        except RootMissing:
            self._roots_at_s = 0.0
            return
        self._warn_if_incomplete(tree, unwatched)

    def _forget_moved(self) -> None:
        if self._moved_out:
            self._table.drop_below(self._moved_out)
            self._moved_out.clear()

    # -- to the observer -----------------------------------------------------------------------

    def _catch_up(self, reached: Event) -> None:
        self._drain()
        for _ in range(len(self._raw)):
            self._take(self._raw.popleft())
            self._drain_if_late()
        self._rewalk_when_quiet()
        self._deliver()
        # With an overflow still to be dealt with, nobody knows what happened: then it stays unset.
        if self._rewalk_from_s is None:
            self.queue_event(CaughtUp(ROOT_PATH, reached=reached))

    def _deliver(self) -> None:
        if not self._dirty:
            return
        if self._event_queue.qsize() + len(self._dirty) > _DELIVERY_LIMIT:
            for key in {key for key, _ in self._dirty} & self._trees.keys():
                self._unknown(self._trees[key], "more changed than could be told apart")
        else:
            for key, path in self._dirty:
                self.queue_event(DirectoryDirty(path, folder_key=key))
        self._dirty.clear()

    def _unknown(self, tree: Tree, reason: str) -> None:
        self.queue_event(FolderUnknown(ROOT_PATH, folder_key=tree.key, reason=reason))

    # -- calls from other threads ------------------------------------------------------------

    def _call(self, act: Callable[[], None]) -> None:
        done: Future[None] = Future()
        self._calls.put((act, done))
        self._wake()
        while True:
            try:
                return done.result(timeout=_ALIVE_EVERY_S)
            except TimeoutError:
                if not self.is_alive():
                    self._refuse_calls()

    def _wake(self) -> None:
        with self._waking:
            if self._waker >= 0:
                os.eventfd_write(self._waker, 1)

    def _run_calls(self) -> None:
        while True:
            try:
                act, done = self._calls.get_nowait()
            except Empty:
                return
            try:
                act()
            except (FolderError, OSError) as problem:
                done.set_exception(problem)
            except Exception as unexpected:
                done.set_exception(unexpected)
                raise
            else:
                done.set_result(None)

    def _refuse_calls(self) -> None:
        while True:
            try:
                _, done = self._calls.get_nowait()
            except Empty:
                return
            done.set_exception(FolderError("Folders are not being watched: the watching thread has ended"))
