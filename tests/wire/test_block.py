"""Blocks: size classes, and what a block may and may not say."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleKind, Compression
from usenetsyncd.wire.block import HEADER, MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, BlockBuilder, decode_block, padme

IDENTITY = bytes(32)
NOISE = random.Random(3).randbytes(SEGMENT_SIZE_BYTES)
sizes = st.integers(1, HEADER.size + SEGMENT_SIZE_BYTES)


@given(sizes)
def test_a_size_class_is_at_most_12_percent_above(size: int) -> None:
    assert size <= padme(size) <= max(MIN_BLOCK_BYTES, size * 1.12)


@given(sizes)
def test_a_size_class_is_its_own_size_class(size: int) -> None:
    assert padme(padme(size)) == padme(size)


@given(sizes, sizes)
def test_size_classes_keep_the_order_of_sizes(one: int, two: int) -> None:
    assert (padme(one) <= padme(two)) or one > two


def test_there_are_few_size_classes() -> None:
    assert len({padme(size) for size in range(1, MAX_BLOCK_BYTES, 64)}) < 180


@given(st.integers(1, SEGMENT_SIZE_BYTES), st.sampled_from(Compression), st.sampled_from(ArticleKind))
def test_a_block_gives_its_content_back(length: int, codec: Compression, kind: ArticleKind) -> None:
    if codec is Compression.LZMA:
        length = length % 20_000 + 1
    content = NOISE[: length // 2] + bytes(length - length // 2)
    built = BlockBuilder(length).build(IDENTITY, kind, content, codec)
    opened, back = decode_block(bytes(built.view), IDENTITY, kind)
    assert back == content
    assert (opened.header, opened.content_hash, opened.stored) == (
        built.header,
        built.content_hash,
        built.stored,
    )


def test_nothing_of_an_earlier_block_is_left_in_a_later_one() -> None:
    builder = BlockBuilder()
    area = builder.area(SEGMENT_SIZE_BYTES)
    for length in (SEGMENT_SIZE_BYTES, 5_000, 1, 700_000, 100):
        area[:] = NOISE
        for codec in (Compression.NONE, Compression.ZSTD):
            built = builder.build(IDENTITY, ArticleKind.DATA, bytes(length), codec)
            assert decode_block(bytes(built.view), IDENTITY, ArticleKind.DATA)[1] == bytes(length)


def test_content_read_into_the_block_itself_is_not_copied_but_sealed() -> None:
    builder = BlockBuilder()
    area = builder.area(10_000)
    area[:] = NOISE[:10_000]
    built = builder.build(IDENTITY, ArticleKind.DATA, area, Compression.NONE)
    assert decode_block(bytes(built.view), IDENTITY, ArticleKind.DATA)[1] == NOISE[:10_000]


@pytest.mark.parametrize("length", [0, SEGMENT_SIZE_BYTES + 1])
def test_content_that_fits_no_segment_is_refused(length: int) -> None:
    with pytest.raises(LimitExceeded):
        BlockBuilder().build(IDENTITY, ArticleKind.DATA, bytes(length), Compression.NONE)
    with pytest.raises(LimitExceeded):
        BlockBuilder().area(length)


def test_zeros_of_a_whole_segment_make_the_smallest_block_and_open_again() -> None:
    built = BlockBuilder().build(IDENTITY, ArticleKind.DATA, bytes(SEGMENT_SIZE_BYTES), Compression.ZSTD)
    assert len(built.view) == MIN_BLOCK_BYTES
    _, content = decode_block(bytes(built.view), IDENTITY, ArticleKind.DATA)
    assert content == bytes(SEGMENT_SIZE_BYTES)


@pytest.mark.parametrize("codec", Compression)
@given(changes=st.dictionaries(st.integers(0, 40), st.integers(0, 255), min_size=1, max_size=4))
def test_an_altered_block_is_a_format_error_or_another_whole_block(
    codec: Compression, changes: dict[int, int]
) -> None:
    block = bytearray(BlockBuilder().build(IDENTITY, ArticleKind.DATA, b"content " * 300, codec).view)
    for at, byte in changes.items():
        block[at] = byte
    with contextlib.suppress(FormatError):
        decode_block(bytes(block), IDENTITY, ArticleKind.DATA)


@given(st.binary(max_size=5_000))
def test_noise_is_never_a_block(block: bytes) -> None:
    with pytest.raises(FormatError):
        decode_block(block, IDENTITY, ArticleKind.DATA)
