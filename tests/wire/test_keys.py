"""Keys and names: what follows from what, and what must not."""

import re

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import BadSignature, FormatError, LimitExceeded
from usenetsyncd.model import ArticleAddress, ArticleKind, Fingerprint
from usenetsyncd.wire import keys
from usenetsyncd.wire.article import build_article

SECRET = keys.folder_secret(b"m" * 32, b"u" * 16)
SIGNER = keys.signing_key(SECRET)
LOCATION = keys.read_keys(keys.read_secret(SECRET, 1), SIGNER.fingerprint).location

addresses = st.builds(
    ArticleAddress,
    st.sampled_from(ArticleKind),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 255),
    st.integers(0, 65_535),
)


@given(st.binary(max_size=64), st.binary(max_size=40))
def test_derivation_is_hkdf_as_rfc_5869_and_openssl_have_it(secret: bytes, context: bytes) -> None:
    peer = HKDF(hashes.SHA256(), 32, salt=b"usenetsync/1", info=b"usenetsync/1 folder\0" + context)
    assert keys.derive(secret, "folder", context) == peer.derive(secret)


def test_every_secret_of_the_tree_is_different() -> None:
    one = keys.read_keys(keys.read_secret(SECRET, 1), SIGNER.fingerprint)
    two = keys.read_keys(keys.read_secret(SECRET, 2), SIGNER.fingerprint)
    elsewhere = keys.read_keys(keys.read_secret(SECRET, 1), Fingerprint(bytes(16)))
    share = keys.share_keys(keys.read_secret(SECRET, 1), SIGNER.fingerprint)
    secrets = [SECRET, keys.derive(SECRET, "sign"), keys.read_secret(SECRET, 1), keys.read_secret(SECRET, 2)]
    for read in (one, two, elsewhere, share):
        secrets += [read.identity, read.sealing, read.location]
    assert len(set(secrets)) == len(secrets)


def test_two_masters_are_never_the_same() -> None:
    assert keys.new_master() != keys.new_master()
    assert len(keys.new_master()) == 32


@pytest.mark.parametrize("epoch", [0, -1, 2**32])
def test_an_epoch_outside_its_range_is_refused(epoch: int) -> None:
    with pytest.raises(LimitExceeded):
        keys.read_secret(SECRET, epoch)


def test_a_fingerprint_of_the_wrong_length_makes_no_keys() -> None:
    with pytest.raises(FormatError):
        keys.read_keys(bytes(32), Fingerprint(b"short"))


def test_keys_are_not_shown_when_printed() -> None:
    read = keys.read_keys(bytes(32), SIGNER.fingerprint)
    assert read.sealing.hex() not in repr(read)
    assert repr(read.sealing) not in repr(read)


def test_only_the_signer_signs_only_what_it_signed() -> None:
    signature = SIGNER.sign(b"message")
    keys.verify_signature(SIGNER.public, signature, b"message")
    other = keys.signing_key(keys.folder_secret(b"m" * 32, b"v" * 16))
    for public, text in ((SIGNER.public, b"Message"), (other.public, b"message"), (b"x", b"message")):
        with pytest.raises(BadSignature):
            keys.verify_signature(public, signature, text)


@given(addresses)
def test_names_make_an_article_that_can_be_posted(at: ArticleAddress) -> None:
    name = keys.name_article(LOCATION, at)
    assert build_article(name, ("alt.binaries.test",), b"body").name == name
    assert name.message_id == keys.message_id_of(LOCATION, at)


@given(addresses, addresses)
def test_no_two_articles_share_any_part_of_their_names(one: ArticleAddress, two: ArticleAddress) -> None:
    a, b = keys.name_article(LOCATION, one), keys.name_article(LOCATION, two)
    assert (a == b) == (one == two)
    if one != two:
        assert a.message_id != b.message_id
        assert a.subject != b.subject
        assert a.poster != b.poster
        assert a.file_name != b.file_name


@given(addresses)
def test_a_name_has_the_same_shape_whatever_the_article_is(at: ArticleAddress) -> None:
    name = keys.name_article(LOCATION, at)
    assert re.fullmatch(r"<[0-9a-f]{32}@[a-z]{10}\.local>", name.message_id)
    assert re.fullmatch(r"[0-9a-f]{32}", name.subject)
    assert re.fullmatch(r"[a-z]{5} <[a-z]{10}@[a-z]{10}\.local>", name.poster)
    assert re.fullmatch(r"[0-9a-f]{12}", name.file_name)


def test_names_do_not_repeat_between_subject_and_message_id() -> None:
    name = keys.name_article(LOCATION, ArticleAddress(ArticleKind.DATA, bytes(16)))
    assert name.subject not in name.message_id
    assert name.file_name not in name.subject + name.message_id


@given(addresses)
def test_an_address_is_20_bytes_and_says_everything(at: ArticleAddress) -> None:
    encoded = keys.encode_address(at)
    assert len(encoded) == keys.ADDRESS_BYTES
    assert encoded == bytes([at.kind]) + at.id + bytes([at.copy]) + at.generation.to_bytes(2, "big")


@pytest.mark.parametrize(
    "at",
    [
        ArticleAddress(ArticleKind.DATA, b"short"),
        ArticleAddress(ArticleKind.DATA, bytes(16), copy=256),
        ArticleAddress(ArticleKind.DATA, bytes(16), copy=-1),
        ArticleAddress(ArticleKind.DATA, bytes(16), generation=65_536),
    ],
)
def test_an_impossible_address_is_refused(at: ArticleAddress) -> None:
    with pytest.raises(FormatError):
        keys.encode_address(at)
