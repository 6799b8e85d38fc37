"""structlog, set up once: every record goes through redaction, then to memory and to the sinks.

``structlog.get_logger("news").info("article_posted", server="main")`` anywhere; the standard library's
loggers (uvicorn, apscheduler, watchdog, peewee) come in through a handler on the root logger.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.telemetry.redaction import redact_fields, redact_text
from usenetsyncd.telemetry.ring import LEVELS, LogRing
from usenetsyncd.telemetry.sinks import FileSink, Sink, as_console, as_json, default_sink

DEFAULT_COMPONENT = "daemon"

ring = LogRing()
"""The last records of this process, for ``usyncctl logs``."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """What is in force; replaced as a whole, so that a reader never sees half of it."""

    least: int = LEVELS["info"]
    components: Mapping[str, int] = field(default_factory=dict)
    sinks: tuple[Sink, ...] = ()
    clock: Clock = SYSTEM_CLOCK

    def allows(self, component: str, level: int) -> bool:
        return level >= self.components.get(component, self.least)


_setup = _Setup()
_changing = threading.Lock()


def configure(
    format: str = "auto",  # noqa: A002 - the name that the setting has
    level: str = "info",
    components: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Set logging up, or change it while the daemon runs.

    format: auto, console or json. components: levels by component or by a library's logger name.
    directory: rotating files beside the stream. stream: standard error by default.
    Raises ConfigurationError when the directory cannot be written; the old set-up stays then.
    """
    global _setup
    sinks: list[Sink] = []
    if directory is not None:
        sinks.append(FileSink(Path(directory), as_json if format == "json" else as_console))
    sinks.append(default_sink(format, stream, os.environ if environ is None else environ))
    levels = {name: LEVELS[text] for name, text in (components or {}).items()}
    with _changing:
        old, _setup = _setup, _Setup(LEVELS[level], levels, tuple(sinks), clock)
        _bridge.attach(LEVELS[level], levels)
        for sink in old.sinks:
            sink.close()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _deliver],
        wrapper_class=ComponentLogger,
        logger_factory=_Component,
        cache_logger_on_first_use=False,
    )


def shutdown() -> None:
    """Close files, end subscriptions and let go of the standard library's loggers."""
    global _setup
    with _changing:
        old, _setup = _setup, _Setup()
        _bridge.detach()
        for sink in old.sinks:
            sink.close()
    ring.end_subscriptions()
    structlog.reset_defaults()


class _Component:
    """What structlog wraps: just the component's name."""

    def __init__(self, *names: str) -> None:
        self.name = names[0] if names else DEFAULT_COMPONENT


class ComponentLogger(structlog.BoundLoggerBase):
    """A logger whose level is looked up for each call, so that a reload changes it at once."""

    _logger: _Component

    def debug(self, event: str, **fields: Any) -> None:
        """For who looks for a fault."""
        self._emit("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Something finished."""
        self._emit("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """We coped."""
        self._emit("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """A person must act."""
        self._emit("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """The process ends."""
        self._emit("critical", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._emit("error", event, {"exc_info": True, **fields})

    def _emit(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _setup.allows(self._logger.name, LEVELS[level]):
            self._proxy_to_logger(level, event, **fields)


def _deliver(logger: Any, level: str, event: MutableMapping[str, Any]) -> NoReturn:
    """The last processor: nothing is left for structlog to print."""
    fields = dict(event)
    name = fields.pop("event", "")
    _write(logger.name, level, str(name), fields, fields.pop("exc_info", None))
    raise structlog.DropEvent


def _write(component: str, level: str, event: str, fields: Mapping[str, object], exc_info: object) -> None:
    setup = _setup
    record = ring.add(
        setup.clock.now(),
        level,
        component,
        redact_text(event),
        redact_fields(fields),
        _traceback_text(exc_info),
    )
    for sink in setup.sinks:
        sink.write(record)


def _traceback_text(exc_info: object) -> str | None:
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        return None
    # never with local variables: they are where the secrets are
    return redact_text("".join(traceback.format_exception(error)))


class _Bridge(logging.Handler):
    """The standard library's records -> ours. Libraries speak from warning on, unless named in log.components."""

    def __init__(self) -> None:
        super().__init__()
        self._named: list[str] = []
        self._root_level: int | None = None

    def attach(self, least: int, components: Mapping[str, int]) -> None:
        root = logging.getLogger()
        if self not in root.handlers:
            self._root_level = root.level
            root.addHandler(self)
        root.setLevel(max(least, logging.WARNING))
        self._reset_named()
        for name, level in components.items():
            logging.getLogger(name).setLevel(level)
            self._named.append(name)
        logging.captureWarnings(True)

    def detach(self) -> None:
        root = logging.getLogger()
        if self in root.handlers:
            root.removeHandler(self)
            root.setLevel(self._root_level if self._root_level is not None else logging.WARNING)
        self._reset_named()
        logging.captureWarnings(False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        level = next((name for name, number in reversed(LEVELS.items()) if record.levelno >= number), "debug")
        component = record.name.partition(".")[0]
        _write(component, level, message, {"logger": record.name}, record.exc_info)

    def _reset_named(self) -> None:
        for name in self._named:
            logging.getLogger(name).setLevel(logging.NOTSET)
        self._named.clear()


_bridge = _Bridge()
