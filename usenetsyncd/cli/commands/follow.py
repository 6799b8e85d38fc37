"""``usyncctl follow``: keep local copies of what others share."""

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import (
    Document,
    Session,
    absolute,
    common,
    passphrase_file,
    path_value,
    read_passphrase,
    read_secret_input,
    seconds,
)
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.errors import ExitCode, NotFound, UsageError

SHOWN = {"up_to_date": "up to date", "trouble": "in trouble"}
WELL = frozenset({"up_to_date", "updating", "waiting", "paused"})


@click.group()
def follow() -> None:
    """Keep local copies of what others share."""


@follow.command("add")
@click.argument("source", metavar="STRING")
@click.argument("directory", metavar="DIR", type=click.Path())
@passphrase_file
@click.option("--every", metavar="2m", help="How often servers are asked.")
@common
def follow_add(
    session: Session, source: str, directory: str, passphrase_path: str | None, every: str | None
) -> None:
    """Keep the newest version of a share in DIR, by itself.

    STRING is an access string; - reads it from standard input, which keeps it out of the shell's history. Files that
    are changed in DIR are never overwritten: before a newer one takes the name, yours is kept beside it as
    name.conflict-DATE-TIME.
    """
    if source == passphrase_path == "-":
        raise UsageError("the access string and the passphrase cannot both come from standard input")
    if source == "-":
        source = read_secret_input().strip()
    if not source:
        raise UsageError("the access string is empty")
    order: Document = {
        "source": source,
        "target": path_value(absolute(directory)),
        "passphrase": None if passphrase_path is None else read_passphrase(passphrase_path),
    }
    if every is not None:
        order["every_s"] = seconds(every)
    found = session.client.post("follows", body=order)
    if not session.show(found):
        say(f"{clean(found['target'])} is kept at the newest version; see it: usyncctl follow list")


@follow.command("list")
@common
def follow_list(session: Session) -> int:
    """What is followed, and how far it is. Exit code 3 when something needs attention."""
    found = session.client.get("follows")
    follows = found["follows"]
    if not session.show(found):
        if not follows:
            note("nothing is followed; usyncctl follow add STRING DIR begins")
        else:
            rows = [
                (
                    str(one["id"]),
                    one["target"],
                    state_of(one),
                    f"v{one['version']}" if one["version"] else "-",
                    quantities.count(one["files"]),
                    quantities.size(one["bytes"]),
                    quantities.ago(one["asked_at"]) if one["asked_at"] else "never",
                )
                for one in follows
            ]
            show_table(("NUMBER", "DIRECTORY", "STATE", "VERSION", "FILES", "SIZE", "ASKED"), "<<<<>><", rows)
            for one in follows:
                if one["reason"]:
                    note(f"- {one['id']}: {clean(one['reason'])}")
                if one["left"]:
                    note(f"- {one['id']}: {quantities.plural(one['left'], 'path')} could not be placed yet")
    return ExitCode.DONE if all(one["state"] in WELL for one in follows) else ExitCode.ATTENTION


def state_of(one: Document) -> str:
    """In words."""
    if one["state"] == "updating" and one["files_total"]:
        return f"updating, {one['files_done']} of {one['files_total']}"
    return SHOWN.get(one["state"], str(one["state"]))


def _number(session: Session, which: str) -> str:
    """The number of a followed share that is named by number or directory."""
    if which.isdigit():
        return which
    path = path_value(absolute(which))
    for one in session.client.get("follows")["follows"]:
        if one["target"] == path:
            return str(one["id"])
    raise NotFound(f"nothing is followed into {which}; see: usyncctl follow list")


@follow.command("remove")
@click.argument("which", metavar="NUMBER|DIR")
@common
def follow_remove(session: Session, which: str) -> None:
    """Follow no more; every file stays as it is."""
    found = session.client.ask("DELETE", ("follows", _number(session, which)))
    if not session.show(found):
        say(f"{clean(found['target'])} is not followed any more; its files stay")


@follow.command("pause")
@click.argument("which", metavar="NUMBER|DIR")
@common
def follow_pause(session: Session, which: str) -> None:
    """Leave a directory as it is until `follow resume`."""
    found = session.client.post("follows", _number(session, which), "pause")
    if not session.show(found):
        say(f"{clean(found['target'])} is left as it is until: usyncctl follow resume {found['id']}")


@follow.command("resume")
@click.argument("which", metavar="NUMBER|DIR")
@common
def follow_resume(session: Session, which: str) -> None:
    """Go on after a pause, or after it was stopped; a directory that is gone is filled again."""
    found = session.client.post("follows", _number(session, which), "resume")
    if not session.show(found):
        say(f"{clean(found['target'])} goes on")
