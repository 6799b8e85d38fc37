"""Watching: whatever happens on the disk, what is scanned because of it ends equal to the disk."""

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.observers.polling import PollingObserver

from tests.folders.zoo import make_zoo
from usenetsyncd.errors import FolderError
from usenetsyncd.folders.ignore import NO_RULES, IgnoreRules, compile_rules
from usenetsyncd.folders.root import ROOT_PATH, FolderRoot
from usenetsyncd.folders.scan import DirectoryListing, join, scan_directory, walk
from usenetsyncd.folders.settle import Settle
from usenetsyncd.folders.watch import Coverage, FolderWatch, PlatformFront, Relay
from usenetsyncd.model import RelativePath

pytestmark = pytest.mark.requires("linux")

KEY = "docs"
CREATES_FILES = """
import os, sys
root, folders, files, new = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "new"
for number in range(files):
    at = f"{root}/{number % folders}"
    if new and number < folders:
        os.mkdir(at)
    made = os.open(f"{at}/file{number}", os.O_CREAT | os.O_WRONLY)
    os.write(made, b"x")
    os.close(made)
"""


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def contents(listing: DirectoryListing) -> dict[bytes, tuple[int, int]]:
    return {entry.name: (entry.size, entry.ctime_ns) for entry in listing.entries}


class Mirror:
    """What a catalogue would know: it looks only where the watch says that something happened."""

    def __init__(
        self,
        root: Path,
        ignore: IgnoreRules = NO_RULES,
        front: Callable[[Relay], PlatformFront] | None = None,
    ) -> None:
        self.root = root
        self.ignore = ignore
        self.settle = Settle(quiet_s=0.1, longest_s=1.0)
        self.dirty: set[bytes] = set()
        self.reasons: list[str] = []
        self.known: dict[bytes, dict[bytes, tuple[int, int]]] = {}
        self.watch = FolderWatch(self._on_dirty, self._on_overflow, front)
        self.coverage = self.watch.add(KEY, root, ignore)
        self._scan_whole()

    def _on_dirty(self, key: str, directory: RelativePath) -> None:
        self.dirty.add(directory)
        self.settle.mark(key, directory)

    def _on_overflow(self, key: str, reason: str) -> None:
        self.reasons.append(reason)
        self.settle.mark_whole(key)

    def _scan_whole(self) -> None:
        with FolderRoot(self.root) as root:
            self.known = {listing.path: contents(listing) for listing in walk(root, self.ignore)}

    def _scan(self, root: FolderRoot, directory: RelativePath) -> None:
        listing = scan_directory(root, directory, self.ignore)
        below = directory + b"/" if directory else b""
        children = {
            path for path in self.known if path.startswith(below) and b"/" not in path[len(below) :]
        } - {b""}
        if listing is None:
            self._forget(directory)
            return
        self.known[directory] = contents(listing)
        found = {join(directory, name) for name in listing.subdirectories}
        for gone in children - found:
            self._forget(gone)
        for new in found - children:
            for inner in walk(root, self.ignore, new):
                self.known[inner.path] = contents(inner)

    def _forget(self, directory: bytes) -> None:
        gone = [path for path in self.known if path == directory or path.startswith(directory + b"/")]
        for path in gone:
            del self.known[path]

    def catch_up(self) -> None:
        for due in self.settle.due():
            if due.directories is None:
                self._scan_whole()
                continue
            with FolderRoot(self.root) as root:
                for directory in sorted(due.directories):
                    self._scan(root, directory)

    def is_equal(self) -> bool:
        self.catch_up()
        with FolderRoot(self.root) as root:
            return self.known == {listing.path: contents(listing) for listing in walk(root, self.ignore)}

    def becomes_equal(self, within_s: float = 20.0) -> None:
        until(lambda: self.is_equal() and not self.settle.is_dirty(KEY), within_s)

    def stays_quiet(self, for_s: float = 0.4) -> bool:
        self.dirty.clear()
        time.sleep(for_s)
        return not self.dirty


@contextmanager
def mirrored(
    root: Path, ignore: IgnoreRules = NO_RULES, front: Callable[[Relay], PlatformFront] | None = None
) -> Iterator[Mirror]:
    mirror = Mirror(root, ignore, front)
    try:
        yield mirror
        assert mirror.watch.healthy()
    finally:
        mirror.watch.close()


