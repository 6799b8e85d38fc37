"""``usenetsyncd``: the daemon and what starts beside it, each imported when it is called for."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from usenetsyncd import __version__
from usenetsyncd.cli.frame import run as run_command
from usenetsyncd.cli.terminal import flush, say
from usenetsyncd.errors import ExitCode, UsageError
from usenetsyncd.service.core import refuse_core_dumps

DEFAULT_LISTEN = "127.0.0.1:1119"
_FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="usenetsyncd", message="%(prog)s %(version)s")
def usenetsyncd() -> None:
    """UsenetSync: keeps folders safe and shared on Usenet. Direct it with usyncctl."""
    refuse_core_dumps()


@usenetsyncd.command("run")
@click.option("--config", metavar="FILE", type=_FILE, help="This file instead of the usual ones.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Overrides one setting.")
def run_daemon(config: Path | None, overrides: tuple[str, ...]) -> int:
    """Run in the foreground; systemd starts this."""
    from usenetsyncd.daemon.main import run
    from usenetsyncd.telemetry.crashes import mask_crashes

    mask_crashes()
    return run(config, overrides)


@usenetsyncd.command()
@click.option(
    "--keep", metavar="DIR", type=_FILE, help="Play it in this directory and leave everything there."
)
def demo(keep: Path | None) -> int:
    """See it work: a news server, a daemon and a folder that goes out and comes back, in a temporary place."""
    from usenetsyncd.daemon.demo import run_demo

    return run_demo(keep)


@usenetsyncd.command()
@click.option("--listen", default=DEFAULT_LISTEN, show_default=True, metavar="HOST:PORT")
@click.option("--spool", metavar="DIR", type=_FILE, help="Where articles are kept; else they are forgotten.")
@click.option("--user", help="Clients must log in as this user.")
@click.option(
    "--password", help="With this password. It is visible to others on this machine: for tests only."
)
@click.option("--tls", nargs=2, metavar="CERT KEY", type=_FILE, help="Serve TLS with these PEM files.")
@click.option("--faults", metavar="FILE", type=_FILE, help="Rules that make it misbehave.")
def newsserver(
    listen: str,
    spool: Path | None,
    user: str | None,
    password: str | None,
    tls: tuple[Path, Path] | None,
    faults: Path | None,
) -> int:
    """Run the embedded news server alone, for tests and trials."""
    from usenetsyncd.loopback.serve import run_newsserver

    if (user is None) != (password is None):
        raise UsageError("--user and --password go together")
    run_newsserver(listen, spool, user, password, tls, faults, say_at_once)
    return ExitCode.DONE


@usenetsyncd.command()
@click.option(
    "--kit", "kit_path", metavar="FILE", required=True, help="What `kit show` printed; - for standard input."
)
@click.option("--config", metavar="FILE", type=_FILE, help="This file instead of the usual ones.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Overrides one setting.")
def recover(kit_path: str, config: Path | None, overrides: tuple[str, ...]) -> int:
    """Rebuild catalogue and publishing rights from Usenet, with the recovery kit and nothing else.

    The configuration needs the news servers and an empty storage.data_dir; put folders that are still on this
    machine into it under their old names first, and nothing of them is posted twice.

    Example: usenetsyncd recover --kit - --config usenetsyncd.yaml
    """
    from usenetsyncd.cli.recovering import run_recover

    return run_recover(kit_path, config, overrides)


def say_at_once(line: str) -> None:
    """A line that somebody waits for."""
    say(line)
    flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; returns the exit code."""
    return run_command(usenetsyncd, "usenetsyncd", arguments)


if __name__ == "__main__":
    sys.exit(main())
