"""Repairs as jobs: what is lost is queued again, and seen through until it is back on the servers."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import Damage, DamagedArticle
from usenetsyncd.catalogue.rows import PENDING_STATES, ArticleKey, ArticleState, JobRow
from usenetsyncd.daemon.checking import Scopes, folders_of, sum_of, target_of
from usenetsyncd.daemon.health import HealthBook
from usenetsyncd.daemon.jobs import Progress
from usenetsyncd.daemon.lane import Urgency
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.errors import Cancelled
from usenetsyncd.flows.article_check import ArticleCheck
from usenetsyncd.flows.availability import Condition
from usenetsyncd.flows.health import FolderHealth
from usenetsyncd.flows.repair import Repair, RepairRequest, RepairSummary

log = structlog.get_logger("repair")

REPAIR = "repair"
PAGE = 1_000
POLL_S = 0.25
# Looking at what is under way costs as much as there is of it: never more than a tenth of the time.
POLL_SHARE = 10
# Servers need a moment until what they took is to be had everywhere. Longer delays are for the check after posting.
ROUNDS = 5
ROUND_S = 1.0
FAILURES_KEPT = 100
PASSES = 4
_COUNTS = (
    *("reposted", "rebuilt", "unrepairable", "waiting"),
    *("from_source", "from_copy", "returned", "vanishing", "unasked"),
)


@dataclass(slots=True)
class _UnderWay:
    """Articles with findings that were posted again, or are going to be. failed: (what, reason)."""

    pending: int = 0
    posted: int = 0
    failed: int = 0

    @property
    def all(self) -> int:
        return self.pending + self.posted + self.failed


@dataclass(slots=True)
class _Count:
    """What came of a folder's repair, over all passes and all processes that had a hand in it."""

    counts: dict[str, int]
    carried: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()

    def carry(self) -> None:
        """Another pass begins."""
        self.carried = dict(self.counts)

    def take(self, summary: RepairSummary) -> None:
        """The figures of this pass so far."""
        for name in _COUNTS:
            # What an earlier pass left for want of content or of an answer was looked at again by this one.
            anew = name in ("unrepairable", "unasked", "waiting")
            before = 0 if anew else self.carried.get(name, 0)
            self.counts[name] = before + getattr(summary, name, 0)
        self.failures = summary.failures

    def lose(self, failed: Sequence[tuple[str, str]]) -> None:
        """These were queued, and then it turned out that their content is nowhere, or that nobody takes them."""
        self.counts["reposted"] = max(0, self.counts["reposted"] - len(failed))
        self.counts["unrepairable"] += len(failed)
        self.failures = (*self.failures, *failed)[:FAILURES_KEPT]


