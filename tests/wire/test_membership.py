"""Share envelopes: what a string allows, and a clear word about those of tomorrow."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usenetsyncd.errors import (
    BadSignature,
    ContentMismatch,
    FormatError,
    LimitExceeded,
    NewerFormat,
    NotAMember,
    PassphraseNeeded,
    ShareRevoked,
    UsageError,
    WrongPassphrase,
)
from usenetsyncd.model import Compression
from usenetsyncd.wire import keys
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.identity import STANZA_BYTES, Identity
from usenetsyncd.wire.membership import (
    MAX_MEMORY_KIB,
    MAX_SERIAL,
    MOST_STANZAS,
    Argon2,
    Envelope,
    ShareKind,
    Stretched,
    decode_envelope,
    encode_envelope,
    envelope_address,
    stanzas_for,
    stretch,
    unwrap,
    wrap_private,
    wrap_protected,
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


def test_a_share_of_tomorrow_is_told_in_plain_words() -> None:
    for share in (4, 77, 255):
        with pytest.raises(NewerFormat, match="newer version of UsenetSync is needed"):
            decode_envelope(signed(1, bytes((share,))), SIGNER.fingerprint)


def signed(at: int, patch: bytes, wrapped: bytes = PUBLIC.wrapped) -> bytes:
    """PUBLIC with other bytes at ``at`` and another secret at its end, signed by the folder itself."""
    message = bytearray(encode_envelope(PUBLIC, SIGNER)[:-96])
    message[80:84] = len(wrapped).to_bytes(4, "big")
    message += wrapped
    message[at : at + len(patch)] = patch
    return bytes(message) + SIGNER.sign(LABEL + bytes(message))


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


# -- protected by a passphrase ---------------------------------------------------------------

QUICK = Argon2(1, 1, 64)
SECRET_S = b"s" * 24


def protected(passphrase: str, serial: int = 1, epoch: int = 1) -> Envelope:
    place = (SIGNER.fingerprint, serial, epoch)
    wrapped = wrap_protected(b"\xaa" * 32, SECRET_S, stretch(passphrase, QUICK), place)
    return replace(PUBLIC, share=ShareKind.PROTECTED, serial=serial, epoch=epoch, wrapped=wrapped)


@given(st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()))
@settings(max_examples=40)
def test_the_passphrase_opens_a_protected_share_and_nothing_else_does(passphrase: str) -> None:
    envelope = decode_envelope(encode_envelope(protected(passphrase), SIGNER), SIGNER.fingerprint)
    assert unwrap(envelope, SECRET_S, passphrase) == b"\xaa" * 32
    for wrong in (passphrase + "x", "x" + passphrase, "other"):
        with pytest.raises(WrongPassphrase):
            unwrap(envelope, SECRET_S, wrong)
    with pytest.raises(WrongPassphrase):
        unwrap(envelope, bytes(24), passphrase)
    with pytest.raises(PassphraseNeeded):
        unwrap(envelope, SECRET_S)


def test_however_a_keyboard_makes_the_letter_the_passphrase_is_the_same() -> None:
    assert unwrap(protected("caf\u00e9"), SECRET_S, "cafe\u0301") == b"\xaa" * 32


def test_what_was_wrapped_for_one_envelope_opens_in_no_other() -> None:
    wrapped = protected("phrase", serial=7, epoch=2).wrapped
    moved = protected("phrase", serial=8, epoch=2)
    with pytest.raises(WrongPassphrase):
        unwrap(replace(moved, wrapped=wrapped), SECRET_S, "phrase")


def test_what_is_kept_of_a_passphrase_wraps_again_without_it() -> None:
    kept = Stretched.unpack(stretch("phrase", QUICK).pack())
    place = (SIGNER.fingerprint, 9, 3)
    wrapped = wrap_protected(b"\xbb" * 32, SECRET_S, kept, place)
    later = replace(PUBLIC, share=ShareKind.PROTECTED, serial=9, epoch=3, wrapped=wrapped)
    assert unwrap(later, SECRET_S, "phrase") == b"\xbb" * 32
    assert "phrase" not in repr(kept)
    with pytest.raises(FormatError):
        Stretched.unpack(b"short")


def test_no_passphrase_and_one_without_end_are_refused() -> None:
    for passphrase in ("", "x" * 1_025):
        with pytest.raises(UsageError):
            stretch(passphrase, QUICK)


@given(st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_no_parameters_exhaust_a_reader(lanes: int, passes: int, memory_kib: int) -> None:
    content = signed(
        1,
        b"\2",
        bytes((1, lanes)) + passes.to_bytes(2, "big") + memory_kib.to_bytes(4, "big") + bytes(64),
    )
    try:
        decode_envelope(content, SIGNER.fingerprint)
    except LimitExceeded:
        return
    assert memory_kib <= MAX_MEMORY_KIB
    assert memory_kib * passes <= 2**20
    assert 1 <= lanes <= 8


def test_a_bomb_is_refused_before_any_memory_is_taken() -> None:
    bombs = [
        Argon2(1, 1, 2**32 - 1),
        Argon2(65_535, 1, 8),
        Argon2(1, 255, 2_040),
        Argon2(16, 8, MAX_MEMORY_KIB),
    ]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(LimitExceeded, match="the limit is 262,144 KiB"):
                stretch("phrase", bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# -- private, for listed people --------------------------------------------------------------

PEOPLE = [Identity(bytes((number,)) * 32) for number in range(6)]
PLACE = (SIGNER.fingerprint, 1, 1)


def private(members: Sequence[Identity]) -> Envelope:
    wrapped = wrap_private(b"\xaa" * 32, [one.encryption_public for one in members], PLACE)
    return replace(PUBLIC, share=ShareKind.PRIVATE, wrapped=wrapped)


@given(st.sets(st.integers(0, 5)))
@settings(max_examples=25)
def test_members_open_a_private_share_and_nobody_else(inside: set[int]) -> None:
    made = private([PEOPLE[number] for number in inside])
    envelope = decode_envelope(encode_envelope(made, SIGNER), SIGNER.fingerprint)
    for number, person in enumerate(PEOPLE):
        if number in inside:
            assert unwrap(envelope, SECRET_S, identity=person) == b"\xaa" * 32
        else:
            with pytest.raises(NotAMember):
                unwrap(envelope, SECRET_S, identity=person)
    with pytest.raises(NotAMember):
        unwrap(envelope, SECRET_S, "a passphrase")


def test_how_many_are_in_shows_only_as_a_power_of_two() -> None:
    lengths = {len(private(PEOPLE[:count]).wrapped) for count in range(5)}
    assert lengths == {4 * STANZA_BYTES}
    assert len(private(PEOPLE).wrapped) == 8 * STANZA_BYTES
    assert [stanzas_for(count) for count in (0, 1, 4, 5, 8, 9, 257, 512)] == [4, 4, 4, 8, 8, 16, 512, 512]
    with pytest.raises(LimitExceeded):
        stanzas_for(MOST_STANZAS + 1)


def test_a_member_stands_anywhere_and_no_stanza_is_used_twice() -> None:
    places, seen = set(), set()
    for _ in range(60):
        wrapped = private(PEOPLE[:1]).wrapped
        stanzas = [wrapped[at : at + STANZA_BYTES] for at in range(0, len(wrapped), STANZA_BYTES)]
        info = b"usenetsync/1 stanza\0" + SIGNER.fingerprint + (1).to_bytes(8, "big") + (1).to_bytes(4, "big")
        places |= {at for at, stanza in enumerate(stanzas) if PEOPLE[0].unwrap(stanza, info)}
        seen |= set(stanzas)
    assert places == {0, 1, 2, 3}
    assert len(seen) == 240


def test_the_largest_share_fits_into_an_article() -> None:
    largest = replace(PUBLIC, share=ShareKind.PRIVATE, wrapped=bytes(MOST_STANZAS * STANZA_BYTES))
    assert decode_envelope(encode_envelope(largest, SIGNER), SIGNER.fingerprint) == largest


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 6, 7, 12, 513, 600])
def test_lies_about_the_number_of_stanzas_are_refused(count: int) -> None:
    with pytest.raises(FormatError):
        decode_envelope(signed(1, b"\3", bytes(count * STANZA_BYTES)), SIGNER.fingerprint)


def test_stanzas_that_a_publisher_made_up_open_for_nobody() -> None:
    for filling in (bytes(4 * STANZA_BYTES), b"\xff" * (4 * STANZA_BYTES), b"\x01" * (4 * STANZA_BYTES)):
        envelope = decode_envelope(signed(1, b"\3", filling), SIGNER.fingerprint)
        with pytest.raises(NotAMember):
            unwrap(envelope, SECRET_S, identity=PEOPLE[0])


def test_a_revoked_share_opens_for_nobody() -> None:
    revoked = replace(PUBLIC, share=ShareKind.REVOKED, wrapped=b"", serial=2)
    with pytest.raises(ShareRevoked):
        unwrap(revoked, SECRET_S, "a passphrase", PEOPLE[0])


def test_a_public_share_opens_with_nothing() -> None:
    assert unwrap(PUBLIC, SECRET_S) == b"\xaa" * 32
