"""Envelopes of a publisher who means harm: none costs a reader more than a moment, and each has its sentence."""

import os
import resource
import struct

import pytest

from tests.flows.hostile import Publisher, Reader
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.errors import (
    LimitExceeded,
    NewerFormat,
    NotAMember,
    NothingPublished,
    PassphraseNeeded,
    UsenetSyncError,
    WrongPassphrase,
)
from usenetsyncd.flows.locate import Opening, locate
from usenetsyncd.wire.identity import STANZA_BYTES, Identity
from usenetsyncd.wire.keys import label
from usenetsyncd.wire.membership import envelope_address

ME = Identity(b"i" * 32)
OPENING = Opening("a passphrase", ME)
# Of Argon2id at its most: 256 MiB; of everything else about an envelope, a few.
MOST_KIB = 300_000


def signed(publisher: Publisher, kind: int, wrapped: bytes, serial: int = 1) -> bytes:
    """An envelope of anything, by the folder's own key."""
    message = struct.pack(
        ">BBBB16s32sQqIQI", 1, kind, 1, 0, publisher.fingerprint, publisher.signing.public, serial, 0, 1, 0, len(wrapped)
    )  # fmt: skip
    message += wrapped
    return message + publisher.signing.sign(label("envelope") + message)


def argon2(lanes: int, passes: int, memory_kib: int, function: int = 1) -> bytes:
    return struct.pack(">BBHI", function, lanes, passes, memory_kib) + os.urandom(64)


def look(publisher: Publisher, reader: Reader, opening: Opening) -> None:
    with reader._news() as news:
        locate(news, publisher.access, SYSTEM_CLOCK, lambda _: None, opening)


BOMBS = {
    "4 TiB": argon2(1, 1, 2**32 - 1),
    "1 KiB too much": argon2(4, 1, 262_145),
    "65,535 passes": argon2(1, 65_535, 8),
    "17 passes": argon2(1, 17, 8),
    "255 lanes": argon2(255, 1, 262_144),
    "no lanes": argon2(0, 1, 65_536),
    "no passes": argon2(1, 0, 65_536),
    "no memory": argon2(1, 1, 0),
    "256 MiB, five times": argon2(1, 5, 262_144),
    "256 MiB, sixteen times, eight lanes": argon2(8, 16, 262_144),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_passphrase_bomb_is_refused_before_it_goes_off(
    bomb: str, publisher: Publisher, reader: Reader
) -> None:
    publisher.post(envelope_address(1), signed(publisher, 2, BOMBS[bomb]), share=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LimitExceeded, match=r"passes over .* KiB .* the limit is 262,144 KiB"):
        look(publisher, reader, OPENING)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_the_most_that_a_publisher_may_ask_for_is_asked_once(publisher: Publisher, reader: Reader) -> None:
    publisher.post(envelope_address(1), signed(publisher, 2, argon2(8, 4, 262_144)), share=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WrongPassphrase):
        look(publisher, reader, OPENING)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KIB


def test_without_a_passphrase_nothing_is_spent_on_trying_one(publisher: Publisher, reader: Reader) -> None:
    publisher.post(envelope_address(1), signed(publisher, 2, argon2(8, 4, 262_144)), share=True)
    with pytest.raises(PassphraseNeeded):
        look(publisher, reader, Opening())


@pytest.mark.parametrize("count", [0, 1, 3, 5, 511, 513, 655])
def test_a_lie_about_stanzas_opens_nothing(count: int, publisher: Publisher, reader: Reader) -> None:
    content = signed(publisher, 3, os.urandom(count * STANZA_BYTES))
    publisher.post(envelope_address(1), content, share=True)
    with pytest.raises(UsenetSyncError) as refused:
        look(publisher, reader, OPENING)
    assert isinstance(refused.value, NothingPublished | LimitExceeded)


def test_as_many_stanzas_as_there_may_be_are_tried_and_no_more(publisher: Publisher, reader: Reader) -> None:
    publisher.post(envelope_address(1), signed(publisher, 3, os.urandom(512 * STANZA_BYTES)), share=True)
    with pytest.raises(NotAMember):
        look(publisher, reader, OPENING)


@pytest.mark.parametrize("length", [0, 1, 31, 33, 71, 73, 4_000])
def test_a_wrap_of_the_wrong_length_is_no_envelope(length: int, publisher: Publisher, reader: Reader) -> None:
    for serial, kind in enumerate((1, 2, 3), 1):
        content = signed(publisher, kind, os.urandom(length), serial)
        publisher.post(envelope_address(serial), content, share=True)
    with pytest.raises(NothingPublished):
        look(publisher, reader, OPENING)


def test_a_way_of_tomorrow_is_told_and_nothing_older_is_taken_instead(
    publisher: Publisher, reader: Reader
) -> None:
    publisher.post(envelope_address(1), publisher.envelope(1), share=True)
    publisher.post(envelope_address(2), signed(publisher, 2, argon2(1, 1, 64, function=2), 2), share=True)
    with pytest.raises(NewerFormat, match="newer version of UsenetSync"):
        look(publisher, reader, OPENING)


def test_who_is_out_does_not_get_in_by_an_older_envelope(publisher: Publisher, reader: Reader) -> None:
    publisher.post(envelope_address(1), publisher.envelope(1), share=True)
    publisher.post(envelope_address(2), signed(publisher, 3, os.urandom(4 * STANZA_BYTES), 2), share=True)
    with pytest.raises(NotAMember):
        look(publisher, reader, OPENING)
    with pytest.raises(NotAMember):
        look(publisher, reader, Opening())
