"""``usyncctl folder review`` and ``release``: what the deletion guard holds, and letting it go."""

import sys

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, common
from usenetsyncd.cli.terminal import clean, note, say
from usenetsyncd.errors import ExitCode

_FOLDER = click.argument("name", metavar="FOLDER", shell_complete=completing.folders)


@click.command("review")
@_FOLDER
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Paths of each kind at most."
)
@common
def folder_review(session: Session, name: str, limit: int) -> int:
    """What was deleted and changed in FOLDER since its newest version, and why it is held.

    A folder is held when its disk is not mounted, or when more than a set share of its files is deleted or changed
    at once (`guard` in the configuration); fewer than 10 files never hold one. Nothing of it is posted or published
    then. If the files come back, work goes on by itself.

    Exit codes: 0 not held, 3 held.
    """
    found = session.client.get("folders", name, "review", limit=limit)
    if not session.show(found):
        _tell(found)
    return ExitCode.ATTENTION if found["held"] else ExitCode.DONE


def _tell(found: Document) -> None:
    folder = clean(found["folder"])
    if found["held"]:
        say(f"{folder} is held since {quantities.stamp(found['since'])}: {clean(found['reason'])}")
    else:
        say(f"{folder} is not held")
    for word in ("deleted", "changed"):
        share, allowed = found[f"{word}_share"], found[f"max_{word}"]
        files = quantities.plural(found["files"], "file")
        say(f"{word:<8} {found[word]:,} of {files} ({share:.0%}; allowed {allowed:.0%})")
        for path in found[f"{word}_paths"]:
            say(f"  {clean(path)}")
        hidden = found[word] - len(found[f"{word}_paths"])
        if hidden > 0 and found[f"{word}_paths"]:
            say(f"  and {hidden:,} more")
    if not found["held"]:
        return
    if found["version"]:
        note(
            f"Version {found['version']} is untouched: usyncctl restore {folder}@{found['version']} --to DIR"
        )
    note(
        f"If it was an accident, put the files back: work goes on by itself. If it was meant: usyncctl folder release {folder}"
    )


@click.command("release")
@_FOLDER
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def folder_release(session: Session, name: str, yes: bool) -> None:
    """Accept what was deleted and changed in FOLDER, and go on.

    Older versions stay restorable.
    """
    if not yes and not session.json and sys.stdin.isatty():
        _tell(session.client.get("folders", name, "review", limit=20))
        click.confirm(f"Publish {clean(name)} as it is now?", abort=True, err=True)
    found = session.client.post("folders", name, "release")
    if not session.show(found):
        say(
            f"{clean(found['folder'])} is released: {found['deleted']:,} deletions, {found['changed']:,} changes accepted"
        )
