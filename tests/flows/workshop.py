"""One folder with its catalogue, keys and a news server over real sockets; nothing runs until a test asks for it."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ArticleState, LeasedArticle, QueuedArticle, VersionRow
from usenetsyncd.flows.departures import Departures
from usenetsyncd.flows.epochs import Epochs
from usenetsyncd.flows.making import FolderPosting
from usenetsyncd.flows.publish import Publisher
from usenetsyncd.flows.reindex import Progress, Reindex, ReindexOptions, ReindexOutcome
from usenetsyncd.flows.share import Sharer, share_of_envelope
from usenetsyncd.flows.upload import Uploader
from usenetsyncd.loopback.faults import Effects, FaultRules, Occasion
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Compression,
    Entry,
    PageRef,
    RelativePath,
    ServerAccount,
    TlsMode,
)
from usenetsyncd.news.service import NewsService
from usenetsyncd.telemetry.counters import RateWindow
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.keys import (
    ReadKeys,
    SigningKey,
    folder_secret,
    message_id_of,
    read_keys,
    read_secret,
    signing_key,
)
from usenetsyncd.wire.pages import read_tree
from usenetsyncd.wire.seal import open_sealed

PATIENCE_S = 20.0
# Older than the coarsest tick, so that what was just written is not taken for racy.
QUIET_S = 0.03
# Waits of seconds in the reply table become waits of hundredths.
QUICK: dict[str, dict[str, str | int | float]] = {
    name: {"base_s": 0.01, "max_s": 0.02}
    for name in ("article_refused", "article_later", "not_understood", "lost", "lost_at_start", "unreachable")
}


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)


class Witness(FaultRules):
    """Fault rules that also let a test look at the world at the moment when a command arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.on_post: Callable[[str], None] = lambda message_id: None
        self.asked: list[tuple[str, str]] = []

    def __bool__(self) -> bool:
        return True

    def effects(self, occasion: Occasion) -> Effects:
        if occasion.command in ("POST", "BODY", "STAT", "ARTICLE"):
            self.asked.append((occasion.command, occasion.message_id))
        if occasion.command == "POST":
            self.on_post(occasion.message_id)
        return super().effects(occasion)


