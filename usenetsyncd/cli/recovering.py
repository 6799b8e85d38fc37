"""``usenetsyncd recover`` as a person sees it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from usenetsyncd.cli.frame import read_passphrase
from usenetsyncd.cli.terminal import clean, note, say
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.daemon.recovering import NOT_RESTORABLE, Recovered, recover
from usenetsyncd.errors import ExitCode
from usenetsyncd.settings.layers import load_settings


def run_recover(kit_path: str, config: Path | None, overrides: Sequence[str]) -> int:
    """0 when all came back, 3 when some did not. Raises UsenetSyncError."""
    settings = load_settings(config, overrides).settings
    kit = _typed() if kit_path == "-" and sys.stdin.isatty() else read_passphrase(kit_path)
    recovered = recover(kit, settings, SYSTEM_CLOCK, lambda line: note(clean(line)))
    return _tell(recovered)


def _typed() -> str:
    from getpass import getpass

    return getpass("Recovery kit: ")


def _tell(recovered: Recovered) -> int:
    for one in recovered.folders:
        path = os.fsdecode(one.path)
        if one.version:
            say(
                f"{clean(one.name)}: version {one.version} of {one.versions}, {one.files:,} files; {clean(path)}"
            )
        else:
            say(f"{clean(one.name)}: nothing of it is on the servers; {clean(path)}")
        for lost in one.lost:
            note(f"! {clean(one.name)}: {clean(lost)}")
    if recovered.lost_parts:
        note(f"! {recovered.lost_parts} parts of the list of folders are lost: some folders are not known")
    for name in recovered.unconfigured:
        note(
            f"{clean(name)} is not in the configuration: usyncctl folder add {clean(name)} PATH takes it up again"
        )
    note("Not restorable:")
    for line in NOT_RESTORABLE:
        note(f"- {line}")
    note("Start the daemon: usenetsyncd run. The machine that published before must not publish any more.")
    whole = not recovered.lost_parts and not any(one.lost for one in recovered.folders)
    return ExitCode.DONE if whole else ExitCode.ATTENTION
