"""``usyncctl diff``: what differs between two versions of a folder."""

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, common
from usenetsyncd.cli.terminal import clean, flush, note, say
from usenetsyncd.errors import ExitCode, UsageError

SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">", "attributes": "="}


@click.command()
@click.argument("folder", shell_complete=completing.folders)
@click.argument("old", metavar="V1")
@click.argument("new", metavar="V2")
@common
def diff(session: Session, folder: str, old: str, new: str) -> int:
    """What differs between two versions of a folder: added, removed, changed, moved, with sizes.

    Versions are numbers as `usyncctl versions FOLDER` lists them, with or without a v.
    """
    path = ("folders", folder, "versions", _version(old), "difference", _version(new))
    summary: Document | None = None
    for line in session.client.stream("GET", path):
        if not session.show(line):
            say(_told(line))
            flush()
        summary = line if line["type"] == "summary" else summary
    if summary is None:
        note("the daemon stopped before the end")
        return ExitCode.FAILED
    return ExitCode.DONE


def _version(text: str) -> str:
    number = text.removeprefix("v")
    if not number.isdigit():
        raise UsageError(f"{text!r} is not a version; see: usyncctl versions FOLDER")
    return number


def _told(line: Document) -> str:
    if line["type"] == "summary":
        parts = [
            f"{line[change]:,} {'with other attributes' if change == 'attributes' else change}"
            for change in SIGNS
            if line[change]
        ]
        sizes = f"{quantities.size(line['added_bytes'])} new, {quantities.size(line['removed_bytes'])} gone"
        return f"{', '.join(parts)}; {sizes}" if parts else "nothing differs"
    shown = f"{SIGNS[line['change']]} {clean(line['path'] or '.')}"
    if line["kind"] == "folder":
        return f"{shown}/"
    if line["change"] == "moved":
        return f"{shown}   from {clean(line['old_path'])}"
    if line["change"] == "changed" and None not in (line["size"], line["old_size"]):
        return f"{shown}   {quantities.size(line['old_size'])} -> {quantities.size(line['size'])}"
    size = line["old_size"] if line["change"] == "removed" else line["size"]
    return shown if size is None or line["change"] == "attributes" else f"{shown}   {quantities.size(size)}"
