"""``usyncctl folder``: list, show, add, remove, errors.

usenetsyncd.settings.edit is imported when it is needed: pydantic and YAML take their time.
"""

from collections.abc import Callable
from pathlib import Path

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.commands.holding import folder_release, folder_review
from usenetsyncd.cli.commands.status import ALIGNMENT, HEADINGS, folder_cells
from usenetsyncd.cli.frame import Document, Session, absolute, common, more, paged, path_value
from usenetsyncd.cli.telling import FILES_SHOWN, outcome_text
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.control.client import Refused
from usenetsyncd.errors import ExitCode

PRIORITIES = ("critical", "high", "normal", "low", "background")


@click.group()
def folder() -> None:
    """List, show, add and remove folders."""


folder.add_command(folder_review)
folder.add_command(folder_release)


@folder.command("list")
@paged
@common
def folder_list(session: Session, limit: int, after: str | None) -> None:
    """All folders."""
    found = session.client.get("folders", limit=limit, after=after)
    if session.show(found):
        return
    if not found["folders"]:
        note("No folders yet. Add one: usyncctl folder add ID PATH")
        return
    rows = [(*folder_cells(one), one["path"]) for one in found["folders"]]
    show_table((*HEADINGS, "PATH"), ALIGNMENT + "<", rows)
    more(found, "usyncctl folder list")


@folder.command("show")
@click.argument("name", metavar="FOLDER", shell_complete=completing.folders)
@common
def folder_show(session: Session, name: str) -> None:
    """Everything about one folder."""
    found = session.client.get("folders", name)
    if session.show(found):
        return
    for label, value in _described(found):
        if value:
            say(f"{label:<13} {clean(value)}")


def _described(found: Document) -> list[tuple[str, str]]:
    state = found["state"].replace("_", " ")
    version, moment = found["version"], found["restorable_at"]
    left = quantities.plural(found["pending_files"], "file")
    return [
        ("folder", found["id"]),
        ("path", found["path"]),
        ("state", f"{state}: {found['reason']}" if found["reason"] else state),
        ("doing now", found["activity"]),
        (
            "files",
            f"{quantities.count(found['files'])} in {quantities.plural(found['directories'], 'directory')}",
        ),
        ("size", quantities.size(found["bytes"])),
        (
            "left to post",
            f"{left}, {quantities.size(found['pending_bytes'])}" if found["pending_bytes"] else "nothing",
        ),
        (
            "version",
            f"{version}, restorable as of {quantities.stamp(moment)}" if version else "none published yet",
        ),
        *_health(found),
        ("scanned", quantities.stamp(found["scanned_at"]) if found["scanned_at"] else "not yet"),
        ("watched", "" if found["watched"] is None else quantities.plural(found["watched"], "directory")),
        (
            "failed",
            f"{found['failed_articles']} articles: usyncctl queue --state failed"
            if found["failed_articles"]
            else "",
        ),
        ("errors", f"{found['errors']}: usyncctl folder errors {found['id']}" if found["errors"] else ""),
        ("priority", found["priority"]),
        ("newsgroups", ", ".join(found["newsgroups"])),
        ("fingerprint", found["fingerprint"]),
    ]


def _health(found: Document) -> list[tuple[str, str]]:
    damage, check = found["damage"], found["last_check"]
    word = found["health"].replace("_", " ")
    lost = quantities.plural(damage["lost"], "segment")
    kept = [
        f"{quantities.plural(int(servers), 'server')}: {quantities.plural(segments, 'segment')}"
        for servers, segments in sorted(damage["backbones"].items(), key=lambda pair: int(pair[0]))
    ]
    checked = ""
    if check is not None:
        checked = outcome_text("verify", check)
        checked += f"; {check['statement']}" if check["statement"] else ""
    hidden = len(damage["files"]) - FILES_SHOWN
    return [
        ("health", f"{word}: {damage['reasons'][0]}" if damage["reasons"] else word),
        *(("", reason) for reason in damage["reasons"][1:]),
        (
            "lost",
            f"{lost}, {damage['at_risk']} more at risk: {damage['action']}"
            if damage["lost"] or damage["at_risk"]
            else "",
        ),
        *(("not whole", path) for path in damage["files"][:FILES_SHOWN]),
        ("", f"and {hidden} more: usyncctl folder show {found['id']} --json" if hidden > 0 else ""),
        ("kept on", ", ".join(kept)),
        ("protection", _protection(found)),
        ("verified", quantities.stamp(found["verified_at"]) if found["verified_at"] else "never"),
        ("last check", checked),
        ("next check", quantities.stamp(found["next_check_at"]) if found["next_check_at"] else ""),
    ]


