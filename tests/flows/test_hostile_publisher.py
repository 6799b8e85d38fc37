"""Whatever entries a publisher signs: nothing outside the target, the clean rest restored, the loss told."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.hostile import Publisher, Reader, leaf_of
from tests.flows.neighbourhood import (
    CLEAN,
    EVIL,
    Neighbourhood,
    clean,
    folder,
    link,
    names_below,
    ref_to,
    restore_within_bounds,
)
from tests.vectors.page_bytes import (
    column,
    digest,
    extent_leaf,
    header,
    page,
    places,
    record,
)
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Compression,
    Entry,
    EntryKind,
    Extent,
    RelativePath,
    SegmentId,
    SpilledExtents,
)
from usenetsyncd.wire.seal import seal
from usenetsyncd.wire.segment import content_hash

# -- one entry is bad ---------------------------------------------------------------------------

Make = Callable[[Publisher, Neighbourhood], list[Entry]]


def at(path: bytes) -> Make:
    return lambda publisher, _: [publisher.file(path, EVIL)]


BAD_PATHS: dict[str, bytes] = {
    "up": b"../escape",
    "up and up": b"../../escape",
    "up in the middle": b"b/../../escape",
    "up at the end": b"b/..",
    "only up": b"..",
    "absolute": b"/tmp/usenetsync-escape",
    "two slashes": b"//escape",
    "empty component": b"b//c",
    "slash at the end": b"b/",
    "here": b"./b",
    "here at the end": b"b/.",
    "only here": b".",
    "a NUL": b"b\0c",
    "a NUL in a folder": b"b\0/c",
    "a name of 256 bytes": b"n" * 256,
    "a folder of 256 bytes": b"n" * 256 + b"/f",
    "129 deep": b"/".join([b"d"] * 129),
    "2,048 deep": b"/".join([b"d"] * 2_048),
    "escapes and up": b"../\x1b]0;owned\x07\x1b[2J",
    "a name of ours": b".usenetsync-0123456789abcdef.part",
    "up, spelt with other bytes": b"..\0/escape",
}


def overlapping(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    segment = publisher.segment(b"0123456789" * 100)
    parts = (Extent(segment, 0, 600), Extent(segment, 400, 600))
    return [publisher.file(b"b", EVIL, size=1_200, extents=parts)]


def beyond_content(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    segment = publisher.segment(b"short")
    return [publisher.file(b"b", EVIL, size=700_000, extents=(Extent(segment, 0, 700_000),))]


def beyond_content_in_parts(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    segment = publisher.segment(b"short")
    parts = (Extent(segment, 0, 5), Extent(segment, 3, 50_000))
    return [publisher.file(b"b", EVIL, size=50_005, extents=parts)]


def nowhere(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    return [publisher.file(b"b", EVIL, extents=(Extent(SegmentId(b"\x07" * 16), 0, len(EVIL)),))]


def partly_nowhere(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    there = publisher.segment(b"x" * 60_000)
    parts = (Extent(there, 0, 60_000), Extent(SegmentId(b"\x07" * 16), 0, 60_000))
    return [publisher.file(b"b", EVIL, size=120_000, extents=parts)]


def index_as_data(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    segment = publisher.segment(EVIL, ArticleKind.INDEX)
    body = seal(publisher.keys, ArticleAddress(ArticleKind.INDEX, segment), EVIL, Compression.NONE)
    publisher.post_body(ArticleAddress(ArticleKind.DATA, segment), body)
    return [publisher.file(b"b", EVIL + b"!", extents=(Extent(segment, 0, len(EVIL)),), size=len(EVIL))]


def swapped(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    """Two articles, each under the name of the other."""
    contents = (b"one" * 100, b"two" * 100)
    ids = [SegmentId(publisher.hash_of(content)) for content in contents]
    places_ = [ArticleAddress(ArticleKind.DATA, id_) for id_ in ids]
    bodies = [
        seal(publisher.keys, here, content, Compression.NONE)
        for here, content in zip(places_, contents, strict=True)
    ]
    publisher.post_body(places_[0], bodies[1])
    publisher.post_body(places_[1], bodies[0])
    return [
        Entry(
            RelativePath(path),
            EntryKind.FILE,
            size=300,
            content_hash=publisher.hash_of(content),
            extents=(Extent(id_, 0, 300),),
        )
        for path, content, id_ in zip((b"b", b"c"), contents, ids, strict=True)
    ]


def foreign(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    """An article of another folder under a name of this one."""
    fresh = type(publisher.keys)(publisher.fingerprint, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
    content = b"another folder's"
    here = ArticleAddress(ArticleKind.DATA, SegmentId(publisher.hash_of(content)))
    theirs = SegmentId(content_hash(fresh.identity, content)[:16])
    body = seal(fresh, ArticleAddress(ArticleKind.DATA, theirs), content, Compression.NONE)
    publisher.post_body(here, body)
    extents = (Extent(SegmentId(here.id), 0, len(content)),)
    return [publisher.file(b"b", EVIL, size=len(content), extents=extents)]


def spilled(**lie: object) -> Make:
    """A huge file whose entry says something else than its pages of extents."""

    def make(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
        segment = publisher.segment(b"s" * 100)
        raw = page(extent_leaf([100] * 300, [segment], [0] * 300, [0] + [-100] * 299))
        where = publisher.page(raw)
        fields = {"count": 300, "digest": digest(0, raw), "size": 30_000} | lie
        root = fields.get("root") or where
        extents = SpilledExtents(ref_to(root), fields["count"], fields["digest"])  # type: ignore[arg-type]
        return [publisher.file(b"b", EVIL, size=fields["size"], extents=extents)]

    return make


def part_bomb(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    """Three small pages that name 134 million parts of one byte."""
    segment = publisher.segment(b"ab")
    gaps = [0] + [0 if number % 2 else -2 for number in range(1, 2_048)]
    raw = page(extent_leaf([1] * 2_048, [segment], [0] * 2_048, gaps))
    place, count, level = publisher.page(raw), 2_048, 0
    made = digest(0, raw)
    for level in (1, 2):
        records = [(count, count, made)] * 256
        raw = _wide(level, records, place)
        made = digest(level, b"".join(record(*one) for one in records))
        place, count = publisher.page(raw), count * 256
    return [publisher.file(b"b", EVIL, size=count, extents=SpilledExtents(ref_to(place), count, made))]


def _wide(level: int, records: list[tuple[int, int, bytes]], place: tuple[bytes, int, int]) -> bytes:
    """An inner page of extents all of whose branches are one page."""
    n = len(records)
    whole = {"header": header(2, level, n)}
    whole |= {"counts": column([r[0] for r in records]), "sizes": column([r[1] for r in records])}
    whole |= {"digests": b"".join(r[2] for r in records), "lengths": column([place[2]] * n)}
    whole |= places([place[0]], [0] * n, [place[1]] + [-place[2]] * (n - 1))
    return page(whole)


def disk_filler(publisher: Publisher, _: Neighbourhood) -> list[Entry]:
    """One article that is to become 800 GB or more: not sparse."""
    segment = publisher.segment(b"f" * 768_000)
    raw = page(extent_leaf([768_000] * 2_048, [segment], [0] * 2_048, [0] + [-768_000] * 2_047))
    place, count = publisher.page(raw), 2_048
    made = digest(0, raw)
    for level in (1, 2):
        records = [(count, count * 768_000, made)] * 256
        raw = _wide(level, records, place)
        made = digest(level, b"".join(record(*one) for one in records))
        place, count = publisher.page(raw), count * 256
    return [
        publisher.file(b"b", EVIL, size=count * 768_000, extents=SpilledExtents(ref_to(place), count, made))
    ]


BAD_ENTRIES: dict[str, Make] = {f"path: {name}": at(path) for name, path in BAD_PATHS.items()} | {
    "path: absolute, in the neighbourhood": lambda publisher, around: [
        publisher.file(os.fsencode(around.base / "canary"), EVIL)
    ],
    "a file below a file": lambda p, _: [p.file(b"b", EVIL), p.file(b"b/c", EVIL)],
    "a file far below a file": lambda p, _: [p.file(b"b", EVIL), p.file(b"b-", EVIL), p.file(b"b/c/d", EVIL)],
    "a folder below a file": lambda p, _: [p.file(b"b", EVIL), folder(b"b/c")],
    "a file below a link to the outside": lambda p, n: [
        link(b"b", os.fsencode(n.outside)),
        p.file(b"b/canary", EVIL),
    ],
    "a new file below a link to the outside": lambda p, n: [
        link(b"b", os.fsencode(n.outside)),
        p.file(b"b/new", EVIL),
    ],
    "a folder below a link to the outside": lambda p, n: [
        link(b"b", os.fsencode(n.outside)),
        folder(b"b/new"),
        p.file(b"b/new/file", EVIL),
    ],
    "a file below a link up": lambda p, _: [link(b"b", b".."), p.file(b"b/canary", EVIL)],
    "a file below a link to the root": lambda p, _: [
        link(b"b", b"/"),
        p.file(b"b/tmp/usenetsync-escape", EVIL),
    ],
    "a link below a link": lambda p, n: [link(b"b", os.fsencode(n.outside)), link(b"b/c", b"/")],
    "a link to itself with a file below": lambda p, _: [link(b"b", b"b"), p.file(b"b/c", EVIL)],
    "the root is a file": lambda p, _: [p.file(b"", EVIL)],
    "the root is a link": lambda p, n: [link(b"", os.fsencode(n.outside))],
    "a link with a NUL": lambda p, _: [link(b"b", b"a\0b")],
    "a link target of 4,096 bytes": lambda p, _: [link(b"b", b"t" * 4_096)],
    "another hash": lambda p, _: [p.file(b"b", EVIL, content_hash=b"\x05" * 16)],
    "overlapping parts, another hash": overlapping,
    "a part beyond the content": beyond_content,
    "one of the parts beyond the content": beyond_content_in_parts,
    "a segment that is nowhere": nowhere,
    "one of two segments nowhere": partly_nowhere,
    "an index article as data": index_as_data,
    "two articles swapped": swapped,
    "an article of another folder": foreign,
    "a size of 2^63 - 1": spilled(size=2**63 - 1),
    "a size of 0 parts less": spilled(size=29_999),
    "2^28 parts promised": spilled(count=2**28),
    "another digest of the parts": spilled(digest=b"\x06" * 16),
    "the parts' page is nowhere": spilled(root=(b"\x08" * 16, 0, 50)),
    "134 million parts": part_bomb,
    "a file larger than the disk": disk_filler,
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_a_bad_entry_is_refused_and_the_rest_restored(
    case: str, publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    bad = BAD_ENTRIES[case](publisher, around)
    entries = sorted([*clean(publisher), *bad], key=lambda entry: entry.path)
    root = publisher.index([leaf_of(entries)])
    publisher.publish(root)
    summary = restore_within_bounds(reader, publisher.access, around)
    assert 1 <= summary.failed <= len(bad)
    refused = {path for path, _ in summary.failures}
    assert refused <= {entry.path for entry in bad}
    made = names_below(around.target)
    allowed = {b"a clean", *CLEAN} | {entry.path for entry in bad if entry.path not in refused}
    assert {name for name in made if not any(path.startswith(name + b"/") for path in allowed)} <= allowed
    assert not Path("/tmp/usenetsync-escape").exists()


def test_modes_of_other_users_rights_are_dropped(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    bad = [publisher.file(b"b setuid", EVIL, mode=0o6755), folder(b"c sticky", 0o7777)]
    publisher.publish(publisher.index([leaf_of(sorted([*clean(publisher), *bad], key=lambda e: e.path))]))
    assert restore_within_bounds(reader, publisher.access, around).failed == 0
    assert stat.S_IMODE((around.target / "b setuid").stat().st_mode) == 0o755
    assert stat.S_IMODE((around.target / "c sticky").stat().st_mode) == 0o777


def test_a_link_group_of_different_contents_makes_no_links(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    group = {"link_group": b"\x01" * 8}
    bad = [publisher.file(b"b1", b"first", **group), publisher.file(b"b2", b"other", **group)]
    publisher.publish(publisher.index([leaf_of(sorted([*clean(publisher), *bad], key=lambda e: e.path))]))
    assert restore_within_bounds(reader, publisher.access, around).failed == 0
    assert (around.target / "b1").read_bytes() == b"first"
    assert (around.target / "b2").read_bytes() == b"other"


def test_links_of_a_file_that_cannot_be_made_are_files_of_their_own(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    around.target.mkdir()
    (around.target / "b1").write_text("stands there already")
    group = {"link_group": b"\x01" * 8}
    bad = [publisher.file(b"b1", b"linked", **group), publisher.file(b"b2", b"linked", **group)]
    publisher.publish(publisher.index([leaf_of(sorted([*clean(publisher), *bad], key=lambda e: e.path))]))
    summary = restore_within_bounds(reader, publisher.access, around)
    assert [path for path, _ in summary.failures] == [b"b1"]
    assert (around.target / "b1").read_text() == "stands there already"
    assert (around.target / "b2").read_bytes() == b"linked"


def test_names_that_are_only_odd_are_restored(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    odd = [
        b"b\n",
        b"b\x1b[31mred",
        b"b" * 255,
        b"b\xff\xfe",
        b"b\\..\\c",
        b"b\xe2\x80\xae",
        b"/".join([b"d"] * 128),
    ]
    # With the target before it still below PATH_MAX, so that the test can look at it by its whole path.
    odd.append((b"d" * 250 + b"/") * 14 + b"e" * 80)
    files = [publisher.file(path, EVIL) for path in odd]
    publisher.publish(publisher.index([leaf_of(sorted([*clean(publisher), *files], key=lambda e: e.path))]))
    assert restore_within_bounds(reader, publisher.access, around).failed == 0
    assert set(odd) <= names_below(around.target)


def test_links_to_anywhere_are_made_as_they_are(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    targets = [b"/", b"../..", b"/etc/passwd", b"\xff\n", b"t" * 4_095]
    links = [link(b"b%d" % number, target) for number, target in enumerate(targets)]
    publisher.publish(publisher.index([leaf_of(sorted([*clean(publisher), *links], key=lambda e: e.path))]))
    assert restore_within_bounds(reader, publisher.access, around).failed == 0
    assert [os.readlink(os.fsencode(around.target) + b"/b%d" % n) for n in range(5)] == targets
