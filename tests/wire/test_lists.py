"""Lists of stripes and overrides: what is appended is read again, and pages that are full stay where they are."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, MessageId, PageRef, SegmentId
from usenetsyncd.wire.columns import PageReader, compress_page
from usenetsyncd.wire.overrides import FULL_OVERRIDES, OVERRIDES, Override, can_override, sorted_overrides
from usenetsyncd.wire.page_lists import ListFormat
from usenetsyncd.wire.segments_out import IndexSegments
from usenetsyncd.wire.stripes import FULL_STRIPES, STRIPES, Member, Stripe

ids = st.binary(min_size=16, max_size=16).map(SegmentId)
members = st.builds(Member, ids, st.integers(1, SEGMENT_SIZE_BYTES))
stripes = st.builds(
    lambda data, parity: Stripe(tuple(data), tuple(parity)),
    st.lists(members, min_size=1, max_size=6, unique_by=lambda member: member.segment),
    st.lists(ids, min_size=1, max_size=3),
)
addresses = st.builds(
    ArticleAddress,
    st.sampled_from([ArticleKind.DATA, ArticleKind.INDEX, ArticleKind.PARITY]),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 255),
    st.integers(0, 65_535),
)
letters = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="<>")
message_ids = st.text(letters, min_size=1, max_size=248).map(lambda text: MessageId(f"<{text}>"))
overrides = st.builds(Override, addresses, message_ids)


class Store:
    """Index segments, by ids counted up, and how many pages were loaded."""

    def __init__(self) -> None:
        self.segments: dict[SegmentId, bytes] = {}
        self.loads = 0

    def keep(self, content: bytes) -> SegmentId:
        identity = SegmentId((len(self.segments) + 1).to_bytes(16, "big"))
        self.segments[identity] = content
        return identity

    def load(self, ref: PageRef) -> bytes:
        self.loads += 1
        return self.segments[ref.segment][ref.offset : ref.offset + ref.length]

    def append(self, kind: ListFormat[Any], root: PageRef | None, rows: Sequence[Any]) -> PageRef | None:
        out = IndexSegments(self.keep)
        made = kind.append(root, rows, self.load, out)
        out.finish()
        return None if made is None else out.absolute(made)


@settings(deadline=None)
@given(st.lists(st.lists(stripes, max_size=40), max_size=6))
def test_stripes_are_read_in_the_order_in_which_they_were_added(parts: list[list[Stripe]]) -> None:
    store, root = Store(), None
    for part in parts:
        root = store.append(STRIPES, root, part)
    assert list(STRIPES.read(root, store.load)) == [stripe for part in parts for stripe in part]


@settings(deadline=None)
@given(st.lists(st.lists(overrides, max_size=40), max_size=6))
def test_of_two_overrides_for_one_address_the_later_counts(parts: list[list[Override]]) -> None:
    store, root = Store(), None
    for part in parts:
        root = store.append(OVERRIDES, root, part)
    read = {override.at: override.message_id for override in OVERRIDES.read(root, store.load)}
    assert read == {override.at: override.message_id for part in parts for override in part}


def some_stripes(count: int, seed: int = 0) -> list[Stripe]:
    chance = random.Random(seed)
    return [
        Stripe(
            tuple(Member(SegmentId(chance.randbytes(16)), SEGMENT_SIZE_BYTES) for _ in range(20)),
            (SegmentId(chance.randbytes(16)), SegmentId(chance.randbytes(16))),
        )
        for _ in range(count)
    ]


def test_an_append_writes_the_last_page_and_the_root_and_no_other() -> None:
    store = Store()
    root = store.append(STRIPES, None, some_stripes(5 * FULL_STRIPES + 3))
    assert root is not None
    before = STRIPES.open_root(root, store.load)
    assert [branch.count for branch in before] == [FULL_STRIPES] * 5 + [3]
    store.loads = 0
    after_root = store.append(STRIPES, root, some_stripes(2, seed=1))
    assert store.loads == 2  # the root page and the page that is filled up
    assert after_root is not None
    after = STRIPES.open_root(after_root, store.load)
    assert after[:5] == before[:5]
    assert after[5].count == 5
    written = list(store.segments.values())[-1]
    assert len(written) < 5 * 22 * 16 + 1_000


def test_nothing_added_is_nothing_written() -> None:
    store = Store()
    root = store.append(STRIPES, None, some_stripes(1))
    assert store.append(STRIPES, root, []) == root
    assert store.append(OVERRIDES, None, []) is None
    assert len(store.segments) == 1


def test_a_page_of_stripes_costs_little_more_than_its_ids() -> None:
    raw = STRIPES.encode_rows(some_stripes(FULL_STRIPES))
    assert len(compress_page(raw)) < FULL_STRIPES * 22 * 16 * 1.01


def test_a_full_page_of_overrides_is_the_last_to_be_touched() -> None:
    store = Store()
    chance = random.Random(2)
    rows = [
        Override(ArticleAddress(ArticleKind.DATA, chance.randbytes(16)), MessageId(f"<{n}@news.example>"))
        for n in range(FULL_OVERRIDES + 5)
    ]
    root = store.append(OVERRIDES, None, rows)
    assert root is not None
    assert [branch.count for branch in OVERRIDES.open_root(root, store.load)] == [FULL_OVERRIDES, 5]
    assert sorted_overrides(OVERRIDES.read(root, store.load)) == sorted_overrides(rows)


@pytest.mark.parametrize(
    "stripe",
    [
        Stripe((), (SegmentId(bytes(16)),)),
        Stripe((Member(SegmentId(b"m" * 16), 5),), ()),
        Stripe((Member(SegmentId(b"m" * 16), 0),), (SegmentId(bytes(16)),)),
        Stripe((Member(SegmentId(b"m" * 16), SEGMENT_SIZE_BYTES + 1),), (SegmentId(bytes(16)),)),
        Stripe((Member(SegmentId(b"m" * 15), 5),), (SegmentId(bytes(16)),)),
        Stripe((Member(SegmentId(b"m" * 16), 5),) * 2, (SegmentId(bytes(16)),)),
        Stripe((Member(SegmentId(b"m" * 16), 5),), (SegmentId(bytes(16)),) * 129),
    ],
)
def test_a_stripe_that_nobody_may_read_is_not_written(stripe: Stripe) -> None:
    with pytest.raises(FormatError):
        STRIPES.encode_rows([stripe])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ArticleKind.HEAD, "<a@b>"),
        (ArticleKind.DATA, "<a@b>\r\nQUIT"),
        (ArticleKind.DATA, "<>"),
        (ArticleKind.DATA, "a@b"),
        (ArticleKind.DATA, "<a b>"),
        (ArticleKind.DATA, "<\u00e9@b>"),
        (ArticleKind.DATA, "<" + "x" * 249 + ">"),
    ],
)
def test_an_override_that_nobody_may_read_is_not_written(kind: ArticleKind, name: str) -> None:
    override = Override(ArticleAddress(kind, bytes(16)), MessageId(name))
    assert not can_override(override)
    with pytest.raises(FormatError):
        OVERRIDES.encode_rows([override])


@settings(deadline=None)
@given(st.data())
def test_a_changed_page_is_refused_or_keeps_the_rules(data: st.DataObject) -> None:
    kind, rows = data.draw(
        st.sampled_from([(STRIPES, stripes), (OVERRIDES, overrides)]).flatmap(
            lambda pair: st.tuples(st.just(pair[0]), st.lists(pair[1], min_size=1, max_size=5))
        )
    )
    raw = bytearray(kind.encode_rows(kind.arrange(rows)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        page = PageReader(bytes(raw))
        read = kind.decode_rows(page)
    except FormatError:
        return
    # The header's tree and level are for the one who follows a reference to judge.
    assert kind.encode_rows(read)[8:] == bytes(raw)[8:]


def test_a_list_longer_than_any_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usenetsyncd.wire.page_lists.MAX_LEAVES", 2)
    store = Store()
    with pytest.raises(LimitExceeded):
        store.append(STRIPES, None, some_stripes(2 * FULL_STRIPES + 1))
