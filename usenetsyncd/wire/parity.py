"""Reed–Solomon over the contents of segments: any k of the k + m segments of a stripe give back the others.

Contents are padded with zeros to the longest for the arithmetic, and cut to their lengths afterwards.
Source: docs/format.md 16 (stripes and parity); vectors/parity.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

import zfec

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES
from usenetsyncd.wire.keys import Bytes

MAX_DATA = 128
MAX_PARITY = 128

# A rebuild fetches and holds as many segments as a stripe has data: 64 are 49 MB.
_WIDEST = 64
_NARROWEST = 4
# One more parity segment than asked is not worth it; a twentieth more of them for a shorter stripe is.
_TOLERANCE = Fraction(21, 20)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many data and parity segments a full stripe has."""

    data: int
    parity: int


@lru_cache(maxsize=64)
def shape_of(fraction: float) -> Shape:
    """The stripe that protects best for about ``fraction`` (0 < fraction <= 1), and never less than that.

    Two parity segments at least, unless that many would make a stripe too wide: 10 % is 20 + 2, 50 % 4 + 2, 1 % 64 + 1.
    """
    asked = Fraction(fraction).limit_denominator(10_000)
    if not 0 < asked <= 1:
        raise ValueError(f"no stripe has {fraction:.4f} parity segments for each data segment")
    if 2 / asked > _WIDEST:
        data = min(_WIDEST, int(1 / asked))
        return Shape(data, ceil(asked * data))
    parity = 2
    while True:
        data = int(parity / asked)
        if data >= _NARROWEST and Fraction(parity, data) <= asked * _TOLERANCE:
            return Shape(data, parity)
        parity += 1


def parity_for(data: int, fraction: float) -> int:
    """How many parity segments a stripe of ``data`` segments needs: one at least, never less than ``fraction``."""
    return max(1, ceil(Fraction(fraction).limit_denominator(10_000) * data))


def encode_parity(contents: Sequence[Bytes], parity: int) -> list[bytes]:
    """The contents of the ``parity`` parity segments, each as long as the longest of ``contents``.

    contents: of the 1..128 data segments, 1..768,000 bytes each. Raises LimitExceeded.
    """
    lengths = [len(content) for content in contents]
    _check_stripe(lengths, parity)
    data, longest = len(contents), max(lengths)
    padded = tuple(_padded(content, longest) for content in contents)
    made: list[bytes] = zfec.Encoder(data, data + parity).encode(padded, tuple(range(data, data + parity)))
    return made


def rebuild_members(lengths: Sequence[int], parity: int, blocks: Mapping[int, Bytes]) -> dict[int, bytes]:
    """The contents of all data segments that are not among ``blocks``, by their positions.

    lengths: of the data segments. blocks: contents by position, data from 0 on, parity after them; ``len(lengths)``
    of them at least. What comes out is only as right as what went in: compare hashes.
    Raises FormatError, LimitExceeded.
    """
    _check_stripe(lengths, parity)
    data, longest = len(lengths), max(lengths)
    expected = [*lengths, *[longest] * parity]
    for position, content in blocks.items():
        if not 0 <= position < len(expected) or len(content) != expected[position]:
            raise FormatError("a segment does not fit its place in a stripe")
    if len(blocks) < data:
        raise FormatError(f"a stripe of {data} data segments cannot be rebuilt from {len(blocks)}")
    missing = [position for position in range(data) if position not in blocks]
    if not missing:
        return {}
    # Data first: what is there already is not computed again.
    used = sorted(blocks)[:data]
    padded = tuple(_padded(blocks[position], longest) for position in used)
    whole = zfec.Decoder(data, data + parity).decode(padded, tuple(used))
    return {position: bytes(memoryview(whole[position])[: lengths[position]]) for position in missing}


def _check_stripe(lengths: Sequence[int], parity: int) -> None:
    if not (1 <= len(lengths) <= MAX_DATA and 1 <= parity <= MAX_PARITY):
        raise LimitExceeded(f"no stripe has {len(lengths)} data and {parity} parity segments")
    if not (min(lengths) >= 1 and max(lengths) <= SEGMENT_SIZE_BYTES):
        raise LimitExceeded("a segment of a stripe is empty or too long")


def _padded(content: Bytes, length: int) -> Bytes:
    return content if len(content) == length else bytes(content).ljust(length, b"\0")
