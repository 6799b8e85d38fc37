"""Read small files and hash them, some hundred at a time: here, or ahead of the planner in a child process.

Reading and hashing take as long as planning and storing; in a thread they would wait for the interpreter's lock at
every system call. The child keeps nothing: when it dies, whatever it was asked is read here instead.
Both sides of what goes between parent and child are in this file.
"""

import errno
import mmap
import os
import signal
import subprocess
import sys
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import structlog

from usenetsyncd.errors import FileChanged, FolderError
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
CHILD_END_S = 5.0

_HASH_BYTES = 32
_CODE_BYTES = 4
_HASHES_AT = BATCH_FILES * _CODE_BYTES
_CONTENT_AT = _HASHES_AT + BATCH_FILES * _HASH_BYTES
# One byte to spare: a file that has grown shows by filling it.
_SLAB_BYTES = -(-(_CONTENT_AT + BATCH_BYTES + 1) // mmap.PAGESIZE) * mmap.PAGESIZE
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
        self._slab = memoryview(bytearray(_SLAB_BYTES))
        self._asked: deque[tuple[Batch, memoryview | None]] = deque()
        self._child: _Child | None = None
        self._files = 0
        self._alone = sys.platform != "linux" or (os.cpu_count() or 1) < 2

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
        self._asked.append((batch, None if self._child is None else self._child.ask(batch)))

    def outcome(self) -> Outcome:
        """The outcome of the batch that was asked for longest ago; waits for it, or reads it now."""
        batch, slab = self._asked.popleft()
        if slab is not None and (self._child is None or not self._child.answers()):
            self._give_up_child()
            slab = None
        if slab is None:
            slab = self._slab
            self._here.read(batch, slab)
        return _outcome(batch, slab)

    def close(self) -> None:
        """End the child, if there is one."""
        self._here.leave()
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start_child(self) -> None:
        try:
            self._child = _Child(self._root.path, self._identity)
        except OSError as error:
            self._alone = True
            log.warning("reading_child_not_started", reason=str(error))

    def _give_up_child(self) -> None:
        if self._child is not None:
            log.warning("reading_child_died", status=self._child.close())
            self._child = None
        self._alone = True


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


# -- the child, seen from the parent ------------------------------------------------------------------


class _Child:
    """A process that reads one batch after the other into slabs of shared memory, in turn.

    Batches go to it through a pipe; it answers with a byte for each. Raises OSError when it cannot be started.
    """

    def __init__(self, root: bytes, identity: bytes) -> None:
        memory = os.memfd_create("usenetsync-small-files")
        try:
            os.ftruncate(memory, READ_AHEAD * _SLAB_BYTES)
            self._shared = mmap.mmap(memory, READ_AHEAD * _SLAB_BYTES)
            self._start(memory)
        finally:
            os.close(memory)
        self._slabs = _slabs(self._shared)
        self._next = 0
        self._broken = not self._send((root, identity))

    def _start(self, memory: int) -> None:
        inbox, outbox = os.pipe()
        answers, answering = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(inbox), str(answering), str(memory)],
                pass_fds=(inbox, answering, memory),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        except BaseException:
            os.close(outbox)
            os.close(answers)
            self._shared.close()
            raise
        finally:
            os.close(inbox)
            os.close(answering)
        self._outbox = Connection(outbox, readable=False)
        self._answers = answers

    def ask(self, batch: Batch) -> memoryview:
        """Hand over a batch; the slab that will hold it once ``answers`` has said so."""
        slab = self._slabs[self._next % READ_AHEAD]
        self._next += 1
        self._broken = self._broken or not self._send(batch)
        return slab

    def answers(self) -> bool:
        """Wait for the next batch to be read. False: the child is dead."""
        return not self._broken and os.read(self._answers, 1) != b""

    def close(self) -> int:
        """End it. Returns its exit status."""
        self._outbox.close()
        os.close(self._answers)
        try:
            return self._process.wait(CHILD_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, message: object) -> bool:
        try:
            self._outbox.send(message)
        except OSError:
            return False
        return True


def _slabs(shared: mmap.mmap) -> list[memoryview]:
    whole = memoryview(shared)
    return [whole[at * _SLAB_BYTES : (at + 1) * _SLAB_BYTES] for at in range(READ_AHEAD)]


# -- the child itself ---------------------------------------------------------------------------------


def _serve(inbox: Connection, answering: int, memory: int) -> None:
    """Read until the parent closes its end of the pipe."""
    slabs = _slabs(mmap.mmap(memory, READ_AHEAD * _SLAB_BYTES))
    root, identity = inbox.recv()
    with FolderRoot(root) as opened:
        reading = _Reading(opened, identity)
        number = 0
        while True:
            reading.read(inbox.recv(), slabs[number % READ_AHEAD])
            os.write(answering, b"\0")
            number += 1


def _main() -> int:
    # Ctrl-C goes to the whole group; it is the parent that decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox, answering, memory = map(int, sys.argv[1:4])
    try:
        _serve(Connection(inbox, writable=False), answering, memory)
    except EOFError:
        return 0
    except OSError as error:
        return error.errno or errno.EIO
    return 0


if __name__ == "__main__":
    sys.exit(_main())
