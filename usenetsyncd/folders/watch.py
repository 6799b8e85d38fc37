"""Watch real folders. Events are hints: they say where to look, never what is there."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol, cast

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from usenetsyncd.errors import FolderError
from usenetsyncd.folders import inotify
from usenetsyncd.folders.emitter import CaughtUp, DirectoryDirty, FolderUnknown, KernelEmitter
from usenetsyncd.folders.ignore import NO_RULES, IgnoreRules
from usenetsyncd.folders.root import ROOT_PATH
from usenetsyncd.folders.watched_tree import Tree
from usenetsyncd.model import RelativePath

log = structlog.get_logger("folders")

OnDirty = Callable[[str, RelativePath], None]
OnOverflow = Callable[[str, str], None]

# A walk over 300,000 directories takes half a minute on a cold disk.
_HEARTBEAT_S = 120.0
# What reading a file does must not look like a change, or hashing feeds itself.
_CHANGES = frozenset({"created", "modified", "moved", "deleted", "closed"})


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a folder is watched. The rest must be scanned by the timetable.

    watched, total: directories. unwatched: tops of what is not watched, at most 10,000 of them.
    problem: a sentence for ``status``, None when all is well.
    """

    watched: int
    total: int
    unwatched: tuple[RelativePath, ...] = ()
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every directory is watched."""
        return self.problem is None and self.watched == self.total


class Front(Protocol):
    """What watches: the kernel's queue on Linux, or what watchdog has for the platform."""

    def add(self, key: str, root: bytes, ignore: IgnoreRules) -> None: ...
    def remove(self, key: str) -> None: ...
    def coverage(self, key: str) -> Coverage | None: ...
    def caught_up(self, timeout_s: float) -> bool: ...
    def healthy(self) -> bool: ...
    def close(self) -> None: ...


class FolderWatch:
    """All watched folders. Thread-safe after construction, but for ``close``.

    on_dirty(folder_key, directory): something happened in a directory. on_overflow(folder_key, reason):
    anything may have happened in the folder: scan it whole. Both are called from one thread of ours, must
    be quick (``Settle.mark`` is), and may raise without ending the watch.
    """

    def __init__(
        self, on_dirty: OnDirty, on_overflow: OnOverflow, front: Callable[["Relay"], Front] | None = None
    ) -> None:
        self._relay = Relay(on_dirty, on_overflow)
        self._make_front = front or (KernelFront if inotify.AVAILABLE else PlatformFront)
        self._front = self._make_front(self._relay)
        self._folders: dict[str, tuple[bytes, IgnoreRules]] = {}

    def add(self, folder_key: str, root: bytes | str | Path, ignore: IgnoreRules = NO_RULES) -> Coverage:
        """Watch a folder, or watch it anew under other rules; returns when the watches are set.

        Scan after this, not before: what changes from now on is told. A root that is missing is looked for
        every few seconds, and ``on_overflow`` is called when it comes. Raises FolderError.
        """
        path = os.fsencode(root)
        self._folders[folder_key] = (path, ignore)
        try:
            self._front.add(folder_key, path, ignore)
        except OSError as problem:
            raise FolderError(f"{os.fsdecode(path)!r} cannot be watched: {problem.strerror}") from problem
        return self._front.coverage(folder_key) or Coverage(0, 0)

    def remove(self, folder_key: str) -> None:
        """Watch a folder no more."""
        if self._folders.pop(folder_key, None) is not None:
            self._front.remove(folder_key)

    def coverage(self, folder_key: str) -> Coverage | None:
        """How much of a folder is watched now; None when it is not a watched folder."""
        return self._front.coverage(folder_key) if folder_key in self._folders else None

    def caught_up(self, timeout_s: float) -> bool:
        """Wait until all that happened in the folders before this call was told to ``on_dirty`` or ``on_overflow``.

        False: not within the time. Where only the platform's own watcher is at hand this is not known: True.
        """
        return self._front.caught_up(timeout_s)

    def healthy(self) -> bool:
        """Whether the threads that watch are alive and come round. If not: ``revive``."""
        return self._front.healthy()

    def revive(self) -> None:
        """Start over after a thread died: every folder is watched again, and reported as unknown."""
        self._front.close()
        self._front = self._make_front(self._relay)
        for key, (path, ignore) in self._folders.items():
            try:
                self._front.add(key, path, ignore)
            except (FolderError, OSError) as problem:
                log.warning("folder_not_watched", folder=key, reason=str(problem))
            self._relay.unknown(key, "watching had stopped")

    def close(self) -> None:
        """Stop watching; every thread is joined."""
        self._front.close()


