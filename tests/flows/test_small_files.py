"""Reading small files ahead in a child process gives exactly what reading them here gives, also when it dies."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from usenetsyncd.errors import FileChanged, FileUnreadable
from usenetsyncd.flows import small_files
from usenetsyncd.flows.small_files import BATCH_FILES, READ_AHEAD, Batch, SmallFileReader
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import FileKey, key_of
from usenetsyncd.model import RelativePath
from usenetsyncd.wire.segment import content_hash

IDENTITY = b"i" * 32


@pytest.fixture
def root(tmp_path: Path) -> Iterator[FolderRoot]:
    for directory in range(4):
        (tmp_path / f"d{directory}").mkdir()
        for number in range(100):
            path = tmp_path / f"d{directory}" / f"f{number:03}"
            path.write_bytes(b"%d %d " % (directory, number) * (number + 1))
    with FolderRoot(tmp_path) as opened:
        yield opened


def loose(path: Path) -> FileKey:
    key = key_of(path.lstat())
    return FileKey(key.size, key.mtime_ns, key.inode)


def batches(root: FolderRoot) -> list[Batch]:
    """Two batches of two directories each."""
    place = Path(os.fsdecode(root.path))
    listed = [
        (
            RelativePath(os.fsencode(folder.name)),
            [(os.fsencode(f.name), loose(f)) for f in sorted(folder.iterdir())],
        )
        for folder in sorted(place.iterdir())
    ]
    return [listed[:2], listed[2:]]


def read_all(reader: SmallFileReader, wanted: list[Batch]) -> list[tuple[bytes, bytes]]:
    """(hash, content) of every file, in order; b"" where it failed."""
    found = []
    for batch in wanted:
        reader.ask(batch)
    for batch in wanted:
        outcome, at = reader.outcome(), 0
        sizes = [key.size for _, files in batch for _, key in files]
        for number, (size, digest) in enumerate(zip(sizes, outcome.hashes, strict=True)):
            whole = number not in outcome.failures
            found.append((digest, bytes(outcome.content[at : at + size])) if whole else (b"", b""))
            at += size
    return found


def contents(root: FolderRoot) -> list[tuple[bytes, bytes]]:
    files = sorted(Path(os.fsdecode(root.path)).glob("*/*"))
    return [(content_hash(IDENTITY, f.read_bytes()), f.read_bytes()) for f in files]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child starts with the first batch."""
    monkeypatch.setattr(small_files, "CHILD_AFTER_FILES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def child_of(reader: SmallFileReader) -> int:
    assert reader._child is not None
    return reader._child._process.pid


def test_files_are_read_here_at_first(root: FolderRoot) -> None:
    reader = SmallFileReader(root, IDENTITY)
    assert not reader.reads_ahead
    assert read_all(reader, batches(root)) == contents(root)
    assert reader._child is None
    reader.close()


@pytest.mark.usefixtures("eager")
def test_a_child_reads_the_same(root: FolderRoot) -> None:
    reader = SmallFileReader(root, IDENTITY)
    try:
        for _ in range(2 * READ_AHEAD):
            assert read_all(reader, batches(root)) == contents(root)
        pid = child_of(reader)
    finally:
        reader.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("when", ["before it is asked", "with an answer outstanding"])
def test_what_a_dead_child_was_asked_is_read_here(root: FolderRoot, when: str) -> None:
    reader = SmallFileReader(root, IDENTITY)
    first, second = batches(root)
    try:
        assert len(read_all(reader, [first])) == 200
        if when == "before it is asked":
            os.kill(child_of(reader), signal.SIGKILL)
            time.sleep(0.05)
        else:
            os.kill(child_of(reader), signal.SIGSTOP)
            reader.ask(second)
            os.kill(child_of(reader), signal.SIGKILL)
            assert reader.waiting == 1
            assert len(reader.outcome().hashes) == 200
        assert read_all(reader, [first, second]) == contents(root)
        assert reader._child is None
        assert not reader.reads_ahead, "a second child would hardly fare better"
    finally:
        reader.close()


@pytest.mark.usefixtures("eager")
def test_a_child_that_cannot_be_started_is_done_without(
    root: FolderRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    reader = SmallFileReader(root, IDENTITY)
    assert read_all(reader, batches(root)) == contents(root)
    reader.close()


@pytest.mark.parametrize("ahead", [False, True], ids=["here", "child"])
def test_what_changed_since_it_was_listed_has_no_hash_and_spoils_no_other(
    root: FolderRoot, ahead: bool, request: pytest.FixtureRequest
) -> None:
    if ahead:
        request.getfixturevalue("eager")
    wanted, before = batches(root), contents(root)
    place = Path(os.fsdecode(root.path))
    with (place / "d0" / "f003").open("ab") as file:
        file.write(b"grown")
    os.truncate(place / "d0" / "f005", 3)
    (place / "d1" / "f000").unlink()
    (place / "d1" / "f001").unlink()
    (place / "d1" / "f001").symlink_to("f002")
    (place / "d1" / "f004").unlink()
    os.mkfifo(place / "d1" / "f004")
    (place / "d3").rename(place / "elsewhere")
    reader = SmallFileReader(root, IDENTITY)
    try:
        found = read_all(reader, wanted)
        lost = {number for number, (digest, _) in enumerate(found) if not digest}
        assert lost == {3, 5, 100, 101, 104, *range(300, 400)}
        assert all(found[n] == before[n] for n in range(400) if n not in lost)
        reader.ask(wanted[0])
        failures = reader.outcome().failures
        assert {type(failure) for failure in failures.values()} == {FileChanged}
        assert "'f003'" in str(failures[3])
    finally:
        reader.close()


@pytest.mark.parametrize("ahead", [False, True], ids=["here", "child"])
def test_an_unreadable_file_says_why(root: FolderRoot, ahead: bool, request: pytest.FixtureRequest) -> None:
    """A directory that cannot be searched; root may everywhere, so a name that is too long stands in for it."""
    if ahead:
        request.getfixturevalue("eager")
    reader = SmallFileReader(root, IDENTITY)
    try:
        reader.ask([(RelativePath(b"d0"), [(b"n" * 300, FileKey(3, 0, 0))])])
        (failure,) = reader.outcome().failures.values()
        assert isinstance(failure, FileUnreadable)
        assert "File name too long" in str(failure)
    finally:
        reader.close()


@pytest.mark.usefixtures("eager")
def test_full_batches_with_long_names_do_not_stop_parent_and_child_in_front_of_each_other(
    tmp_path: Path,
) -> None:
    """Requests far larger than a pipe holds, as many at once as are ever under way."""
    for number in range(BATCH_FILES):
        (tmp_path / ("n" * 240 + f"{number:04}")).write_bytes(b"%d" % number)
    listed = [(os.fsencode(f.name), loose(f)) for f in sorted(tmp_path.iterdir())]
    with FolderRoot(tmp_path) as root:
        reader = SmallFileReader(root, IDENTITY)
        for _ in range(3):
            for _ in range(READ_AHEAD):
                reader.ask([(RelativePath(b""), listed)])
            for _ in range(READ_AHEAD):
                assert not reader.outcome().failures
        reader.close()
