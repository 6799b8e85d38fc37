"""``usyncctl kit``: the one string that brings everything back."""

import sys

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Session, common
from usenetsyncd.cli.terminal import clean, note, say
from usenetsyncd.errors import ExitCode, UsageError

WARNING = (
    "Whoever has the recovery kit can read everything this installation ever published, and publish in its place. "
    "Without it, a lost disk means that nothing can be published on top of what is there. Write it down, keep it "
    "where this machine is not."
)


@click.group()
def kit() -> None:
    """The recovery kit: what brings everything back."""


@kit.command("show")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def kit_show(session: Session, yes: bool) -> int:
    """Print the recovery kit. It is asked first whether that is meant: nobody should look over your shoulder.

    Example: usyncctl kit show --yes | gpg --encrypt -r me > kit.gpg

    Exit codes: 0 done, 3 the list of folders is not on the servers yet, so the kit would find nothing.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("this shows a secret: say --yes where nobody can be asked")
        note(WARNING)
        click.confirm("Show it here?", abort=True, err=True)
    found = session.client.post("kit")
    if not session.show(found):
        say(clean(found["kit"]))
    if found["directory_at"] is None:
        note(
            "The list of folders is not on the servers yet; until it is, the kit finds nothing. See: usyncctl events"
        )
        return ExitCode.ATTENTION
    note(
        f"It finds {quantities.plural(found['folders'], 'folder')}, as of {quantities.stamp(found['directory_at'])}. "
        "To use it: usenetsyncd recover --kit - --config FILE"
    )
    return ExitCode.DONE
