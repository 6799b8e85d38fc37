"""Vectors of core index pages, each by itself."""

from tests.vectors.page_bytes import (
    HASH,
    HOME,
    SEG_A,
    SEG_B,
    SELF,
    SLICE,
    Sections,
    column,
    digest,
    entry,
    extent_inner,
    extent_leaf,
    frame,
    header,
    inner,
    leaf,
    page,
    paths,
    places,
    refs,
    signed,
)
from tests.vectors.page_trees import make_trees
from tests.vectors.samples import OK, Vector, error, spec_of

BAD, LIMIT, NEWER = "format_error", "limit_exceeded", "newer_format"

# The paths of a leaf with everything that a leaf can hold.
ZOO = (b"a", b"a/big", b"a/empty", b"a/hole", b"a/link", b"b\n\xff")


def zoo() -> Sections:
    return leaf(
        ZOO,
        flags=column([0x02, 0x01 | 0x40, 0x01, 0x01 | 0x04, 0x03, 0x01 | 0x08 | 0x10 | 0x20]),
        modes=column([0o755, 0o644, 0o600, 0o644, 0o777, 0o4755]),
        seconds=signed([1_700_000_000, 5, -10, 0, 0, -1_700_000_096]),
        nanoseconds=column([0, 7, 999_999_999, 0, 500, 0]),
        sizes=column([3000 * SLICE, 0, 800_000, 1_000]),
        hashes=HASH + HASH[::-1] + HASH,
        extent_counts=column([1, 0]),
        extent_lengths=column([SLICE]),
        **places([SEG_A, SEG_B], [0, 1, 0], [0, 100, 0]),
        spilled_counts=column([3000]),
        spilled_digests=digest(1, b"example"),
        **refs([(SELF, 4096, 300)]),
        target_sizes=column([8]),
        targets=b"../a/big",
        groups=b"grouping",
        uids=column([1000]),
        gids=column([100]),
        xattr_counts=column([1]),
        name_sizes=column([6, 6]),
        value_sizes=column([0, 5]),
        names=b"user.auser.b",
        values=b"value",
    )


def example() -> Sections:
    """The annotated page of docs/format.md 12.5."""
    return leaf(
        [b"a", b"a/f", b"l"],
        flags=column([2, 1, 3]),
        modes=column([0o755, 0o644, 0o777]),
        seconds=signed([1_700_000_000, 60, -60]),
        nanoseconds=column([0, 500_000_000, 0]),
        sizes=column([1000]),
        hashes=bytes(range(0xC0, 0xD0)),
        extent_counts=column([0]),
        **places([SEG_A], [0], [70_000]),
        target_sizes=column([3]),
        targets=b"a/f",
    )


def example_entries() -> list[Vector]:
    start, hashed = 1_700_000_000 * 10**9, bytes(range(0xC0, 0xD0)).hex()
    file = {"size": 1000, "mode": 0o644, "content_hash": hashed, "extents": [[SEG_A.hex(), 70_000, 1000]]}
    return [
        entry(b"a", 2, mtime_ns=start),
        entry(b"a/f", 1, mtime_ns=start + 60_500_000_000, **file),
        entry(b"l", 3, mtime_ns=start + 500_000_000, mode=0o777, target=b"a/f".hex()),
    ]


def zoo_entries() -> list[Vector]:
    start = 1_700_000_000 * 10**9
    spilled = {"root": [HOME.hex(), 4096, 300], "count": 3000, "digest": digest(1, b"example").hex()}
    hole = [[SEG_A.hex(), 0, SLICE], [SEG_B.hex(), 100, 32_000]]
    times = [start, start + 5 * 10**9 + 7, start - 4 * 10**9 + 6, start - 4 * 10**9 + 6]
    times += [start - 4 * 10**9 + 506, -100 * 10**9 + 506]
    return [
        entry(b"a", 2, mtime_ns=times[0]),
        entry(
            b"a/big",
            1,
            size=3000 * SLICE,
            mtime_ns=times[1],
            mode=0o644,
            content_hash=HASH.hex(),
            extents=spilled,
        ),
        entry(b"a/empty", 1, mtime_ns=times[2], mode=0o600),
        entry(
            b"a/hole",
            1,
            size=800_000,
            mtime_ns=times[3],
            mode=0o644,
            content_hash=HASH[::-1].hex(),
            extents=hole,
            sparse=True,
        ),
        entry(b"a/link", 3, mtime_ns=times[4], mode=0o777, target=b"../a/big".hex()),
        entry(
            b"b\n\xff",
            1,
            size=1000,
            mtime_ns=times[5],
            mode=0o4755,
            content_hash=HASH.hex(),
            extents=[[SEG_B.hex(), 32_100, 1000]],
            link_group=b"grouping".hex(),
            owner=[1000, 100],
            xattrs=[[b"user.a".hex(), ""], [b"user.b".hex(), b"value".hex()]],
        ),
    ]


