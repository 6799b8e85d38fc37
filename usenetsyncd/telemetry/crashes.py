"""The last words of a process or a thread: a traceback, without secrets. It goes where Python's own would go."""

import sys
import threading
import traceback
from types import TracebackType

from usenetsyncd.telemetry.redaction import redact_text


def mask_crashes() -> None:
    """From now on what nobody catches is told with every secret masked. For a process of our own only."""
    sys.excepthook = _tell
    threading.excepthook = _tell_of_thread


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(redact_text("".join(lines)).rstrip("\n") + "\n")
    sys.stderr.flush()


def _tell_of_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is SystemExit or told.exc_value is None:
        return
    name = told.thread.name if told.thread else "?"
    sys.stderr.write(f"Exception in thread {name}:\n")
    _tell(told.exc_type, told.exc_value, told.exc_traceback)
