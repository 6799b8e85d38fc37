"""Storing what a scan found, and reading it back for the next."""

from dataclasses import replace

import pytest

from tests.catalogue.making import (
    DIGEST,
    assert_sound,
    batch,
    content_hash,
    directory,
    file,
    post_all,
    seg,
)
from usenetsyncd.catalogue.batches import EntryUpdate, ScanBatch, StoreResult
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.errors import CatalogueError
from usenetsyncd.model import EntryKind, Priority, RelativePath

ROOT = RelativePath(b"")


def journal(catalogue: Catalogue, folder_id: int) -> dict[bytes, str]:
    """path -> what the journal says is there."""
    found = {}
    for path, entry in catalogue.versions.changes(folder_id, only_ready=False):
        found[bytes(path)] = "gone" if entry is None else entry.kind.name.lower()
    return found


def tree(catalogue: Catalogue, folder_id: int) -> dict[bytes, bytes | None]:
    """Every stored path -> its hash, None for directories."""
    found: dict[bytes, bytes | None] = {}
    for path, directory_id, _ in catalogue.scan.digests(folder_id):
        found[path] = None
        for entry in catalogue.scan.entries(directory_id):
            found[path + b"/" + entry.name if path else entry.name] = entry.hash
    return found


def test_what_is_stored_comes_back_as_it_was(catalogue: Catalogue, docs: int) -> None:
    stored = file(
        b"f",
        "x",
        10,
        mtime_ns=-5,
        ctime_ns=2**62,
        inode=2**63 - 1,
        mode=0o600,
        nlink=3,
        sparse=True,
        attributes=b"a\0",
    )
    link = EntryUpdate(b"l", EntryKind.SYMLINK, 4, 1, 2, 3, 0o777, target=b"../\xff")
    empty = EntryUpdate(b"e", EntryKind.FILE, 0, 1, 2, 3, 0o644, hash=b"")
    catalogue.scan.store(batch(docs, directory(b"", stored, link, empty))).result()
    rows = catalogue.scan.entries(1)
    assert [row.name for row in rows] == [b"e", b"f", b"l"]
    for row, update in zip(rows, (empty, stored, link), strict=True):
        for name in (
            "kind",
            "size",
            "mtime_ns",
            "ctime_ns",
            "inode",
            "mode",
            "nlink",
            "hash",
            "target",
            "sparse",
        ):
            assert getattr(row, name) == getattr(update, name), name
        assert row.attributes == update.attributes
    assert isinstance(rows[0].kind, EntryKind)
    assert catalogue.scan.entry(docs, RelativePath(b"f")) == rows[1]
    assert catalogue.scan.entry(docs, RelativePath(b"none")) is None


def test_names_that_are_not_utf8_and_names_with_newlines_are_kept(catalogue: Catalogue, docs: int) -> None:
    names = sorted(
        [b"\xff\xfe", b"new\nline", b"caf\xc3\xa9", b"cafe\xcc\x81", b"n" * 255, b" ", b"\x01", b"'; --"]
    )
    catalogue.scan.store(
        batch(docs, directory(b"d\xff", *(file(name, name.hex()) for name in names)), directory(b""))
    ).result()
    row = catalogue.scan.directory(docs, RelativePath(b"d\xff"))
    assert row is not None
    assert [entry.name for entry in catalogue.scan.entries(row.id)] == names
    catalogue.scan.store(batch(docs, removed=(b"d\xff",))).result()
    assert journal(catalogue, docs) == {b"": "folder", b"d\xff": "gone"} | {
        b"d\xff/" + n: "gone" for n in names
    }


def test_storing_a_batch_twice_changes_nothing_more(catalogue: Catalogue, docs: int) -> None:
    given = batch(
        docs, directory(b"", file(b"a", "a"), file(b"b", "b", 20)), directory(b"sub", file(b"c", "c"))
    )
    assert catalogue.scan.store(given).result() == StoreResult(3, 0, 0, 3, 40)
    before = catalogue.folders.by_id(docs)
    again = catalogue.scan.store(given).result()
    assert (again.segments_new, again.bytes_delta, again.files_new) == (0, 0, 0)
    assert catalogue.folders.by_id(docs) == before
    assert (before.files, before.directories, before.bytes, before.pending_articles) == (3, 1, 40, 3)
    assert_sound(catalogue)


def test_a_batch_that_fails_leaves_nothing(catalogue: Catalogue, docs: int) -> None:
    given = batch(docs, directory(b"", file(b"a", "a"), file(b"b", "b")), segments={"a": 10})
    with pytest.raises(CatalogueError, match="does not have"):
        catalogue.scan.store(given).result()
    assert tree(catalogue, docs) == {}
    assert catalogue.folders.by_id(docs).pending_articles == 0
    catalogue.scan.store(replace(given, segments=batch(docs, given.directories[0]).segments)).result()
    assert_sound(catalogue)