class Repairing:
    """The work of jobs of the kind ``repair``."""

    in_turn = True
    urgency = Urgency.SOON

    def __init__(
        self,
        scopes: Scopes,
        book: HealthBook,
        wake: Callable[[], None],
        posting_rests: Callable[[], bool],
    ) -> None:
        """wake: articles are waiting to be posted. posting_rests: whether nothing is posted on anybody's request."""
        self._scopes = scopes
        self._catalogue = scopes.catalogue
        self._folders = scopes.folders
        self._book = book
        self._wake = wake
        self._posting_rests = posting_rests

    def target_of(self, job: JobRow) -> str:
        """The folder."""
        return target_of(self._folders, job)

    def discard(self, job: JobRow) -> None:
        """What is queued is posted all the same: its names are burnt."""

    def run(self, job: JobRow, stop: threading.Event, report: Callable[[Progress], None]) -> Progress:
        """Repair every folder that is not done yet."""
        parts = list(job.progress.get("parts", []))
        done = {part["folder"] for part in parts}
        for folder in folders_of(self._folders, job):
            if folder.name in done:
                continue
            if stop.is_set():
                raise Cancelled("the repair was interrupted")
            far = _Far(report, parts, folder.name)
            parts.append(self._repair(folder, job, stop, far))
            report({**sum_of(parts, _COUNTS), "folder": folder.name, "parts": parts})
        failures = [failure for part in parts for failure in part["failures"]]
        return {
            "type": "summary",
            **sum_of(parts, _COUNTS),
            "dry_run": job.params["dry_run"],
            "failures": failures[:FAILURES_KEPT],
            "folders": parts,
        }

    def _repair(self, folder: LiveFolder, job: JobRow, stop: threading.Event, far: "_Far") -> Progress:
        dry_run = bool(job.params["dry_run"])
        count = _Count({**dict.fromkeys(_COUNTS, 0), **self._carried(folder, job)})
        if not dry_run:
            note_repair(self._catalogue, folder.row, self._scopes.clock.now())

        for _ in range(PASSES):
            summary = self._pass(folder, dry_run, stop, count, far)
            if dry_run or not job.params["wait"]:
                break
            self._see_through(folder, stop, count, far)
            # What has come back may be what the others of its stripe were waiting for.
            if not summary.unrepairable or not summary.reposted:
                break
        health = self._book.renew(folder)
        if not dry_run:
            self._tell(folder, count.counts)
        return _as_part(folder, count, health)

    def _pass(
        self, folder: LiveFolder, dry_run: bool, stop: threading.Event, count: _Count, far: "_Far"
    ) -> RepairSummary:
        """Queue what can be made again now. Raises Cancelled."""
        count.carry()
        far("looking", count)

        def on_progress(summary: RepairSummary) -> None:
            count.take(summary)
            far("looking", count)

        repair = Repair(self._scopes.of(stop), RepairRequest(folder.row, dry_run), on_progress, self._wake)
        summary = repair.run()
        count.take(summary)
        count.counts["waiting"] = summary.unasked
        far("posting", count)
        if not summary.finished:
            raise Cancelled("the repair was interrupted")
        return summary

    def _carried(self, folder: LiveFolder, job: JobRow) -> Mapping[str, int]:
        """What earlier processes have done of this job: written down now and then, or else to be seen in the queue."""
        before = job.progress.get("now", {}) if job.progress.get("folder") == folder.name else {}
        if job.attempts < 2 or job.params["dry_run"]:
            return {}
        return {**before, "reposted": max(before.get("reposted", 0), self._under_way(folder.row).all)}

    # -- until it is back ------------------------------------------------------------------------

    def _see_through(self, folder: LiveFolder, stop: threading.Event, count: _Count, far: "_Far") -> None:
        """Wait until what was queued is posted and was asked for once; count what is not there yet."""
        clock = self._scopes.clock
        rounds = 0
        while True:
            began = clock.monotonic()
            under_way = self._under_way(folder.row)
            unseen = self._ask(folder.row, stop) if under_way.posted else 0
            far("posting" if under_way.pending else "asking", count, under_way.pending + unseen)
            rounds = 0 if under_way.pending else rounds + 1
            over = not under_way.pending and (not unseen or rounds == ROUNDS)
            if over or self._rests(folder):
                count.counts["waiting"] += unseen + under_way.pending
                count.lose(self._failed(folder.row) if under_way.failed else ())
                return
            nap_s = POLL_S if under_way.pending else ROUND_S
            if stop.wait(max(nap_s, POLL_SHARE * (clock.monotonic() - began))):
                raise Cancelled("the repair was interrupted")

    def _failed(self, row: int) -> list[tuple[str, str]]:
        """Articles with findings that could not be posted after all, and why."""
        failed = {one.article.key for one in self._damaged(row) if one.state is ArticleState.FAILED}
        reasons: list[tuple[str, str]] = []
        after = None
        while len(reasons) < len(failed):
            page = self._catalogue.queue.page(after, PAGE, ArticleState.FAILED, row)
            for one in page.rows:
                if ArticleKey(one.segment_row, one.copy) in failed:
                    what = f"{one.kind.name.lower()} {one.seg_id.hex()}"
                    reasons.append((what, one.reason or "it could not be posted"))
            after = page.next
            if after is None:
                break
        return reasons

    def _rests(self, folder: LiveFolder) -> bool:
        """Whether somebody has seen to it that nothing is posted now."""
        row = self._catalogue.folders.by_id(folder.row)
        return row.paused or row.removed_at is not None or self._posting_rests()

    def _under_way(self, row: int) -> _UnderWay:
        found = _UnderWay()
        for one in self._damaged(row):
            if one.state in PENDING_STATES:
                found.pending += 1
            elif one.state is ArticleState.FAILED:
                found.failed += 1
            elif any(
                finding.reposted_at is not None and finding.damage is not Damage.ABSENT
                for finding in one.findings
            ):
                found.posted += 1
        return found

    def _damaged(self, row: int) -> Iterable[DamagedArticle]:
        after = (0, -1)
        while page := self._catalogue.findings.damaged(row, after, PAGE):
            yield from page
            after = page[-1].article.key

    def _ask(self, row: int, stop: threading.Event) -> int:
        """Ask for what was posted again; what is there is forgotten as lost. Returns how many are not everywhere yet.

        What is not there yet is no new loss: for that it is too early.
        """
        findings = self._catalogue.findings
        check = ArticleCheck(self._scopes.of(stop).inspector(), 0.0, Random(0))  # noqa: S311 - nothing is drawn
        before, after, unseen = self._scopes.clock.now() + 1, (0, -1), 0
        while articles := findings.reposted(row, before, after, PAGE):
            checked = check.run(articles, findings.of({article.segment_row for article in articles}))
            findings.note(row, [seen for seen in checked.seen if seen.damage is None]).result()
            told = checked.asked.values()
            unseen += sum(
                any(found.get(article.key, Condition.GOOD) is not Condition.GOOD for found in told)
                for article in articles
            )
            after = articles[-1].key
        return unseen

    def _tell(self, folder: LiveFolder, counts: Mapping[str, int]) -> None:
        if counts["reposted"]:
            message = f"{folder.name}: {counts['reposted']} articles are posted again"
            if counts["unrepairable"]:
                message += f", {counts['unrepairable']} cannot be"
            self._catalogue.events.add("info", "repaired", message, folder.row, **counts)


