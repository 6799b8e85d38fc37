"""Wait until a directory is quiet: one scan after a burst, not one for each event."""

from collections.abc import Collection
from dataclasses import dataclass
from threading import Condition

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.model import RelativePath

QUIET_S = 2.0
LONGEST_S = 10.0
DIRECTORIES_LIMIT = 10_000
"""Beyond so many dirty directories in one folder, scanning the whole folder is the cheaper way."""


@dataclass(frozen=True, slots=True)
class DueFolder:
    """What to scan now. directories: None means the whole folder."""

    folder_key: str
    directories: frozenset[RelativePath] | None

    @property
    def whole(self) -> bool:
        """Whether the whole folder is to be scanned."""
        return self.directories is None


@dataclass(slots=True)
class _Span:
    first_s: float
    last_s: float


class _Dirty:
    """The dirty directories of one folder; memory bounded by the limit."""

    __slots__ = ("spans", "whole")

    def __init__(self) -> None:
        self.spans: dict[RelativePath, _Span] = {}
        self.whole: _Span | None = None

    def mark(self, directory: RelativePath, now_s: float) -> None:
        if self.whole is not None:
            self.whole.last_s = now_s
            return
        span = self.spans.get(directory)
        if span is not None:
            span.last_s = now_s
        elif len(self.spans) < DIRECTORIES_LIMIT:
            self.spans[directory] = _Span(now_s, now_s)
        else:
            self.mark_whole(now_s)

    def mark_whole(self, now_s: float) -> None:
        first_s = min((span.first_s for span in self.spans.values()), default=now_s)
        self.whole = _Span(min(first_s, self.whole.first_s) if self.whole else first_s, now_s)
        self.spans.clear()


class Settle:
    """Dirty directories on their way to a scan. Thread-safe; nothing in it can block for long.

    A directory is due after ``quiet_s`` without an event, and after ``longest_s`` in any case.
    """

    def __init__(
        self, clock: Clock = SYSTEM_CLOCK, quiet_s: float = QUIET_S, longest_s: float = LONGEST_S
    ) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._longest_s = max(quiet_s, longest_s)
        self._folders: dict[str, _Dirty] = {}
        self._times: dict[str, tuple[float, float]] = {}
        self._changed = Condition()

    def mark(self, folder_key: str, directory: RelativePath) -> None:
        """Something happened in a directory."""
        with self._changed:
            known = folder_key in self._folders
            self._folders.setdefault(folder_key, _Dirty()).mark(directory, self._clock.monotonic())
            if not known:
                self._changed.notify_all()

    def mark_whole(self, folder_key: str) -> None:
        """Something happened in a folder, and nobody knows where."""
        with self._changed:
            self._folders.setdefault(folder_key, _Dirty()).mark_whole(self._clock.monotonic())
            self._changed.notify_all()

    def put_back(self, folder_key: str, directories: Collection[RelativePath]) -> None:
        """Mark directories that could not be scanned for good (a file was changing, or racy)."""
        for directory in directories:
            self.mark(folder_key, directory)

    def forget(self, folder_key: str) -> None:
        """Drop what is marked in a folder that is watched no more."""
        with self._changed:
            self._folders.pop(folder_key, None)

    def set_times(self, folder_key: str, quiet_s: float, longest_s: float = LONGEST_S) -> None:
        """The times of one folder, from its settings."""
        with self._changed:
            self._times[folder_key] = quiet_s, max(quiet_s, longest_s)
            self._changed.notify_all()

    def due(self, now_s: float | None = None) -> list[DueFolder]:
        """Take out what is due. now_s: monotonic; the clock's by default."""
        with self._changed:
            now_s = self._clock.monotonic() if now_s is None else now_s
            taken: list[DueFolder] = []
            for folder_key, dirty in list(self._folders.items()):
                if dirty.whole is not None:
                    if self._due_at(folder_key, dirty.whole) <= now_s:
                        taken.append(DueFolder(folder_key, None))
                        del self._folders[folder_key]
                    continue
                ready = [
                    path for path, span in dirty.spans.items() if self._due_at(folder_key, span) <= now_s
                ]
                if not ready:
                    continue
                for path in ready:
                    del dirty.spans[path]
                taken.append(DueFolder(folder_key, frozenset(ready)))
                if not dirty.spans:
                    del self._folders[folder_key]
            return taken

    def next_due(self) -> float | None:
        """When ``due`` will next have something, on the monotonic clock; None when all is quiet.

        An event may put it off, but never bring it forward, for what is marked already.
        """
        with self._changed:
            return self._next_due()

    def wait(self, longest_s: float) -> bool:
        """Block until something is due, at most ``longest_s`` or until ``wake``. Returns whether it is."""
        with self._changed:
            at_s = self._next_due()
            pause_s = longest_s if at_s is None else min(longest_s, at_s - self._clock.monotonic())
            if pause_s > 0:
                self._changed.wait(pause_s)
            at_s = self._next_due()
            return at_s is not None and at_s <= self._clock.monotonic()

    def wake(self) -> None:
        """Let ``wait`` return at once, to stop."""
        with self._changed:
            self._changed.notify_all()

    def is_dirty(self, folder_key: str) -> bool:
        """Whether anything of a folder is marked."""
        with self._changed:
            return folder_key in self._folders

    def pending(self) -> int:
        """Directories marked; a whole folder counts as one."""
        with self._changed:
            return sum(1 if dirty.whole else len(dirty.spans) for dirty in self._folders.values())

    def _due_at(self, folder_key: str, span: _Span) -> float:
        quiet_s, longest_s = self._times.get(folder_key, (self._quiet_s, self._longest_s))
        return min(span.last_s + quiet_s, span.first_s + longest_s)

    def _next_due(self) -> float | None:
        return min(
            (
                self._due_at(folder_key, span)
                for folder_key, dirty in self._folders.items()
                for span in ([dirty.whole] if dirty.whole is not None else dirty.spans.values())
            ),
            default=None,
        )
