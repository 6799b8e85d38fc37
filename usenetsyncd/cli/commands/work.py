"""Short commands about the daemon as a whole: scan, pause, resume, wait, health, version, stop."""

import time

import click

from usenetsyncd import __version__
from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, common, seconds
from usenetsyncd.cli.terminal import clean, flush, note, say
from usenetsyncd.errors import DaemonUnreachable, ExitCode, UsageError

ASK_AGAIN_S = 0.2
LONG_POLL_S = 20.0


@click.command()
@click.argument("folder", required=False, shell_complete=completing.folders)
@click.option("--wait", "wait_for_end", is_flag=True, help="Until it is over, with progress.")
@common
def scan(session: Session, folder: str | None, wait_for_end: bool) -> int:
    """Look for changes in a folder now, or in all."""
    if not wait_for_end:
        found = session.client.post("scan", body={"folder": folder})
        if not session.show(found):
            names = ", ".join(clean(name) for name in found["folders"])
            say(f"scanning {names}" if names else "there are no folders")
        return ExitCode.DONE
    summary: Document | None = None
    for line in session.client.stream("POST", ("scan", "stream"), {"folder": folder}):
        if not session.show(line) and line["type"] != "progress":
            _tell_scan(line)
        flush()
        summary = line if line["type"] == "summary" else summary
    if summary is None:
        note("the daemon stopped before the scan was over; it scans again when it starts")
        return ExitCode.FAILED
    if summary["failed"]:
        return ExitCode.FAILED
    return ExitCode.ATTENTION if summary["unreadable"] else ExitCode.DONE


def _tell_scan(line: Document) -> None:
    if line.get("error"):
        note(f"{clean(line['folder'])}: {clean(line['error'])}")
        return
    told = f"{quantities.plural(line['files_hashed'], 'file')} read ({quantities.size(line['bytes_hashed'])})"
    told += f", {line['deleted']} gone"
    if line["unreadable"]:
        told += f", {line['unreadable']} unreadable"
    if line["type"] == "folder":
        say(f"{clean(line['folder'])}: {told}")
    elif line["folders"] != 1:
        say(f"{quantities.plural(line['folders'], 'folder')}: {told}")


@click.command()
@click.argument("folder", required=False, shell_complete=completing.folders)
@click.option("--for", "duration", metavar="1h", help="Go on by itself after this long.")
@common
def pause(session: Session, folder: str | None, duration: str | None) -> None:
    """Stop posting, of a folder or altogether, until `resume`."""
    for_s = None if duration is None else seconds(duration)
    found = session.client.post("pause", body={"folder": folder, "for_s": for_s})
    if not session.show(found):
        say(_told(found))


@click.command()
@click.argument("folder", required=False, shell_complete=completing.folders)
@common
def resume(session: Session, folder: str | None) -> None:
    """Go on after a pause."""
    found = session.client.post("resume", body={"folder": folder})
    if not session.show(found):
        say(_told(found))


def _told(found: Document) -> str:
    what = clean(found["folder"]) if found["folder"] else "everything"
    if not found["paused"]:
        return f"{what} goes on"
    if found["until"]:
        return f"{what} is paused until {quantities.clock(found['until'])}"
    back = f"usyncctl resume {clean(found['folder'])}" if found["folder"] else "usyncctl resume"
    return f"{what} is paused until: {back}"


@click.command()
@click.option("--idle", is_flag=True, help="Until everything is scanned, posted and published.")
@click.option("--ready", is_flag=True, help="Until the daemon answers and can work.")
@click.option("--timeout", metavar="10m", help="Give up after this long, with exit code 1.")
@common
def wait(session: Session, idle: bool, ready: bool, timeout: str | None) -> int:
    """Wait until nothing is left to do, or until the daemon is ready."""
    if idle == ready:
        raise UsageError("say what to wait for: --idle or --ready")
    until = time.monotonic() + seconds(timeout) if timeout is not None else float("inf")
    found = _wait_idle(session, until) if idle else _wait_ready(session, until)
    reached = bool(found["idle" if idle else "ready"])
    if not session.show(found) and not reached:
        note("not within the time given:")
        for reason in found["reasons"]:
            note(f"- {clean(reason['message'] if isinstance(reason, dict) else reason)}")
    return ExitCode.DONE if reached else ExitCode.FAILED


def _wait_idle(session: Session, until: float) -> Document:
    while True:
        wait_s = max(0.0, min(LONG_POLL_S, until - time.monotonic()))
        found = session.client.get("idle", wait_s=round(wait_s, 3))
        if found["idle"] or time.monotonic() >= until:
            return found


def _wait_ready(session: Session, until: float) -> Document:
    while True:
        try:
            found = session.client.get("health")
        except DaemonUnreachable:
            if time.monotonic() >= until:
                raise
        else:
            if found["ready"] or time.monotonic() >= until:
                return found
        time.sleep(ASK_AGAIN_S)


@click.command()
@common
def health(session: Session) -> int:
    """One verdict. Exit code 0: all is well, 3: something needs attention, 1: something does not work."""
    found = session.client.get("health")
    if not session.show(found):
        say(
            {"ok": "all is well", "warning": "something needs attention"}.get(
                found["verdict"], "something does not work"
            )
        )
        for reason in found["reasons"]:
            say(f"! {clean(reason['message'])}   {clean(reason['action'])}".rstrip())
    return {"ok": ExitCode.DONE, "warning": ExitCode.ATTENTION}.get(found["verdict"], ExitCode.FAILED)


@click.command()
@common
def version(session: Session) -> None:
    """Versions of this command and of the daemon."""
    try:
        daemon: Document | None = session.client.get("version")
    except DaemonUnreachable:
        daemon = None
    if session.show({"version": __version__, "daemon": daemon}):
        return
    say(f"usyncctl {__version__}")
    if daemon is None:
        say("usenetsyncd isn't running")
    else:
        say(
            f"usenetsyncd {clean(daemon['version'])} (format {daemon['format_version']}, Python {clean(daemon['python'])})"
        )


@click.command()
@common
def stop(session: Session) -> None:
    """Stop the daemon gracefully: what is under way is finished or put back."""
    found = session.client.post("stop")
    if not session.show(found):
        say("usenetsyncd is stopping")
