"""``usyncctl status``: everything at a glance."""

import time

import click

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Document, Session, common
from usenetsyncd.cli.terminal import clean, flush, interactive, say, style, table, width
from usenetsyncd.errors import ExitCode

WATCH_EVERY_S = 1.0
LOG_EVERY_S = 30.0
LEAST_WIDTH = 70
HEADINGS = ("FOLDER", "STATE", "DONE", "FILES", "SIZE", "RESTORABLE", "VERIFIED")
ALIGNMENT = "<<>>><<"
_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.option("--watch", is_flag=True, help="Show it again and again.")
@common
def status(session: Session, watch: bool) -> int:
    """Everything at a glance."""
    if not watch:
        found = session.client.get("status")
        if not session.show(found):
            say("\n".join(render(found)))
        return ExitCode.DONE
    every_s = WATCH_EVERY_S if session.json or interactive() else LOG_EVERY_S
    while True:
        found = session.client.get("status")
        if not session.show(found):
            say((_CLEAR if interactive() else "") + "\n".join(render(found)))
        flush()
        time.sleep(every_s)


def render(found: Document) -> list[str]:
    """The lines for a person."""
    folders = _folder_lines(found)
    warnings = found["warnings"]
    columns = max([LEAST_WIDTH, *(width(line) for line in folders)])
    if len(folders) > 1:
        folders[0] = style(folders[0], "bold")
    head = f"UsenetSync {clean(found['version'])} on {clean(found['name'])}, {_state(found)}"
    told = quantities.plural(len(warnings), "warning") if warnings else "no warnings"
    lines = [f"{head}{told:>{max(len(told) + 2, columns - width(head))}}"]
    if promise := _promise(found):
        lines.append(promise)
    lines += ["", *folders, ""]
    lines += _followed(found.get("follows", []))
    lines.append(_traffic(found))
    lines += _waiting(found)
    lines += _warnings(warnings)
    if found["restart_needed"]:
        keys = ", ".join(clean(key) for key in found["restart_needed"])
        lines.append(f"! a restart is needed for {keys}   sudo systemctl restart usenetsyncd")
    return lines


def _state(found: Document) -> str:
    since = f"running {quantities.duration(found['uptime_s'])}"
    if found["state"] == "running":
        return since
    return f"{found['state']} ({clean(found['reason'])})" if found["reason"] else f"{found['state']}, {since}"


def _promise(found: Document) -> str:
    parts = []
    if found["restorable_at"] is not None:
        moment = found["restorable_at"]
        parts.append(f"Restorable up to {quantities.clock(moment)} ({quantities.ago(moment)})")
    elif damaged := [clean(one["id"]) for one in found["folders"] if one["health"] == "damaged"]:
        parts.append(f"Not everything is restorable: {', '.join(damaged)}")
    elif found["folders"]:
        parts.append("Not everything is restorable yet")
    if found["next_check_at"] is not None:
        parts.append(f"sample check {quantities.until(found['next_check_at'])}")
    return ", ".join(parts)


def _folder_lines(found: Document) -> list[str]:
    if not found["folders"]:
        return ["No folders yet. Add one: usyncctl folder add ID PATH"]
    lines = table(HEADINGS, ALIGNMENT, [folder_cells(folder) for folder in found["folders"]])
    hidden = found["folders_total"] - len(found["folders"])
    if hidden > 0:
        lines.append(f"and {quantities.count(hidden)} more: usyncctl folder list")
    return lines


def folder_cells(folder: Document) -> tuple[str, ...]:
    """One folder as a row of the table."""
    return (
        folder["id"],
        folder["state"].replace("_", " "),
        _done(folder),
        quantities.count(folder["files"]),
        quantities.size(folder["bytes"]),
        _restorable(folder),
        _verified(folder),
    )


def _done(folder: Document) -> str:
    if folder["state"] in ("held", "error"):
        return "-"
    if folder["pending_files"] == 0 and folder["pending_bytes"] == 0:
        return "100%" if folder["version"] or folder["state"] == "up_to_date" else "-"
    if not folder["bytes"]:
        return "-"
    # what is left to post may be of older content too: never below 0
    done = 1 - min(1.0, folder["pending_bytes"] / folder["bytes"])
    return quantities.percent(min(done, 0.99))


def _restorable(folder: Document) -> str:
    if not folder["version"]:
        return "not yet"
    version = f"v{folder['version']}"
    if folder["health"] == "damaged":
        return f"{version:<4} damaged"
    return f"{version:<4} {quantities.clock(folder['restorable_at'])}"


def _verified(folder: Document) -> str:
    if folder["verified_at"] is None:
        return "never" if folder["version"] else "-"
    fraction = folder["verified_fraction"]
    share = "" if fraction is None else f"{quantities.percent(fraction):>4}  "
    return f"{share}{quantities.ago(folder['verified_at'])}"


def _traffic(found: Document) -> str:
    transfer = found["transfer"]
    up = f"up {quantities.rate(transfer['up_bytes_per_s'])}"
    if transfer["up_limit_bytes_per_s"]:
        up += f" (limit {quantities.limit(transfer['up_limit_bytes_per_s'])})"
    parts = [up]
    if transfer["down_bytes_per_s"]:
        parts.append(f"down {quantities.rate(transfer['down_bytes_per_s'])}")
    if transfer["left_bytes"]:
        parts.append(f"{quantities.size(transfer['left_bytes'])} left")
        eta = transfer["eta_s"]
        parts.append("ETA unknown" if eta is None else f"ETA {quantities.duration(eta)}")
    else:
        parts.append("nothing left to post")
    servers = [_server(server) for server in found["servers"]]
    return "   ".join([*parts, "  ".join(servers) or "no news server: usyncctl config show"])


def _server(server: Document) -> str:
    shown = f"{clean(server['name'])} {server['connections']}/{server['connections_max']}"
    return shown if server["state"] in ("up", "idle") else f"{shown} {clean(server['state'])}"


def _followed(follows: list[Document]) -> list[str]:
    """Copies of what others share; nothing where there are none."""
    if not follows:
        return []
    rows = [
        (
            one["target"],
            "up to date" if one["state"] == "up_to_date" else one["state"],
            f"v{one['version']}" if one["version"] else "-",
            quantities.count(one["files"]),
            quantities.size(one["bytes"]),
        )
        for one in follows
    ]
    return [*table(("FOLLOWED", "STATE", "VERSION", "FILES", "SIZE"), "<<<>>", rows), ""]


def _waiting(found: Document) -> list[str]:
    """Why things that are not done do not go on; what a warning says already is not said twice."""
    warned = " ".join(warning["message"] for warning in found["warnings"])
    lines = []
    for thing in [*found["folders"], *found["servers"]]:
        reason = thing["reason"]
        if reason and reason not in warned:
            lines.append(f"- {clean(thing.get('id') or thing.get('name'))}: {clean(reason)}")
    return lines


def _warnings(warnings: list[Document]) -> list[str]:
    messages = [f"! {clean(warning['message'])}" for warning in warnings]
    longest = min(max((width(message) for message in messages), default=0), LEAST_WIDTH - 10)
    lines = []
    for message, warning in zip(messages, warnings, strict=True):
        colour = "red" if warning.get("level") == "error" else "yellow"
        gap = " " * max(3, longest + 3 - width(message))
        lines.append(f"{style(message, colour)}{gap}{clean(warning['action'])}")
    return lines
