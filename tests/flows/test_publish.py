"""Publishing: what one change costs, the chain of heads, and what a crash or a late change leaves behind."""

import itertools
import os
import shutil

import pytest

from tests.flows.workshop import Workshop, wait_until
from usenetsyncd.catalogue.rows import ArticleState, VersionRow, VersionState
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.flows.publish import NO_HEAD, Publisher
from usenetsyncd.model import ArticleKind, EntryKind, SegmentId
from usenetsyncd.wire.head import Head, decode_head, head_address, head_hash
from usenetsyncd.wire.keys import message_id_of
from usenetsyncd.wire.pages import read_tree


def head_content(shop: Workshop, version: VersionRow) -> bytes:
    at = head_address(version.epoch, version.version)
    content = shop.catalogue.segments.find_blob(shop.row, ArticleKind.HEAD, at.id)
    assert content is not None
    return content


def head_of(shop: Workshop, version: VersionRow) -> Head:
    return decode_head(head_content(shop, version), shop.signing.fingerprint)


def files(shop: Workshop, version: VersionRow) -> set[bytes]:
    return {path for path, entry in shop.index(version).items() if entry.kind is EntryKind.FILE}


# -- versions ----------------------------------------------------------------------------------------


def test_one_change_in_5000_files_writes_one_index_segment_and_one_head(shop: Workshop) -> None:
    for number in range(50):
        shop.fill(f"d{number:02}", 100, seed=number, least=10, most=30)
    first = shop.commit()
    assert first.files == 5_000
    index, heads, data = (shop.posted(k) for k in (ArticleKind.INDEX, ArticleKind.HEAD, ArticleKind.DATA))
    shop.write("d17/f00042", b"changed")
    second = shop.commit()
    assert shop.posted(ArticleKind.INDEX) == index + 1
    assert shop.posted(ArticleKind.HEAD) == heads + 1
    assert shop.posted(ArticleKind.DATA) == data + 1
    before, after = shop.index(first), shop.index(second)
    assert {path for path in after if before[path] != after[path]} <= {b"d17/f00042", b"d17"}
    assert after[b"d17/f00042"].size == 7
    newest = shop.articles(ArticleState.POSTED, ArticleKind.INDEX)[-1]
    assert newest.length < 100_000, "only the pages on the way to the change"


def test_heads_are_a_chain_and_tell_what_is_in_their_version(shop: Workshop) -> None:
    versions = []
    for number in range(4):
        shop.write(f"file{number}", os.urandom(1_000))
        shop.clock.advance(60)
        versions.append(shop.commit())
    heads = [head_of(shop, version) for version in versions]
    assert heads[0].previous == NO_HEAD
    for (older, _), (version, head) in itertools.pairwise(zip(versions, heads, strict=True)):
        assert head.previous == older.head_hash == head_hash(head_content(shop, older))
        assert head.version == older.version + 1
        assert head.files == version.files == len(files(shop, version))
    assert [head.bytes_total for head in heads] == [1_000, 2_000, 3_000, 4_000]
    assert [later.created_s - earlier.created_s for earlier, later in itertools.pairwise(heads)] == [60] * 3
    assert all(head.expires_s > head.created_s for head in heads)


def test_the_head_leaves_only_after_every_page_is_on_a_server(shop: Workshop) -> None:
    shop.fill("d", 3_000, seed=1, least=10, most=20)
    shop.scan()
    shop.post_all()
    version = shop.publisher().build()
    at = head_address(version.epoch, version.version)
    head_id = message_id_of(shop.keys.location, at)
    unposted_at_head: list[int] = []

    def on_post(message_id: str) -> None:
        if message_id == head_id:
            unposted_at_head.append(
                sum(1 for a in pages if shop.message_id(a) not in shop.server.counters.posts)
            )

    pages = shop.articles(ArticleState.QUEUED, ArticleKind.INDEX)
    assert pages
    assert len(shop.articles(ArticleState.WAITING, ArticleKind.HEAD)) == 1
    shop.witness.on_post = on_post
    assert not shop.publisher().finish(version)
    shop.post_all()
    assert unposted_at_head == [0]
    assert shop.publisher().finish(version)
    assert shop.publisher().finish(version), "a second time does nothing"


