"""Find the old pieces of a large file in its new content, wherever they stand now.

Slices of a fixed length are all different after one byte was inserted at the front. But the old pieces are still in
there: each is sought by its mark, the first bytes of it, and believed when its content has the hash that its id is.
What stands between two of them is new. So an insertion, a deletion or an overwritten stretch costs about the stretch
itself, at the speed of ``bytes.find`` and of the hash; why not content-defined chunks: docs/decisions/0013.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from usenetsyncd.catalogue.batches import PieceRow
from usenetsyncd.folders.read import OpenFile
from usenetsyncd.model import SEGMENT_SIZE_BYTES
from usenetsyncd.wire.segment import PACK_LIMIT_BYTES, content_hash, segment_id

MARK_BYTES = 8
"""So many first bytes of a segment are remembered to find it again. A wrong find costs one hash."""

# How far ahead an old piece is sought; a piece that begins there must be in the window whole.
_SEARCH_BYTES = 2 * SEGMENT_SIZE_BYTES
_WINDOW_BYTES = _SEARCH_BYTES + SEGMENT_SIZE_BYTES
# Of how many pieces that could come next: after a match, and when the last slices were all new.
_NEAR, _FEW = 64, 4
_STUBBORN = 8
# Once in a file, all that are left are sought: a long stretch may have been taken out.
_ALL = 20_000
# The mark of one piece may stand in many places by chance; a piece is not worth more hashes than this.
_TRIES = 3


class Slice(NamedTuple):
    """A part of the file that is a segment. hash: 32 bytes."""

    position: int
    hash: bytes
    length: int
    mark: bytes


@dataclass(slots=True)
class Aligned:
    """The file as it is now, in segments: old ones where they still fit. tail: what is left and is to be packed."""

    slices: list[Slice] = field(default_factory=list)
    tail: bytes = b""


def realign(
    opened: OpenFile, identity: bytes, old: Sequence[PieceRow], check_stop: Callable[[], None]
) -> Aligned:
    """Cut a file so that as many old pieces as possible are used again.

    identity: the key of the content hash. old: in order. check_stop: called for each piece; raises to end it.
    Holds a window of 2.3 MB. Raises FileChanged, FileUnreadable.
    """
    return _Realignment(opened, identity, old, check_stop).run()


class _Realignment:
    def __init__(
        self, opened: OpenFile, identity: bytes, old: Sequence[PieceRow], check_stop: Callable[[], None]
    ) -> None:
        self._opened = opened
        self._size = opened.key.size
        self._identity = identity
        self._old = old
        self._index = {piece.position: at for at, piece in enumerate(old)}
        self._check_stop = check_stop
        self._window = bytearray(min(_WINDOW_BYTES, self._size))
        self._start = self._end = 0  # which part of the file the window holds
        self._position = 0
        self._next = 0  # the old piece that follows the last one found
        self._shift = 0
        self._misses = 0
        self._searched_all = False
        self._made = Aligned()

    def run(self) -> Aligned:
        while self._position < self._size:
            self._check_stop()
            self._slide()
            at = self._index.get(self._position - self._shift)
            digest = None if at is None else self._hash_if_there(self._position, self._old[at])
            if at is not None and digest is not None:
                self._take(at, digest)
                continue
            found = self._search()
            if found is None:
                self._misses += 1
                self._add(min(SEGMENT_SIZE_BYTES, self._size - self._position))
            else:
                self._bridge(*found)
        return self._made

    # -- the window ------------------------------------------------------------------------------

    def _slide(self) -> None:
        """Have everything in the window that may be looked at from the present position."""
        wanted = min(self._size, self._position + _WINDOW_BYTES)
        if self._end >= min(wanted, self._position + SEGMENT_SIZE_BYTES + _SEARCH_BYTES // 2):
            return
        view = memoryview(self._window)
        kept = max(0, self._end - self._position)
        if kept:
            view[:kept] = bytes(view[self._position - self._start : self._end - self._start])
        self._start = self._position
        count = wanted - self._position - kept
        self._opened.range(self._position + kept, view[kept : kept + count])
        self._end = wanted

    def _view(self, position: int, length: int) -> memoryview:
        at = position - self._start
        return memoryview(self._window)[at : at + length]

    # -- old pieces ------------------------------------------------------------------------------

    def _hash_if_there(self, position: int, piece: PieceRow) -> bytes | None:
        """The hash of what stands there, if it is the piece."""
        if position + piece.length > self._end:
            return None
        view = self._view(position, piece.length)
        if view[:MARK_BYTES] != piece.mark:
            return None
        digest = content_hash(self._identity, view)
        return digest if segment_id(digest) == piece.seg_id else None

    def _search(self) -> tuple[int, int, bytes] | None:
        """An old piece that is not far ahead: where it begins, its number, and the hash of it."""
        count = _NEAR if self._misses < _STUBBORN else _FEW
        found = self._search_among(range(self._next, min(self._next + count, len(self._old))))
        if found is None and not self._searched_all:
            self._searched_all = True
            found = self._search_among(
                range(self._next + count, min(self._next + count + _ALL, len(self._old)))
            )
        return found

    def _search_among(self, numbers: range) -> tuple[int, int, bytes] | None:
        begin = self._position - self._start
        for at in numbers:
            piece = self._old[at]
            if piece.mark == piece.mark[:1] * MARK_BYTES:
                continue  # zeros and the like are everywhere
            place = begin - 1
            for _ in range(_TRIES):
                place = self._window.find(piece.mark, place + 1, begin + _SEARCH_BYTES + MARK_BYTES)
                if place < 0 or self._start + place >= self._end:
                    break
                digest = self._hash_if_there(self._start + place, piece)
                if digest is not None:
                    return self._start + place, at, digest
        return None

    def _take(self, at: int, digest: bytes) -> None:
        """The piece stands at the present position."""
        piece = self._old[at]
        self._made.slices.append(Slice(self._position, digest, piece.length, piece.mark))
        self._shift = self._position - piece.position
        self._position += piece.length
        self._next = at + 1
        self._misses = 0

    # -- new content -----------------------------------------------------------------------------

    def _bridge(self, position: int, at: int, digest: bytes) -> None:
        """What is new up to an old piece, and that piece. Where it is too little for a segment, the piece goes with it."""
        piece = self._old[at]
        gap = position - self._position
        if 0 < gap < PACK_LIMIT_BYTES:
            self._shift = position - piece.position
            self._next = at + 1
            self._misses = 0
            self._cut(gap + piece.length)
            return
        if gap:
            self._cut(gap)
        self._take(at, digest)

    def _cut(self, length: int) -> None:
        """New content as segments of about the same length."""
        count = -(-length // SEGMENT_SIZE_BYTES)
        for number in range(count):
            self._add(length * (number + 1) // count - length * number // count)

    def _add(self, length: int) -> None:
        view = self._view(self._position, length)
        if length < PACK_LIMIT_BYTES:
            self._made.tail = bytes(view)
        else:
            digest = content_hash(self._identity, view)
            self._made.slices.append(Slice(self._position, digest, length, bytes(view[:MARK_BYTES])))
        self._position += length
