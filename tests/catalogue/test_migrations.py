"""Schema versions: new files, old files, newer files."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from tests.catalogue.making import batch, directory, file, post_all
from usenetsyncd.catalogue import migrations
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.errors import CatalogueDamaged, NewerCatalogue, Verdict

VERSION_1 = Path(__file__).parent / "schemas" / "version_1.sql"


def shape(path: Path) -> dict[str, object]:
    """Tables, columns and indexes as SQLite describes them."""
    connection = sqlite3.connect(path)
    try:
        found: dict[str, object] = {}
        for kind, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
            pragma = "table_xinfo" if kind == "table" else "index_xinfo"
            found[name] = connection.execute(f"PRAGMA {pragma}('{name}')").fetchall()
        return found
    finally:
        connection.close()


def old_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1.read_text())
    connection.close()


def test_a_missing_file_becomes_a_catalogue_of_the_newest_schema(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    Catalogue.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (
        migrations.SCHEMA_VERSION,
    )
    connection.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_file_becomes_one_too(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.touch()
    with Catalogue.open(path) as catalogue:
        assert catalogue.folders.list() == []


def test_a_file_of_version_1_ends_with_the_schema_of_a_new_file(tmp_path: Path) -> None:
    old_file(tmp_path / "old.db")
    Catalogue.open(tmp_path / "old.db").close()
    Catalogue.open(tmp_path / "new.db").close()
    assert shape(tmp_path / "old.db") == shape(tmp_path / "new.db")


def test_rows_of_version_1_are_still_there_and_work_goes_on(tmp_path: Path) -> None:
    old_file(tmp_path / "old.db")
    with Catalogue.open(tmp_path / "old.db") as catalogue:
        folder = catalogue.folders.get("docs")
        assert folder.root == b"/srv/d\xffcs"
        assert [entry.name for entry in catalogue.scan.entries(1)] == [b"caf\xe9.txt"]
        catalogue.scan.store(batch(folder.id, directory(b"new", file(b"b", "other")))).result()
        assert post_all(catalogue) == 2
        assert catalogue.check(full=True).healthy


def test_opening_twice_migrates_once(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    for _ in range(2):
        Catalogue.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (1,)
    connection.close()


def test_steps_run_in_order_each_once(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    Catalogue.open(path).close()
    database = Connection(str(path))
    database.connect()
    ran: list[int] = []

    def step(number: int) -> migrations.Step:
        return lambda _: ran.append(number)

    first = migrations.SCHEMA_VERSION
    steps = {first + 1: step(first + 1), first + 2: step(first + 2)}
    assert migrations.migrate(database, steps, first + 2) == first
    assert migrations.migrate(database, steps, first + 2) == first + 2
    assert ran == [first + 1, first + 2]
    database.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    Catalogue.open(path).close()
    before = shape(path)
    database = Connection(str(path))
    database.connect()

    def half(connection: Connection) -> None:
        connection.run("CREATE TABLE half (id INTEGER)")
        raise RuntimeError("power cut")

    newest = migrations.SCHEMA_VERSION + 1
    with pytest.raises(RuntimeError):
        migrations.migrate(database, {newest: half}, newest)
    database.close()
    assert shape(path) == before
    Catalogue.open(path).close()


def test_a_newer_catalogue_is_refused_in_plain_words_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    Catalogue.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO schema_version VALUES (99, 0)")
    connection.commit()
    connection.execute("PRAGMA journal_mode = delete")
    connection.close()
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(
        NewerCatalogue, match=r"schema 99.*newer version of UsenetSync.*Nothing was changed"
    ) as refused:
        Catalogue.open(path)
    assert refused.value.verdict is Verdict.STOP
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_somebody_elses_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (id INTEGER)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(CatalogueDamaged, match="not a UsenetSync catalogue"):
        Catalogue.open(path)
    assert path.read_bytes() == before
