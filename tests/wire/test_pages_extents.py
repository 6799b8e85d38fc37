"""Extents of huge files: in pages of their own, streamed, and shared between versions."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.wire.index_entries import MemorySegments, file_at
from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import (
    Entry,
    EntryKind,
    Extent,
    ExtentStream,
    RelativePath,
    SegmentId,
    SpilledExtents,
)
from usenetsyncd.wire import extent_tree
from usenetsyncd.wire.borders import BORDERS
from usenetsyncd.wire.pages import find_entry, iter_extents, read_tree, walk_pages

SLICE = 768_000
BIG = RelativePath(b"big.img")


def slices(count: int, changed: frozenset[int] = frozenset()) -> Iterator[Extent]:
    """One whole segment for each slice; a changed slice has another segment."""
    for number in range(count):
        name = b"%d %d" % (number, number in changed)
        yield Extent(SegmentId(hashlib.md5(name, usedforsecurity=False).digest()), 0, SLICE)


def stream(count: int, changed: frozenset[int] = frozenset()) -> Entry:
    return Entry(
        BIG,
        EntryKind.FILE,
        count * SLICE,
        content_hash=b"h" * 16,
        extents=ExtentStream(lambda: slices(count, changed)),
    )


def written(store: MemorySegments, entry: Entry) -> Entry:
    """The entry as an index alone with it gives it back."""
    root = store.update(None, [(entry.path, entry)], BORDERS).root
    found = find_entry(root, store.load, entry.path)
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 2, 256])
def test_few_extents_stay_in_the_entry_even_when_they_come_as_a_stream(count: int) -> None:
    store = MemorySegments()
    entry = written(store, stream(count))
    assert entry.extents == tuple(slices(count))
    assert list(iter_extents(entry, store.load)) == list(slices(count))


@pytest.mark.parametrize("count", [257, 2048, 2049, 2048 * 3])
@pytest.mark.parametrize("as_tuple", [True, False])
def test_many_extents_come_back_from_pages_of_their_own(count: int, as_tuple: bool) -> None:
    store = MemorySegments()
    entry = stream(count)
    if as_tuple:
        entry = replace(entry, extents=tuple(slices(count)))
    found = written(store, entry)
    assert isinstance(found.extents, SpilledExtents)
    assert found.extents.count == count
    assert list(iter_extents(found, store.load)) == list(slices(count))


def test_a_file_of_three_levels_of_extent_pages_streams_both_ways() -> None:
    count = 2048 * 256 + 5
    store = MemorySegments()
    found = written(store, stream(count))
    store.loaded.clear()
    same = sum(one == two for one, two in zip(iter_extents(found, store.load), slices(count), strict=True))
    assert same == count
    assert len(store.loaded) == 257 + 2 + 1
    assert len(store.contents) > 1


def test_a_changed_slice_rewrites_one_page_of_extents_and_loads_none_beside() -> None:
    count = 50_000
    store = MemorySegments()
    others = [file_at(b"a%04d" % number) for number in range(50)]
    root = store.update(None, [*((one.path, one) for one in others), (BIG, stream(count))], BORDERS).root
    update = store.update(root, [(BIG, stream(count, frozenset({30_000})))], BORDERS)
    assert update.pages == 3  # a leaf of extents, their root, and the leaf (here the root) of entries
    assert update.size_bytes < 50_000
    assert len(set(store.loaded)) == 2  # the leaf of entries and the root of the old extents
    found = find_entry(update.root, store.load, BIG)
    assert found is not None
    assert list(iter_extents(found, store.load)) == list(slices(count, frozenset({30_000})))


def test_a_file_that_grew_keeps_its_full_pages() -> None:
    store = MemorySegments()
    root = store.update(None, [(BIG, stream(20_000))], BORDERS).root
    update = store.update(root, [(BIG, stream(20_001))], BORDERS)
    assert update.pages == 3
    longer = store.update(root, [(BIG, stream(20_481))], BORDERS)
    assert longer.pages == 4


def test_the_same_extents_again_write_nothing() -> None:
    store = MemorySegments()
    root = store.update(None, [(BIG, stream(10_000))], BORDERS).root
    update = store.update(root, [(BIG, stream(10_000))], BORDERS)
    assert (update.root, update.pages, update.changed) == (root, 0, 0)


def test_a_new_time_keeps_the_pages_of_the_extents() -> None:
    store = MemorySegments()
    root = store.update(None, [(BIG, stream(10_000))], BORDERS).root
    found = find_entry(root, store.load, BIG)
    assert found is not None
    update = store.update(root, [(BIG, replace(found, mtime_ns=7))], BORDERS)
    assert (update.pages, update.changed) == (1, 1)
    again = find_entry(update.root, store.load, BIG)
    assert again == replace(found, mtime_ns=7)
    assert list(iter_extents(again, store.load)) == list(slices(10_000))


def test_a_file_that_shrank_takes_its_extents_back() -> None:
    store = MemorySegments()
    root = store.update(None, [(BIG, stream(10_000))], BORDERS).root
    update = store.update(root, [(BIG, stream(10))], BORDERS)
    assert next(read_tree(update.root, store.load)).extents == tuple(slices(10))


def test_a_hole_of_terabytes_costs_next_to_nothing() -> None:
    count = 100_000
    zeros = Extent(SegmentId(b"z" * 16), 0, SLICE)
    entry = replace(stream(count), extents=ExtentStream(lambda: iter([zeros] * count)), sparse=True)
    store = MemorySegments()
    update = store.update(None, [(BIG, entry)], BORDERS)
    assert update.size_bytes < 4000


def test_pages_of_extents_belong_to_the_pages_of_a_tree() -> None:
    store = MemorySegments()
    root = store.update(None, [(BIG, stream(5000))], BORDERS).root
    assert len(set(walk_pages(root, store.load))) == 1 + 1 + 3


def test_a_stream_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(FormatError):
        MemorySegments().update(None, [(BIG, replace(stream(300), size=1))])
    with pytest.raises(FormatError):
        MemorySegments().update(None, [(BIG, replace(stream(3), size=1))])


def test_more_extents_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent_tree, "MAX_EXTENTS", 299)
    with pytest.raises(LimitExceeded):
        MemorySegments().update(None, [(BIG, stream(300))])


# -- pages from somebody else ----------------------------------------------------------------


def reading(entry: Entry, store: MemorySegments) -> None:
    for _ in iter_extents(entry, store.load):
        pass


Damage = Callable[[Entry, SpilledExtents], Entry]

FALSE_PROMISES: dict[str, Damage] = {
    "size": lambda entry, _: replace(entry, size=entry.size + 1),
    "count": lambda entry, spilled: replace(entry, extents=replace(spilled, count=spilled.count + 1)),
    "digest": lambda entry, spilled: replace(entry, extents=replace(spilled, digest=bytes(16))),
    "place": lambda entry, spilled: replace(
        entry, extents=replace(spilled, root=replace(spilled.root, offset=0))
    ),
    "length": lambda entry, spilled: replace(
        entry, extents=replace(spilled, root=replace(spilled.root, length=spilled.root.length + 1))
    ),
}


@pytest.mark.parametrize("name", FALSE_PROMISES)
def test_extents_that_are_not_what_the_entry_says_are_refused(name: str) -> None:
    store = MemorySegments()
    found = written(store, stream(5000))
    assert isinstance(found.extents, SpilledExtents)
    with pytest.raises(FormatError):
        reading(FALSE_PROMISES[name](found, found.extents), store)
