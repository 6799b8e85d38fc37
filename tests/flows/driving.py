"""Drives whole daemons in this process, against a news server: for tests of the flows from end to end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.flows.share import Sharer, access_string
from usenetsyncd.settings.layers import load_settings

PATIENCE_S = 60.0


def wait_until(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return once ``holds()``; fail the test after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain: {what}"
        time.sleep(0.02)


def configuration(
    directory: Path, server: tuple[str, int], folders: dict[str, Path], connections: int = 4, more: str = ""
) -> Path:
    """Write a configuration with its data below ``directory``; ``more`` is YAML added as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = ", ".join(f'{{id: {name}, path: "{path}"}}' for name, path in folders.items())
    path = directory / "usenetsyncd.yaml"
    host, port = server
    path.write_text(
        f"""version: 1
servers:
  - {{name: main, host: {host}, port: {port}, tls: none, connections: {connections}}}
newsgroups: [alt.binaries.test]
defaults: {{settle: 1s}}
folders: [{rows}]
storage: {{data_dir: "{directory / "data"}"}}
control: {{socket: "{directory / "control.sock"}"}}
{more}"""
    )
    return path


@dataclass(slots=True)
class Driven:
    """A daemon without its API, and what tests ask of it. Also a context manager that starts and stops it."""

    daemon: Daemon

    @classmethod
    def at(cls, directory: Path, server: tuple[str, int], folders: dict[str, Path] | None = None) -> Self:
        loaded = load_settings(configuration(directory, server, folders or {}))
        return cls(Daemon(loaded, SYSTEM_CLOCK))

    def __enter__(self) -> Self:
        self.daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()

    def idle(self, name: str) -> bool:
        """Whether everything that was found in the folder is posted and published."""
        daemon = self.daemon
        row = daemon.folders.named(name).row
        record = daemon.catalogue.folders.by_id(row)
        return (
            record.version > 0
            and record.pending_articles == 0
            and not daemon.indexer.busy_with(name)
            and daemon.catalogue.versions.change_count(row) == 0
            and not daemon.publishing.publishing(row)
        )

    def wait_for_version(self, name: str, version: int) -> None:
        """Until the folder is published as ``version`` or a later one, and nothing is left to do."""
        row = self.daemon.folders.named(name).row

        def published() -> bool:
            return self.daemon.catalogue.folders.by_id(row).version >= version and self.idle(name)

        wait_until(published, f"version {version} of {name}")

    def share(self, name: str) -> str:
        """A public share of the folder; its access string, once its envelope is posted."""
        daemon = self.daemon
        folder = daemon.folders.named(name)
        made = Sharer(daemon.catalogue, daemon.vault, folder.row, folder.signing, folder.epochs).public()
        daemon.uploader.wake()
        wait_until(lambda: daemon.catalogue.folders.by_id(folder.row).pending_articles == 0, "the envelope")
        return access_string(daemon.vault, made, folder.signing.fingerprint)