class _Far:
    """Progress of one folder's repair, on top of those that are done."""

    def __init__(self, report: Callable[[Progress], None], parts: Sequence[Progress], folder: str) -> None:
        self._report = report
        self._parts = list(parts)
        self._before = sum_of(parts, _COUNTS)
        self._folder = folder

    def __call__(self, phase: str, count: _Count, left: int = 0) -> None:
        counts: Progress = {name: self._before[name] + count.counts[name] for name in _COUNTS}
        total = count.counts["reposted"]
        far: Progress = {"phase": phase, "folder": self._folder, "now": dict(count.counts)}
        if phase != "looking":
            far |= {"done": max(0, total - left), "total": total}
        self._report({**counts, **far, "parts": self._parts})


def repaired_at(catalogue: Catalogue, row: int) -> float:
    """When a repair of the folder was last begun; 0 for never."""
    return float(catalogue.values.get(_key(row)) or 0)


def note_repair(catalogue: Catalogue, row: int, at: float) -> None:
    """A repair of the folder begins."""
    catalogue.values.set(_key(row), repr(at)).result()


def _key(row: int) -> str:
    return f"repaired:{row}"


def _as_part(folder: LiveFolder, count: _Count, health: FolderHealth) -> dict[str, Any]:
    failures = [
        {"what": f"{folder.name}: {what}", "reason": reason, "articles": articles}
        for (what, reason), articles in Counter(count.failures).items()
    ]
    return {
        "folder": folder.name,
        **count.counts,
        "failures": failures,
        "health": health.word.value,
        "reasons": list(health.reasons),
        "action": health.action,
    }
