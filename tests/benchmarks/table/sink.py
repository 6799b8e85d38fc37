"""The discard sink: compiled from sink.c once per change, run as a process of its own."""

import hashlib
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.table.harness import CACHE, Unavailable

SOURCE = Path(__file__).with_name("sink.c")


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """What a sink has seen since it was started."""

    articles: int
    article_bytes: int
    stats: int
    connections: int


class Sink:
    """A running sink; a context manager. delay_ms: before each reply. keep: serve what was posted."""

    def __init__(
        self, delay_ms: float = 0, *, keep: bool = False, has_all: bool = False, port: int = 0
    ) -> None:
        command = [str(_binary()), "-d", str(delay_ms), "-p", str(port)]
        command += ["-k"] * keep + ["-a"] * has_all
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        if not told:
            self.close()
            raise Unavailable("the sink does not start")
        self.port = int(told.split()[1])
        self._asking: socket.socket | None = None

    def counts(self) -> SinkCounts:
        """Ask it. The connection for that is kept and counted."""
        if self._asking is None:
            self._asking = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            _line(self._asking)
        self._asking.sendall(b"XSTATS\r\n")
        return SinkCounts(*(int(word) for word in _line(self._asking).split()[1:]))

    def close(self) -> None:
        with suppress(AttributeError):
            if self._asking is not None:
                self._asking.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(sock: socket.socket) -> bytes:
    got = b""
    while not got.endswith(b"\n"):
        more = sock.recv(1024)
        if not more:
            raise ConnectionError("the sink has gone")
        got += more
    return got


def _binary() -> Path:
    source = SOURCE.read_bytes()
    binary = CACHE / f"sink-{hashlib.sha256(source).hexdigest()[:12]}"
    if not binary.exists():
        CACHE.mkdir(exist_ok=True)
        try:
            subprocess.run(["cc", "-O2", "-o", str(binary), str(SOURCE)], check=True, capture_output=True)
        except FileNotFoundError:
            raise Unavailable("no C compiler (cc)") from None
    return binary
