"""What moves inside a folder is posted once, in whatever order its scans see it leave and come."""

import os
import shutil

import pytest

from tests.flows.workshop import Workshop
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.flows.departures import Departures
from usenetsyncd.model import ArticleKind

LARGE = 2 * 768_000 + 9_000  # two slices, and a tail that is packed with others


@pytest.fixture
def moving(shop: Workshop) -> Workshop:
    """Two folders, 1,000 files in the first, a large one and a folder among them; all of it published."""
    shop.fill("one", 900, seed=1)
    shop.fill("one/below/deep", 100, seed=2)
    shop.write("one/large", os.urandom(LARGE))
    shop.write("two/there", b"there before")
    shop.commit()
    return shop


def move_all(shop: Workshop) -> None:
    for path in (shop.root / "one").iterdir():
        path.rename(shop.root / "two" / path.name)


def assert_nothing_new(shop: Workshop, posted: int) -> None:
    shop.flush()
    assert shop.articles(ArticleState.QUEUED, ArticleKind.DATA) == []
    assert shop.posted(ArticleKind.DATA) == posted
    index = shop.index(shop.publish())
    assert sum(path.startswith(b"two/") and entry.size > 0 for path, entry in index.items()) == 1_002
    shop.assert_sound()


@pytest.mark.parametrize("parts", [(b"one", b"two"), (b"two", b"one"), (b"one", b"one/below", b"two")])
def test_files_moved_between_the_scans_of_two_parts_keep_their_segments(
    moving: Workshop, parts: tuple[bytes, ...]
) -> None:
    posted = moving.posted(ArticleKind.DATA)
    departures = Departures()
    move_all(moving)
    for part in parts:
        moving.scan([part], departures=departures)
    assert_nothing_new(moving, posted)


def test_files_moved_into_a_folder_that_the_same_scan_sees_later_keep_their_segments(
    moving: Workshop,
) -> None:
    posted = moving.posted(ArticleKind.DATA)
    move_all(moving)
    moving.scan()
    assert_nothing_new(moving, posted)


def test_a_folder_that_left_and_comes_back_later_keeps_its_segments(moving: Workshop) -> None:
    posted = moving.posted(ArticleKind.DATA)
    departures = Departures()
    (moving.root / "one").rename(moving.place / "aside")
    moving.scan([b""], departures=departures)
    moving.publish()
    for path in (moving.place / "aside").iterdir():
        path.rename(moving.root / "two" / path.name)
    moving.scan([b"two"], departures=departures)
    assert_nothing_new(moving, posted)


def test_what_left_is_new_when_its_segment_was_given_up(shop: Workshop) -> None:
    departures = Departures()
    shop.write("empty", b"")
    shop.fill("one", 20, seed=1)
    shop.scan()
    (segment,) = shop.articles(ArticleState.QUEUED, ArticleKind.DATA)
    shutil.copytree(shop.root / "one", shop.place / "aside")
    shutil.rmtree(shop.root / "one")
    shop.scan(departures=departures)
    shop.post_all()
    assert shop.articles(ArticleState.ABANDONED) != []
    (shop.place / "aside").rename(shop.root / "two")
    shop.scan(departures=departures)
    shop.post_all()
    (again,) = shop.articles(ArticleState.POSTED, ArticleKind.DATA)
    assert len(shop.content_on_server(again)) == segment.length


def test_only_the_newest_contents_are_remembered_each_for_its_folder() -> None:
    departures = Departures(remembered=3)
    for number in range(5):
        departures.note(1, {b"hash %d" % number: [(b"s" * 16, number, 2**31), (b"t" * 16, 2**40, 1)]})
    departures.note(1, {b"hash 2": [(b"u" * 16, 0, 7)]})
    departures.note(1, {b"hash 5": []})
    asked = [b"hash %d" % number for number in range(6)]
    assert departures.find(1, asked) == {
        b"hash 2": [(b"u" * 16, 0, 7)],
        b"hash 4": [(b"s" * 16, 4, 2**31), (b"t" * 16, 2**40, 1)],
        b"hash 5": [],
    }
    assert departures.find(2, asked) == {}
