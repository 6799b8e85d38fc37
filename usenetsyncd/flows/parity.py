"""Make parity: posted segments become stripes, their parity segments wait on disk until they are posted.

Contents come from the files once more, while these are as they were; a segment that other files still need after one of
its own has changed is fetched from a server instead. What nobody needs any more gets no parity.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import Event

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import SegmentRow
from usenetsyncd.clock import Clock
from usenetsyncd.errors import ArticleMissing, FolderError, FormatError, NewsError, RootMissing
from usenetsyncd.flows.content import Origins
from usenetsyncd.flows.rebuild import CatalogueStripes
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.flows.staging import Staging
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.model import ArticleAddress, ArticleKind, Priority, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.parity import encode_parity, parity_for, shape_of
from usenetsyncd.wire.seal import Workbench
from usenetsyncd.wire.segment import content_hash, segment_id
from usenetsyncd.wire.stripes import Stripe

log = structlog.get_logger("parity")

# Parity segments on disk that wait to be posted: 200 MB at most. Beyond that, servers are what is slow.
MAX_STAGED = 256
# Segments of like length make a stripe, so that little of its parity stands for padding: chosen among that many stripes.
WINDOW_STRIPES = 4
# A member that could not be read or fetched for reasons that pass is not asked for again before that.
POSTPONED_S = 300.0


@dataclass(frozen=True, slots=True)
class ParityFolder:
    """A folder for which parity is made. fraction: parity segments for each of data, 0 < fraction <= 1.

    keys_of: the keys of an epoch. copies, priority: of the parity articles.
    """

    row: int
    root: bytes
    fraction: float
    copies: int
    priority: Priority
    keys_of: Callable[[int], ReadKeys]


@dataclass(slots=True)
class Made:
    """What one call has made. left: segments that wait for a fuller stripe, or for better times."""

    stripes: int = 0
    parity: int = 0
    left: int = 0


class ParityMaker:
    """Makes the stripes of all folders, one at a time; for one thread."""

    def __init__(
        self,
        catalogue: Catalogue,
        news: NewsService,
        staging: Staging,
        clock: Clock,
        stop: Event,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """stop: ends whatever is under way between two stripes. beat: called for each stripe."""
        self._catalogue = catalogue
        self._news = news
        self._staging = staging
        self._clock = clock
        self._stop = stop
        self._beat = beat
        self._bench: Workbench | None = None
        self._postponed: dict[int, float] = {}
        self._staged: int | None = None  # not known before the first look

    # -- staged content --------------------------------------------------------------------

    def tidy(self) -> int:
        """Remove staged content that is posted, or that nothing wants; how many remain. Raises StagingFailed."""
        if self._staged == 0:
            return 0
        kept = 0

        def keep(seg_id: SegmentId) -> bool:
            nonlocal kept
            wanted = self._catalogue.stripes.parity_wanted(seg_id)
            kept += wanted
            return wanted

        self._staging.sweep(keep)
        self._staged = kept
        return kept

    def recover(self, folder: ParityFolder) -> None:
        """After a start: parity whose staged content is gone is made again, or its stripe given up.

        Raises DiskFull, StagingFailed, NewsError.
        """
        for row, stripe in self._catalogue.stripes.unposted(folder.row):
            if self._stop.is_set():
                return
            self._beat()
            if not self._restage(folder, stripe):
                self._catalogue.stripes.give_up(row).result()
                log.warning("stripe_given_up", folder=folder.row, members=len(stripe.members))

    def _restage(self, folder: ParityFolder, stripe: Stripe) -> bool:
        """Whether every parity segment of the stripe is posted, or can be."""
        kinds = self._catalogue.segments
        rows = [kinds.find(folder.row, ArticleKind.PARITY, seg_id) for seg_id in stripe.parity]
        if not any(self._catalogue.stripes.parity_wanted(seg_id) for seg_id in stripe.parity):
            return False
        missing = [
            seg_id
            for seg_id in stripe.parity
            if self._catalogue.stripes.parity_wanted(seg_id) and self._staging.read(seg_id) is None
        ]
        if not missing or rows[0] is None:
            return not missing
        members = [kinds.find(folder.row, ArticleKind.DATA, member.segment) for member in stripe.members]
        found = [member for member in members if member is not None]
        contents, out = self._contents(folder, found)
        if len(contents) != len(stripe.members) or out:
            return False
        keys = folder.keys_of(rows[0].epoch)
        for content in encode_parity([content for _, content in contents], len(stripe.parity)):
            seg_id = segment_id(content_hash(keys.identity, content))
            if seg_id in missing:
                self._stage(seg_id, content)
                missing.remove(seg_id)
        return not missing

    # -- making ----------------------------------------------------------------------------

    def make(self, folder: ParityFolder, rest: bool) -> Made:
        """Make all full stripes that there are segments for; with ``rest``, smaller ones of what is left over.

        Returns early when enough parity waits to be posted, or stop is set. Raises DiskFull, StagingFailed.
        """
        made = Made()
        if not self._catalogue.stripes.unprotected_count(folder.row):
            return made
        try:
            FolderRoot(folder.root).close()
        except RootMissing:
            made.left = self._catalogue.stripes.unprotected_count(folder.row)
            return made
        staged = self.tidy()
        while staged < MAX_STAGED and not self._stop.is_set():
            self._beat()
            members = self._choose(folder, rest)
            if not members:
                break
            parity = self._make_stripe(folder, members, rest)
            staged += parity
            made.stripes += parity > 0
            made.parity += parity
        made.left = self._catalogue.stripes.unprotected_count(folder.row)
        self._bench = None
        if made.stripes:
            log.info("parity_made", folder=folder.row, stripes=made.stripes, segments=made.parity)
        return made

    def _choose(self, folder: ParityFolder, rest: bool) -> list[SegmentRow]:
        """The next stripe's members: of one epoch and of like length, the one that waits longest among them."""
        shape = shape_of(folder.fraction)
        now = self._clock.monotonic()
        self._postponed = {row: until for row, until in self._postponed.items() if until > now}
        limit = WINDOW_STRIPES * shape.data + len(self._postponed)
        waiting = self._catalogue.stripes.unprotected(folder.row, limit)
        waiting = [segment for segment in waiting if segment.id not in self._postponed]
        by_epoch = [
            list(group) for _, group in groupby(sorted(waiting, key=_by_epoch), key=lambda one: one.epoch)
        ]
        for group in by_epoch:
            if len(group) >= shape.data:
                return _alike(group, shape.data)
        return by_epoch[0] if rest and by_epoch else []

    def _make_stripe(self, folder: ParityFolder, members: Sequence[SegmentRow], rest: bool) -> int:
        """One stripe, if its members can be had; how many parity segments it got. 0: choose again."""
        contents, gone = self._contents(folder, members)
        if gone:
            self._catalogue.stripes.leave_out(folder.row, gone).result()
        shape = shape_of(folder.fraction)
        if not contents or (len(contents) < shape.data and not rest):
            return 0
        full = len(contents) == shape.data
        count = shape.parity if full else parity_for(len(contents), folder.fraction)
        made = encode_parity([content for _, content in contents], count)
        keys = folder.keys_of(contents[0][0].epoch)
        parity = [segment_id(content_hash(keys.identity, content)) for content in made]
        for seg_id, content in zip(parity, made, strict=True):
            self._stage(seg_id, content)
        rows = [row for row, _ in contents]
        added = self._catalogue.stripes.add(folder.row, rows, parity, folder.copies, folder.priority).result()
        if added is None:
            # Something became of a member between the question and the commit.
            self._postpone(rows)
            return 0
        return count

    def _stage(self, seg_id: SegmentId, content: bytes) -> None:
        self._staged = None
        self._staging.write(seg_id, content)

    def _contents(
        self, folder: ParityFolder, members: Sequence[SegmentRow]
    ) -> tuple[list[tuple[SegmentRow, bytes]], list[int]]:
        """What could be read, in order; and the rows of those that need no parity any more."""
        found: list[tuple[SegmentRow, bytes]] = []
        gone: list[int] = []
        origins = Origins(self._catalogue, [member.id for member in members], 1)
        try:
            for member in members:
                content = self._read(folder, member, origins) or self._fetch(folder, member, gone)
                if content is not None:
                    found.append((member, content))
        finally:
            origins.release()
        return found, gone

    def _read(self, folder: ParityFolder, member: SegmentRow, origins: Origins) -> bytes | None:
        bench = self._bench = self._bench or Workbench()
        try:
            view = origins.read(member.id, member.length, folder.root, bench)
        except FolderError:
            return None
        return bytes(view) if _is(member, view, folder.keys_of(member.epoch)) else None

    def _fetch(self, folder: ParityFolder, member: SegmentRow, gone: list[int]) -> bytes | None:
        """A segment whose files changed, if some file still needs it; it is on a server."""
        if not self._catalogue.segments.sources(member.id):
            gone.append(member.id)
            return None
        at = ArticleAddress(ArticleKind.DATA, member.seg_id)
        try:
            names = CatalogueStripes(self._catalogue, folder.row)
            return retrieve(self._news, (folder.keys_of(member.epoch),), at, names.name_of)
        except (ArticleMissing, FormatError) as error:
            log.warning("segment_without_parity", folder=folder.row, reason=str(error))
        except NewsError as error:
            log.debug("parity_postponed", folder=folder.row, reason=str(error))
        self._postpone([member])
        return None

    def _postpone(self, members: Sequence[SegmentRow]) -> None:
        until = self._clock.monotonic() + POSTPONED_S
        self._postponed |= {member.id: until for member in members}


def _by_epoch(segment: SegmentRow) -> tuple[int, int]:
    return segment.epoch, segment.id


def _alike(group: Sequence[SegmentRow], count: int) -> list[SegmentRow]:
    """``count`` of them, the first of the group among them, whose lengths differ least."""
    by_length = sorted(group, key=lambda segment: segment.length)
    place = by_length.index(group[0])
    starts = range(max(0, place - count + 1), min(place, len(by_length) - count) + 1)
    start = min(starts, key=lambda at: by_length[at + count - 1].length - by_length[at].length)
    return sorted(by_length[start : start + count], key=lambda segment: segment.id)


def _is(member: SegmentRow, content: bytes | memoryview, keys: ReadKeys) -> bool:
    return segment_id(content_hash(keys.identity, content)) == member.seg_id
