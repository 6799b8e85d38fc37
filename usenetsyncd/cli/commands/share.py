"""``usyncctl share``: give folders to somebody."""

import datetime as dt

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Session, common, more, paged, seconds
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.errors import UsageError


@click.group()
def share() -> None:
    """Give folders to somebody."""


@share.command("create")
@click.argument("folder", shell_complete=completing.folders)
@click.option("--access", type=click.Choice(["public"]), default="public", show_default=True)
@click.option("--expires", metavar="30d|DATE", help="The string opens nothing newer from then on.")
@common
def share_create(session: Session, folder: str, access: str, expires: str | None) -> None:
    """Make an access string: whoever has it can restore the folder."""
    body = {
        "folder": folder,
        "access": access,
        "expires_in_s": None if expires is None else _expiry_s(expires),
    }
    found = session.client.post("shares", body=body)
    if session.show(found):
        return
    say(clean(found["string"]))
    note(f"Whoever has this string can read {clean(folder)}. Restore with: usyncctl restore - --to DIR")


def _expiry_s(text: str) -> float:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return seconds(text)
    end = dt.datetime.combine(day, dt.time.min).astimezone()
    left = (end - dt.datetime.now().astimezone()).total_seconds()
    if left <= 0:
        raise UsageError(f"{text} is over")
    return left


@share.command("list")
@click.option("--folder", shell_complete=completing.folders, help="Only of this folder.")
@paged
@common
def share_list(session: Session, folder: str | None, limit: int, after: str | None) -> None:
    """Shares, without their strings."""
    found = session.client.get("shares", folder=folder, limit=limit, after=after)
    if session.show(found):
        return
    if not found["shares"]:
        note("nothing is shared; usyncctl share create FOLDER makes an access string")
        return
    rows = [
        (
            one["share_id"],
            one["folder"],
            one["access"],
            one["state"],
            quantities.stamp(one["created_at"]),
            quantities.stamp(one["expires_at"]) if one["expires_at"] else "never",
        )
        for one in found["shares"]
    ]
    show_table(("SHARE", "FOLDER", "ACCESS", "STATE", "MADE", "EXPIRES"), "<<<<<<", rows)
    more(found, "usyncctl share list")


@share.command("show")
@click.argument("share_id", metavar="SHARE", shell_complete=completing.shares)
@common
def share_show(session: Session, share_id: str) -> None:
    """One share with its string."""
    found = session.client.get("shares", share_id)
    if session.show(found):
        return
    say(clean(found["string"]))
    note(f"{clean(found['folder'])}, {clean(found['access'])}, {clean(found['state'])}")
