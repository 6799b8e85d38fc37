"""Make the article of a leased segment: find its content, seal it, encode it, under the name it has on the wire."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import LeasedArticle
from usenetsyncd.errors import NotFound
from usenetsyncd.flows.content import ContentFinder, Origins
from usenetsyncd.flows.envelopes import opened_envelope
from usenetsyncd.model import ArticleAddress, ArticleKind, Compression
from usenetsyncd.wire.article import OutgoingArticle, build_article
from usenetsyncd.wire.keys import ReadKeys, name_article
from usenetsyncd.wire.membership import envelope_address
from usenetsyncd.wire.seal import Workbench

log = structlog.get_logger("upload")


@dataclass(frozen=True, slots=True)
class FolderPosting:
    """All that is needed to post articles of one folder. keys_of: the keys under which one is sealed."""

    root: bytes
    newsgroups: tuple[str, ...]
    compression: Compression
    keys_of: Callable[[LeasedArticle], ReadKeys]


class ArticleMaker:
    """Makes articles for many threads at once; each brings a bench of its own."""

    def __init__(self, catalogue: Catalogue, finder: ContentFinder | None) -> None:
        """finder: where to look for what is posted again. Without one, only in the source."""
        self._catalogue = catalogue
        self._finder = finder

    def make(
        self,
        leased: LeasedArticle,
        origins: Origins,
        posting: FolderPosting,
        keys: ReadKeys,
        bench: Workbench,
    ) -> OutgoingArticle:
        """From its source; only the encoded article outlives the use of the bench.

        Raises FolderError, ContentMismatch and NotFound when the source is not any more what was planned.
        """
        return self.seal(leased, self._content(leased, origins, posting, keys, bench), posting, keys, bench)

    def find(self, leased: LeasedArticle, posting: FolderPosting, keys: ReadKeys) -> bytes | None:
        """The content of an article that was posted before, from wherever it still is. May take as long as servers do.

        None for one that never was: its source is all there is. Raises ContentGone, and NewsError when that cannot be
        known now.
        """
        if self._finder is None or not was_posted(leased):
            return None
        found = self._finder.find(leased, wire_address(leased), posting.root, keys)
        log.debug("content_found", way=found.way.value, kind=leased.kind.name)
        return found.content

    def seal(
        self,
        leased: LeasedArticle,
        content: bytes | memoryview,
        posting: FolderPosting,
        keys: ReadKeys,
        bench: Workbench,
    ) -> OutgoingArticle:
        """From its content. Raises ContentMismatch."""
        address = wire_address(leased)
        body = bench.seal(keys, address, content, self._codec(leased, posting))
        name = name_article(keys.location, address)
        return build_article(name, choose_groups(posting.newsgroups, leased), body)

    def _content(
        self,
        leased: LeasedArticle,
        origins: Origins,
        posting: FolderPosting,
        keys: ReadKeys,
        bench: Workbench,
    ) -> bytes | memoryview:
        if leased.kind is ArticleKind.DATA:
            return origins.read(leased.segment_row, leased.length, posting.root, bench)
        if leased.kind is ArticleKind.PARITY:
            raise NotFound("parity is in no file")
        kept = self._catalogue.segments.blob(leased.segment_row)
        return opened_envelope(keys, kept) if leased.kind is ArticleKind.ENVELOPE else kept

    def _codec(self, leased: LeasedArticle, posting: FolderPosting) -> Compression:
        # Pages are compressed one by one, parity is noise, and heads are too small for it to pay.
        return posting.compression if leased.kind is ArticleKind.DATA else Compression.NONE


class Addressed(Protocol):
    """What an article's address on the wire is made from: any row of one has it."""

    @property
    def kind(self) -> ArticleKind:
        """What it carries."""

    @property
    def seg_id(self) -> bytes:
        """The id in the catalogue."""

    @property
    def copy(self) -> int:
        """Which copy."""

    @property
    def generation(self) -> int:
        """Which generation of it."""


def was_posted(leased: LeasedArticle) -> bool:
    """Whether its content may be elsewhere than in the source: it is posted again, or is parity."""
    return leased.generation > 0 or leased.kind is not ArticleKind.DATA


def wire_address(article: Addressed) -> ArticleAddress:
    """The address on the wire of a queued article; an envelope keeps its share's tag behind the serial."""
    if article.kind is ArticleKind.ENVELOPE:
        return envelope_address(int.from_bytes(article.seg_id[:8]), article.copy, article.generation)
    return ArticleAddress(article.kind, article.seg_id, article.copy, article.generation)


def choose_groups(groups: tuple[str, ...], leased: LeasedArticle) -> tuple[str, ...]:
    """One of the folder's newsgroups: the same for a repeated POST, another for another copy or generation."""
    return (groups[(leased.seg_id[0] + leased.copy + leased.generation) % len(groups)],)
