"""Reload: read, compare, check everything that would change, then apply; on any error all stays as it was."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from usenetsyncd.daemon.accounts import accounts_of, overrides_of
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.news.replies import ReplyTable
from usenetsyncd.settings.difference import Change, difference
from usenetsyncd.settings.layers import LoadedSettings
from usenetsyncd.settings.nodes import Layer, Origin
from usenetsyncd.settings.report import ConfigurationErrors, Problem
from usenetsyncd.settings.schema import Settings
from usenetsyncd.telemetry import logs

log = structlog.get_logger("daemon")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload changed, and the keys that wait for a restart."""

    changes: tuple[Change, ...]
    restart_needed: tuple[str, ...]
    warnings: tuple[str, ...]


class Reloader:
    """Applies new settings to a running daemon."""

    def __init__(self, daemon: Daemon, source: Callable[[], LoadedSettings]) -> None:
        """source: reads the same layers as at the start."""
        self._daemon = daemon
        self._source = source

    def load(self) -> LoadedSettings:
        """The settings as they stand in the files now. Raises ConfigurationErrors.

        A file that was read before and may not be read any more is an error: its folders are not gone.
        """
        new = self._source()
        lost = [file for file in new.left_out if file in self._daemon.loaded.files]
        if lost:
            message = "may not be read any more by this user"
            raise ConfigurationErrors(Problem(Origin(Layer.FILE, str(file)), "", message) for file in lost)
        return new

    def compare(self) -> list[Change]:
        """What a reload would change."""
        return difference(self._daemon.settings, self.load().settings)

    def reload(self) -> Reloaded:
        """Verify everything, then commit part by part; if a part fails, the parts before it are put back."""
        daemon = self._daemon
        with daemon.reloading:
            new = self.load()
            changes = difference(daemon.settings, new.settings)
            self._verify(new.settings)
            old = daemon.loaded
            done: list[Callable[[LoadedSettings], None]] = []
            try:
                for commit in (
                    self._commit_logs,
                    self._commit_news,
                    self._commit_folders,
                    self._commit_limits,
                    self._commit_web,
                ):
                    done.append(commit)
                    commit(new)
            except BaseException:
                self._put_back(old, done)
                raise
            waiting = tuple(change.key for change in changes if not change.live)
            daemon.restart_needed = tuple(dict.fromkeys((*daemon.restart_needed, *waiting)))
        log.info("configuration_reloaded", changes=len(changes), restart_needed=list(waiting))
        return Reloaded(tuple(changes), waiting, tuple(str(problem) for problem in new.warnings))

    def reload_or_keep(self) -> None:
        """For SIGHUP: errors are logged, the old settings stay."""
        try:
            self.reload()
        except UsenetSyncError as error:
            log.error("configuration_not_reloaded", reason=str(error))
            self._daemon.catalogue.events.add("error", "reload_failed", str(error))
        except Exception as error:
            # Unexpected, but the old settings are in force again: no reason to end the thread that hears signals.
            log.exception("configuration_not_reloaded")
            self._daemon.catalogue.events.add("error", "reload_failed", repr(error))

    def _verify(self, new: Settings) -> None:
        ReplyTable(overrides_of(new))
        accounts, _ = accounts_of(new, self._daemon.vault.credentials.get, os.environ)
        self._daemon.news.verify_accounts(accounts)

    def _put_back(self, old: LoadedSettings, done: list[Callable[[LoadedSettings], None]]) -> None:
        """Commit the old settings where the new ones were; a part that fails at this too must not keep the others."""
        self._daemon.loaded = old
        for commit in done:
            try:
                commit(old)
            except Exception:
                log.exception("old_settings_not_put_back", part=commit.__name__)

    def _commit_logs(self, loaded: LoadedSettings) -> None:
        configure_logs(loaded.settings)

    def _commit_news(self, loaded: LoadedSettings) -> None:
        self._daemon.connect_accounts(loaded.settings)

    def _commit_folders(self, loaded: LoadedSettings) -> None:
        daemon = self._daemon
        before = {folder.name: folder for folder in daemon.folders}
        daemon.loaded = loaded
        daemon.folders.load(loaded.settings)
        after = {folder.name: folder for folder in daemon.folders}
        for name in before.keys() - after.keys():
            daemon.unwatch_folder(name)
        for name, folder in after.items():
            known = before.get(name)
            if known is None or known.root != folder.root or known.settings != folder.settings:
                daemon.watch_folder(folder)
                daemon.indexer.request(name, "the configuration changed")
        daemon.fill_timetable()

    def _commit_limits(self, loaded: LoadedSettings) -> None:
        self._daemon.apply_limits()

    def _commit_web(self, loaded: LoadedSettings) -> None:
        self._daemon.dashboard.apply(loaded.settings)


def configure_logs(settings: Settings) -> None:
    """Put the ``log`` section into force."""
    kept = settings.log
    components = {name: str(level) for name, level in kept.components.items()}
    logs.configure(str(kept.format), str(kept.level), components, kept.directory)
