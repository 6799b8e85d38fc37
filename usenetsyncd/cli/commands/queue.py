"""``usyncctl queue``: articles that wait to be posted."""

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, common, more, paged
from usenetsyncd.cli.terminal import clean, note, say, show_table
from usenetsyncd.errors import UsageError

STATES = ("queued", "waiting", "sending", "asking", "doubtful", "failed", "abandoned", "posted")
PRIORITIES = ("critical", "high", "normal", "low", "background")


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice(STATES), help="Articles in this state (queued).")
@click.option("--folder", shell_complete=completing.folders, help="Only of this folder.")
@paged
@common
@click.pass_context
def queue(
    context: click.Context,
    session: Session,
    state: str | None,
    folder: str | None,
    limit: int,
    after: str | None,
) -> None:
    """Articles that wait to be posted, in the order in which they go."""
    if context.invoked_subcommand is not None:
        return
    found = session.client.get("queue", state=state, folder=folder, limit=limit, after=after)
    if session.show(found):
        return
    _show_articles(found["articles"])
    counts = [
        f"{quantities.count(number)} {clean(name)}" for name, number in found["counts"].items() if number
    ]
    note(", ".join(counts) or "the queue is empty")
    more(found, "usyncctl queue" + (f" --state {state}" if state else ""))


def _show_articles(articles: list[Document]) -> None:
    if not articles:
        return
    rows = [
        (
            one["id"],
            one["folder"],
            one["kind"],
            one["state"],
            one["priority"],
            quantities.size(one["bytes"]),
            one["attempts"],
            one["server"] or "-",
            one["reason"] or "",
        )
        for one in articles
    ]
    headings = ("ARTICLE", "FOLDER", "KIND", "STATE", "PRIORITY", "SIZE", "TRIES", "SERVER", "WHY")
    show_table(headings, "<<<<<>><<", rows)


_IDS = click.argument("articles", nargs=-1, metavar="[ARTICLE]...")
_FOLDER = click.option("--folder", shell_complete=completing.folders, help="All of this folder.")
_ALL = click.option("--all", "everything", is_flag=True, help="All of all folders.")


@queue.command("retry")
@_IDS
@_FOLDER
@common
def queue_retry(session: Session, articles: tuple[str, ...], folder: str | None) -> None:
    """Failed articles back into the queue: these, those of a folder, or all."""
    found = session.client.post("queue", "retry", body=_selection(articles, folder, True))
    _tell(session, found, "back in the queue")


@queue.command("cancel")
@_IDS
@_FOLDER
@_ALL
@common
def queue_cancel(session: Session, articles: tuple[str, ...], folder: str | None, everything: bool) -> None:
    """Do not post these articles; `queue retry` puts them back."""
    found = session.client.post("queue", "cancel", body=_selection(articles, folder, everything))
    _tell(session, found, "cancelled")


@queue.command("move")
@click.argument("priority", type=click.Choice(PRIORITIES))
@_IDS
@_FOLDER
@_ALL
@common
def queue_move(
    session: Session, priority: str, articles: tuple[str, ...], folder: str | None, everything: bool
) -> None:
    """Give articles another priority."""
    body = _selection(articles, folder, everything) | {"priority": priority}
    _tell(session, session.client.post("queue", "move", body=body), f"moved to {priority}")


def _selection(articles: tuple[str, ...], folder: str | None, everything: bool) -> Document:
    if not articles and folder is None and not everything:
        raise UsageError("name articles (see: usyncctl queue), --folder FOLDER, or --all")
    return {"articles": list(articles), "folder": folder}


def _tell(session: Session, found: Document, done: str) -> None:
    if not session.show(found):
        say(f"{quantities.plural(found['count'], 'article')} {done}")