def _page(raw: bytes) -> Vector:
    return {"do": "page", "home": HOME.hex(), "page": spec_of(raw)}


def make_pages() -> list[Vector]:
    """Frames, single pages of each kind, whole trees."""
    return [*_frames(), *_leaves(), *_inners(), *_extents(), *make_trees()]


# -- frames -----------------------------------------------------------------------------------


def _frames() -> list[Vector]:
    raw = page(leaf([b"a"]))
    stored = frame(raw)
    unsized = b"\x28\xb5\x2f\xfd\x00\x50" + (1 | len(raw) << 3).to_bytes(3, "little") + raw
    wide = b"\x28\xb5\x2f\xfd\x80\x58" + stored[5:]
    liar = stored[:5] + (len(raw) - 1).to_bytes(4, "little") + stored[9:]
    modest = stored[:5] + (len(raw) + 1).to_bytes(4, "little") + stored[9:]
    vectors = [{"do": "frame", "stored": spec_of(stored), "page": spec_of(raw)} | OK]
    for content, code, why in (
        (b"", BAD, "nothing"),
        (raw, BAD, "not compressed"),
        (stored[:-1], BAD, "frame cut short"),
        (stored + b"\0", BAD, "a byte after the frame"),
        (stored + stored, BAD, "two frames"),
        (b"\x50\x2a\x4d\x18\x01\x00\x00\x00\x00", BAD, "a skippable frame"),
        (unsized, BAD, "frame does not state its size"),
        (liar, BAD, "frame holds more than it states"),
        (modest, BAD, "frame holds less than it states"),
        (frame(bytes(1 << 20) + b"\0"), LIMIT, "a page of 1 MiB and a byte"),
        (stored[:5] + b"\xff\xff\xff\xff" + stored[9:], LIMIT, "frame states 4 GiB"),
        (wide, LIMIT, "frame asks for a window of 2 MiB"),
        (bytes(768_001), LIMIT, "stored page of 768,001 bytes"),
    ):
        vectors.append({"do": "frame", "stored": spec_of(content)} | error(code, why))
    return vectors


# -- leaves -----------------------------------------------------------------------------------


def _leaves() -> list[Vector]:
    whole = zoo()
    root = leaf([b""])
    vectors = [
        _page(page(example())) | {"level": 0, "entries": example_entries()} | OK,
        _page(page(whole)) | {"level": 0, "entries": zoo_entries()} | OK,
        _page(page(root)) | {"level": 0, "entries": [entry(b"", 2)]} | OK,
    ]
    raw = page(whole)
    for content, code, why in (
        (b"", BAD, "an empty page"),
        (raw[:7], BAD, "a page cut in its header"),
        (raw[:60], BAD, "a page cut in its columns"),
        (raw[:-1], BAD, "a page cut in its last byte"),
        (raw + b"\0", BAD, "a byte too many"),
        (b"\0" + raw[1:], BAD, "version 0"),
        (b"\2" + raw[1:], NEWER, "version 2"),
        (raw[:1] + b"\0" + raw[2:], BAD, "tree 0"),
        (raw[:1] + b"\5" + raw[2:], NEWER, "tree 5"),
        (raw[:2] + b"\x10" + raw[3:], LIMIT, "level 16"),
        (raw[:3] + b"\1" + raw[4:], BAD, "byte 3 set"),
        (raw[:4] + bytes(4) + raw[8:], BAD, "no entries"),
        (raw[:4] + b"\0\0\x10\1" + raw[8:], LIMIT, "4,097 entries"),
        (raw[:4] + b"\xff\xff\xff\xff" + raw[8:], LIMIT, "2^32 - 1 entries"),
    ):
        vectors.append(_page(content) | error(code, why))
    for change, code, why in (*_bad_entries(), *_bad_extents(), *_bad_rare()):
        vectors.append(_page(page(whole, **change)) | error(code, why))
    return vectors


_Bad = list[tuple[Sections, str, str]]


