"""Fails a test that leaves a thread, socket, pipe or file open behind it."""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Threads and sockets may need a moment to die after close() returned; longer means nobody waited for them.
GRACE_S = 2.0

OPEN_FILES = Path("/proc/self/fd")


def open_files() -> dict[int, str]:
    """Descriptor -> what it is (``socket:[123]``, a path). Empty where there is no /proc."""
    found: dict[int, str] = {}
    try:
        names = os.listdir(OPEN_FILES)
    except FileNotFoundError:
        return found
    for name in names:
        try:
            target = os.readlink(OPEN_FILES / name)
        except FileNotFoundError:
            continue  # the descriptor that listed the directory
        if not target.startswith("/dev/"):
            found[int(name)] = target
    return found


def leaked_threads(before: frozenset[threading.Thread]) -> list[str]:
    return [f"thread {t.name!r}" for t in threading.enumerate() if t not in before and t.is_alive()]


def leaked_files(before: dict[int, str]) -> list[str]:
    return [f"fd {fd} ({what})" for fd, what in sorted(open_files().items()) if before.get(fd) != what]


def after_grace(leaked: Callable[[], list[str]]) -> list[str]:
    """What is still leaked after unreachable objects were collected and GRACE_S went by."""
    found = leaked()
    if found:
        gc.collect()
    deadline = time.monotonic() + GRACE_S
    while (found := leaked()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def leaks_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up before and torn down after every other fixture of the same test."""
    marker = request.node.get_closest_marker("leaks_nothing")
    check = {"threads": True, "files": True, **(marker.kwargs if marker else {})}
    threads, files = frozenset(threading.enumerate()), open_files()
    yield
    found: list[str] = []
    if check["threads"]:
        found += after_grace(lambda: leaked_threads(threads))
    if check["files"]:
        found += after_grace(lambda: leaked_files(files))
    if found:
        pytest.fail("left open: " + ", ".join(found), pytrace=False)