def _protection(found: Document) -> str:
    redundancy = found["options"].get("redundancy", {})
    told = [quantities.plural(copies, "copy")] if (copies := redundancy.get("copies", 1)) > 1 else []
    if found["unprotected"] is not None:
        told.append(f"parity {quantities.percent(redundancy.get('parity', 0))}")
    if found["unprotected"]:
        told.append(f"{quantities.plural(found['unprotected'], 'segment')} still without")
    return ", ".join(told) or "one copy, no parity: what a server loses can only come from the files"


@folder.command("errors")
@click.argument("name", metavar="FOLDER", shell_complete=completing.folders)
@paged
@common
def folder_errors(session: Session, name: str, limit: int, after: str | None) -> None:
    """Paths that could not be taken as they should."""
    found = session.client.get("folders", name, "errors", limit=limit, after=after)
    if session.show(found):
        return
    if not found["errors"]:
        note("none")
        return
    rows = [(quantities.clock(one["since"]), one["path"], one["message"]) for one in found["errors"]]
    show_table(("SINCE", "PATH", "WHY"), "<<<", rows)
    more(found, f"usyncctl folder errors {clean(name)}")


@folder.command("add")
@click.argument("name", metavar="ID")
@click.argument("path")
@click.option("--priority", type=click.Choice(PRIORITIES), help="Before or behind other folders.")
@click.option(
    "--ignore", multiple=True, metavar="PATTERN", help="As in .gitignore; replaces the default list."
)
@common
def folder_add(session: Session, name: str, path: str, priority: str | None, ignore: tuple[str, ...]) -> int:
    """Add a folder to the configuration file, and begin with it.

    Every other line of the file stays as it is.
    """
    body: Document = {"id": name, "path": path_value(absolute(path))}
    if priority:
        body["priority"] = priority
    if ignore:
        body["ignore"] = list(ignore)
    try:
        found = session.client.post("folders", body=body)
    except Refused as refused:
        if refused.code != "file_not_writable":
            raise

        def edit(file: Path) -> None:
            from usenetsyncd.settings.edit import add_folder

            add_folder(file, name, absolute(path).decode("utf-8", "surrogateescape"), priority, ignore)

        found = _edit_here(session, refused, edit)
    return _tell(session, found, f"{clean(name)} is added; its first version is on its way: usyncctl status")


@folder.command("remove")
@click.argument("name", metavar="FOLDER", shell_complete=completing.folders)
@common
def folder_remove(session: Session, name: str) -> int:
    """Take a folder out of the configuration file. What is published stays restorable."""
    try:
        found = session.client.ask("DELETE", ("folders", name))
    except Refused as refused:
        if refused.code != "file_not_writable":
            raise

        def edit(file: Path) -> None:
            from usenetsyncd.settings.edit import remove_folder

            remove_folder(file, name)

        found = _edit_here(session, refused, edit)
    return _tell(session, found, f"{clean(name)} is no longer watched; what is published stays")


def _edit_here(session: Session, refused: Refused, edit: Callable[[Path], None]) -> Document:
    """The daemon may not write its own configuration, but whoever runs this command may be allowed to."""
    from usenetsyncd.settings.edit import FileNotWritable

    files = session.client.get("config")["files"]
    if not files:
        raise refused
    try:
        edit(Path(files[-1]))
    except FileNotWritable:
        raise refused from None
    note(f"the daemon may not write {clean(files[-1])}, so this command did")
    return session.client.post("config", "reload") | {"file": files[-1]}


def _tell(session: Session, found: Document, message: str) -> int:
    if not session.show(found):
        say(message)
    for warning in found["warnings"]:
        note(clean(warning))
    if found["restart_needed"]:
        note(f"a restart is needed for {clean(', '.join(found['restart_needed']))}")
        return ExitCode.ATTENTION
    return ExitCode.DONE