def test_a_batch_for_a_folder_that_is_not_there_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="no folder"):
        catalogue.scan.store(batch(77, directory(b"", file(b"a")))).result()


def test_changed_files_get_new_extents_and_counters_follow(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "one", 10), file(b"b", "keep", 5)))).result()
    result = catalogue.scan.store(batch(docs, directory(b"", file(b"a", "two", 30)))).result()
    assert (result.files_changed, result.bytes_delta, result.segments_new) == (1, 20, 1)
    row = catalogue.folders.by_id(docs)
    assert (row.files, row.bytes) == (2, 35)
    assert catalogue.scan.find_content(docs, content_hash("one")) is None
    assert catalogue.scan.find_content(docs, content_hash("two")) == [(seg("two"), 0, 30)]
    assert_sound(catalogue)


def test_extents_none_keeps_the_stored_ones_and_publish_false_writes_no_change(
    catalogue: Catalogue, docs: int
) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "one")))).result()
    catalogue.writer.run(lambda database: database.run("DELETE FROM change"))
    touched = file(b"a", "one", ctime_ns=9_999, extents=None, publish=False)
    catalogue.scan.store(batch(docs, directory(b"", touched, changed=False))).result()
    assert catalogue.scan.find_content(docs, content_hash("one")) == [(seg("one"), 0, 10)]
    row = catalogue.scan.entry(docs, RelativePath(b"a"))
    assert row is not None
    assert row.ctime_ns == 9_999
    assert journal(catalogue, docs) == {}


def test_a_file_of_several_extents_gives_them_in_order(catalogue: Catalogue, docs: int) -> None:
    extents = [(768_000, seg("b"), 0, 768_000), (0, seg("a"), 0, 768_000), (1_536_000, seg("t"), 5, 10)]
    big = file(b"big", "big", 1_536_010, extents=extents)
    segments = {"a": 768_000, "b": 768_000, "t": 15}
    catalogue.scan.store(batch(docs, directory(b"", big), segments=segments)).result()
    expected = [(seg("a"), 0, 768_000), (seg("b"), 0, 768_000), (seg("t"), 5, 10)]
    assert catalogue.scan.find_content(docs, content_hash("big")) == expected


def test_a_directory_may_come_in_several_batches_and_is_finished_by_its_digest(
    catalogue: Catalogue, docs: int
) -> None:
    for number in range(3):
        digest = DIGEST if number == 2 else None
        update = directory(b"", file(b"f%d" % number, f"c{number}"), digest=digest, changed=number == 0)
        catalogue.scan.store(batch(docs, update)).result()
        assert [row.digest for row in catalogue.scan.digests(docs)] == [digest]
    assert len(catalogue.scan.entries(1)) == 3
    two = ScanBatch(
        docs,
        directories=[directory(b"x", file(b"a")), directory(b"x", file(b"b"))],
        segments=batch(docs, directory(b"", file(b"a"))).segments,
    )
    catalogue.scan.store(two).result()
    row = catalogue.scan.directory(docs, RelativePath(b"x"))
    assert row is not None
    assert [entry.name for entry in catalogue.scan.entries(row.id)] == [b"a", b"b"]
    assert_sound(catalogue)


def test_removing_a_directory_takes_everything_below_and_nothing_beside_it(
    catalogue: Catalogue, docs: int
) -> None:
    paths = [b"", b"d", b"d/e", b"d/e/f", b"d-e", b"d.x", b"d0", b"dd"]
    catalogue.scan.store(
        batch(docs, *(directory(path, file(b"file", path.hex() or "root")) for path in paths))
    ).result()
    result = catalogue.scan.store(batch(docs, removed=(b"d",))).result()
    assert result.files_removed == 3
    assert {path for path, hash_ in tree(catalogue, docs).items() if hash_ is None} == {
        b"",
        b"d-e",
        b"d.x",
        b"d0",
        b"dd",
    }
    gone = {path for path, what in journal(catalogue, docs).items() if what == "gone"}
    assert gone == {b"d", b"d/e", b"d/e/f", b"d/file", b"d/e/file", b"d/e/f/file"}
    assert_sound(catalogue)


def test_removing_the_root_empties_the_folder(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(
        batch(docs, directory(b"", file(b"a", "a")), directory(b"\xff" * 9, file(b"b", "b")))
    ).result()
    catalogue.scan.store(batch(docs, removed=(b"",))).result()
    row = catalogue.folders.by_id(docs)
    assert (row.files, row.directories, row.bytes) == (0, 0, 0)
    assert_sound(catalogue)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("new_first", [True, False])
def test_a_file_that_becomes_a_directory_is_journalled_as_one(
    catalogue: Catalogue, docs: int, together: bool, new_first: bool
) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"x", "old")))).result()
    updates = [directory(b"", deletes=(b"x",)), directory(b"x", file(b"inside", "new"))]
    if new_first:
        updates.reverse()
    if together:
        catalogue.scan.store(batch(docs, *updates)).result()
    else:
        for update in updates:
            catalogue.scan.store(batch(docs, update)).result()
    assert journal(catalogue, docs) == {b"": "folder", b"x": "folder", b"x/inside": "file"}
    assert_sound(catalogue)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("new_first", [True, False])
