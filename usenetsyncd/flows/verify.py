"""Verify: ask for every article where it should be, look into a sample of bodies, remember what is not as it should be.

A check goes through a folder's articles in the order in which they stand in the catalogue. Findings, figures and cursor
are committed together, so that one that was interrupted goes on where it was. It never changes an article: that is
repair's business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random, SystemRandom
from threading import Event
from typing import Any

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import StoredArticle
from usenetsyncd.catalogue.rows import ArticleKey, ArticleState
from usenetsyncd.catalogue.verifications import Advance, CheckKind, VerificationRow
from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import Cancelled
from usenetsyncd.flows.article_check import ArticleCheck, Checked, Figures, ServerCounts
from usenetsyncd.flows.availability import CheckedServers, Inspector, KeysOf
from usenetsyncd.flows.health import assess
from usenetsyncd.flows.statistics import sample_statement
from usenetsyncd.news.service import NewsService

log = structlog.get_logger("verify")

# Asked in one burst: enough to keep a pipeline full through a round trip, little enough to be lost in a crash.
BATCH = 4_096
# Of what servers can do (INN: 12,000 on one connection), so that nobody else notices a check.
PACE_PER_S = 5_000.0
LONGEST_REST_S = 2.0
# A sample of 2 % of a small folder would be one article or none, and say nothing.
LEAST_SAMPLED = 30


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to check. full: fetch every body; sample: else that fraction of them, 0..1. server: ask only this one."""

    folder_row: int
    full: bool = False
    sample: float = 0.0
    server: str | None = None


@dataclass(frozen=True, slots=True)
class VerifySummary:
    """How far a check is, or how it ended. checked, missing, corrupt, unknown: articles, of ``total``.

    missing, corrupt: on any server where they should be; ``by_server`` says where. unknown: some server gave no answer.
    sampled: bodies that were drawn to be fetched, and could be or are gone. at_risk, unrepairable: segments.
    statement: what the sample says of all, a sentence. finished: nothing is left to ask for.
    """

    total: int
    checked: int
    missing: int
    corrupt: int
    unknown: int
    sampled: int
    statement: str
    by_server: Mapping[str, ServerCounts]
    at_risk: int = 0
    unrepairable: int = 0
    finished: bool = False


