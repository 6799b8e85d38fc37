"""Whatever a publisher puts into a properly signed index: nothing outside the target, the clean rest restored."""

import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.hostile import Leaf, Publisher, Reader, leaf_of, raw_leaf
from tests.vectors.page_bytes import (
    HASH,
    column,
    digest,
    extent_leaf,
    header,
    inner,
    leaf,
    page,
    paths,
    places,
    record,
    refs,
    signed,
)
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.flows.restore import RestoreSummary
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Compression,
    Entry,
    EntryKind,
    Extent,
    PageRef,
    RelativePath,
    SegmentId,
    SpilledExtents,
)
from usenetsyncd.wire.keys import name_article
from usenetsyncd.wire.seal import seal
from usenetsyncd.wire.segment import content_hash

PEAK_BYTES = 200_000_000
CLEAN = {b"a clean/file": b"clean content", b"zz clean": b"also clean"}


class Neighbourhood:
    """A target, and everything around it that must stay as it is."""

    def __init__(self, base: Path) -> None:
        self.base = base / "around"
        self.target = self.base / "target"
        self.outside = self.base / "outside"
        self.outside.mkdir(parents=True)
        (self.base / "canary").write_text("alive")
        (self.outside / "canary").write_text("alive")
        self.before = self.seen()

    def seen(self) -> dict[str, tuple[int, int, bytes]]:
        found = {}
        for here, folders, files in os.walk(self.base):
            if Path(here) == self.base and "target" in folders:
                folders.remove("target")
            for name in [*folders, *files]:
                full = Path(here, name)
                status = full.lstat()
                found[str(full)] = (
                    status.st_mode,
                    status.st_ino,
                    full.read_bytes() if full.is_file() else b"",
                )
        return found


@pytest.fixture
def around(tmp_path: Path) -> Neighbourhood:
    return Neighbourhood(tmp_path)


def clean(publisher: Publisher) -> list[Entry]:
    folder = Entry(RelativePath(b"a clean"), EntryKind.FOLDER, mode=0o755)
    return [folder, *(publisher.file(path, content) for path, content in CLEAN.items())]


def link(path: bytes, target: bytes) -> Entry:
    return Entry(RelativePath(path), EntryKind.SYMLINK, target=target, mode=0o777)


