"""Give the pages of a published index, fetched from news servers, a few index segments at a time."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError, UsenetSyncError
from usenetsyncd.flows.retrieve import NameOf, derived, retrieve
from usenetsyncd.model import ArticleAddress, ArticleKind, Entry, PageRef, RelativePath, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.tree_read import Load, PathRange, below, open_branch, open_root, with_lower

log = structlog.get_logger("index")

CACHED_SEGMENTS = 24  # of at most 768,000 bytes
# Beyond this many index segments that cannot be had, the rest is not worth the asking.
LOST_SEGMENTS = 10_000
LOST_ENTRIES_MAX = 1 << 40


class IndexLost(UsenetSyncError):
    """So much of an index is missing or broken that the rest is not read."""


@dataclass(frozen=True, slots=True)
class LostPage:
    """A page that cannot be read: the paths after ``after`` (None: from the first on) up to ``last``.

    entries: how many the page above it promised.
    """

    after: RelativePath | None
    last: RelativePath
    entries: int
    reason: str


class IndexReader:
    """``load`` for the page functions, over the network, with a small cache of index segments."""

    def __init__(
        self,
        news: NewsService,
        rings: Sequence[ReadKeys],
        name_of: NameOf = derived,
        last_resort: Callable[[SegmentId], bytes | None] = lambda _: None,
    ) -> None:
        """last_resort: asked for an index segment that is nowhere; what it gives is the content, hash checked."""
        self._news = news
        self._last_resort = last_resort
        self._rings = rings
        self._name_of = name_of
        self._cache: OrderedDict[SegmentId, bytes] = OrderedDict()
        self._lost: dict[SegmentId, UsenetSyncError] = {}
        self._lock = Lock()
        self.fetched = 0

    def load(self, ref: PageRef) -> bytes:
        """The stored bytes of a page. Raises ArticleMissing, FormatError, NewsError, IndexLost."""
        content = self._segment(ref.segment)
        if ref.offset + ref.length > len(content):
            raise FormatError("a page lies beyond the end of its index segment")
        return content[ref.offset : ref.offset + ref.length]

    def _segment(self, segment: SegmentId) -> bytes:
        with self._lock:
            content = self._cache.get(segment)
            if content is not None:
                self._cache.move_to_end(segment)
                return content
            if segment in self._lost:
                raise self._lost[segment]
        try:
            at = ArticleAddress(ArticleKind.INDEX, segment)
            content = retrieve(self._news, self._rings, at, self._name_of)
        except (ArticleMissing, FormatError) as error:
            found = self._last_resort(segment)
            if found is None:
                self._remember_lost(segment, error)
                raise
            content = found
        self.fetched += 1
        with self._lock:
            self._cache[segment] = content
            while len(self._cache) > CACHED_SEGMENTS:
                self._cache.popitem(last=False)
        return content

    def _remember_lost(self, segment: SegmentId, error: UsenetSyncError) -> None:
        with self._lock:
            self._lost[segment] = error.with_traceback(None)
            if len(self._lost) > LOST_SEGMENTS:
                raise IndexLost(f"more than {LOST_SEGMENTS:,} articles of the index are lost") from error


def surviving_entries(
    root: PageRef | None, load: Load, prefix: RelativePath, lost: Callable[[LostPage], None]
) -> Iterator[Entry]:
    """Entries in order of their paths, of ``prefix`` and all below it; pages that cannot be read are left out.

    lost: told of each such page. Raises FormatError or ArticleMissing when it is the root page, NewsError
    when servers do not answer, IndexLost.
    """
    if root is None:
        return
    ranges = [PathRange(prefix, prefix + b"\0"), below(prefix)] if prefix else [below(prefix)]
    for wanted in ranges:
        for entries in _surviving_leaves(root, load, wanted, lost):
            for entry in entries:
                if entry.path >= wanted.start and (wanted.stop is None or entry.path < wanted.stop):
                    yield entry


def _surviving_leaves(
    root: PageRef, load: Load, wanted: PathRange, lost: Callable[[LostPage], None]
) -> Iterator[tuple[Entry, ...]]:
    """As ``wire.tree_read`` walks, but past pages that are missing or break their promise."""
    node = open_root(root, load)
    if not node.level:
        yield node.entries
        return
    stack = [(node.level, with_lower(node, None))]
    while stack:
        level, branches = stack[-1]
        for lower, branch in branches:
            if not wanted.meets(lower, branch.last):
                continue
            try:
                node = open_branch(branch, level - 1, lower, load)
            except (ArticleMissing, FormatError) as error:
                log.warning("index_page_lost", entries=branch.totals.entries, reason=str(error))
                promised = min(branch.totals.entries, LOST_ENTRIES_MAX)
                lost(LostPage(lower, branch.last, promised, str(error)))
                continue
            if node.level:
                stack.append((node.level, with_lower(node, lower)))
                break
            yield node.entries
        else:
            stack.pop()
