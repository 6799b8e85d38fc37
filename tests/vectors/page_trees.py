"""Vectors of whole trees of core index pages."""

from tests.vectors.page_bytes import (
    HASH,
    SEG_A,
    SEG_B,
    SELF,
    SLICE,
    Segments,
    column,
    digest,
    entry,
    extent_inner,
    extent_leaf,
    inner,
    leaf,
    page,
    record,
    refs,
)
from tests.vectors.samples import OK, Vector, error, spec_of


def _tree(segments: Segments, root: tuple[bytes, int, int]) -> Vector:
    contents = {identity.hex(): spec_of(content) for identity, content in segments.contents.items()}
    return {"do": "tree", "segments": contents, "root": [root[0].hex(), *root[1:]]}


_FOLDERS = [[b"a", b"b"], [b"c"], [b"d", b"e", b"f"]]


def _three_leaves(
    names: list[list[bytes]] | None = None,
    lasts: tuple[bytes, bytes, bytes] = (b"b", b"c", b"f"),
    folders: tuple[int, int, int] = (2, 1, 3),
) -> Vector:
    """Three leaves below one root: the first two in segment 1, the last beside the root in segment 2."""
    segments = Segments()
    leaves = [leaf(group) for group in names or _FOLDERS]
    one, two = segments.put(1, page(leaves[0])), segments.put(1, page(leaves[1]))
    three = segments.put(2, page(leaves[2]))
    below = [one, two, (SELF, *three[1:])]
    root = inner(1, lasts, [(0, count, 0, 0) for count in folders], below)
    return _tree(segments, segments.put(2, page(root)))


def make_trees() -> list[Vector]:
    listed = [entry(name, 2) for group in _FOLDERS for name in group]
    vectors = [
        _three_leaves() | {"entries": listed, "totals": [0, 6, 0, 0]} | OK,
        _three_leaves(folders=(2, 2, 2)) | error("format_error", "totals that are not those of the leaf"),
        _three_leaves([[b"a", b"b"], [b"c"], [b"d"]], (b"b", b"c\0", b"d"), (2, 1, 1))
        | error("format_error", "a leaf that does not end where it should"),
        _three_leaves([[b"a", b"c"], [b"b", b"d"], [b"e"]], (b"c", b"d", b"e"), (2, 2, 1))
        | error("format_error", "a leaf that begins before the one before it ends"),
        _three_leaves([[b"a", b"b"], [b"a", b"c"], [b"d"]], (b"b", b"c", b"d"), (2, 2, 1))
        | error("format_error", "one path in two leaves"),
    ]
    segments = Segments()
    only = segments.put(1, page(leaf([b"a"])))
    vectors.append(_tree(segments, only) | {"entries": [entry(b"a", 2)], "totals": [0, 1, 0, 0]} | OK)
    for shift, size, why in (
        (0, -1, "a reference too short"),
        (0, 1, "a reference too long"),
        (1, 0, "one aside"),
    ):
        vectors.append(
            _tree(segments, (only[0], only[1] + shift, only[2] + size)) | error("format_error", why)
        )
    upper = segments.put(1, page(inner(2, [b"a"], [(0, 1, 0, 0)], [(SELF, *only[1:])])))
    vectors.append(_tree(segments, upper) | error("format_error", "a leaf where a page of level 1 should be"))
    stranger = segments.put(1, page(extent_leaf([5], [SEG_A], [0], [0])))
    vectors.append(_tree(segments, stranger) | error("format_error", "extents where entries should be"))
    return [*vectors, _cycle(), *_spilled()]


def _cycle() -> Vector:
    """A page that refers to itself: raw blocks have a fixed size, so its place is known beforehand."""
    size = 0
    for _ in range(3):
        segments = Segments()
        root = segments.put(1, page(inner(1, [b"a"], [(0, 1, 0, 0)], [(SELF, 0, max(size, 1))])))
        size = root[2]
    return _tree(segments, root) | error("format_error", "a page below itself")


def _spilled() -> list[Vector]:
    """One file of 2,050 extents in three pages of extents, below a leaf of its own."""
    good = _spilled_tree()
    streamed = [[SEG_A.hex(), 0, SLICE, 2048], [SEG_B.hex(), 0, 10, 1], [SEG_B.hex(), 10, 20, 1]]
    size = 2048 * SLICE + 30
    return [
        good | {"streamed": streamed, "totals": [1, 0, 0, size]} | OK,
        _spilled_tree(size=size + 1) | error("format_error", "a file longer than its extents"),
        _spilled_tree(count=2051) | error("format_error", "a file of fewer extents than it says"),
        _spilled_tree(spoil=True) | error("format_error", "a digest that is not that of the page"),
        _spilled_tree(first=2047)
        | error("format_error", "a page of extents that is not full, before another"),
        _spilled_tree(level=2) | error("format_error", "a leaf of extents below a page of level 2"),
        _spilled_tree(wrong_tree=True) | error("format_error", "entries where extents should be"),
    ]


def _spilled_tree(
    size: int | None = None,
    count: int | None = None,
    first: int = 2048,
    level: int = 1,
    spoil: bool = False,
    wrong_tree: bool = False,
) -> Vector:
    segments = Segments()
    full = page(extent_leaf([SLICE] * first, [SEG_A], [0] * first, [0] + [-SLICE] * (first - 1)))
    rest = page(extent_leaf([10, 20], [SEG_B], [0, 0], [0, 0]))
    records = [(first, first * SLICE, digest(0, full)), (2, 30, digest(0, rest))]
    if spoil:
        records[1] = (2, 30, HASH)
    below = [segments.put(1, full), segments.put(1, rest)]
    summary = digest(level, b"".join(record(*one) for one in records))
    top = segments.put(1, page(extent_inner(level, records, [(SELF, *ref[1:]) for ref in below])))
    if wrong_tree:
        top = segments.put(1, page(leaf([b"a"])))
    whole = leaf(
        [b"big"],
        flags=column([0x41]),
        sizes=column([first * SLICE + 30 if size is None else size]),
        hashes=HASH,
        spilled_counts=column([first + 2 if count is None else count]),
        spilled_digests=summary,
        **refs([top]),
    )
    return _tree(segments, segments.put(2, page(whole)))
