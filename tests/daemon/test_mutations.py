"""What people and programs do to a watched folder; after each, the restored tree is the same."""

import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemon.harness import SETTLE_S, DaemonProcess, World, assert_restored
from tests.daemon.trees import write_files

DATA, INDEX, HEAD, ENVELOPE = 1, 2, 3, 4


@dataclass
class Synced:
    """A folder that is published, and a reader of its string."""

    world: World
    one: DaemonProcess
    two: DaemonProcess
    string: str
    restores: int = 0

    @property
    def root(self) -> Path:
        return self.world.source

    def check(self) -> None:
        """After what was done last: published, and the same elsewhere."""
        self.one.wait_idle()
        self.restores += 1
        target = self.world.place / f"out {self.restores}"
        assert_restored(self.two, self.string, self.root, target)
        shutil.rmtree(target)
        self.world.assert_posted_once()

    def articles(self) -> dict[int, int]:
        """Articles posted so far by kind."""
        database = self.one.catalogue()
        try:
            rows = database.execute(
                "SELECT s.kind, count(*) FROM article a JOIN segment s ON s.id = a.segment_id WHERE a.state = 0 GROUP BY 1"
            )
            return {DATA: 0, INDEX: 0, HEAD: 0, ENVELOPE: 0, **dict(rows.fetchall())}
        finally:
            database.close()

    def posted_by(self, deed: Callable[[], object]) -> dict[int, int]:
        """Articles by kind that something leads to; checked afterwards."""
        before, offers = self.articles(), self.world.posts()
        deed()
        self.check()
        after = self.articles()
        made = {kind: after[kind] - before[kind] for kind in after}
        assert sum(made.values()) == self.world.posts() - offers
        return made


@pytest.fixture
def synced(here: World) -> Iterator[Synced]:
    write_files(here.source, 300, random.Random(4), per_folder=60)
    (here.source / "large").write_bytes(random.Random(5).randbytes(2_500_000))
    one, two = here.daemon(), here.reader()
    one.start()
    two.start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    yield Synced(here, one, two, string)
    assert not [event for event in one.events() if event["level"] == "error"]
    assert one.stop() == 0


def test_a_recursive_chmod_posts_no_data(synced: Synced) -> None:
    def chmod() -> None:
        for path in (synced.root, *synced.root.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)

    assert synced.posted_by(chmod)[DATA] == 0


def test_a_renamed_folder_and_a_copied_file_post_no_data(synced: Synced) -> None:
    root = synced.root
    assert synced.posted_by(lambda: (root / "folder 001").rename(root / "another name"))[DATA] == 0
    assert (
        synced.posted_by(lambda: shutil.copyfile(root / "large", root / "another name" / "copy"))[DATA] == 0
    )
    assert (
        synced.posted_by(lambda: shutil.copytree(root / "folder 002", root / "folder 002 again"))[DATA] == 0
    )
    assert synced.posted_by(lambda: (root / "large").rename(root / "Large"))[DATA] == 0
    assert synced.posted_by(lambda: (root / "folder 003").rename(root / "Folder 003"))[DATA] == 0


def test_files_moved_between_two_folders_of_a_busy_machine_post_no_data(synced: Synced) -> None:
    root = synced.root
    first, second = root / "first", root / "second"
    write_files(first, 1_000, random.Random(10), largest=2_000, per_folder=1_000)
    second.mkdir()
    (second / "there before").write_bytes(b"there before")
    synced.check()

    def move(source: Path, target: Path, pause_s: float) -> None:
        """Slowly enough that the one folder has settled before the other."""
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        assert len(paths) >= 1_000
        aside = synced.world.place / "aside"
        aside.mkdir()
        for path in paths:
            path.rename(aside / path.name)
        time.sleep(pause_s)
        for path in aside.iterdir():
            path.rename(target / path.name)
        aside.rmdir()

    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as load:
        try:
            for pause_s in (0.0, 3 * SETTLE_S):
                assert synced.posted_by(lambda pause_s=pause_s: move(first, second, pause_s))[DATA] == 0
                assert synced.posted_by(lambda pause_s=pause_s: move(second, first, pause_s))[DATA] == 0
        finally:
            load.kill()


def test_a_byte_put_into_a_large_file_posts_two_segments_of_it(synced: Synced) -> None:
    large = synced.root / "large"
    content = random.Random(11).randbytes(24_000_000)
    large.write_bytes(content)
    synced.check()
    posted = synced.posted_by(lambda: large.write_bytes(b"x" + content))
    # The one with the byte, halved, and the few kilobytes at the end that are packed.
    assert posted[DATA] <= 3
    posted = synced.posted_by(lambda: large.write_bytes(b"x" + content[:9_000_000] + content[12_000_000:]))
    assert posted[DATA] <= 3


