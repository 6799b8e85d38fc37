"""``usyncctl config``: generate, validate, show, diff, reload.

Everything of usenetsyncd.settings is imported when it is needed: pydantic and YAML take their time.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Document, Session, common
from usenetsyncd.cli.terminal import clean, clean_lines, note, say
from usenetsyncd.control.client import Refused
from usenetsyncd.errors import DaemonUnreachable, ExitCode

if TYPE_CHECKING:
    from usenetsyncd.settings.layers import LoadedSettings

_FILE = click.argument("file", required=False, type=click.Path(path_type=Path))
_CONFIG = click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="This file instead of the daemon's.",
)


@click.group()
def config() -> None:
    """Check, show and reload the configuration."""


@config.command("generate")
@common
def config_generate(session: Session) -> None:
    """Print a commented configuration to start from."""
    from usenetsyncd.settings.packaged import example_text

    text = example_text()
    if not session.show({"text": text}):
        say(text.rstrip("\n"))


@config.command("validate")
@_FILE
@common
def config_validate(session: Session, file: Path | None) -> int:
    """Check a file, or the files that the daemon would read. Needs no daemon."""
    from usenetsyncd.settings.report import ConfigurationErrors

    try:
        loaded = _load(file)
    except ConfigurationErrors as errors:
        problems = [str(problem) for problem in errors.problems]
        if not session.show({"valid": False, "problems": problems, "warnings": []}):
            for problem in problems:
                note(clean(problem))
            note(errors.count)
        return ExitCode.CONFIGURATION
    warnings = [str(warning) for warning in loaded.warnings]
    if not session.show({"valid": True, "problems": [], "warnings": warnings}):
        for warning in warnings:
            note(clean(warning))
        read = ", ".join(clean(path) for path in loaded.files)
        say(f"valid: {read}" if read else "valid: there is no configuration file, only defaults")
    return ExitCode.DONE


@config.command("show")
@click.option("--origin", is_flag=True, help="Where each value was set.")
@_CONFIG
@common
def config_show(session: Session, origin: bool, file: Path | None) -> None:
    """The settings in effect; secrets are shown as references."""
    found = _shown_here(file, origin) if file is not None else _shown(session, origin)
    if not session.show(found):
        say(clean_lines(found["text"].rstrip("\n")))


def _shown(session: Session, origin: bool) -> Document:
    try:
        return session.client.get("config", origin=int(origin))
    except DaemonUnreachable:
        note("usenetsyncd isn't running; this is what it would read")
        return _shown_here(None, origin)


def _shown_here(file: Path | None, origin: bool) -> Document:
    from usenetsyncd.settings.show import render_show, show_document

    loaded = _load(file)
    files = [str(path) for path in loaded.files]
    return {
        "text": render_show(loaded, origin),
        "origins": None,
        **show_document(loaded, origin),
        "files": files,
    }


def _load(file: Path | None) -> "LoadedSettings":
    from usenetsyncd.settings.layers import load_settings

    return load_settings(file)


@config.command("diff")
@common
def config_diff(session: Session) -> None:
    """What `reload` would change."""
    found = session.client.get("config", "diff")
    if session.show(found):
        return
    _show_changes(found)
    if not found["changes"]:
        note("the daemon runs with what stands in the files")


@config.command("reload")
@common
def config_reload(session: Session) -> int:
    """Apply what stands in the files; on any error nothing is changed."""
    try:
        found = session.client.post("config", "reload")
    except Refused as refused:
        if refused.exit_code is ExitCode.CONFIGURATION and not session.json:
            lines = str(refused).splitlines()
            for line in lines:
                note(clean(line))
            note(f"{quantities.plural(len(lines), 'error')}; the running configuration was left unchanged")
            return ExitCode.CONFIGURATION
        raise
    if not session.show(found):
        _show_changes(found)
        told = quantities.plural(len(found["changes"]), "change")
        say(f"reloaded: {told}" if found["changes"] else "reloaded: nothing had changed")
    for warning in found["warnings"]:
        note(clean(warning))
    if not found["restart_needed"]:
        return ExitCode.DONE
    note(
        f"a restart is needed for {clean(', '.join(found['restart_needed']))}: sudo systemctl restart usenetsyncd"
    )
    return ExitCode.ATTENTION


def _show_changes(found: Document) -> None:
    for change in found["changes"]:
        say(clean(change["text"]))
