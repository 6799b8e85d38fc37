"""``usyncctl share``: give folders to somebody."""

import datetime as dt
import sys

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.commands.people import confirm_taking, show_pending
from usenetsyncd.cli.frame import Session, common, more, paged, passphrase_file, read_passphrase, seconds
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.errors import UsageError


@click.group()
def share() -> None:
    """Give folders to somebody."""


@share.command("create")
@click.argument("folder", shell_complete=completing.folders)
@click.option(
    "--access",
    type=click.Choice(["public", "private", "protected"]),
    default="public",
    show_default=True,
    help="For whoever has the string; for listed users; or for whoever knows a passphrase as well.",
)
@click.option(
    "--to", "users", metavar="USER", multiple=True, help="Whom a private share is for (repeatable)."
)
@click.option("--expires", metavar="30d|DATE", help="The string opens nothing newer from then on.")
@passphrase_file
@common
def share_create(
    session: Session,
    folder: str,
    access: str,
    users: tuple[str, ...],
    expires: str | None,
    passphrase_path: str | None,
) -> None:
    """Make an access string, with which others can restore the folder.

    The passphrase of a protected share is read from --passphrase-file, or typed; without either, six random words
    are drawn and shown once.
    """
    passphrase = None if passphrase_path is None else read_passphrase(passphrase_path)
    if passphrase is None and access == "protected" and sys.stdin.isatty():
        passphrase = _asked()
    body = {
        "folder": folder,
        "access": access,
        "to": list(users),
        "passphrase": passphrase,
        "expires_in_s": None if expires is None else _expiry_s(expires),
    }
    found = session.client.post("shares", body=body)
    if session.show(found):
        return
    say(clean(found["string"]))
    if found["passphrase"]:
        say(clean(found["passphrase"]))
        note(
            "The second line is the passphrase. It is shown this once: hand it on by another way than the string."
        )
    whoever = {
        "public": "Whoever has this string",
        "protected": "Whoever has this string and the passphrase",
        "private": ", ".join(clean(user) for user in users) + " and nobody else",
    }[access]
    note(f"{whoever} can read {clean(folder)}. Restore with: usyncctl restore - --to DIR")


def _asked() -> str | None:
    from getpass import getpass

    value = getpass("Passphrase (empty: six random words): ")
    if not value:
        return None
    if getpass("Again: ") != value:
        raise UsageError("the two are not the same")
    return value


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


@share.command("revoke")
@click.argument("share_id", metavar="SHARE", shell_complete=completing.shares)
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def share_revoke(session: Session, share_id: str, yes: bool) -> None:
    """Take a share back: its string opens nothing that is published from now on."""
    confirm_taking(session, yes, f"Revoke share {clean(share_id)}?")
    found = session.client.post("shares", share_id, "revoke")
    if not session.show(found):
        say(f"{clean(share_id)} is revoked")
        show_pending(found)


@share.command("members")
@click.argument("share_id", metavar="SHARE", shell_complete=completing.shares)
@click.option(
    "--add",
    "add",
    metavar="USER",
    multiple=True,
    shell_complete=completing.users,
    help="Let somebody in (repeatable).",
)
@click.option(
    "--remove",
    "remove",
    metavar="USER",
    multiple=True,
    shell_complete=completing.users,
    help="Take somebody out (repeatable).",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def share_members(
    session: Session, share_id: str, add: tuple[str, ...], remove: tuple[str, ...], yes: bool
) -> None:
    """Whom a private share is for; --add and --remove change it."""
    if add:
        session.client.post("shares", share_id, "members", body={"add": list(add)})
    if remove:
        confirm_taking(session, yes, f"Take {', '.join(clean(user) for user in remove)} out?")
    for user in remove:
        taken = session.client.ask("DELETE", ("shares", share_id, "members", user))
        if not session.json:
            show_pending(taken)
    found = session.client.get("shares", share_id, "members")
    if session.show(found):
        return
    if not found["members"]:
        note("nobody")
        return
    rows = [(one["name"], one["words"]) for one in found["members"]]
    show_table(("USER", "WORDS"), "<<", rows)
