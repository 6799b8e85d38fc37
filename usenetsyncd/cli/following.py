"""Watch a job until it ends: a bar on a terminal, a line every 30 s elsewhere, then its summary."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Document, Session
from usenetsyncd.cli.terminal import clean, flush, interactive, note, say
from usenetsyncd.errors import ExitCode

LINE_EVERY_S = 30.0
FAILURES_SHOWN = 20


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


def show_summary(summary: Document) -> None:
    """How a job ended."""
    if summary["state"] != "done":
        note(f"job {summary['job']}: {clean(summary['message'])}")
        return
    for failure in summary.get("failures", [])[:FAILURES_SHOWN]:
        note(f"! {clean(failure['path'])}: {clean(failure['reason'])}")
    hidden = summary["failed"] - min(FAILURES_SHOWN, len(summary.get("failures", [])))
    if hidden > 0:
        note(f"! and {hidden} more: usyncctl job show {summary['job']} --json")
    for warning in summary.get("warnings", []):
        note(f"! {clean(warning)}")
    say(_told(summary))


def _told(summary: Document) -> str:
    files = quantities.plural(summary["files"], "file")
    told = f"{files}, {quantities.size(summary['bytes'])}"
    if "version" in summary:
        told = f"version {summary['version']}: {told}"
    return f"{told} done" + (f", {summary['failed']} failed" if summary["failed"] else "")


def progress_text(progress: Document) -> str:
    """``fetching: 12 of 50 files, 1.2 MB of 5.0 MB``, as far as known."""
    phase = clean(progress.get("phase") or progress.get("state") or "")
    if "files_total" not in progress:
        return phase
    files = f"{quantities.count(progress['files'])} of {quantities.plural(progress['files_total'], 'file')}"
    sizes = f"{quantities.size(progress['bytes'])} of {quantities.size(progress['bytes_total'])}"
    failed = f", {progress['failed']} failed" if progress.get("failed") else ""
    return f"{phase}: {files}, {sizes}{failed}"


class _Lines:
    """For logs and pipes: a line now and then, on stderr."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_S

    def show(self, progress: Document) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_S
            note(progress_text(progress))


class _Bar:
    """For a person."""

    def __init__(self) -> None:
        # rich takes longer to import than most commands to run
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("beginning", total=None)

    def show(self, progress: Document) -> None:
        total = progress.get("bytes_total") or None
        self._progress.update(
            self._task, description=progress_text(progress), completed=progress.get("bytes", 0), total=total
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _display(session: Session) -> AbstractContextManager[Any]:
    if not session.json and interactive(sys.stderr):
        return _Bar()
    return nullcontext(_Lines())
