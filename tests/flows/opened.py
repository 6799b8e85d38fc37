"""What the kernel saw being opened: inotify, so that no way of opening a file can hide from it."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_OPEN = 0x20
_IN_ISDIR = 0x40000000
_EVENT = struct.Struct("iIII")


class Opened:
    """Files below a tree that anybody opened while this was watching."""

    def __init__(self, root: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0
        self._places: dict[int, Path] = {}
        for directory, _, _ in os.walk(root):
            watch = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _IN_OPEN)
            assert watch >= 0
            self._places[watch] = Path(directory).relative_to(root)

    def files(self) -> set[str]:
        """Paths opened since the last question."""
        found: set[str] = set()
        while True:
            try:
                events = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(events):
                watch, mask, _, length = _EVENT.unpack_from(events, at)
                name = events[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                at += _EVENT.size + length
                if not mask & _IN_ISDIR:
                    found.add(str(self._places[watch] / os.fsdecode(name)))

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def opened_below(root: Path) -> Iterator[Opened]:
    watching = Opened(root)
    try:
        yield watching
    finally:
        watching.close()
