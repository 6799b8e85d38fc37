"""Checks, backups, sizes."""

import threading
from pathlib import Path

import pytest

from tests.catalogue.making import batch, directory, file, post_all
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.errors import CatalogueError


def filled(catalogue: Catalogue, folder: int) -> None:
    given = [directory(b"d%d" % d, *(file(b"f%d" % n, f"{d} {n}") for n in range(5))) for d in range(4)]
    catalogue.scan.store(batch(folder, directory(b""), *given)).result()


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("UPDATE tally SET articles = articles + 1", "the tally of folder 1"),
        ("UPDATE folder SET files = 7", "says 7 files"),
        ("UPDATE folder SET directories = 9", "says 9 directories"),
        ("DELETE FROM directory WHERE path = x'6430'", "is in no directory"),
        ("DELETE FROM entry WHERE id = 3", "belongs to entry 3"),
        ("DELETE FROM segment WHERE id = 2", "uses segment 2"),
        ("DELETE FROM article WHERE segment_id = 2", "segment 2 has no article"),
        ("DELETE FROM extent WHERE entry_id = 4", "make 0 bytes, its size is 10"),
        ("UPDATE change SET entry_id = 500 WHERE entry_id = 1", "names entry 500"),
        ("UPDATE change SET directory_id = 500 WHERE directory_id = 1", "names directory 500"),
    ],
)
def test_a_full_check_finds_rows_that_contradict_each_other(
    catalogue: Catalogue, docs: int, sql: str, sentence: str
) -> None:
    filled(catalogue, docs)
    assert catalogue.check(full=True).healthy
    catalogue.writer.run(lambda database: database.run(sql).rowcount)
    report = catalogue.check(full=True)
    assert not report.healthy
    assert any(sentence in problem for problem in report.problems), report.problems
    assert catalogue.check().healthy


def test_a_check_is_right_while_the_writer_goes_on(catalogue: Catalogue, docs: int) -> None:
    filled(catalogue, docs)
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            catalogue.scan.store(
                batch(docs, directory(b"busy", file(b"f%d" % number, f"busy {number}")))
            ).result()
            post_all(catalogue)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    reports = [catalogue.check(full=True) for _ in range(15)]
    stop.set()
    thread.join()
    assert [report.problems for report in reports] == [()] * 15


def test_a_backup_taken_while_work_goes_on_is_a_whole_catalogue(
    catalogue: Catalogue, docs: int, tmp_path: Path
) -> None:
    filled(catalogue, docs)
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"an older backup")
    futures = [
        catalogue.scan.store(batch(docs, directory(b"more%d" % n, file(b"f", f"more {n}"))))
        for n in range(50)
    ]
    catalogue.backup(copy)
    for future in futures:
        future.result()
    assert not copy.with_name("copy.db.part").exists()
    with Catalogue.open(copy) as restored:
        assert restored.check(full=True).healthy
        row = restored.folders.get("docs")
        assert 20 <= row.files <= 70
        assert post_all(restored) == row.files


def test_a_backup_that_fails_leaves_the_older_one(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be backed up"):
        catalogue.backup(tmp_path / "missing" / "copy.db")
    copy = tmp_path / "copy.db"
    copy.mkdir()
    with pytest.raises(CatalogueError, match="cannot be backed up"):
        catalogue.backup(copy)
    assert not copy.with_name("copy.db.part").exists()


def test_sizes_are_told_without_counting(catalogue: Catalogue, docs: int) -> None:
    filled(catalogue, docs)
    figures = catalogue.size()
    assert figures.rows["entry"] == 20
    assert figures.rows["segment"] == 20
    assert figures.file_bytes >= 4096
    assert figures.wal_bytes > 0
