"""The catalogue: storing a first scan, its size on disk, and how long questions take at scale (P3, P7, P14).

    python -m tests.benchmarks.bench_catalogue                       a million small files, a minute or so
    python -m tests.benchmarks.bench_catalogue --files 3000000 --segments 30000000 --directory /some/disk

Every file is new, with its own content hash, in directories of 200; batches are built before the clock starts,
so the figure is the writer's alone. The bare row is the same SQL fed from ready tuples by the sqlite3 module.
"""

import argparse
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from usenetsyncd.catalogue.batches import DirectoryUpdate, EntryUpdate, NewSegment, ScanBatch
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import ArticleState, PostedArticle
from usenetsyncd.model import EntryKind, Priority, RelativePath, SegmentId

DIRECTORY_FILES = 200
BATCH_FILES = 4_000
SLICE = 768_000


def small_files(folder_id: int, files: int, seed: int = 1) -> Iterator[ScanBatch]:
    """Batches of packed 8 KB files, about ninety to a segment, in path order."""
    rng = random.Random(seed)
    segment, used, at = SegmentId(rng.randbytes(16)), 0, 0
    for first in range(0, files, BATCH_FILES):
        directories, segments = [], [NewSegment(segment, SLICE)]
        for start in range(first, min(first + BATCH_FILES, files), DIRECTORY_FILES):
            upserts = []
            for number in range(start, min(start + DIRECTORY_FILES, files)):
                size = 8_000
                if used + size > SLICE:
                    segment, used = SegmentId(rng.randbytes(16)), 0
                    segments.append(NewSegment(segment, SLICE))
                upserts.append(
                    EntryUpdate(
                        b"file-%07d.txt" % number,
                        EntryKind.FILE,
                        size,
                        1_790_000_000_000_000_000 + number,
                        1_790_000_000_500_000_000 + number,
                        4_000_000 + number,
                        0o644,
                        1,
                        rng.randbytes(32),
                        extents=[(0, segment, used, size)],
                    )
                )
                used += size
            path = RelativePath(b"group-%04d/directory-%06d" % (at // 100, at))
            at += 1
            directories.append(DirectoryUpdate(path, 0o755, 1, at, rng.randbytes(16), upserts, [], True))
        yield ScanBatch(folder_id, Priority.NORMAL, 1, directories, segments)


def large_files(folder_id: int, segments: int, seed: int = 2) -> Iterator[ScanBatch]:
    """Files of 2,000 full segments each."""
    rng = random.Random(seed)
    for number in range(0, segments, 2_000):
        new = [NewSegment(SegmentId(rng.randbytes(16)), SLICE) for _ in range(min(2_000, segments - number))]
        extents = [(at * SLICE, segment.seg_id, 0, SLICE) for at, segment in enumerate(new)]
        entry = EntryUpdate(
            b"large-%07d.bin" % number,
            EntryKind.FILE,
            len(new) * SLICE,
            1,
            1,
            number,
            0o644,
            1,
            rng.randbytes(32),
            extents=extents,
        )
        directory = DirectoryUpdate(RelativePath(b"large"), 0o755, 1, 1, None, [entry])
        yield ScanBatch(folder_id, Priority.LOW, 1, [directory], new)


def store(catalogue: Catalogue, batches: Iterator[ScanBatch]) -> tuple[int, float, float]:
    """(entries, seconds, CPU seconds), with the making of batches left out."""
    entries, wall, cpu = 0, 0.0, 0.0
    while chunk := list(islice(batches, 50)):
        started, used = time.perf_counter(), time.process_time()
        for future in [catalogue.scan.store(batch) for batch in chunk]:
            future.result()
        wall += time.perf_counter() - started
        cpu += time.process_time() - used
        entries += sum(len(directory.upserts) for batch in chunk for directory in batch.directories)
    return entries, wall, cpu


def timed(label: str, ask: Callable[[], object], rounds: int = 300) -> None:
    """Median and 99th percentile of a question, in milliseconds."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        ask()
        took.append((time.perf_counter() - started) * 1_000)
    took.sort()
    print(f"  {label:<34} median {statistics.median(took):7.3f} ms   p99 {took[int(rounds * 0.99)]:7.3f} ms")


def file_bytes(path: Path) -> int:
    """The database without its WAL."""
    return path.stat().st_size


def main() -> None:
    """Build, measure, print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--files", type=int, default=1_000_000)
    arguments.add_argument("--segments", type=int, default=500_000)
    arguments.add_argument("--directory", type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        run(Path(place) / "catalogue.db", options.files, options.segments)


def run(path: Path, files: int, segments: int) -> None:
    """One catalogue through everything."""
    print(f"load before: {os.getloadavg()[0]:.2f}; {os.cpu_count()} cores; on {path.parent}")
    with Catalogue.open(path) as catalogue:
        small = catalogue.folders.ensure("small", b"/srv/small", b"s" * 16).id
        large = catalogue.folders.ensure("large", b"/srv/large", b"l" * 16).id
        count, wall, cpu = store(catalogue, small_files(small, files))
        catalogue.writer.checkpoint()
        by_files = file_bytes(path)
        journal = pages_of(catalogue, "change")
        print(f"store: {count:,} new small files in {wall:.1f} s = {count / wall:,.0f}/s ({cpu:.1f} CPU s)")
        print(
            f"  {by_files / count:.0f} B per file, {(by_files - journal) / count:.0f} without the journal of changes"
        )
        _, wall, cpu = store(catalogue, large_files(large, segments))
        catalogue.writer.checkpoint()
        print(
            f"store: {segments:,} new segments in {wall:.1f} s = {segments / wall:,.0f}/s ({cpu:.1f} CPU s)"
        )
        print(f"  {(file_bytes(path) - by_files) / segments:.0f} B per segment, all queued")
        questions(catalogue, small, files)
        started = time.perf_counter()
        problems = catalogue.check().problems
        print(f"quick check: {time.perf_counter() - started:.1f} s, {len(problems)} problems")
    started = time.perf_counter()
    Catalogue.open(path).close()
    print(f"open and close: {(time.perf_counter() - started) * 1_000:.0f} ms")
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, batches included"
    )


def pages_of(catalogue: Catalogue, table: str) -> int:
    """Bytes of the pages of one table, 0 where this SQLite cannot tell."""
    row = catalogue._readers.fetch_one("SELECT sum(pgsize) FROM dbstat WHERE name = ?", (table,))
    return 0 if row is None or row[0] is None else int(row[0])


def questions(catalogue: Catalogue, folder: int, files: int) -> None:
    """What P7 asks for, with the whole queue full."""
    rng = random.Random(3)
    known = [
        row[0] for row in catalogue._readers.fetch("SELECT seg_id FROM segment ORDER BY seg_id LIMIT 1000")
    ]
    hashes = [row[0] for row in catalogue._readers.fetch("SELECT hash FROM entry WHERE size > 0 LIMIT 1000")]
    rows = [row[0] for row in catalogue._readers.fetch("SELECT id FROM segment LIMIT 1000 OFFSET 100")]
    timed("segment lookup, known", lambda: catalogue.scan.has_segment(folder, rng.choice(known)), 2_000)
    timed("segment lookup, new", lambda: catalogue.scan.has_segment(folder, rng.randbytes(16)), 2_000)
    timed("content lookup", lambda: catalogue.scan.find_content(folder, rng.choice(hashes)), 2_000)
    timed("sources of a segment", lambda: catalogue.segments.sources(rng.choice(rows)))
    timed("status: folders and totals", catalogue.folders.totals)
    timed("queue counts", catalogue.queue.counts)
    timed("page of 100, queue", lambda: catalogue.queue.page(limit=100))
    timed("page of 100, posted", lambda: catalogue.queue.page(limit=100, state=ArticleState.POSTED))

    def round_trip() -> None:
        leased = catalogue.queue.lease(100).result()
        now = time.time()
        posted = [
            PostedArticle(one.segment_row, one.copy, one.generation, "main", None, now) for one in leased
        ]
        catalogue.queue.posted(posted).result()

    timed("lease 100, given back", lambda: give_back(catalogue), 50)
    timed("lease 100 and record 100 posted", round_trip, 50)
    timed("lease 100 alone", lambda: catalogue.queue.lease(100).result(), 50)
    started = time.perf_counter()
    returned = catalogue.queue.return_leases()
    print(f"  return {returned:,} leases: {(time.perf_counter() - started) * 1_000:.1f} ms")


def give_back(catalogue: Catalogue) -> None:
    """Lease and return, so that the queue stays as it is."""
    leased = catalogue.queue.lease(100).result()
    catalogue.queue.give_back([(one.segment_row, one.copy) for one in leased]).result()


if __name__ == "__main__":
    main()