def folder(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(RelativePath(path), EntryKind.FOLDER, mode=mode)


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmHWM"))


def restore_within_bounds(reader: Reader, access: str, around: Neighbourhood) -> RestoreSummary:
    """Restore; what is promised whatever the index says is checked here."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = peak_bytes()
    summary = reader.restore(access, around.target)
    assert peak_bytes() - before < PEAK_BYTES
    assert around.seen() == around.before
    assert len(summary.failures) <= summary.failed
    for _, reason in summary.failures:
        assert reason
        assert not any(unicodedata.category(letter) == "Cc" for letter in reason), reason
    for path, content in CLEAN.items():
        assert Path(os.fsdecode(os.path.join(os.fsencode(around.target), path))).read_bytes() == content
    return summary


def names_below(target: Path) -> set[bytes]:
    base = os.fsencode(target)
    return {
        os.path.relpath(os.path.join(here, name), base)
        for here, folders, files in os.walk(base)
        for name in [*folders, *files]
    }


# -- one entry is bad ---------------------------------------------------------------------------

Make = Callable[[Publisher, Neighbourhood], list[Entry]]
EVIL = b"evil content"


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
        extents = SpilledExtents(_ref(root), fields["count"], fields["digest"])  # type: ignore[arg-type]
        return [publisher.file(b"b", EVIL, size=fields["size"], extents=extents)]

    return make


def _ref(place: tuple[bytes, int, int]) -> PageRef:
    return PageRef(SegmentId(place[0]), *place[1:])


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
    return [publisher.file(b"b", EVIL, size=count, extents=SpilledExtents(_ref(place), count, made))]


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
        publisher.file(b"b", EVIL, size=count * 768_000, extents=SpilledExtents(_ref(place), count, made))
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
    odd.append((b"d" * 250 + b"/") * 16 + b"e" * 80)
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


# -- a whole page is bad ------------------------------------------------------------------------------

MakeLeaf = Callable[[Publisher], Leaf]


def raw(sections: dict[str, bytes], lasts: tuple[bytes, ...] = (b"m",), /, **changed: bytes) -> MakeLeaf:
    return lambda _: raw_leaf(page(sections, **changed), lasts)


def stored(bytes_: bytes) -> MakeLeaf:
    return lambda _: Leaf(bytes_, b"m", (0, 1, 0, 0))


def file_leaf(**sections: bytes) -> MakeLeaf:
    one = {"flags": column([1]), "sizes": column([10]), "hashes": HASH, "extent_counts": column([0])}
    return lambda _: raw_leaf(
        page(leaf([b"m"], **(one | places([HASH], [0], [0]) | sections))), [b"m"], (1, 0, 0, 10)
    )


def cyclic(publisher: Publisher) -> Leaf:
    """A page of level 0 is promised; a page that names itself is given."""
    made = page(inner(1, [b"m"], [(0, 1, 0, 0)], [(bytes(16), 0, 40)]))
    return raw_leaf(made, [b"m"])


def lying(**changed: object) -> MakeLeaf:
    def make(_: Publisher) -> Leaf:
        honest = raw_leaf(page(leaf([b"m"])), [b"m"])
        fields = {
            "stored": honest.stored,
            "last": honest.last,
            "totals": honest.totals,
            "place": None,
        } | changed
        return Leaf(**fields)  # type: ignore[arg-type]

    return make


def in_broken_article(publisher: Publisher) -> Leaf:
    content = raw_leaf(page(leaf([b"m"])), [b"m"]).stored
    seg_id = SegmentId(publisher.hash_of(content))
    here = ArticleAddress(ArticleKind.INDEX, seg_id)
    body = bytearray(seal(publisher.keys, here, content, Compression.NONE))
    body[100] ^= 1
    publisher.post_body(here, bytes(body))
    return Leaf(content, b"m", (0, 1, 0, 0), (seg_id, 0, len(content)))


MIB_AND_MORE = b"\x28\xb5\x2f\xfd\xa0" + (1 << 31).to_bytes(4, "little") + b"\x03\0\0" + b"\0"

BAD_PAGES: dict[str, MakeLeaf] = {
    "no page at all": stored(b"this is no page"),
    "says that it has 2 GiB": stored(MIB_AND_MORE),
    "cut in the middle": lambda p: Leaf(raw_leaf(page(leaf([b"m"])), [b"m"]).stored[:-5], b"m", (0, 1, 0, 0)),
    "paths out of order": raw(leaf([b"m1", b"m"]) | paths([b"m1"]) | {"header": header(1, 0, 1)}, (b"m",)),
    "one path twice": raw(
        leaf([b"m", b"n"]), (b"m",), shared=column([0, 1]), rest_sizes=column([1, 0]), rests=b"m"
    ),
    "version 0": raw(leaf([b"m"]), header=header(1, 0, 1, version=0)),
    "a newer version": raw(leaf([b"m"]), header=header(1, 0, 1, version=2)),
    "2^32 - 1 entries": raw(leaf([b"m"]), header=header(1, 0, 2**32 - 1)),
    "no entries": raw(leaf([b"m"]), header=header(1, 0, 0)),
    "a page of extents": raw(leaf([b"m"]), header=header(2, 0, 1)),
    "level 15": raw(leaf([b"m"]), header=header(1, 15, 1)),
    "a byte too many": lambda _: raw_leaf(page(leaf([b"m"])) + b"\0", [b"m"]),
    "a path of 5,000 bytes": raw(leaf([b"m" * 5_000]), (b"m" * 4_000,)),
    "kind 0": raw(leaf([b"m"]), flags=column([0])),
    "a flag of the future": raw(leaf([b"m"]), flags=column([0x82])),
    "mode 0177777": raw(leaf([b"m"]), modes=column([0o177777])),
    "a time beyond 64 bits": raw(leaf([b"m"]), seconds=signed([2**62])),
    "a link target of 5,000 bytes": raw(
        leaf([b"m"]), flags=column([3]), target_sizes=column([5_000]), targets=b"t" * 5_000
    ),
    "a link to nothing": raw(leaf([b"m"]), flags=column([3]), target_sizes=column([0])),
    "a size of 2^63": file_leaf(sizes=column([2**63])),
    "a size beyond its one part": file_leaf(sizes=column([2**62])),
    "a part beyond its segment": file_leaf(**places([HASH], [0], [768_000])),
    "a part before its segment": file_leaf(**places([HASH], [0], [-1])),
    "300 parts in an entry": file_leaf(extent_counts=column([299]), extent_lengths=column([1] * 299)),
    "2^60 parts in an entry": file_leaf(extent_counts=column([2**60])),
    "a missing segment of the table": file_leaf(steps=signed([1])),
    "200,000 bytes of attributes": raw(
        leaf([b"m"]),
        flags=column([0x22]),
        xattr_counts=column([0]),
        name_sizes=column([6]),
        value_sizes=column([200_000]),
        names=b"user.a",
        values=bytes(200_000),
    ),
    "itself below itself": cyclic,
    "more entries promised": lying(totals=(0, 2, 0, 0)),
    "2^63 bytes promised": lying(totals=(0, 1, 0, 2**63)),
    "2^64 - 1 files promised": lying(totals=(2**64 - 1, 1, 0, 0)),
    "another last path promised": lying(last=b"n"),
    "an article that is nowhere": lying(place=(b"\x0a" * 16, 0, 100)),
    "beyond the end of its article": lying(place=(bytes(16), 700_000, 100)),
    "an article that does not open": in_broken_article,
    "refs of nothing": raw(leaf([b"m"]), **refs([(HASH, 0, 5)])),
}


@pytest.mark.parametrize("case", BAD_PAGES)
def test_a_bad_page_loses_its_entries_and_no_others(
    case: str, publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    before, inside, after = clean(publisher)
    bad = BAD_PAGES[case](publisher)
    publisher.publish(publisher.index([leaf_of([before, inside]), bad, leaf_of([after])]))
    summary = restore_within_bounds(reader, publisher.access, around)
    assert summary.failed >= 1
    ((path, reason),) = summary.failures
    assert path == bad.last
    assert "lost with a page of the index" in reason
    assert names_below(around.target) == {b"a clean", *CLEAN}


def test_hundreds_of_branches_of_one_lost_article_ask_for_it_once(
    server: LoopbackServer, publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    before, inside, after = clean(publisher)
    lost = [Leaf(b"", b"m%04d" % n, (1, 1, 1, 1), (b"\x0a" * 16, 100 * n, 100)) for n in range(900)]
    publisher.publish(publisher.index([leaf_of([before, inside]), *lost, leaf_of([after])]))
    asked = server.counters.commands["BODY"]
    summary = restore_within_bounds(reader, publisher.access, around)
    assert summary.failed == 2_700
    assert len(summary.failures) == 900
    assert server.counters.commands["BODY"] - asked < 20


def test_one_page_in_hundreds_of_branches_is_read_where_it_belongs_only(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    before, inside, after = clean(publisher)
    segment, offset, length = publisher.page(page(leaf([b"m0000"])))
    again = [Leaf(b"", b"m%04d" % n, (0, 1, 0, 0), (segment, offset, length)) for n in range(900)]
    publisher.publish(publisher.index([leaf_of([before, inside]), *again, leaf_of([after])]))
    summary = restore_within_bounds(reader, publisher.access, around)
    assert summary.failed == 899
    assert names_below(around.target) == {b"a clean", b"m0000", *CLEAN}


@pytest.mark.parametrize("case", ["nowhere", "no page", "cut"])
def test_without_a_root_page_the_restore_says_so(
    case: str, publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    root = publisher.index([leaf_of(clean(publisher))])
    if case == "nowhere":
        root = PageRef(SegmentId(b"\x0b" * 16), 0, 100)
    elif case == "no page":
        root = PageRef(publisher.segment(b"no page at all", ArticleKind.INDEX), 0, 14)
    else:
        root = PageRef(root.segment, root.offset, root.length - 3)
    publisher.publish(root)
    with pytest.raises(UsenetSyncError) as caught:
        reader.restore(publisher.access, around.target)
    assert str(caught.value)
    assert around.seen() == around.before


@pytest.mark.parametrize("damage", ["flip", "cut", "wrong", "empty"])
def test_an_article_damaged_on_the_server_costs_one_file(
    damage: str, server: LoopbackServer, publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    entries = [*clean(publisher), publisher.file(b"zzz", b"to be damaged" * 100)]
    publisher.publish(publisher.index([leaf_of(entries)]))
    extent = entries[-1].extents[0]  # type: ignore[index]
    at_ = ArticleAddress(ArticleKind.DATA, extent.segment)
    message_id = name_article(publisher.keys.location, at_).message_id
    if damage != "empty":
        server.corrupt(message_id, damage)
    else:
        server.spool.replace(message_id, b"From: x\r\nSubject: y\r\n\r\n")
    summary = restore_within_bounds(reader, publisher.access, around)
    assert [path for path, _ in summary.failures] == [b"zzz"]


def test_a_root_that_claims_all_sums_is_no_overflow(
    publisher: Publisher, reader: Reader, around: Neighbourhood
) -> None:
    huge = [
        publisher.file(b"b%d" % n, EVIL, size=2**63 - 1 >> n, sparse=True, extents=_far(publisher))
        for n in range(2)
    ]
    publisher.publish(publisher.index([leaf_of(sorted([*clean(publisher), *huge], key=lambda e: e.path))]))
    assert restore_within_bounds(reader, publisher.access, around).failed == 2


def _far(publisher: Publisher) -> SpilledExtents:
    return SpilledExtents(_ref((b"\x0c" * 16, 0, 10)), 300, b"\x01" * 16)  # type: ignore[arg-type]
