"""Index segments under construction: finished pages are laid one after another into the open one."""

from collections.abc import Callable
from dataclasses import replace

from usenetsyncd.model import SEGMENT_SIZE_BYTES, PageRef, SegmentId
from usenetsyncd.wire.columns import SELF, Locate, compress_page

SealSegment = Callable[[bytes], SegmentId]


class IndexSegments:
    """Lays pages into index segments and seals each one that is full.

    A page's segment has no id before it is sealed. Until then a token of another length than 16
    stands for it; ``absolute`` replaces it. sealed: ids in order. size_bytes: of the sealed ones.
    """

    def __init__(self, seal_segment: SealSegment) -> None:
        self._seal = seal_segment
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._ids: dict[SegmentId, SegmentId] = {}
        self.sealed: list[SegmentId] = []
        self.pages = 0
        self.size_bytes = 0

    @property
    def _token(self) -> SegmentId:
        return SegmentId(b"open %d" % len(self.sealed))

    def place(self, encode: Callable[[Locate], bytes]) -> PageRef:
        """Compress a page and lay it down. ``encode`` may be called twice: ids change at a border."""
        stored = compress_page(encode(self._locate))
        if self._open_bytes + len(stored) > SEGMENT_SIZE_BYTES:
            self.finish()
            stored = compress_page(encode(self._locate))
        ref = PageRef(self._token, self._open_bytes, len(stored))
        self._open.append(stored)
        self._open_bytes += len(stored)
        self.pages += 1
        return ref

    def finish(self) -> None:
        """Seal what is open."""
        if not self._open:
            return
        token = self._token
        identity = self._seal(b"".join(self._open))
        self._ids[token] = identity
        self.sealed.append(identity)
        self.size_bytes += self._open_bytes
        self._open, self._open_bytes = [], 0

    def _locate(self, segment: SegmentId) -> SegmentId:
        return SELF if segment == self._token else self._ids.get(segment, segment)

    def is_new(self, ref: PageRef) -> bool:
        """Whether this page was placed here."""
        return len(ref.segment) != len(SELF)

    def absolute(self, ref: PageRef) -> PageRef:
        """The reference with its segment's id; only after ``finish``."""
        return replace(ref, segment=self._ids.get(ref.segment, ref.segment))
