"""Names for the shell's completion. Nothing is said when the daemon does not answer."""

import click
from click.shell_completion import CompletionItem

from usenetsyncd.cli.frame import Session
from usenetsyncd.errors import UsenetSyncError


def _names(context: click.Context, beginning: str, what: str, key: str) -> list[CompletionItem]:
    session = context.find_object(Session) or Session()
    try:
        found = session.client.get(what)[what]
    except UsenetSyncError:
        return []
    return [CompletionItem(one[key]) for one in found if str(one[key]).startswith(beginning)]


def folders(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Folders of the daemon."""
    return _names(context, beginning, "folders", "id")


def servers(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
    """News servers."""
    return _names(context, beginning, "servers", "name")


def credentials(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Credentials."""
    return _names(context, beginning, "credentials", "name")


def jobs(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
    """The newest jobs."""
    return _names(context, beginning, "jobs", "id")


def shares(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Shares."""
    return _names(context, beginning, "shares", "share_id")


def users(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
    """People to share with."""
    return _names(context, beginning, "users", "name")
