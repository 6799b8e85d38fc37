"""Making a segment's content again: from the files, from any copy of a file, from a blob."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.flows.workshop import Workshop
from tests.plugins.leaks import open_files
from usenetsyncd.catalogue.rows import ArticleState, LeasedArticle, QueuedArticle
from usenetsyncd.errors import ContentMismatch, FileChanged, RootMissing
from usenetsyncd.flows.content import Origins
from usenetsyncd.flows.making import wire_address
from usenetsyncd.model import ArticleKind, Compression
from usenetsyncd.wire.seal import Workbench
from usenetsyncd.wire.segment import content_hash, segment_id


def queued(shop: Workshop) -> list[QueuedArticle]:
    return shop.articles(ArticleState.QUEUED, ArticleKind.DATA)


@contextmanager
def origins_of(shop: Workshop, *articles: QueuedArticle | LeasedArticle) -> Iterator[Origins]:
    origins = Origins(shop.catalogue, {article.segment_row for article in articles}, 1)
    try:
        yield origins
    finally:
        origins.release()


def content_of(shop: Workshop, article: QueuedArticle) -> bytes:
    with origins_of(shop, article) as origins:
        return bytes(origins.read(article.segment_row, article.length, os.fsencode(shop.root), Workbench()))


def test_every_planned_segment_can_be_made_again_from_the_files(shop: Workshop) -> None:
    shop.fill("small", 200, seed=1, least=1, most=9_000)
    shop.write("large", os.urandom(2 * 768_000 + 12_345))
    shop.write("middle", os.urandom(60_000))
    shop.scan()
    bench = Workbench()
    articles = queued(shop)
    with origins_of(shop, *articles) as origins:
        for article in articles:
            content = origins.read(article.segment_row, article.length, os.fsencode(shop.root), bench)
            assert segment_id(content_hash(shop.keys.identity, content)) == article.seg_id


def test_another_copy_of_the_file_serves_when_the_first_changed(shop: Workshop) -> None:
    content = os.urandom(70_000)
    for name in ("a", "b", "c"):
        shop.write(name, content)
    shop.scan()
    (article,) = queued(shop)
    shop.write("a", b"changed")
    (shop.root / "b").unlink()
    assert content_of(shop, article) == content
    shop.write("c", b"changed too")
    with pytest.raises(FileChanged):
        content_of(shop, article)


def test_a_segment_with_a_file_gone_is_not_made(shop: Workshop) -> None:
    for name in ("a", "b", "c"):
        shop.write(name, os.urandom(1_000))
    shop.scan()
    (article,) = queued(shop)
    (shop.root / "b").unlink()
    with pytest.raises(FileChanged):
        content_of(shop, article)


def test_a_row_gone_from_the_catalogue_is_a_change_and_not_a_hole_of_zeros(shop: Workshop) -> None:
    """Also the last piece, behind which nothing would be missed."""
    for name in ("a", "b", "c"):
        shop.write(name, os.urandom(1_000))
    shop.scan()
    (article,) = queued(shop)
    for name in ("c", "a"):
        (shop.root / name).unlink()
        shop.scan()
        with pytest.raises(FileChanged):
            content_of(shop, article)


def test_without_the_root_nothing_is_made(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.scan()
    (article,) = queued(shop)
    shop.root.rename(shop.place / "away")
    with pytest.raises(RootMissing):
        content_of(shop, article)


def test_content_changed_behind_the_times_of_the_file_is_refused_by_the_seal(shop: Workshop) -> None:
    file = shop.write("a", b"right" * 1_000)
    shop.scan()
    times = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"wrong")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (leased,) = shop.catalogue.queue.lease(1).result()
    bench = Workbench()
    with origins_of(shop, leased) as origins:
        view = origins.read(leased.segment_row, leased.length, os.fsencode(shop.root), bench)
    with pytest.raises(ContentMismatch):
        bench.seal(shop.keys, wire_address(leased), view, Compression.NONE)


def test_a_file_renamed_after_its_sources_were_asked_for_is_found_under_its_new_name(shop: Workshop) -> None:
    file = shop.write("a", os.urandom(60_000))
    content = file.read_bytes()
    shop.scan()
    (article,) = queued(shop)
    with origins_of(shop, article) as origins:
        file.rename(shop.root / "renamed")
        with pytest.raises(FileChanged):
            origins.read(article.segment_row, article.length, os.fsencode(shop.root), Workbench())
        shop.scan()
        view = origins.read(article.segment_row, article.length, os.fsencode(shop.root), Workbench())
        assert view == content


def test_the_last_release_lets_the_disk_go(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.scan()
    (article,) = queued(shop)
    origins = Origins(shop.catalogue, {article.segment_row}, 2)
    origins.read(article.segment_row, article.length, os.fsencode(shop.root), Workbench())
    origins.release()
    assert str(shop.root) in open_files().values()
    origins.release()
    assert str(shop.root) not in open_files().values()
