"""The plan of a scan: extents that add up, full segments, whole batches."""

import random
from collections import defaultdict
from concurrent.futures import Future
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.flows.workshop import Workshop
from usenetsyncd.catalogue.rows import ArticleState
from usenetsyncd.catalogue.scan_store import ScanBatch
from usenetsyncd.flows import plan as planning
from usenetsyncd.flows.plan import FileWork, FolderWork, Plan
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleKind, EntryKind, Priority, RelativePath
from usenetsyncd.wire.segment import PACK_LIMIT_BYTES, FileHasher, content_hash, segment_id

IDENTITY = b"i" * 32


class Kept:
    """Stands where the catalogue would be: keeps the batches in order."""

    def __init__(self) -> None:
        self.batches: list[ScanBatch] = []

    def store(self, batch: ScanBatch) -> "Future[Any]":
        self.batches.append(batch)
        done: Future[Any] = Future()
        done.set_result(None)
        return done


def work_of(folder: FolderWork, name: bytes, size: int) -> FileWork:
    return FileWork(folder, name, EntryKind.FILE, size, 1, 1, 1, 0o644, 1)


def add(plan: Plan, folder: FolderWork, name: bytes, content: bytes) -> None:
    """As indexing does it: slices for what is large, a piece for what is small or left over."""
    work = work_of(folder, name, len(content))
    plan.begin_file(work)
    hasher = FileHasher(IDENTITY)
    slices, tail = [], b""
    for position in range(0, len(content), SEGMENT_SIZE_BYTES):
        piece = content[position : position + SEGMENT_SIZE_BYTES]
        slice_hash = hasher.add_slice(piece)
        if len(piece) < PACK_LIMIT_BYTES:
            tail = piece
        else:
            slices.append((position, slice_hash, len(piece)))
    work.content_hash = hasher.digest()
    if plan.adopt_duplicate(work):
        return
    for position, slice_hash, length in slices:
        plan.add_slice(work, position, slice_hash, length)
    if tail:
        plan.pack(work, tail)
    else:
        plan.complete(work)


def folder_work(path: bytes) -> FolderWork:
    return FolderWork(RelativePath(path), 0o755, 1, 1, b"d" * 16, True)


def run(tree: dict[bytes, list[bytes]]) -> list[ScanBatch]:
    kept = Kept()
    plan = Plan(1, IDENTITY, Priority.NORMAL, 1, kept.store)
    for path, contents in tree.items():
        folder = folder_work(path)
        plan.open_folder(folder)
        for number, content in enumerate(contents):
            add(plan, folder, b"%d" % number, content)
        plan.close_folder(folder)
    plan.finish()
    return kept.batches


SIZES = st.one_of(
    st.integers(1, 2_000),
    st.integers(PACK_LIMIT_BYTES - 2, PACK_LIMIT_BYTES + 2),
    st.integers(SEGMENT_SIZE_BYTES - 2, SEGMENT_SIZE_BYTES + 2),
    st.just(2 * SEGMENT_SIZE_BYTES + PACK_LIMIT_BYTES - 1),
)
TREES = st.lists(st.lists(st.tuples(SIZES, st.integers(0, 3)), max_size=8), min_size=1, max_size=5)


@given(TREES)
def test_the_extents_of_every_file_add_up_to_its_content(sizes: list[list[tuple[int, int]]]) -> None:
    """Rebuild each segment from the files, check its id, then each file from the segments."""
    tree = {
        b"d%d" % at: [random.Random(f"{size} {seed}").randbytes(size) for size, seed in files]
        for at, files in enumerate(sizes)
    }
    batches = run(tree)
    segments: dict[bytes, bytearray] = {}
    for batch in batches:
        for segment in batch.segments:
            segments[segment.seg_id] = bytearray(segment.length)
    found = set()
    for batch in batches:
        for update in batch.directories:
            for upsert in update.upserts:
                content = tree[bytes(update.path)][int(upsert.name)]
                found.add((bytes(update.path), upsert.name))
                end = 0
                assert upsert.extents is not None
                for position, seg_id, offset, length in upsert.extents:
                    assert position == end
                    end += length
                    segments[seg_id][offset : offset + length] = content[position : position + length]
                assert end == upsert.size == len(content)
    assert found == {(path, b"%d" % n) for path, files in tree.items() for n in range(len(files))}
    for seg_id, content in segments.items():
        assert 0 < len(content) <= SEGMENT_SIZE_BYTES
        assert segment_id(content_hash(IDENTITY, bytes(content))) == seg_id


def test_a_small_file_tree_fills_its_segments_to_92_percent() -> None:
    dice = random.Random(7)
    sizes = [min(PACK_LIMIT_BYTES - 1, max(1, int(dice.lognormvariate(9.0, 1.4)))) for _ in range(3_000)]
    batches = run({b"d": [dice.randbytes(size) for size in sizes]})
    lengths = [segment.length for batch in batches for segment in batch.segments]
    assert sum(lengths) == sum(sizes)
    full = lengths[:-1]
    assert sum(full) / len(full) / SEGMENT_SIZE_BYTES >= 0.92


