"""The long ways to a segment that does not come under its plain name.

In this order: other copies, generations and servers; the other segments of its stripe; its subject in the overviews of
newsgroups. ``WAYS`` counts what each of them gave since the process was started.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from threading import Event

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError, UsenetSyncError
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.flows.listed import ListedNames, ListedStripes
from usenetsyncd.flows.rebuild import Rebuilder
from usenetsyncd.flows.retrieve import WAYS, retrieve
from usenetsyncd.flows.subjects import SubjectFinder
from usenetsyncd.model import ArticleAddress, ArticleKind, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.head import Head
from usenetsyncd.wire.keys import ReadKeys

log = structlog.get_logger("retrieve")

# One search reads the overviews of whole groups: for all that a batch lacks at once, and not for ever in vain.
SEARCHES_IN_VAIN = 3


class Recovery:
    """Finds segments of one version. Single use, like the job that it serves."""

    def __init__(
        self,
        news: NewsService,
        rings: Sequence[ReadKeys],
        head: Head,
        scratch: Path,
        stop: Event,
        groups: Sequence[str] = (),
    ) -> None:
        """scratch: where files may be made whose names begin like this. groups: to search for subjects, or none."""
        self._news = news
        self._rings = rings
        self._subjects = SubjectFinder(news, groups, stop)
        self._in_vain = 0
        # The list of changed ids is itself in index segments, which it cannot lead to.
        plain = IndexReader(news, rings, last_resort=self._index_by_subject)
        self._names = ListedNames(head.overrides, plain.load, scratch.with_suffix(".names"))
        self.name_of = self._names.name_of
        self.index = IndexReader(news, rings, self.name_of, self._index_by_subject)
        self._stripes = ListedStripes(head.stripes, self.index.load, scratch.with_suffix(".stripes"))
        self._rebuilder = Rebuilder(news, rings, self._stripes, stop, self.name_of)

    def find(self, wanted: Collection[SegmentId]) -> Iterator[tuple[SegmentId, bytes | UsenetSyncError]]:
        """Each of these data segments once, with its content or with the reason why it cannot be had.

        Raises NewsError where that is not known, Cancelled.
        """
        lost: dict[SegmentId, UsenetSyncError] = {}
        for seg_id in wanted:
            try:
                yield seg_id, self._find_one(seg_id)
            except (ArticleMissing, FormatError) as error:
                lost[seg_id] = error
        found = self._search(ArticleKind.DATA, lost) if lost else {}
        for seg_id, reason in lost.items():
            WAYS.add("by_subject" if seg_id in found else "nowhere")
            yield seg_id, found.get(seg_id) or reason

    def close(self) -> None:
        """Remove what was made on disk."""
        self._stripes.close()
        self._names.close()

    def _find_one(self, seg_id: SegmentId) -> bytes:
        at = ArticleAddress(ArticleKind.DATA, seg_id)
        try:
            return retrieve(self._news, self._rings, at, self.name_of)
        except (ArticleMissing, FormatError) as error:
            content = self._rebuilder.rebuild(seg_id)
            if content is None:
                raise
            WAYS.add("by_parity")
            log.info("segment_rebuilt", reason=str(error))
            return content

    def _index_by_subject(self, seg_id: SegmentId) -> bytes | None:
        content = self._search(ArticleKind.INDEX, (seg_id,)).get(seg_id)
        if content is not None:
            WAYS.add("by_subject")
        return content

    def _search(self, kind: ArticleKind, lost: Collection[SegmentId]) -> dict[SegmentId, bytes]:
        """By their subjects, which servers that change message-ids leave alone."""
        if self._in_vain >= SEARCHES_IN_VAIN:
            return {}
        places = [ArticleAddress(kind, seg_id) for seg_id in lost]
        found = {SegmentId(at.id): content for at, content in self._subjects.open_all(self._rings, places)}
        self._in_vain = 0 if found else self._in_vain + 1
        return found