def test_without_a_change_a_heartbeat_posts_a_head_and_no_page(shop: Workshop) -> None:
    shop.write("a", b"a")
    first = shop.commit()
    pages = shop.posted(ArticleKind.INDEX)
    shop.clock.advance(7 * 86_400)
    second = shop.publish()
    assert second.root == first.root
    assert second.version == first.version + 1
    assert shop.posted(ArticleKind.INDEX) == pages
    assert head_of(shop, second).previous == first.head_hash
    assert shop.index(second) == shop.index(first)


def test_everything_can_be_removed_and_come_back(shop: Workshop) -> None:
    shop.fill("d", 40, seed=1)
    shop.write("kept", b"kept")
    first = shop.commit()
    shutil.rmtree(shop.root / "d")
    (shop.root / "kept").unlink()
    # An empty root is taken for an unmounted disk; a folder in it says that somebody meant it.
    (shop.root / "empty").mkdir()
    second = shop.commit()
    assert (second.files, second.bytes) == (0, 0)
    assert files(shop, second) == set()
    shop.fill("d", 40, seed=1)
    shop.write("kept", b"kept")
    third = shop.commit()
    assert files(shop, third) == files(shop, first)
    shop.assert_sound()


def test_a_root_without_anything_is_a_version_too(shop: Workshop) -> None:
    version = shop.commit()
    assert version.files == 0
    assert files(shop, version) == set()


# -- what changes meanwhile --------------------------------------------------------------------------


def test_a_path_that_changes_during_publishing_survives_to_the_next_version(shop: Workshop) -> None:
    shop.write("a", b"first")
    shop.write("b", b"stays")
    shop.scan()
    shop.post_all()
    publisher = shop.publisher()
    version = publisher.build()
    shop.write("a", b"second!")
    shop.scan()
    shop.post_all()
    assert publisher.finish(version)
    assert shop.index(version)[b"a"].size == 5
    assert shop.catalogue.versions.is_changed(shop.row, shop.index(version)[b"a"].path)
    assert not shop.catalogue.versions.is_changed(shop.row, shop.index(version)[b"b"].path)
    later = shop.publish()
    assert shop.index(later)[b"a"].size == 7
    assert shop.catalogue.versions.change_count(shop.row) == 0


def test_files_that_are_not_posted_yet_keep_their_old_entry(shop: Workshop) -> None:
    large = shop.write("large", os.urandom(100_000))
    shop.write("small", b"small")
    first = shop.commit()
    old = shop.index(first)[b"large"]
    large.write_bytes(os.urandom(200_000))
    shop.write("new", os.urandom(60_000))
    (shop.root / "small").unlink()
    shop.scan()
    assert shop.catalogue.versions.unready_count(shop.row) == 2
    version = shop.publisher().build()
    with_old = {path: entry for path, entry in shop.index(version).items() if path}
    assert with_old == {b"large": old}
    shop.post_all()
    assert shop.publisher().finish(version)
    last = shop.publish()
    assert shop.index(last)[b"large"].size == 200_000
    assert b"new" in shop.index(last)


def test_every_path_of_a_published_version_is_whole_on_the_server(shop: Workshop) -> None:
    """Versions made while a folder is still being posted: whatever they name can be read."""
    for number in range(60):
        shop.write(f"f{number:02}", os.urandom(55_000))
    shop.scan()
    shop.witness.set([{"match": {"command": "POST"}, "act": {"delay": 0.1}}])
    seen = 0
    publisher = shop.publisher()
    with shop.uploader() as uploader:
        for least in (5, 25, 45):
            wait_until(lambda least=least: shop.posted(ArticleKind.DATA) >= least, "some posts")
            version = publisher.build()
            uploader.wake()
            there = {a.seg_id for a in shop.articles(ArticleState.POSTED, ArticleKind.DATA)}
            wait_until(lambda version=version: publisher.finish(version), "the head")
            named = {extent.segment for e in read_tree(version.root, shop.load) for extent in e.extents}
            assert named <= there
            assert least <= len(named) <= 60
            assert len(named) >= seen
            seen = seen or len(named)
        assert seen < 60
        shop.witness.clear()
        shop.wait_posted(uploader)
    assert len(files(shop, shop.publish())) == 60


