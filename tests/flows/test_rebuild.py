"""Lists of stripes that lie, and what a reader makes of them: nothing that is not what its id says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.flows.hostile import Leaf, Publisher, Reader, leaf_of
from tests.vectors.lists import root_page, stripe_page
from tests.vectors.page_bytes import SELF, column, page
from usenetsyncd.flows import listed
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.flows.listed import ListedStripes
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ArticleAddress, ArticleKind, PageRef, SegmentId
from usenetsyncd.wire.columns import compress_page
from usenetsyncd.wire.keys import message_id_of
from usenetsyncd.wire.parity import encode_parity
from usenetsyncd.wire.segments_out import IndexSegments
from usenetsyncd.wire.stripes import STRIPES, Member, Stripe

CONTENTS = [Random(number).randbytes(2_000 + number) for number in range(5)]
ABSENT = SegmentId(b"\xee" * 16)


def post_list(publisher: Publisher, stripes: list[Stripe]) -> PageRef | None:
    """An honest list of whatever stripes."""
    out = IndexSegments(lambda content: publisher.segment(content, ArticleKind.INDEX))
    root = STRIPES.append(None, stripes, lambda ref: b"", out)
    out.finish()
    return None if root is None else out.absolute(root)


def raw_list(publisher: Publisher, root: bytes, *leaves: bytes) -> PageRef:
    """Pages of any bytes in one segment, the root page last."""
    stored = [compress_page(leaf) for leaf in leaves]
    top = compress_page(root)
    segment = publisher.segment(b"".join(stored) + top, ArticleKind.INDEX)
    return PageRef(segment, sum(map(len, stored)), len(top))


class Folder:
    """Five files of a segment each, one parity segment, and the first file's article gone."""

    def __init__(self, publisher: Publisher, server: LoopbackServer) -> None:
        self.publisher = publisher
        self.entries = [publisher.file(b"f%d" % number, content) for number, content in enumerate(CONTENTS)]
        self.ids = [entry.extents[0].segment for entry in self.entries]  # type: ignore[index]
        self.parity = publisher.segment(encode_parity(CONTENTS, 1)[0], ArticleKind.PARITY)
        members = [Member(segment, len(content)) for segment, content in zip(self.ids, CONTENTS, strict=True)]
        self.stripe = Stripe(tuple(members), (self.parity,))
        self.server = server

    def lose(self, kind: ArticleKind = ArticleKind.DATA, number: int = 0) -> None:
        seg_id = self.ids[number] if kind is ArticleKind.DATA else self.parity
        self.server.remove(message_id_of(self.publisher.keys.location, ArticleAddress(kind, seg_id)))

    def publish(self, stripes: PageRef | None) -> str:
        leaf: Leaf = leaf_of(self.entries)
        root = self.publisher.index([leaf])
        self.publisher.post_envelope(1, self.publisher.envelope())
        totals = {"files": 5, "bytes_total": sum(map(len, CONTENTS))}
        self.publisher.post_head(1, self.publisher.head(1, root, stripes=stripes, **totals))
        return self.publisher.access


@pytest.fixture
def folder(publisher: Publisher, server: LoopbackServer) -> Folder:
    return Folder(publisher, server)


def assert_all_but_the_first(target: Path) -> None:
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        f"f{number}": content for number, content in enumerate(CONTENTS) if number
    }


def test_an_honest_stripe_gives_the_lost_file_back(folder: Folder, reader: Reader, tmp_path: Path) -> None:
    folder.lose()
    access = folder.publish(post_list(folder.publisher, [folder.stripe]))
    assert reader.restore(access, tmp_path / "back").failed == 0
    assert (tmp_path / "back" / "f0").read_bytes() == CONTENTS[0]
    assert sorted(path.name for path in reader.work.iterdir()) == []


def test_without_the_last_member_that_is_needed_only_the_lost_file_is_missing(
    folder: Folder, reader: Reader, tmp_path: Path
) -> None:
    folder.lose()
    folder.lose(ArticleKind.PARITY)
    access = folder.publish(post_list(folder.publisher, [folder.stripe]))
    assert reader.restore(access, tmp_path / "back").failed == 1
    assert_all_but_the_first(tmp_path / "back")


