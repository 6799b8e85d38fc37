"""``usyncctl doctor``: everything that can be wrong around the daemon, looked at one after the other."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.folders import inotify
from usenetsyncd.model import ServerRole

LEAST_FREE_SHARE = 0.02
LEAST_OPEN_FILES = 1_024
# Far from the beginning and the end of certificates and heads: a clock this wrong was never set.
PLAUSIBLE_FROM_S = 1_750_000_000.0


class Grade(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and the command or setting that mends it."""

    check: str
    grade: Grade
    message: str
    action: str = ""


def diagnose(daemon: Daemon) -> Iterator[Finding]:
    """All checks; servers are asked, nothing is posted. Takes seconds. Raises nothing that a check can meet."""
    checks: tuple[Callable[[Daemon], Iterator[Finding]], ...] = (
        _configuration, _servers, _folders, _watches, _disk, _open_files, _clock, _catalogue, _backups, _kit, _parts,
    )  # fmt: skip
    for check in checks:
        try:
            yield from check(daemon)
        except (UsenetSyncError, OSError) as error:
            yield Finding(check.__name__[1:], Grade.WARNING, f"could not be looked at: {error}")


def _configuration(daemon: Daemon) -> Iterator[Finding]:
    files = ", ".join(str(file) for file in daemon.loaded.files) or "no file: defaults only"
    yield Finding("configuration", Grade.OK, files)
    for problem in daemon.account_problems:
        yield Finding("configuration", Grade.ERROR, problem, "usyncctl credential set NAME")
    if not daemon.settings.newsgroups:
        yield Finding("configuration", Grade.ERROR, "no newsgroups to post to", "set 'newsgroups'")
    if daemon.restart_needed:
        waiting = ", ".join(daemon.restart_needed)
        yield Finding("configuration", Grade.WARNING, f"waits for a restart: {waiting}", "usyncctl stop")


def _servers(daemon: Daemon) -> Iterator[Finding]:
    settings = daemon.settings.servers
    for role, verb in ((ServerRole.POST, "post to"), (ServerRole.READ, "read from")):
        if not any(role in server.roles for server in settings):
            yield Finding("servers", Grade.ERROR, f"no server to {verb}", "set 'servers'")
    for server in settings:
        if server.name in {state.name for state in daemon.news.snapshot()}:
            yield _server(daemon, server.name, ServerRole.POST in server.roles)


def _server(daemon: Daemon, name: str, posts: bool) -> Finding:
    report = daemon.news.test(name)
    action = f"usyncctl server test {name}"
    if not report.ok:
        return Finding("servers", Grade.ERROR, f"{name}: {report.problem}", action)
    if posts and report.posting is False:
        return Finding("servers", Grade.ERROR, f"{name}: this account may not post", action)
    took = "" if report.round_trip_s is None else f", {report.round_trip_s * 1000:.0f} ms"
    return Finding("servers", Grade.OK, f"{name}: answers{took}; {'may post' if posts else 'for reading'}")


def _folders(daemon: Daemon) -> Iterator[Finding]:
    if not list(daemon.folders):
        yield Finding("folders", Grade.WARNING, "no folder yet", "usyncctl folder add ID PATH")
    for folder in daemon.folders:
        row = daemon.catalogue.folders.by_id(folder.row)
        if row.held:
            action = f"usyncctl folder review {folder.name}"
            yield Finding("folders", Grade.ERROR, f"{folder.name}: held: {row.reason}", action)
            continue
        try:
            os.scandir(folder.root).close()
        except OSError as error:
            yield Finding(
                "folders", Grade.ERROR, f"{folder.name}: {error.strerror}", "check its path and permissions"
            )
        else:
            yield Finding("folders", Grade.OK, f"{folder.name}: {row.files:,} files")


