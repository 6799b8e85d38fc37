"""Repair: what a server has lost or spoilt is posted again, under a new name, from wherever its content still is.

Nothing is ever deleted. An article that is lost is asked for once more before anything is done. Where its content can
come from is decided before a generation is burnt, so that one whose content is nowhere keeps the name under which it may
come back. Each batch is one durable change of the queue: after a crash the next run goes on behind it, and no article is
queued twice.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import DamagedArticle, Seen, StoredArticle
from usenetsyncd.catalogue.rows import ArticleKey, ArticleState, FolderRow
from usenetsyncd.errors import Cancelled, NotFound
from usenetsyncd.flows.availability import CheckedServers, Condition, Conditions, Inspector
from usenetsyncd.flows.health import is_hurt, is_intact, rebuildable
from usenetsyncd.flows.retrieve import GENERATIONS_ASKED
from usenetsyncd.flows.verify import Scope
from usenetsyncd.model import ArticleKind
from usenetsyncd.telemetry.counters import Counters

log = structlog.get_logger("repair")

BATCH = 1_000
FAILURES_NAMED = 100
# The third generation: two of its kind were lost before.
VANISHING = 2

_FROM_FILES = frozenset({ArticleKind.DATA})


class Place(StrEnum):
    """Where the content of a lost article can come from."""

    SOURCE = "source"  # files of the folder, as they were when it was planned
    BLOB = "blob"  # the catalogue keeps it: pages, heads, envelopes
    COPY = "copy"  # another copy of it, or another server
    PARITY = "parity"  # the others of its stripe
    NOWHERE = "nowhere"


REPAIRS = Counters()
"""Lost articles since the process was started, by place: queued again, or, for NOWHERE, each time one is given up."""


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What to repair. dry_run: only tell what would be done."""

    folder_row: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RepairSummary:
    """What was done, or would be. All but ``returned`` and ``unasked`` add up to the damaged articles.

    reposted: articles queued under a new name. Of these, from_source: from files or the catalogue; from_copy: from another
    copy or server; rebuilt: by parity. unrepairable: of which the content is nowhere; failures: these by name, with the
    reason, the first hundred. returned: articles that were there again. unasked: whose server gave no answer now, left as
    they are. vanishing: reposted ones that were lost more than once. finished: False when it was stopped.
    """

    reposted: int = 0
    rebuilt: int = 0
    unrepairable: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    from_source: int = 0
    from_copy: int = 0
    returned: int = 0
    unasked: int = 0
    vanishing: int = 0
    finished: bool = False


@dataclass(slots=True)
class _Tally:
    places: Counter[Place] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    returned: int = 0
    unasked: int = 0
    vanishing: int = 0

    def summary(self, finished: bool) -> RepairSummary:
        unrepairable = self.places[Place.NOWHERE]
        return RepairSummary(
            reposted=self.places.total() - unrepairable,
            rebuilt=self.places[Place.PARITY],
            unrepairable=unrepairable,
            failures=tuple(self.failures),
            from_source=self.places[Place.SOURCE] + self.places[Place.BLOB],
            from_copy=self.places[Place.COPY],
            returned=self.returned,
            unasked=self.unasked,
            vanishing=self.vanishing,
            finished=finished,
        )


