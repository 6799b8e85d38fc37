"""Where pages of the core index end. Only writers need to know; a reader takes pages as they are."""

from dataclasses import dataclass
from zlib import crc32

_CRC_BITS = 32


@dataclass(frozen=True, slots=True)
class Borders:
    """Ends of pages, from hashes of paths, so that an insertion moves none but its own.

    A leaf ends after an entry whose path's CRC-32 has ``leaf_bits`` zero bits at its low end; a leaf of
    ``long_leaf`` entries needs only ``long_leaf_bits``, and so hardly any meets the hard end at
    ``full_leaf``, where an insertion would move every border up to the next that is its own.
    Each level of inner pages uses the next ``inner_bits`` of the CRC of a branch's last path.
    weight: bytes before compression that end a page of any kind.
    """

    leaf_bits: int = 10
    long_leaf: int = 1024
    long_leaf_bits: int = 7
    full_leaf: int = 2048
    inner_bits: int = 7
    short_inner: int = 8
    long_inner: int = 128
    long_inner_bits: int = 4
    full_inner: int = 256
    weight: int = 393_216

    def ends_leaf(self, count: int, path: bytes, weight: int) -> bool:
        """Whether a leaf of this weight ends after its ``count``-th entry."""
        zeros = crc32(path) & ((1 << self.leaf_bits) - 1)
        if not zeros or weight >= self.weight:
            return True
        return count >= self.long_leaf and (
            count >= self.full_leaf or not zeros & ((1 << self.long_leaf_bits) - 1)
        )

    def ends_inner(self, level: int, count: int, last: bytes, weight: int) -> bool:
        """Whether an inner page of this level ends after its ``count``-th branch."""
        if count >= self.full_inner or weight >= self.weight:
            return True
        # A minimum keeps made-up paths from growing a tower of levels.
        used = self.leaf_bits + (level - 1) * self.inner_bits
        if count < self.short_inner or used + self.inner_bits > _CRC_BITS:
            return False
        bits = crc32(last) >> used & ((1 << self.inner_bits) - 1)
        return not bits or (count >= self.long_inner and not bits & ((1 << self.long_inner_bits) - 1))


BORDERS = Borders()
"""Leaves of some 700 entries, inner pages of some 80 branches: three levels for 3,000,000 entries."""
