"""Pages from somebody who means harm: whatever they hold, reading ends in FormatError or in entries."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.index_entries import SMALL, MemorySegments, file_at
from tests.wire.test_pages_extents import BIG, stream
from usenetsyncd.errors import ArticleMissing, FormatError, LimitExceeded
from usenetsyncd.model import Entry, EntryKind, Extent, Owner, PageRef, RelativePath, SegmentId
from usenetsyncd.wire.branches import decode_branches
from usenetsyncd.wire.columns import ENTRY_TREE, PageReader, compress_page, decompress_page
from usenetsyncd.wire.entries import decode_leaf
from usenetsyncd.wire.extent_tree import decode_extent_branches, decode_extents
from usenetsyncd.wire.pages import diff_trees, find_entry, iter_extents, read_tree, tree_totals, walk_pages
from usenetsyncd.wire.tree_write import update_tree

HOME = SegmentId(b"h" * 16)


def entries() -> Iterator[Entry]:
    """Some of everything, more than one leaf of it."""
    for number in range(40):
        path = b"a%02d" % number
        yield Entry(RelativePath(path), EntryKind.FOLDER, mtime_ns=number * 10**9, mode=0o755)
        yield replace(file_at(path + b"/f"), link_group=b"grouping", owner=Owner(number, 100))
        yield Entry(RelativePath(path + b"/l"), EntryKind.SYMLINK, mtime_ns=-number, target=b"../f")
        parts = tuple(Extent(SegmentId(bytes((part,)) * 16), part * number, 50) for part in range(5))
        yield replace(file_at(path + b"/m", 250), extents=parts, xattrs=((b"user.a", path), (b"user.b", b"")))
    yield stream(5000)


def tree() -> tuple[PageRef, MemorySegments]:
    store = MemorySegments()
    root = store.build(entries())
    assert root is not None
    return root, store


ROOT, STORE = tree()
RAW = [decompress_page(STORE.load(ref)) for ref in walk_pages(ROOT, STORE.load)]


def decode(raw: bytes) -> None:
    """As the tree reader does it."""
    page = PageReader(raw)
    if page.tree == ENTRY_TREE:
        (decode_branches if page.level else decode_leaf)(page, HOME)
    elif page.level:
        decode_extent_branches(page, HOME)
    else:
        decode_extents(page)


def read_every_way(root: PageRef, load: Callable[[PageRef], bytes]) -> None:
    for entry in read_tree(root, load):
        for _ in iter_extents(entry, load):
            pass
    find_entry(root, load, RelativePath(b"a20/f"))
    tree_totals(root, load, RelativePath(b"a2"))
    for _ in walk_pages(root, load):
        pass
    for _ in diff_trees(ROOT, root, load):
        pass
    update_tree(root, [(BIG, stream(5001)), (RelativePath(b"c"), None)], load, STORE.seal, SMALL)


def loading(tampered: dict[PageRef, bytes]) -> Callable[[PageRef], bytes]:
    """What is stored, but for some pages. A segment that nobody has is an error of its own."""

    def load(ref: PageRef) -> bytes:
        if ref in tampered:
            return tampered[ref]
        if ref.segment not in STORE.contents:
            raise ArticleMissing(ref.segment.hex())
        return STORE.load(ref)

    return load


def refused_or_read(work: Callable[[], None]) -> bool:
    """Whether it was read. Any error but FormatError goes through (and a segment that nobody has)."""
    try:
        work()
    except (FormatError, ArticleMissing):
        return False
    return True


def mutated(content: bytes, chance: random.Random) -> bytes:
    """One to four bytes changed, cut out, put in or moved; or an end lost or added."""
    page = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, what = chance.randrange(len(page) + 1), chance.randrange(6)
        if what == 0:
            page[at:] = b""
        elif what == 1:
            page[at:at] = chance.randbytes(chance.randint(1, 9))
        elif what == 2:
            del page[at : at + chance.randint(1, 9)]
        elif what == 3 and at < len(page):
            page[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif at < len(page):
            page[at] ^= 1 << chance.randrange(8)
    return bytes(page)


def test_the_pages_under_attack_are_of_every_kind() -> None:
    kinds = {(raw[1], min(raw[2], 1)) for raw in RAW}
    assert kinds == {(1, 0), (1, 1), (2, 0), (2, 1)}
    read_every_way(ROOT, STORE.load)


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_page_is_refused_or_read_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    read = sum(refused_or_read(lambda: decode(mutated(chance.choice(RAW), chance))) for _ in range(2500))
    assert read > 0  # a hash or time that was changed is as good as another


@pytest.mark.parametrize("position", range(120))
def test_every_bit_of_the_beginning_of_each_kind_of_page_may_flip(position: int) -> None:
    shortest = {(raw[1], min(raw[2], 1)): raw for raw in sorted(RAW, key=len, reverse=True)}
    for raw in shortest.values():
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[position % len(raw)] ^= 1 << bit
            refused_or_read(partial(decode, bytes(flipped)))


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_with_a_changed_page_is_refused_or_read_in_every_way(seed: int) -> None:
    chance = random.Random(seed)
    refs = list(walk_pages(ROOT, STORE.load))
    for _ in range(120):
        chosen = chance.choice(refs)
        stored = STORE.load(chosen)
        changed = mutated(stored, chance)[: len(stored)].ljust(len(stored), b"\0")
        load = loading({chosen: changed})
        refused_or_read(partial(read_every_way, ROOT, load))


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_root_is_refused_or_read_in_every_way(seed: int) -> None:
    chance = random.Random(seed)
    raw = decompress_page(STORE.load(ROOT))
    for _ in range(100):
        stored = compress_page(mutated(raw, chance))
        root = PageRef(ROOT.segment, 0, len(stored))
        refused_or_read(partial(read_every_way, root, loading({root: stored})))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(content: bytes) -> None:
    refused_or_read(lambda: decode(content))
    refused_or_read(lambda: decode(decompress_page(content)))
    refused_or_read(lambda: decode(b"\1\1\0\0\0\0\0\2" + content))
    refused_or_read(lambda: decode(b"\1\2\1\0\0\0\0\2" + content))


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(200 << 20))
    started = time.process_time()
    with pytest.raises(LimitExceeded):
        decompress_page(bomb)
    assert time.process_time() - started < 0.05


def test_a_load_that_gives_another_length_is_refused() -> None:
    with pytest.raises(FormatError):
        list(read_tree(ROOT, lambda ref: STORE.load(ref) + b"\0"))
    with pytest.raises(FormatError):
        list(read_tree(ROOT, lambda ref: STORE.load(ref)[:-1]))


def test_entries_before_a_bad_page_are_given() -> None:
    refs = list(walk_pages(ROOT, STORE.load))
    damaged = refs[len(refs) // 2]
    reading = read_tree(ROOT, loading({damaged: b""}))
    got = []
    with pytest.raises(FormatError):
        got.extend(iter(lambda: next(reading).path, None))
    assert got == [entry.path for entry in entries()][: len(got)]
    assert got
