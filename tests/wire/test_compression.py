"""Codecs: they pay or are skipped, and are bounded on the way back."""

import contextlib
import lzma
import random
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import SEGMENT_SIZE_BYTES, Compression
from usenetsyncd.wire.compression import CODEC_NUMBERS, Compressor, decompress

PACKING = (Compression.ZSTD, Compression.LZMA)
NOISE = random.Random(1).randbytes(SEGMENT_SIZE_BYTES)
WORDS = [random.Random(n).randbytes(n % 9 + 2).hex().encode() for n in range(3_000)]
TEXT = b" ".join(random.Random(2).choices(WORDS, k=60_000))[:SEGMENT_SIZE_BYTES]


@pytest.mark.parametrize("codec", PACKING)
@pytest.mark.parametrize("content", [TEXT, bytes(SEGMENT_SIZE_BYTES), b"ab" * 5_000])
def test_what_is_compressed_comes_back(codec: Compression, content: bytes) -> None:
    stored = Compressor().compress(content, codec)
    assert stored is not None
    assert len(stored) < len(content) * 0.6
    assert decompress(stored, CODEC_NUMBERS[codec], len(content)) == content


@pytest.mark.parametrize("codec", Compression)
def test_what_does_not_shrink_is_left_as_it_is(codec: Compression) -> None:
    for content in (NOISE, NOISE[:1_000], b"x"):
        assert Compressor().compress(content, codec) is None


def test_none_leaves_everything_as_it_is() -> None:
    assert Compressor().compress(TEXT, Compression.NONE) is None
    assert decompress(b"abc", CODEC_NUMBERS[Compression.NONE], 3) == b"abc"


def test_the_probe_looks_beyond_the_beginning() -> None:
    stored = Compressor().compress(NOISE[:100_000] + bytes(668_000), Compression.ZSTD)
    assert stored is not None
    assert len(stored) < 110_000


@pytest.mark.parametrize(("codec", "fast", "small"), [(Compression.ZSTD, 1, 19), (Compression.LZMA, 0, 9)])
def test_a_higher_level_packs_tighter(codec: Compression, fast: int, small: int) -> None:
    quick, slow = (Compressor().compress(TEXT[:200_000], codec, level) for level in (fast, small))
    assert quick is not None
    assert slow is not None
    assert len(slow) < len(quick)
    assert decompress(slow, CODEC_NUMBERS[codec], 200_000) == TEXT[:200_000]


def test_every_level_stays_within_the_limits_of_the_way_back() -> None:
    for level in range(1, 23):
        stored = Compressor().compress(TEXT[:100_000] * 7, Compression.ZSTD, level)
        assert stored is not None
        assert decompress(stored, 1, 700_000) == TEXT[:100_000] * 7


@pytest.mark.parametrize("declared", [True, False])
def test_a_zstd_bomb_takes_no_memory(declared: bool) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=declared).compress(bytes(1 << 28))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            decompress(bomb, 1, SEGMENT_SIZE_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_zstd_frame_that_lies_about_its_size_is_refused() -> None:
    honest = zstandard.ZstdCompressor().compress(bytes(300_000))
    at = honest.index((300_000).to_bytes(4, "little"))
    for lie in (299_999, 300_001, 1_000):
        lying = honest[:at] + lie.to_bytes(4, "little") + honest[at + 4 :]
        with pytest.raises(FormatError):
            decompress(lying, 1, lie)


def test_an_lzma_bomb_takes_no_memory() -> None:
    bomb = lzma.compress(bytes(1 << 26), preset=0)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            decompress(bomb, 2, SEGMENT_SIZE_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_lzma_stream_that_wants_much_memory_is_refused() -> None:
    greedy = lzma.compress(TEXT, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}])
    with pytest.raises(LimitExceeded):
        decompress(greedy, 2, len(TEXT))


def test_a_codec_of_tomorrow_is_told_from_damage() -> None:
    with pytest.raises(NewerFormat):
        decompress(b"", 3, 1)


@pytest.mark.parametrize("codec", PACKING)
@given(changes=st.dictionaries(st.integers(0, 10_000), st.integers(0, 255), min_size=1, max_size=5))
def test_damage_is_a_format_error_or_harmless(codec: Compression, changes: dict[int, int]) -> None:
    packed = Compressor().compress(TEXT[:20_000], codec)
    assert packed is not None
    damaged = bytearray(packed)
    for at, byte in changes.items():
        damaged[at % len(damaged)] = byte
    with contextlib.suppress(FormatError):
        assert len(decompress(bytes(damaged), CODEC_NUMBERS[codec], 20_000)) == 20_000


@given(
    codec=st.integers(0, 2), stored=st.binary(max_size=300), content_len=st.integers(1, SEGMENT_SIZE_BYTES)
)
def test_noise_is_a_format_error(codec: int, stored: bytes, content_len: int) -> None:
    with contextlib.suppress(FormatError):
        assert len(decompress(stored, codec, content_len)) == content_len