def create_files(root: Path, folders: int, files: int, new: bool) -> None:
    arguments = [
        sys.executable,
        "-c",
        CREATES_FILES,
        str(root),
        str(folders),
        str(files),
        "new" if new else "old",
    ]
    subprocess.run(arguments, check=True)


@pytest.mark.parametrize("new", [False, True], ids=["old folders", "new folders"])
def test_after_a_burst_of_twenty_thousand_files_nothing_is_missing(tmp_path: Path, new: bool) -> None:
    if not new:
        for number in range(200):
            (tmp_path / str(number)).mkdir()
    with mirrored(tmp_path) as mirror:
        create_files(tmp_path, 200, 20_000, new)
        mirror.becomes_equal()
        assert sum(len(files) for files in mirror.known.values()) == 20_000
        assert mirror.reasons == []
        assert {b"%d" % number for number in range(200)} <= mirror.dirty
        assert mirror.watch.coverage(KEY) == Coverage(201, 201)


def test_a_tree_that_is_moved_in_is_complete_and_watched(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    inside.mkdir()
    for number in range(300):
        (outside / f"{number % 10}" / f"{number}").mkdir(parents=True)
        (outside / f"{number % 10}" / f"{number}" / "file").touch()
    with mirrored(inside) as mirror:
        outside.rename(inside / "moved")
        mirror.becomes_equal()
        assert len(mirror.known) == 312
        (inside / "moved" / "7" / "297" / "later").touch()
        mirror.becomes_equal()
        assert b"later" in mirror.known[b"moved/7/297"]


def test_a_tree_that_is_moved_about_keeps_being_watched_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a" / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    with mirrored(tmp_path) as mirror:
        (tmp_path / "a" / "tree").rename(tmp_path / "b" / "tree")
        mirror.becomes_equal()
        (tmp_path / "a" / "tree").mkdir()
        (tmp_path / "b" / "tree" / "deep" / "file").touch()
        (tmp_path / "a" / "tree" / "other").touch()
        mirror.becomes_equal()
        assert mirror.known[b"b/tree/deep"].keys() == {b"file"}
        assert mirror.watch.coverage(KEY) == Coverage(6, 6)


def test_a_tree_that_is_moved_out_is_watched_no_more(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "tree" / "deep").mkdir(parents=True)
    with mirrored(inside) as mirror:
        (inside / "tree").rename(outside)
        mirror.becomes_equal()
        until(lambda: mirror.watch.coverage(KEY) == Coverage(1, 1))
        (outside / "deep" / "file").touch()
        assert mirror.stays_quiet()


def test_two_folders_that_change_places_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / name).mkdir(parents=True)
    with mirrored(tmp_path) as mirror:
        for _ in range(50):
            (tmp_path / "a").rename(tmp_path / "aside")
            (tmp_path / "b").rename(tmp_path / "a")
            (tmp_path / "aside").rename(tmp_path / "b")
        mirror.becomes_equal()
        for name in ("a", "b"):
            (next((tmp_path / name).iterdir()) / "file").touch()
        mirror.becomes_equal()


def test_an_archive_that_is_unpacked_is_complete(tmp_path: Path) -> None:
    source, inside = tmp_path / "source", tmp_path / "inside"
    source.mkdir()
    inside.mkdir()
    make_zoo(os.fsencode(source))
    os.unlink(source / "socket")
    with tarfile.open(tmp_path / "zoo.tar", "w") as archive:
        archive.add(source, "zoo")
    with mirrored(inside) as mirror:
        subprocess.run(["tar", "-xf", tmp_path / "zoo.tar", "-C", inside], check=True)
        mirror.becomes_equal()
        assert b"zoo/folder/inner" in mirror.known


