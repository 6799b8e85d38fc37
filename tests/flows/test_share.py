"""Sharing: the string alone leads to the newest version."""

import os
from dataclasses import replace

import pytest

from tests.flows.workshop import Workshop
from usenetsyncd.catalogue.rows import ArticleState, LeasedArticle
from usenetsyncd.errors import NotPermitted
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.flows.locate import locate
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.flows.share import access_string, share_of_envelope
from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.wire.access import AccessKind, decode_access
from usenetsyncd.wire.keys import share_keys
from usenetsyncd.wire.pages import find_entry, read_tree


def share(shop: Workshop, expires_s: int = 0, copies: int = 1) -> str:
    made = shop.sharer(copies).public(expires_s)
    return access_string(shop.vault, made, shop.signing.fingerprint)


def test_the_string_alone_restores_every_byte(shop: Workshop) -> None:
    contents = {b"a": os.urandom(1_000), b"d/large": os.urandom(1_700_000), b"d/empty": b""}
    for path, content in contents.items():
        shop.write(os.fsdecode(path), content)
    shop.commit()
    text = share(shop)
    shop.post_all()
    located = locate(shop.news, text, shop.clock, lambda fingerprint: None)
    reader = IndexReader(shop.news, located.rings)
    found = {}
    for entry in read_tree(located.head.root, reader.load):
        if entry.kind.name == "FILE":
            found[bytes(entry.path)] = b"".join(
                retrieve(shop.news, located.rings, ArticleAddress(ArticleKind.DATA, extent.segment))[
                    extent.offset : extent.offset + extent.length
                ]
                for extent in entry.extents
            )
    assert found == contents


def test_a_string_made_before_leads_to_versions_published_later(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    text = share(shop)
    shop.post_all()
    for number in range(3):
        shop.write("a", b"a" * (number + 2))
        shop.commit()
    located = locate(shop.news, text, shop.clock, lambda fingerprint: None)
    assert located.head.version == 4
    entry = find_entry(located.head.root, IndexReader(shop.news, located.rings).load, b"a")  # type: ignore[arg-type]
    assert entry is not None
    assert entry.size == 4


def test_two_shares_have_secrets_of_their_own_and_both_work(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    one, two = share(shop), share(shop)
    shop.post_all()
    assert decode_access(one)[1] != decode_access(two)[1]
    for text in (one, two):
        assert locate(shop.news, text, shop.clock, lambda fingerprint: None).head.version == 1
    assert shop.posted(ArticleKind.ENVELOPE) == 2


def test_an_expired_share_says_so(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    text = share(shop, expires_s=int(shop.clock.now()) + 3_600)
    shop.post_all()
    assert locate(shop.news, text, shop.clock, lambda fingerprint: None).head.version == 1
    shop.clock.advance(3_601)
    with pytest.raises(NotPermitted, match="expired"):
        locate(shop.news, text, shop.clock, lambda fingerprint: None)


def test_the_secret_is_neither_in_the_catalogue_nor_in_a_printed_row(shop: Workshop) -> None:
    text = share(shop)
    _, secret, _ = decode_access(text)
    (row,) = shop.catalogue.shares.list(shop.row).rows
    assert secret not in row.secret
    assert repr(row.secret) not in repr(row)
    shop.catalogue.writer.checkpoint()
    stored = b"".join(path.read_bytes() for path in shop.place.glob("catalogue.sqlite*"))
    assert secret not in stored
    assert text.encode() not in stored


def test_the_queued_envelope_finds_its_keys_again(shop: Workshop) -> None:
    text = share(shop, copies=2)
    kind, secret, fingerprint = decode_access(text)
    assert (kind, fingerprint) == (AccessKind.READ, shop.signing.fingerprint)
    (article, other) = shop.catalogue.queue.lease(5).result()
    assert isinstance(article, LeasedArticle)
    assert (article.kind, {article.copy, other.copy}) == (ArticleKind.ENVELOPE, {0, 1})
    found = share_of_envelope(shop.catalogue, shop.vault, article, fingerprint)
    wanted = share_keys(secret, fingerprint)
    assert (found.location, found.sealing) == (wanted.location, wanted.sealing)
    shop.catalogue.queue.return_leases()
    assert shop.states() == {ArticleState.DOUBTFUL: 2}
    assert replace(shop.catalogue.shares.list(shop.row).rows[0]).serial == 1