def _bad_entries() -> _Bad:
    return [
        (paths([*ZOO[:4], ZOO[3], ZOO[5]]), BAD, "one path twice"),
        (paths([*ZOO[:4], b"a/gone", ZOO[5]]), BAD, "paths out of order"),
        (paths([b"a", b"", *ZOO[2:]]), BAD, "an empty path that is not the first"),
        ({"shared": column([0, 1, 1, 2, 2, 0]), "rest_sizes": column([1, 4, 6, 4, 4, 3]),
          "rests": b"a/big/emptyholelinkb\n\xff"}, BAD, "a prefix shorter than it could be"),
        ({"shared": column([1, 1, 2, 2, 2, 0])}, BAD, "the first path shares a prefix with nothing"),
        ({"shared": column([0, 2, 2, 2, 2, 0])}, BAD, "a prefix longer than the path before"),
        (paths([*ZOO[:5], b"b" * 4097]), LIMIT, "a path of 4,097 bytes"),
        ({"shared": column([0, 1, 2, 2, 2, 0], 2)}, BAD, "a column wider than its numbers"),
        ({"shared": column([0, 1, 2, 2, 2, 0], 9)}, BAD, "a column of width 9"),
        ({"rest_sizes": column([1, 4, 5, 4, 4, 2**64 - 1])}, BAD, "a path beyond the end of the page"),
        ({"flags": column([0x00, 0x41, 0x01, 0x05, 0x03, 0x39])}, BAD, "kind 0"),
        ({"flags": column([0x82, 0x41, 0x01, 0x05, 0x03, 0x39])}, NEWER, "flag 0x80"),
        ({"flags": column([0x102, 0x41, 0x01, 0x05, 0x03, 0x39])}, NEWER, "flag 0x100"),
        ({"flags": column([0x06, 0x41, 0x01, 0x05, 0x03, 0x39])}, BAD, "a sparse folder"),
        ({"flags": column([0x02, 0x41, 0x01, 0x05, 0x43, 0x39])}, BAD, "a symlink with spilled extents"),
        ({"modes": column([0o10755, 0, 0, 0, 0, 0])}, BAD, "a mode beyond 07777"),
        ({"nanoseconds": column([10**9, 0, 0, 0, 0, 0])}, BAD, "a second of nanoseconds"),
        ({"seconds": signed([9_223_372_037, 0, 0, 0, 0, 0])}, BAD, "a time beyond 2^63 ns"),
        ({"seconds": signed([-9_223_372_037, 0, 0, 0, 0, 0])}, BAD, "a time before -2^63 ns"),
    ]  # fmt: skip


def _bad_extents() -> _Bad:
    return [
        ({"sizes": column([2**63, 0, 800_000, 1_000])}, LIMIT, "a size of 2^63"),
        ({"sizes": column([0, 0, 800_000, 1_000])}, BAD, "an empty file with spilled extents"),
        ({"sizes": column([3000 * SLICE, 0, SLICE, 1_000])}, BAD, "extents longer than their file"),
        ({"sizes": column([3000 * SLICE, 0, 2 * SLICE, 1_000])}, BAD, "an extent past the end of a segment"),
        ({"sizes": column([3000 * SLICE, 0, 800_000, SLICE])}, BAD, "an extent past the end of a segment"),
        ({"extent_lengths": column([0])}, BAD, "an extent of no bytes"),
        ({"extent_counts": column([256, 0])}, LIMIT, "257 extents in an entry"),
        ({"extent_counts": column([2**64 - 1, 0])}, LIMIT, "2^64 extents in an entry"),
        (places([SEG_A, SEG_B], [0, 1, 0], [-1, 100, 0]), BAD, "an extent before its segment"),
        (places([SEG_A, SEG_B], [1, 0, 0], [0, 100, 0]), BAD, "segments not in order of use"),
        (places([SEG_A, SEG_B], [0, 1, 1], [0, 100, 0]), BAD, "a segment beyond the table"),
        (places([SEG_A, SEG_B], [0, 1, -2], [0, 100, 0]), BAD, "a segment before the table"),
        (places([SEG_A, SEG_B], [0, 0, 0], [0, -SLICE, 0]), BAD, "a segment that nothing uses"),
        (places([SEG_A, SEG_A], [0, 1, 0], [0, 100, 0]), BAD, "a segment twice in the table"),
        (places([SEG_A, SEG_B, HASH, HOME], [0, 1, 0], [0, 100, 0]), LIMIT, "more segments than extents"),
        ({"spilled_counts": column([256])}, BAD, "256 extents spilled"),
        ({"spilled_counts": column([2**28 + 1])}, LIMIT, "2^28 + 1 extents spilled"),
        ({"ref_lengths": column([0])}, BAD, "a reference to no bytes"),
        (refs([(SELF, 767_999, 2)]), BAD, "a reference past the end of a segment"),
    ]