@pytest.mark.requires("git")
def test_a_clone_and_its_checkouts_are_complete(tmp_path: Path) -> None:
    origin, inside = tmp_path / "origin", tmp_path / "inside"
    inside.mkdir()
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gc.auto=0"]

    def git(*arguments: object) -> None:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(
            ["git", *identity, *map(str, arguments)], check=True, capture_output=True, env=environment
        )

    git("init", "-q", "-b", "main", origin)
    for branch in ("main", "other"):
        if branch == "other":
            git("-C", origin, "checkout", "-q", "-b", "other")
        for number in range(300):
            path = origin / branch / f"{number % 20}" / f"file{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{branch} {number}")
        git("-C", origin, "add", "-A")
        git("-C", origin, "commit", "-q", "-m", branch)
    with mirrored(inside) as mirror:
        git("clone", "-q", origin, inside / "clone")
        mirror.becomes_equal()
        git("-C", inside / "clone", "checkout", "-q", "main", "--")
        mirror.becomes_equal()
        assert not any(path.startswith(b"clone/other") for path in mirror.known)
        git("-C", inside / "clone", "checkout", "-q", "other", "--")
        mirror.becomes_equal()
        assert b"clone/other/7" in mirror.known


EDITS: dict[str, Callable[[Path], object]] = {
    "write": lambda path: (path / "file").write_bytes(b"new"),
    "append": lambda path: (path / "file").open("ab", buffering=0).write(b"more"),
    "truncate": lambda path: os.truncate(path / "file", 1),
    "chmod": lambda path: (path / "file").chmod(0o600),
    "chmod a folder": lambda path: path.chmod(0o711),
    "utime": lambda path: os.utime(path / "file", ns=(1, 1)),
    "unlink": lambda path: (path / "file").unlink(),
    "save by rename": lambda path: [
        (path / ".file~").write_bytes(b"n"),
        (path / ".file~").rename(path / "file"),
    ],
    "hard link": lambda path: os.link(path / "file", path / "linked"),
    "symlink": lambda path: (path / "link").symlink_to("/nowhere"),
    "new folder": lambda path: (path / "new" / "newer").mkdir(parents=True),
    "remove folder": shutil.rmtree,
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("edit", EDITS)
def test_each_edit_is_noticed(tmp_path: Path, edit: str) -> None:
    at = tmp_path / "a" / "b"
    at.mkdir(parents=True)
    (at / "file").write_bytes(b"content")
    with mirrored(tmp_path) as mirror:
        EDITS[edit](at)
        until(lambda: bool(mirror.dirty))
        mirror.becomes_equal()


def test_reading_and_listing_are_no_changes(tmp_path: Path) -> None:
    make_zoo(os.fsencode(tmp_path))
    with mirrored(tmp_path) as mirror:
        assert mirror.stays_quiet()
        mirror.dirty.clear()
        for path in ("plain", "large", "folder/inner/file"):
            (tmp_path / path).read_bytes()
        list(tmp_path.rglob("*"))
        assert mirror.stays_quiet()


def test_a_file_that_grows_for_a_while_is_looked_at_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    with mirrored(tmp_path) as mirror, (tmp_path / "log").open("ab", buffering=0) as opened:
        seen: set[int] = set()
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            opened.write(b"line\n")
            time.sleep(0.02)
            mirror.catch_up()
            seen.add(mirror.known[b""][b"log"][0])
        assert 2 <= len(seen) <= 6  # never quiet, so once a second here
        mirror.becomes_equal()


def test_ignored_directories_are_not_watched(tmp_path: Path) -> None:
    (tmp_path / "build" / "deep").mkdir(parents=True)
    (tmp_path / "src").mkdir()
    with mirrored(tmp_path, compile_rules(["build/"])) as mirror:
        assert mirror.coverage == Coverage(2, 2)
        (tmp_path / "build" / "deep" / "file").touch()
        assert mirror.stays_quiet()
        (tmp_path / "src" / "build" / "x").mkdir(parents=True)
        (tmp_path / "src" / "lib").mkdir()
        mirror.becomes_equal()
        assert mirror.watch.coverage(KEY) == Coverage(3, 3)
        mirror.watch.add(KEY, tmp_path, NO_RULES)
        assert mirror.watch.coverage(KEY) == Coverage(7, 7)


def test_symlinked_directories_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    with mirrored(inside) as mirror:
        (inside / "later").symlink_to(outside)
        mirror.becomes_equal()
        (outside / "file").touch()
        assert mirror.stays_quiet()
        assert mirror.watch.coverage(KEY) == Coverage(1, 1)


class SlowRules(IgnoreRules):
    """Rules that keep the watching thread busy for as long as a test wants."""

    started = threading.Event()
    go_on = threading.Event()

    def __bool__(self) -> bool:
        return True

    def matches(self, path: RelativePath, is_dir: bool) -> bool:
        if path == b"wait here":
            self.started.set()
            assert self.go_on.wait(30)
        return False


def test_an_overflow_of_the_kernels_queue_is_told_and_nothing_stays_lost(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for name in ("gone", *map(str, range(50))):
        (tmp_path / name).mkdir()
    with mirrored(tmp_path, SlowRules()) as mirror:
        (tmp_path / "wait here").mkdir()
        assert SlowRules.started.wait(10)
        create_files(tmp_path, 50, limit // 2, new=False)  # three events each
        (tmp_path / "unseen" / "deep").mkdir(parents=True)
        shutil.rmtree(tmp_path / "gone")
        SlowRules.go_on.set()
        until(lambda: bool(mirror.reasons))
        assert "overflow" in mirror.reasons[0]
        mirror.becomes_equal()
        (tmp_path / "unseen" / "deep" / "file").touch()
        mirror.becomes_equal()
        assert mirror.known[b"unseen/deep"].keys() == {b"file"}
        directories = len(mirror.known)
        assert mirror.watch.coverage(KEY) == Coverage(directories, directories)


def test_a_root_that_goes_and_comes_back_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    told: list[str] = []
    watch = FolderWatch(lambda key, directory: None, lambda key, reason: told.append(reason))
    try:
        watch.add(KEY, root)
        root.rename(tmp_path / "away")
        until(lambda: len(told) == 1)
        coverage = watch.coverage(KEY)
        assert coverage is not None
        assert coverage.problem is not None
        assert not coverage.complete
        (tmp_path / "away").rename(root)
        until(lambda: len(told) == 2)
        assert watch.coverage(KEY) == Coverage(2, 2)
        shutil.rmtree(root)
        until(lambda: len(told) == 3)
        assert watch.healthy()
    finally:
        watch.close()


def test_a_root_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    told: list[str] = []
    watch = FolderWatch(lambda key, directory: None, lambda key, reason: told.append(reason))
    try:
        assert watch.add(KEY, tmp_path / "later").problem is not None
        (tmp_path / "later" / "a").mkdir(parents=True)
        until(lambda: bool(told))
        assert watch.coverage(KEY) == Coverage(2, 2)
    finally:
        watch.close()


OUT_OF_WATCHES = """
import pathlib, sys
pathlib.Path("/proc/sys/user/max_inotify_watches").write_text("40")
from usenetsyncd.folders.watch import FolderWatch
watch = FolderWatch(lambda key, directory: None, lambda key, reason: None)
coverage = watch.add("docs", sys.argv[1])
watch.close()
print(coverage.watched, coverage.total, len(coverage.unwatched))
print(coverage.problem)
"""


@pytest.mark.requires("user-namespaces")
def test_without_enough_watches_it_is_said_how_many_and_which(tmp_path: Path) -> None:
    """In a user namespace of its own, where the limit can be set."""
    for number in range(100):
        (tmp_path / f"{number // 10}" / f"{number}").mkdir(parents=True)
    script = [sys.executable, "-c", OUT_OF_WATCHES, str(tmp_path)]
    told = subprocess.run(["unshare", "-Ur", *script], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    numbers, problem = told.stdout.splitlines()[-2:]
    watched, total, unwatched = map(int, numbers.split())
    assert (watched, total) == (40, 111)
    assert 0 < unwatched < 71  # whole sub-trees are one
    assert "40 of 111" in problem
    assert "fs.inotify.max_user_watches" in problem


def test_one_directory_in_two_folders_is_told_to_both(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    dirty: set[tuple[str, bytes]] = set()
    watch = FolderWatch(lambda key, directory: dirty.add((key, directory)), lambda key, reason: None)
    try:
        watch.add("outer", tmp_path / "outer")
        watch.add("inner", inner)
        (inner / "file").touch()
        until(lambda: {("outer", b"inner"), ("inner", b"")} <= dirty)
        watch.remove("outer")
        assert watch.coverage("outer") is None
        dirty.clear()
        (inner / "other").touch()
        until(lambda: dirty == {("inner", b"")})
        (inner / "new").mkdir()
        until(lambda: watch.coverage("inner") == Coverage(2, 2))
    finally:
        watch.close()


def test_a_callback_that_raises_does_not_end_the_watch(tmp_path: Path) -> None:
    told: list[bytes] = []

    def fail(key: str, directory: RelativePath) -> None:
        told.append(directory)
        raise ValueError("on purpose")

    watch = FolderWatch(fail, lambda key, reason: None)
    try:
        watch.add(KEY, tmp_path)
        for name in ("one", "two"):
            told.clear()
            (tmp_path / name).touch()
            until(lambda: told == [ROOT_PATH] or len(told) > 1)
        assert watch.healthy()
    finally:
        watch.close()


class BrokenRules(IgnoreRules):
    """Rules that fail once, in the watching thread."""

    broken = True

    def __bool__(self) -> bool:
        return True

    def matches(self, path: RelativePath, is_dir: bool) -> bool:
        if self.broken and path == b"boom":
            raise ZeroDivisionError
        return False


def test_a_dead_thread_is_noticed_and_revived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dirty: set[bytes] = set()
    told: list[str] = []
    watch = FolderWatch(lambda key, directory: dirty.add(directory), lambda key, reason: told.append(reason))
    try:
        watch.add(KEY, tmp_path, BrokenRules())
        (tmp_path / "boom").mkdir()
        until(lambda: not watch.healthy())
        monkeypatch.setattr(BrokenRules, "broken", False)
        watch.revive()
        assert watch.healthy()
        assert told == ["watching had stopped"]
        (tmp_path / "boom" / "file").touch()
        until(lambda: b"boom" in dirty)
        monkeypatch.setattr(BrokenRules, "broken", True)
        with pytest.raises(ZeroDivisionError):
            watch.add("other", tmp_path, BrokenRules())
        until(lambda: not watch.healthy())
        with pytest.raises(FolderError):
            watch.add("third", tmp_path)
    finally:
        watch.close()


def by_polling(relay: Relay) -> PlatformFront:
    """The front of other platforms, on the one observer of watchdog's that every platform has."""
    return PlatformFront(relay, lambda: PollingObserver(timeout=0.1))


def test_a_platform_without_inotify_is_watched_by_watchdog(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with mirrored(tmp_path, compile_rules(["build/"]), by_polling) as mirror:
        for edit in (
            lambda: (tmp_path / "a" / "b" / "file").write_bytes(b"x"),
            lambda: (tmp_path / "c" / "d").mkdir(parents=True),
            lambda: (tmp_path / "a" / "b" / "file").rename(tmp_path / "c" / "d" / "file"),
            lambda: (tmp_path / "c").rename(tmp_path / "a" / "c"),
            lambda: shutil.rmtree(tmp_path / "a" / "b"),
        ):
            mirror.dirty.clear()
            edit()
            until(lambda: bool(mirror.dirty))
            mirror.becomes_equal()
        (tmp_path / "build").mkdir()
        mirror.becomes_equal()
        until(mirror.stays_quiet)
        (tmp_path / "build" / "x").touch()
        (tmp_path / "a" / "c" / "d" / "file").read_bytes()
        assert mirror.stays_quiet()
        assert mirror.watch.coverage(KEY) == Coverage(1, 1)
        mirror.watch.remove(KEY)
        assert mirror.watch.coverage(KEY) is None


def test_the_platforms_own_observer_tells_of_a_change(tmp_path: Path) -> None:
    with mirrored(tmp_path, front=PlatformFront) as mirror:
        (tmp_path / "file").touch()
        until(lambda: bool(mirror.dirty))
        mirror.becomes_equal()


def test_five_thousand_directories_are_watched_at_once(tmp_path: Path) -> None:
    for number in range(5_000):
        (tmp_path / f"{number // 100}" / f"{number}").mkdir(parents=True)
    started = time.monotonic()
    with mirrored(tmp_path) as mirror:
        assert mirror.coverage == Coverage(5_051, 5_051)
        assert time.monotonic() - started < 3.0  # a tenth of that when nothing else runs
