"""Parity: docs/format.md, section 16.1, with nothing but tables of GF(2^8) and exclusive or."""

from collections.abc import Mapping, Sequence

from tests.reader.sealed import SEGMENT_BYTES, must

POWERS = [1]  # of 02
while len(POWERS) < 255:
    doubled = POWERS[-1] << 1
    POWERS.append(doubled ^ 0x11D if doubled & 0x100 else doubled)
LOGS = {power: exponent for exponent, power in enumerate(POWERS)}
POINTS = [0, *POWERS]


def times(a: int, b: int) -> int:
    return POWERS[(LOGS[a] + LOGS[b]) % 255] if a and b else 0


def over(a: int, b: int) -> int:
    return POWERS[(LOGS[a] - LOGS[b]) % 255] if a else 0


def value_at(position: int, known: Mapping[int, bytes]) -> bytes:
    """The member at a position, from as many others as there are data segments, all of one length."""
    total = 0
    for j, content in known.items():
        factor = 1
        for i in known:
            if i != j:
                factor = times(factor, over(POINTS[position] ^ POINTS[i], POINTS[j] ^ POINTS[i]))
        total ^= int.from_bytes(content.translate(bytes(times(factor, byte) for byte in range(256))), "big")
    return total.to_bytes(len(content), "big")


def check_stripe(lengths: Sequence[int], parity: int) -> None:
    must(1 <= len(lengths) <= 128 and 1 <= parity <= 128, "limit_exceeded", "a stripe")
    must(all(1 <= length <= SEGMENT_BYTES for length in lengths), "limit_exceeded", "a member")


def encode(contents: Sequence[bytes], parity: int) -> list[bytes]:
    """The parity segments of data segments."""
    lengths = [len(content) for content in contents]
    check_stripe(lengths, parity)
    known = {j: content.ljust(max(lengths), b"\0") for j, content in enumerate(contents)}
    return [value_at(len(lengths) + i, known) for i in range(parity)]


def rebuild(lengths: Sequence[int], parity: int, blocks: Mapping[int, bytes]) -> dict[int, bytes]:
    """The data segments that are not among ``blocks``."""
    check_stripe(lengths, parity)
    expected = [*lengths, *[max(lengths)] * parity]
    for position, content in blocks.items():
        must(
            position < len(expected) and len(content) == expected[position], why="a member of another length"
        )
    must(len(blocks) >= len(lengths), why="too few members")
    known = {at: blocks[at].ljust(max(lengths), b"\0") for at in sorted(blocks)[: len(lengths)]}
    return {at: value_at(at, known)[:length] for at, length in enumerate(lengths) if at not in blocks}
