"""``usyncctl doctor``, ``schedule`` and ``history``: how things are around the daemon, and how they came to be so."""

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Session, common, more, paged
from usenetsyncd.cli.terminal import clean, note, say, show_table, style
from usenetsyncd.errors import ExitCode

_MARKS = {"ok": ("ok", "green"), "warning": ("!", "yellow"), "error": ("!!", "red")}
_CODES = {"ok": ExitCode.DONE, "warning": ExitCode.ATTENTION}


@click.command()
@common
def doctor(session: Session) -> int:
    """Look at everything that can be wrong: configuration, servers and posting rights, folders, inotify limits, disk,
    clock, catalogue, backups, recovery kit. Nothing is posted.

    Exit codes: 0 all is well, 3 something needs attention, 1 something does not work.
    """
    found = session.client.get("doctor")
    if not session.show(found):
        for one in found["findings"]:
            mark, colour = _MARKS.get(one["grade"], ("?", "dim"))
            say(f"{style(f'{mark:<2}', colour)}  {clean(one['check']):<13}  {clean(one['message'])}")
            if one["action"] and one["grade"] != "ok":
                say(f"{'':<19}{clean(one['action'])}")
    return _CODES.get(found["grade"], ExitCode.FAILED)


@click.command()
@common
def schedule(session: Session) -> None:
    """Which limits apply now and why, the timetable, and what happens next by the clock."""
    found = session.client.get("schedule")
    if session.show(found):
        return
    reason = f"  ({clean(found['reason'])})" if found["reason"] else ""
    if found["paused"]:
        ends = f" until {quantities.stamp(found['paused_until'])}" if found["paused_until"] else ""
        say(f"now       posting is paused{ends}{reason}")
    else:
        say(f"now       up {_limit(found['upload'])}, down {_limit(found['download'])}{reason}")
    for window in found["windows"]:
        limits = ", ".join(
            f"{word} {_limit(window[key])}"
            for word, key in (("up", "upload"), ("down", "download"))
            if window[key] is not None
        )
        say(f"{'* ' if window['open'] else '  '}        {clean(window['at'])}: {limits}")
    for one in found["coming"]:
        say(f"{quantities.stamp(one['at'])}  {clean(one['what'])}")


def _limit(value: float | str) -> str:
    if isinstance(value, str):
        return "paused"
    return quantities.rate(value) if value else "without limit"


@click.command()
@click.argument("folder", required=False, shell_complete=completing.folders)
@paged
@common
def history(session: Session, folder: str | None, limit: int, after: str | None) -> None:
    """What happened to FOLDER, or to all, the newest first. `events` has every detail, oldest first."""
    found = session.client.get("history", folder=folder, limit=limit, after=after)
    if session.show(found):
        return
    if not found["events"]:
        note("nothing yet")
        return
    show_table(
        ("WHEN", "FOLDER", "WHAT"),
        "<<<",
        [(quantities.stamp(one["at"]), one["folder"] or "", one["message"]) for one in found["events"]],
    )
    more(found, f"usyncctl history {clean(folder)}" if folder else "usyncctl history")