def test_a_tree_moved_in_is_complete_and_moved_out_is_gone(synced: Synced) -> None:
    elsewhere = synced.world.place / "elsewhere"
    write_files(elsewhere / "deep" / "er", 400, random.Random(6), per_folder=20)
    inside = synced.root / "moved in"
    elsewhere.rename(inside)
    synced.check()
    assert len([path for path in inside.rglob("*") if path.is_file()]) == 400
    inside.rename(elsewhere)
    synced.check()
    # Back again: what was posted once is known.
    assert synced.posted_by(lambda: elsewhere.rename(inside))[DATA] <= 3


def test_an_unpacked_archive_is_complete_with_its_old_times(synced: Synced) -> None:
    packed = synced.world.place / "packed"
    write_files(packed, 500, random.Random(7), per_folder=7)
    for path in packed.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    archive = synced.world.place / "archive.tar"
    with tarfile.open(archive, "w") as made:
        made.add(packed, "unpacked")
    subprocess.run(["tar", "xf", str(archive), "-C", str(synced.root)], check=True)
    synced.check()


@pytest.mark.requires("git")
def test_a_clone_and_a_checkout_inside_the_folder_are_complete(synced: Synced) -> None:
    place = synced.world.place / "origin"
    write_files(place, 200, random.Random(8), per_folder=25)
    names = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.invalid"]

    def git(where: Path, *words: str) -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": str(synced.world.place), "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(
            ["git", *names, "-C", str(where), *words], check=True, capture_output=True, env=environ
        )

    git(place, "init", "-q", "-b", "first")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "one")
    git(place, "checkout", "-q", "-b", "second")
    shutil.rmtree(place / "folder 000")
    for path in sorted(place.rglob("file *"))[::3]:
        path.write_bytes(b"changed " + path.name.encode())
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "two")
    git(synced.root, "clone", "-q", str(place), "clone")
    synced.check()
    git(synced.root / "clone", "checkout", "-q", "first")
    synced.check()
    git(synced.root / "clone", "checkout", "-q", "second")
    synced.check()


def test_an_editor_that_saves_by_rename_is_followed(synced: Synced) -> None:
    path = synced.root / "folder 000" / "file 00001"
    for number in range(3):
        fresh = path.with_name("." + path.name + ".swp")
        fresh.write_bytes(b"saved %d" % number)
        os.replace(fresh, path)
        path.with_name(path.name + "~").write_bytes(b"backup %d" % number)
        synced.check()


def test_a_file_held_open_and_appended_to_is_kept_at_each_rest(synced: Synced) -> None:
    with (synced.root / "growing").open("ab", buffering=0) as opened:
        for _ in range(3):
            opened.write(os.urandom(400_000))
            synced.check()


def test_a_file_becomes_a_folder_and_a_folder_a_file(synced: Synced) -> None:
    path, folder = synced.root / "large", synced.root / "folder 004"
    path.unlink()
    path.mkdir()
    (path / "inner").write_bytes(b"inner")
    shutil.rmtree(folder)
    folder.write_bytes(b"once a folder")
    synced.check()
    shutil.rmtree(path)
    path.symlink_to("folder 000")
    folder.unlink()
    folder.mkdir()
    synced.check()


def test_names_that_swap_places_keep_their_contents(synced: Synced) -> None:
    root = synced.root
    first, second = root / "folder 000", root / "folder 001"
    first.rename(root / "aside")
    second.rename(first)
    (root / "aside").rename(second)
    a, b = sorted(first.iterdir())[:2]
    a.rename(root / "aside")
    b.rename(a)
    (root / "aside").rename(b)
    os.link(a, root / "hard")
    synced.check()
    a.unlink()
    synced.check()


def test_edits_while_the_daemon_is_down_are_found_at_the_start(synced: Synced) -> None:
    assert synced.one.stop() == 0
    shutil.rmtree(synced.root / "folder 000")
    (synced.root / "folder 001" / "new").write_bytes(b"new")
    (synced.root / "large").rename(synced.root / "folder 001" / "large")
    synced.one.start()
    synced.check()


def test_one_changed_file_among_many_is_two_articles_beside_its_own(here: World) -> None:
    count = int(os.environ.get("MANY_FILES", "20000"))
    write_files(here.source, count, random.Random(9), largest=64, per_folder=200)
    one, two = here.daemon(), here.reader()
    one.start()
    two.start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    synced = Synced(here, one, two, string)
    path = here.source / "folder 007" / "file 01407"
    assert synced.posted_by(lambda: path.write_bytes(b"changed")) == {DATA: 1, INDEX: 1, HEAD: 1, ENVELOPE: 0}