class Relay(FileSystemEventHandler):
    """Hands events on. Never raises: an exception in a handler would end watchdog's thread in silence."""

    def __init__(self, on_dirty: OnDirty, on_overflow: OnOverflow) -> None:
        self._on_dirty = on_dirty
        self._on_overflow = on_overflow

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by the observer."""
        if isinstance(event, DirectoryDirty):
            self.dirty(event.folder_key, RelativePath(os.fsencode(event.src_path)))
        elif isinstance(event, FolderUnknown):
            self.unknown(event.folder_key, event.reason)
        elif isinstance(event, CaughtUp):
            event.reached.set()

    def dirty(self, key: str, directory: RelativePath) -> None:
        """Something happened in a directory."""
        try:
            self._on_dirty(key, directory)
        except Exception:
            log.exception("dirty_directory_lost", folder=key)

    def unknown(self, key: str, reason: str) -> None:
        """Anything may have happened in a folder."""
        log.warning("folder_state_unknown", folder=key, reason=reason)
        try:
            self._on_overflow(key, reason)
        except Exception:
            log.exception("overflow_lost", folder=key)


class KernelFront:
    """watchdog's observer over one emitter of ours that serves every folder."""

    def __init__(self, relay: Relay) -> None:
        self._trees: dict[str, Tree] = {}
        self._observer = BaseObserver(KernelEmitter)
        self._observer.name = "watch-dispatch"
        # The path is only a label: folders are added to the emitter, which has one kernel queue for all.
        try:
            self._observer.schedule(relay, "/", recursive=True)
        except OSError as problem:
            raise FolderError(
                f"No inotify queue ({problem.strerror}): raise the sysctl {inotify.INSTANCES_SYSCTL}"
            ) from problem
        (emitter,) = self._observer.emitters
        self._emitter = cast(KernelEmitter, emitter)
        self._observer.start()

    def add(self, key: str, root: bytes, ignore: IgnoreRules) -> None:
        tree = Tree(key, root, ignore)
        self._trees[key] = tree
        self._emitter.watch_tree(tree)

    def remove(self, key: str) -> None:
        self._trees.pop(key, None)
        if self._emitter.is_alive():
            self._emitter.unwatch_tree(key)

    def coverage(self, key: str) -> Coverage | None:
        tree = self._trees.get(key)
        if tree is None:
            return None
        return Coverage(tree.watched, tree.total, tuple(tree.unwatched), tree.problem)

    def caught_up(self, timeout_s: float) -> bool:
        reached = Event()
        self._emitter.catch_up(reached)
        return reached.wait(timeout_s)

    def healthy(self) -> bool:
        beating = time.monotonic() - self._emitter.beat_s < _HEARTBEAT_S
        return self._observer.is_alive() and self._emitter.is_alive() and beating

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()
        self._emitter.join()


class PlatformFront:
    """watchdog as it comes, for platforms where its own emitter is what there is."""

    def __init__(self, relay: Relay, make_observer: Callable[[], BaseObserver] = Observer) -> None:
        self._relay = relay
        self._watches: dict[str, ObservedWatch] = {}
        self._observer = make_observer()
        self._observer.start()

    def add(self, key: str, root: bytes, ignore: IgnoreRules) -> None:
        self.remove(key)
        path = os.fsdecode(root)
        handler = _Translator(self._relay, key, path, ignore)
        self._watches[key] = self._observer.schedule(handler, path, recursive=True)

    def remove(self, key: str) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            self._observer.unschedule(watch)

    def coverage(self, key: str) -> Coverage | None:
        return Coverage(1, 1) if key in self._watches else None

    def caught_up(self, timeout_s: float) -> bool:
        return True

    def healthy(self) -> bool:
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()


class _Translator(FileSystemEventHandler):
    """watchdog's events of one folder, reduced to the directories in which they happened."""

    def __init__(self, relay: Relay, key: str, root: str, ignore: IgnoreRules) -> None:
        self._relay = relay
        self._key = key
        self._root = root
        self._ignore = ignore

    def dispatch(self, event: FileSystemEvent) -> None:
        if event.event_type not in _CHANGES:
            return
        for told in (event.src_path, event.dest_path):
            if not told:
                continue
            path = self._relative(os.fsdecode(told))
            if path is None:
                continue
            if event.is_directory and not self._ignore.covers(path, True):
                self._relay.dirty(self._key, path)
            # A directory is modified when something in it came or went: that is no news for its parent.
            parent = RelativePath(path.rpartition(b"/")[0])
            if not (event.is_directory and event.event_type == "modified") and not self._ignore.covers(
                parent, True
            ):
                self._relay.dirty(self._key, parent)

    def _relative(self, path: str) -> RelativePath | None:
        if path == self._root:
            return ROOT_PATH
        prefix = self._root.rstrip(os.sep) + os.sep
        if not path.startswith(prefix):
            return None
        return RelativePath(os.fsencode(path[len(prefix) :]).replace(os.fsencode(os.sep), b"/"))
