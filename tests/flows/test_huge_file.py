"""A file of more slices than an entry names goes out, and a change of one slice posts that slice."""

import os

from tests.flows.workshop import Workshop
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleKind, SpilledExtents
from usenetsyncd.wire.pages import iter_extents

SLICES = 300


def test_a_huge_file_is_published_and_one_changed_slice_is_one_article(shop: Workshop) -> None:
    huge = shop.write("huge", b"")
    os.truncate(huge, SLICES * SEGMENT_SIZE_BYTES)
    before = shop.index(shop.commit())[b"huge"]
    assert isinstance(before.extents, SpilledExtents)
    assert before.extents.count == SLICES
    assert shop.posted(ArticleKind.DATA) == 1
    with huge.open("r+b") as opened:
        opened.seek(200 * SEGMENT_SIZE_BYTES)
        opened.write(os.urandom(1_000))
    after = shop.index(shop.commit())[b"huge"]
    assert shop.posted(ArticleKind.DATA) == 2
    pairs = zip(iter_extents(before, shop.load), iter_extents(after, shop.load), strict=True)
    assert [number for number, (old, new) in enumerate(pairs) if old != new] == [200]
    assert shop.catalogue.troubles.counts(shop.row) == {}
    shop.assert_sound()
