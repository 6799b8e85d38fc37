"""Indexing: what is read, what is kept, what is planned, and what a stop leaves behind."""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flows.opened import opened_below
from tests.flows.workshop import QUIET_S, Workshop, wait_until, workshop
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.errors import Cancelled, RootMissing
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.model import ArticleKind, Owner, RelativePath

NOBODY = 65_534


def paths(shop: Workshop) -> set[bytes]:
    found = set()
    for path, row, _ in shop.catalogue.scan.digests(shop.row):
        for entry in shop.catalogue.scan.entries(row):
            found.add(path + b"/" + entry.name if path else entry.name)
    return found


def troubles(shop: Workshop) -> dict[str, int]:
    shop.flush()
    return shop.catalogue.troubles.counts(shop.row)


def planned(shop: Workshop) -> int:
    return len(shop.articles(ArticleState.QUEUED, ArticleKind.DATA)) + shop.posted(ArticleKind.DATA)


def changed(shop: Workshop) -> list[bytes]:
    return [bytes(path) for path, _ in shop.catalogue.versions.changes(shop.row, only_ready=False)]


def scan_racy(shop: Workshop, content: bytes) -> Path:
    """Have a file scanned in the tick in which it was written; a busy machine may need more than one try."""
    for _ in range(100):
        file = shop.write("fresh", content)
        if shop.scan(quiet=False).again == {RelativePath(b"")}:
            return file
    raise AssertionError("no scan came within a tick of the writing")


# -- what is read ------------------------------------------------------------------------------------


@pytest.mark.requires("linux")
def test_an_unchanged_file_is_never_opened(shop: Workshop) -> None:
    shop.fill("many", 50, seed=1)
    shop.write("large", os.urandom(900_000))
    shop.write("other/kept", b"kept")
    shop.scan()
    shop.write("many/f00007", b"changed")
    time.sleep(QUIET_S)
    with opened_below(shop.root) as opened:
        outcome = shop.scan(quiet=False)
        assert opened.files() == {"many/f00007"}
        assert outcome.files_hashed == 1
        again = shop.scan(quiet=False)
        assert opened.files() == set()
    assert (again.files_hashed, again.segments, again.deleted, again.again) == (0, 0, 0, set())


def test_a_sign_of_life_comes_for_each_folder_and_each_slice_where_nothing_else_tells(shop: Workshop) -> None:
    for number in range(40):
        shop.fill(f"folder{number}/below", 1, seed=number)
    shop.write("large", os.urandom(5 * 768_000))
    beats = Counter[int]()

    def beat() -> None:
        beats[threading.get_ident()] += 1

    shop.reindex(beat=beat).whole()
    hashing = [count for thread, count in beats.items() if thread != threading.get_ident()]
    assert sum(hashing) == 5
    beats.clear()
    time.sleep(QUIET_S)
    shop.reindex(beat=beat).whole()
    outcome = shop.reindex(beat=beat).whole()
    assert (outcome.files_hashed, outcome.folders) == (0, 81)
    assert beats[threading.get_ident()] >= 2 * 81


def test_only_ctime_changed_is_hashed_again_but_posts_and_publishes_nothing(shop: Workshop) -> None:
    file = shop.write("a", b"same" * 100)
    large = shop.write("large", os.urandom(800_000))
    shop.commit()
    articles = planned(shop)
    for path in (file, large):
        path.chmod(0o600)
        path.chmod(0o644)
    outcome = shop.scan()
    assert outcome.files_hashed == 2
    assert changed(shop) == []
    assert planned(shop) == articles
    assert shop.scan().files_hashed == 0
    shop.assert_sound()


def test_a_new_mode_is_published_but_posts_no_data(shop: Workshop) -> None:
    file = shop.write("a", b"same")
    file.chmod(0o644)
    shop.commit()
    file.chmod(0o600)
    shop.scan()
    assert changed(shop) == [b"a"]
    assert shop.articles(ArticleState.QUEUED) == []
    version = shop.publish()
    assert shop.index(version)[b"a"].mode == 0o600
    assert shop.posted(ArticleKind.DATA) == 1


