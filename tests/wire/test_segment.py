"""Content hashes, slices and packing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES
from usenetsyncd.wire.segment import (
    PACK_LIMIT_BYTES,
    FileHasher,
    PackedSegment,
    Packer,
    content_hash,
    segment_id,
    split,
)

IDENTITY = bytes(range(32))
NOISE = random.Random(2).randbytes(SEGMENT_SIZE_BYTES)

pieces_of_any_size = st.lists(st.integers(1, PACK_LIMIT_BYTES - 1), min_size=1, max_size=120)


def test_content_has_another_name_under_another_key() -> None:
    assert content_hash(IDENTITY, b"content") != content_hash(bytes(32), b"content")
    assert len(segment_id(content_hash(IDENTITY, b"content"))) == 16


@given(st.integers(0, 10 * SEGMENT_SIZE_BYTES))
def test_slices_cover_a_file_once_in_order(size: int) -> None:
    slices = list(split(size))
    assert sum(length for _, length in slices) == size
    position = 0
    for offset, length in slices:
        assert offset == position
        position += length
    assert all(length == SEGMENT_SIZE_BYTES for _, length in slices[:-1])


def test_slices_of_20_tb_are_not_held_in_memory() -> None:
    slices = split(20 * 10**12)
    assert next(slices) == (0, SEGMENT_SIZE_BYTES)
    assert next(slices) == (SEGMENT_SIZE_BYTES, SEGMENT_SIZE_BYTES)


def test_a_file_of_one_slice_has_the_hash_of_its_slice() -> None:
    hasher = FileHasher(IDENTITY)
    assert hasher.add_slice(b"content") == hasher.digest() == content_hash(IDENTITY, b"content")


def test_an_empty_file_has_the_hash_of_nothing() -> None:
    assert FileHasher(IDENTITY).digest() == content_hash(IDENTITY, b"")


def test_a_file_hash_depends_on_every_slice_and_their_order() -> None:
    def digest(*slices: bytes) -> bytes:
        hasher = FileHasher(IDENTITY)
        for piece in slices:
            hasher.add_slice(piece)
        return hasher.digest()

    different = [
        digest(b"a", b"b"),
        digest(b"b", b"a"),
        digest(b"a", b"b", b"b"),
        digest(b"a", b"c"),
        digest(b"ab"),
    ]
    assert len(set(different)) == len(different)


def test_slice_hashes_known_from_before_give_the_same_file_hash() -> None:
    whole, known = FileHasher(IDENTITY), FileHasher(IDENTITY)
    for piece in (b"a", b"b", b"c"):
        known.add_slice_hash(whole.add_slice(piece))
    assert known.digest() == whole.digest()


def test_no_small_file_can_pose_as_a_large_one() -> None:
    hasher = FileHasher(IDENTITY)
    hashes = b"".join(hasher.add_slice(piece) for piece in (b"a", b"b"))
    assert content_hash(IDENTITY, hashes) != hasher.digest()


def pack(sizes: list[int]) -> tuple[list[bytes], list[PackedSegment[int]]]:
    contents = [NOISE[i : i + size] for i, size in enumerate(sizes)]
    packer = Packer[int](IDENTITY)
    segments = [done for key, piece in enumerate(contents) for done in packer.add(key, piece)]
    return contents, segments + packer.flush()


@given(pieces_of_any_size)
def test_every_piece_stands_where_the_packer_says(sizes: list[int]) -> None:
    contents, segments = pack(sizes)
    assert [key for segment in segments for key, _, _ in segment.pieces] == list(range(len(sizes)))
    for segment in segments:
        assembled = b"".join(contents[key] for key, _, _ in segment.pieces)
        assert len(assembled) == segment.length <= SEGMENT_SIZE_BYTES
        assert content_hash(IDENTITY, assembled) == segment.hash
        for key, offset, length in segment.pieces:
            assert assembled[offset : offset + length] == contents[key]


@given(st.lists(st.integers(1, PACK_LIMIT_BYTES - 1), min_size=40, max_size=200))
def test_full_segments_are_at_least_93_percent_full(sizes: list[int]) -> None:
    _, segments = pack(sizes)
    assert all(segment.length >= 0.93 * SEGMENT_SIZE_BYTES for segment in segments[:-1])


def test_the_packer_begins_anew_after_each_segment() -> None:
    packer = Packer[str](IDENTITY)
    assert packer.flush() == []
    assert packer.add("a", NOISE) == []
    (first,) = packer.add("b", b"x")
    assert (first.length, first.pieces) == (SEGMENT_SIZE_BYTES, (("a", 0, SEGMENT_SIZE_BYTES),))
    (second,) = packer.flush()
    assert second == PackedSegment(content_hash(IDENTITY, b"x"), 1, (("b", 0, 1),))
    assert packer.flush() == []


@pytest.mark.parametrize("length", [0, SEGMENT_SIZE_BYTES + 1])
def test_a_piece_that_fits_no_segment_is_refused(length: int) -> None:
    with pytest.raises(LimitExceeded):
        Packer[str](IDENTITY).add("piece", bytes(length))
