"""Give the pages of a published index, fetched from news servers, a few index segments at a time."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from usenetsyncd.errors import FormatError
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.model import ArticleAddress, ArticleKind, PageRef, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.keys import ReadKeys

CACHED_SEGMENTS = 24  # of at most 768,000 bytes


class IndexReader:
    """``load`` for the page functions, over the network, with a small cache of index segments."""

    def __init__(self, news: NewsService, rings: Sequence[ReadKeys]) -> None:
        self._news = news
        self._rings = rings
        self._cache: OrderedDict[SegmentId, bytes] = OrderedDict()
        self._lock = Lock()
        self.fetched = 0

    def load(self, ref: PageRef) -> bytes:
        """The stored bytes of a page. Raises ArticleMissing, FormatError, NewsError."""
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
        content = retrieve(self._news, self._rings, ArticleAddress(ArticleKind.INDEX, segment))
        self.fetched += 1
        with self._lock:
            self._cache[segment] = content
            while len(self._cache) > CACHED_SEGMENTS:
                self._cache.popitem(last=False)
        return content