@pytest.mark.requires("linux")
def test_an_attribute_of_a_folder_or_file_alone_is_published(shop: Workshop) -> None:
    both = ReindexOptions(owner=True, xattrs=True)
    file = shop.write("folder/a", b"same")
    shop.scan(options=both)
    shop.post_all()
    shop.publish()
    assert shop.scan(options=both).files_hashed == 0
    assert changed(shop) == []
    os.setxattr(shop.root / "folder", "user.kept", b"1")
    shop.scan(options=both)
    assert changed(shop) == [b"folder"]
    os.setxattr(file, "user.kept", b"2")
    shop.scan(options=both)
    assert changed(shop) == [b"folder", b"folder/a"]
    assert shop.articles(ArticleState.QUEUED) == []
    index = shop.index(shop.publish())
    assert index[b"folder"].xattrs == ((b"user.kept", b"1"),)
    assert index[b"folder/a"].xattrs == ((b"user.kept", b"2"),)
    assert shop.scan(options=both).files_hashed == 0


@pytest.mark.requires("linux")
def test_settings_that_ask_for_other_attributes_are_carried_out_on_what_is_there(shop: Workshop) -> None:
    file = shop.write("folder/a", b"same")
    os.setxattr(file, "user.kept", b"1")
    shop.commit()
    status = file.stat()
    for options in (ReindexOptions(xattrs=True), ReindexOptions(owner=True, xattrs=True), ReindexOptions()):
        shop.scan(options=options)
        entry = shop.index(shop.publish())[b"folder/a"]
        assert entry.xattrs == (((b"user.kept", b"1"),) if options.xattrs else ())
        assert entry.owner == (Owner(status.st_uid, status.st_gid) if options.owner else None)
        assert shop.scan(options=options).files_hashed == 0
    assert shop.posted(ArticleKind.DATA) == 1


def test_a_racy_file_is_hashed_again_and_not_published_again(shop: Workshop) -> None:
    scan_racy(shop, b"written in this very tick")
    shop.post_all()
    shop.publish()
    again = shop.scan()
    assert again.files_hashed == 1
    assert changed(shop) == []
    assert shop.scan().files_hashed == 0


def test_a_racy_file_that_changed_behind_its_times_is_noticed(shop: Workshop) -> None:
    file = scan_racy(shop, b"before")
    times = file.stat()
    file.write_bytes(b"after!")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    shop.scan()
    shop.post_all()
    (article,) = shop.articles(ArticleState.POSTED, ArticleKind.DATA)
    assert shop.content_on_server(article) == b"after!"


# -- content that is known already -------------------------------------------------------------------


def test_moved_and_copied_content_posts_no_data_segment(shop: Workshop) -> None:
    shop.fill("old", 60, seed=2)
    shop.write("old/large", os.urandom(1_700_000))
    shop.write("old/tail", os.urandom(768_000 + 10_000))
    shop.commit()
    articles = planned(shop)
    shutil.copytree(shop.root / "old", shop.root / "copied")
    (shop.root / "old").rename(shop.root / "moved")
    shop.scan()
    assert planned(shop) == articles
    version = shop.publish()
    assert {b"moved/large", b"copied/large", b"moved/f00059", b"copied/tail"} <= shop.index(version).keys()
    assert b"old/large" not in shop.index(version)
    assert planned(shop) == articles
    shop.assert_sound()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "parts"])
def test_thousands_of_files_moved_to_a_later_folder_keep_their_segments(shop: Workshop, whole: bool) -> None:
    """More than one batch: the rows of the old place must not leave before the new place was compared."""
    shop.fill("a", 5_000, seed=3, least=10, most=40)
    (shop.root / "b").mkdir()
    shop.scan()
    shop.post_all()
    articles = planned(shop)
    for file in sorted((shop.root / "a").iterdir()):
        file.rename(shop.root / "b" / file.name)
    shop.scan(None if whole else [b"a", b"b"])
    assert planned(shop) == articles
    assert paths(shop) == {b"b/f%05d" % number for number in range(5_000)}
    assert shop.scan().files_hashed == 0
    shop.assert_sound()


