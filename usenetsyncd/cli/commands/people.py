"""``usyncctl identity`` and ``usyncctl user``: who we are, and whom we share with."""

import sys
from pathlib import Path

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, common, read_secret_input
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.errors import UsageError

MAX_CARD_BYTES = 16_384


@click.group()
def identity() -> None:
    """Who you are when somebody shares with you."""


@identity.command("show")
@common
def identity_show(session: Session) -> None:
    """The fingerprint that others compare with what they have of you."""
    found = session.client.get("identity")
    if session.show(found):
        return
    say(f"words        {clean(found['words'])}")
    say(f"fingerprint  {clean(found['fingerprint'])}")


@identity.command("export")
@click.option("--name", help="Who you are, for the one who gets it (the name of this machine).")
@common
def identity_export(session: Session, name: str | None) -> None:
    """Print your card: give it to whoever shall share with you. It holds no secret, and proves that it is yours.

    Read the words to each other afterwards, on the phone or face to face: then nobody can have exchanged the card
    on its way.
    """
    found = session.client.get("identity", "card", name=name)
    if session.show(found):
        return
    say(clean(found["card"]))
    note(f"This is the card of {clean(found['name'])}; its words: {clean(found['words'])}")


@click.group()
def user() -> None:
    """People to share with."""


@user.command("add")
@click.argument("card", metavar="CARD")
@click.option("--name", help="Under this name (the one on the card).")
@common
def user_add(session: Session, card: str, name: str | None) -> None:
    """Take in somebody by a CARD: the text itself, a file with it, or - for standard input."""
    added = session.client.post("users", body={"card": _card(card), "name": name})
    if session.show(added):
        return
    say(f"{clean(added['name'])} is added")
    note(f"Compare with what 'usyncctl identity show' tells there: {clean(added['words'])}")


def _card(given: str) -> str:
    if given == "-":
        return read_secret_input()
    if given.strip().startswith("usyncuser1"):
        return given
    try:
        with Path(given).open("rb") as file:
            content = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{clean(given)} is neither a card nor a file with one: {error.strerror}") from None
    if len(content) > MAX_CARD_BYTES:
        raise UsageError(f"{clean(given)} is too long for a card")
    return content.decode("utf-8", "replace")


@user.command("list")
@common
def user_list(session: Session) -> None:
    """All of them, with the words to compare."""
    found = session.client.get("users")
    if session.show(found):
        return
    if not found["users"]:
        note("nobody yet; usyncctl user add CARD takes somebody in")
        return
    rows = [
        (one["name"], one["words"], str(one["shares"]), quantities.stamp(one["added_at"]))
        for one in found["users"]
    ]
    show_table(("USER", "WORDS", "SHARES", "ADDED"), "<<><", rows)


@user.command("remove")
@click.argument("name", shell_complete=completing.users)
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def user_remove(session: Session, name: str, yes: bool) -> None:
    """Take somebody out of every share, and forget the card."""
    confirm_taking(session, yes, f"Take {clean(name)} out of every share?")
    removed = session.client.ask("DELETE", ("users", name))
    if session.show(removed):
        return
    shares = ", ".join(clean(share) for share in removed["shares"])
    say(f"{clean(removed['name'])} is removed" + (f", and taken out of {shares}" if shares else ""))
    show_pending(removed)


def confirm_taking(session: Session, yes: bool, question: str) -> None:
    """Say what cannot be recalled before it is done, and ask where somebody can answer."""
    if session.json:
        return
    note(
        "What was published until now stays readable to whoever could read it: it is on Usenet, and nothing there "
        "can be called back. What is published from now on is out of reach."
    )
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def show_pending(taken: Document) -> None:
    """Say why something that was taken back is not out of reach yet."""
    if taken["pending"]:
        note(f"! not yet: {clean(taken['pending'])}")
