"""Checks as jobs: folder after folder, each going on where the last process ended."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import StoredArticle
from usenetsyncd.catalogue.rows import ArticleState, JobRow
from usenetsyncd.clock import Clock
from usenetsyncd.daemon.health import HealthBook
from usenetsyncd.daemon.jobs import Progress
from usenetsyncd.daemon.lane import Urgency
from usenetsyncd.daemon.live import LiveFolder, LiveFolders
from usenetsyncd.errors import Cancelled, NotFound
from usenetsyncd.flows.availability import CheckedServers, KeysOf
from usenetsyncd.flows.health import FolderHealth, HealthWord
from usenetsyncd.flows.share import TAG_BYTES
from usenetsyncd.flows.verify import Scope, Verification, VerifyRequest, VerifySummary
from usenetsyncd.model import ArticleKind, ServerRole
from usenetsyncd.news.service import NewsService
from usenetsyncd.settings.schema import Settings
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.keys import ReadKeys, share_keys

log = structlog.get_logger("verify")

VERIFY = "verify"
_COUNTS = ("checked", "missing", "corrupt", "unknown", "sampled", "at_risk", "unrepairable")
_SERVER_COUNTS = ("checked", "missing", "corrupt", "unknown", "sampled")


class Scopes:
    """What a check or a repair is given: the servers of the settings in force, and keys for every stored article."""

    def __init__(
        self,
        catalogue: Catalogue,
        vault: Vault,
        folders: LiveFolders,
        news: NewsService,
        clock: Clock,
        settings: Callable[[], Settings],
    ) -> None:
        self.catalogue = catalogue
        self.vault = vault
        self.folders = folders
        self.news = news
        self.clock = clock
        self.settings = settings

    def of(self, stop: threading.Event) -> Scope:
        """For one check."""
        return Scope(self.catalogue, self.news, self.keys_of, self.servers(), stop, self.clock)

    def servers(self) -> CheckedServers:
        """Who can be asked, by the settings in force."""
        by_priority = sorted(self.settings().servers, key=lambda server: server.priority)
        return CheckedServers(
            tuple(server.name for server in by_priority if ServerRole.READ in server.roles),
            tuple(server.name for server in by_priority if ServerRole.VERIFY in server.roles),
        )

    @property
    def keys_of(self) -> KeysOf:
        """Finds the keys of an article by its folder, or by its share."""
        return self._keys_of

    def _keys_of(self, article: StoredArticle) -> ReadKeys:
        folder = self.folders.by_row(article.folder_id)
        if folder is None:
            raise NotFound("its folder is not in the configuration any more")
        if article.kind is ArticleKind.ENVELOPE:
            share = self.catalogue.shares.get(article.seg_id[TAG_BYTES:].hex())
            return share_keys(self.vault.open_secret(share.secret), folder.signing.fingerprint)
        return folder.epochs.keys(article.epoch)


class _Told:
    """Progress of one folder's check, on top of those that are done, for all that is to be checked."""

    def __init__(
        self, parts: Sequence[Progress], folder: str, total: int, report: Callable[[Progress], None]
    ) -> None:
        self._parts = list(parts)
        self._before = sum_of(parts, _COUNTS)
        self._folder = folder
        self._total = total
        self._report = report

    def __call__(self, summary: VerifySummary) -> None:
        self._report(self.far({name: getattr(summary, name) for name in _COUNTS}))

    def far(self, counts: Mapping[str, int]) -> Progress:
        """How far all is, with this much of the folder."""
        now = {name: self._before[name] + counts.get(name, 0) for name in _COUNTS}
        total = max(self._total, now["checked"])
        return {
            **now,
            "phase": "asking",
            "folder": self._folder,
            "done": now["checked"],
            "total": total,
            "parts": self._parts,
        }


