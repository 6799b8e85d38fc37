"""``usyncctl logs`` and ``usyncctl events``: what happened, and what happens."""

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Document, Session, common, print_lines
from usenetsyncd.cli.terminal import clean, style

LEVELS = ("debug", "info", "warning", "error", "critical")
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--component", help="Only of this component: news, index, control, ...")
@click.option("--level", type=click.Choice(LEVELS), help="This level and worse.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Lines at most.")
@common
def logs(session: Session, follow: bool, component: str | None, level: str | None, limit: int) -> None:
    """The daemon's log, newest last."""
    query: Document = {"component": component, "level": level, "limit": limit, "follow": int(follow)}
    print_lines(session.client.stream("GET", ("logs",), **query), _log_line, session)


@click.command()
@click.option("--since", type=click.IntRange(0), metavar="ID", help="Those after this one; else the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Lines at most.")
@common
def events(session: Session, since: int | None, follow: bool, limit: int) -> None:
    """What happened: versions published, servers in trouble, jobs that ended. Newest last."""
    query: Document = {"since": since, "limit": limit, "follow": int(follow)}
    print_lines(session.client.stream("GET", ("events",), **query), _event_line, session)


def _log_line(line: Document) -> str:
    fields = " ".join(f"{clean(name)}={clean(value)}" for name, value in line["fields"].items())
    text = f"{quantities.stamp(line['at'])} {line['level']:<7} {clean(line['component'])}: {clean(line['event'])} {fields}"
    if line["traceback"]:
        text += "".join(f"\n    {clean(part)}" for part in line["traceback"].splitlines())
    return _painted(text.rstrip(), line["level"])


def _event_line(line: Document) -> str:
    return _painted(
        f"{line['id']:>6}  {quantities.stamp(line['at'])}  {clean(line['message'])}", line["level"]
    )


def _painted(text: str, level: str) -> str:
    return style(text, _COLOURS[level]) if level in _COLOURS else text
