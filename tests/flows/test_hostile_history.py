"""Heads and envelopes of a hostile publisher, a hostile server, and of readers who may read and no more."""

from collections.abc import Callable

import pytest

from tests.flows.hostile import Publisher, Reader
from usenetsyncd.errors import (
    Fork,
    NewerFormat,
    NothingPublished,
    NotPermitted,
    Rollback,
    UsenetSyncError,
)
from usenetsyncd.flows.locate import KnownVersion
from usenetsyncd.model import Compression
from usenetsyncd.wire.head import head_address, head_hash
from usenetsyncd.wire.keys import SigningKey, encode_address
from usenetsyncd.wire.membership import ShareKind, envelope_address
from usenetsyncd.wire.seal import _cipher, seal


def three_versions(publisher: Publisher) -> None:
    publisher.post_envelope(1, publisher.envelope())
    for version in (1, 2, 3):
        publisher.post_head(version, publisher.head(version))


def known(publisher: Publisher, version: int) -> KnownVersion:
    return KnownVersion(version, head_hash(publisher.heads[version]))


def forged(publisher: Publisher, version: int) -> bytes:
    """A head with another signature: all that a reader can make."""
    signed = publisher.head(version)[:-64]
    return signed + SigningKey(b"\x05" * 32).sign(b"usenetsync/1 head\0" + signed)


Forge = Callable[[Publisher], None]
# Each leaves version 3 as the newest that is the publisher's.
FORGERIES: dict[str, Forge] = {
    "signed by another": lambda p: p.post(head_address(1, 4), forged(p, 4)) and None,
    "signed by another, far ahead": lambda p: p.post(head_address(1, 3 + 2**20), forged(p, 4)) and None,
    "an old head under the next number": lambda p: p.post(head_address(1, 4), p.heads[1]) and None,
    "an old head far ahead": lambda p: p.post(head_address(1, 3 + 2**16), p.heads[3]) and None,
    "random bytes": lambda p: p.post_body(head_address(1, 4), b"x" * 4_144) and None,
    "an empty article": lambda p: p.post_body(head_address(1, 4), b"x") and None,
    "sealed with the share's keys": lambda p: (
        p.post_body(head_address(1, 4), seal(p.share_keys, head_address(1, 4), p.head(4), Compression.NONE))
        and None
    ),
    "no head at all": lambda p: p.post(head_address(1, 4), b"nothing of the kind") and None,
    "cut": lambda p: p.post(head_address(1, 4), p.head(4)[:-1]) and None,
    "an envelope": lambda p: p.post(head_address(1, 4), p.envelope()) and None,
    "of another epoch": lambda p: p.post(head_address(1, 4), p.head(4, epoch=2)) and None,
    "of another folder": lambda p: p.post(head_address(1, 4), replaced_fingerprint(p)) and None,
    "a newer version, signed by nobody": lambda p: (
        p.post(head_address(1, 4), b"\x02" + p.head(4)[1:]) and None
    ),
    "a block of a newer version": lambda p: p.post_body(head_address(1, 4), newer_block(p)) and None,
    "a generation of the next number": lambda p: p.post(head_address(1, 4, 0, 3), p.heads[2]) and None,
    "a run of eight": lambda p: [p.post(head_address(1, 4 + n), p.heads[1]) for n in range(8)] and None,
}


def replaced_fingerprint(publisher: Publisher) -> bytes:
    content = bytearray(publisher.head(4))
    content[4] ^= 1
    return bytes(content)


