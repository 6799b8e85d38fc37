"""Share envelopes: what a string allows, and a clear word about those of tomorrow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import BadSignature, ContentMismatch, FormatError, NewerFormat
from usenetsyncd.model import Compression
from usenetsyncd.wire import keys
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.membership import (
    MAX_SERIAL,
    Envelope,
    ShareKind,
    decode_envelope,
    encode_envelope,
    envelope_address,
)
from usenetsyncd.wire.seal import open_sealed, seal

SIGNER = keys.signing_key(keys.folder_secret(b"m" * 32, b"u" * 16))
STRANGER = keys.signing_key(keys.folder_secret(b"m" * 32, b"v" * 16))
SHARE = keys.share_keys(b"s" * 24, SIGNER.fingerprint)
LABEL = b"usenetsync/1 envelope\0"
PUBLIC = Envelope(ShareKind.PUBLIC, SIGNER.public, SIGNER.fingerprint, 1, 0, 1, 0, b"\xaa" * 32)

envelopes = st.builds(
    Envelope,
    st.just(ShareKind.PUBLIC),
    st.just(SIGNER.public),
    st.just(SIGNER.fingerprint),
    st.integers(1, MAX_SERIAL),
    st.integers(0, MAX_VERSION),
    st.integers(1, 2**32 - 1),
    st.integers(0, MAX_VERSION),
    st.binary(min_size=32, max_size=32),
)


@given(envelopes)
def test_an_envelope_comes_back_as_it_was(envelope: Envelope) -> None:
    content = encode_envelope(envelope, SIGNER)
    assert decode_envelope(content, SIGNER.fingerprint, envelope_address(envelope.serial)) == envelope


def test_a_sealed_envelope_opens_with_the_keys_of_its_string_alone() -> None:
    at = envelope_address(1)
    body = seal(SHARE, at, encode_envelope(PUBLIC, SIGNER), Compression.NONE)
    assert decode_envelope(open_sealed(SHARE, at, body), SIGNER.fingerprint, at) == PUBLIC


def test_a_revoked_share_has_no_secret_left() -> None:
    revoked = replace(PUBLIC, share=ShareKind.REVOKED, wrapped=b"", serial=2)
    assert decode_envelope(encode_envelope(revoked, SIGNER), SIGNER.fingerprint) == revoked
    with pytest.raises(FormatError):
        encode_envelope(replace(revoked, wrapped=b"\xaa" * 32), SIGNER)


def test_an_old_envelope_in_the_place_of_a_newer_one_is_refused() -> None:
    with pytest.raises(ContentMismatch):
        decode_envelope(encode_envelope(PUBLIC, SIGNER), SIGNER.fingerprint, envelope_address(2))


@pytest.mark.parametrize(
    ("share", "said"), [(2, "asks for a passphrase"), (3, "listed users only"), (77, "unknown here")]
)
def test_a_share_of_tomorrow_is_told_in_plain_words(share: int, said: str) -> None:
    message = bytearray(encode_envelope(PUBLIC, SIGNER)[:-64])
    message[1] = share
    content = bytes(message) + SIGNER.sign(LABEL + bytes(message))
    with pytest.raises(NewerFormat, match=said):
        decode_envelope(content, SIGNER.fingerprint)


@pytest.mark.parametrize("share", [ShareKind.PROTECTED, ShareKind.PRIVATE])
def test_a_share_that_cannot_be_wrapped_yet_is_not_written(share: ShareKind) -> None:
    with pytest.raises(NewerFormat):
        encode_envelope(replace(PUBLIC, share=share), SIGNER)


@pytest.mark.parametrize(
    "changes",
    [{"serial": 0}, {"serial": MAX_SERIAL + 1}, {"expires_s": -1}, {"epoch": 0}, {"version": -1},
     {"version": MAX_VERSION + 1}, {"wrapped": b"short"}],
)  # fmt: skip
def test_an_envelope_that_nobody_may_read_is_not_written(changes: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError):
        encode_envelope(replace(PUBLIC, **changes), SIGNER)  # type: ignore[arg-type]


def test_nobody_but_the_folder_signs_its_envelopes() -> None:
    with pytest.raises(BadSignature):
        encode_envelope(PUBLIC, STRANGER)
    with pytest.raises(BadSignature):
        decode_envelope(encode_envelope(PUBLIC, SIGNER), STRANGER.fingerprint)


@given(st.data())
def test_an_altered_envelope_is_refused(data: st.DataObject) -> None:
    content = bytearray(encode_envelope(PUBLIC, SIGNER))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        decode_envelope(bytes(content), SIGNER.fingerprint)


@given(envelopes, st.data())
def test_what_the_folder_itself_signs_wrongly_is_a_format_error_or_keeps_the_rules(
    envelope: Envelope, data: st.DataObject
) -> None:
    message = bytearray(encode_envelope(envelope, SIGNER)[:-64])
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(message) + SIGNER.sign(LABEL + bytes(message))
    try:
        decoded = decode_envelope(content, SIGNER.fingerprint)
    except FormatError:
        return
    assert encode_envelope(decoded, SIGNER) == content


@given(st.binary(max_size=300))
def test_noise_is_never_an_envelope(content: bytes) -> None:
    with pytest.raises(FormatError):
        decode_envelope(content, SIGNER.fingerprint)


def test_the_secret_is_not_shown_when_printed() -> None:
    assert "aa" * 4 not in repr(PUBLIC)
    assert "\\xaa" not in repr(PUBLIC)