@dataclass
class Workshop:
    place: Path
    root: Path
    clock: FakeClock
    catalogue: Catalogue
    vault: Vault
    server: LoopbackServer
    witness: Witness
    news: NewsService
    row: int
    secret: bytes
    signing: SigningKey
    keys: ReadKeys
    changed: list[int] = field(default_factory=list)
    recorded: list[set[int]] = field(default_factory=list)
    connections: int = 4

    # -- files -------------------------------------------------------------------------------

    def write(self, path: str, content: bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def fill(self, directory: str, count: int, seed: int, least: int = 20, most: int = 400) -> None:
        """Many small files of different content."""
        dice = random.Random(seed)
        (self.root / directory).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (self.root / directory / f"f{number:05}").write_bytes(dice.randbytes(dice.randint(least, most)))

    # -- indexing ----------------------------------------------------------------------------

    def reindex(
        self,
        stop: threading.Event | None = None,
        on_file: Progress | None = None,
        options: ReindexOptions | None = None,
        beat: Callable[[], None] = lambda: None,
        departures: Departures | None = None,
    ) -> Reindex:
        return Reindex(
            self.catalogue,
            self.row,
            os.fsencode(self.root),
            self.keys,
            options or ReindexOptions(),
            stop or threading.Event(),
            on_file,
            beat=beat,
            departures=departures,
        )

    def scan(
        self,
        parts: Collection[bytes] | None = None,
        options: ReindexOptions | None = None,
        quiet: bool = True,
        on_file: Progress | None = None,
        departures: Departures | None = None,
    ) -> ReindexOutcome:
        if quiet:
            time.sleep(QUIET_S)
        run = self.reindex(options=options, on_file=on_file, departures=departures)
        return run.whole() if parts is None else run.parts([RelativePath(part) for part in parts])

    # -- posting -----------------------------------------------------------------------------

    def posting_of(self, row: int) -> FolderPosting | None:
        def keys_of(leased: LeasedArticle) -> ReadKeys:
            if leased.kind is ArticleKind.ENVELOPE:
                return share_of_envelope(self.catalogue, self.vault, leased, self.signing.fingerprint)
            return self.epochs.keys(leased.epoch)

        return FolderPosting(os.fsencode(self.root), ("alt.binaries.test",), Compression.ZSTD, keys_of)

    @contextmanager
    def uploader(self) -> Iterator[Uploader]:
        made = Uploader(
            self.catalogue,
            self.news,
            self.posting_of,
            self.clock,
            RateWindow(self.clock),
            on_recorded=self.recorded.append,
            on_changed=self.changed.append,
        )
        made.start()
        try:
            yield made
        finally:
            made.stop(5.0)

    def post_all(self, patiently: bool = False) -> None:
        """Post until nothing is left. patiently: let the time pass until what was put off is due."""
        with self.uploader() as uploader:
            self.wait_posted(uploader, patiently)

    def wait_posted(self, uploader: Uploader, patiently: bool = False) -> None:
        def done() -> bool:
            # Never while one is being sent: a clock that jumps is a time-out to the connection.
            if patiently and not {ArticleState.SENDING, ArticleState.ASKING} & self.states().keys():
                self.clock.advance(60)
            uploader.wake()
            return self.catalogue.queue.counts().pending == 0

        wait_until(done, f"everything posted: {self.catalogue.queue.counts()}")

    def states(self) -> Counter[ArticleState]:
        return Counter({s: n for s, n in self.catalogue.queue.counts(self.row).articles.items() if n})

    def articles(self, state: ArticleState, kind: ArticleKind | None = None) -> list[QueuedArticle]:
        found: list[QueuedArticle] = []
        after: str | None = None
        while True:
            page = self.catalogue.queue.page(after, 500, state)
            found += [row for row in page.rows if kind is None or row.kind is kind]
            after = page.next
            if after is None:
                return found

    def posted(self, kind: ArticleKind) -> int:
        return len(self.articles(ArticleState.POSTED, kind))

    def message_id(self, article: QueuedArticle, generation: int | None = None) -> str:
        at = ArticleAddress(
            article.kind,
            article.seg_id,
            article.copy,
            article.generation if generation is None else generation,
        )
        return message_id_of(self.keys.location, at)

    def content_on_server(self, article: QueuedArticle) -> bytes:
        """What a reader gets of an article; raises unless it opens under its own address."""
        at = ArticleAddress(article.kind, article.seg_id, article.copy, article.generation)
        return open_sealed(
            self.keys, at, decode_body(self.news.fetch_one(message_id_of(self.keys.location, at)))
        )

    # -- publishing --------------------------------------------------------------------------

    @property
    def epochs(self) -> Epochs:
        return Epochs(self.secret, self.signing.fingerprint)

    def follow_epoch(self) -> None:
        """Work in the epoch that the folder is in by now."""
        self.keys = self.epochs.keys(self.catalogue.folders.by_id(self.row).epoch)

    def publisher(self) -> Publisher:
        return Publisher(
            self.catalogue, self.news, self.clock, self.row, self.signing, self.keys, epochs=self.epochs
        )

    def sharer(self, copies: int = 1) -> Sharer:
        return Sharer(self.catalogue, self.vault, self.row, self.signing, self.epochs, copies)

    def publish(self) -> VersionRow:
        """A version of what is ready, posted and finished."""
        publisher = self.publisher()
        version = publisher.build()
        self.post_all()
        assert publisher.finish(version)
        return self.catalogue.versions.get(self.row, version.version)

    def commit(self) -> VersionRow:
        """Scan, post, publish."""
        self.scan()
        self.post_all()
        return self.publish()

    def load(self, ref: PageRef) -> bytes:
        content = self.catalogue.segments.find_blob(self.row, ArticleKind.INDEX, ref.segment)
        assert content is not None
        return content[ref.offset : ref.offset + ref.length]

    def index(self, version: VersionRow) -> dict[bytes, Entry]:
        return {bytes(entry.path): entry for entry in read_tree(version.root, self.load)}

    def flush(self) -> None:
        """Whatever was submitted to the catalogue is committed."""
        self.catalogue.writer.run(lambda database: None)

    def assert_sound(self) -> None:
        assert self.catalogue.check(full=True).problems == ()


@contextmanager
def workshop(place: Path, clock: FakeClock, connections: int = 4) -> Iterator[Workshop]:
    root = place / "folder"
    root.mkdir()
    vault = Vault.open(place / "data", {})
    secret = folder_secret(vault.master(), b"u" * 16)
    signing = signing_key(secret)
    keys = read_keys(read_secret(secret, 1), signing.fingerprint)
    witness = Witness()
    with (
        LoopbackServer(place / "spool", faults=witness) as server,
        Catalogue.open(place / "catalogue.sqlite", clock) as catalogue,
    ):
        host, port = server.address
        account = ServerAccount("main", host, port, TlsMode.NONE, connections=connections, timeout_s=5.0)
        news = NewsService([account], clock, QUICK)
        try:
            row = catalogue.folders.ensure("docs", os.fsencode(root), b"u" * 16)
            assert row.epoch == 1
            yield Workshop(
                place, root, clock, catalogue, vault, server, witness, news, row.id, secret, signing, keys
            )
        finally:
            news.close(1.0)
