"""Where content comes from."""

import pytest

from tests.catalogue.making import assert_sound, batch, directory, file, post, seg
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import PostedSegments
from usenetsyncd.errors import CatalogueError, NotFound
from usenetsyncd.model import ArticleKind


def test_sources_cover_the_segment_and_carry_what_identifies_the_file(
    catalogue: Catalogue, docs: int
) -> None:
    one = file(b"a\xff", "a", 10, extents=[(0, seg("pack"), 0, 10)], mtime_ns=7, ctime_ns=8, inode=9)
    tail = file(b"tail", "t", 768_005, extents=[(0, seg("slice"), 0, 768_000), (768_000, seg("pack"), 10, 5)])
    segments = {"pack": 15, "slice": 768_000}
    catalogue.scan.store(batch(docs, directory(b"", one), directory(b"d", tail), segments=segments)).result()
    row = catalogue.segments.find(docs, ArticleKind.DATA, seg("pack"))
    assert row is not None
    first, second = catalogue.segments.sources(row.id)
    assert (first.path, first.position, first.offset, first.length) == (b"a\xff", 0, 0, 10)
    assert (first.size, first.mtime_ns, first.ctime_ns, first.inode) == (10, 7, 8, 9)
    assert (second.path, second.position, second.offset, second.length) == (b"d/tail", 768_000, 10, 5)


def test_a_thousand_copies_of_one_piece_do_not_hide_the_others(catalogue: Catalogue, docs: int) -> None:
    copies = [file(b"%04d" % n, "same", 10, extents=[(0, seg("pack"), 0, 10)]) for n in range(1_000)]
    last = file(b"z", "z", 5, extents=[(0, seg("pack"), 10, 5)])
    catalogue.scan.store(batch(docs, directory(b"", *copies, last), segments={"pack": 15})).result()
    sources = catalogue.segments.sources(1)
    assert [source.offset for source in sources] == [0] * 8 + [10]
    assert len({source.path for source in sources}) == 9


def test_a_file_says_how_much_of_it_is_posted(catalogue: Catalogue, docs: int) -> None:
    extents = [(0, seg("one"), 0, 10), (10, seg("two"), 0, 10), (20, seg("one"), 0, 10)]
    given = batch(
        docs, directory(b"", file(b"f", "f", 30, extents=extents)), segments={"one": 10, "two": 10}, copies=2
    )
    catalogue.scan.store(given).result()
    assert catalogue.segments.posted_of(1) == PostedSegments(2, 0)
    post(
        catalogue,
        [one for one in catalogue.queue.lease(9).result() if one.copy == 1 or one.seg_id == seg("two")],
    )
    assert catalogue.segments.posted_of(1) == PostedSegments(2, 1)
    assert catalogue.segments.posted_of(99) == PostedSegments(0, 0)


def test_a_blob_is_kept_and_queued_once(catalogue: Catalogue, docs: int) -> None:
    rows = [
        catalogue.segments.add_blob(docs, ArticleKind.ENVELOPE, b"e" * 16, b"env", 1, 2).result()
        for _ in range(2)
    ]
    assert rows[0] == rows[1]
    assert catalogue.segments.blob(rows[0]) == b"env"
    assert catalogue.segments.get(rows[0]).kind is ArticleKind.ENVELOPE
    assert [(one.seg_id, one.copy) for one in catalogue.queue.lease(9).result()] == [
        (b"e" * 16, 0),
        (b"e" * 16, 1),
    ]
    assert_sound(catalogue)


def test_one_name_never_stands_for_two_contents(catalogue: Catalogue, docs: int) -> None:
    catalogue.segments.add_blob(docs, ArticleKind.HEAD, b"h" * 16, b"one", 1).result()
    with pytest.raises(CatalogueError, match="other content"):
        catalogue.segments.add_blob(docs, ArticleKind.HEAD, b"h" * 16, b"two", 1).result()
    other = catalogue.segments.add_blob(docs, ArticleKind.INDEX, b"h" * 16, b"two", 1).result()
    assert catalogue.segments.blob(other) == b"two"


def test_what_is_not_there_is_not_found(catalogue: Catalogue, docs: int) -> None:
    for ask in (catalogue.segments.get, catalogue.segments.blob):
        with pytest.raises(NotFound):
            ask(99)
    assert catalogue.segments.find(docs, ArticleKind.DATA, b"x" * 16) is None
    assert catalogue.segments.find_blob(docs, ArticleKind.INDEX, b"x" * 16) is None
    assert catalogue.segments.sources(99) == []