class Repair:
    """One repair of a folder. What it queues, the uploader posts."""

    def __init__(
        self,
        scope: Scope,
        request: RepairRequest,
        on_progress: Callable[[RepairSummary], None] = lambda summary: None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """on_progress: called after each batch. wake: tells the uploader that there is something to post."""
        self._scope = scope
        self._catalogue = scope.catalogue
        self._request = request
        self._on_progress = on_progress
        self._wake = wake

    def run(self) -> RepairSummary:
        """Until everything that was found is dealt with, or until stopped. Raises NotFound, CatalogueError."""
        folder = self._catalogue.folders.by_id(self._request.folder_row)
        tally = _Tally()
        try:
            finished = self._go_over(folder, tally)
        except Cancelled:
            finished = False
        summary = tally.summary(finished)
        if tally.vanishing and not self._request.dry_run:
            self._report_vanishing(folder, tally.vanishing)
        log.info(
            "repaired" if finished else "repair_interrupted",
            folder=folder.name,
            dry_run=self._request.dry_run,
            reposted=summary.reposted,
            rebuilt=summary.rebuilt,
            unrepairable=summary.unrepairable,
            returned=summary.returned,
            unasked=summary.unasked,
        )
        return summary

    def _go_over(self, folder: FolderRow, tally: _Tally) -> bool:
        inspector = self._scope.inspector()
        after = (0, -1)
        while not self._scope.stop.is_set():
            page = self._catalogue.findings.damaged(folder.id, after, BATCH)
            if not page:
                return True
            after = page[-1].article.key
            hurt = [one for one in page if _is_due(self._scope.servers, one)]
            still, returned, unasked = self._ask_again(inspector, hurt)
            tally.unasked += unasked
            tally.returned += len(returned)
            if returned and not self._request.dry_run:
                self._catalogue.findings.note(folder.id, returned).result()
            self._repost(folder, inspector, still, tally)
            self._on_progress(tally.summary(False))
        return False

    def _repost(
        self, folder: FolderRow, inspector: Inspector, lost: Sequence[DamagedArticle], tally: _Tally
    ) -> None:
        """Give those a new generation whose content is somewhere."""
        places = find_places(self._catalogue, folder, inspector, lost)
        keys: list[ArticleKey] = []
        vanishing = 0
        for one in lost:
            place, reason = places[one.article.key]
            tally.places[place] += 1
            if not self._request.dry_run:
                REPAIRS.add(place)
            if place is Place.NOWHERE:
                if len(tally.failures) < FAILURES_NAMED:
                    tally.failures.append((self._name(one.article), reason))
                continue
            keys.append(one.article.key)
            vanishing += one.article.generation + 1 >= VANISHING
        tally.vanishing += vanishing
        if keys and not self._request.dry_run:
            self._catalogue.queue.repost(keys).result()
            self._wake()

    def _ask_again(
        self, inspector: Inspector, hurt: Sequence[DamagedArticle]
    ) -> tuple[list[DamagedArticle], list[Seen], int]:
        """Those still lost at home, what is there again after all, and how many nobody could be asked about.

        A server's word that it has one again is not enough, as it may have been wrong before: it is fetched.
        """
        homes: dict[str, list[StoredArticle]] = {}
        for one in hurt:
            if one.state is ArticleState.POSTED:
                homes.setdefault(self._scope.servers.home(one.article), []).append(one.article)
        told = inspector.ask(homes)
        there = {
            home: [article for article in articles if told[home].get(article.key) is Condition.GOOD]
            for home, articles in homes.items()
        }
        for home, found in inspector.read(there).items():
            told[home] |= found
        still: list[DamagedArticle] = []
        returned: list[Seen] = []
        unasked = 0
        for one in hurt:
            article = one.article
            home = self._scope.servers.home(article)
            condition = told.get(home, {}).get(article.key, Condition.UNKNOWN)
            if one.state is ArticleState.FAILED:
                still.append(one)
            elif condition is Condition.GOOD:
                returned.append(Seen(article.segment_row, article.copy, article.generation, home, None))
            elif condition is Condition.UNKNOWN:
                unasked += 1
            else:
                still.append(one)
        return still, returned, unasked

    def _name(self, article: StoredArticle) -> str:
        """A path that needs it, else what it is."""
        sources = self._catalogue.segments.sources(article.segment_row)
        if sources:
            return sources[0].path.decode("utf-8", "replace")
        return f"{article.kind.name.lower()} {article.seg_id.hex()}"

    def _report_vanishing(self, folder: FolderRow, count: int) -> None:
        articles = "an article" if count == 1 else f"{count:,} articles"
        self._catalogue.events.add(
            "warning",
            "articles_keep_vanishing",
            f"{folder.name}: {articles} vanished more than once; posted to another server and group where there is one",
            folder.id,
            articles=count,
        )


def find_places(
    catalogue: Catalogue, folder: FolderRow, inspector: Inspector, lost: Sequence[DamagedArticle]
) -> dict[ArticleKey, tuple[Place, str]]:
    """Where the content of each can come from, and for those from nowhere, why. Raises Cancelled.

    Files are looked at, not read, and servers asked, not believed: whoever posts checks the hash of what it gets.
    """
    places: dict[ArticleKey, tuple[Place, str]] = {}
    rows = {one.article.segment_row for one in lost}
    here = _here(catalogue, folder, lost)
    away = [one for one in lost if one.article.segment_row not in here]
    copies = _on_servers(catalogue, inspector, {one.article.segment_row for one in away})
    parity = rebuildable(catalogue, inspector.servers, rows - here.keys() - copies)
    for one in lost:
        article = one.article
        if article.generation + 1 >= GENERATIONS_ASKED:
            reason = f"it was lost {article.generation + 1} times, and readers look for no more generations"
            places[article.key] = (Place.NOWHERE, reason)
        elif article.segment_row in here:
            places[article.key] = (here[article.segment_row], "")
        elif article.segment_row in copies:
            places[article.key] = (Place.COPY, "")
        elif article.segment_row in parity:
            places[article.key] = (Place.PARITY, "")
        else:
            places[article.key] = (Place.NOWHERE, "its source is gone, and no server has it or enough parity")
    return places


def _here(catalogue: Catalogue, folder: FolderRow, lost: Sequence[DamagedArticle]) -> dict[int, Place]:
    """Segments whose content is on this machine."""
    from_files = {one.article.segment_row for one in lost if one.article.kind in _FROM_FILES}
    sources = catalogue.segments.sources_of(from_files) if from_files else {}
    here: dict[int, Place] = {}
    for one in lost:
        row = one.article.segment_row
        if row in from_files:
            if row not in here and is_intact(folder.root, sources.get(row, ()), one.article.length):
                here[row] = Place.SOURCE
        elif one.article.kind is not ArticleKind.PARITY:
            try:
                catalogue.segments.blob(row)
            except NotFound:
                continue
            here[row] = Place.BLOB
    return here


def _on_servers(catalogue: Catalogue, inspector: Inspector, rows: set[int]) -> set[int]:
    """Segments of which some server says that it has an article: another copy, or the same one where it was not expected."""
    servers = inspector.servers
    wanted: dict[str, list[StoredArticle]] = {}
    for copies in catalogue.findings.articles_of(rows).values():
        for one in _posted(copies):
            bad = servers.covered(
                finding.server for finding in one.findings if finding.generation >= one.article.generation
            )
            for name in servers.all:
                if name not in bad:
                    wanted.setdefault(name, []).append(one.article)
    return _good_rows(inspector.ask(wanted))


def _posted(copies: Sequence[DamagedArticle]) -> Iterator[DamagedArticle]:
    return (one for one in copies if one.state is ArticleState.POSTED)


def _good_rows(conditions: Conditions) -> set[int]:
    return {
        key.segment_row
        for found in conditions.values()
        for key, condition in found.items()
        if condition is Condition.GOOD
    }


def _is_due(servers: CheckedServers, one: DamagedArticle) -> bool:
    """Whether repair has to do with it: not what is being posted already, nor what only a judge misses."""
    if one.state is ArticleState.FAILED:
        return True
    return one.state is ArticleState.POSTED and is_hurt(servers, one)
