"""``usyncctl verify`` and ``usyncctl repair``: prove that what is posted is still there, and bring back what is not."""

import click

from usenetsyncd.cli import completing
from usenetsyncd.cli.following import follow_job
from usenetsyncd.cli.frame import Document, Session, common
from usenetsyncd.cli.terminal import note
from usenetsyncd.errors import UsageError

_FOLDER = click.argument("folder", required=False, shell_complete=completing.folders)
_DETACH = click.option("--detach", is_flag=True, help="Do not wait for the end.")


@click.command()
@_FOLDER
@click.option("--full", is_flag=True, help="Fetch, open and hash every article: downloads everything.")
@click.option(
    "--sample", metavar="2%", help="Fetch and open this part of the articles (the folder's setting)."
)
@click.option("--server", metavar="NAME", shell_complete=completing.servers, help="Ask only this one.")
@_DETACH
@common
def verify(
    session: Session, folder: str | None, full: bool, sample: str | None, server: str | None, detach: bool
) -> int:
    """Ask every server for every live article of FOLDER, or of all folders.

    That a server says it has an article is no proof: a random sample is fetched, opened and hashed, and the
    result is told as statistics. What is found is remembered; nothing is posted. The daemon does the work:
    Ctrl-C leaves it running and tells the job's number.

    Exit codes: 0 everything is there, 3 something is missing, damaged or could not be asked for, 1 failed.
    """
    if full and sample is not None:
        raise UsageError("--full fetches everything; --sample a part: give one of them")
    order = {
        "folder": folder,
        "full": full,
        "sample": None if sample is None else _fraction(sample),
        "server": server,
    }
    return _begin(session, "verify", order, detach)


@click.command()
@_FOLDER
@click.option("--dry-run", is_flag=True, help="Only say what would be posted, and where it would come from.")
@click.option("--no-wait", is_flag=True, help="End when it is queued, before it is posted and asked for.")
@_DETACH
@common
def repair(session: Session, folder: str | None, dry_run: bool, no_wait: bool, detach: bool) -> int:
    """Post again what checks found lost, of FOLDER or of all folders.

    Each article is made anew from the unchanged source file, else from another copy or server, else from parity,
    and posted under a new name that every reader finds by itself. Nothing is ever deleted.

    Exit codes: 0 everything is repaired, 3 something cannot be, or is not seen everywhere yet, 1 failed.
    """
    order = {"folder": folder, "dry_run": dry_run, "wait": not no_wait}
    return _begin(session, "repair", order, detach)


def _begin(session: Session, kind: str, order: Document, detach: bool) -> int:
    job = session.client.post(kind, body=order)
    if detach:
        if not session.show(job):
            note(f"job {job['id']} is begun; see it: usyncctl job show {job['id']} --follow")
        return 0
    return follow_job(session, int(job["id"]))


def _fraction(text: str) -> float:
    from usenetsyncd.settings.units import parse_percentage

    try:
        return parse_percentage(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from error
