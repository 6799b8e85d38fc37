"""Child processes of our own, for work that would wait for the interpreter's lock in a thread.

A child gets messages through a pipe, leaves what it makes in slabs of shared memory, and answers with a byte for each.
It keeps nothing: when it dies, whoever asked does the work himself. Linux only; elsewhere none can be started.
"""

import errno
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

END_S = 5.0
_PACKAGE = Path(__file__).parents[1]


def can_help() -> bool:
    """Whether a child would have a core to itself, and can be started at all."""
    return sys.platform == "linux" and (os.cpu_count() or 1) > 1


class Child:
    """``python -m module`` with ``slabs`` of shared memory. Raises OSError when it cannot be started; close it."""

    def __init__(self, module: str, slabs: int, slab_bytes: int) -> None:
        with ExitStack() as ours, ExitStack() as its:
            memory = os.memfd_create(module)
            its.callback(os.close, memory)
            slab_bytes = -(-slab_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
            os.ftruncate(memory, slabs * slab_bytes)
            inbox, outbox = os.pipe()
            its.callback(os.close, inbox)
            self._outbox = ours.enter_context(Connection(outbox, readable=False))
            answering = []
            self._answers = []
            for _ in range(slabs):
                answer, answered = os.pipe()
                self._answers.append(answer)
                answering.append(answered)
                ours.callback(os.close, answer)
                its.callback(os.close, answered)
            self.slabs = _slabs(memory, slabs, slab_bytes)
            numbers = (inbox, memory, slabs, slab_bytes, *answering)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, numbers)],
                pass_fds=(inbox, memory, *answering),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(_PACKAGE.parent)},
            )
            self._ours = ours.pop_all()
        self._lock = Lock()

    def send(self, message: object) -> bool:
        """Hand over a message; it must say which slab is meant. False: the child is dead."""
        try:
            with self._lock:
                self._outbox.send(message)
        except OSError:
            return False
        return True

    def answers(self, slab: int) -> bool:
        """Wait until the child has done what it was told for this slab. False: it is dead."""
        return os.read(self._answers[slab], 1) != b""

    def close(self) -> int:
        """End it. Returns its exit status."""
        self._ours.close()
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


Work = Callable[[Any, Sequence[memoryview]], int]
"""Does what a message says and returns the number of the slab that it has filled."""


def serve(work: Work) -> int:
    """The life of a child, in the module that it was started with: returns its exit status."""
    # Ctrl-C goes to the whole group; it is the parent that decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox, memory, slabs, slab_bytes, *answering = map(int, sys.argv[1:])
    shared = _slabs(memory, slabs, slab_bytes)
    messages = Connection(inbox, writable=False)
    try:
        while True:
            os.write(answering[work(messages.recv(), shared)], b"\0")
    except EOFError:  # the parent has closed its end, or is gone
        return 0
    except OSError as error:
        return error.errno or errno.EIO


def _slabs(memory: int, count: int, slab_bytes: int) -> list[memoryview]:
    whole = memoryview(mmap.mmap(memory, count * slab_bytes))
    return [whole[at * slab_bytes : (at + 1) * slab_bytes] for at in range(count)]
