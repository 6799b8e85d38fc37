"""From the journal to a published version, with everything that may come in between."""

import pytest

from tests.catalogue.making import assert_sound, batch, content_hash, directory, file, post, post_all, seg
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.batches import EntryUpdate
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.journal import STREAM_CHUNK
from usenetsyncd.catalogue.queue import ArticleState
from usenetsyncd.catalogue.versions import VersionRow, VersionState
from usenetsyncd.errors import CatalogueError, NotFound, UsageError
from usenetsyncd.model import (
    SEGMENT_SIZE_BYTES,
    ArticleKind,
    Entry,
    EntryKind,
    Extent,
    ExtentStream,
    Owner,
    PageRef,
    RelativePath,
    SegmentId,
)

ROOT = PageRef(SegmentId(b"I" * 16), 0, 5)


def changed(
    catalogue: Catalogue, folder: int, only_ready: bool = True, version: int | None = None
) -> list[bytes]:
    return [bytes(path) for path, _ in catalogue.versions.changes(folder, only_ready, version)]


def complete(catalogue: Catalogue, begun: VersionRow, pages: int = 1) -> VersionRow:
    for number in range(pages):
        catalogue.versions.add_segment(
            begun.folder_id, begun.version, seg(f"page {begun.version} {number}"), b"pages"
        ).result()
    return catalogue.versions.complete(
        begun.folder_id,
        begun.version,
        root=ROOT,
        head_id=b"head" + begun.version.to_bytes(12),
        head=b"head %d" % begun.version,
        head_hash=content_hash(str(begun.version)),
        files=1,
        directories=2,
        size_bytes=3,
    ).result()


def publish(catalogue: Catalogue, folder: int) -> VersionRow:
    begun = catalogue.versions.begin(folder)
    complete(catalogue, begun)
    post_all(catalogue)
    assert catalogue.versions.head_posted(folder, begun.version)
    catalogue.versions.publish_done(folder, begun.version).result()
    return catalogue.versions.get(folder, begun.version)


def test_changes_come_by_path_as_entries_of_an_index(catalogue: Catalogue, docs: int) -> None:
    big = file(
        b"big", "big", 20, mtime_ns=7, mode=0o600, nlink=2, inode=258, sparse=True,
        extents=[(0, seg("one"), 0, 15), (15, seg("two"), 3, 5)],
    )  # fmt: skip
    link = EntryUpdate(b"link", EntryKind.SYMLINK, 3, 1, 2, 3, 0o777, target=b"big")
    empty = EntryUpdate(b"empty", EntryKind.FILE, 0, 1, 2, 3, 0o644, hash=b"")
    given = batch(docs, directory(b"d", big, link, empty), directory(b"d-x"), segments={"one": 15, "two": 8})
    catalogue.scan.store(given).result()
    catalogue.scan.store(batch(docs, directory(b"d", deletes=(b"link",), changed=False))).result()
    assert list(catalogue.versions.changes(docs, only_ready=False)) == [
        (b"d", Entry(RelativePath(b"d"), EntryKind.FOLDER, mtime_ns=5, mode=0o755)),
        (b"d-x", Entry(RelativePath(b"d-x"), EntryKind.FOLDER, mtime_ns=5, mode=0o755)),
        (
            b"d/big",
            Entry(
                RelativePath(b"d/big"),
                EntryKind.FILE,
                20,
                7,
                0o600,
                content_hash("big")[:16],
                (Extent(seg("one"), 0, 15), Extent(seg("two"), 3, 5)),
                link_group=(258).to_bytes(8, "big"),
                sparse=True,
            ),
        ),
        (b"d/empty", Entry(RelativePath(b"d/empty"), EntryKind.FILE, mtime_ns=1)),
        (b"d/link", None),
    ]


