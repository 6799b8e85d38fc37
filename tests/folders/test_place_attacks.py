"""A hostile index, or a hostile neighbour on this machine, never makes anything outside the target."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FolderError, FormatError, TargetExists, TargetUnwritable, UnsafePath
from usenetsyncd.folders import root as root_module
from usenetsyncd.folders.place import FolderLook, Target
from usenetsyncd.folders.safety import DEPTH_LIMIT, check_path
from usenetsyncd.model import Entry, EntryKind, RelativePath

UNSAFE = [
    b"",
    b"/",
    b"/etc/passwd",
    b"..",
    b"../x",
    b"a/../../x",
    b"a/..",
    b".",
    b"./x",
    b"a/./x",
    b"a//x",
    b"a/",
    b"a\0b",
    b"\0",
    b"x" * 256,
    b"a/" * DEPTH_LIMIT + b"x",
    (b"x" * 254 + b"/") * 16 + b"x" * 17,
    b".usenetsync-0011223344556677.part",
    b"a/.usenetsync-x.part/b",
]


@pytest.fixture(params=["openat2", "walk"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's help, and as on a kernel without it."""
    if request.param == "walk":
        monkeypatch.setattr(root_module._ONE_CALL, "present", False)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the target that must stay as it is."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "precious").write_bytes(b"precious")
    status = made.stat()
    yield made
    assert sorted(os.listdir(made)) == ["precious"]
    assert (made / "precious").read_bytes() == b"precious"
    assert made.stat().st_mtime_ns == status.st_mtime_ns
    assert made.stat().st_mode == status.st_mode


@pytest.mark.parametrize("path", UNSAFE)
def test_unsafe_paths_are_refused_by_everything_that_makes_something(tmp_path: Path, path: bytes) -> None:
    unsafe, safe = RelativePath(path), RelativePath(b"safe")
    with Target(tmp_path / "target") as target:
        attempts: list[Callable[[], object]] = [
            lambda: target.begin_file(unsafe, 1),
            lambda: target.resume_file(unsafe, b".usenetsync-x.part", 1),
            lambda: target.make_symlink(unsafe, b"x", 0, overwrite=True),
            lambda: target.make_hard_link(unsafe, safe, overwrite=True),
            lambda: target.make_hard_link(safe, unsafe, overwrite=True),
            lambda: target.compare(unsafe, Entry(unsafe, EntryKind.FILE)),
        ]
        if path:  # the root itself may be named where folders are made
            attempts.append(lambda: target.make_folder(unsafe))
        for attempt in attempts:
            with pytest.raises(UnsafePath):
                attempt()
        if path:
            ((failed, error),) = target.finish_folders([FolderLook(unsafe, 0o755, 0)])
            assert failed == unsafe
            assert isinstance(error, UnsafePath)
    assert os.listdir(tmp_path) == ["target"]
    assert os.listdir(tmp_path / "target") == []


@given(st.lists(st.binary(max_size=6), max_size=6).map(b"/".join))
def test_a_path_that_passes_stays_below_its_root(path: bytes) -> None:
    try:
        check_path(RelativePath(path))
    except UnsafePath:
        return
    assert os.path.normpath(b"/root/" + path) == b"/root/" + path


