"""Give back a segment that no server has any more, from the others of its stripe.

What comes out is compared with the hash that its id is, whoever wrote the list of stripes. One stripe is held at a time,
and what else it gave is kept for a while: where one member is lost, others often are.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Event, Lock
from typing import Protocol

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import ArticleMissing, FormatError, NewsError
from usenetsyncd.flows.retrieve import NameOf, derived, retrieve
from usenetsyncd.model import ArticleAddress, ArticleKind, MessageId, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.parity import encode_parity, rebuild_members
from usenetsyncd.wire.seal import open_sealed
from usenetsyncd.wire.segment import content_hash, segment_id
from usenetsyncd.wire.stripes import Stripe

log = structlog.get_logger("rebuild")

HELD_SEGMENTS = 32  # of at most 768,000 bytes
# Stripes that cannot be rebuilt are not fetched a second time for their other members, unless a repair may have come.
HOPELESS_KEPT = 4_096
HOPELESS_S = 60.0


class StripeSource(Protocol):
    """Where it stands which segments are in one stripe."""

    def stripe_of(self, seg_id: SegmentId) -> Stripe | None:
        """A stripe that this segment, data or parity, is in. Raises NewsError."""


class CatalogueStripes:
    """What the owner of a folder knows of its stripes."""

    def __init__(self, catalogue: Catalogue, folder_row: int) -> None:
        self._catalogue = catalogue
        self._folder_row = folder_row

    def stripe_of(self, seg_id: SegmentId) -> Stripe | None:
        """See StripeSource."""
        return self._catalogue.stripes.find(self._folder_row, seg_id)

    def name_of(self, keys: ReadKeys, at: ArticleAddress) -> MessageId:
        """Under which id an article of the folder is, where servers changed some."""
        return self._catalogue.stripes.message_id(self._folder_row, at) or derived(keys, at)


class Rebuilder:
    """Rebuilds segments of one folder, one stripe at a time. For any number of threads, which wait for each other."""

    def __init__(
        self,
        news: NewsService,
        rings: Sequence[ReadKeys],
        source: StripeSource,
        stop: Event | None = None,
        name_of: NameOf = derived,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """rings: the read keys to try, newest epoch first."""
        self._news = news
        self._rings = rings
        self._source = source
        self._stop = stop
        self._name_of = name_of
        self._clock = clock
        self._lock = Lock()
        self._held: OrderedDict[SegmentId, bytes] = OrderedDict()
        self._hopeless: OrderedDict[Stripe, float] = OrderedDict()

    def rebuild(self, seg_id: SegmentId) -> bytes | None:
        """The content of a data or parity segment, its hash checked; None when too much of its stripe is gone.

        Raises NewsError when that cannot be known now, Cancelled.
        """
        with self._lock:
            held = self._held.pop(seg_id, None)
            if held is not None:
                return held
            stripe = self._source.stripe_of(seg_id)
            if stripe is None or self._hopeless.get(stripe, 0.0) > self._clock.monotonic():
                return None
            blocks = self._gather(stripe, seg_id)
            if len(blocks) < len(stripe.members):
                self._give_up(stripe, len(blocks))
                return None
            for found, content in self._solve(stripe, blocks):
                self._held[found] = content
                self._held.move_to_end(found)
            while len(self._held) > HELD_SEGMENTS:
                self._held.popitem(last=False)
            return self._held.pop(seg_id, None)

    def _give_up(self, stripe: Stripe, found: int) -> None:
        log.warning("stripe_beyond_rebuilding", segments=found, needed=len(stripe.members))
        self._hopeless[stripe] = self._clock.monotonic() + HOPELESS_S
        while len(self._hopeless) > HOPELESS_KEPT:
            self._hopeless.popitem(last=False)

    def _gather(self, stripe: Stripe, lost: SegmentId) -> dict[int, bytes]:
        """Contents by position, as many as are needed or to be had: first in bulk by their plain names."""
        needed = len(stripe.members)
        segments = stripe.segments
        blocks: dict[int, bytes] = {}
        # Of one data segment, parity has the same content and so the same id.
        others = [at for at, segment in enumerate(segments) if segment != lost or needed == 1]
        asked = 0
        while len(blocks) < needed and asked < len(others):
            part = others[asked : asked + needed - len(blocks)]
            asked += len(part)
            self._fetch(stripe, part, blocks)
        for position in others:
            if len(blocks) >= needed:
                break
            if position not in blocks:
                self._seek(stripe, position, blocks)
        return blocks

    def _fetch(self, stripe: Stripe, positions: Sequence[int], blocks: dict[int, bytes]) -> None:
        keys = self._rings[0]
        at: dict[MessageId, int] = {}
        for position in positions:
            at[self._name_of(keys, _address(stripe, position))] = position

        def take(name: MessageId, raw: bytes | None, error: NewsError | None) -> None:
            if raw is None:
                return
            try:
                content = open_sealed(keys, _address(stripe, at[name]), decode_body(raw))
            except FormatError:
                return
            self._keep(stripe, at[name], content, blocks)

        self._news.fetch(list(at), take, self._stop)

    def _seek(self, stripe: Stripe, position: int, blocks: dict[int, bytes]) -> None:
        """Another copy, generation, server or epoch of one member."""
        try:
            content = retrieve(self._news, self._rings, _address(stripe, position), self._name_of)
        except (ArticleMissing, FormatError):
            return
        self._keep(stripe, position, content, blocks)

    def _keep(self, stripe: Stripe, position: int, content: bytes, blocks: dict[int, bytes]) -> None:
        """The same segment may stand for several parity positions; what has another length than promised is none."""
        data = len(stripe.members)
        expected = stripe.members[position].length if position < data else stripe.length
        if len(content) != expected:
            return
        blocks[position] = content
        if position >= data:
            same = stripe.parity[position - data]
            blocks.update({data + at: content for at, other in enumerate(stripe.parity) if other == same})

    def _solve(self, stripe: Stripe, blocks: dict[int, bytes]) -> list[tuple[SegmentId, bytes]]:
        """All members that were not fetched and are what their ids say."""
        data = len(stripe.members)
        lengths = [member.length for member in stripe.members]
        made = rebuild_members(lengths, len(stripe.parity), blocks)
        whole = [made.get(at, blocks.get(at, b"")) for at in range(data)]
        found = [(stripe.members[at].segment, content) for at, content in made.items()]
        if any(data + at not in blocks for at in range(len(stripe.parity))):
            found += zip(stripe.parity, encode_parity(whole, len(stripe.parity)), strict=True)
        right = [(segment, content) for segment, content in found if self._is(segment, content)]
        if len(right) < len(found):
            log.warning("stripe_lies", segments=len(found) - len(right))
        return right

    def _is(self, segment: SegmentId, content: bytes) -> bool:
        return any(segment_id(content_hash(keys.identity, content)) == segment for keys in self._rings)


def _address(stripe: Stripe, position: int) -> ArticleAddress:
    data = len(stripe.members)
    kind = ArticleKind.DATA if position < data else ArticleKind.PARITY
    return ArticleAddress(kind, stripe.segments[position])
