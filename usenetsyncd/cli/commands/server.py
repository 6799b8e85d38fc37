"""``usyncctl server``: news servers."""

import click

from usenetsyncd.cli import completing, quantities
from usenetsyncd.cli.frame import Document, Session, common
from usenetsyncd.cli.terminal import clean, note, say, show_table, style
from usenetsyncd.errors import ExitCode, UsageError

TEST_WITHIN_S = 300.0
# What a server does with message-ids, as a column has it.
ID_POLICIES = {"unknown": "-", "keeps": "kept", "rewrites": "rewritten", "swallows": "swallowed"}


@click.group()
def server() -> None:
    """News servers."""


@server.command("list")
@common
def server_list(session: Session) -> None:
    """All configured servers, and what they do now."""
    found = session.client.get("servers")
    if session.show(found):
        return
    if not found["servers"]:
        note("no news server is configured; see `servers:` in: usyncctl config generate")
        return
    rows = [
        (
            one["name"],
            f"{one['host']}:{one['port']}" if one["host"] else "-",
            one["tls"],
            ",".join(one["roles"]),
            one["state"],
            f"{one['connections']}/{one['connections_max']}",
            quantities.size(one["bytes_up"]),
            quantities.size(one["bytes_down"]),
            ID_POLICIES.get(one["id_policy"], one["id_policy"]),
            quantities.size(one["article_bytes"]) if one["article_bytes"] else "-",
            one["reason"],
        )
        for one in found["servers"]
    ]
    headings = ("SERVER", "ADDRESS", "TLS", "ROLES", "STATE", "OPEN", "UP", "DOWN", "IDS", "LARGEST", "WHY")
    show_table(headings, "<<<<<>>><><", rows)


@server.command("test")
@click.argument("name", required=False, shell_complete=completing.servers)
@click.option("--post", is_flag=True, help="Also post one article, of no content, to see what becomes of it.")
@common
def server_test(session: Session, name: str | None, post: bool) -> int:
    """Connect, log in, ask what a server can: one server, or all.

    With --post one article goes to the first of the configured newsgroups: it shows which size the server takes and
    what it does with message-ids. It waits up to a quarter minute for the article to appear.
    """
    if post and name is None:
        raise UsageError("--post needs the NAME of the server that the article goes to")
    names = [name] if name else [str(one["name"]) for one in session.client.get("servers")["servers"]]
    if not names:
        note("no news server is configured; see `servers:` in: usyncctl config generate")
        return ExitCode.NOT_FOUND
    failed = 0
    for one in names:
        report = session.client.ask("POST", ("servers", one, "test"), {"post": post}, within_s=TEST_WITHIN_S)
        failed += not report["ok"]
        if not session.show(report):
            _show_report(report)
    return ExitCode.FAILED if failed else ExitCode.DONE


def _show_report(report: Document) -> None:
    verdict = style("works", "green") if report["ok"] else style("does not work", "red")
    say(f"{clean(report['name'])}: {verdict}")
    if report["group"]:
        say(f"  the test article is for {clean(report['group'])}")
    for line in report["lines"]:
        say(f"  {clean(line)}")
    if report["problem"] and report["problem"] not in report["lines"]:
        say(f"  {clean(report['problem'])}")
