"""``usyncctl restore``: bring a folder back from Usenet."""

import os

import click

from usenetsyncd.cli.following import follow_job
from usenetsyncd.cli.frame import (
    Session,
    absolute,
    common,
    passphrase_file,
    path_value,
    read_passphrase,
    read_secret_input,
)
from usenetsyncd.cli.terminal import note
from usenetsyncd.errors import UsageError


@click.command()
@click.argument("source", metavar="STRING|FOLDER[@VERSION]")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@click.option(
    "--to", "target", metavar="DIR", required=True, type=click.Path(), help="Where to, here on this machine."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--overwrite", is_flag=True, help="Replace files that differ.")
@click.option(
    "--owner", is_flag=True, help="Give files the owners that the version names, where the daemon may."
)
@passphrase_file
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@common
def restore(
    session: Session,
    source: str,
    paths: tuple[str, ...],
    target: str,
    dry_run: bool,
    overwrite: bool,
    owner: bool,
    passphrase_path: str | None,
    detach: bool,
) -> int:
    """Bring a folder, or PATHs of it, back from Usenet.

    STRING is an access string; - reads it from standard input, which keeps it out of the shell's history.
    The daemon does the work: Ctrl-C leaves it running and tells the job's number. A restore that was
    interrupted goes on when the daemon starts again.

    Exit codes: 0 everything is there, 3 some of it could not be restored, 5 nothing is published under this string,
    77 it opens nothing for you (revoked, expired, not a member, wrong passphrase), 1 failed.
    """
    if source == passphrase_path == "-":
        raise UsageError("the access string and the passphrase cannot both come from standard input")
    if source == "-":
        source = read_secret_input().strip()
    if not source:
        raise UsageError("the access string is empty")
    order = {
        "source": source,
        "paths": [path_value(_below_root(path)) for path in paths],
        "target": path_value(absolute(target)),
        "dry_run": dry_run,
        "overwrite": overwrite,
        "owner": owner,
        "passphrase": None if passphrase_path is None else read_passphrase(passphrase_path),
    }
    job = session.client.post("restore", body=order)
    if detach:
        if not session.show(job):
            note(f"job {job['id']} restores; see it: usyncctl job show {job['id']} --follow")
        return 0
    return follow_job(session, int(job["id"]))


def _below_root(path: str) -> bytes:
    """A path inside the folder, as the index has it."""
    inside = os.path.normpath(os.fsencode(path)).strip(b"/")
    if inside in (b".", b"") or inside.split(b"/")[0] == b"..":
        raise UsageError(f"{path!r} is not a path inside the folder")
    return inside
