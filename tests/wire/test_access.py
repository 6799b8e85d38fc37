"""Access strings: short, and legible about what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import BadAccessString, ExitCode, FormatError, NewerFormat
from usenetsyncd.model import Fingerprint
from usenetsyncd.wire.access import MAX_STRING, AccessKind, decode_access, encode_access, new_share_secret

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
secrets = st.binary(min_size=24, max_size=24)
fingerprints = st.binary(min_size=16, max_size=16).map(Fingerprint)
GOOD = encode_access(AccessKind.READ, b"s" * 24, Fingerprint(b"f" * 16))


def test_every_share_has_a_secret_of_its_own() -> None:
    assert len(new_share_secret()) == 24
    assert new_share_secret() != new_share_secret()


@given(st.sampled_from([AccessKind.READ, AccessKind.VERIFY]), secrets, fingerprints)
def test_an_access_string_comes_back_as_it_was(
    kind: AccessKind, secret: bytes, fingerprint: Fingerprint
) -> None:
    string = encode_access(kind, secret, fingerprint)
    assert len(string) <= MAX_STRING
    assert string.startswith(kind.value + "1")
    assert decode_access(string) == (kind, secret, fingerprint)
    assert decode_access(string.upper()) == (kind, secret, fingerprint)


def test_a_recovery_string_holds_the_master_and_no_folder() -> None:
    string = encode_access(AccessKind.RECOVERY, b"m" * 32, Fingerprint(b""))
    assert decode_access(string) == (AccessKind.RECOVERY, b"m" * 32, b"")


@given(st.lists(st.tuples(st.integers(0, 80), st.sampled_from(" \t\r\n")), max_size=6))
def test_white_space_from_mails_and_terminals_does_no_harm(spaces: list[tuple[int, str]]) -> None:
    string = GOOD
    for at, space in spaces:
        string = string[:at] + space + string[at:]
    assert decode_access(string)[1] == b"s" * 24


@given(
    st.dictionaries(
        st.integers(len("usyncread1"), len(GOOD) - 1), st.sampled_from(ALPHABET), min_size=1, max_size=4
    )
)
def test_up_to_four_mistyped_letters_are_always_noticed(changes: dict[int, str]) -> None:
    letters = list(GOOD)
    for at, letter in changes.items():
        letters[at] = letter
    if "".join(letters) != GOOD:
        with pytest.raises(BadAccessString, match="checksum"):
            decode_access("".join(letters))


@given(st.integers(0, len(GOOD) - 2))
def test_two_neighbours_exchanged_are_noticed(at: int) -> None:
    swapped = GOOD[:at] + GOOD[at + 1] + GOOD[at] + GOOD[at + 2 :]
    if swapped != GOOD:
        with pytest.raises(BadAccessString):
            decode_access(swapped)


@given(st.integers(0, len(GOOD) - 1))
def test_a_string_that_was_cut_is_noticed(length: int) -> None:
    with pytest.raises(BadAccessString):
        decode_access(GOOD[:length])


@pytest.mark.parametrize(
    ("string", "said"),
    [
        ("", "not an access string"),
        ("correct horse battery staple", "not an access string"),
        (GOOD[:30] + GOOD[30:].upper(), "capital and small"),
        (GOOD[:30] + "b" + GOOD[31:], "character that none has"),
        (GOOD[:-1] + ("q" if GOOD[-1] != "q" else "p"), "checksum"),
        (GOOD + GOOD, "longer"),
        ("usyncread1", "cut short"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_string(string: str, said: str) -> None:
    with pytest.raises(BadAccessString, match=said) as raised:
        decode_access(string)
    assert raised.value.exit_code is ExitCode.USAGE


@given(st.text(max_size=100) | st.text(ALPHABET, max_size=80).map("usyncread1".__add__))
def test_no_text_raises_anything_else_or_is_repeated_in_the_error(text: str) -> None:
    with pytest.raises((BadAccessString, NewerFormat)) as raised:
        decode_access(text)
    shown = text.strip()
    assert len(shown) < 12 or shown not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "secret", "fingerprint"),
    [
        (AccessKind.READ, bytes(32), bytes(16)),
        (AccessKind.READ, bytes(24), b""),
        (AccessKind.RECOVERY, bytes(24), b""),
        (AccessKind.RECOVERY, bytes(32), bytes(16)),
    ],
)
def test_a_string_with_the_wrong_contents_is_not_made(
    kind: AccessKind, secret: bytes, fingerprint: bytes
) -> None:
    with pytest.raises(FormatError):
        encode_access(kind, secret, Fingerprint(fingerprint))


def test_the_checksum_is_that_of_bip_350() -> None:
    # Valid bech32m strings of BIP-350 have right checksums and prefixes that are not ours; only the latter shows.
    from usenetsyncd.wire.access import _BECH32M, _VALUES, _expand_prefix, _polymod

    for string in (
        "a1lqfn3a",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    ):
        prefix, _, letters = string.rpartition("1")
        assert _polymod([*_expand_prefix(prefix), *(_VALUES[letter] for letter in letters)]) == _BECH32M