def _bad_rare() -> _Bad:
    names = {"name_sizes": column([6, 6]), "names": b"user.auser.a"}
    return [
        ({"target_sizes": column([0]), "targets": b""}, LIMIT, "a symlink to nothing"),
        ({"target_sizes": column([4097]), "targets": b"t" * 4097}, LIMIT, "a target of 4,097 bytes"),
        ({"uids": column([2**32])}, LIMIT, "an owner beyond 32 bits"),
        ({"gids": column([2**32])}, LIMIT, "a group beyond 32 bits"),
        (names, BAD, "an attribute twice"),
        (names | {"names": b"user.buser.a"}, BAD, "attributes out of order"),
        ({"name_sizes": column([0, 6]), "names": b"user.b"}, LIMIT, "an attribute without name"),
        (
            {"name_sizes": column([6, 256]), "names": b"user.a" + b"u" * 256},
            LIMIT,
            "an attribute name of 256",
        ),
        (
            {"value_sizes": column([0, 131_061]), "values": bytes(131_061)},
            LIMIT,
            "131,073 bytes of attributes",
        ),
        ({"xattr_counts": column([1024])}, LIMIT, "1,025 attributes"),
    ]


# -- inner pages ------------------------------------------------------------------------------


def _inners() -> list[Vector]:
    names = [b"f/1", b"f/2", b"g"]
    totals = [(700, 3, 0, 2**40), (1, 0, 2, 0), (0, 1, 0, 0)]
    below = [(SELF, 0, 100), (SELF, 100, 50), (SEG_A, 7, 1)]
    whole = inner(1, names, totals, below)
    branches = [
        {"last": name.hex(), "ref": [(HOME if segment == SELF else segment).hex(), offset, length]}
        | dict(zip(("files", "folders", "symlinks", "bytes"), total, strict=True))
        for name, total, (segment, offset, length) in zip(names, totals, below, strict=True)
    ]
    vectors = [_page(page(whole)) | {"level": 1, "branches": branches} | OK]
    for change, code, why in (
        ({"header": header(1, 1, 1025)}, LIMIT, "1,025 branches"),
        (paths([b"f/1", b"f/1", b"g"]), BAD, "one last path twice"),
        (paths([b"f/2", b"f/1", b"g"]), BAD, "last paths out of order"),
        ({"bytes": column([2**40, 0, 0], 7)}, BAD, "a column wider than its numbers"),
        (refs([(SELF, 0, 100), (SELF, 100, 0), (SEG_A, 7, 1)]), BAD, "a branch of no bytes"),
        (
            refs([(SELF, 0, 100), (SELF, 767_950, 51), (SEG_A, 7, 1)]),
            BAD,
            "a branch past the end of a segment",
        ),
        ({"ref_segments": SELF + SELF}, BAD, "this segment named twice"),
        ({"ref_gaps": signed([0, 0, 7]) + b"\0"}, BAD, "a byte too many"),
    ):
        vectors.append(_page(page(whole, **change)) | error(code, why))
    return vectors


# -- pages of extents -------------------------------------------------------------------------


def _extents() -> list[Vector]:
    whole = extent_leaf([SLICE, 5, 6], [SEG_A, SEG_B], [0, 1, -1], [0, 9, -SLICE])
    extents = [[SEG_A.hex(), 0, SLICE], [SEG_B.hex(), 9, 5], [SEG_A.hex(), 0, 6]]
    upper = extent_inner(1, [(2048, 2048 * 5, HASH), (1, 5, HASH[::-1])], [(SELF, 0, 9), (SEG_A, 0, 9)])
    branches = [
        {"ref": [HOME.hex(), 0, 9], "count": 2048, "bytes": 10_240, "digest": HASH.hex()},
        {"ref": [SEG_A.hex(), 0, 9], "count": 1, "bytes": 5, "digest": HASH[::-1].hex()},
    ]
    vectors = [
        _page(page(whole)) | {"level": 0, "extents": extents} | OK,
        _page(page(upper)) | {"level": 1, "extent_branches": branches} | OK,
    ]
    for base, change, code, why in (
        (whole, {"header": header(2, 0, 2049)}, LIMIT, "2,049 extents"),
        (whole, {"lengths": column([SLICE, 0, 6])}, BAD, "an extent of no bytes"),
        (whole, {"lengths": column([SLICE + 1, 5, 6])}, BAD, "an extent past the end of a segment"),
        (whole, {"gaps": signed([0, 9, -SLICE]) + b"\0"}, BAD, "a byte too many"),
        (upper, {"header": header(2, 1, 257)}, LIMIT, "257 branches"),
        (upper, {"counts": column([2048, 0])}, BAD, "a branch of no extents"),
        (upper, {"digests": HASH}, BAD, "a digest missing"),
    ):
        vectors.append(_page(page(base, **change)) | error(code, why))
    return vectors
