"""Opening: damage, modes, readers."""

import hashlib
import threading
from pathlib import Path

import pytest

from tests.catalogue.making import batch, directory, file
from usenetsyncd.catalogue import database
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.errors import CatalogueDamaged, CatalogueError


def filled(path: Path) -> None:
    with Catalogue.open(path) as catalogue:
        folder = catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
        files = [file(b"file-%04d" % number, f"content {number}") for number in range(2_000)]
        catalogue.scan.store(batch(folder, directory(b"", *files))).result()


def test_a_file_of_garbage_is_refused_as_damaged_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"this is no database at all" * 400)
    with pytest.raises(CatalogueDamaged, match="restore a catalogue backup"):
        Catalogue.open(path)
    assert path.read_bytes() == b"this is no database at all" * 400


@pytest.mark.parametrize("page", [3, 20, 60])
def test_a_page_overwritten_on_disk_is_found_when_opening(tmp_path: Path, page: int) -> None:
    path = tmp_path / "catalogue.db"
    filled(path)
    content = bytearray(path.read_bytes())
    content[page * 4096 : page * 4096 + 4096] = hashlib.sha256(b"noise").digest() * 128
    path.write_bytes(content)
    with pytest.raises(CatalogueDamaged):
        Catalogue.open(path)
    assert path.read_bytes() == content


def test_a_truncated_file_is_found_when_opening(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    filled(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CatalogueDamaged):
        Catalogue.open(path)


def test_a_directory_that_is_not_there_is_an_error_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be opened"):
        Catalogue.open(tmp_path / "missing" / "catalogue.db")


def test_damage_met_while_reading_is_called_damage(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    filled(path)
    readers = database.Readers(path)
    root = readers.fetch_one("SELECT rootpage FROM sqlite_master WHERE name = 'entry'")
    readers.close()
    assert root is not None
    with path.open("r+b") as raw:
        raw.seek((root[0] - 1) * 4096)
        raw.write(b"\xee" * 4096)
    readers = database.Readers(path)
    with pytest.raises(CatalogueDamaged):
        readers.fetch("SELECT count(hash) FROM entry")
    readers.close()


def test_readers_cannot_write(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="readonly"):
        catalogue._readers.fetch("DELETE FROM folder")


def test_readers_see_a_commit_as_soon_as_its_future_resolves(catalogue: Catalogue, docs: int) -> None:
    for number in range(50):
        catalogue.folders.set_state(docs, f"state {number}").result()
        assert catalogue.folders.by_id(docs).state == f"state {number}"


def test_any_number_of_threads_may_read_and_connections_are_closed_again(
    catalogue: Catalogue, docs: int
) -> None:
    barrier, wrong = threading.Barrier(20), []

    def read() -> None:
        with catalogue._readers.lend() as connection:
            barrier.wait(timeout=20)
            if connection.run("SELECT name FROM folder").fetchone() != ("docs",):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(catalogue._readers._idle) == database.Readers._KEPT


def test_a_closed_catalogue_says_so(tmp_path: Path) -> None:
    catalogue = Catalogue.open(tmp_path / "catalogue.db")
    catalogue.close()
    catalogue.close()
    with pytest.raises(CatalogueError, match="closed"):
        catalogue.folders.list()
