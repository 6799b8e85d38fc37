"""Heads: signed, chained, and refused whole when anything is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import BadSignature, ContentMismatch, FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, Compression, PageRef, SegmentId
from usenetsyncd.wire import keys
from usenetsyncd.wire.head import (
    FIRST_PREVIOUS,
    MAX_OLDER_EPOCHS,
    MAX_VERSION,
    Head,
    OlderEpoch,
    decode_head,
    encode_head,
    head_address,
    head_hash,
)
from usenetsyncd.wire.seal import open_sealed, seal

SECRET = keys.folder_secret(b"m" * 32, b"u" * 16)
SIGNER = keys.signing_key(SECRET)
STRANGER = keys.signing_key(keys.folder_secret(b"m" * 32, b"v" * 16))
KEYS = keys.read_keys(keys.read_secret(SECRET, 1), SIGNER.fingerprint)
LABEL = b"usenetsync/1 head\0"

numbers = st.integers(0, MAX_VERSION)
roots = st.builds(
    lambda segment, offset, length: PageRef(SegmentId(segment), offset, length),
    st.binary(min_size=16, max_size=16).filter(any),
    st.integers(0, 700_000),
    st.integers(1, 68_000),
)


@st.composite
def heads(draw: st.DrawFn) -> Head:
    epoch = draw(st.integers(1, 2**32 - 1))
    version = draw(st.integers(1, MAX_VERSION))
    epochs = draw(st.sets(st.integers(1, epoch - 1), max_size=5)) if epoch > 1 else set()
    firsts = draw(st.sets(st.integers(1, version), min_size=0, max_size=len(epochs)))
    older = [
        OlderEpoch(e, v, bytes([e % 256]) * 32) for e, v in zip(sorted(epochs), sorted(firsts), strict=False)
    ]
    return Head(
        SIGNER.fingerprint, SIGNER.public, epoch, version, draw(numbers), draw(numbers),
        FIRST_PREVIOUS if version == 1 else draw(st.binary(min_size=32, max_size=32).filter(any)),
        draw(st.none() | roots), draw(numbers), draw(numbers), draw(numbers), tuple(older),
    )  # fmt: skip


def a_head(version: int = 2, previous: bytes = b"p" * 32, **fields: object) -> Head:
    plain: dict[str, object] = {
        "fingerprint": SIGNER.fingerprint, "public": SIGNER.public, "epoch": 1, "version": version,
        "created_s": 1_700_000_000, "expires_s": 0, "previous": previous,
        "root": PageRef(SegmentId(b"s" * 16), 5, 100), "files": 1, "folders": 2, "bytes_total": 3,
    }  # fmt: skip
    return Head(**(plain | fields))  # type: ignore[arg-type]


@given(heads())
def test_a_head_comes_back_as_it_was(head: Head) -> None:
    content = encode_head(head, SIGNER)
    assert decode_head(content, SIGNER.fingerprint, head_address(head.epoch, head.version)) == head


def test_a_sealed_head_travels_like_any_article() -> None:
    content = encode_head(a_head(), SIGNER)
    at = head_address(1, 2, copy=1, generation=3)
    body = seal(KEYS, at, content, Compression.ZSTD)
    assert decode_head(open_sealed(KEYS, at, body), SIGNER.fingerprint, at) == a_head()


def test_a_chain_of_heads_links_each_to_the_one_before() -> None:
    first = encode_head(a_head(1, FIRST_PREVIOUS), SIGNER)
    second = a_head(2, head_hash(first))
    assert decode_head(encode_head(second, SIGNER), SIGNER.fingerprint).previous == head_hash(first)
    assert head_hash(first) != head_hash(encode_head(a_head(1, FIRST_PREVIOUS, files=9), SIGNER))


def test_a_heartbeat_has_the_same_root_under_the_next_version() -> None:
    first = a_head(1, FIRST_PREVIOUS)
    beat = a_head(2, head_hash(encode_head(first, SIGNER)), created_s=first.created_s + 604_800)
    decoded = decode_head(encode_head(beat, SIGNER), SIGNER.fingerprint)
    assert (decoded.root, decoded.version) == (first.root, 2)


def test_an_old_head_in_the_place_of_a_newer_one_is_refused() -> None:
    content = encode_head(a_head(2), SIGNER)
    for elsewhere in (head_address(1, 3), head_address(2, 2), ArticleAddress(ArticleKind.HEAD, bytes(16))):
        with pytest.raises(ContentMismatch):
            decode_head(content, SIGNER.fingerprint, elsewhere)


def test_nobody_but_the_folder_signs_its_heads() -> None:
    with pytest.raises(BadSignature):
        encode_head(a_head(), STRANGER)
    content = encode_head(a_head(), SIGNER)
    with pytest.raises(BadSignature):
        decode_head(content, STRANGER.fingerprint)
    with pytest.raises(BadSignature):
        decode_head(content[:-64] + STRANGER.sign(LABEL + content[:-64]), SIGNER.fingerprint)


@given(st.data())
def test_an_altered_head_is_refused(data: st.DataObject) -> None:
    content = bytearray(encode_head(a_head(), SIGNER))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        decode_head(bytes(content), SIGNER.fingerprint)


@given(heads(), st.data())
def test_what_the_folder_itself_signs_wrongly_is_a_format_error_or_keeps_the_rules(
    head: Head, data: st.DataObject
) -> None:
    message = bytearray(encode_head(head, SIGNER)[:-64])
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    message = message[: data.draw(st.sampled_from([len(message), data.draw(st.integers(0, len(message)))]))]
    content = bytes(message) + SIGNER.sign(LABEL + bytes(message))
    try:
        decoded = decode_head(content, SIGNER.fingerprint)
    except FormatError:
        return
    assert encode_head(decoded, SIGNER) == content


@given(st.binary(max_size=400))
def test_noise_is_never_a_head(content: bytes) -> None:
    with pytest.raises(FormatError):
        decode_head(content, SIGNER.fingerprint)


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": 0},
        {"version": 0},
        {"version": MAX_VERSION + 1},
        {"created_s": -1},
        {"expires_s": -1},
        {"files": -1},
        {"bytes_total": MAX_VERSION + 1},
        {"previous": FIRST_PREVIOUS},
        {"version": 1},
        {"root": PageRef(SegmentId(bytes(16)), 5, 100)},
        {"root": PageRef(SegmentId(b"short"), 5, 100)},
        {"root": PageRef(SegmentId(b"s" * 16), 5, 0)},
        {"root": PageRef(SegmentId(b"s" * 16), -1, 5)},
        {"root": PageRef(SegmentId(b"s" * 16), 1, SEGMENT_SIZE_BYTES)},
        {"older": (OlderEpoch(1, 1, bytes(32)),)},
        {"epoch": 2, "older": (OlderEpoch(1, 3, bytes(32)),)},
        {"epoch": 2, "older": (OlderEpoch(1, 1, bytes(31)),)},
        {"epoch": 5, "older": (OlderEpoch(2, 1, bytes(32)), OlderEpoch(1, 2, bytes(32)))},
        {"epoch": 5, "older": (OlderEpoch(1, 2, bytes(32)), OlderEpoch(2, 1, bytes(32)))},
    ],
)
def test_a_head_that_nobody_may_read_is_not_written(fields: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        encode_head(a_head(**fields), SIGNER)  # type: ignore[arg-type]


def test_a_head_lists_a_thousand_older_epochs_and_no_more() -> None:
    older = tuple(OlderEpoch(n, n, bytes(32)) for n in range(1, MAX_OLDER_EPOCHS + 2))
    full = a_head(5_000, epoch=5_000, older=older[:-1])
    assert decode_head(encode_head(full, SIGNER), SIGNER.fingerprint) == full
    with pytest.raises(LimitExceeded):
        encode_head(a_head(5_000, epoch=5_000, older=older), SIGNER)


def test_the_secrets_of_older_epochs_are_not_shown_when_printed() -> None:
    head = a_head(epoch=2, older=(OlderEpoch(1, 1, b"\xaa" * 32),))
    assert "aaaa" not in repr(head)
    assert "\\xaa" not in repr(head)
