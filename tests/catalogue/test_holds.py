"""What the deletion guard counts, and what it remembers."""

from pathlib import Path

import pytest

from tests.catalogue.making import batch, directory, file, post_all
from tests.catalogue.test_versions import publish
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.holds import HoldRow, Losses

NAMES = [b"a", b"b", b"c", b"d"]


@pytest.fixture
def published(catalogue: Catalogue, docs: int) -> int:
    """A folder of four files, each of its own content, in sub and published."""
    files = [file(name, content=name.decode()) for name in NAMES]
    catalogue.scan.store(batch(docs, directory(b""), directory(b"sub", *files))).result()
    post_all(catalogue)
    publish(catalogue, docs)
    return docs


def test_a_new_folder_has_nothing_to_lose(catalogue: Catalogue, docs: int) -> None:
    catalogue.scan.store(batch(docs, directory(b"", file(b"a")))).result()
    assert catalogue.holds.losses(docs) == Losses(0, 0)


def test_files_that_go_are_deleted_and_files_with_other_content_changed(
    catalogue: Catalogue, published: int
) -> None:
    other = file(b"c", content="other")
    catalogue.scan.store(batch(published, directory(b"sub", other, deletes=(b"a", b"b")))).result()
    assert catalogue.holds.losses(published) == Losses(2, 1)
    assert catalogue.holds.first_paths(published, 1) == ([b"sub/a"], [b"sub/c"])


def test_a_folder_that_goes_takes_all_its_files(catalogue: Catalogue, published: int) -> None:
    catalogue.scan.store(batch(published, removed=(b"sub",))).result()
    assert catalogue.holds.losses(published) == Losses(4, 0)


def test_a_move_deletes_nothing(catalogue: Catalogue, published: int) -> None:
    files = [file(name, content=name.decode()) for name in NAMES]
    catalogue.scan.store(batch(published, directory(b"moved", *files), removed=(b"sub",))).result()
    assert catalogue.holds.losses(published) == Losses(0, 0)


def test_other_permissions_and_new_files_change_nothing(catalogue: Catalogue, published: int) -> None:
    files = [file(name, content=name.decode(), mode=0o600) for name in NAMES]
    new = [file(b"n%d" % number, content=f"new {number}") for number in range(9)]
    catalogue.scan.store(batch(published, directory(b"sub", *files, *new))).result()
    assert catalogue.holds.losses(published) == Losses(0, 0)


def test_what_comes_back_as_it_was_is_no_loss_and_what_comes_back_otherwise_is(
    catalogue: Catalogue, published: int
) -> None:
    catalogue.scan.store(batch(published, removed=(b"sub",))).result()
    back = [file(b"a", content="a"), file(b"b", content="encrypted")]
    catalogue.scan.store(batch(published, directory(b"sub", *back))).result()
    assert catalogue.holds.losses(published) == Losses(2, 1)


def test_a_path_counts_from_the_newest_version_on(catalogue: Catalogue, published: int) -> None:
    catalogue.scan.store(batch(published, directory(b"sub", file(b"a", content="second")))).result()
    post_all(catalogue)
    publish(catalogue, published)
    assert catalogue.holds.losses(published) == Losses(0, 0)
    catalogue.scan.store(batch(published, directory(b"sub", file(b"a", content="a")))).result()
    assert catalogue.holds.losses(published) == Losses(0, 1)


def test_a_hold_outlives_the_process_and_is_told_once(tmp_path: Path, clock: FakeClock) -> None:
    with Catalogue.open(tmp_path / "held.db", clock) as catalogue:
        folder = catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
        assert catalogue.holds.get(folder) == HoldRow()
        assert catalogue.holds.hold(folder, "losses", "all gone")
        assert not catalogue.holds.hold(folder, "losses", "all gone, and more")
    with Catalogue.open(tmp_path / "held.db", clock) as catalogue:
        assert catalogue.folders.by_id(folder).reason == "all gone, and more"
        assert catalogue.holds.get(folder).cause == "losses"
        assert not catalogue.holds.lift(folder, "root")
        assert catalogue.folders.by_id(folder).held
        assert catalogue.holds.lift(folder, "losses")
        assert not catalogue.folders.by_id(folder).held


def test_what_was_accepted_does_not_count_again(catalogue: Catalogue, published: int) -> None:
    catalogue.scan.store(batch(published, removed=(b"sub",))).result()
    catalogue.holds.hold(published, "losses", "all gone")
    catalogue.holds.accept(published).result()
    assert catalogue.holds.losses(published) == Losses(0, 0)
    assert catalogue.holds.get(published).files == 0
    assert not catalogue.folders.by_id(published).held


def test_files_of_an_hour_ago_are_those_of_the_version_that_was_the_newest_then(
    catalogue: Catalogue, published: int, clock: FakeClock
) -> None:
    began = clock.now()
    assert catalogue.holds.files_before(published, began + 1, 0.0) == 1  # as the head of these tests says
    assert catalogue.holds.files_before(published, began - 1, 0.0) == 1, "the oldest there is"
    assert catalogue.holds.files_before(published, began + 1, began + 1) is None
