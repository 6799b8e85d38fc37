"""Watch a job until it ends: a bar on a terminal, a line every 30 s elsewhere, then its summary."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from usenetsyncd.cli.frame import Document, Session
from usenetsyncd.cli.telling import progress_text, show_summary
from usenetsyncd.cli.terminal import clean, flush, interactive, note
from usenetsyncd.errors import ExitCode

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY_S = 30.0


def follow_job(session: Session, job_id: int) -> int:
    """Show the job until its end. Returns its exit code.

    Ctrl-C leaves the job running and says how to see and how to stop it.
    """
    lines = session.client.stream("GET", ("jobs", str(job_id), "stream"))
    try:
        last = _show(session, lines)
    except KeyboardInterrupt:
        note(f"\nJob {job_id} goes on without this command. See it: usyncctl job show {job_id} --follow")
        note(f"Stop it: usyncctl job cancel {job_id}")
        return ExitCode.INTERRUPTED
    if last is None or last["type"] != "summary":
        message = "the connection ended before the job did" if last is None else clean(last["message"])
        note(f"job {job_id}: {message}; see it: usyncctl job show {job_id} --follow")
        return ExitCode.FAILED
    if not session.json:
        show_summary(last)
    return int(last["exit_code"])


def _show(session: Session, lines: Iterator[Document]) -> Document | None:
    last: Document | None = None
    with _display(session) as display:
        for line in lines:
            last = line
            if not session.show(line) and line["type"] == "progress":
                display.show(line)
            flush()
    return last


class _Lines:
    """For logs and pipes: a line now and then, on stderr."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_S

    def show(self, progress: Document) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_S
            note(progress_text(progress))


class _Bar:
    """For a person. It appears with the first line: only that says what is counted."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: Any = None

    def show(self, progress: Document) -> None:
        in_bytes = "bytes_total" in progress or progress["kind"] == "restore"
        if self._progress is None:
            self._progress = _progress(in_bytes)
            self._task = self._progress.add_task("", total=None)
            self._progress.start()
        done, total = ("bytes", "bytes_total") if in_bytes else ("done", "total")
        self._progress.update(
            self._task,
            description=progress_text(progress),
            completed=progress.get(done, 0),
            total=progress.get(total) or None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _progress(in_bytes: bool) -> "Progress":
    # rich takes longer to import than most commands to run
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    speed = (TransferSpeedColumn(),) if in_bytes else ()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *speed, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _display(session: Session) -> AbstractContextManager[Any]:
    if not session.json and interactive(sys.stderr):
        return _Bar()
    return nullcontext(_Lines())
