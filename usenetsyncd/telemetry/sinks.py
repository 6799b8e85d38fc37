"""Where records go: a terminal, JSON lines, rotating files, the journal."""

import datetime as dt
import importlib
import json
import logging
import logging.handlers
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol, TextIO, cast

from usenetsyncd.errors import ConfigurationError
from usenetsyncd.telemetry.ring import LogRecord

FILE_NAME = "usenetsyncd.log"
MAX_FILE_BYTES = 20_000_000
KEPT_FILES = 5

_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_BARE = re.compile(r"[\w./:@+%,<>()\[\]*~-]+")
# C0, DEL, C1, line and paragraph separators, marks that turn the direction of text
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Sink(Protocol):
    """Takes records from any thread; never raises for what the outside does (a closed pipe, a full disk)."""

    def write(self, record: LogRecord) -> None: ...

    def close(self) -> None: ...


def escape(text: str) -> str:
    """Text that cannot move a terminal's cursor, break a line or turn the direction of reading."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def as_console(record: LogRecord, colours: bool = False) -> str:
    """One line of key=value, then the traceback if there is one."""
    at = dt.datetime.fromtimestamp(record.at_s).astimezone()
    level = f"{record.level:<8}"
    if colours:
        level = f"{_COLOURS.get(record.level, '')}{level}\x1b[0m"
    line = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {level} {escape(record.component):<9} {escape(record.event)}"
    line += _key_values(record.fields)
    if record.traceback:
        line += "\n" + "\n".join(escape(part) for part in record.traceback.rstrip().split("\n"))
    return line


def as_json(record: LogRecord) -> str:
    """One JSON object on one line; everything outside ASCII is escaped."""
    return json.dumps(record.as_dict(), default=str)


def _key_values(fields: Mapping[str, object]) -> str:
    return "".join(f" {escape(name)}={_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and not _UNSAFE.search(value) else f'"{_quoted(value)}"'
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | dict):
        return escape(json.dumps(value, ensure_ascii=False, default=str))
    return str(value)


def _quoted(text: str) -> str:
    return escape(text.replace("\\", "\\\\").replace('"', '\\"'))


class StreamSink:
    """Writes lines to a stream that somebody else owns."""

    def __init__(self, stream: TextIO, render: Callable[[LogRecord], str]) -> None:
        self._stream = stream
        self._render = render
        self._lock = threading.Lock()

    def write(self, record: LogRecord) -> None:
        line = self._render(record) + "\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):
                # the reader of the pipe is gone; the other sinks still have the record
                return

    def close(self) -> None:
        return


class FileSink:
    """Rotating files in a directory, private because names of files are nobody else's business."""

    def __init__(self, directory: Path, render: Callable[[LogRecord], str]) -> None:
        self._render = render
        self._closed = False
        self._lock = threading.Lock()
        path = directory / FILE_NAME
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._handler = _PrivateFiles(
                path,
                maxBytes=MAX_FILE_BYTES,
                backupCount=KEPT_FILES,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError as error:
            raise ConfigurationError(f"log.directory: {path} cannot be written: {error.strerror}") from error
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, record: LogRecord) -> None:
        line = logging.LogRecord("usenetsyncd", logging.INFO, "", 0, self._render(record), None, None)
        with self._lock:
            if not self._closed:
                self._handler.handle(line)

    def close(self) -> None:
        # a thread that still holds the old set-up would make the handler open its file again
        with self._lock:
            self._closed = True
            self._handler.close()


class _PrivateFiles(logging.handlers.RotatingFileHandler):
    """Each file is made 0600, also those that rotation makes."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return cast(
            TextIOWrapper,
            open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=opener),
        )


class JournalSink:
    """Structured fields for journald: ``journalctl USYNC_EVENT=article_posted``.

    send: systemd.journal.send, or something that takes the same keywords.
    """

    def __init__(self, send: Callable[..., object]) -> None:
        self._send = send

    def write(self, record: LogRecord) -> None:
        message = escape(record.event) + _key_values(record.fields)
        if record.traceback:
            message += "\n" + record.traceback.rstrip()
        fields = {_journal_name(name): str(value) for name, value in record.fields.items()}
        try:
            self._send(
                message.encode("utf-8", "backslashreplace").decode("utf-8"),
                PRIORITY=str(_PRIORITIES.get(record.level, 6)),
                SYSLOG_IDENTIFIER="usenetsyncd",
                **{
                    name: text.encode("utf-8", "backslashreplace").decode("utf-8")
                    for name, text in fields.items()
                },
                USYNC_COMPONENT=record.component,
                USYNC_EVENT=escape(record.event),
            )
        except OSError:
            # journald restarts now and then; a log line is not worth more than the work
            return

    def close(self) -> None:
        return


def with_priority(record: LogRecord) -> str:
    """For a stream that ends in the journal: a ``<N>`` priority before each line, no time of its own."""
    prefix = f"<{_PRIORITIES.get(record.level, 6)}>"
    text = f"{escape(record.component)}: {escape(record.event)}{_key_values(record.fields)}"
    lines = [text, *(escape(line) for line in (record.traceback or "").rstrip().split("\n") if line)]
    return "\n".join(prefix + line for line in lines)


def default_sink(log_format: str, stream: TextIO | None, environ: Mapping[str, str]) -> Sink:
    """The sink for ``log.format``: auto, console or json."""
    out = stream if stream is not None else sys.stderr
    if log_format == "json":
        return StreamSink(out, as_json)
    if log_format == "auto" and ends_in_journal(out, environ):
        return _journal_sink(out)
    colours = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and out.isatty()
    return StreamSink(out, lambda record: as_console(record, colours))


def ends_in_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True when $JOURNAL_STREAM names this very stream (systemd.exec(5)): a redirected one does not count."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _journal_sink(stream: TextIO) -> Sink:
    try:
        journal = importlib.import_module("systemd.journal")
    except ImportError:
        # the extra `systemd` is not installed everywhere; the journal understands this too
        return StreamSink(stream, with_priority)
    return JournalSink(journal.send)


def _journal_name(name: str) -> str:
    # journald takes A-Z, 0-9 and _ only, at most 64 letters
    return "USYNC_" + re.sub(r"[^A-Z0-9_]", "_", name.upper())[:58]
