"""Vectors of parity: what is computed over contents, and what gives them back."""

from collections.abc import Sequence

from tests.vectors.samples import OK, TEXT, Vector, error, spec_of
from usenetsyncd.wire.parity import encode_parity

SHORT = [b"one", b"two two", bytes(range(64))]
BAD, LIMIT = "format_error", "limit_exceeded"


def make_parity() -> list[Vector]:
    """Encoding and rebuilding."""
    return [*_encoded(), *_rebuilt()]


def _encode(contents: Sequence[bytes], parity: int) -> Vector:
    return {"do": "encode", "data": [spec_of(content) for content in contents], "parity": parity}


def _encoded() -> list[Vector]:
    alike = [bytes((value,)) * (value + 1) for value in range(128)]
    good = [
        ([b"\x01"], 1),
        ([b"alone"], 3),
        (SHORT, 2),
        ([TEXT, bytes(768_000)], 1),
        (alike[:20], 2),
        (alike, 128),
    ]
    vectors = []
    for contents, parity in good:
        made = [spec_of(content) for content in encode_parity(contents, parity)]
        vectors.append(_encode(contents, parity) | {"made": made} | OK)
    for contents, parity, why in (
        ([], 1, "no data"),
        (SHORT, 0, "no parity"),
        (SHORT, 129, "129 parity segments"),
        ([b"x"] * 129, 1, "129 data segments"),
        ([b"x", b""], 1, "an empty segment"),
        ([b"x", bytes(768_001)], 1, "a segment of 768,001 bytes"),
    ):
        vectors.append(_encode(contents, parity) | error(LIMIT, why))
    return vectors


def _rebuild(lengths: list[int], parity: int, blocks: dict[int, bytes]) -> Vector:
    given = {str(position): spec_of(content) for position, content in blocks.items()}
    return {"do": "rebuild", "lengths": lengths, "parity": parity, "blocks": given}


def _rebuilt() -> list[Vector]:
    one, two, three = SHORT
    lengths = [len(content) for content in SHORT]
    p, q = encode_parity(SHORT, 2)
    vectors = []
    for blocks in (
        {0: one, 1: two, 2: three},
        {1: two, 2: three, 3: p},
        {0: one, 1: two, 3: p},
        {2: three, 3: p, 4: q},
        {0: one, 3: p, 4: q},
        {0: one, 2: three, 3: p, 4: q},
    ):
        missing = {str(at): spec_of(content) for at, content in enumerate(SHORT) if at not in blocks}
        vectors.append(_rebuild(lengths, 2, blocks) | {"members": missing} | OK)
    whole = {1: two, 2: three, 3: p}
    for changed, code, why in (
        (_rebuild(lengths, 2, {0: one, 4: q}), BAD, "two of three"),
        (_rebuild(lengths, 2, {}), BAD, "nothing"),
        (_rebuild(lengths, 2, whole | {1: two[:-1]}), BAD, "a data segment shorter than its length"),
        (_rebuild(lengths, 2, whole | {1: two + b"\0"}), BAD, "a data segment with its padding"),
        (_rebuild(lengths, 2, whole | {3: p[:-1]}), BAD, "a parity segment cut by a byte"),
        (_rebuild(lengths, 2, whole | {5: p}), BAD, "a position beyond the stripe"),
        (_rebuild(lengths, 0, {0: one, 1: two, 2: three}), LIMIT, "a stripe without parity"),
        (_rebuild([], 2, whole), LIMIT, "a stripe without data"),
        (_rebuild([0, *lengths[1:]], 2, whole), LIMIT, "an empty segment"),
        (_rebuild([768_001, *lengths[1:]], 2, whole), LIMIT, "a segment of 768,001 bytes"),
        (_rebuild([1] * 129, 2, whole), LIMIT, "129 data segments"),
        (_rebuild(lengths, 129, whole), LIMIT, "129 parity segments"),
    ):
        vectors.append(changed | error(code, why))
    return vectors