def test_a_huge_file_comes_with_a_stream_that_lasts_until_the_next_change(
    catalogue: Catalogue, docs: int
) -> None:
    count = STREAM_CHUNK + 3
    size = count * SEGMENT_SIZE_BYTES
    places = [(at * SEGMENT_SIZE_BYTES, seg(f"s{at % 7}"), 0, SEGMENT_SIZE_BYTES) for at in range(count)]
    huge = file(b"huge", "huge", size, extents=places)
    torn = file(b"torn", "torn", size, extents=places[:-1])
    catalogue.scan.store(batch(docs, directory(b"", file(b"a"), huge, torn, file(b"z")))).result()
    changes = catalogue.versions.changes(docs, only_ready=False)
    found: dict[bytes, Entry] = {}
    streams: list[ExtentStream] = []
    for path, entry in changes:
        assert entry is not None
        found[path] = entry
        if isinstance(entry.extents, ExtentStream):
            streams.append(entry.extents)
            for _ in range(2):
                assert list(entry.extents.open()) == [Extent(place[1], *place[2:]) for place in places]
    assert [bytes(path) for path in found] == [b"", b"a", b"huge", b"torn", b"z"]
    assert found[b"torn"].extents == ()  # which no index takes: the file is named, the others are published
    assert len(streams) == 1
    with pytest.raises(CatalogueError):
        next(streams[0].open())


def test_a_huge_file_that_changes_while_a_version_is_made_is_left_to_the_next(
    catalogue: Catalogue, docs: int
) -> None:
    size = 300 * SEGMENT_SIZE_BYTES

    def store(content: str) -> None:
        places = [(at * SEGMENT_SIZE_BYTES, seg(content), 0, SEGMENT_SIZE_BYTES) for at in range(300)]
        huge = file(b"huge", content, size, extents=places)
        catalogue.scan.store(batch(docs, directory(b"", file(b"a"), huge, file(b"z")))).result()

    store("before")
    post_all(catalogue)
    begun = catalogue.versions.begin(docs)
    changes = catalogue.versions.changes(docs, version=begun.version)
    assert [next(changes)[0] for _ in range(2)] == [b"", b"a"]
    store("after")
    assert [path for path, _ in changes] == [b"z"]
    assert catalogue.versions.is_changed(docs, RelativePath(b"huge"))


def test_packed_attributes_are_unpacked_by_whoever_packed_them(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(
        batch(docs, directory(b"", file(b"f", attributes=b"1:2"), attributes=b"3:4"))
    ).result()

    def unpack(packed: bytes) -> tuple[Owner, tuple[tuple[bytes, bytes], ...]]:
        uid, gid = packed.split(b":")
        return Owner(int(uid), int(gid)), ((b"user.x", packed),)

    entries = dict(catalogue.versions.changes(docs, only_ready=False, unpack=unpack))
    top, found = entries[RelativePath(b"")], entries[RelativePath(b"f")]
    assert top is not None
    assert found is not None
    assert (top.owner, found.owner) == (Owner(3, 4), Owner(1, 2))
    assert found.xattrs == ((b"user.x", b"1:2"),)


def test_a_change_is_ready_when_the_first_copy_of_all_it_uses_is_posted(
    catalogue: Catalogue, docs: int
) -> None:
    two = file(b"two", "two", 20, extents=[(0, seg("a"), 0, 10), (10, seg("b"), 0, 10)])
    given = batch(docs, directory(b"", file(b"a", "a"), two), segments={"a": 10, "b": 10}, copies=2)
    catalogue.scan.store(given).result()
    assert changed(catalogue, docs) == [b""]
    assert (catalogue.versions.unready_count(docs), catalogue.versions.change_count(docs)) == (2, 3)
    leased = {(one.seg_id, one.copy): one for one in catalogue.queue.lease(10).result()}
    post(catalogue, [leased[seg("a"), 1], leased[seg("b"), 0]])
    assert changed(catalogue, docs) == [b""]
    post(catalogue, [leased[seg("a"), 0]])
    assert changed(catalogue, docs) == [b"", b"a", b"two"]
    assert catalogue.versions.unready_count(docs) == 0


def test_a_version_goes_from_journal_to_published(catalogue: Catalogue, docs: int, clock: FakeClock) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "a")))).result()
    post_all(catalogue)
    assert catalogue.versions.newest(docs) is None
    assert catalogue.versions.any_ready(docs)
    done = publish(catalogue, docs)
    assert (done.version, done.state, done.root, done.epoch) == (1, VersionState.PUBLISHED, ROOT, 1)
    assert (done.files, done.directories, done.bytes) == (1, 2, 3)
    assert catalogue.versions.newest(docs) == done
    assert not catalogue.versions.any_ready(docs)
    assert catalogue.versions.change_count(docs) == 0
    folder = catalogue.folders.by_id(docs)
    assert (folder.version, folder.published_at, folder.restorable_at) == (1, clock.now(), clock.now())
    assert catalogue.segments.find_blob(docs, ArticleKind.INDEX, seg("page 1 0")) == b"pages"
    assert done.head_segment is not None
    assert catalogue.segments.blob(done.head_segment) == b"head 1"
    assert publish(catalogue, docs).version == 2
    assert_sound(catalogue)


