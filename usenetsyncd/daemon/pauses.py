"""Pauses, of everything or of one folder, with or without an end; they survive a restart."""

from collections.abc import Callable

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import Clock

_FOREVER = "forever"


class Pauses:
    """Owner of who is paused until when. Rows of folders are kept in step, so that the queue leaves them out."""

    def __init__(self, catalogue: Catalogue, clock: Clock, on_change: Callable[[], None]) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._on_change = on_change

    def pause(self, row: int | None, for_s: float | None) -> float | None:
        """Pause a folder, or everything; returns when it ends, None for never."""
        until = None if for_s is None else self._clock.now() + for_s
        self._catalogue.values.set(_key(row), _FOREVER if until is None else repr(until)).result()
        if row is not None:
            self._catalogue.folders.set_paused(row, True).result()
        self._on_change()
        return until

    def resume(self, row: int | None) -> None:
        """Go on."""
        self._catalogue.values.set(_key(row), "").result()
        if row is not None:
            self._catalogue.folders.set_paused(row, False).result()
        self._on_change()

    def until(self, row: int | None) -> float | None:
        """When a pause ends; infinity for one without an end, None when not paused."""
        kept = self._catalogue.values.get(_key(row))
        if not kept:
            return None
        return float("inf") if kept == _FOREVER else float(kept)

    def expire(self, rows: list[int]) -> None:
        """End the pauses whose time is over."""
        now = self._clock.now()
        for row in (None, *rows):
            until = self.until(row)
            if until is not None and until <= now:
                self.resume(row)


def _key(row: int | None) -> str:
    return "paused" if row is None else f"paused:{row}"
