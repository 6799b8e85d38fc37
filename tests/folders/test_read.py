"""Reading: what is given out was in the file at one moment, or an error says that it was not."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.folders.zoo import as_nobody, deep_path, make_zoo, public_directory, short_socket
from usenetsyncd.errors import FileChanged, FileUnreadable
from usenetsyncd.folders import root as root_module
from usenetsyncd.folders.read import open_file, read_range, read_small_into, read_target
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.scan import scan_directory, walk
from usenetsyncd.folders.statkey import FileKey, key_of
from usenetsyncd.model import SEGMENT_SIZE_BYTES, EntryKind, RelativePath

FILE = RelativePath(b"file")


def key(path: Path) -> FileKey:
    return key_of(path.lstat())


def read_small(directory: int, name: bytes, expected: FileKey) -> bytes:
    room = bytearray(expected.size + 1)
    read_small_into(directory, name, expected, memoryview(room))
    return bytes(room[:-1])


def whole(root: FolderRoot, path: bytes, expected: FileKey | None = None) -> bytes:
    buffer = bytearray(SEGMENT_SIZE_BYTES)
    with open_file(root, RelativePath(path), expected) as opened:
        return b"".join(bytes(view) for view in opened.slices(buffer))


def test_the_whole_zoo_reads_back_as_it_was_written(tmp_path: Path) -> None:
    contents = make_zoo(os.fsencode(tmp_path))
    read: dict[bytes, bytes] = {}
    with FolderRoot(tmp_path) as root:
        for listing in walk(root):
            directory = root.open_directory(listing.path)
            for entry in listing.entries:
                if entry.kind is EntryKind.FILE:
                    path = listing.path_of(entry.name)
                    read[path] = whole(root, path, entry.key)
                    if entry.size <= 50_000:
                        assert read_small(directory, entry.name, entry.key) == read[path]
            os.close(directory)
    assert read == contents


@pytest.mark.parametrize(
    "size", [0, 1, SEGMENT_SIZE_BYTES - 1, SEGMENT_SIZE_BYTES, SEGMENT_SIZE_BYTES + 1, 2_000_000]
)
def test_slices_are_whole_segments_but_the_last(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    with FolderRoot(tmp_path) as root, open_file(root, FILE) as opened:
        lengths = [len(view) for view in opened.slices(bytearray(SEGMENT_SIZE_BYTES))]
    assert sum(lengths) == size
    assert all(length == SEGMENT_SIZE_BYTES for length in lengths[:-1])


def append(path: Path) -> None:
    with path.open("ab") as opened:
        opened.write(b"x")


def overwrite(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.write(b"x")


MUTATIONS: list[Callable[[Path], object]] = [
    append,
    overwrite,
    lambda path: os.truncate(path, 10),
    lambda path: os.truncate(path, 0),
    lambda path: path.chmod(0o600),
    lambda path: os.utime(path, ns=(1, 1)),
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_file_that_changes_while_it_is_read_is_never_given_out_whole(
    tmp_path: Path, mutate: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2_000_000))
    time.sleep(0.02)
    with FolderRoot(tmp_path) as root, open_file(root, FILE) as opened:
        slices = opened.slices(bytearray(SEGMENT_SIZE_BYTES))
        next(slices)
        mutate(path)
        with pytest.raises(FileChanged):
            list(slices)


@pytest.mark.parametrize(
    "mutate", [*MUTATIONS, Path.unlink, lambda path: path.rename(path.with_name("other"))]
)
def test_a_file_that_changed_since_it_was_listed_is_not_read(
    tmp_path: Path, mutate: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some content")
    listed = key(path)
    time.sleep(0.02)
    mutate(path)
    with FolderRoot(tmp_path) as root:
        with pytest.raises(FileChanged):
            whole(root, FILE, listed)
        with pytest.raises(FileChanged):
            read_range(root, FILE, 0, listed, bytearray(4))
        with pytest.raises(FileChanged):
            read_small(root.fd, b"file", listed)


def test_a_file_replaced_by_another_of_the_same_size_and_mtime_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    listed = key(path)
    (tmp_path / "twin").write_bytes(b"CONTENT")
    os.utime(tmp_path / "twin", ns=(listed.mtime_ns, listed.mtime_ns))
    (tmp_path / "twin").replace(path)
    with FolderRoot(tmp_path) as root, pytest.raises(FileChanged):
        whole(root, FILE, listed)


def test_a_key_without_ctime_survives_a_chmod_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    listed = key(path)
    loose = FileKey(listed.size, listed.mtime_ns, listed.inode)
    time.sleep(0.02)
    path.chmod(0o600)
    into = bytearray(7)
    with FolderRoot(tmp_path) as root:
        assert read_range(root, FILE, 0, loose, into) == 7
        assert into == b"content"
        with pytest.raises(FileChanged):
            read_range(root, FILE, 0, listed, into)
        append(path)
        with pytest.raises(FileChanged):
            read_range(root, FILE, 0, loose, into)


def test_a_range_is_read_again_to_the_byte(tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    (tmp_path / "file").write_bytes(content)
    into = bytearray(SEGMENT_SIZE_BYTES)
    with FolderRoot(tmp_path) as root:
        for offset in (0, 1, 768_000, 2_000_000 - SEGMENT_SIZE_BYTES):
            assert read_range(root, FILE, offset, key(tmp_path / "file"), into) == SEGMENT_SIZE_BYTES
            assert into == content[offset : offset + SEGMENT_SIZE_BYTES]
        with pytest.raises(FileChanged):
            read_range(root, FILE, 2_000_000 - 10, key(tmp_path / "file"), into)


def test_a_thousand_rewritten_files_are_never_read_torn(tmp_path: Path) -> None:
    """A writer fills each file with one byte value; what passes as settled must be of one value."""
    size = 60_000
    paths = [tmp_path / f"file{number}" for number in range(25)]
    for path in paths:
        path.write_bytes(b"\0" * size)
    stop = threading.Event()

    def rewrite() -> None:
        value = 0
        while not stop.is_set():
            value = value % 255 + 1
            for path in paths:
                with path.open("r+b", buffering=0) as opened:
                    opened.write(bytes([value]) * (size // 2))
                    opened.write(bytes([value]) * (size // 2))

    writer = threading.Thread(target=rewrite)
    writer.start()
    whole_ones = changed = 0
    buffer = bytearray(SEGMENT_SIZE_BYTES)
    try:
        with FolderRoot(tmp_path) as root:
            for number in range(1_000):
                path = RelativePath(os.fsencode(paths[number % len(paths)].name))
                try:
                    with open_file(root, path) as opened:
                        content = b"".join(bytes(view) for view in opened.slices(buffer))
                        if opened.racy:
                            continue  # to be read again
                except FileChanged:
                    changed += 1
                    continue
                assert len(set(content)) == 1
                whole_ones += 1
    finally:
        stop.set()
        writer.join()
    assert whole_ones + changed > 0


def test_a_file_written_in_this_tick_is_racy_and_an_old_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with FolderRoot(tmp_path) as root:
        with open_file(root, FILE) as opened:
            assert opened.racy
        time.sleep(0.05)
        with open_file(root, FILE) as opened:
            assert not opened.racy


def test_what_is_no_regular_file_any_more_is_not_read_and_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "symlink").symlink_to("outside")
    (tmp_path / "folder").mkdir()
    (tmp_path / "through").symlink_to("folder")
    (tmp_path / "folder" / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    with short_socket(os.fsencode(tmp_path / "socket")), FolderRoot(tmp_path) as root:
        for path in (b"symlink", b"folder", b"fifo", b"socket", b"through/file", b"outside/x", b"gone/x"):
            with pytest.raises(FileChanged):
                open_file(root, RelativePath(path))
        for name in (b"symlink", b"folder", b"socket"):
            with pytest.raises(FileChanged):
                read_small(root.fd, name, key(tmp_path / os.fsdecode(name)))


@pytest.mark.parametrize("one_call", [True, False])
def test_a_path_may_not_climb_out_of_the_root(
    tmp_path: Path, one_call: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not one_call:  # a kernel before 5.6
        monkeypatch.setattr(root_module._ONE_CALL, "present", False)
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "root" / "a").mkdir(parents=True)
    with FolderRoot(tmp_path / "root") as root, pytest.raises(FileUnreadable):
        open_file(root, RelativePath(b"a/../../secret"))
    with FolderRoot(tmp_path / "root") as root:
        assert scan_directory(root, RelativePath(b"..")).problem is not None  # type: ignore[union-attr]


def test_a_file_we_may_not_read_is_unreadable() -> None:
    with public_directory() as path:
        (path / "file").write_bytes(b"x")
        (path / "file").chmod(0o000)
        listed = key(path / "file")

        def look() -> None:
            with FolderRoot(path) as root:
                with pytest.raises(FileUnreadable):
                    open_file(root, FILE)
                with pytest.raises(FileUnreadable):
                    read_small(root.fd, b"file", listed)

        as_nobody(look)


def test_a_file_of_another_owner_is_read_although_its_access_time_moves() -> None:
    with public_directory() as path:
        (path / "folder").mkdir()
        (path / "folder" / "file").write_bytes(b"content")
        (path / "folder").chmod(0o755)
        (path / "folder" / "file").chmod(0o644)
        listed = key(path / "folder" / "file")

        def look() -> None:
            with FolderRoot(path) as root:
                assert whole(root, b"folder/file", listed) == b"content"
                assert root_module._ONE_CALL.present
                directory = root.open_directory(RelativePath(b"folder"))
                assert read_small(directory, b"file", listed) == b"content"
                os.close(directory)

        as_nobody(look)


def test_reading_leaves_the_access_time_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.utime(path, ns=(1, 2))
    listed = key(path)
    with FolderRoot(tmp_path) as root:
        whole(root, FILE, listed)
        read_small(root.fd, b"file", listed)
    assert path.stat().st_atime_ns == 1


def test_a_symlink_is_read_as_a_symlink(tmp_path: Path) -> None:
    target = b"../../\xff\nnowhere"
    os.symlink(target, tmp_path / "link")
    (tmp_path / "file").touch()
    with FolderRoot(tmp_path) as root:
        listing = scan_directory(root, RelativePath(b""))
        assert listing is not None
        (link,) = (entry for entry in listing.entries if entry.kind is EntryKind.SYMLINK)
        assert read_target(root, RelativePath(b"link"), link.key) == target
        for path in (b"file", b"gone", b"file/x"):
            with pytest.raises(FileChanged):
                read_target(root, RelativePath(path))
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to("elsewhere")
        with pytest.raises(FileChanged):
            read_target(root, RelativePath(b"link"), link.key)


def test_a_file_at_the_end_of_the_longest_path_is_read(tmp_path: Path) -> None:
    with deep_path(os.fsencode(tmp_path)) as (folders, last):
        name = b"f" * (4_096 - len(folders) - 1)
        made = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=last)
        os.write(made, b"deep")
        os.close(made)
    with FolderRoot(tmp_path) as root:
        assert whole(root, folders + b"/" + name) == b"deep"
