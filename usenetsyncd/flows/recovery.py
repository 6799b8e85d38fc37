"""The long ways to a segment that does not come under its plain name.

In this order: other copies, generations and servers; the other segments of its stripe; its subject in the overviews of
newsgroups. ``WAYS`` counts what each of them gave since the process was started.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from threading import Event

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError, NewsError, UsenetSyncError
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.flows.listed import ListedNames, ListedStripes
from usenetsyncd.flows.rebuild import Rebuilder
from usenetsyncd.flows.retrieve import COPIES_ASKED, WAYS, retrieve
from usenetsyncd.model import ArticleAddress, ArticleKind, MessageId, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.head import Head
from usenetsyncd.wire.keys import ReadKeys, name_article
from usenetsyncd.wire.seal import open_sealed

log = structlog.get_logger("retrieve")

GENERATIONS_BY_SUBJECT = 2
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
        self._stop = stop
        self._groups = groups
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
        if not self._groups or self._in_vain >= SEARCHES_IN_VAIN:
            return {}
        subjects: dict[str, tuple[ReadKeys, ArticleAddress]] = {}
        for keys in self._rings:
            for seg_id in lost:
                for copy in range(COPIES_ASKED):
                    for generation in range(GENERATIONS_BY_SUBJECT):
                        at = ArticleAddress(kind, seg_id, copy, generation)
                        subjects[name_article(keys.location, at).subject] = keys, at
        found: dict[SegmentId, bytes] = {}
        try:
            candidates = self._news.find_by_subject(self._groups, list(subjects), stop=self._stop)
        except NewsError as error:
            log.warning("subjects_not_searched", reason=str(error))
            candidates = {}
        for subject, places in candidates.items():
            keys, at = subjects[subject]
            for server, message_id in places:
                if at.id not in found:
                    content = self._open(server, message_id, keys, at)
                    if content is not None:
                        found[SegmentId(at.id)] = content
        self._in_vain = 0 if found else self._in_vain + 1
        return found

    def _open(self, server: str, name: MessageId, keys: ReadKeys, at: ArticleAddress) -> bytes | None:
        """Anybody may post under any subject: only what opens at its own address counts."""
        bodies: list[bytes] = []

        def take(_: MessageId, raw: bytes | None, error: NewsError | None) -> None:
            if raw is not None:
                bodies.append(raw)

        try:
            self._news.fetch_from(server, [name], take, self._stop)
            return open_sealed(keys, at, decode_body(bodies[0])) if bodies else None
        except FormatError:
            return None
