"""Directories page by page: names in order, deeper ones jumped over, however many there are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalogue.making import batch, directory, file
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.model import RelativePath

NAME = (
    st.text(st.sampled_from("abz0-. /\xff"), min_size=1, max_size=3)
    .map(str.encode)
    .filter(lambda n: b"/" not in n)
)
TREE = st.sets(st.lists(NAME, min_size=1, max_size=4).map(b"/".join), max_size=25)


@pytest.fixture
def catalogue(tmp_path: Path, clock: FakeClock) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "catalogue.sqlite", clock) as opened:
        yield opened


def everything(catalogue: Catalogue, row: int, path: bytes, limit: int) -> list[bytes]:
    names: list[bytes] = []
    after = None
    while True:
        page = catalogue.listing.page(row, RelativePath(path), after, limit)
        assert len(page.rows) <= limit
        names += [entry.name for entry in page.rows]
        after = page.next
        if after is None:
            return names


def test_directories_come_first_then_files_both_by_name(catalogue: Catalogue) -> None:
    row = catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
    tree = [
        directory(b"", file(b"b"), file(b"a", "y")),
        directory(b"x"),
        directory(b"x-y", file(b"other", "z")),
        directory(b"x/deep"),
        directory(b"x/deep/er"),
        directory(b"w/alone"),
        directory(b"w"),
    ]
    catalogue.scan.store(batch(row, *tree)).result()
    for limit in (1, 2, 3, 100):
        assert everything(catalogue, row, b"", limit) == [b"w", b"x", b"x-y", b"a", b"b"]
        assert everything(catalogue, row, b"x", limit) == [b"deep"]
        assert everything(catalogue, row, b"x-y", limit) == [b"other"]
    (entry,) = catalogue.listing.page(row, RelativePath(b"x-y")).rows
    assert (entry.size, entry.mtime_ns) == (10, 1_000)


@given(TREE, st.integers(1, 4))
def test_any_tree_is_listed_whole(
    tmp_path_factory: pytest.TempPathFactory, paths: set[bytes], limit: int
) -> None:
    known = {b""}
    for path in paths:
        parts = path.split(b"/")
        known |= {b"/".join(parts[:number]) for number in range(1, len(parts) + 1)}
    with Catalogue.open(tmp_path_factory.mktemp("tree") / "c.sqlite") as catalogue:
        row = catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
        catalogue.scan.store(batch(row, *(directory(path) for path in sorted(known)))).result()
        for path in known:
            depth, below = (path.count(b"/") + 1, path + b"/") if path else (0, b"")
            children = sorted(
                p[len(below) :] for p in known if p and p.startswith(below) and p.count(b"/") == depth
            )
            assert everything(catalogue, row, path, limit) == children


def test_what_no_scan_saw_and_strange_cursors_are_refused(catalogue: Catalogue) -> None:
    row = catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
    with pytest.raises(NotFound):
        catalogue.listing.page(row, RelativePath(b"nowhere"))
    catalogue.scan.store(batch(row, directory(b""))).result()
    with pytest.raises(UsageError, match="cursor"):
        catalogue.listing.page(row, RelativePath(b""), "WzFd")
