"""Listing directories: everything is seen, nothing is followed, and a digest tells every change."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.folders.zoo import NAMES, as_nobody, deep_path, make_zoo, public_directory
from usenetsyncd.errors import RootMissing
from usenetsyncd.folders import root as root_module
from usenetsyncd.folders.ignore import compile_rules
from usenetsyncd.folders.root import ROOT_PATH, FolderRoot, check_root
from usenetsyncd.folders.scan import DirectoryListing, join, scan_directory, walk, walk_key
from usenetsyncd.folders.statkey import COARSE_NS, TICK_NS, is_racy
from usenetsyncd.model import EntryKind, RelativePath

OLD_NS = 1_700_000_000_123_456_789


def listing_of(path: Path, below: bytes = b"", **options: object) -> DirectoryListing:
    with FolderRoot(path) as root:
        found = scan_directory(root, RelativePath(below), **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def settled(path: Path, below: bytes = b"") -> DirectoryListing:
    """A listing in which nothing is racy any more."""
    for _ in range(100):
        found = listing_of(path, below)
        if found.digest is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("racy for a second")


def test_every_file_of_the_zoo_is_listed_with_its_attributes(tmp_path: Path) -> None:
    contents = make_zoo(os.fsencode(tmp_path))
    found: dict[bytes, tuple[EntryKind, int]] = {}
    with FolderRoot(tmp_path) as root:
        for listing in walk(root):
            for entry in listing.entries:
                found[listing.path_of(entry.name)] = (entry.kind, entry.size)
                status = os.lstat(os.path.join(os.fsencode(tmp_path), listing.path, entry.name))
                assert (entry.mtime_ns, entry.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
                assert (entry.inode, entry.nlink) == (status.st_ino, status.st_nlink)
                assert entry.mode == status.st_mode & 0o7777
    files = {path: size for path, (kind, size) in found.items() if kind is EntryKind.FILE}
    assert files == {path: len(content) for path, content in contents.items()}
    links = {path for path, (kind, _) in found.items() if kind is EntryKind.SYMLINK}
    assert links == {b"dangling", b"to the root", b"to a folder", b"loop"}


def test_entries_come_sorted_by_name(tmp_path: Path) -> None:
    make_zoo(os.fsencode(tmp_path))
    names = [entry.name for entry in listing_of(tmp_path).entries]
    assert names == sorted(names)
    assert set(NAMES) <= set(names)


def test_fifos_sockets_and_devices_are_skipped_by_name(tmp_path: Path) -> None:
    make_zoo(os.fsencode(tmp_path))
    assert listing_of(tmp_path).skipped == [(b"fifo", "fifo"), (b"socket", "socket")]
    assert (b"null", "character device") in listing_of(Path("/dev")).skipped


def test_a_sparse_file_is_told_from_a_full_one(tmp_path: Path) -> None:
    make_zoo(os.fsencode(tmp_path))
    sparse = {entry.name: entry.sparse for entry in listing_of(tmp_path).entries}
    assert sparse[b"sparse"]
    assert not sparse[b"empty"]


def test_hard_links_share_an_inode_and_know_it(tmp_path: Path) -> None:
    make_zoo(os.fsencode(tmp_path))
    linked = [entry for entry in listing_of(tmp_path).entries if entry.nlink > 1]
    assert {entry.name for entry in linked} == {b"plain", b"plain too"}
    assert len({entry.inode for entry in linked}) == 1


def write(path: Path) -> None:
    (path / "file").write_bytes(b"other")


def rewrite_with_same_size_and_mtime(path: Path) -> None:
    status = (path / "file").stat()
    (path / "file").write_bytes(b"CONTENT")
    os.utime(path / "file", ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: list[Callable[[Path], None]] = [
    write,
    rewrite_with_same_size_and_mtime,
    lambda path: (path / "file").chmod(0o600),
    lambda path: os.utime(path / "file", ns=(OLD_NS, OLD_NS)),
    lambda path: (path / "file").unlink(),
    lambda path: (path / "file").rename(path / "renamed"),
    lambda path: (path / "new").touch(),
    lambda path: (path / "folder").rmdir(),
    lambda path: (path / "folder").rename(path / "folded"),
    lambda path: shutil.copy2(path / "file", path / "copy"),
    lambda path: path.chmod(0o711),
    lambda path: os.utime(path, ns=(OLD_NS, OLD_NS)),
    lambda path: (path / "link").unlink() or (path / "link").symlink_to("elsewhere"),
    lambda path: os.replace(shutil.copy2(path / "file", path.parent / "twin"), path / "file"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_changes_the_digest(tmp_path: Path, change: Callable[[Path], None]) -> None:
    watched = tmp_path / "watched"
    (watched / "folder").mkdir(parents=True)
    (watched / "file").write_bytes(b"content")
    (watched / "link").symlink_to("file")
    before = settled(watched).digest
    assert settled(watched).digest == before
    change(watched)
    assert settled(watched).digest != before


def test_reading_a_file_does_not_change_the_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    before = settled(tmp_path).digest
    (tmp_path / "file").read_bytes()
    assert settled(tmp_path).digest == before


def test_a_change_below_leaves_the_digest_above_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    above, below = settled(tmp_path).digest, settled(tmp_path, b"folder").digest
    (tmp_path / "folder" / "file").write_bytes(b"x")
    assert settled(tmp_path).digest == above
    assert settled(tmp_path, b"folder").digest != below


def test_a_file_written_just_now_is_racy_and_gives_no_digest(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    settled(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    fresh = listing_of(tmp_path)
    assert fresh.digest is None
    assert {entry.name: entry.racy for entry in fresh.entries} == {b"file": True, b"old": False}
    assert not any(entry.racy for entry in settled(tmp_path).entries)


LONG_AGO_NS = -10 * COARSE_NS
IN_AN_HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "racy"),
    [
        (LONG_AGO_NS, -TICK_NS - 1, False),
        (LONG_AGO_NS, -TICK_NS, True),
        (LONG_AGO_NS, 0, True),
        (LONG_AGO_NS, IN_AN_HOUR_NS, True),  # the clock was turned back: nothing is known
        (IN_AN_HOUR_NS, LONG_AGO_NS, False),  # anybody may set an mtime
        (-1, LONG_AGO_NS, True),  # a filesystem that invents its ctime
        (LONG_AGO_NS, -TICK_NS - 500_000_000, False),
    ],
)
def test_racy_is_what_may_change_again_in_the_same_tick(mtime_ns: int, ctime_ns: int, racy: bool) -> None:
    """The times are relative to the look at the file."""
    assert is_racy(OLD_NS + mtime_ns, OLD_NS + ctime_ns, OLD_NS) is racy


def test_whole_seconds_are_racy_for_two_seconds() -> None:
    second = 1_700_000_000 * 10**9
    assert is_racy(second, second, second + 1_900_000_000)
    assert not is_racy(second, second, second + 2_000_000_001)
    assert not is_racy(second + 1, second + 1, second + 1_900_000_000)


def test_symlinked_directories_are_entries_and_never_entered(tmp_path: Path) -> None:
    make_zoo(os.fsencode(tmp_path))
    with FolderRoot(tmp_path) as root:
        assert {listing.path for listing in walk(root)} == {b"", b"empty folder", b"folder", b"folder/inner"}
        assert scan_directory(root, RelativePath(b"to a folder")) is None
        assert scan_directory(root, RelativePath(b"to a folder/inner")) is None
        assert scan_directory(root, RelativePath(b"to the root/etc")) is None


def test_walk_keeps_its_order_and_parents_come_first(tmp_path: Path) -> None:
    for path in ("a/x", "a-b/y", "a/b/c", "b", "a b", "aa/z"):
        (tmp_path / path).mkdir(parents=True)
    with FolderRoot(tmp_path) as root:
        paths = [listing.path for listing in walk(root)]
        assert paths == sorted(paths, key=walk_key)
        assert len(paths) == 11
        assert [listing.path for listing in walk(root, start=RelativePath(b"a"))] == [
            b"a",
            b"a/b",
            b"a/b/c",
            b"a/x",
        ]


def test_a_directory_that_vanishes_during_the_walk_is_left_out(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name / "inner").mkdir(parents=True)
    seen = []
    with FolderRoot(tmp_path) as root:
        for listing in walk(root):
            seen.append(listing.path)
            if listing.path == b"a":
                shutil.rmtree(tmp_path / "b")
                shutil.rmtree(tmp_path / "a")
    assert seen == [b"", b"a", b"c", b"c/inner"]


def test_a_directory_swapped_for_a_symlink_during_the_walk_is_not_entered(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "secret").mkdir(parents=True)
    inside = tmp_path / "inside"
    (inside / "a").mkdir(parents=True)
    (inside / "b" / "secret").mkdir(parents=True)
    seen = []
    with FolderRoot(inside) as root:
        for listing in walk(root):
            seen.append(listing.path)
            if listing.path == b"a":
                shutil.rmtree(inside / "b")
                (inside / "b").symlink_to(outside)
    assert seen == [b"", b"a"]


@pytest.mark.parametrize("one_call", [True, False])
def test_the_longest_path_is_walked(tmp_path: Path, one_call: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not one_call:  # a kernel before 5.6
        monkeypatch.setattr(root_module._ONE_CALL, "present", False)
    with deep_path(os.fsencode(tmp_path)) as (folders, last):
        name = b"f" * (4_096 - len(folders) - 1)
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=last))
    with FolderRoot(tmp_path) as root:
        paths = [listing.path_of(entry.name) for listing in walk(root) for entry in listing.entries]
    assert paths == [join(folders, name)]
    assert len(paths[0]) == 4_096


def test_a_path_beyond_what_the_kernel_takes_at_once_is_walked(tmp_path: Path) -> None:
    with deep_path(os.fsencode(tmp_path), 6_000, 100) as (folders, last):
        os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=last))
        with FolderRoot(tmp_path) as root:
            listings = list(walk(root))
            assert listings[-1].path == folders
            assert [entry.name for entry in listings[-1].entries] == [b"file"]


def test_a_directory_we_may_not_list_is_unknown_and_not_empty() -> None:
    with public_directory() as path:
        (path / "closed").mkdir()
        (path / "closed" / "file").touch()
        (path / "closed").chmod(0o300 if os.geteuid() else 0o700)

        def look() -> None:
            with FolderRoot(path) as root:
                listings = {listing.path: listing for listing in walk(root)}
            closed = listings[RelativePath(b"closed")]
            assert isinstance(closed.problem, PermissionError)
            assert closed.digest is None
            assert closed.status is None
            assert listings[ROOT_PATH].subdirectories == [b"closed"]

        as_nobody(look)
        (path / "closed").chmod(0o700)


def test_names_we_may_not_look_at_are_unreadable_and_not_absent() -> None:
    with public_directory() as path:
        (path / "blind").mkdir()
        (path / "blind" / "file").touch()
        (path / "blind").chmod(0o444)

        def look() -> None:
            found = listing_of(path, b"blind")
            assert [name for name, _ in found.unreadable] == [b"file"]
            assert found.entries == []
            assert found.digest is None

        as_nobody(look)
        (path / "blind").chmod(0o700)


def test_our_own_temporary_files_are_no_part_of_a_folder(tmp_path: Path) -> None:
    for name in (
        ".usenetsync-0123456789abcdef.part",
        ".usenetsync-notes",
        ".usenetsync-.part",
        ".usenet",
        ".x.part",
    ):
        (tmp_path / name).touch()
    found = listing_of(tmp_path)
    assert [entry.name for entry in found.entries] == [b".usenet", b".usenetsync-notes", b".x.part"]
    assert found.own_parts == [b".usenetsync-.part", b".usenetsync-0123456789abcdef.part"]


def test_ignored_files_and_directories_are_not_listed(tmp_path: Path) -> None:
    for path in ("keep/file", "build/file", "keep/x.o"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    with FolderRoot(tmp_path) as root:
        listings = list(walk(root, compile_rules(["build/", "*.o"])))
    assert [listing.path for listing in listings] == [b"", b"keep"]
    assert [entry.name for entry in listings[1].entries] == [b"file"]


def test_a_missing_or_suddenly_empty_root_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RootMissing):
        check_root(tmp_path / "gone", had_files=True)
    with pytest.raises(RootMissing, match="mounted"):
        check_root(tmp_path, had_files=True)
    check_root(tmp_path, had_files=False).close()
    (tmp_path / "file").touch()
    with pytest.raises(RootMissing):
        check_root(tmp_path / "file", had_files=False)
    check_root(tmp_path, had_files=True, device=-1).close()


def test_a_directory_of_many_files_stays_small_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    for number in range(5_000):
        (tmp_path / f"file{number:05}").touch()
    tracemalloc.start()
    try:
        found = listing_of(tmp_path)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.file_count == 5_000
    assert held < 5_000 * 180
