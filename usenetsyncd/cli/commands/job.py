"""``usyncctl job``: what runs, and how it ended."""

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.following import follow_job
from usenetsyncd.cli.frame import Document, Session, common, more, paged
from usenetsyncd.cli.telling import outcome_text, progress_text
from usenetsyncd.cli.terminal import clean, note, say, show_table

STATES = ("queued", "running", "paused", "done", "failed", "cancelled")
_ID = click.argument("job_id", metavar="JOB", type=click.IntRange(1), shell_complete=completing.jobs)


@click.group()
def job() -> None:
    """What runs, and how it ended."""


@job.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@paged
@common
def job_list(session: Session, state: str | None, limit: int, after: str | None) -> None:
    """Jobs, the newest first."""
    found = session.client.get("jobs", state=state, limit=limit, after=after)
    if session.show(found):
        return
    if not found["jobs"]:
        note("no job")
        return
    rows = [
        (
            one["id"],
            one["kind"],
            one["state"],
            quantities.clock(one["created_at"]),
            one["target"],
            _detail(one),
        )
        for one in found["jobs"]
    ]
    show_table(("JOB", "KIND", "STATE", "SINCE", "TARGET", "HOW FAR"), "><<<<<", rows)
    more(found, "usyncctl job list")


def _detail(one: Document) -> str:
    if one["error"]:
        return str(one["error"])
    if one["result"]:
        return outcome_text(one["kind"], one["result"])
    return progress_text(one["progress"]) if one["progress"] else ""


@job.command("show")
@_ID
@click.option("-f", "--follow", is_flag=True, help="Until it ends; the exit code is the job's.")
@common
def job_show(session: Session, job_id: int, follow: bool) -> int:
    """One job."""
    if follow:
        return follow_job(session, job_id)
    found = session.client.get("jobs", str(job_id))
    if session.show(found):
        return 0
    say(f"job {found['id']}: {clean(found['kind'])} {clean(found['target'])}: {clean(found['state'])}")
    for label, moment in (("asked for", "created_at"), ("begun", "started_at"), ("ended", "finished_at")):
        if found[moment]:
            say(f"  {label:<10} {quantities.stamp(found[moment])}")
    if detail := _detail(found):
        say(f"  {clean(detail)}")
    result = found["result"] or {}
    for failure in result.get("failures", []):
        say(f"  ! {clean(failure.get('path') or failure.get('what'))}: {clean(failure['reason'])}")
    for warning in result.get("warnings", []):
        say(f"  ! {clean(warning)}")
    return 0


@job.command("cancel")
@_ID
@common
def job_cancel(session: Session, job_id: int) -> None:
    """Stop a job for good. What it did stays."""
    found = session.client.post("jobs", str(job_id), "cancel")
    if not session.show(found):
        say(f"job {found['id']} is {clean(found['state'])}")