def newer_block(publisher: Publisher) -> bytes:
    """A body that opens, around a block of version 2."""
    at = head_address(1, 4)
    block = bytes([2, at.kind]) + bytes(4_094)
    commit = b"\x01" * 32
    cipher, nonce, additional = _cipher(publisher.keys, encode_address(at), commit)
    return commit + cipher.encrypt(nonce, block, additional)


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_head_is_struck_out_with_a_warning(case: str, publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    FORGERIES[case](publisher)
    located = reader.locate(publisher.access)
    assert located.head.version == 3
    assert any("not the publisher's" in warning for warning in located.warnings)
    again = reader.locate(publisher.access, known(publisher, 3))
    assert again.head.version == 3


def test_a_forged_number_does_not_hide_the_honest_ones_behind_it(
    publisher: Publisher, reader: Reader
) -> None:
    publisher.post_envelope(1, publisher.envelope())
    for version in range(1, 12):
        content = publisher.head(version)
        publisher.heads[version] = content
        publisher.post(head_address(1, version), forged(publisher, version) if version == 5 else content)
    assert reader.locate(publisher.access).head.version == 11


def test_whoever_posts_first_under_a_name_does_not_keep_the_publisher_out(
    publisher: Publisher, reader: Reader
) -> None:
    three_versions(publisher)
    publisher.post(head_address(1, 4), forged(publisher, 4))
    publisher.post(head_address(1, 4, generation=1), publisher.head(4))
    publisher.post(envelope_address(2), b"mine", share=True)
    publisher.post(envelope_address(2, copy=1), publisher.envelope(2, version=4), share=True)
    assert reader.locate(publisher.access).head.version == 4


def test_a_rolled_back_history_is_noticed(publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    with pytest.raises(Rollback):
        reader.locate(publisher.access, KnownVersion(5, b"\x01" * 32))


def test_a_forked_head_of_the_same_number_is_noticed(publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    with pytest.raises(Fork):
        reader.locate(publisher.access, KnownVersion(3, b"\x01" * 32))


@pytest.mark.parametrize("seen", [1, 2])
def test_a_fork_below_the_newest_is_noticed(seen: int, publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    with pytest.raises(Fork):
        reader.locate(publisher.access, KnownVersion(seen, b"\x01" * 32))


def test_a_chain_that_does_not_hang_together_is_noticed(publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    publisher.post_head(4, publisher.head(4, previous=b"\x07" * 32))
    with pytest.raises(Fork):
        reader.locate(publisher.access, known(publisher, 2))


def test_a_chain_with_junk_in_its_middle_is_a_gap_and_no_crash(publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    first = known(publisher, 3)
    publisher.heads[4] = publisher.head(4)
    publisher.post(head_address(1, 4), forged(publisher, 4))
    publisher.post_head(5, publisher.head(5))
    assert reader.locate(publisher.access, first).head.version == 5


def test_numbers_far_ahead_are_found(publisher: Publisher, reader: Reader) -> None:
    publisher.post_envelope(1, publisher.envelope())
    publisher.post_head(1, publisher.head(1))
    publisher.post_head(1 + 2**20, publisher.head(1 + 2**20))
    assert reader.locate(publisher.access).head.version == 1 + 2**20


@pytest.mark.parametrize("hint", [2**63 - 1, 2**63 - 3, 2**62])
def test_the_last_possible_number_is_no_crash(hint: int, publisher: Publisher, reader: Reader) -> None:
    publisher.post_envelope(1, publisher.envelope(version=hint))
    with pytest.raises(NothingPublished):
        reader.locate(publisher.access)
    publisher.post_head(hint, publisher.head(hint))
    assert reader.locate(publisher.access).head.version == hint


def test_a_version_announced_but_withheld_is_worth_a_warning(publisher: Publisher, reader: Reader) -> None:
    publisher.post_envelope(1, publisher.envelope(version=3))
    publisher.post_head(2, publisher.head(2))
    located = reader.locate(publisher.access)
    assert located.head.version == 2
    assert any("older" in warning for warning in located.warnings)


def test_an_overdue_head_is_worth_a_warning(publisher: Publisher, reader: Reader) -> None:
    publisher.post_envelope(1, publisher.envelope())
    publisher.post_head(1, publisher.head(1, expires_s=1_700_000_000))
    assert any("overdue" in warning for warning in reader.locate(publisher.access).warnings)


def test_a_newer_head_says_so(publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    signed = b"\x02" + publisher.head(4)[1:-64]
    signed += publisher.signing.sign(b"usenetsync/1 head\0" + signed)
    publisher.post(head_address(1, 4), signed)
    with pytest.raises(NewerFormat):
        reader.locate(publisher.access)


# -- envelopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("serial", [2, 5, 2**20 + 1])
def test_an_envelope_sealed_again_at_a_higher_serial_is_struck_out(
    serial: int, publisher: Publisher, reader: Reader
) -> None:
    three_versions(publisher)
    publisher.post(envelope_address(serial), publisher.envelope(1), share=True)
    located = reader.locate(publisher.access)
    assert located.head.version == 3
    assert any("envelope" in warning for warning in located.warnings)


def test_a_forged_revocation_is_struck_out(publisher: Publisher, reader: Reader) -> None:
    three_versions(publisher)
    content = bytearray(publisher.envelope(2, share=ShareKind.REVOKED))
    content[-1] ^= 1
    publisher.post(envelope_address(2), bytes(content), share=True)
    assert reader.locate(publisher.access).head.version == 3


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"share": ShareKind.REVOKED}, NotPermitted),
        ({"expires_s": 1_700_000_000}, NotPermitted),
    ],
)
def test_what_a_newer_envelope_takes_back_is_taken_back(
    changed: dict[str, object], error: type[UsenetSyncError], publisher: Publisher, reader: Reader
) -> None:
    three_versions(publisher)
    publisher.post_envelope(2, publisher.envelope(2, **changed))
    with pytest.raises(error):
        reader.locate(publisher.access)


@pytest.mark.parametrize("nth", [0, 30, 60])
def test_a_share_without_a_sound_envelope_leads_nowhere(
    nth: int, publisher: Publisher, reader: Reader
) -> None:
    content = bytearray(publisher.envelope())
    content[nth] ^= 0x40 if nth else 0x01
    publisher.post(envelope_address(1), bytes(content), share=True)
    with pytest.raises(NothingPublished):
        reader.locate(publisher.access)


def test_a_share_of_a_newer_kind_says_so(publisher: Publisher, reader: Reader) -> None:
    content = bytearray(publisher.envelope())[:-64]
    content[1] = 9
    label = b"usenetsync/1 envelope\0"
    signed = bytes(content) + publisher.signing.sign(label + bytes(content))
    publisher.post(envelope_address(1), signed, share=True)
    with pytest.raises(NewerFormat):
        reader.locate(publisher.access)