def test_a_segment_comes_in_one_batch_with_every_file_that_it_is_made_from() -> None:
    dice = random.Random(3)
    tree = {
        b"d%02d" % number: [dice.randbytes(dice.randint(100, 3_000)) for _ in range(700)]
        for number in range(14)
    }
    batches = run(tree)
    assert len(batches) > 2
    home: dict[bytes, int] = {}
    users: dict[bytes, set[int]] = defaultdict(set)
    for at, batch in enumerate(batches):
        for segment in batch.segments:
            assert segment.seg_id not in home
            home[segment.seg_id] = at
        for update in batch.directories:
            for upsert in update.upserts:
                for _, seg_id, _, _ in upsert.extents or ():
                    users[seg_id].add(at)
    assert users == {seg_id: {at} for seg_id, at in home.items()}


def test_a_digest_comes_with_the_last_file_of_its_folder_and_never_before() -> None:
    dice = random.Random(4)
    tree = {b"big": [dice.randbytes(200) for _ in range(9_000)], b"small": [b"x"]}
    files: dict[bytes, int] = defaultdict(int)
    for batch in run(tree):
        for update in batch.directories:
            files[bytes(update.path)] += len(update.upserts)
            whole = files[bytes(update.path)] == len(tree[bytes(update.path)])
            assert (update.digest is not None) == whole


def test_batches_are_bounded_for_small_files_and_for_large_ones() -> None:
    dice = random.Random(5)
    small = run({b"%d" % n: [dice.randbytes(30) for _ in range(500)] for n in range(20)})
    for batch in small:
        entries = sum(len(update.upserts) for update in batch.directories)
        # A packed segment is never parted from its files, so a batch may run over by those of one segment.
        assert entries < planning.BATCH_ENTRIES + SEGMENT_SIZE_BYTES / 30
    kept = Kept()
    plan = Plan(1, IDENTITY, Priority.NORMAL, 1, kept.store)
    folder = folder_work(b"")
    plan.open_folder(folder)
    for number in range(8):
        work = work_of(folder, b"%d" % number, 400 * SEGMENT_SIZE_BYTES)
        plan.begin_file(work)
        work.content_hash = content_hash(IDENTITY, b"%d" % number)
        for at in range(400):
            slice_hash = content_hash(IDENTITY, b"%d %d" % (number, at))
            plan.add_slice(work, at * SEGMENT_SIZE_BYTES, slice_hash, SEGMENT_SIZE_BYTES)
        plan.complete(work)
    plan.close_folder(folder)
    plan.finish()
    assert max(len(batch.segments) for batch in kept.batches) < planning.BATCH_SEGMENTS + 400


def test_a_file_that_could_not_be_read_keeps_the_digest_of_its_folder_back() -> None:
    kept = Kept()
    plan = Plan(1, IDENTITY, Priority.NORMAL, 1, kept.store)
    folder = folder_work(b"d")
    plan.open_folder(folder)
    add(plan, folder, b"good", b"good")
    work = work_of(folder, b"bad", 3)
    plan.begin_file(work)
    plan.drop_file(work)
    plan.close_folder(folder)
    plan.finish()
    (batch,) = kept.batches
    (update,) = batch.directories
    assert [upsert.name for upsert in update.upserts] == [b"good"]
    assert update.digest is None


def test_what_is_gone_leaves_with_the_last_batch() -> None:
    kept = Kept()
    plan = Plan(1, IDENTITY, Priority.NORMAL, 1, kept.store)
    shrunk = folder_work(b"a")
    shrunk.deletes.append(b"gone")
    plan.open_folder(shrunk)
    plan.close_folder(shrunk)
    plan.remove_folder(RelativePath(b"b"))
    folder = folder_work(b"c")
    plan.open_folder(folder)
    for number in range(planning.BATCH_ENTRIES + 10):
        work = work_of(folder, b"%d" % number, 0)
        plan.begin_file(work)
        plan.complete(work)
    plan.close_folder(folder)
    plan.finish()
    assert len(kept.batches) == 2
    gone = [
        (bool(batch.removed_directories), any(update.deletes for update in batch.directories))
        for batch in kept.batches
    ]
    assert gone == [(False, False), (True, True)]
    assert all(update.digest is not None for update in kept.batches[1].directories)


def test_the_catalogue_takes_what_the_plan_hands_over(shop: Workshop) -> None:
    shop.fill("d", 300, seed=9, least=1_000, most=9_000)
    outcome = shop.scan()
    queued = shop.articles(ArticleState.QUEUED, ArticleKind.DATA)
    assert len(queued) == outcome.segments
    assert sum(article.length for article in queued) == outcome.bytes_hashed
    assert shop.catalogue.folders.by_id(shop.row).files == 300