class Checking:
    """The work of jobs of the kind ``verify``."""

    in_turn = True
    urgency = Urgency.WHENEVER

    def __init__(self, scopes: Scopes, book: HealthBook, on_found: Callable[[LiveFolder], None]) -> None:
        """on_found: a check that nobody asked for found something wrong with this folder."""
        self._scopes = scopes
        self._catalogue = scopes.catalogue
        self._folders = scopes.folders
        self._book = book
        self._on_found = on_found

    def target_of(self, job: JobRow) -> str:
        """The folder."""
        return target_of(self._folders, job)

    def discard(self, job: JobRow) -> None:
        """What was found stays; the next check begins anew."""
        for folder in folders_of(self._folders, job):
            self._catalogue.verifications.cancel(folder.row).result()

    def run(self, job: JobRow, stop: threading.Event, report: Callable[[Progress], None]) -> Progress:
        """Check every folder that is not done yet."""
        parts = list(job.progress.get("parts", []))
        done = {part["folder"] for part in parts}
        left = [folder for folder in folders_of(self._folders, job) if folder.name not in done]
        total = sum(part["checked"] for part in parts) + sum(self._posted(folder) for folder in left)
        for folder in left:
            if stop.is_set():
                raise Cancelled("the check was interrupted")
            told = _Told(parts, folder.name, total, report)
            self._begin(folder, job, told)
            parts.append(self._check(folder, job, stop, told))
            report({**sum_of(parts, _COUNTS), "folder": folder.name, "parts": list(parts)})
        return {
            "type": "summary",
            **sum_of(parts, _COUNTS),
            "servers": _by_server(parts),
            "folders": parts,
        }

    def _begin(self, folder: LiveFolder, job: JobRow, told: _Told) -> None:
        if job.progress.get("folder") == folder.name:
            return  # and goes on
        if job.params["asked"]:
            # Who asks now wants to know how it is now: what an interrupted check saw hours ago does not count.
            self._catalogue.verifications.cancel(folder.row).result()
        self._catalogue.jobs.progress(job.id, told.far({})).result()

    def _posted(self, folder: LiveFolder) -> int:
        return self._catalogue.queue.counts(folder.row).articles[ArticleState.POSTED]

    def _check(
        self,
        folder: LiveFolder,
        job: JobRow,
        stop: threading.Event,
        on_progress: Callable[[VerifySummary], None],
    ) -> Progress:
        sample = job.params.get("sample")
        request = VerifyRequest(
            folder.row,
            bool(job.params.get("full")),
            folder.settings.verify.sample if sample is None else float(sample),
            job.params.get("server"),
        )
        summary = Verification(self._scopes.of(stop), request, on_progress).run()
        if not summary.finished:
            raise Cancelled("the check was interrupted")
        self._tell(folder, summary)
        health = self._book.renew(folder)
        if (summary.missing or summary.corrupt) and not job.params["asked"]:
            self._on_found(folder)
        published = self._catalogue.folders.by_id(folder.row).version > 0
        return _as_part(folder, summary, health, published)

    def _tell(self, folder: LiveFolder, summary: VerifySummary) -> None:
        fields = {name: getattr(summary, name) for name in _COUNTS}
        found = f"{summary.missing} missing, {summary.corrupt} corrupt, {summary.unknown} unknown"
        self._catalogue.events.add(
            "info",
            "verification_finished",
            f"{folder.name}: {summary.checked} articles asked for, {found}; {summary.statement}",
            folder.row,
            **fields,
        )
        tell_damage(self._catalogue, folder, summary)


def tell_damage(catalogue: Catalogue, folder: LiveFolder, summary: VerifySummary) -> None:
    """An event, if a check found anything wrong."""
    if not summary.missing and not summary.corrupt:
        return
    where = ", ".join(
        f"{name or 'all servers'} {counts.missing + counts.corrupt}"
        for name, counts in sorted(summary.by_server.items())
        if counts.missing or counts.corrupt
    )
    catalogue.events.add(
        "warning",
        "damage_found",
        f"{folder.name}: {summary.missing} articles are missing and {summary.corrupt} corrupt ({where})",
        folder.row,
        missing=summary.missing,
        corrupt=summary.corrupt,
        at_risk=summary.at_risk,
        unrepairable=summary.unrepairable,
    )


def folders_of(folders: LiveFolders, job: JobRow) -> list[LiveFolder]:
    """The folder that a job is about, or all of them, by name; none if it is not configured any more."""
    if job.folder_id is None:
        return sorted(folders, key=lambda folder: folder.name)
    folder = folders.by_row(job.folder_id)
    return [] if folder is None else [folder]


def target_of(folders: LiveFolders, job: JobRow) -> str:
    """What a check or repair is about, for people."""
    if job.folder_id is None:
        return "all folders"
    folder = folders.by_row(job.folder_id)
    return "" if folder is None else folder.name


def sum_of(parts: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, int]:
    """Each of these counts over all folders that are done."""
    kept = list(parts)
    return {name: sum(part.get(name, 0) for part in kept) for name in names}


def _by_server(parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    summed: dict[str, Counter[str]] = {}
    for part in parts:
        for one in part["servers"]:
            counts = summed.setdefault(one["server"], Counter())
            counts.update({name: one[name] for name in _SERVER_COUNTS})
    return [
        {"server": name, **{key: counts[key] for key in _SERVER_COUNTS}} for name, counts in summed.items()
    ]


def _as_part(folder: LiveFolder, summary: VerifySummary, health: FolderHealth, published: bool) -> Progress:
    servers = [
        {"server": name or "any server", **{key: getattr(counts, key) for key in _SERVER_COUNTS}}
        for name, counts in summary.by_server.items()
    ]
    return {
        "folder": folder.name,
        **{name: getattr(summary, name) for name in _COUNTS},
        "health": (health.word if published else HealthWord.UNKNOWN).value,
        "statement": summary.statement if summary.checked else "",
        "reasons": list(health.reasons),
        "files": [path.decode("utf-8", "backslashreplace") for path in health.files],
        "action": health.action,
        "servers": servers,
    }