@pytest.mark.parametrize("link", [b"", b"a\0b", b"x" * 4_096])
def test_a_link_with_an_impossible_target_is_refused(tmp_path: Path, link: bytes) -> None:
    with Target(tmp_path) as target, pytest.raises(UnsafePath):
        target.make_symlink(RelativePath(b"link"), link, 0, overwrite=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("either_way")
def test_a_link_that_was_restored_is_never_walked_through(tmp_path: Path, outside: Path) -> None:
    """The classic: first a symlink a -> outside, then a file a/x."""
    with Target(tmp_path / "target") as target:
        target.make_folder(RelativePath(b"folder"))
        for link in (b"a", b"folder/a"):
            target.make_symlink(RelativePath(link), os.fsencode(outside), 0, overwrite=False)
            for path in (
                RelativePath(link + b"/x"),
                RelativePath(link + b"/x/y"),
                RelativePath(link + b"/precious"),
            ):
                with pytest.raises(UnsafePath):
                    target.begin_file(path, 1)
                with pytest.raises(UnsafePath):
                    target.make_folder(path)
                with pytest.raises(UnsafePath):
                    target.make_symlink(path, b"x", 0, overwrite=True)
                with pytest.raises(UnsafePath):
                    target.compare(path, Entry(path, EntryKind.FILE))
                assert target.resume_file(path, b".usenetsync-x.part", 1) is None
            with pytest.raises(UnsafePath):
                target.make_folder(RelativePath(link))
            with pytest.raises(UnsafePath):
                target.make_hard_link(
                    RelativePath(link + b"/precious"), RelativePath(b"mine"), overwrite=True
                )
            with pytest.raises(UnsafePath):
                target.make_hard_link(RelativePath(link), RelativePath(b"mine"), overwrite=True)
            ((_, error),) = target.finish_folders([FolderLook(RelativePath(link), 0o777, 0)])
            assert isinstance(error, UnsafePath)
        assert target.sweep() == 0


@pytest.mark.usefixtures("either_way")
def test_a_file_in_the_way_of_a_folder_is_said_to_be_there(tmp_path: Path) -> None:
    with Target(tmp_path) as target:
        (tmp_path / "a").write_bytes(b"mine")
        for path in (b"a/x", b"a/x/y"):
            with pytest.raises(TargetExists):
                target.begin_file(RelativePath(path), 1)
        with pytest.raises(TargetExists):
            target.make_folder(RelativePath(b"a"))
    assert (tmp_path / "a").read_bytes() == b"mine"


@pytest.mark.usefixtures("either_way")
def test_a_folder_swapped_for_a_symlink_before_the_rename_is_noticed(tmp_path: Path, outside: Path) -> None:
    root = tmp_path / "target"
    with Target(root) as target:
        placing = target.begin_file(RelativePath(b"a/b/file"), 1)
        placing.write(0, b"x")
        (root / "a" / "b").rename(root / "moved")
        (root / "a" / "b").symlink_to(outside)
        with pytest.raises(UnsafePath):
            placing.finish(0o644, 0, overwrite=True)
        placing.discard()


def test_a_temporary_file_swapped_for_another_is_neither_placed_nor_removed(
    tmp_path: Path, outside: Path
) -> None:
    with Target(tmp_path / "target") as target:
        placing = target.begin_file(RelativePath(b"file"), 1)
        part = tmp_path / "target" / os.fsdecode(placing.temporary)
        part.unlink()
        part.symlink_to(outside / "precious")
        with pytest.raises(TargetUnwritable):
            placing.finish(0o644, 0, overwrite=True)
        placing.discard()
    assert part.is_symlink()
    assert os.listdir(tmp_path / "target") == [part.name]


@pytest.mark.usefixtures("either_way")
def test_a_folder_that_keeps_turning_into_a_symlink_never_lets_anything_out(
    tmp_path: Path, outside: Path
) -> None:
    root = tmp_path / "target"
    (root / "a" / "b").mkdir(parents=True)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                (root / "a").rename(root / "aside")
            with suppress(OSError):
                (root / "a").symlink_to(outside)
            with suppress(OSError):
                (root / "a").unlink()
            with suppress(OSError):
                (root / "aside").rename(root / "a")
            if (root / "a").is_dir() and (root / "aside").is_dir():
                shutil.rmtree(root / "aside", ignore_errors=True)

    swapper = threading.Thread(target=swap)
    swapper.start()
    placed = refused = 0
    try:
        with Target(root) as target:
            for number in range(400):
                path = RelativePath(b"a/b/%d" % number)
                try:
                    target.make_folder(RelativePath(b"a/b"))
                    with target.begin_file(path, 1) as placing:
                        placing.write(0, b"x")
                        placing.finish(0o644, 0, overwrite=True, flush=False)
                    target.make_symlink(RelativePath(b"a/b/link%d" % number), b"x", 0, overwrite=True)
                    target.finish_folders(
                        [FolderLook(RelativePath(path), 0o755, 5) for path in (b"a", b"a/b")]
                    )
                    placed += 1
                except (FolderError, FormatError):
                    refused += 1
    finally:
        stop.set()
        swapper.join()
    assert placed + refused == 400
