"""Post what is queued: lease, read from the source, seal, post, record.

The intent (article in state SENDING with its generation) is committed before the POST, the outcome after
it. What was under way at a crash comes back as doubtful, and is asked for before anything is posted again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Full, Queue

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ArticleKey, LeasedArticle, PostedArticle
from usenetsyncd.clock import Clock
from usenetsyncd.errors import (
    ArticleMissing,
    Cancelled,
    ContentMismatch,
    FolderError,
    FormatError,
    NewsError,
    NoServer,
    PostDoubtful,
    PostDuplicate,
    UsenetSyncError,
)
from usenetsyncd.flows.content import read_content
from usenetsyncd.model import ArticleAddress, ArticleKind, Compression
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.wire.article import OutgoingArticle, build_article, decode_body
from usenetsyncd.wire.keys import ReadKeys, message_id_of, name_article
from usenetsyncd.wire.membership import envelope_address
from usenetsyncd.wire.seal import Workbench, open_sealed

log = structlog.get_logger("upload")

LEASE_BATCH = 64
RECORD_BATCH = 256
MAX_ATTEMPTS = 10
MAX_WORKERS = 128
# Articles being sealed at once: enough to keep two cores busy while the others are being sent.
BENCHES = 3
IDLE_WAIT_S = 1.0
LONGEST_BACKOFF_S = 300.0
# Without any server nobody says how long to rest; asking the queue again at once would keep a core and the disk busy.
SHORTEST_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class FolderPosting:
    """All that is needed to post articles of one folder. keys_of: the keys under which one is sealed."""

    root: bytes
    newsgroups: tuple[str, ...]
    compression: Compression
    keys_of: Callable[[LeasedArticle], ReadKeys]


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
    ) -> None:
        """on_recorded: folders of which articles were committed as posted. on_changed: a folder of which a
        file changed between plan and post. Both are called from the uploader's threads."""
        self._catalogue = catalogue
        self._news = news
        self._posting_of = posting_of
        self._clock = clock
        self._rate = rate
        self._on_recorded = on_recorded
        self._on_changed = on_changed
        self._benches: Queue[Workbench] = Queue()
        for _ in range(BENCHES):
            self._benches.put(Workbench())
        self._work: Queue[LeasedArticle] = Queue(LEASE_BATCH)
        self._outcomes: Queue[tuple[int, PostedArticle] | None] = Queue(4 * RECORD_BATCH)
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

    def pause(self, paused: bool) -> None:
        """Stop leasing, or go on; articles in flight are finished."""
        self._paused = paused
        self._wake.set()

    def wake(self) -> None:
        """Something may be in the queue."""
        self._wake.set()

    def stop(self, deadline_s: float) -> None:
        """Finish the articles in flight, give the others back. Every thread is joined."""
        self._stop.set()
        self._wake.set()
        end = self._clock.monotonic() + deadline_s
        for worker in self._workers:
            worker.join(max(0.1, end - self._clock.monotonic()))
        self._threads[0].join()
        left = []
        while True:
            try:
                left.append(self._work.get_nowait())
            except Empty:
                break
        if left:
            self._catalogue.queue.give_back([_key(leased) for leased in left]).result()
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
            if self._paused:
                self._wake.wait(IDLE_WAIT_S)
                continue
            leased = self._catalogue.queue.lease(max(LEASE_BATCH, len(self._workers))).result()
            if not leased:
                self._wake.wait(IDLE_WAIT_S)
                continue
            for position, article in enumerate(leased):
                if not self._hand_over(article):
                    rest = [_key(a) for a in leased[position:]]
                    self._catalogue.queue.give_back(rest).result()
                    break

    def _hand_over(self, article: LeasedArticle) -> bool:
        while not self._stop.is_set():
            try:
                self._work.put(article, timeout=0.2)
                return True
            except Full:
                continue
        return False

    def _work_loop(self) -> None:
        while not self._stop.is_set():
            try:
                leased = self._work.get(timeout=0.2)
            except Empty:
                continue
            try:
                self._post_leased(leased)
            except Exception:
                # An unknown error counts as an attempt; the worker lives (house.md, owners, 9).
                log.exception("upload_failed_unexpectedly", kind=leased.kind.name, attempts=leased.attempts)
                self._try_again(leased, wait_s=30.0, doubtful=True)

    def _record(self) -> None:
        """Commit outcomes in batches, without making the workers wait."""
        while True:
            first = self._outcomes.get()
            if first is None:
                return
            batch, ended = [first], False
            while len(batch) < RECORD_BATCH:
                try:
                    more = self._outcomes.get_nowait()
                except Empty:
                    break
                if more is None:
                    ended = True
                    break
                batch.append(more)
            self._catalogue.queue.posted([posted for _, posted in batch]).result()
            self._on_recorded({folder_id for folder_id, _ in batch})
            if ended:
                return

    # -- one article -----------------------------------------------------------------------

    def _post_leased(self, leased: LeasedArticle) -> None:
        posting = self._posting_of(leased.folder_id)
        if posting is None:
            self._catalogue.queue.give_back([_key(leased)])
            return
        keys = posting.keys_of(leased)
        try:
            if leased.doubtful and self._is_there(leased, keys):
                self._posted(leased, "", None)
                return
            article = self._make(leased, posting, keys)
            receipt = self._news.post(article)
            renamed = receipt.message_id if receipt.message_id != article.name.message_id else None
            self._posted(leased, receipt.server, renamed)
        except (FolderError, ContentMismatch) as error:
            self._abandon(leased, error)
        except PostDuplicate:
            self._settle_duplicate(leased, keys)
        except PostDoubtful:
            self._try_again(leased, wait_s=5.0, doubtful=True)
        except NoServer as error:
            self._rest_until = self._clock.monotonic() + max(SHORTEST_REST_S, error.retry_after_s)
            self._catalogue.queue.retry(leased.segment_row, leased.copy, 0.0, leased.doubtful, False)
        except Cancelled:
            # The news service closes; an earlier try of the same POST may have left something behind.
            self._catalogue.queue.retry(leased.segment_row, leased.copy, 0.0, True, False)
        except NewsError as error:
            wait_s = min(LONGEST_BACKOFF_S, 5.0 * 2**leased.attempts)
            self._try_again(leased, wait_s, leased.doubtful, error)

    def _make(self, leased: LeasedArticle, posting: FolderPosting, keys: ReadKeys) -> OutgoingArticle:
        """Read, seal and encode; only the encoded article outlives the bench."""
        bench = self._benches.get()
        try:
            content = read_content(
                self._catalogue, leased.segment_row, leased.kind, leased.length, posting.root, bench
            )
            # Pages are compressed one by one, and heads are too small for it to pay.
            codec = posting.compression if leased.kind is ArticleKind.DATA else Compression.NONE
            address = wire_address(leased)
            body = bench.seal(keys, address, content, codec)
            name = name_article(keys.location, address)
            return build_article(name, choose_groups(posting.newsgroups, leased), body)
        finally:
            self._benches.put(bench)

    def _is_there(self, leased: LeasedArticle, keys: ReadKeys) -> bool:
        """Whether the article that may have been posted is on a server, and is ours."""
        address = wire_address(leased)
        try:
            raw = self._news.fetch_one(message_id_of(keys.location, address))
            open_sealed(keys, address, decode_body(raw))
        except ArticleMissing:
            return False
        except FormatError:
            return False
        return True

    def _settle_duplicate(self, leased: LeasedArticle, keys: ReadKeys) -> None:
        """The server has this id already: ours, or an id that it will never take again."""
        try:
            ours = self._is_there(leased, keys)
        except NewsError:
            self._try_again(leased, wait_s=5.0, doubtful=True)
            return
        if ours:
            self._posted(leased, "", None)
        else:
            self._catalogue.queue.next_generation(leased.segment_row, leased.copy).result()
            log.warning("article_moved_to_next_generation", generation=leased.generation + 1)

    def _posted(self, leased: LeasedArticle, server: str, renamed: str | None) -> None:
        self._rate.add(leased.length)
        posted = PostedArticle(
            leased.segment_row, leased.copy, leased.generation, server, renamed, self._clock.now()
        )
        self._outcomes.put((leased.folder_id, posted))

    def _abandon(self, leased: LeasedArticle, error: UsenetSyncError) -> None:
        """The source changed before it was posted: plan its files anew."""
        self._catalogue.queue.abandon(leased.segment_row, leased.copy).result()
        log.info("segment_abandoned", reason=str(error))
        self._on_changed(leased.folder_id)

    def _try_again(
        self,
        leased: LeasedArticle,
        wait_s: float,
        doubtful: bool = False,
        error: UsenetSyncError | None = None,
    ) -> None:
        if leased.attempts >= MAX_ATTEMPTS:
            reason = str(error) if error else "no answer"
            self._catalogue.queue.failed(leased.segment_row, leased.copy, reason)
            log.error("article_failed", attempts=leased.attempts, reason=reason)
            self._catalogue.events.add(
                "error", "article_failed", f"an article was given up: {reason}", leased.folder_id
            )
            return
        not_before = self._clock.now() + wait_s
        self._catalogue.queue.retry(leased.segment_row, leased.copy, not_before, doubtful, True)


def wire_address(leased: LeasedArticle) -> ArticleAddress:
    """The address on the wire of a queued article; an envelope keeps its share's tag behind the serial."""
    if leased.kind is ArticleKind.ENVELOPE:
        return envelope_address(int.from_bytes(leased.seg_id[:8]), leased.copy, leased.generation)
    return ArticleAddress(leased.kind, leased.seg_id, leased.copy, leased.generation)


def choose_groups(groups: tuple[str, ...], leased: LeasedArticle) -> tuple[str, ...]:
    """One of the folder's newsgroups, by the article's id, so that a repeated POST goes to the same one."""
    return (groups[(leased.seg_id[0] + leased.copy) % len(groups)],)


def _key(leased: LeasedArticle) -> ArticleKey:
    return ArticleKey(leased.segment_row, leased.copy)
