"""Index segments in memory, and entries of every kind for hypothesis."""

import hashlib
from collections.abc import Iterable

from hypothesis import strategies as st

from usenetsyncd.model import (
    Entry,
    EntryKind,
    Extent,
    Owner,
    PageRef,
    RelativePath,
    SegmentId,
)
from usenetsyncd.wire.borders import Borders
from usenetsyncd.wire.pages import TreeUpdate, update_tree

SMALL = Borders(
    leaf_bits=2,
    long_leaf=5,
    long_leaf_bits=1,
    full_leaf=8,
    inner_bits=2,
    short_inner=2,
    long_inner=4,
    long_inner_bits=1,
    full_inner=6,
    weight=2000,
)
"""Pages so small that a hundred entries make a tree of several levels."""


class MemorySegments:
    """Sealed index segments by id; counts what is loaded."""

    def __init__(self) -> None:
        self.contents: dict[SegmentId, bytes] = {}
        self.loaded: list[PageRef] = []

    def seal(self, content: bytes) -> SegmentId:
        identity = SegmentId(hashlib.sha256(content).digest()[:16])
        self.contents[identity] = content
        return identity

    def load(self, ref: PageRef) -> bytes:
        self.loaded.append(ref)
        return self.contents[ref.segment][ref.offset : ref.offset + ref.length]

    def update(
        self,
        root: PageRef | None,
        changes: Iterable[tuple[RelativePath, Entry | None]],
        borders: Borders = SMALL,
    ) -> TreeUpdate:
        self.loaded.clear()
        return update_tree(root, changes, self.load, self.seal, borders)

    def build(self, entries: Iterable[Entry], borders: Borders = SMALL) -> PageRef | None:
        return self.update(None, [(entry.path, entry) for entry in entries], borders).root


def file_at(path: bytes, size: int = 1000, mtime_ns: int = 0, number: int = 0) -> Entry:
    """A small file whose extent and hash follow from its path."""
    hashed = hashlib.sha256(path).digest()
    extents = (Extent(SegmentId(hashed[:16]), number, size),) if size else ()
    return Entry(
        RelativePath(path), EntryKind.FILE, size, mtime_ns, 0o644, hashed[16:] if size else b"", extents
    )


names = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.sampled_from([b"\xff\xfe", b"new\nline", b"a" * 255, b"a" * 254 + b"b", b"-", b".", b" ", b"\x01"]),
).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"0"))

paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: RelativePath(b"/".join(parts)))

ids = st.binary(min_size=16, max_size=16).map(SegmentId)


@st.composite
def extents_lists(draw: st.DrawFn) -> tuple[Extent, ...]:
    segments = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    extents = []
    for _ in range(draw(st.integers(1, 5))):
        offset = draw(st.integers(0, 767_999))
        extents.append(
            Extent(draw(st.sampled_from(segments)), offset, draw(st.integers(1, 768_000 - offset)))
        )
    return tuple(extents)


owners = st.builds(Owner, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
xattrs = st.dictionaries(
    st.binary(min_size=1, max_size=255), st.binary(max_size=300), min_size=1, max_size=3
).map(lambda pairs: tuple(sorted(pairs.items())))


@st.composite
def entries_at(draw: st.DrawFn, path: RelativePath) -> Entry:
    kind = draw(st.sampled_from(EntryKind))
    extents = draw(st.one_of(st.just(()), extents_lists())) if kind is EntryKind.FILE else ()
    return Entry(
        path,
        kind,
        size=sum(extent.length for extent in extents),
        mtime_ns=draw(
            st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10).map(lambda s: s * 10**9))
        ),
        mode=draw(st.integers(0, 0o7777)),
        content_hash=draw(st.binary(min_size=16, max_size=16)) if extents else b"",
        extents=extents,
        target=draw(st.binary(min_size=1, max_size=40)) if kind is EntryKind.SYMLINK else b"",
        link_group=draw(st.one_of(st.just(b""), st.binary(min_size=8, max_size=8))),
        sparse=kind is EntryKind.FILE and draw(st.booleans()),
        owner=draw(st.one_of(st.none(), owners)),
        xattrs=draw(st.one_of(st.just(()), xattrs)),
    )


@st.composite
def sorted_entries(draw: st.DrawFn, max_size: int = 30) -> tuple[Entry, ...]:
    """Ascending entries with different paths, one at least."""
    chosen = draw(st.sets(paths, min_size=1, max_size=max_size))
    return tuple(draw(entries_at(path)) for path in sorted(chosen))
