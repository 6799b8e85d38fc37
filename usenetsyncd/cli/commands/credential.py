"""``usyncctl credential``: passwords, encrypted at rest. Without a daemon they go into the vault directly."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from usenetsyncd.cli import completing
from usenetsyncd.cli.frame import Document, Session, common, read_secret_input
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.errors import DaemonUnreachable, UsageError

if TYPE_CHECKING:
    from usenetsyncd.vault.credentials import CredentialStore

_NAME = click.argument("name", shell_complete=completing.credentials)


@click.group()
def credential() -> None:
    """Passwords, encrypted at rest."""


@credential.command("set")
@_NAME
@common
def credential_set(session: Session, name: str) -> None:
    """Store a value under NAME; ${credential:NAME} in the configuration stands for it.

    The value is read from standard input, or typed.
    """
    value = _asked(name) if sys.stdin.isatty() else read_secret_input()
    if not value:
        raise UsageError("the value is empty")
    try:
        session.client.ask("PUT", ("credentials", name), {"value": value})
    except DaemonUnreachable:
        _store().set(name, value)
        note("usenetsyncd isn't running; the value went into its vault directly")
    if not session.show({"name": name, "done": True}):
        say(f"{clean(name)} is set")


def _asked(name: str) -> str:
    from getpass import getpass

    value = getpass(f"Value of {clean(name)}: ")
    if getpass("Again: ") != value:
        raise UsageError("the two are not the same")
    return value


@credential.command("list")
@common
def credential_list(session: Session) -> None:
    """Names, never values."""
    try:
        found = session.client.get("credentials")
    except DaemonUnreachable:
        kept: list[Document] = [{"name": one.name, "source": one.source} for one in _store().list()]
        found = {"credentials": kept, "missing": []}
        note("usenetsyncd isn't running; this is what its vault holds")
    if session.show(found):
        return
    if found["credentials"]:
        rows = [(one["name"], one["source"]) for one in found["credentials"]]
        show_table(("CREDENTIAL", "FROM"), "<<", rows)
    else:
        note("none")
    for name in found["missing"]:
        note(f"! the configuration wants '{clean(name)}': usyncctl credential set {clean(name)}")


@credential.command("remove")
@_NAME
@common
def credential_remove(session: Session, name: str) -> None:
    """Forget a value."""
    try:
        session.client.ask("DELETE", ("credentials", name))
    except DaemonUnreachable:
        _store().remove(name)
        note("usenetsyncd isn't running; the value was taken out of its vault directly")
    if not session.show({"name": name, "done": True}):
        say(f"{clean(name)} is removed")


def _store() -> "CredentialStore":
    """The store of the daemon that would run here with the configuration as it is."""
    # cryptography and pydantic take their time, and with a daemon nobody needs them
    from usenetsyncd.settings.layers import load_settings
    from usenetsyncd.vault.vault import Vault

    loaded = load_settings()
    for file in loaded.left_out:
        note(f"! {file} may not be read by you: this is the vault of your own daemon, not of the system's")
    return Vault.open(Path(loaded.settings.storage.data_dir)).credentials