def _watches(daemon: Daemon) -> Iterator[Finding]:
    if not inotify.AVAILABLE:
        return
    directories = sum(daemon.catalogue.folders.by_id(folder.row).directories + 1 for folder in daemon.folders)
    path = Path("/proc/sys") / inotify.WATCHES_SYSCTL.replace(".", "/")
    allowed = int(path.read_text())
    if directories > allowed:
        action = f"sysctl {inotify.WATCHES_SYSCTL}={2 * directories}"
        message = f"{directories:,} directories, but only {allowed:,} watches for this user"
        yield Finding("watches", Grade.WARNING, message, action)
    else:
        yield Finding("watches", Grade.OK, f"{directories:,} of {allowed:,} inotify watches")


def _disk(daemon: Daemon) -> Iterator[Finding]:
    usage = shutil.disk_usage(daemon.data_dir)
    free = f"{_size(usage.free)} free in {daemon.data_dir}"
    least = max(daemon.settings.storage.min_free, 1)
    if usage.free < least:
        yield Finding("disk", Grade.ERROR, f"{free}, less than storage.min_free", "free some space")
    elif usage.free < usage.total * LEAST_FREE_SHARE:
        yield Finding("disk", Grade.WARNING, f"{free}, little of {_size(usage.total)}", "free some space")
    else:
        yield Finding("disk", Grade.OK, free)


def _open_files(daemon: Daemon) -> Iterator[Finding]:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LEAST_OPEN_FILES + sum(server.connections for server in daemon.settings.servers)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        yield Finding(
            "open files",
            Grade.WARNING,
            f"at most {soft:,}; {wanted:,} are better",
            "LimitNOFILE= in the unit",
        )
    else:
        yield Finding("open files", Grade.OK, f"{threading.active_count()} threads, {soft:,} files allowed")


def _clock(daemon: Daemon) -> Iterator[Finding]:
    now = daemon.clock.now()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    newest = max(
        (daemon.catalogue.folders.by_id(one.row).published_at or 0.0 for one in daemon.folders), default=0.0
    )
    if now < PLAUSIBLE_FROM_S or now < newest - 60:
        yield Finding("clock", Grade.ERROR, f"it is {shown}, which cannot be", "set the clock (timedatectl)")
    else:
        yield Finding("clock", Grade.OK, shown)


def _catalogue(daemon: Daemon) -> Iterator[Finding]:
    size = daemon.catalogue.size()
    files = f"{_size(size.file_bytes)}, WAL {_size(size.wal_bytes)}"
    report = daemon.catalogue.check()
    if report.healthy:
        yield Finding("catalogue", Grade.OK, files)
    for problem in report.problems:
        yield Finding("catalogue", Grade.ERROR, problem, "usyncctl catalogue restore FILE")


def _backups(daemon: Daemon) -> Iterator[Finding]:
    kept = daemon.upkeep.backups.list()
    if not kept:
        yield Finding("backups", Grade.OK, "none yet; the first is made within the day")
        return
    age_h = (daemon.clock.now() - kept[0].made_at) / 3_600
    grade = Grade.WARNING if age_h > 48 else Grade.OK
    yield Finding(
        "backups",
        grade,
        f"{len(kept)}, the newest {age_h:.0f} h old",
        "usyncctl backup catalogue" if age_h > 48 else "",
    )


def _kit(daemon: Daemon) -> Iterator[Finding]:
    posted_at, folders = daemon.upkeep.directory.posted()
    if posted_at is None and list(daemon.folders):
        yield Finding(
            "recovery kit", Grade.WARNING, "the list of folders is not on the servers yet", "usyncctl events"
        )
    elif posted_at is not None:
        yield Finding(
            "recovery kit", Grade.OK, f"finds {folders} folders; is it written down? usyncctl kit show"
        )


def _parts(daemon: Daemon) -> Iterator[Finding]:
    dead = daemon.dead_parts()
    if dead:
        yield Finding("threads", Grade.ERROR, "not alive: " + ", ".join(dead), "usyncctl logs")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
