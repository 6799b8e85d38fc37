"""The embedded news server alone, in the foreground: what ``usenetsyncd newsserver`` does."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from usenetsyncd.errors import UsageError
from usenetsyncd.loopback.faults import FaultRules
from usenetsyncd.loopback.server import LoopbackServer

DEFAULT_LISTEN = "127.0.0.1:1119"


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:1119``, ``[::1]:1119``, ``localhost:0`` or ``:1119`` as host and port. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise UsageError(f"{text!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def serve(
    listen: tuple[str, int],
    spool: Path,
    users: Mapping[str, str] | None,
    tls: tuple[Path, Path] | None,
    faults_file: Path | None,
    announce: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Run the server until ``stop`` is set; ``announce`` gets one line once it listens.

    Raises UsageError and ConfigurationError, before it listens.
    """
    faults = FaultRules.load(faults_file) if faults_file is not None else None
    with LoopbackServer(spool, listen, users, tls, faults) as server:
        host, port = server.address
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        announce(f"news server at {where}{', also with TLS' if tls else ''}, articles in {spool}")
        stop.wait()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_newsserver(
    listen: str = DEFAULT_LISTEN,
    spool: Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: tuple[Path, Path] | None = None,
    faults: Path | None = None,
    announce: Callable[[str], None] = _say,
) -> None:
    """``usenetsyncd newsserver`` with its options; blocks until SIGTERM or SIGINT. For the main thread.

    spool: by default ``newsserver-spool`` in the working directory.
    Raises UsageError and ConfigurationError.
    """
    if (user is None) != (password is None):
        raise UsageError("--user and --password belong together")
    users = {user: password} if user is not None and password is not None else None
    with _stopped_by_signals() as stop:
        serve(parse_listen(listen), spool or Path("newsserver-spool"), users, tls, faults, announce, stop)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stop = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