LIES: dict[str, Callable[[Stripe], Stripe]] = {
    "members in another order": lambda s: replace(s, members=(s.members[0], *reversed(s.members[1:]))),
    "another length of the lost member": lambda s: replace(
        s, members=(Member(s.members[0].segment, 1_999), *s.members[1:])
    ),
    "a lost member longer than the parity": lambda s: replace(
        s, members=(Member(s.members[0].segment, 768_000), *s.members[1:])
    ),
    "another length of a member that is there": lambda s: replace(
        s, members=(s.members[0], Member(s.members[1].segment, 7), *s.members[2:])
    ),
    "parity that is data": lambda s: replace(s, parity=(s.members[1].segment,)),
    "parity that is not there": lambda s: replace(s, parity=(ABSENT,)),
    "a member too few": lambda s: replace(s, members=s.members[:4]),
    "the lost segment as its own parity": lambda s: replace(s, parity=(s.members[0].segment,)),
    "the lost segment alone": lambda s: replace(s, members=s.members[:1]),
    "a member that is not there": lambda s: replace(s, members=(*s.members[:4], Member(ABSENT, 2_004))),
    "a hundred parity segments that are one": lambda s: replace(
        s, members=(s.members[0], *(Member(SegmentId(bytes((n,)) * 16), 9) for n in range(1, 100))),
        parity=s.parity * 100,
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_stripe_that_lies_of_its_members_gives_nothing(
    lie: str, folder: Folder, reader: Reader, tmp_path: Path
) -> None:
    folder.lose()
    access = folder.publish(post_list(folder.publisher, [LIES[lie](folder.stripe)]))
    assert reader.restore(access, tmp_path / "back").failed == 1
    assert_all_but_the_first(tmp_path / "back")


def _cycle(publisher: Publisher) -> PageRef:
    """A root page whose one page is a root page."""
    inner = compress_page(page(root_page(3, [1], [(ABSENT, 0, 9)])))
    return raw_list(
        publisher, page(root_page(3, [1], [(SELF, 0, len(inner))])), page(root_page(3, [1], [(ABSENT, 0, 9)]))
    )


def _many(publisher: Publisher) -> PageRef:
    """Ten thousand pages that are nowhere."""
    below = [(ABSENT, 10 * at, 9) for at in range(10_000)]
    return raw_list(publisher, page(root_page(3, [1] * 10_000, below)))


def _greedy(publisher: Publisher) -> PageRef:
    """A page that promises more members than any page can have."""
    stripes = stripe_page([([(ABSENT, 1)], [ABSENT])])
    leaf = page(stripes, data=column([2**40]))
    return raw_list(publisher, page(root_page(3, [1], [(SELF, 0, len(compress_page(leaf)))])), leaf)


BROKEN: dict[str, Callable[[Publisher], PageRef]] = {
    "a list that is not there": lambda _: PageRef(ABSENT, 0, 100),
    "a list that is noise": lambda p: PageRef(p.segment(b"noise" * 100, ArticleKind.INDEX), 0, 500),
    "a list below itself": _cycle,
    "ten thousand pages that are nowhere": _many,
    "a page of 2^40 members": _greedy,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_list_costs_what_it_would_have_given_and_no_more(
    what: str, folder: Folder, reader: Reader, tmp_path: Path
) -> None:
    folder.lose()
    access = folder.publish(BROKEN[what](folder.publisher))
    assert reader.restore(access, tmp_path / "back").failed == 1
    assert_all_but_the_first(tmp_path / "back")


def test_a_lost_page_of_a_list_costs_its_own_stripes_only(
    folder: Folder, publisher: Publisher, tmp_path: Path
) -> None:
    first = compress_page(STRIPES.encode_rows([folder.stripe]))
    segment = publisher.segment(first, ArticleKind.INDEX)
    below = [(ABSENT, 0, 9), (segment, 0, len(first))]
    root = raw_list(publisher, page(root_page(3, [128, 1], below)))
    stripes = ListedStripes(root, IndexReader(publisher.news, (publisher.keys,)).load, tmp_path / "scratch")
    assert stripes.stripe_of(folder.ids[3]) == folder.stripe
    assert stripes.stripe_of(folder.parity) == folder.stripe
    assert stripes.stripe_of(ABSENT) is None
    stripes.close()
    assert not (tmp_path / "scratch").exists()


def test_no_more_rows_are_kept_than_a_list_may_have(
    folder: Folder, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed, "ROWS_MAX", 3)
    root = post_list(publisher, [folder.stripe])
    stripes = ListedStripes(root, IndexReader(publisher.news, (publisher.keys,)).load, tmp_path / "scratch")
    assert [stripes.stripe_of(segment) is not None for segment in folder.ids] == [True] * 3 + [False] * 2
    stripes.close()
