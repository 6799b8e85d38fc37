"""Read small files and hash them, some hundred at a time: here, or ahead of the planner in a child process.

Reading and hashing take as long as planning and storing; in a thread they would wait for the interpreter's lock at
every system call. Both sides of what goes between parent and child are in this file.
"""

import os
import sys
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from usenetsyncd.errors import FileChanged, FolderError
from usenetsyncd.flows.child import Child, can_help, serve
from usenetsyncd.folders.read import read_small_into
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import FileKey, reading_problem
from usenetsyncd.model import RelativePath
from usenetsyncd.wire.segment import content_hash

log = structlog.get_logger("index")

BATCH_FILES = 256
BATCH_BYTES = 4 << 20
READ_AHEAD = 3
# Starting the child takes as long as reading that many files.
CHILD_AFTER_FILES = 2_000

_HASH_BYTES = 32
_CODE_BYTES = 4
_HASHES_AT = BATCH_FILES * _CODE_BYTES
_CONTENT_AT = _HASHES_AT + BATCH_FILES * _HASH_BYTES
# One byte to spare: a file that has grown shows by filling it.
_SLAB_BYTES = _CONTENT_AT + BATCH_BYTES + 1
_READ, _CHANGED = 0, -1

Batch = list[tuple[RelativePath, list[tuple[bytes, FileKey]]]]
"""Files by directory: (name, the key they were listed with). At most BATCH_FILES, of BATCH_BYTES together."""


class Outcome(NamedTuple):
    """A batch that was read, file by file in its order; ``content`` holds them one after the other.

    hashes: 32 bytes each. failures: by the file's number; such a file has no hash, but its room in ``content``.
    Valid until READ_AHEAD more batches were asked for.
    """

    hashes: list[bytes]
    failures: dict[int, FolderError]
    content: memoryview


class SmallFileReader:
    """Takes batches and gives their outcomes in the same order. For one thread; close it."""

    def __init__(self, root: FolderRoot, identity: bytes) -> None:
        self._identity = identity
        self._root = root
        self._here = _Reading(root, identity)
        self._slab: memoryview | None = None
        self._asked: deque[tuple[Batch, int | None]] = deque()
        self._child: Child | None = None
        self._next_slab = 0
        self._files = 0
        self._alone = not can_help()

    @property
    def reads_ahead(self) -> bool:
        """Whether the next batch will be read while the caller does something else."""
        return self._child is not None or (self._files >= CHILD_AFTER_FILES and not self._alone)

    @property
    def waiting(self) -> int:
        """How many batches were asked for and not yet fetched: READ_AHEAD at most."""
        return len(self._asked)

    def ask(self, batch: Batch) -> None:
        """Have a batch read."""
        if self._child is None and self.reads_ahead:
            self._start_child()
        self._files += sum(len(files) for _, files in batch)
        slab = None
        if self._child is not None:
            slab = self._next_slab
            self._next_slab = (slab + 1) % READ_AHEAD
            self._child.send(_Order(slab, self._root.path, self._identity, batch))
        self._asked.append((batch, slab))

    def outcome(self) -> Outcome:
        """The outcome of the batch that was asked for longest ago; waits for it, or reads it now."""
        batch, slab = self._asked.popleft()
        if slab is not None and self._child is not None:
            if self._child.answers(slab):
                return _outcome(batch, self._child.slabs[slab])
            log.warning("reading_child_died", status=self._child.close())
            self._child, self._alone = None, True
        if self._slab is None:
            self._slab = memoryview(bytearray(_SLAB_BYTES))
        self._here.read(batch, self._slab)
        return _outcome(batch, self._slab)

    def close(self) -> None:
        """End the child, if there is one."""
        self._here.leave()
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start_child(self) -> None:
        try:
            self._child = Child(__name__, READ_AHEAD, _SLAB_BYTES)
        except OSError as error:
            self._alone = True
            log.warning("reading_child_not_started", reason=str(error))


class _Reading:
    """Reads batches into slabs. The directory of the last file stays open for the next."""

    def __init__(self, root: FolderRoot, identity: bytes) -> None:
        self._root = root
        self._identity = identity
        self._path: RelativePath | None = None
        self._directory = -1

    def read(self, batch: Batch, slab: memoryview) -> None:
        """Fill the slab: a code for each file (0, -1 changed, or an errno), hashes, contents."""
        codes = slab[:_HASHES_AT].cast("i")
        at, content_at = 0, _CONTENT_AT
        for path, files in batch:
            unreachable = self._enter(path)
            for name, key in files:
                content_end = content_at + key.size
                if unreachable:
                    codes[at] = unreachable
                else:
                    hash_at = _HASHES_AT + at * _HASH_BYTES
                    try:
                        read_small_into(self._directory, name, key, slab[content_at : content_end + 1])
                        slab[hash_at : hash_at + _HASH_BYTES] = content_hash(
                            self._identity, slab[content_at:content_end]
                        )
                        codes[at] = _READ
                    except FolderError as error:
                        codes[at] = _code(error.__cause__)
                at, content_at = at + 1, content_end

    def leave(self) -> None:
        """Close the directory that is open."""
        if self._directory >= 0:
            os.close(self._directory)
        self._path, self._directory = None, -1

    def _enter(self, path: RelativePath) -> int:
        """Have the directory open; returns 0 or the code of every file in it."""
        if path != self._path:
            self.leave()
            try:
                self._directory = self._root.open_directory(path)
            except OSError as problem:
                return _code(problem)
            self._path = path
        return 0


def _code(cause: BaseException | None) -> int:
    return cause.errno if isinstance(cause, OSError) and cause.errno else _CHANGED


def _outcome(batch: Batch, slab: memoryview) -> Outcome:
    count = sum(len(files) for _, files in batch)
    packed = bytes(slab[_HASHES_AT : _HASHES_AT + count * _HASH_BYTES])
    hashes = [packed[at : at + _HASH_BYTES] for at in range(0, len(packed), _HASH_BYTES)]
    codes = slab[: count * _CODE_BYTES].cast("i")
    failures: dict[int, FolderError] = {}
    if any(codes):
        names = (name for _, files in batch for name, _ in files)
        failures = {
            at: _failure(code, name) for at, (code, name) in enumerate(zip(codes, names, strict=True)) if code
        }
    return Outcome(hashes, failures, slab[_CONTENT_AT:])


def _failure(code: int, name: bytes) -> FolderError:
    if code == _CHANGED:
        return FileChanged(f"{os.fsdecode(name)!r} changed since it was listed or while it was read")
    return reading_problem(OSError(code, os.strerror(code)), name)


# -- in the child -------------------------------------------------------------------------------------


class _Order(NamedTuple):
    slab: int
    root: bytes
    identity: bytes
    batch: Batch


class _Ahead:
    """Serves the orders of one reader."""

    def __init__(self) -> None:
        self._reading: _Reading | None = None

    def work(self, order: _Order, slabs: Sequence[memoryview]) -> int:
        """Read a batch into its slab."""
        if self._reading is None:
            self._reading = _Reading(FolderRoot(order.root), order.identity)
        self._reading.read(order.batch, slabs[order.slab])
        return order.slab


if __name__ == "__main__":
    sys.exit(serve(_Ahead().work))
