"""The list of stripes: which segments parity was computed over, and where that parity is.

Source: docs/format.md 16 (stripes and parity); vectors/lists.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, SegmentId
from usenetsyncd.wire.columns import STRIPE_LIST, PageReader, PageWriter
from usenetsyncd.wire.page_lists import ListFormat
from usenetsyncd.wire.parity import MAX_DATA, MAX_PARITY

MAX_STRIPES = 512
FULL_STRIPES = 128


@dataclass(frozen=True, slots=True)
class Member:
    """A data segment of a stripe, and the length of its content in bytes."""

    segment: SegmentId
    length: int


@dataclass(frozen=True, slots=True)
class Stripe:
    """1..128 data segments in their order, and 1..128 parity segments, each as long as the longest of those."""

    members: tuple[Member, ...]
    parity: tuple[SegmentId, ...]

    @property
    def length(self) -> int:
        """Bytes of each parity segment."""
        return max(member.length for member in self.members)

    @property
    def segments(self) -> tuple[SegmentId, ...]:
        """All of them by position: data, then parity."""
        return (*(member.segment for member in self.members), *self.parity)


def _write(page: PageWriter, stripes: Sequence[Stripe]) -> None:
    for stripe in stripes:
        _check(stripe)
    members = [member for stripe in stripes for member in stripe.members]
    page.column([len(stripe.members) for stripe in stripes])
    page.column([len(stripe.parity) for stripe in stripes])
    page.column([member.length for member in members])
    page.blob(b"".join([member.segment for member in members]))
    page.blob(b"".join([segment for stripe in stripes for segment in stripe.parity]))


def _read(page: PageReader) -> list[Stripe]:
    data, parity = page.column(page.count), page.column(page.count)
    if max(data) > MAX_DATA or max(parity) > MAX_PARITY:
        raise LimitExceeded("a stripe of too many segments")
    if not (min(data) and min(parity)):
        raise FormatError("a stripe without data or without parity")
    lengths = page.column(sum(data))
    if not min(lengths) or max(lengths) > SEGMENT_SIZE_BYTES:
        raise FormatError("a stripe of a segment that cannot be")
    members = iter(list(map(Member, map(SegmentId, page.ids(sum(data))), lengths)))
    others = iter(list(map(SegmentId, page.ids(sum(parity)))))
    stripes = [
        Stripe(tuple(islice(members, k)), tuple(islice(others, m))) for k, m in zip(data, parity, strict=True)
    ]
    for stripe in stripes:
        _check_apart(stripe)
    return stripes


def _check(stripe: Stripe) -> None:
    """What a reader would refuse is not written."""
    if not (1 <= len(stripe.members) <= MAX_DATA and 1 <= len(stripe.parity) <= MAX_PARITY):
        raise LimitExceeded(
            f"no stripe has {len(stripe.members)} data and {len(stripe.parity)} parity segments"
        )
    if any(not 1 <= member.length <= SEGMENT_SIZE_BYTES for member in stripe.members):
        raise FormatError("a stripe of a segment that cannot be")
    if any(len(segment) != 16 for segment in stripe.segments):
        raise FormatError("a segment id has 16 bytes")
    _check_apart(stripe)


def _check_apart(stripe: Stripe) -> None:
    if len({member.segment for member in stripe.members}) != len(stripe.members):
        raise FormatError("a stripe names one data segment twice")


STRIPES: ListFormat[Stripe] = ListFormat(STRIPE_LIST, MAX_STRIPES, FULL_STRIPES, _write, _read)
