"""Placing: files come complete or not at all, and as they were published."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.folders.zoo import as_nobody, deep_path, make_zoo, public_directory
from usenetsyncd.errors import DiskFull, LimitExceeded, RootMissing, TargetExists, TargetUnwritable
from usenetsyncd.folders.attributes import Attributes
from usenetsyncd.folders.place import FolderLook, Sameness, Target
from usenetsyncd.folders.read import open_file, read_target
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.safety import placing_problem
from usenetsyncd.folders.scan import walk
from usenetsyncd.folders.statkey import key_of
from usenetsyncd.model import Entry, EntryKind, RelativePath

OLD_NS = 1_600_000_000_123_456_789
FILE = RelativePath(b"folder/file")


def put(target: Target, path: bytes, content: bytes, overwrite: bool = False, **options: int) -> None:
    with target.begin_file(RelativePath(path), len(content)) as placing:
        placing.write(0, content)
        placing.finish(options.get("mode", 0o644), options.get("mtime_ns", OLD_NS), overwrite)


def parts(path: Path) -> list[Path]:
    return list(path.rglob(".usenetsync-*.part"))


def test_a_file_gets_its_content_mode_and_time_in_one_step(tmp_path: Path) -> None:
    with Target(tmp_path / "new" / "target") as target:
        placing = target.begin_file(FILE, 11)
        placing.write(6, b"world")
        placing.write(0, b"hello ")
        placed = tmp_path / "new" / "target" / "folder" / "file"
        assert not placed.exists()
        key = placing.finish(0o640, OLD_NS, overwrite=False)
    assert placed.read_bytes() == b"hello world"
    assert key == key_of(placed.stat())
    assert placed.stat().st_mtime_ns == OLD_NS
    assert placed.stat().st_mode & 0o7777 == 0o640
    assert parts(tmp_path) == []


def test_a_watcher_can_be_told_of_a_file_before_it_has_its_name(tmp_path: Path) -> None:
    with Target(tmp_path) as target, target.begin_file(FILE, 1) as placing:
        placing.write(0, b"x")
        announced = placing.prepare(0o644, OLD_NS)
        assert not (tmp_path / "folder" / "file").exists()
        placing.finish(0o644, OLD_NS, overwrite=False)
    assert announced.fits((tmp_path / "folder" / "file").stat())


def test_setuid_setgid_and_sticky_are_dropped(tmp_path: Path) -> None:
    with Target(tmp_path) as target:
        put(target, b"file", b"x", mode=0o7755)
        target.make_folder(RelativePath(b"folder"))
        assert target.finish_folders([FolderLook(RelativePath(b"folder"), 0o7777, OLD_NS)]) == []
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "folder").stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize("what", ["file", "symlink", "dangling", "folder", "fifo"])
def test_what_is_there_is_not_replaced_unless_told_to(tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    there = tmp_path / "target" / "file"
    there.parent.mkdir()
    match what:
        case "file":
            there.write_bytes(b"mine")
        case "symlink":
            there.symlink_to(outside)
        case "dangling":
            there.symlink_to("nowhere")
        case "folder":
            (there / "inner").mkdir(parents=True)
        case "fifo":
            os.mkfifo(there)
    before = there.lstat()
    with Target(there.parent) as target:
        with pytest.raises(TargetExists):
            put(target, b"file", b"new")
        assert there.lstat().st_ino == before.st_ino
        assert target.sweep() == 1
        if what == "folder":
            with pytest.raises(TargetExists):
                put(target, b"file", b"new", overwrite=True)
            assert (there / "inner").is_dir()
        else:
            put(target, b"file", b"new", overwrite=True)
            assert there.read_bytes() == b"new"
            assert not there.is_symlink()
    assert outside.read_bytes() == b"precious"


def test_without_replacing_works_where_the_kernel_lacks_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usenetsyncd.folders.rename._LIBC", None)
    with Target(tmp_path) as target:
        put(target, b"file", b"one")
        with pytest.raises(TargetExists):
            put(target, b"file", b"two")
        target.sync()
    assert (tmp_path / "file").read_bytes() == b"one"
    assert (tmp_path / "file").stat().st_nlink == 1


def test_a_killed_job_goes_on_in_its_temporary_file(tmp_path: Path) -> None:
    with Target(tmp_path) as target, target.begin_file(FILE, 10) as placing:
        placing.write(0, b"01234")
        placing.flush()
        name = placing.temporary
    with Target(tmp_path) as target:
        assert target.sweep(keep={name}) == 0
        resumed = target.resume_file(FILE, name, 10)
        assert resumed is not None
        resumed.write(5, b"56789")
        resumed.finish(0o644, OLD_NS, overwrite=False)
        assert target.resume_file(FILE, name, 10) is None
    assert (tmp_path / "folder" / "file").read_bytes() == b"0123456789"


def test_only_a_temporary_file_of_ours_is_resumed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"precious")
    name = b".usenetsync-0011223344556677.part"
    folder = tmp_path / "target" / "folder"
    folder.mkdir(parents=True)
    with Target(tmp_path / "target") as target:
        part = folder / os.fsdecode(name)
        part.symlink_to(secret)
        assert target.resume_file(FILE, name, 4) is None
        part.unlink()
        os.link(secret, part)
        assert target.resume_file(FILE, name, 4) is None
        part.unlink()
        part.mkdir()
        assert target.resume_file(FILE, name, 4) is None
        assert target.resume_file(FILE, b"../secret", 4) is None
        assert target.resume_file(FILE, b".usenetsync-/../x.part", 4) is None
    assert secret.read_bytes() == b"precious"


def test_leftovers_are_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".usenetsync-notes").touch()
    with Target(tmp_path) as target:
        kept = target.begin_file(RelativePath(b"a/kept"), 5)
        for path in (b"a/x", b"b/y", b"z"):
            target.begin_file(RelativePath(path), 5).close()
        assert target.sweep(keep={kept.temporary}) == 3
        assert parts(tmp_path) == [tmp_path / "a" / os.fsdecode(kept.temporary)]
        kept.discard()
    assert parts(tmp_path) == []
    assert (tmp_path / ".usenetsync-notes").exists()


def test_zeros_become_holes_in_a_sparse_file_and_only_there(tmp_path: Path) -> None:
    content = b"start" + bytes(3_000_000) + b"middle" + bytes(2_000_000)
    for name, sparse in ((b"sparse", True), (b"full", False)):
        with (
            Target(tmp_path) as target,
            target.begin_file(RelativePath(name), len(content), sparse) as placing,
        ):
            for offset in range(0, len(content), 768_000):
                placing.write(offset, content[offset : offset + 768_000])
            placing.finish(0o644, OLD_NS, overwrite=False)
        assert (tmp_path / os.fsdecode(name)).read_bytes() == content
    assert (tmp_path / "sparse").stat().st_blocks * 512 < 50_000
    assert (tmp_path / "full").stat().st_blocks * 512 >= len(content)


def test_nothing_is_written_outside_a_files_size(tmp_path: Path) -> None:
    with Target(tmp_path) as target, target.begin_file(FILE, 10) as placing:
        for offset in (-1, 6, 10, 1 << 62):
            with pytest.raises(LimitExceeded):
                placing.write(offset, b"12345")


def test_folders_get_their_mode_and_time_after_what_is_in_them(tmp_path: Path) -> None:
    folders = [RelativePath(path) for path in (b"", b"a", b"a-b", b"a-b/x", b"a/x", b"a/x/y", b"a0", b"b")]
    with Target(tmp_path) as target:
        for path in folders:
            target.make_folder(path)
        put(target, b"a/x/y/file", b"x")
        looks = (FolderLook(path, 0o500, OLD_NS + number) for number, path in enumerate(folders))
        assert target.finish_folders(looks) == []
    for number, path in enumerate(folders):
        status = os.stat(os.path.join(os.fsencode(tmp_path), path))
        assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o500, OLD_NS + number)


def test_a_read_only_tree_is_restored_and_restored_again_without_privileges() -> None:
    with public_directory() as path:

        def restore() -> None:
            os.umask(0o077)
            with Target(path / "target") as target:
                for content in (b"one", b"two"):
                    for folder in (b"a", b"a/b"):
                        target.make_folder(RelativePath(folder))
                    put(target, b"a/b/file", content, overwrite=True)
                    looks = ((b"a", 0o500), (b"a/b", 0o000))
                    folders = [FolderLook(RelativePath(path), mode, OLD_NS) for path, mode in looks]
                    assert target.finish_folders(folders) == []
                target.make_folder(RelativePath(b"a/b"))
                assert (path / "target/a/b/file").read_bytes() == b"two"
                target.make_folder(RelativePath(b"a"))

        as_nobody(restore)


def test_symlinks_are_made_as_they_were_and_replaced_only_when_told_to(tmp_path: Path) -> None:
    with Target(tmp_path) as target:
        for link in (b"/etc/passwd", b"../..", b"\xff\n", b"x" * 4_095):
            path = RelativePath(b"links/%d" % len(link))
            target.make_symlink(path, link, OLD_NS, overwrite=False)
            assert read_target(target.root, path) == link
            assert os.lstat(tmp_path / os.fsdecode(path)).st_mtime_ns == OLD_NS
        with pytest.raises(TargetExists):
            target.make_symlink(path, b"other", OLD_NS, overwrite=False)
        target.make_symlink(path, b"other", OLD_NS, overwrite=True)
        assert read_target(target.root, path) == b"other"
    assert parts(tmp_path) == []


def test_hard_links_share_their_inode(tmp_path: Path) -> None:
    first, second = RelativePath(b"a/first"), RelativePath(b"b/second")
    with Target(tmp_path) as target:
        put(target, first, b"x")
        target.make_hard_link(first, second, overwrite=False)
        target.make_hard_link(first, second, overwrite=False)  # again, after a crash
        put(target, b"b/third", b"y")
        with pytest.raises(TargetExists):
            target.make_hard_link(first, RelativePath(b"b/third"), overwrite=False)
        target.make_hard_link(first, RelativePath(b"b/third"), overwrite=True)
        with pytest.raises(TargetUnwritable):
            target.make_hard_link(RelativePath(b"gone"), RelativePath(b"c"), overwrite=False)
    inodes = {(tmp_path / path).stat().st_ino for path in ("a/first", "b/second", "b/third")}
    assert len(inodes) == 1
    assert parts(tmp_path) == []


def test_what_stands_there_is_compared_by_kind_size_and_time(tmp_path: Path) -> None:
    file = Entry(RelativePath(b"file"), EntryKind.FILE, size=3, mtime_ns=OLD_NS)
    link = Entry(RelativePath(b"link"), EntryKind.SYMLINK, target=b"there")
    folder = Entry(RelativePath(b"folder"), EntryKind.FOLDER)
    with Target(tmp_path) as target:
        for entry in (file, link, folder):
            assert target.compare(entry.path, entry) is Sameness.ABSENT
        put(target, b"file", b"one")
        target.make_symlink(link.path, b"there", 0, overwrite=False)
        target.make_folder(folder.path)
        for entry in (file, link, folder):
            assert target.compare(entry.path, entry) is Sameness.SAME
            others = {file.path, link.path, folder.path} - {entry.path}
            assert all(target.compare(path, entry) is Sameness.DIFFERENT for path in others)
        os.utime(tmp_path / "file", ns=(0, OLD_NS + 1))
        assert target.compare(file.path, file) is Sameness.DIFFERENT
        os.utime(tmp_path / "file", ns=(0, OLD_NS // 10**9 * 10**9))  # a filesystem of whole seconds
        assert target.compare(file.path, file) is Sameness.SAME


def test_a_file_that_is_there_already_gets_its_mode_and_attributes(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    (tmp_path / "outside").chmod(0o600)
    with Target(tmp_path / "target") as target:
        put(target, FILE, b"x", mode=0o644)
        there = Entry(FILE, EntryKind.FILE, 1, OLD_NS, 0o4711)
        assert target.compare(FILE, there) is Sameness.BUT_FOR_MODE
        kept = Attributes(None, ((b"security.x", b""), (b"user.a", b"b")))
        target.dress_again(FILE, 0o4711, kept)
        assert target.compare(FILE, there) is Sameness.SAME
        assert target.refusals.counts() == [(b"security.x", 1)]
        placed = tmp_path / "target" / "folder" / "file"
        before = placed.stat().st_ctime_ns
        target.dress_again(FILE, 0o4711, kept)
        assert placed.stat().st_ctime_ns == before  # what is right already is not touched
        target.make_symlink(RelativePath(b"link"), b"../outside", 0, overwrite=False)
        target.dress_again(RelativePath(b"link"), 0o777, kept)
        with pytest.raises(TargetUnwritable):
            target.dress_again(RelativePath(b"gone"), 0o777)
    assert placed.stat().st_mode & 0o7777 == 0o711
    assert os.getxattr(placed, "user.a") == b"b"
    assert (tmp_path / "outside").stat().st_mode & 0o7777 == 0o600


def test_the_zoo_comes_back_as_it_was(tmp_path: Path) -> None:
    source, restored = tmp_path / "source", tmp_path / "restored"
    source.mkdir()
    contents = make_zoo(os.fsencode(source))
    with FolderRoot(source) as root, Target(restored) as target:
        folders = []
        for listing in walk(root):
            assert listing.status is not None
            folders.append(FolderLook(listing.path, listing.status.mode, listing.status.mtime_ns))
            target.make_folder(listing.path)
            for entry in listing.entries:
                path = listing.path_of(entry.name)
                if entry.kind is EntryKind.SYMLINK:
                    target.make_symlink(path, read_target(root, path), entry.mtime_ns, overwrite=False)
                    continue
                with (
                    open_file(root, path) as opened,
                    target.begin_file(path, entry.size, entry.sparse) as placing,
                ):
                    offset = 0
                    for view in opened.slices(bytearray(768_000)):
                        placing.write(offset, view)
                        offset += len(view)
                    placing.finish(entry.mode, entry.mtime_ns, overwrite=False, flush=False)
        target.sync()
        assert target.finish_folders(sorted(folders)) == []
        assert describe(restored) == describe(source)
        assert (restored / "sparse").stat().st_blocks * 512 < 50_000
    assert {path for path in contents if not (restored / os.fsdecode(path)).is_file()} == set()


def describe(path: Path) -> dict[bytes, tuple[object, ...]]:
    found: dict[bytes, tuple[object, ...]] = {}
    with FolderRoot(path) as root:
        for listing in walk(root):
            assert listing.status is not None
            found[listing.path] = (listing.status.mode, listing.status.mtime_ns)
            for entry in listing.entries:
                at = os.path.join(os.fsencode(path), listing.path_of(entry.name))
                content = (
                    os.readlink(at) if entry.kind is EntryKind.SYMLINK else Path(os.fsdecode(at)).read_bytes()
                )
                found[listing.path_of(entry.name)] = (entry.kind, entry.mode, entry.mtime_ns, content)
    return found


def test_the_longest_path_is_made(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with deep_path(os.fsencode(tmp_path / "model")) as (folders, _):
        path = RelativePath(folders + b"/" + b"f" * (4_096 - len(folders) - 1))
    with Target(tmp_path / "target") as target:
        put(target, path, b"deep")
        entry = Entry(path, EntryKind.FILE, size=4, mtime_ns=OLD_NS)
        assert target.compare(path, entry) is Sameness.SAME
        assert target.finish_folders([FolderLook(RelativePath(folders), 0o755, OLD_NS)]) == []


def test_many_threads_make_the_same_folders_at_once(tmp_path: Path) -> None:
    def work(worker: int) -> None:
        for number in range(40):
            put(target, b"a/b/%d/c/%d" % (number, worker), b"x")

    with Target(tmp_path) as target, ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 160


def test_a_target_that_cannot_be_made_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RootMissing):
        Target(tmp_path / "file" / "target")
    with pytest.raises(RootMissing):
        Target(tmp_path / "file")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, TargetUnwritable),
        (errno.EEXIST, TargetExists),
    ],
)
def test_each_refusal_of_the_system_has_its_error(tmp_path: Path, code: int, error: type[Exception]) -> None:
    with Target(tmp_path) as target:
        assert isinstance(placing_problem(OSError(code, "x"), target.root, FILE), error)
        with pytest.raises(OSError, match="open files"):
            placing_problem(OSError(errno.EMFILE, "too many open files"), target.root, FILE)


def test_the_room_that_is_left_is_known(tmp_path: Path) -> None:
    with Target(tmp_path) as target:
        assert 0 < target.free_bytes() <= shutil.disk_usage(tmp_path).total


def test_a_folder_we_may_not_write_in_is_said_so() -> None:
    with public_directory() as path:
        (path / "closed").mkdir()
        (path / "closed").chmod(0o555)

        def restore() -> None:
            with Target(path) as target, pytest.raises(TargetUnwritable):
                put(target, b"closed/file", b"x")

        as_nobody(restore)
        (path / "closed").chmod(0o755)
