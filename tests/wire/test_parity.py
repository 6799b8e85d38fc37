"""Parity: any k of k + m give back all, never fewer; shapes never protect less than was asked."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES
from usenetsyncd.wire.parity import (
    MAX_DATA,
    MAX_PARITY,
    Shape,
    encode_parity,
    parity_for,
    rebuild_members,
    shape_of,
)

stripes = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=24)


@settings(deadline=None)
@given(stripes, st.integers(1, 8), st.randoms())
def test_any_k_of_a_stripe_give_back_the_rest(
    contents: list[bytes], parity: int, chance: random.Random
) -> None:
    blocks = dict(enumerate([*contents, *encode_parity(contents, parity)]))
    kept = {at: blocks[at] for at in chance.sample(sorted(blocks), len(contents))}
    lengths = [len(content) for content in contents]
    rebuilt = rebuild_members(lengths, parity, kept)
    assert rebuilt == {at: content for at, content in enumerate(contents) if at not in kept}
    # One more than needed changes nothing; one less is refused.
    assert rebuild_members(lengths, parity, blocks) == {}
    del kept[chance.choice(sorted(kept))]
    with pytest.raises(FormatError):
        rebuild_members(lengths, parity, kept)


@settings(deadline=None)
@given(stripes, st.integers(1, 8))
def test_parity_is_as_long_as_the_longest_and_the_same_each_time(contents: list[bytes], parity: int) -> None:
    made = encode_parity(contents, parity)
    assert len(made) == parity
    assert {len(content) for content in made} == {max(map(len, contents))}
    assert encode_parity([bytearray(content) for content in contents], parity) == made
    # Whatever comes after it, the first parity segment is the same: m can grow without what is there being in vain.
    assert encode_parity(contents, parity + 1)[:parity] == made


def test_a_stripe_of_full_segments_loses_as_many_as_it_may() -> None:
    contents = [random.Random(at).randbytes(SEGMENT_SIZE_BYTES - at) for at in range(20)]
    first, second = encode_parity(contents, 2)
    kept = dict(enumerate(contents)) | {20: first, 21: second}
    del kept[0], kept[19]
    lengths = [len(content) for content in contents]
    assert rebuild_members(lengths, 2, kept) == {0: contents[0], 19: contents[19]}


@given(st.integers(1, 10_000))
def test_no_shape_protects_less_than_was_asked(ten_thousandths: int) -> None:
    fraction = ten_thousandths / 10_000
    shape = shape_of(fraction)
    assert shape.parity >= fraction * shape.data - 1e-9
    assert 1 <= shape.data <= MAX_DATA
    assert 1 <= shape.parity <= MAX_PARITY
    assert shape.data <= 64
    # Nor much more, where that can be helped: stripes do not grow beyond 64.
    assert shape.parity / shape.data <= max(1.05 * fraction, 1 / 32) + 1e-9


@given(st.integers(1, 64), st.integers(1, 10_000))
def test_a_small_stripe_has_as_much_protection_as_a_full_one(data: int, ten_thousandths: int) -> None:
    parity = parity_for(data, ten_thousandths / 10_000)
    assert parity >= 1
    assert parity - 1 < data * ten_thousandths / 10_000 <= parity + 1e-9


@pytest.mark.parametrize(
    ("fraction", "shape"),
    [
        (0.10, Shape(20, 2)),
        (0.05, Shape(40, 2)),
        (0.50, Shape(4, 2)),
        (1.00, Shape(4, 4)),
        (0.20, Shape(10, 2)),
        (0.30, Shape(10, 3)),
        (0.07, Shape(28, 2)),
        (0.03, Shape(33, 1)),
        (0.01, Shape(64, 1)),
        (0.0001, Shape(64, 1)),
    ],
)
def test_common_fractions_have_plain_shapes(fraction: float, shape: Shape) -> None:
    assert shape_of(fraction) == shape


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01])
def test_there_is_no_stripe_without_parity_or_with_more_than_data(fraction: float) -> None:
    with pytest.raises(ValueError, match="no stripe"):
        shape_of(fraction)


def test_a_stripe_beyond_the_limits_is_refused_before_anything_is_computed() -> None:
    for lengths, parity in (([1] * 129, 1), ([1], 129), ([], 1), ([1], 0), ([768_001], 1), ([2**62], 1)):
        with pytest.raises(LimitExceeded):
            rebuild_members(lengths, parity, {})