Report = Callable[[VerifySummary], None]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check of either kind needs. pace_per_s: articles; 0 for as fast as the servers answer."""

    catalogue: Catalogue
    news: NewsService
    keys_of: KeysOf
    servers: CheckedServers
    stop: Event
    clock: Clock = SYSTEM_CLOCK
    pace_per_s: float = PACE_PER_S

    def inspector(self) -> Inspector:
        """Who asks."""
        return Inspector(self.news, self.keys_of, self.servers, self.stop)

    def rest(self, articles: int, began_s: float) -> None:
        """After a batch, wait for as long as it was faster than the pace; ends at once when stopped."""
        if self.pace_per_s:
            left_s = articles / self.pace_per_s - (self.clock.monotonic() - began_s)
            self.stop.wait(min(LONGEST_REST_S, max(0.0, left_s)))


class Verification:
    """One check of all articles of a folder. ``run`` again after an interruption goes on where it was."""

    def __init__(
        self,
        scope: Scope,
        request: VerifyRequest,
        on_progress: Report = lambda summary: None,
        dice: Random | None = None,
    ) -> None:
        """on_progress: called after each batch, from the thread that runs."""
        self._scope = scope
        self._catalogue = scope.catalogue
        self._request = request
        self._on_progress = on_progress
        self._dice = dice or SystemRandom()

    def run(self) -> VerifySummary:
        """Check until the end, or until stopped: then the summary says that it is not finished.

        Raises CatalogueError.
        """
        request = self._request
        mode = "full" if request.full else f"sample {request.sample:g}"
        row = self._catalogue.verifications.begin(
            request.folder_row, CheckKind.AVAILABILITY, request.server, mode
        )
        total = self._catalogue.queue.counts(request.folder_row).articles[ArticleState.POSTED]
        share = row.detail.get("share", _share(request, total))
        figures = Figures.of(row)
        began_s = self._scope.clock.monotonic()
        try:
            finished = self._go_over(row, figures, share, total)
        except Cancelled:
            finished = False
        if finished:
            self._catalogue.verifications.finish(row.id, stamp=request.server is None).result()
        log.info(
            "verified" if finished else "verification_interrupted",
            folder=request.folder_row,
            checked=figures.checked,
            missing=figures.missing,
            corrupt=figures.corrupt,
            unknown=figures.unknown,
            took_s=round(self._scope.clock.monotonic() - began_s, 3),
        )
        health = assess(self._catalogue, request.folder_row, self._scope.servers)
        return replace(
            self._summary(figures, share, total),
            at_risk=health.at_risk_segments,
            unrepairable=health.lost_segments,
            finished=finished,
        )

    def _go_over(self, row: VerificationRow, figures: Figures, share: float, total: int) -> bool:
        """Batch by batch; False when stopped."""
        check = ArticleCheck(self._scope.inspector(), share, self._dice, self._request.server)
        cursor = row.cursor
        while not self._scope.stop.is_set():
            began_s = self._scope.clock.monotonic()
            articles = whole_segments(
                self._catalogue.verifications.articles(row.folder_id, cursor, BATCH), BATCH
            )
            if not articles:
                return True
            known = self._catalogue.findings.between(
                row.folder_id, articles[0].segment_row, articles[-1].segment_row
            )
            checked = check.run(articles, known)
            figures.add(checked)
            cursor = articles[-1].key
            self._keep(row, cursor, figures, share, checked)
            self._on_progress(self._summary(figures, share, total))
            self._scope.rest(len(articles), began_s)
        return False

    def _keep(
        self, row: VerificationRow, cursor: ArticleKey, figures: Figures, share: float, checked: Checked
    ) -> None:
        statement = self._statement(figures, share)
        detail = figures.detail() | {
            "mode": row.detail.get("mode", ""),
            "share": share,
            "statement": statement,
        }
        advance(self._catalogue, row, cursor, figures, detail, checked)

    def _summary(self, figures: Figures, share: float, total: int) -> VerifySummary:
        return VerifySummary(
            total=max(total, figures.checked),
            checked=figures.checked,
            missing=figures.missing,
            corrupt=figures.corrupt,
            unknown=figures.unknown,
            sampled=figures.sampled,
            statement=self._statement(figures, share),
            by_server=figures.by_server,
        )

    def _statement(self, figures: Figures, share: float) -> str:
        whole = share >= 1 and not figures.unknown
        return sample_statement(figures.good, figures.sampled, whole)


class PropagationCheck:
    """Articles some minutes after they were posted, each once: new ones, and those that repair has posted again."""

    def __init__(self, scope: Scope, folder_row: int, after_s: float) -> None:
        """after_s: articles are left alone for so long, so that they can reach the servers that judge."""
        self._scope = scope
        self._catalogue = scope.catalogue
        self._folder_row = folder_row
        self._after_s = after_s

    def run(self) -> VerifySummary:
        """Check what is due; costs next to nothing when nothing is. Its figures are those of this run."""
        before = self._scope.clock.now() - self._after_s
        row = self._catalogue.verifications.begin(self._folder_row, CheckKind.PROPAGATION)
        check = ArticleCheck(self._scope.inspector(), 0.0, Random(0))  # noqa: S311 - nothing is drawn
        figures = Figures()
        try:
            finished = self._new_ones(row, check, figures, before) and self._reposted(check, figures, before)
        except Cancelled:
            finished = False
        if figures.checked:
            log.info(
                "propagation_checked",
                folder=self._folder_row,
                checked=figures.checked,
                missing=figures.missing,
                unknown=figures.unknown,
            )
        return VerifySummary(
            total=figures.checked,
            checked=figures.checked,
            missing=figures.missing,
            corrupt=figures.corrupt,
            unknown=figures.unknown,
            sampled=figures.sampled,
            statement=sample_statement(0, 0),
            by_server=figures.by_server,
            finished=finished,
        )

    def _new_ones(self, row: VerificationRow, check: ArticleCheck, figures: Figures, before: float) -> bool:
        verifications = self._catalogue.verifications
        ever = Figures.of(row)
        cursor = row.cursor
        while not self._scope.stop.is_set():
            began_s = self._scope.clock.monotonic()
            articles, reached = verifications.settled(self._folder_row, cursor, before, BATCH)
            if reached == cursor:
                self._stamp_first(cursor)
                return True
            checked = Checked((), {}, {}, frozenset(), ())
            if articles:
                known = self._catalogue.findings.between(
                    self._folder_row, articles[0].segment_row, articles[-1].segment_row
                )
                checked = check.run(articles, known)
                figures.add(checked)
                ever.add(checked)
            cursor = reached
            advance(self._catalogue, row, cursor, ever, ever.detail() | {"mode": ""}, checked)
            self._scope.rest(len(articles), began_s)
        return False

    def _reposted(self, check: ArticleCheck, figures: Figures, before: float) -> bool:
        findings = self._catalogue.findings
        after = (0, -1)
        while not self._scope.stop.is_set():
            articles = findings.reposted(self._folder_row, before, after, BATCH)
            if not articles:
                return True
            known = findings.of({article.segment_row for article in articles})
            checked = check.run(articles, known)
            figures.add(checked)
            findings.note(self._folder_row, checked.seen).result()
            after = articles[-1].key
        return False

    def _stamp_first(self, cursor: ArticleKey) -> None:
        """A folder counts as verified once all that it holds was asked for, be it one by one."""
        folder = self._catalogue.folders.by_id(self._folder_row)
        if folder.verified_at is None and cursor.segment_row and not folder.pending_articles:
            left = self._catalogue.verifications.articles(self._folder_row, cursor, 1)
            if not left:
                self._catalogue.folders.stamp(self._folder_row, verified_at=self._scope.clock.now()).result()


def advance(
    catalogue: Catalogue,
    row: VerificationRow,
    cursor: ArticleKey,
    figures: Figures,
    detail: Mapping[str, Any],
    checked: Checked,
) -> None:
    """Commit a batch: what was seen, the figures with it, and where to go on."""
    catalogue.verifications.advance(
        row.id,
        Advance(
            cursor,
            figures.checked,
            figures.missing,
            figures.corrupt,
            figures.unknown,
            figures.sampled,
            dict(detail),
            checked.seen,
        ),
    ).result()


def whole_segments(articles: Sequence[StoredArticle], limit: int) -> Sequence[StoredArticle]:
    """A full batch may have been cut within the copies of its last segment: that one is left for the next."""
    if len(articles) < limit or articles[0].segment_row == articles[-1].segment_row:
        return articles
    last = articles[-1].segment_row
    end = len(articles)
    while articles[end - 1].segment_row == last:
        end -= 1
    return articles[:end]


def _share(request: VerifyRequest, total: int) -> float:
    """Which fraction of the bodies is fetched."""
    if request.full:
        return 1.0
    if request.sample <= 0:
        return 0.0
    return min(1.0, max(request.sample, LEAST_SAMPLED / max(1, total)))
