"""Whatever pages a publisher signs: those that are bad lose their entries, the others are restored."""

from collections.abc import Callable

import pytest

from tests.flows.hostile import Leaf, Publisher, Reader, leaf_of, raw_leaf
from tests.flows.neighbourhood import (
    CLEAN,
    EVIL,
    Neighbourhood,
    clean,
    names_below,
    ref_to,
    restore_within_bounds,
)
from tests.vectors.page_bytes import (
    HASH,
    column,
    header,
    inner,
    leaf,
    page,
    paths,
    places,
    refs,
    signed,
)
from usenetsyncd.errors import UsenetSyncError
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Compression,
    PageRef,
    SegmentId,
    SpilledExtents,
)
from usenetsyncd.wire.keys import name_article
from usenetsyncd.wire.seal import seal

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
    return SpilledExtents(ref_to((b"\x0c" * 16, 0, 10)), 300, b"\x01" * 16)  # type: ignore[arg-type]
