"""The entry codec: what goes into a leaf comes out of it."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.index_entries import MemorySegments, file_at, sorted_entries
from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import Entry, EntryKind, Extent, Owner, RelativePath, SegmentId
from usenetsyncd.wire.borders import BORDERS
from usenetsyncd.wire.columns import (
    PageReader,
    PageWriter,
    compress_page,
    decompress_page,
    shared_prefix,
    unzigzag,
    zigzag,
)
from usenetsyncd.wire.entries import admit_entry, decode_leaf, encode_leaf, entry_weight
from usenetsyncd.wire.pages import read_tree

HOME = SegmentId(b"h" * 16)


def leaf(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """There and back."""
    raw = encode_leaf(entries, lambda segment: segment)
    return decode_leaf(PageReader(decompress_page(compress_page(raw))), HOME)


@given(sorted_entries())
def test_every_entry_comes_back_as_it_was(entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        assert admit_entry(entry) == entry
    assert leaf(entries) == entries


@given(sorted_entries())
def test_a_page_is_never_larger_than_the_weight_of_its_entries(entries: tuple[Entry, ...]) -> None:
    raw = encode_leaf(entries, lambda segment: segment)
    assert len(raw) <= 64 + sum(map(entry_weight, entries))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_columns_come_back_and_are_as_narrow_as_their_numbers(numbers: list[int]) -> None:
    page = PageWriter(1, 0, 1)
    page.column(numbers)
    reader = PageReader(page.raw())
    assert list(reader.column(len(numbers))) == numbers
    reader.finish()
    width = (max(numbers, default=0).bit_length() + 7) // 8
    assert len(page.raw()) == 8 + 1 + width * len(numbers)


@given(st.integers(-(2**62), 2**62))
def test_zigzag_goes_both_ways(number: int) -> None:
    assert zigzag(number) >= 0
    assert unzigzag(zigzag(number)) == number


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_shared_prefix_is_shared_and_cannot_be_longer(first: bytes, second: bytes) -> None:
    size = shared_prefix(first, second)
    assert first[:size] == second[:size]
    assert first[size : size + 1] != second[size : size + 1] or size == len(first) == len(second)


def test_the_root_folder_itself_may_have_an_entry() -> None:
    entries = (Entry(RelativePath(b""), EntryKind.FOLDER, mode=0o755), file_at(b"a"))
    assert leaf(entries) == entries


def test_the_longest_path_target_and_attributes_fit() -> None:
    longest = Entry(
        RelativePath(b"p" * 4096),
        EntryKind.SYMLINK,
        mtime_ns=-(2**63),
        target=b"t" * 4096,
        owner=Owner(2**32 - 1, 2**32 - 1),
        xattrs=((b"n" * 255, bytes(131_072 - 255)),),
    )
    assert admit_entry(longest) == longest
    assert leaf((longest,)) == (longest,)


def test_a_leaf_of_the_heaviest_entries_stays_well_below_the_limit_of_a_page() -> None:
    def heavy(number: int) -> Entry:
        path = b"%04d" % number
        return replace(file_at(path.ljust(4096, b"x")), xattrs=((b"n", hash_bytes(number)),))

    def hash_bytes(number: int) -> bytes:
        return b"".join(b"%08d" % (number * i) for i in range(16_000))[:131_071]

    store = MemorySegments()
    entries = [heavy(number) for number in range(12)]
    assert list(read_tree(store.build(entries, BORDERS), store.load)) == entries


def test_a_size_that_a_filesystem_gives_to_a_symlink_or_folder_is_left_out() -> None:
    link = Entry(RelativePath(b"l"), EntryKind.SYMLINK, size=6, target=b"target", sparse=True)
    folder = Entry(RelativePath(b"d"), EntryKind.FOLDER, size=4096)
    store = MemorySegments()
    update = store.update(None, [(folder.path, folder), (link.path, link)])
    assert list(read_tree(update.root, store.load)) == [
        replace(folder, size=0),
        replace(link, size=0, sparse=False),
    ]
    assert update.totals.bytes == 0
    again = store.update(update.root, [(link.path, link)])
    assert (again.root, again.changed) == (update.root, 0)


REFUSED = {
    "path too long": file_at(b"p" * 4097),
    "hash of a folder": Entry(RelativePath(b"d"), EntryKind.FOLDER, content_hash=bytes(16)),
    "target of a file": replace(file_at(b"f"), target=b"t"),
    "symlink to nothing": Entry(RelativePath(b"l"), EntryKind.SYMLINK),
    "mode with file type": replace(file_at(b"f"), mode=0o100644),
    "time beyond 64 bits": replace(file_at(b"f"), mtime_ns=2**63),
    "no hash": replace(file_at(b"f"), content_hash=b""),
    "hash of 32 bytes": replace(file_at(b"f"), content_hash=bytes(32)),
    "hash of an empty file": replace(file_at(b"f", 0), content_hash=bytes(16)),
    "extents missing": replace(file_at(b"f"), extents=()),
    "extents too short": replace(file_at(b"f"), size=1001),
    "negative size": replace(file_at(b"f"), size=-1),
    "link group of 4": replace(file_at(b"f"), link_group=b"1234"),
    "owner beyond 32 bits": replace(file_at(b"f"), owner=Owner(2**32, 0)),
    "negative owner": replace(file_at(b"f"), owner=Owner(0, -1)),
    "attributes out of order": replace(file_at(b"f"), xattrs=((b"b", b""), (b"a", b""))),
    "attribute twice": replace(file_at(b"f"), xattrs=((b"a", b"1"), (b"a", b"2"))),
    "attribute without name": replace(file_at(b"f"), xattrs=((b"", b"1"),)),
    "attribute name of 256": replace(file_at(b"f"), xattrs=((b"n" * 256, b"1"),)),
    "attributes too long": replace(file_at(b"f"), xattrs=((b"n", bytes(131_072)),)),
    "too many attributes": replace(file_at(b"f"), xattrs=tuple((b"%04d" % n, b"") for n in range(1025))),
    "extent past a segment": replace(
        file_at(b"f"), extents=(Extent(SegmentId(bytes(16)), 767_001, 1000),), size=1000
    ),
    "segment id of 15": replace(file_at(b"f"), extents=(Extent(SegmentId(bytes(15)), 0, 1000),)),
    "extent of nothing": replace(
        file_at(b"f"), extents=(Extent(SegmentId(bytes(16)), 0, 0), Extent(SegmentId(bytes(16)), 0, 1000))
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_entry_that_the_format_cannot_hold_is_refused_when_written(name: str) -> None:
    entry = REFUSED[name]
    store = MemorySegments()
    with pytest.raises(FormatError):
        store.update(None, [(entry.path, entry)])
    assert not store.contents


def test_totals_beyond_64_bits_are_refused() -> None:
    page = PageWriter(1, 0, 1)
    with pytest.raises(LimitExceeded, match=re.escape(str(2**64))):
        page.column([2**64])
