"""Identities and cards: what is wrapped for one opens for that one, and a card cannot be forged or mistyped."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usenetsyncd.errors import BadCard, BadSignature, LimitExceeded, NewerFormat, UsenetSyncError
from usenetsyncd.wire.identity import (
    ENCRYPTION_PUBLIC_BYTES,
    MAX_CARD_CHARS,
    STANZA_BYTES,
    Identity,
    identity_secret,
    read_card,
    spoken,
    wrap,
    wrap_for_nobody,
)
from usenetsyncd.wire.words import WORDS, new_passphrase, words_of

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
CARD = ALICE.card("Alice", 1_763_800_000)

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20).map(
    lambda name: unicodedata.normalize("NFC", name)
)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60))
@settings(max_examples=25)
def test_what_is_wrapped_for_one_opens_for_that_one_alone(secret: bytes, info: bytes) -> None:
    stanza = wrap(ALICE.encryption_public, secret, info)
    assert len(stanza) == STANZA_BYTES
    assert ALICE.unwrap(stanza, info) == secret
    assert BOB.unwrap(stanza, info) is None
    assert ALICE.unwrap(stanza, info + b".") is None
    assert wrap(ALICE.encryption_public, secret, info) != stanza


@given(st.integers(0, STANZA_BYTES - 1), st.integers(1, 255))
@settings(max_examples=60)
def test_an_altered_stanza_opens_for_nobody(at: int, change: int) -> None:
    stanza = bytearray(_STANZA)
    stanza[at] ^= change
    assert ALICE.unwrap(bytes(stanza), b"info") is None


_STANZA = wrap(ALICE.encryption_public, b"s" * 32, b"info")


@given(st.binary(max_size=STANZA_BYTES + 10))
def test_noise_opens_for_nobody(noise: bytes) -> None:
    assert ALICE.unwrap(noise, b"info") is None


def test_a_stanza_for_nobody_looks_like_any_other() -> None:
    stanza = wrap_for_nobody(b"info")
    assert len(stanza) == STANZA_BYTES
    assert ALICE.unwrap(stanza, b"info") is None


def test_an_identity_comes_back_from_its_secret_and_differs_by_number() -> None:
    master = b"m" * 32
    one, again, two = (Identity(identity_secret(master, number)) for number in (1, 1, 2))
    assert one.fingerprint == again.fingerprint
    assert one.encryption_public == again.encryption_public
    assert one.fingerprint != two.fingerprint
    for number in (0, 2**32):
        with pytest.raises(LimitExceeded):
            identity_secret(master, number)
    with pytest.raises(LimitExceeded):
        Identity(b"short")


@given(names, st.integers(0, 2**63 - 1))
@settings(max_examples=50)
def test_a_card_comes_back_as_it_was(name: str, made_s: int) -> None:
    if len(name.encode()) > 64 or unicodedata.normalize("NFC", name) != name:
        with pytest.raises(BadCard):
            ALICE.card("n" * 65, made_s)
        return
    card = read_card(ALICE.card(name, made_s))
    assert (card.name, card.made_s) == (name, made_s)
    assert card.encryption_public == ALICE.encryption_public
    assert card.fingerprint == ALICE.fingerprint
    assert len(card.text) <= MAX_CARD_CHARS


def test_a_card_may_be_wrapped_by_a_mail_program() -> None:
    folded = "\r\n".join(CARD[at : at + 60] for at in range(0, len(CARD), 60))
    assert read_card(f"\n {folded} \n") == read_card(CARD)


@given(st.integers(10, len(CARD) - 1), st.sampled_from("ABCXYZabcxyz0189-_=+ /\u00e9\0"))
def test_a_mistyped_card_is_refused_and_never_repeated(at: int, letter: str) -> None:
    mistyped = CARD[:at] + letter + CARD[at + 1 :]
    if "".join(mistyped.split()) == CARD:
        return
    with pytest.raises(UsenetSyncError) as refused:
        read_card(mistyped)
    assert isinstance(refused.value, BadCard | BadSignature | NewerFormat)
    assert CARD[20:40] not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["", " ", "Ali\nce", "\x1b[0m", "a\u202eb", "a\u200bb", "n" * 65, " x", "x ", "\ud800"]
)
def test_a_name_that_does_not_show_is_no_name(name: str) -> None:
    with pytest.raises(BadCard):
        ALICE.card(name, 1)


def test_a_card_too_long_to_be_one_costs_nothing() -> None:
    with pytest.raises(BadCard, match="at most"):
        read_card("usyncuser1" + "A" * 50_000_000)


def test_a_key_that_cannot_be_one_is_refused_before_anybody_uses_it() -> None:
    for public in (bytes(1_184) + bytes(32), b"\xff" * ENCRYPTION_PUBLIC_BYTES, b"", bytes(10)):
        with pytest.raises(BadCard):
            wrap(public, b"s" * 32, b"")


# -- words -----------------------------------------------------------------------------------


def test_the_words_are_hard_to_confuse() -> None:
    assert len(WORDS) == 2_048
    assert len({word[:4] for word in WORDS}) == 2_048
    assert list(WORDS) == sorted(WORDS)
    assert all(word.isascii() and word.islower() and 3 <= len(word) <= 8 for word in WORDS)


def test_words_stand_for_groups_of_eleven_bits() -> None:
    assert words_of(b"\0\0\0") == ("abandon", "abandon")
    assert words_of(b"\xff" * 11) == ("zoo",) * 8
    assert words_of(bytes((0b00000000, 0b00100000, 0b00001000))) == ("ability", "able")
    assert words_of(b"\xff") == ()


@given(st.binary(min_size=16, max_size=16))
def test_the_spoken_form_of_a_fingerprint_is_its_first_88_bits(fingerprint: bytes) -> None:
    said = spoken(fingerprint).split()
    bits = "".join(f"{WORDS.index(word):011b}" for word in said)
    assert bits == f"{int.from_bytes(fingerprint):0128b}"[:88]


def test_a_drawn_passphrase_has_six_words_and_is_another_each_time() -> None:
    drawn = {new_passphrase() for _ in range(200)}
    assert len(drawn) == 200
    assert all(len(phrase.split()) == 6 and set(phrase.split()) <= set(WORDS) for phrase in drawn)
