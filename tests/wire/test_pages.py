"""The tree: updates, reading, totals and differences."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.index_entries import SMALL, MemorySegments, entries_at, file_at, paths, sorted_entries
from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import Entry, EntryKind, PageRef, RelativePath
from usenetsyncd.wire.borders import BORDERS, Borders
from usenetsyncd.wire.pages import (
    Totals,
    diff_trees,
    find_entry,
    read_tree,
    tree_totals,
    update_tree,
    walk_pages,
)
from usenetsyncd.wire.tree_read import open_root

Tree = dict[RelativePath, Entry]


def numbered(count: int) -> list[Entry]:
    return [file_at(b"d%03d/f%05d" % (number // 50, number)) for number in range(count)]


def shape(root: PageRef | None, store: MemorySegments) -> list[tuple[int, tuple[bytes, ...]]]:
    """Level and paths of every page: two trees of one shape have the same borders everywhere."""
    pages = []
    for ref in walk_pages(root, store.load):
        node = open_root(ref, store.load)
        names = [branch.last for branch in node.branches] or [entry.path for entry in node.entries]
        pages.append((node.level, tuple(names)))
    return pages


@st.composite
def histories(draw: st.DrawFn) -> Iterator[dict[RelativePath, Entry | None]]:
    """Batches of changes over one small set of paths, so that they meet again and again."""
    chosen = draw(st.lists(paths, min_size=1, max_size=60, unique=True))
    batches = []
    for _ in range(draw(st.integers(1, 5))):
        batch: dict[RelativePath, Entry | None] = {}
        for path in sorted(draw(st.sets(st.sampled_from(chosen)))):
            kept = draw(st.booleans())
            batch[path] = file_at(path, draw(st.integers(0, 3))) if kept else None
        batches.append(batch)
    return batches


@settings(max_examples=50)
@given(histories())
def test_any_history_gives_the_tree_that_a_bulk_build_gives(batches: list[dict]) -> None:
    store, expected, root = MemorySegments(), {}, None
    for batch in batches:
        before = dict(expected)
        for path, entry in batch.items():
            expected.pop(path, None)
            if entry is not None:
                expected[path] = entry
        update = store.update(root, batch.items())
        entries = [expected[path] for path in sorted(expected)]
        assert list(read_tree(update.root, store.load)) == entries
        assert shape(update.root, store) == shape(store.build(entries), store)
        assert update.totals == tree_totals(update.root, store.load)
        assert update.totals.entries == len(expected)
        assert update.added == len(expected.keys() - before.keys())
        assert update.removed == len(before.keys() - expected.keys())
        differences = list(diff_trees(root, update.root, store.load))
        assert differences == [
            (path, before.get(path), expected.get(path))
            for path in sorted(before.keys() | expected.keys())
            if before.get(path) != expected.get(path)
        ]
        assert update.changed == sum(1 for _, old, new in differences if old and new)
        root = update.root


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_random_edits_of_a_large_tree_keep_its_borders(seed: int, edits: int) -> None:
    store = MemorySegments()
    tree: Tree = {entry.path: entry for entry in numbered(400)}
    root = store.build(tree.values())
    chance = hashlib.shake_256(b"%d" % seed).digest(edits * 3)
    changes: dict[RelativePath, Entry | None] = {}
    for at in range(0, len(chance), 3):
        number = int.from_bytes(chance[at : at + 2]) % 500
        path = RelativePath(b"d%03d/f%05d" % (number // 50, number))
        changes[path] = file_at(path, 7) if chance[at + 2] & 1 else None
    root = store.update(root, sorted(changes.items())).root
    for path, entry in changes.items():
        tree.pop(path, None)
        if entry:
            tree[path] = entry
    assert shape(root, store) == shape(store.build(tree[path] for path in sorted(tree)), store)


@given(sorted_entries(), st.data())
def test_entries_of_every_kind_survive_an_update_beside_them(
    entries: tuple[Entry, ...], draw: st.DataObject
) -> None:
    store = MemorySegments()
    changed = draw.draw(st.sampled_from(entries))
    new = draw.draw(entries_at(changed.path))
    root = store.update(store.build(entries), [(changed.path, new)]).root
    expected = [new if entry is changed else entry for entry in entries]
    assert list(read_tree(root, store.load)) == expected


def test_an_empty_tree_has_no_root_and_nothing_in_it() -> None:
    store = MemorySegments()
    update = store.update(None, [])
    assert (update.root, update.totals, update.segments) == (None, Totals(), ())
    assert list(read_tree(None, store.load)) == []
    assert find_entry(None, store.load, RelativePath(b"a")) is None
    assert list(diff_trees(None, None, store.load)) == []
    assert list(walk_pages(None, store.load)) == []


def test_deleting_everything_leaves_no_root() -> None:
    store = MemorySegments()
    entries = numbered(200)
    update = store.update(store.build(entries), [(entry.path, None) for entry in entries])
    assert (update.root, update.removed, update.segments) == (None, 200, ())


def test_a_root_left_with_one_branch_gives_way_to_that_branch() -> None:
    store = MemorySegments()
    entries = numbered(300)
    root = store.build(entries)
    for kept in (entries[:3], entries[-3:], entries[150:151]):
        names = {entry.path for entry in kept}
        gone = [(entry.path, None) for entry in entries if entry.path not in names]
        assert shape(store.update(root, gone).root, store) == shape(store.build(kept), store)


def test_changes_that_change_nothing_write_nothing() -> None:
    store = MemorySegments()
    entries = numbered(300)
    root = store.build(entries)
    same = [(entry.path, entry) for entry in entries[10:200]]
    update = store.update(root, [*same, (RelativePath(b"zz"), None)])
    assert (update.root, update.pages, update.segments) == (root, 0, ())
    assert (update.added, update.changed, update.removed) == (0, 0, 0)


def test_no_change_at_all_loads_the_root_only() -> None:
    store = MemorySegments()
    root = store.build(numbered(300))
    assert store.update(root, []).root == root
    assert set(store.loaded) == {root}


@pytest.mark.parametrize("number", [0, 77, 20_000, 39_999])
def test_one_change_loads_and_writes_one_page_of_each_level_into_one_segment(number: int) -> None:
    store = MemorySegments()
    entries = numbered(40_000)
    root = store.build(entries, BORDERS)
    levels = open_root(root, store.load).level + 1
    changed = replace(entries[number], mtime_ns=5)
    update = store.update(root, [(changed.path, changed)], BORDERS)
    assert len(set(store.loaded)) == update.pages == levels
    assert len(update.segments) == 1
    assert update.size_bytes == len(store.contents[update.segments[0]]) < 64_000
    assert update.root is not None
    assert update.root.segment == update.segments[0]


def test_a_tree_of_four_levels_changes_by_four_pages() -> None:
    store = MemorySegments()
    small = Borders(leaf_bits=5, long_leaf=64, long_leaf_bits=3, full_leaf=128, inner_bits=4, short_inner=4)
    entries = numbered(12_000)
    root = store.build(entries, small)
    assert open_root(root, store.load).level == 3
    update = store.update(root, [(entries[6000].path, replace(entries[6000], mode=0o600))], small)
    assert (len(set(store.loaded)), update.pages) == (4, 4)


def test_an_insertion_and_a_deletion_touch_few_pages() -> None:
    store = MemorySegments()
    entries = numbered(40_000)
    root = store.build(entries, BORDERS)
    for number in range(0, 40_000, 1999):
        path = entries[number].path
        inserted = store.update(root, [(RelativePath(path + b"x"), file_at(path + b"x"))], BORDERS)
        deleted = store.update(root, [(path, None)], BORDERS)
        assert inserted.pages <= 4
        assert deleted.pages <= 4


def test_a_difference_loads_only_the_pages_that_differ() -> None:
    store = MemorySegments()
    entries = numbered(40_000)
    root = store.build(entries, BORDERS)
    path = entries[12_345].path
    for change in (replace(entries[12_345], mode=0o600), None):
        new = store.update(root, [(path, change)], BORDERS).root
        store.loaded.clear()
        assert list(diff_trees(root, new, store.load)) == [(path, entries[12_345], change)]
        assert len(store.loaded) <= 10


def test_a_difference_of_trees_of_different_heights_is_complete() -> None:
    store = MemorySegments()
    entries = numbered(500)
    few, many = store.build(entries[200:203]), store.build(entries)
    added = [(entry.path, None, entry) for entry in entries if entry not in entries[200:203]]
    assert list(diff_trees(few, many, store.load)) == added
    assert list(diff_trees(many, few, store.load)) == [(path, new, old) for path, old, new in added]
    assert len(list(diff_trees(None, many, store.load))) == 500


def zoo() -> list[Entry]:
    names = [b"a", b"a-b", b"a/b", b"a/b/c", b"a/b0", b"a0", b"b", b"b/\xff", b"b/\xff\xff", b"c/x\ny"]
    return [file_at(name) for name in sorted(names)] + numbered(120)


@pytest.mark.parametrize(
    "prefix", [b"", b"a", b"a/b", b"b", b"b/\xff", b"c", b"d001", b"d00", b"nothing", b"zzz"]
)
def test_a_prefix_gives_a_folder_with_all_below_it_and_nothing_else(prefix: bytes) -> None:
    store = MemorySegments()
    root = store.build(zoo())
    expected = [
        entry for entry in zoo() if not prefix or entry.path == prefix or entry.path.startswith(prefix + b"/")
    ]
    assert list(read_tree(root, store.load, RelativePath(prefix))) == expected
    totals = tree_totals(root, store.load, RelativePath(prefix))
    assert totals == Totals(len(expected), 0, 0, sum(entry.size for entry in expected))
    for after in (b"", b"a", b"a/b", b"a/b/c", b"b/\xff", b"d001/f00075", b"zz"):
        rest = [entry for entry in expected if entry.path > after]
        assert list(read_tree(root, store.load, RelativePath(prefix), RelativePath(after))) == rest


def test_one_path_is_found_with_one_page_of_each_level() -> None:
    store = MemorySegments()
    entries = numbered(40_000)
    root = store.build(entries, BORDERS)
    store.loaded.clear()
    assert find_entry(root, store.load, entries[31_000].path) == entries[31_000]
    assert len(store.loaded) == open_root(root, store.load).level + 1
    assert find_entry(root, store.load, RelativePath(b"zzz")) is None
    assert find_entry(root, store.load, RelativePath(b"d000/f00000x")) is None


def test_totals_count_kinds_and_load_no_more_than_the_edges() -> None:
    store = MemorySegments()
    entries = [
        Entry(RelativePath(b"a"), EntryKind.FOLDER, mode=0o755),
        Entry(RelativePath(b"a/l"), EntryKind.SYMLINK, target=b"b"),
        *numbered(20_000),
    ]
    root = store.build(entries, BORDERS)
    store.loaded.clear()
    assert tree_totals(root, store.load) == Totals(20_000, 1, 1, 20_000_000)
    assert len(store.loaded) == 1
    assert tree_totals(root, store.load, RelativePath(b"a")) == Totals(0, 1, 1, 0)


def test_a_bulk_build_fills_one_segment_after_the_other() -> None:
    store = MemorySegments()
    root = store.build(numbered(50_000), BORDERS)
    sizes = [len(content) for content in store.contents.values()]
    assert len(sizes) > 1
    assert max(sizes) <= 768_000
    assert min(sizes[:-1]) > 690_000
    assert sum(1 for _ in read_tree(root, store.load)) == 50_000
    refs = list(walk_pages(root, store.load))
    for content in store.contents:
        ends = sorted((ref.offset, ref.offset + ref.length) for ref in refs if ref.segment == content)
        assert ends[0][0] == 0
        assert ends[-1][1] == len(store.contents[content])
        assert all(first[1] == second[0] for first, second in pairwise(ends))


def test_pages_of_a_version_stay_readable_after_later_versions() -> None:
    store = MemorySegments()
    entries = numbered(300)
    roots = [store.build(entries)]
    for number in range(0, 300, 30):
        roots.append(store.update(roots[-1], [(entries[number].path, None)]).root)
    for version, root in enumerate(roots):
        assert tree_totals(root, store.load).files == 300 - version
        assert sum(1 for _ in read_tree(root, store.load)) == 300 - version


def test_made_up_paths_cannot_grow_a_tower_of_levels() -> None:
    # Every border is wanted everywhere: what ends pages is then the minimum of branches alone.
    greedy = Borders(leaf_bits=0, long_leaf_bits=0, inner_bits=0, long_inner_bits=0)
    store = MemorySegments()
    root = store.build(numbered(1000), greedy)
    assert open_root(root, store.load).level == 4
    assert sum(1 for _ in read_tree(root, store.load)) == 1000


@pytest.mark.parametrize("changes", [[b"b", b"a"], [b"a", b"a"]])
def test_changes_out_of_order_are_refused(changes: list[bytes]) -> None:
    with pytest.raises(FormatError):
        MemorySegments().update(None, [(RelativePath(path), file_at(path)) for path in changes])


def test_a_change_under_the_path_of_another_entry_is_refused() -> None:
    with pytest.raises(FormatError):
        MemorySegments().update(None, [(RelativePath(b"a"), file_at(b"b"))])


def test_a_tower_of_more_than_sixteen_levels_is_refused() -> None:
    tower = replace(SMALL, leaf_bits=0, inner_bits=0, short_inner=1)
    with pytest.raises(LimitExceeded):
        MemorySegments().update(None, [(entry.path, entry) for entry in numbered(3)], tower)


def test_an_error_of_the_caller_passes_through() -> None:
    store = MemorySegments()
    root = store.build(numbered(10))
    with pytest.raises(KeyError):
        update_tree(root, [], MemorySegments().load, store.seal)
