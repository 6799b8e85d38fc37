"""``usyncctl backup`` and ``usyncctl catalogue``: copies of what the daemon knows, and putting one back."""

from pathlib import Path

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Document, Session, absolute, common, path_value
from usenetsyncd.cli.terminal import clean, note, say
from usenetsyncd.errors import DaemonUnreachable, ExitCode

_CONFIG = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The daemon's configuration, if not the usual one.",
)


@click.group()
def backup() -> None:
    """Copies of the catalogue."""


@backup.command("catalogue")
@click.option("--to", metavar="FILE", help="A new file; else among the daily backups of the daemon.")
@common
def backup_catalogue(session: Session, to: str | None) -> None:
    """Make a copy of the catalogue now, while work goes on. The daemon makes one a day by itself and keeps seven.

    Example: usyncctl backup catalogue --to /mnt/other/usenetsync.sqlite
    """
    body: Document = {} if to is None else {"to": path_value(absolute(to))}
    made = session.client.post("catalogue", "backup", body=body)
    if not session.show(made):
        say(f"{clean(made['path'])}: {quantities.size(made['bytes'])}")


@click.group()
def catalogue() -> None:
    """Check the catalogue, put a backup back."""


@catalogue.command("check")
@click.option("--full", is_flag=True, help="Compare every index and counter; minutes for a large one.")
@_CONFIG
@common
def catalogue_check(session: Session, full: bool, config: Path | None) -> int:
    """Look for damage. Works without a daemon as well.

    Exit codes: 0 healthy, 1 damaged.
    """
    try:
        found = session.client.get("catalogue", "check", full=full)
    except DaemonUnreachable:
        found = _check_here(config, full)
        note("usenetsyncd isn't running; the file was read directly")
    if not session.show(found):
        for problem in found["problems"]:
            say(f"! {clean(problem)}")
        say("the catalogue is healthy" if found["healthy"] else "the catalogue is damaged")
    if not found["healthy"]:
        note("Put a backup back: usyncctl catalogue restore FILE")
    return ExitCode.DONE if found["healthy"] else ExitCode.FAILED


@catalogue.command("restore")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@_CONFIG
@common
def catalogue_restore(session: Session, file: Path, config: Path | None) -> None:
    """Put a backup in the place of the catalogue. The daemon must not run.

    The old one is put aside, not removed. What was published since the backup was made is found by asking the news
    servers at the next start, before anything is published: no version number is used twice.
    """
    from usenetsyncd.daemon.backups import restore_catalogue
    from usenetsyncd.daemon.daemon import CATALOGUE_NAME, LOCK_NAME

    data_dir = _data_dir(config)
    aside = restore_catalogue(data_dir, data_dir / CATALOGUE_NAME, data_dir / LOCK_NAME, file.absolute())
    if not session.show({"restored": str(file.absolute()), "aside": None if aside is None else str(aside)}):
        say(f"{clean(file)} is the catalogue now")
    if aside is not None:
        note(f"the old one is {clean(aside)}")
    note("Start the daemon: it asks the news servers what is newer before it publishes")


def _check_here(config: Path | None, full: bool) -> Document:
    from usenetsyncd.daemon.backups import examine
    from usenetsyncd.daemon.daemon import CATALOGUE_NAME
    from usenetsyncd.errors import NotFound

    path = _data_dir(config) / CATALOGUE_NAME
    if not path.exists():
        raise NotFound(f"there is no catalogue at {path}")
    report = examine(path, full)
    return {"healthy": report.healthy, "full": report.full, "problems": list(report.problems)}


def _data_dir(config: Path | None) -> Path:
    from usenetsyncd.settings.layers import load_settings

    return Path(load_settings(config).settings.storage.data_dir)
