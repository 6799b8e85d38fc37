"""``usyncctl``: asks the daemon and shows the answer. Imports a command when it is called: it must start fast."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from usenetsyncd.cli.frame import LazyGroup, Session, run

COMPLETE_VARIABLE = "_USYNCCTL_COMPLETE"
_COMMANDS = "usenetsyncd.cli.commands."
COMMANDS = {
    "status": (_COMMANDS + "status", "status", "Everything at a glance."),
    "folder": (_COMMANDS + "folder", "folder", "List, show, add and remove folders."),
    "scan": (_COMMANDS + "work", "scan", "Look for changes in a folder now."),
    "file": (_COMMANDS + "file", "file", "What became of a file."),
    "versions": (_COMMANDS + "file", "versions", "Versions of a folder or of a file."),
    "diff": (_COMMANDS + "versions", "diff", "What differs between two versions of a folder."),
    "pause": (_COMMANDS + "work", "pause", "Stop posting, of a folder or altogether."),
    "resume": (_COMMANDS + "work", "resume", "Go on after a pause."),
    "queue": (_COMMANDS + "queue", "queue", "Articles that wait to be posted."),
    "job": (_COMMANDS + "job", "job", "What runs, and how it ended."),
    "wait": (_COMMANDS + "work", "wait", "Wait until everything is posted, or the daemon is ready."),
    "events": (_COMMANDS + "logs", "events", "What happened."),
    "share": (_COMMANDS + "share", "share", "Give folders to somebody."),
    "identity": (_COMMANDS + "people", "identity", "Who you are when somebody shares with you."),
    "user": (_COMMANDS + "people", "user", "People to share with."),
    "restore": (_COMMANDS + "restore", "restore", "Bring a folder back from Usenet."),
    "follow": (_COMMANDS + "follow", "follow", "Keep local copies of what others share."),
    "verify": (_COMMANDS + "care", "verify", "Ask whether everything posted is still there."),
    "repair": (_COMMANDS + "care", "repair", "Post again what was lost."),
    "server": (_COMMANDS + "server", "server", "News servers."),
    "credential": (_COMMANDS + "credential", "credential", "Passwords, encrypted at rest."),
    "config": (_COMMANDS + "config", "config", "Check, show and reload the configuration."),
    "backup": (_COMMANDS + "catalogue", "backup", "Copies of the catalogue."),
    "catalogue": (_COMMANDS + "catalogue", "catalogue", "Check the catalogue, put a backup back."),
    "history": (_COMMANDS + "insight", "history", "What happened to folders, the newest first."),
    "schedule": (_COMMANDS + "insight", "schedule", "Which limits apply now, and what comes."),
    "doctor": (_COMMANDS + "insight", "doctor", "Look at everything that can be wrong."),
    "kit": (_COMMANDS + "kit", "kit", "The recovery kit: what brings everything back."),
    "logs": (_COMMANDS + "logs", "logs", "The daemon's log."),
    "health": (_COMMANDS + "work", "health", "One verdict, also as the exit code."),
    "web": (_COMMANDS + "web", "web", "A link that logs one browser into the dashboard, once."),
    "metrics": (
        _COMMANDS + "web",
        "metrics",
        "Everything that can be counted, in the text format of Prometheus.",
    ),
    "version": (_COMMANDS + "work", "version", "Versions of this command and of the daemon."),
    "completion": (_COMMANDS + "completion", "completion", "Completion for your shell."),
    "stop": (_COMMANDS + "work", "stop", "Stop the daemon."),
}
"""Name -> module, attribute, one line of help. A test compares the lines with the commands."""


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--socket", metavar="PATH", help="Socket of the daemon (or $USENETSYNCD_SOCKET).")
@click.pass_context
def usyncctl(context: click.Context, as_json: bool, socket: str | None) -> None:
    """Ask and direct the UsenetSync daemon.

    Exit codes: 0 done, 1 failed, 2 usage, 3 done but something needs attention, 4 daemon not reachable,
    5 not found, 77 not permitted, 78 configuration, 130 interrupted.
    """
    session = context.ensure_object(Session)
    session.json |= as_json
    session.socket = socket or session.socket


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; returns the exit code."""
    if os.environ.get(COMPLETE_VARIABLE, "").startswith("powershell"):
        # click does not know that shell until this module is imported
        import_module(_COMMANDS + "completion")
    return run(usyncctl, "usyncctl", arguments)


if __name__ == "__main__":
    sys.exit(main())
