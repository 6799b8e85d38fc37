"""Core index: build, read, one changed path, bytes per file. Rows P8 and P14 of the targets.

    python -m tests.benchmarks.bench_pages [--entries 1000000]

Entries are those of tree A: incompressible files of 1 to 8 KB, packed one after another into segments,
a thousand to a folder, written at one go. There is no peer: the limit is 16 bytes of hash per file.
"""

import argparse
import hashlib
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from usenetsyncd.model import (
    SEGMENT_SIZE_BYTES,
    Entry,
    EntryKind,
    Extent,
    PageRef,
    RelativePath,
    SegmentId,
)
from usenetsyncd.wire.pages import (
    diff_trees,
    find_entry,
    read_tree,
    tree_totals,
    update_tree,
)

_START_NS = 1_700_000_000_000_000_000


class SegmentFiles:
    """Index segments as files, so that memory shows what the index itself needs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.loads = 0

    def seal(self, content: bytes) -> SegmentId:
        identity = SegmentId(hashlib.sha256(content).digest()[:16])
        (self._directory / identity.hex()).write_bytes(content)
        return identity

    def load(self, ref: PageRef) -> bytes:
        self.loads += 1
        with (self._directory / ref.segment.hex()).open("rb") as file:
            file.seek(ref.offset)
            return file.read(ref.length)


def entries_like_tree_a(count: int) -> Iterator[tuple[RelativePath, Entry]]:
    """The same entries every time."""
    chance = random.Random(14)
    segment, offset = SegmentId(chance.randbytes(16)), 0
    mtime_ns = _START_NS
    for number in range(count):
        size = chance.randint(1024, 8192)
        mtime_ns += chance.randint(15_000, 120_000)
        if offset + size > SEGMENT_SIZE_BYTES:
            segment, offset = SegmentId(chance.randbytes(16)), 0
        path = RelativePath(b"d%05d/file%07d.bin" % (number // 1000, number))
        extents = (Extent(segment, offset, size),)
        yield path, Entry(path, EntryKind.FILE, size, mtime_ns, 0o644, chance.randbytes(16), extents)
        offset += size


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def build(count: int, files: SegmentFiles) -> PageRef:
    """Bulk build; the cost of making the entries is measured apart and taken off."""
    making, making_cpu = timed(lambda: sum(1 for _ in entries_like_tree_a(count)))
    before = peak_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    built = update_tree(None, entries_like_tree_a(count), files.load, files.seal)
    wall, cpu = time.perf_counter() - wall - making, time.process_time() - cpu - making_cpu
    print(f"build      {count / wall:>10,.0f} entries/s   {cpu:.2f} CPU s   ", end="")
    print(f"peak {peak_mib():.0f} MiB (was {before:.0f})")
    print(f"P14        {built.size_bytes / count:>10.2f} bytes/file (first 60, goal 40, hash alone 16)")
    print(f"           {built.pages:>10,} pages in {len(built.segments)} segments, {built.totals}")
    assert built.root is not None
    return built.root


def read(count: int, root: PageRef, files: SegmentFiles) -> None:
    wall, cpu = timed(lambda: sum(1 for _ in read_tree(root, files.load)))
    print(f"read       {count / wall:>10,.0f} entries/s   {cpu:.2f} CPU s   peak {peak_mib():.0f} MiB")
    took = [timed(lambda: tree_totals(root, files.load))[0] for _ in range(5)]
    print(f"totals     {statistics.median(took) * 1000:>10.2f} ms")


def change_one(count: int, root: PageRef, files: SegmentFiles, rounds: int = 25) -> None:
    """P8 without posting: what one changed path writes, median and worst."""
    chance = random.Random(8)
    sizes, pages, loads, took, looked, compared = [], [], [], [], [], []
    for _ in range(rounds):
        number = chance.randrange(count)
        path = RelativePath(b"d%05d/file%07d.bin" % (number // 1000, number))
        start = time.perf_counter()
        entry = find_entry(root, files.load, path)
        looked.append(time.perf_counter() - start)
        assert entry is not None
        files.loads = 0
        start = time.perf_counter()
        changed = replace(entry, mtime_ns=entry.mtime_ns + 1)
        update = update_tree(root, [(path, changed)], files.load, files.seal)
        took.append(time.perf_counter() - start)
        loads.append(files.loads)
        sizes.append(update.size_bytes)
        pages.append(update.pages)
        assert len(update.segments) == 1
        start = time.perf_counter()
        assert [one[0] for one in diff_trees(root, update.root, files.load)] == [path]
        compared.append(time.perf_counter() - start)
    print(
        f"P8 one of  {count:>10,}: {statistics.median(sizes):,.0f} bytes (worst {max(sizes):,}), "
        f"{statistics.median(pages):.0f} pages written, {statistics.median(loads):.0f} loaded, "
        f"{statistics.median(took) * 1000:.1f} ms (worst {max(took) * 1000:.1f})"
    )
    print(
        f"find, diff {statistics.median(looked) * 1000:>10.1f} ms, {statistics.median(compared) * 1000:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    count = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as directory:
        files = SegmentFiles(Path(directory))
        root = build(count, files)
        read(count, root, files)
        change_one(count, root, files)


if __name__ == "__main__":
    main()
