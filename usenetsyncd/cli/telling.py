"""Jobs told to a person: how far one is, and how it ended, for each kind of job."""

from collections.abc import Callable

from usenetsyncd.cli import quantities
from usenetsyncd.cli.frame import Document
from usenetsyncd.cli.terminal import clean, note, say, show_table, style

FAILURES_SHOWN = 20
FILES_SHOWN = 20
FOLDERS_SHOWN = 20


def progress_text(progress: Document) -> str:
    """``fetching: 12 of 50 files, 1.2 MB of 5.0 MB``, ``docs: asking: 12 of 50 articles, 1 missing``, as far as known."""
    phase = clean(progress.get("phase") or progress.get("state") or "")
    if "files_total" in progress:
        files = (
            f"{quantities.count(progress['files'])} of {quantities.plural(progress['files_total'], 'file')}"
        )
        sizes = f"{quantities.size(progress['bytes'])} of {quantities.size(progress['bytes_total'])}"
        failed = f", {progress['failed']} failed" if progress.get("failed") else ""
        return f"{phase}: {files}, {sizes}{failed}"
    if progress.get("folder"):
        phase = f"{clean(progress['folder'])}: {phase}"
    if progress.get("total"):
        phase += (
            f": {quantities.count(progress['done'])} of {quantities.plural(progress['total'], 'article')}"
        )
    return phase + _counts(progress, ("missing", "corrupt", "unknown", "unrepairable"))


def outcome_text(kind: str, result: Document) -> str:
    """The result of a job in one line."""
    if kind == "verify":
        checked = quantities.plural(result["checked"], "article")
        found = _counts(result, ("missing", "corrupt", "unknown", "unrepairable"))
        return f"{checked} asked for{found or ', all there'}"
    if kind == "repair":
        return _repaired(result)
    if "files" not in result:
        return ""
    failed = f", {result['failed']} failed" if result.get("failed") else ""
    return f"{quantities.plural(result['files'], 'file')}, {quantities.size(result['bytes'])}{failed}"


def show_summary(summary: Document) -> None:
    """How a job ended: what it found on stdout, what is to be done about it on stderr."""
    if summary["state"] != "done":
        note(f"job {summary['job']}: {clean(summary['message'])}")
        return
    _SHOWN.get(summary["kind"], _show_restore)(summary)


def _show_restore(summary: Document) -> None:
    _show_failures(summary, "path", summary["failed"])
    for warning in summary.get("warnings", []):
        note(f"! {clean(warning)}")
    told = f"{quantities.plural(summary['files'], 'file')}, {quantities.size(summary['bytes'])}"
    if "version" in summary:
        told = f"version {summary['version']}: {told}"
    say(f"{told} done" + (f", {summary['failed']} failed" if summary["failed"] else ""))


def _show_verify(summary: Document) -> None:
    servers = summary.get("servers", [])
    if servers:
        rows = [
            (
                one["server"],
                *(quantities.count(one[name]) for name in ("checked", "missing", "corrupt", "unknown")),
            )
            for one in servers
        ]
        show_table(("SERVER", "CHECKED", "MISSING", "CORRUPT", "UNKNOWN"), "<>>>>", rows)
    folders = summary.get("folders", [])
    wrong = [one for one in folders if one["health"] not in ("restorable", "unknown") or _found(one)]
    for one in folders if len(folders) <= FOLDERS_SHOWN else wrong:
        _show_checked(one)
    if not folders:
        say("nothing is posted yet")
    for action in dict.fromkeys(one["action"] for one in wrong if one["action"]):
        note(f"next: {clean(action)}")
    if summary["unknown"]:
        note(
            "What is unknown could not be asked for: usyncctl server list tells why. It is not counted as missing."
        )


def _show_checked(one: Document) -> None:
    colour = {"restorable": "green", "at_risk": "yellow", "damaged": "red"}.get(one["health"], "dim")
    word = style(clean(one["health"]).replace("_", " "), colour)
    say(f"{clean(one['folder'])}: {word}" + (f"; {clean(one['statement'])}" if one["statement"] else ""))
    for reason in one["reasons"]:
        say(f"  {clean(reason)}")
    for path in one["files"][:FILES_SHOWN]:
        say(f"  cannot be restored: {clean(path)}")
    if len(one["files"]) > FILES_SHOWN:
        say(f"  and more: usyncctl folder show {clean(one['folder'])}")


def _show_repair(summary: Document) -> None:
    _show_failures(summary, "what", summary["unrepairable"])
    say(_repaired(summary))
    if summary["waiting"]:
        waiting = quantities.plural(summary["waiting"], "article")
        note(f"{waiting} not seen on every server yet: usyncctl status tells why; the next check asks again")


def _repaired(result: Document) -> str:
    if not result["reposted"] and not result["unrepairable"]:
        return "nothing to repair; usyncctl verify looks whether everything is still there"
    verb = "would be posted again" if result.get("dry_run") else "posted again"
    told = f"{quantities.plural(result['reposted'], 'article')} {verb}"
    sources = [
        f"{quantities.count(result[name])} {where}"
        for name, where in (
            ("from_source", "from source files"),
            ("from_copy", "from other copies and servers"),
            ("rebuilt", "rebuilt from parity"),
        )
        if result.get(name)
    ]
    if sources:
        told += f" ({', '.join(sources)})"
    return told + _counts(result, ("unrepairable",))


def _show_failures(summary: Document, subject: str, total: int) -> None:
    failures = summary.get("failures", [])
    for failure in failures[:FAILURES_SHOWN]:
        note(f"! {clean(failure[subject])}: {clean(failure['reason'])}")
    hidden = total - sum(failure.get("articles", 1) for failure in failures[:FAILURES_SHOWN])
    if hidden > 0:
        note(f"! and {hidden} more: usyncctl job show {summary['job']} --json")


def _found(one: Document) -> int:
    return int(one["missing"]) + int(one["corrupt"]) + int(one["unknown"])


def _counts(found: Document, names: tuple[str, ...]) -> str:
    return "".join(f", {quantities.count(found[name])} {name}" for name in names if found.get(name))


_SHOWN: dict[str, Callable[[Document], None]] = {"verify": _show_verify, "repair": _show_repair}