# -- crashes -----------------------------------------------------------------------------------------


def test_a_version_interrupted_while_its_pages_were_written_is_given_up(shop: Workshop) -> None:
    shop.write("a", b"a")
    first = shop.commit()
    shop.write("b", b"b")
    shop.scan()
    shop.post_all()
    begun = shop.catalogue.versions.begin(shop.row)
    segment = SegmentId(b"half a version.."[:16])
    shop.catalogue.versions.add_segment(shop.row, begun.version, segment, b"pages").result()
    assert shop.publisher().recover() is None
    assert shop.catalogue.versions.unfinished(shop.row) == ()
    second = shop.publish()
    assert second.version == first.version + 1
    assert files(shop, second) == {b"a", b"b"}
    assert shop.states()[ArticleState.ABANDONED] == 1
    shop.assert_sound()


def test_a_version_interrupted_while_it_was_posted_is_seen_through(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.scan()
    shop.post_all()
    built = shop.publisher().build()
    assert built.state is VersionState.POSTING
    shop.catalogue.queue.lease(10).result()
    shop.catalogue.queue.return_leases()
    recovered = shop.publisher().recover()
    assert recovered == built
    shop.post_all()
    assert shop.publisher().finish(recovered)
    assert shop.publisher().recover() is None
    assert files(shop, shop.catalogue.versions.get(shop.row, built.version)) == {b"a"}


def test_a_version_whose_head_was_posted_but_not_recorded_is_finished(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.scan()
    shop.post_all()
    built = shop.publisher().build()
    shop.post_all()
    recovered = shop.publisher().recover()
    assert recovered is not None
    assert shop.publisher().finish(recovered)
    shop.write("b", b"b")
    assert head_of(shop, shop.commit()).previous == built.head_hash


def test_a_build_that_fails_leaves_no_version_behind(shop: Workshop) -> None:
    shop.write("a", b"a")
    first = shop.commit()
    shop.write("b", b"b")
    shop.scan()
    shop.post_all()
    # The last version's pages are neither here nor on a server: nothing can be built on them.
    shop.catalogue.writer.run(lambda database: database.run("DELETE FROM blob"))
    for message_id in shop.server.message_ids():
        shop.server.remove(message_id)
    with pytest.raises(UsenetSyncError):
        shop.publisher().build()
    assert shop.catalogue.versions.unfinished(shop.row) == ()
    assert shop.catalogue.versions.newest(shop.row) == first
    assert shop.catalogue.versions.any_ready(shop.row)


def test_pages_lost_here_are_fetched_from_a_server(shop: Workshop) -> None:
    shop.fill("d", 500, seed=1, least=10, most=20)
    shop.commit()
    shop.write("e", b"e")
    shop.scan()
    shop.post_all()
    shop.catalogue.writer.run(lambda database: database.run("DELETE FROM blob"))
    version = shop.publish()
    assert version.files == 501


# -- entries -----------------------------------------------------------------------------------------


def test_hard_links_share_a_group_that_does_not_tell_the_inode(shop: Workshop) -> None:
    one = shop.write("one", os.urandom(1_000))
    os.link(one, shop.root / "two")
    shop.write("single", b"x")
    index = shop.index(shop.commit())
    group = index[b"one"].link_group
    assert group == index[b"two"].link_group != b""
    assert one.stat().st_ino.to_bytes(8, "big") != group
    assert index[b"single"].link_group == b""
    assert index[b"one"].extents == index[b"two"].extents


def test_the_priority_and_copies_of_a_version_are_those_asked_for(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.scan()
    shop.post_all()
    publisher = Publisher(shop.catalogue, shop.news, shop.clock, shop.row, shop.signing, shop.keys, copies=3)
    publisher.build()
    copies = [a.copy for a in shop.articles(ArticleState.QUEUED, ArticleKind.INDEX)]
    assert sorted(copies) == [0, 1, 2]
    assert sorted(a.copy for a in shop.articles(ArticleState.WAITING, ArticleKind.HEAD)) == [0, 1, 2]
    shop.post_all()
    assert shop.posted(ArticleKind.HEAD) == 3
