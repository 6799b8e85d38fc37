"""``usyncctl file status`` and ``usyncctl versions``: what became of files and folders."""

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, absolute, common, more, paged, path_query
from usenetsyncd.cli.terminal import clean, note, say, show_table

# Of a folder with damage the index of every version is looked through.
HEALTH_WITHIN_S = 300.0


@click.group()
def file() -> None:
    """What became of a file."""


@file.command("status")
@click.argument("path", type=click.Path())
@common
def file_status(session: Session, path: str) -> None:
    """Whether a file is published, waits, or is not taken, and why."""
    found = session.client.get("files", **path_query(absolute(path)))
    if session.show(found):
        return
    reason = f" ({clean(found['reason'])})" if found["reason"] else ""
    say(f"{clean(found['path'])}: {clean(found['state'])}{reason}")
    parts = [f"folder {clean(found['folder'])}"]
    if found["version"]:
        parts.append(f"in version {found['version']}")
    if found["size"] is not None:
        parts.append(quantities.size(found["size"]))
    if found["segments"]:
        parts.append(
            f"{found['segments_posted']} of {quantities.plural(found['segments'], 'segment')} posted"
        )
    say("  " + ", ".join(parts))


@click.command()
@click.argument("what", metavar="FOLDER|FILE", shell_complete=completing.folders)
@paged
@common
def versions(session: Session, what: str, limit: int, after: str | None) -> None:
    """Versions of a folder, or of a file. A file is named with a slash in it: ./notes.txt"""
    if "/" not in what:
        query = {"limit": limit, "after": after, "health": "true"}
        path = ("folders", what, "versions")
        found = session.client.ask("GET", path, query=query, within_s=HEALTH_WITHIN_S)
        if not session.show(found):
            _show_folder_versions(found, what)
            more(found, f"usyncctl versions {clean(what)}")
        return
    found = session.client.get("files", "versions", limit=limit, after=after, **path_query(absolute(what)))
    if not session.show(found):
        _show_file_versions(found)
        more(found, f"usyncctl versions {clean(what)}")


def _show_folder_versions(found: Document, folder: str) -> None:
    if not found["versions"]:
        note("nothing is published yet; see: usyncctl status")
        return
    rows = [
        (
            f"v{one['version']}",
            quantities.stamp(one["published_at"]) if one["published_at"] else one["state"],
            quantities.count(one["files"]),
            quantities.size(one["bytes"]),
            "yes" if one["kept"] else "no",
            (one["health"] or "-").replace("_", " "),
        )
        for one in found["versions"]
    ]
    show_table(("VERSION", "PUBLISHED", "FILES", "SIZE", "KEPT", "HEALTH"), "<<>><<", rows)
    if any(one["health"] in ("at_risk", "damaged") for one in found["versions"]):
        note(f"What is lost, and what to do about it: usyncctl folder show {clean(folder)}")
    if any(not one["kept"] for one in found["versions"]):
        note(
            "Those not kept are not verified or repaired any more. Nothing is deleted on Usenet: they last as they last."
        )


def _show_file_versions(found: Document) -> None:
    if not found["versions"]:
        note("no published version has this file")
        return
    rows = [
        (
            f"v{one['version']}",
            quantities.stamp(one["created_at"]),
            one["kind"] if one["kind"] != "absent" else "removed",
            "-" if one["size"] is None else quantities.size(one["size"]),
            quantities.stamp(one["modified_at"]),
        )
        for one in found["versions"]
    ]
    show_table(("SINCE", "MADE", "KIND", "SIZE", "MODIFIED"), "<<<><", rows)