def test_a_directory_that_becomes_a_file_is_journalled_as_one(
    catalogue: Catalogue, docs: int, together: bool, new_first: bool
) -> None:
    catalogue.scan.store(batch(docs, directory(b""), directory(b"x", file(b"inside", "old")))).result()
    update = directory(b"", file(b"x", "new"))
    if together:
        catalogue.scan.store(batch(docs, update, removed=(b"x",))).result()
    else:
        steps = [batch(docs, removed=(b"x",)), batch(docs, update)]
        for step in reversed(steps) if new_first else steps:
            catalogue.scan.store(step).result()
    assert journal(catalogue, docs) == {b"": "folder", b"x": "file", b"x/inside": "gone"}
    assert_sound(catalogue)


def test_subdirectories_are_the_direct_ones_whatever_sorts_between_them(
    catalogue: Catalogue, docs: int
) -> None:
    paths = [
        b"",
        b"x",
        b"x-1",
        b"x-1/deep",
        b"x.y",
        b"x/y",
        b"x/y/z",
        b"x/y-2",
        b"x0",
        b"x0/a",
        b"\xff",
        b"orphan/child",
    ]
    catalogue.scan.store(batch(docs, *(directory(path) for path in paths))).result()
    assert catalogue.scan.subdirectories(docs, ROOT) == [b"x", b"x-1", b"x.y", b"x0", b"\xff"]
    assert catalogue.scan.subdirectories(docs, RelativePath(b"x")) == [b"x/y", b"x/y-2"]
    assert catalogue.scan.subdirectories(docs, RelativePath(b"x.y")) == []


def test_digests_come_by_path_over_any_number_of_chunks(
    catalogue: Catalogue, docs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usenetsyncd.catalogue.scan_store._CHUNK", 7)
    paths = sorted([b""] + [b"d%03d" % number for number in range(28)])
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    catalogue.scan.store(batch(other, directory(b"elsewhere"))).result()
    catalogue.scan.store(batch(docs, *(directory(path) for path in paths))).result()
    assert [row.path for row in catalogue.scan.digests(docs)] == paths


def test_content_is_found_in_its_own_folder_only(catalogue: Catalogue, docs: int) -> None:
    other = catalogue.folders.ensure("other", b"/o", b"o" * 16).id
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "same")))).result()
    assert catalogue.scan.find_content(other, content_hash("same")) is None
    assert not catalogue.scan.has_segment(other, seg("same"))
    assert catalogue.scan.has_segment(docs, seg("same"))
    wanted = [content_hash("same"), content_hash("new")]
    assert catalogue.scan.find_contents(docs, wanted) == {wanted[0]: [(seg("same"), 0, 10)]}


def test_hashes_that_begin_alike_are_told_apart(catalogue: Catalogue, docs: int) -> None:
    one, two = b"8 bytes!" + b"1" * 24, b"8 bytes!" + b"2" * 24
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "a", hash=one)))).result()
    assert catalogue.scan.find_content(docs, two) is None
    assert catalogue.scan.find_content(docs, one) == [(seg("a"), 0, 10)]


def test_known_content_costs_no_new_segment(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a", "same")))).result()
    copy = batch(docs, directory(b"copies", *(file(b"c%d" % n, "same") for n in range(5))))
    assert catalogue.scan.store(copy).result().segments_new == 0
    assert post_all(catalogue) == 1
    assert_sound(catalogue)


def test_copies_make_as_many_articles_per_segment(catalogue: Catalogue, docs: int) -> None:
    given = batch(docs, directory(b"", file(b"a", "a"), file(b"b", "b")), copies=3, priority=Priority.HIGH)
    catalogue.scan.store(given).result()
    row = catalogue.folders.by_id(docs)
    assert (row.pending_articles, row.pending_bytes) == (6, 60)
    assert {(one.seg_id, one.copy) for one in catalogue.queue.lease(10).result()} == {
        (seg(name), copy) for name in ("a", "b") for copy in range(3)
    }


def test_forgotten_digests_have_every_directory_compared_again(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(batch(docs, directory(b""), directory(b"a"), directory(b"b"))).result()
    catalogue.scan.forget_digests_of(docs, [RelativePath(b"a")]).result()
    assert [row.digest for row in catalogue.scan.digests(docs)] == [DIGEST, None, DIGEST]
    catalogue.scan.forget_digests(docs).result()
    assert [row.digest for row in catalogue.scan.digests(docs)] == [None, None, None]