def test_duplicates_within_one_scan_are_packed_once(shop: Workshop) -> None:
    content, large = os.urandom(30_000), os.urandom(1_000_000)
    for number in range(20):
        shop.write(f"d{number % 3}/small{number}", content)
        shop.write(f"d{number % 3}/large{number}", large)
    shop.scan()
    lengths = sorted(article.length for article in shop.articles(ArticleState.QUEUED, ArticleKind.DATA))
    assert sum(lengths) == len(content) + len(large)
    version = shop.commit()
    index = shop.index(version)
    assert len({entry.extents for path, entry in index.items() if b"small" in path}) == 1
    assert len({entry.extents for path, entry in index.items() if b"large" in path}) == 1


# -- what a stop leaves ------------------------------------------------------------------------------


def test_a_cancelled_scan_leaves_whole_directories_and_the_next_hashes_nothing_twice(shop: Workshop) -> None:
    for number in range(12):
        shop.fill(f"d{number:02}", 900, seed=number, least=800, most=1_600)
    total = 12 * 900
    stop = threading.Event()
    hashed: list[bytes] = []

    def on_file(path: RelativePath, size_bytes: int) -> None:
        hashed.append(path)
        if len(hashed) == 9_500:
            stop.set()

    time.sleep(QUIET_S)
    with pytest.raises(Cancelled):
        shop.reindex(stop, on_file).whole()
    shop.flush()  # batches on their way are committed all the same
    assert len(hashed) == 9_500, "it stops between two files, not at the end of a directory"
    committed = paths(shop)
    assert 4_000 <= len(committed) < 9_500
    for path, row, digest in shop.catalogue.scan.digests(shop.row):
        rows = len(shop.catalogue.scan.entries(row))
        assert digest is None or rows == (900 if path else 0)
    shop.assert_sound()
    again = shop.scan()
    assert again.files_hashed == total - len(committed)
    assert len(paths(shop)) == total
    assert shop.scan().files_hashed == 0
    shop.assert_sound()


def test_a_scan_can_be_stopped_inside_a_large_file(shop: Workshop) -> None:
    with (shop.root / "large").open("wb") as file:
        file.truncate(40 * 768_000)
    shop.write("small", b"x")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        shop.reindex(stop).whole()
    assert shop.states() == {}
    assert shop.scan().files_hashed == 2


# -- trouble -----------------------------------------------------------------------------------------


def test_directories_that_vanish_while_scanning_do_not_stop_it(shop: Workshop) -> None:
    for number in range(30):
        shop.fill(f"d{number:02}", 5, seed=number)

    def on_file(path: RelativePath, size_bytes: int) -> None:
        if path == b"d00/f00000":
            shutil.rmtree(shop.root / "d00")
            shutil.rmtree(shop.root / "d15")
            (shop.root / "d20" / "f00003").unlink()

    outcome = shop.scan(on_file=on_file)
    assert RelativePath(b"d00") in outcome.again
    expected = {b"d%02d/f%05d" % (d, f) for d in range(30) for f in range(5) if d not in (0, 15)}
    expected -= {b"d20/f00003"}
    assert paths(shop) - {b"d00/f00000"} == expected
    shop.scan()
    assert paths(shop) == expected
    assert troubles(shop) == {}
    shop.assert_sound()


def test_a_path_that_cannot_be_kept_is_reported_and_the_others_are_kept(shop: Workshop) -> None:
    """A fifo and a link's target too long are refused for root as well."""
    shop.write("a/good", b"good")
    os.mkfifo(shop.root / "a" / "pipe")
    outcome = shop.scan()
    assert outcome.skipped == 1
    assert paths(shop) == {b"a/good"}
    (trouble,) = shop.catalogue.troubles.list(shop.row).rows
    assert (trouble.path, trouble.code) == (b"a/pipe", "skipped")


