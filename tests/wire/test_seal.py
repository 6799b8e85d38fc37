"""Sealing: an article opens at its own address, with its own keys, or not at all."""

import random
from itertools import product

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.sealed import block_of, forge
from usenetsyncd.errors import ContentMismatch, FormatError, LimitExceeded, SealBroken
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, Compression, Fingerprint
from usenetsyncd.wire import keys, seal
from usenetsyncd.wire.head import head_address
from usenetsyncd.wire.segment import content_hash

FINGERPRINT = Fingerprint(b"f" * 16)
KEYS = keys.read_keys(b"r" * 32, FINGERPRINT)
NOISE = random.Random(4).randbytes(SEGMENT_SIZE_BYTES)
TEXT = b"the quick brown fox jumps over the lazy dog\n" * 500


def address(content: bytes, copy: int = 0, generation: int = 0) -> ArticleAddress:
    return ArticleAddress(ArticleKind.DATA, content_hash(KEYS.identity, content)[:16], copy, generation)


@pytest.mark.parametrize("codec", Compression)
@pytest.mark.parametrize("content", [b"x", TEXT, NOISE[:50_000], NOISE, bytes(SEGMENT_SIZE_BYTES)])
def test_what_is_sealed_opens(content: bytes, codec: Compression) -> None:
    at = address(content, 3, 5)
    body = seal.seal(KEYS, at, content, codec)
    assert seal.MIN_BODY_BYTES <= len(body) <= seal.MAX_BODY_BYTES
    assert seal.open_sealed(KEYS, at, body) == content


@given(st.binary(min_size=1, max_size=20_000), st.sampled_from(Compression))
def test_sealing_the_same_twice_gives_the_same_body(content: bytes, codec: Compression) -> None:
    at = address(content)
    bench = seal.Workbench()
    bench.seal(KEYS, address(TEXT), TEXT, Compression.ZSTD)
    assert bytes(bench.seal(KEYS, at, content, codec)) == seal.seal(KEYS, at, content, codec)


def test_the_largest_body_is_that_of_a_whole_segment_of_noise() -> None:
    assert len(seal.seal(KEYS, address(NOISE), NOISE, Compression.NONE)) == seal.MAX_BODY_BYTES == 770_096


def test_content_read_into_the_bench_seals_like_any_other() -> None:
    bench = seal.Workbench()
    area = bench.area(len(NOISE))
    area[:] = NOISE
    assert bytes(bench.seal(KEYS, address(NOISE), area, Compression.ZSTD)) == seal.seal(
        KEYS, address(NOISE), NOISE, Compression.ZSTD
    )


def test_no_key_and_nonce_ever_meet_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    met: dict[tuple[bytes, bytes], set[tuple[bytes, bytes]]] = {}

    class Watched:
        def __init__(self, key: bytes) -> None:
            self.key, self.cipher = key, AESGCM(key)

        def encrypt_into(self, nonce: bytes, plain: memoryview, aad: bytes, into: memoryview) -> int:
            met.setdefault((self.key, nonce), set()).add((bytes(plain), aad))
            return self.cipher.encrypt_into(nonce, plain, aad, into)

    monkeypatch.setattr(seal, "AESGCM", Watched)
    bench = seal.Workbench()
    place = head_address(1, 7)
    others = [keys.read_keys(b"r" * 32, Fingerprint(b"g" * 16)), keys.read_keys(b"s" * 32, FINGERPRINT)]
    for read, copy, generation, codec, level in product((KEYS, *others), (0, 1), (0, 1), Compression, (1, 9)):
        for content in (TEXT, TEXT[:-1], TEXT + b"\0", bytes(4_000), bytes(4_001)):
            at = ArticleAddress(place.kind, place.id, copy, generation)
            bench.seal(read, at, content, codec, level)
    assert all(len(blocks) == 1 for blocks in met.values())
    # 12 addresses under three sets of keys, 5 contents: raw, two zstd levels, two of lzma where they differ.
    assert len(met) >= 12 * 5 * 3


def test_content_that_is_not_what_was_planned_is_not_sealed() -> None:
    planned = content_hash(KEYS.identity, b"before")
    with pytest.raises(ContentMismatch):
        seal.seal(KEYS, address(b"before"), b"after", Compression.NONE)
    with pytest.raises(ContentMismatch):
        seal.seal(KEYS, head_address(1, 1), b"after", Compression.NONE, content_hash=planned)
    assert seal.seal(KEYS, address(b"before"), b"before", Compression.NONE, content_hash=planned)


@pytest.mark.parametrize("content", [b"", bytes(SEGMENT_SIZE_BYTES + 1)])
def test_content_that_fits_no_segment_is_not_sealed(content: bytes) -> None:
    with pytest.raises(LimitExceeded):
        seal.seal(KEYS, head_address(1, 1), content, Compression.NONE)


def test_an_article_opens_at_no_other_address_and_with_no_other_keys() -> None:
    at = address(TEXT)
    body = seal.seal(KEYS, at, TEXT, Compression.ZSTD)
    for elsewhere in (
        address(TEXT, copy=1),
        address(TEXT, generation=1),
        address(NOISE),
        ArticleAddress(ArticleKind.INDEX, at.id),
    ):
        with pytest.raises(SealBroken):
            seal.open_sealed(KEYS, elsewhere, body)
    for other in (keys.read_keys(b"s" * 32, FINGERPRINT), keys.read_keys(b"r" * 32, Fingerprint(b"g" * 16))):
        with pytest.raises(SealBroken):
            seal.open_sealed(other, at, body)


def test_a_reader_cannot_put_other_content_in_the_place_of_a_segment() -> None:
    forged = forge(address(TEXT), block_of(b"other"), b"other", read=KEYS)
    with pytest.raises(ContentMismatch):
        seal.open_sealed(KEYS, address(TEXT), forged)


@pytest.mark.parametrize(
    ("content", "codec"), [(TEXT, Compression.ZSTD), (TEXT, Compression.LZMA), (b"x", Compression.NONE)]
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(1, 255)),
        min_size=1,
        max_size=4,
        unique_by=lambda c: c[0],
    )
)
def test_an_altered_body_never_opens(
    content: bytes, codec: Compression, changes: list[tuple[int, int]]
) -> None:
    body = bytearray(seal.seal(KEYS, address(content), content, codec))
    for at in {at % len(body) for at, _ in changes}:
        body[at] ^= changes[0][1]
    with pytest.raises(SealBroken):
        seal.open_sealed(KEYS, address(content), bytes(body))


@given(st.integers(0, 4_200))
def test_a_body_that_is_cut_or_longer_never_opens(length: int) -> None:
    body = seal.seal(KEYS, address(b"x"), b"x", Compression.NONE)
    if length != len(body):
        with pytest.raises(SealBroken):
            seal.open_sealed(KEYS, address(b"x"), body.ljust(length, b"\0")[:length])


@given(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255),
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=200),
)  # fmt: skip
def test_whatever_a_key_holder_seals_is_refused_with_a_format_error(
    version: int, kind: int, codec: int, reserved: int, content_len: int, stored_len: int, stored: bytes
) -> None:
    block = block_of(b"", codec, stored, kind, version, reserved, content_len, stored_len)
    body = forge(address(TEXT), block, TEXT, stored if codec else None, read=KEYS)
    with pytest.raises(FormatError):
        seal.open_sealed(KEYS, address(TEXT), body)
