"""The folders of the running configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.daemon.live import LiveFolders
from usenetsyncd.errors import NotFound
from usenetsyncd.model import Priority
from usenetsyncd.settings.layers import load_text
from usenetsyncd.settings.schema import Settings
from usenetsyncd.vault.vault import Vault


@pytest.fixture
def live(tmp_path: Path, clock: FakeClock) -> Iterator[LiveFolders]:
    with Catalogue.open(tmp_path / "catalogue.sqlite", clock) as catalogue:
        yield LiveFolders(catalogue, Vault.open(tmp_path / "data", {}))


def settings(*folders: str) -> Settings:
    rows = "".join(f"  - {folder}\n" for folder in folders)
    text = f"version: 1\nnewsgroups: [alt.binaries.all]\nfolders:\n{rows}" if folders else "version: 1\n"
    return load_text(text, environ={}).settings


DOCS = '{id: docs, path: /srv/docs, priority: high, redundancy: {copies: 2}, ignore: ["*.tmp"]}'
PHOTOS = "{id: photos, path: /srv/photos, newsgroups: [alt.binaries.photos]}"


def test_each_folder_has_keys_and_newsgroups_of_its_own(live: LiveFolders) -> None:
    live.load(settings(DOCS, PHOTOS))
    docs, photos = live.named("docs"), live.named("photos")
    assert docs.newsgroups == ("alt.binaries.all",)
    assert photos.newsgroups == ("alt.binaries.photos",)
    assert docs.signing.public != photos.signing.public
    assert docs.keys.identity != photos.keys.identity
    options = docs.reindex_options()
    assert (options.priority, options.copies, options.ignore) == (Priority.HIGH, 2, ("*.tmp",))
    assert live.by_row(docs.row) is docs


def test_loading_again_keeps_rows_and_keys(live: LiveFolders) -> None:
    live.load(settings(DOCS))
    before = live.named("docs")
    live.load(settings(DOCS, PHOTOS))
    after = live.named("docs")
    assert (after.row, after.keys.identity, after.signing.public) == (
        before.row,
        before.keys.identity,
        before.signing.public,
    )


def test_a_folder_that_left_is_posted_no_more_and_is_itself_when_it_comes_back(live: LiveFolders) -> None:
    live.load(settings(DOCS, PHOTOS))
    docs = live.named("docs")
    live.load(settings(PHOTOS))
    assert live.posting_of(docs.row) is None
    assert [folder.name for folder in live] == ["photos"]
    with pytest.raises(NotFound, match="photos"):
        live.named("docs")
    live.load(settings(DOCS, PHOTOS))
    again = live.named("docs")
    assert again.signing.public == docs.signing.public, "its shares must go on working"


def test_a_folder_that_cannot_be_read_now_is_a_folder_all_the_same(live: LiveFolders) -> None:
    live.load(settings("{id: away, path: /nowhere/at/all}"))
    posting = live.posting_of(live.named("away").row)
    assert posting is not None
    assert posting.root == b"/nowhere/at/all"
