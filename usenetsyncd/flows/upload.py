"""Post what is queued: lease, read from the source, seal, post, record.

The intent (article in state SENDING with its generation) is committed before the POST, the outcome after
it. What was under way at a crash comes back as doubtful, and is asked for before anything is posted again.
"""

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ArticleKey, LeasedArticle, PostedArticle
from usenetsyncd.clock import Clock
from usenetsyncd.errors import (
    ArticleMissing,
    Cancelled,
    ContentGone,
    ContentMismatch,
    FolderError,
    FormatError,
    NewsError,
    NoServer,
    NotFound,
    PostDoubtful,
    PostDuplicate,
    ServerUnavailable,
    UsenetSyncError,
)
from usenetsyncd.flows.content import ContentFinder, Origins
from usenetsyncd.flows.lanes import Lane, Lanes
from usenetsyncd.flows.making import ArticleMaker, FolderPosting, wire_address
from usenetsyncd.model import ArticleKind
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.wire.article import OutgoingArticle, decode_body
from usenetsyncd.wire.keys import ReadKeys, message_id_of
from usenetsyncd.wire.seal import Workbench, open_sealed

log = structlog.get_logger("upload")

LEASE_BATCH = 64
RECORD_BATCH = 256
# While more is going out anyway, outcomes are gathered that long: a commit costs as much as sealing an article.
RECORD_LINGER_S = 0.02
MAX_ATTEMPTS = 10
MAX_WORKERS = 128
# Articles being made at once: one for two cores. A second one here mostly waits for the interpreter's lock, and the
# indexer, the catalogue and the kernel want a core too (2 GB into a discard sink on two busy cores: 2.2 CPU s/GB with one
# lane, 2.4 with two, at no less speed).
LANES = max(1, (os.cpu_count() or 1) // 2)
IDLE_WAIT_S = 1.0
SHORTEST_NAP_S = 0.02
FIRST_BACKOFF_S = 10.0
LONGEST_BACKOFF_S = 300.0
# Before an article whose answer was lost is asked for.
DOUBTFUL_WAIT_S = 5.0
# An id that is taken, while the article is not to be had: it may be on its way (INN in a pause says 240, then 430).
DUPLICATE_TRIES = 4
# Without any server nobody says how long to rest; asking the queue again at once would keep a core and the disk busy.
SHORTEST_REST_S = 1.0
UNKNOWN_FOLDER_S = 5.0
# From this generation on an article is not sent to the server again that lost the last one.
VANISHING = 2


class _Consigned(NamedTuple):
    """A leased article on its way to a worker, with the batch that it was leased in."""

    leased: LeasedArticle
    origins: Origins


class Uploader:
    """Keeps the posting connections busy while the queue holds anything."""

    def __init__(
        self,
        catalogue: Catalogue,
        news: NewsService,
        posting_of: Callable[[int], FolderPosting | None],
        clock: Clock,
        rate: RateWindow,
        on_recorded: Callable[[set[int]], None],
        on_changed: Callable[[int], None],
        finder: ContentFinder | None = None,
    ) -> None:
        """on_recorded: folders of which articles were committed as posted. on_changed: a folder of which a
        file changed between plan and post. Both are called from the uploader's threads.
        finder: for what is posted again; without one, only its source is looked at."""
        self._catalogue = catalogue
        self._news = news
        self._posting_of = posting_of
        self._clock = clock
        self._rate = rate
        self._on_recorded = on_recorded
        self._on_changed = on_changed
        self._maker = ArticleMaker(catalogue, finder)
        # Both are bounded by the feeder, which leases only when little is left in either.
        self._lanes: Lanes[_Consigned, Workbench] = Lanes(LANES, Workbench)
        self._outcomes: SimpleQueue[tuple[LeasedArticle, PostedArticle] | None] = SimpleQueue()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._rest_until = 0.0
        self._paused = False
        self._workers: list[threading.Thread] = []
        self._threads: list[threading.Thread] = []

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the feeder, the recorder and one worker for each posting connection."""
        self._threads = [
            threading.Thread(target=self._feed, name="upload-feeder"),
            threading.Thread(target=self._record, name="upload-recorder"),
        ]
        for thread in self._threads:
            thread.start()
        self.resize()

    def resize(self) -> None:
        """Match the number of workers to the connections that the servers allow now."""
        while len(self._workers) < max(1, min(self._news.posting_capacity(), MAX_WORKERS)):
            worker = threading.Thread(target=self._work_loop, name=f"upload-{len(self._workers)}")
            self._workers.append(worker)
            worker.start()

    def servers_changed(self) -> None:
        """Other servers or accounts are there: what the old ones said of waiting does not count any more."""
        self._rest_until = 0.0
        self.resize()
        self.wake()

    def pause(self, paused: bool) -> None:
        """Stop leasing, or go on; articles in flight are finished."""
        self._paused = paused
        self._wake.set()

    def rest(self) -> None:
        """Nothing is to be posted for a while: let the buffers go that no thread holds now."""
        self._lanes.rest()

    def wake(self) -> None:
        """Something may be in the queue."""
        self._wake.set()

    def stop(self, deadline_s: float) -> None:
        """Finish the articles in flight, give the others back. Every thread is joined."""
        self._stop.set()
        self._wake.set()
        self._threads[0].join()
        self._lanes.close()
        end = self._clock.monotonic() + deadline_s
        for worker in self._workers:
            worker.join(max(0.1, end - self._clock.monotonic()))
        self._outcomes.put(None)
        self._threads[1].join()

    def alive(self) -> bool:
        """Whether every thread that should run is running."""
        return self._stop.is_set() or all(t.is_alive() for t in (*self._threads, *self._workers))

    # -- the three kinds of threads -------------------------------------------------------

    def _feed(self) -> None:
        while not self._stop.is_set():
            rest_s = self._rest_until - self._clock.monotonic()
            if rest_s > 0:
                self._stop.wait(min(rest_s, IDLE_WAIT_S))
                continue
            self._wake.clear()
            if self._paused or not self._runs_low():
                self._wake.wait(IDLE_WAIT_S)
                continue
            leased = self._catalogue.queue.lease(max(LEASE_BATCH, len(self._workers))).result()
            if leased:
                self._consign(leased)
            else:
                self._wake.wait(self._until_due_s())

    def _until_due_s(self) -> float:
        """How long to sleep when nothing can be leased: what was put off is taken up when it is due."""
        due = self._catalogue.queue.next_due()
        return IDLE_WAIT_S if due is None else min(IDLE_WAIT_S, max(SHORTEST_NAP_S, due - self._clock.now()))

    def _runs_low(self) -> bool:
        return (
            len(self._lanes) <= max(LEASE_BATCH, len(self._workers)) // 2
            and self._outcomes.qsize() <= RECORD_BATCH
        )

    def _consign(self, leased: list[LeasedArticle]) -> None:
        from_files = {article.segment_row for article in leased if article.kind is ArticleKind.DATA}
        origins = Origins(self._catalogue, from_files, len(leased))
        self._lanes.put(_Consigned(article, origins) for article in leased)

    def _work_loop(self) -> None:
        lane: Lane[Workbench] = Lane()
        while (consigned := self._lanes.take(lane)) is not None:
            leased, origins = consigned
            if self._runs_low():
                self._wake.set()
            try:
                if self._stop.is_set() or self._clock.monotonic() < self._rest_until:
                    self._catalogue.queue.give_back([_key(leased)])
                else:
                    self._post_leased(leased, origins, lane)
            except Exception:
                # An unknown error counts as an attempt; the worker lives (house.md, owners, 9).
                log.exception("upload_failed_unexpectedly", kind=leased.kind.name, attempts=leased.attempts)
                self._try_again(leased, wait_s=30.0, doubtful=True)
            finally:
                origins.release()

    def _record(self) -> None:
        """Commit outcomes in batches, without making the workers wait."""
        ended = False
        while not ended:
            batch: list[tuple[LeasedArticle, PostedArticle]] = []
            outcome = self._outcomes.get()
            if len(self._lanes):
                self._stop.wait(RECORD_LINGER_S)
            while outcome is not None:
                batch.append(outcome)
                if len(batch) == RECORD_BATCH:
                    break
                try:
                    outcome = self._outcomes.get_nowait()
                except Empty:
                    break
            ended = outcome is None
            if batch:
                self._catalogue.queue.posted([posted for _, posted in batch]).result()
                self._tell(batch)

    def _tell(self, batch: list[tuple[LeasedArticle, PostedArticle]]) -> None:
        """In the middle of an upload nobody has anything to do because some more of it is posted."""
        if not len(self._lanes) or any(leased.kind is not ArticleKind.DATA for leased, _ in batch):
            self._on_recorded({leased.folder_id for leased, _ in batch})

    # -- one article -----------------------------------------------------------------------

    def _post_leased(self, leased: LeasedArticle, origins: Origins, lane: Lane[Workbench]) -> None:
        posting = self._posting_of(leased.folder_id)
        if posting is None:
            # Its folder is leaving the configuration, or has just come into it.
            not_before = self._clock.now() + UNKNOWN_FOLDER_S
            self._catalogue.queue.retry(leased.segment_row, leased.copy, not_before, leased.doubtful, False)
            return
        keys = posting.keys_of(leased)
        try:
            if leased.doubtful:
                lane.sends()
                if self._is_there(leased, keys):
                    self._posted(leased, "", None)
                    return
            article = self._article(leased, origins, posting, keys, lane)
            lane.sends()
            receipt = self._news.post(article, *self._where_to(leased))
            renamed = receipt.message_id if receipt.message_id != article.name.message_id else None
            self._posted(leased, receipt.server, renamed)
        except (FolderError, ContentMismatch) as error:
            self._abandon(leased, error)
        except ContentGone as error:
            self._fail(leased, str(error))
        except PostDuplicate:
            self._settle_duplicate(leased, keys)
        except PostDoubtful as error:
            self._try_again(leased, DOUBTFUL_WAIT_S, True, error)
        except NoServer as error:
            self._rest_until = self._clock.monotonic() + max(SHORTEST_REST_S, error.retry_after_s)
            self._catalogue.queue.retry(leased.segment_row, leased.copy, 0.0, leased.doubtful, False)
        except Cancelled:
            # The news service closes; an earlier try of the same POST may have left something behind.
            self._catalogue.queue.retry(leased.segment_row, leased.copy, 0.0, True, False)
        except NewsError as error:
            wait_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (leased.attempts - 1))
            self._try_again(leased, wait_s, leased.doubtful, error)

    def _article(
        self,
        leased: LeasedArticle,
        origins: Origins,
        posting: FolderPosting,
        keys: ReadKeys,
        lane: Lane[Workbench],
    ) -> OutgoingArticle:
        try:
            return self._maker.make(leased, origins, posting, keys, self._lanes.bench(lane))
        except (FolderError, ContentMismatch, NotFound):
            lane.sends()  # asking others takes time: the lane is not needed for that
            try:
                content = self._maker.find(leased, posting, keys)
            except NoServer as error:
                # Nobody to read from now: that holds up this article, and no posting of others.
                raise ServerUnavailable(str(error)) from error
            if content is None:
                raise
        return self._maker.seal(leased, content, posting, keys, self._lanes.bench(lane))

    def _is_there(self, leased: LeasedArticle, keys: ReadKeys) -> bool:
        """Whether the article that may have been posted is on a server, and is ours."""
        try:
            return self._opens(leased, keys)
        except ArticleMissing:
            return False

    def _opens(self, leased: LeasedArticle, keys: ReadKeys) -> bool:
        """Whether what is on a server under the article's id is ours. Raises ArticleMissing, NewsError."""
        address = wire_address(leased)
        raw = self._news.fetch_one(message_id_of(keys.location, address))
        try:
            open_sealed(keys, address, decode_body(raw))
        except FormatError:
            return False
        return True

    def _settle_duplicate(self, leased: LeasedArticle, keys: ReadKeys) -> None:
        """The server has this id already: ours, or an id that it will never take again."""
        try:
            if self._opens(leased, keys):
                self._posted(leased, "", None)
                return
        except NewsError as error:
            if not isinstance(error, ArticleMissing) or leased.attempts < DUPLICATE_TRIES:
                self._try_again(leased, DOUBTFUL_WAIT_S, True, error)
                return
        self._catalogue.queue.next_generation(leased.segment_row, leased.copy).result()
        log.warning("article_moved_to_next_generation", generation=leased.generation + 1)

    def _posted(self, leased: LeasedArticle, server: str, renamed: str | None) -> None:
        self._rate.add(leased.length)
        posted = PostedArticle(
            leased.segment_row, leased.copy, leased.generation, server, renamed, self._clock.now()
        )
        self._outcomes.put((leased, posted))

    def _abandon(self, leased: LeasedArticle, error: UsenetSyncError) -> None:
        """The source changed before it was posted: plan its files anew."""
        self._catalogue.queue.abandon(leased.segment_row, leased.copy).result()
        log.info("segment_abandoned", reason=str(error))
        self._on_changed(leased.folder_id)

    def _where_to(self, leased: LeasedArticle) -> tuple[tuple[str, ...], str | None]:
        """Servers to avoid, and the one to prefer: copies on different ones; one that loses it again, not again."""
        if leased.generation >= VANISHING and leased.server:
            return (leased.server,), None
        return (), self._news.spread(leased.copy, leased.seg_id)

    def _fail(self, leased: LeasedArticle, reason: str) -> None:
        self._catalogue.queue.failed(leased.segment_row, leased.copy, reason)
        log.error("article_failed", attempts=leased.attempts, reason=reason)
        self._catalogue.events.add_folded(
            "error", "article_failed", f"an article was given up: {reason}", leased.folder_id
        )

    def _try_again(
        self,
        leased: LeasedArticle,
        wait_s: float,
        doubtful: bool = False,
        error: UsenetSyncError | None = None,
    ) -> None:
        if leased.attempts >= MAX_ATTEMPTS:
            self._fail(leased, str(error) if error else "no answer")
            return
        not_before = self._clock.now() + wait_s
        put_back = self._catalogue.queue.retry(leased.segment_row, leased.copy, not_before, doubtful, True)
        # Only now does the feeder find out when it is due.
        put_back.add_done_callback(lambda _: self._wake.set())


def _key(leased: LeasedArticle) -> ArticleKey:
    return ArticleKey(leased.segment_row, leased.copy)