def test_the_head_waits_for_the_last_index_segment(catalogue: Catalogue, docs: int) -> None:
    begun = catalogue.versions.begin(docs)
    complete(catalogue, begun, pages=3)
    pages = catalogue.queue.lease(100).result()
    assert [one.kind for one in pages] == [ArticleKind.INDEX] * 3
    post(catalogue, pages[:2])
    assert catalogue.queue.lease(100).result() == []
    assert catalogue.queue.counts(docs).articles[ArticleState.WAITING] == 1
    post(catalogue, pages[2:])
    (head,) = catalogue.queue.lease(100).result()
    assert (head.kind, head.seg_id) == (ArticleKind.HEAD, b"head" + (1).to_bytes(12))
    assert not catalogue.versions.head_posted(docs, 1)
    post(catalogue, [head])
    assert catalogue.versions.head_posted(docs, 1)


def test_a_head_whose_pages_are_all_posted_already_goes_at_once(catalogue: Catalogue, docs: int) -> None:
    begun = catalogue.versions.begin(docs)
    catalogue.versions.add_segment(docs, begun.version, seg("page 1 0"), b"pages").result()
    post_all(catalogue)
    complete(catalogue, begun)
    assert [one.kind for one in catalogue.queue.lease(9).result()] == [ArticleKind.HEAD]
    assert_sound(catalogue)


def test_a_path_that_changes_again_before_the_head_is_posted_survives_in_the_journal(
    catalogue: Catalogue, docs: int
) -> None:
    catalogue.scan.store(
        batch(docs, directory(b"", file(b"a", "a"), file(b"b", "b"), file(b"c", "c")))
    ).result()
    post_all(catalogue)
    begun = catalogue.versions.begin(docs)
    catalogue.scan.store(
        batch(docs, directory(b"", file(b"a", "a2"), deletes=(b"b",), changed=False))
    ).result()
    catalogue.scan.store(batch(docs, directory(b"", file(b"new", "new"), changed=False))).result()
    assert changed(catalogue, docs, version=begun.version) == [b"", b"c"]
    complete(catalogue, begun)
    post_all(catalogue)
    catalogue.versions.publish_done(docs, begun.version).result()
    assert changed(catalogue, docs, only_ready=False) == [b"a", b"b", b"new"]
    entries = dict(catalogue.versions.changes(docs))
    assert entries[RelativePath(b"b")] is None
    found = entries[RelativePath(b"a")]
    assert found is not None
    assert found.extents == (Extent(seg("a2"), 0, 10),)
    assert_sound(catalogue)


def test_begin_takes_what_is_ready_then_and_nothing_that_becomes_ready_later(
    catalogue: Catalogue, docs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usenetsyncd.catalogue.versions.MARK_CHUNK", 3)
    monkeypatch.setattr("usenetsyncd.catalogue.journal.CHUNK", 2)
    files = [file(b"f%02d" % number, str(number)) for number in range(20)]
    catalogue.scan.store(batch(docs, directory(b"", *files))).result()
    leased = catalogue.queue.lease(20).result()
    post(catalogue, leased[::2])
    begun = catalogue.versions.begin(docs)
    post(catalogue, leased[1::2])
    assert changed(catalogue, docs, version=begun.version) == [b"", *(b"f%02d" % n for n in range(0, 20, 2))]
    assert changed(catalogue, docs) == [b"f%02d" % n for n in range(1, 20, 2)]


def test_one_version_of_a_folder_at_a_time(catalogue: Catalogue, docs: int) -> None:
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    catalogue.versions.begin(docs)
    with pytest.raises(UsageError, match="not finished"):
        catalogue.versions.begin(docs)
    assert catalogue.versions.begin(other).version == 1
    with pytest.raises(NotFound):
        catalogue.versions.begin(999)


def test_a_version_given_up_while_building_leaves_its_changes_and_its_number(
    catalogue: Catalogue, docs: int
) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "a")))).result()
    post_all(catalogue)
    begun = catalogue.versions.begin(docs)
    catalogue.versions.add_segment(docs, begun.version, seg("page 1 0"), b"pages").result()
    assert [row.state for row in catalogue.versions.unfinished()] == [VersionState.BUILDING]
    assert catalogue.versions.abandon(docs, begun.version).result()
    assert catalogue.versions.unfinished(docs) == ()
    assert catalogue.queue.lease(9).result() == []
    assert changed(catalogue, docs) == [b"", b"a"]
    assert_sound(catalogue)
    assert publish(catalogue, docs).version == 1
    assert_sound(catalogue)


