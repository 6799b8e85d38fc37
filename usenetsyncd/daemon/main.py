"""``usenetsyncd run``: from the command line to a running daemon and back to an exit code."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.control.listener import Listener
from usenetsyncd.daemon.allocator import tune_allocator
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.daemon.operations import DaemonOperations
from usenetsyncd.daemon.reload import Reloader, configure_logs
from usenetsyncd.errors import ExitCode
from usenetsyncd.service.notify import Notifier
from usenetsyncd.service.signals import install_signal_handlers
from usenetsyncd.settings.layers import LoadedSettings, load_settings

log = structlog.get_logger("daemon")

HEARTBEAT_S = 5.0


def run(config: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Run in the foreground until SIGTERM or SIGINT. Raises UsenetSyncError for what prevents the start."""

    def source() -> LoadedSettings:
        return load_settings(config, overrides)

    loaded = source()
    configure_logs(loaded.settings)
    for warning in loaded.warnings:
        log.warning("configuration_warning", text=str(warning))
    tune_allocator()
    return _serve(Daemon(loaded, SYSTEM_CLOCK), source)


def _serve(daemon: Daemon, source: Callable[[], LoadedSettings]) -> int:
    ended = threading.Event()
    hurry = threading.Event()
    notifier = Notifier()
    reloader = Reloader(daemon, source)

    def on_stop(now: bool) -> None:
        if now:
            hurry.set()
        ended.set()

    def on_reload() -> None:
        notifier.reloading()
        reloader.reload_or_keep()
        notifier.ready()

    operations = DaemonOperations(daemon, reloader, ended.set)
    daemon.upkeep.notifying.watch(operations.alarm_reasons)
    control = Listener(
        operations,
        Path(daemon.settings.control.socket),
        daemon.settings.control.group,
    )
    signals = install_signal_handlers(on_stop, on_reload)
    try:
        daemon.start()
        control.start()
        daemon.dashboard.start(operations, daemon.settings)
        notifier.ready(daemon.summary())
        exit_code = _watch(daemon, notifier, ended)
    finally:
        notifier.stopping()
        daemon.dashboard.stop()
        control.stop()
        daemon.stop(hurry)
        signals.close()
    return exit_code


def _watch(daemon: Daemon, notifier: Notifier, ended: threading.Event) -> int:
    """Feed the watchdog while everything lives; a dead writer ends the process, for nothing can be kept then."""
    interval_s = min(HEARTBEAT_S, notifier.watchdog_interval_s or HEARTBEAT_S)
    while not ended.wait(interval_s):
        dead = daemon.dead_parts()
        if not dead:
            notifier.watchdog()
            notifier.status(daemon.summary())
            continue
        log.error("parts_not_alive", parts=dead)
        if daemon.catalogue.writer.failed is not None:
            log.critical("catalogue_writer_died", reason=str(daemon.catalogue.writer.failed))
            return int(ExitCode.FAILED)
    return int(ExitCode.DONE)