@contextmanager
def as_nobody(place: Path) -> Iterator[None]:
    """Root may read everything: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    for directory, _, files in os.walk(place):
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_is_reported_and_the_others_are_kept(short_dir: Path, clock: FakeClock) -> None:
    with workshop(short_dir, clock) as shop:
        shop.write("a/good", b"good")
        bad = shop.write("a/bad", b"bad")
        bad.chmod(0)
        shop.write("closed/inside", b"inside").parent.chmod(0)
        with as_nobody(short_dir):
            outcome = shop.scan()
            assert outcome.unreadable == 2
            assert paths(shop) == {b"a/good"}
            noted = shop.catalogue.troubles.list(shop.row).rows
            assert {(t.path, t.code) for t in noted} == {(b"a/bad", "unreadable"), (b"closed", "unreadable")}
            bad.chmod(0o600)
            (shop.root / "closed").chmod(0o700)
            shop.scan()
            assert paths(shop) == {b"a/good", b"a/bad", b"closed/inside"}
            assert troubles(shop) == {}
            (shop.root / "closed").chmod(0)
            bad.chmod(0)
            shop.scan()
            assert paths(shop) == {b"a/good", b"a/bad", b"closed/inside"}, "unreadable is not deleted"
            (shop.root / "closed").chmod(0o700)


def test_a_file_that_changes_while_it_is_read_is_left_for_later_and_keeps_its_old_version(
    shop: Workshop,
) -> None:
    file = shop.write("b", os.urandom(200_000))
    shop.write("a", b"first")
    shop.scan()
    shop.post_all()
    before = shop.catalogue.scan.entry(shop.row, RelativePath(b"b"))
    shop.write("a", b"second")
    file.write_bytes(os.urandom(200_000))

    def on_file(path: RelativePath, size_bytes: int) -> None:
        if path == b"a":
            file.write_bytes(b"while the scan looks elsewhere")

    outcome = shop.scan(on_file=on_file)
    assert outcome.again == {RelativePath(b"")}
    assert shop.catalogue.scan.entry(shop.row, RelativePath(b"b")) == before
    assert troubles(shop) == {"changing": 1}
    shop.scan(parts=outcome.again)
    after = shop.catalogue.scan.entry(shop.row, RelativePath(b"b"))
    assert after is not None
    assert after.size == 30
    assert troubles(shop) == {}


def test_a_vanished_or_suddenly_empty_root_deletes_nothing(shop: Workshop) -> None:
    shop.fill("d", 10, seed=1)
    shop.scan()
    away = shop.place / "unmounted"
    shop.root.rename(away)
    with pytest.raises(RootMissing):
        shop.scan()
    shop.root.mkdir()
    with pytest.raises(RootMissing):
        shop.scan()
    assert len(paths(shop)) == 10


def test_a_segment_given_up_while_its_folder_is_scanned_is_planned_anew(shop: Workshop) -> None:
    """The scan saw the row of an unchanged file before its segment was given up: it must look again."""
    shop.write("d/kept", b"kept as it is")
    shop.write("d/touched", b"touched, the same content")
    shop.write("d/other", b"first")
    shop.scan()
    (article,) = shop.articles(ArticleState.QUEUED, ArticleKind.DATA)
    shop.write("d/other", b"second")
    os.utime(shop.root / "d" / "touched", ns=(1, 1))

    def on_file(path: RelativePath, size_bytes: int) -> None:
        if path == b"d/other":
            shop.catalogue.queue.abandon(article.segment_row).result()

    shop.scan(on_file=on_file)
    assert shop.scan().files_hashed == 2, "kept and touched lost their content, so no digest may hide them"
    version = shop.commit()
    index = shop.index(version)
    for name in (b"d/kept", b"d/touched", b"d/other"):
        assert sum(extent.length for extent in index[name].extents) == index[name].size
    shop.assert_sound()


# -- batches -----------------------------------------------------------------------------------------


def test_no_segment_can_be_leased_before_all_its_sources_are_committed(shop: Workshop) -> None:
    shop.fill("many", 6_000, seed=5, least=500, most=2_500)
    for number in range(6):
        shop.write(f"large{number}", os.urandom(1_600_000 + number))
    done, checked, lacking = threading.Event(), [0], []

    def lease_all() -> None:
        while True:
            last = done.is_set()
            leased = shop.catalogue.queue.lease(50).result()
            for article in leased:
                covered = 0
                for source in shop.catalogue.segments.sources(article.segment_row):
                    if source.offset > covered:
                        break
                    covered = max(covered, source.offset + source.length)
                if covered != article.length:
                    lacking.append(article.segment_row)
                checked[0] += 1
            if last and not leased:
                return

    thread = threading.Thread(target=lease_all)
    thread.start()
    try:
        shop.scan()
    finally:
        done.set()
        thread.join()
    assert checked[0] > 20
    assert lacking == []
    assert shop.catalogue.queue.return_leases() == checked[0]


def test_large_files_can_be_posted_long_before_the_scan_has_ended(shop: Workshop) -> None:
    for number in range(9):
        with (shop.root / f"large{number}").open("wb") as file:
            for block in range(130):
                file.seek(block * 768_000)
                file.write(b"%d %d" % (number, block))
            file.truncate(130 * 768_000)
    seen: list[int] = []

    def on_file(path: RelativePath, size_bytes: int) -> None:
        if path == b"large8":
            wait_until(lambda: shop.states()[ArticleState.QUEUED] > 0, "the first batch")
            seen.append(shop.states()[ArticleState.QUEUED])

    shop.scan(on_file=on_file)
    assert seen
    assert seen[0] < shop.states()[ArticleState.QUEUED]


# -- parts, kinds, options ---------------------------------------------------------------------------


def test_a_part_is_scanned_without_looking_at_the_others(shop: Workshop) -> None:
    shop.write("a/x", b"1")
    shop.write("b/y", b"1")
    shop.scan()
    shop.write("a/x", b"2")
    shop.write("b/y", b"2")
    shop.write("a/new/deep/z", b"z")
    outcome = shop.scan(parts=[b"a"])
    assert outcome.folders == 3
    assert paths(shop) == {b"a/x", b"b/y", b"a/new/deep/z"}
    entry = shop.catalogue.scan.entry(shop.row, RelativePath(b"b/y"))
    assert entry is not None
    assert shop.scan().files_hashed == 1


def test_a_file_becomes_a_folder_and_a_folder_a_file(shop: Workshop) -> None:
    shop.write("one", b"file")
    shop.write("two/inside", b"inside")
    shop.write("three", b"stays")
    shop.commit()
    (shop.root / "one").unlink()
    shop.write("one/inside", b"now a folder")
    shutil.rmtree(shop.root / "two")
    shop.write("two", b"now a file")
    index = shop.index(shop.commit())
    kinds = {path: entry.kind.name for path, entry in index.items() if path}
    assert kinds == {b"one": "FOLDER", b"one/inside": "FILE", b"two": "FILE", b"three": "FILE"}
    shop.assert_sound()


def test_ignored_paths_are_neither_read_nor_kept(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.write("b.tmp", b"b")
    shop.write("cache/c", b"c")
    shop.scan(options=ReindexOptions(ignore=("*.tmp", "cache/")))
    assert paths(shop) == {b"a"}


def test_odd_names_links_and_empty_files_come_through(shop: Workshop) -> None:
    odd = [b"\xff\xfe", b"new\nline", b" ", "\u00e9".encode(), b"-rf"]
    for name in odd:
        Path(os.fsdecode(os.fsencode(shop.root) + b"/" + name)).write_bytes(b"" if name == b" " else name)
    (shop.root / "link").symlink_to("nowhere/at/all")
    os.link(os.path.join(os.fsencode(shop.root), b"-rf"), os.path.join(os.fsencode(shop.root), b"hard"))
    index = shop.index(shop.commit())
    assert set(index) - {b""} == {*odd, b"link", b"hard"}
    assert index[b"link"].target == b"nowhere/at/all"
    assert index[b"hard"].link_group == index[b"-rf"].link_group != b""
    assert index[b" "].extents == ()