def test_a_version_may_be_given_up_until_its_head_was_leased(catalogue: Catalogue, docs: int) -> None:
    begun = catalogue.versions.begin(docs)
    complete(catalogue, begun)
    assert catalogue.versions.abandon(docs, begun.version).result()
    assert_sound(catalogue)
    begun = catalogue.versions.begin(docs)
    assert begun.version == 1
    complete(catalogue, begun)
    post(catalogue, catalogue.queue.lease(1).result())
    (head,) = catalogue.queue.lease(1).result()
    assert head.kind is ArticleKind.HEAD
    assert not catalogue.versions.abandon(docs, begun.version).result()
    assert [row.state for row in catalogue.versions.unfinished(docs)] == [VersionState.POSTING]
    post(catalogue, [head])
    catalogue.versions.publish_done(docs, begun.version).result()
    assert not catalogue.versions.abandon(docs, begun.version).result()
    assert catalogue.folders.by_id(docs).version == 1
    assert_sound(catalogue)


def test_publish_done_is_harmless_twice_and_refused_too_early(catalogue: Catalogue, docs: int) -> None:
    begun = catalogue.versions.begin(docs)
    with pytest.raises(UsageError, match="no head"):
        catalogue.versions.publish_done(docs, begun.version).result()
    complete(catalogue, begun)
    for _ in range(2):
        catalogue.versions.publish_done(docs, begun.version).result()
    with pytest.raises(UsageError):
        catalogue.versions.add_segment(docs, begun.version, seg("late"), b"late").result()
    with pytest.raises(NotFound):
        catalogue.versions.publish_done(docs, 77).result()


def test_content_given_up_after_it_was_taken_stays_in_the_journal(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "a")))).result()
    leased = catalogue.queue.lease(1).result()
    begun = catalogue.versions.begin(docs)
    assert catalogue.queue.abandon(leased[0].segment_row).result() == 1
    complete(catalogue, begun)
    catalogue.versions.publish_done(docs, begun.version).result()
    assert changed(catalogue, docs, only_ready=False) == [b"a"]
    assert changed(catalogue, docs) == []


def test_versions_are_listed_the_newest_first_in_stable_pages(catalogue: Catalogue, docs: int) -> None:
    for _ in range(5):
        publish(catalogue, docs)
    first = catalogue.versions.list(docs, limit=2)
    publish(catalogue, docs)
    second = catalogue.versions.list(docs, first.next, 2)
    third = catalogue.versions.list(docs, second.next, 2)
    assert [[row.version for row in page.rows] for page in (first, second, third)] == [[5, 4], [3, 2], [1]]
    assert third.next is None


def test_numbers_go_on_above_a_version_that_a_server_has(catalogue: Catalogue, docs: int) -> None:
    catalogue.folders.raise_version(docs, 41).result()
    assert catalogue.versions.begin(docs).version == 42


def test_versions_carry_the_epoch_of_their_folder(catalogue: Catalogue, docs: int) -> None:
    catalogue.folders.set_epoch(docs, 4).result()
    begun = catalogue.versions.begin(docs)
    complete(catalogue, begun)
    assert begun.epoch == 4
    assert {one.epoch for one in catalogue.queue.lease(9).result()} == {4}


def test_pages_in_flight_when_a_version_is_given_up_are_not_leased_twice(
    catalogue: Catalogue, docs: int
) -> None:
    for round_ in range(2):
        begun = catalogue.versions.begin(docs)
        catalogue.versions.add_segment(docs, begun.version, seg("page"), b"pages").result()
        leased = catalogue.queue.lease(9).result()
        assert len(leased) == 1 - round_
        assert catalogue.versions.abandon(docs, begun.version).result()
    assert_sound(catalogue)
