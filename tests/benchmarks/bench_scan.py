"""Scanning, reading and watching alone, against what the machine can do (P3, P4 and the marks of "Watching").

    python -m tests.benchmarks.bench_scan                            200,000 files in 2,000 folders, half a minute
    python -m tests.benchmarks.bench_scan --files 3000000 --per-folder 10 --directory /dev/shm

The peer of a rescan is ``find -printf`` with the same fields, run in turn; medians of five. Two processes: the tree is
shared out by its top folders. Reading is open, read, fstat, close of every file, without hashing.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from usenetsyncd.folders.ignore import NO_RULES, IgnoreRules, compile_rules
from usenetsyncd.folders.read import read_small
from usenetsyncd.folders.root import ROOT_PATH, FolderRoot
from usenetsyncd.folders.scan import scan_directory, walk
from usenetsyncd.folders.watch import FolderWatch
from usenetsyncd.model import RelativePath

FIND_FIELDS = "%i %s %T@ %C@ %m %p\\n"
RULES = ("*.o", "build/", "node_modules/", ".git/", "*.tmp", "!keep.tmp")
BURST = """
import os, sys
root, folders, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(files):
    at = f"{root}/{number % folders}"
    if number < folders:
        os.mkdir(at)
    made = os.open(f"{at}/file{number}", os.O_CREAT | os.O_WRONLY)
    os.write(made, b"x")
    os.close(made)
"""


@contextmanager
def tree(parent: Path, files: int, per_folder: int) -> Iterator[Path]:
    """Files of 0 to 63 bytes in folders of ``per_folder``, a hundred folders to a group."""
    root = Path(tempfile.mkdtemp(prefix="usenetsync-bench-", dir=parent))
    try:
        for first in range(0, files, per_folder):
            number = first // per_folder
            folder = root / f"group-{number // 100:05}" / f"folder-{number % 100:02}"
            folder.mkdir(parents=True)
            at = os.open(folder, os.O_RDONLY)
            for file in range(min(per_folder, files - first)):
                made = os.open(f"file-{file:05}.txt", os.O_CREAT | os.O_WRONLY, dir_fd=at)
                os.write(made, b"x" * (file % 64))
                os.close(made)
            os.close(at)
        time.sleep(0.1)  # or the last files would be racy
        yield root
    finally:
        shutil.rmtree(root)


def rescan(root: Path, rules: IgnoreRules = NO_RULES) -> int:
    with FolderRoot(root) as opened:
        return sum(listing.file_count for listing in walk(opened, rules) if listing.digest)


def rescan_groups(root: Path, groups: list[bytes]) -> int:
    with FolderRoot(root) as opened:
        return sum(
            listing.file_count
            for group in groups
            for listing in walk(opened, None, RelativePath(group))
            if listing.digest
        )


def rescan_with_two(root: Path, pool: ProcessPoolExecutor) -> int:
    with FolderRoot(root) as opened:
        top = scan_directory(opened, ROOT_PATH)
    assert top is not None
    halves = [top.subdirectories[0::2], top.subdirectories[1::2]]
    return sum(pool.map(rescan_groups, [root, root], halves))


def list_and_read(root: Path) -> int:
    read = 0
    with FolderRoot(root) as opened:
        for listing in walk(opened):
            directory = opened.open_directory(listing.path)
            for entry in listing.entries:
                read_small(directory, entry.name, entry.key)
                read += 1
            os.close(directory)
    return read


def find(root: Path) -> int:
    command = ["find", root, "-type", "f", "-printf", FIND_FIELDS]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return 0


def measured(rows: dict[str, Callable[[], int]], files: int, rounds: int) -> dict[str, float]:
    """Run the rows in turn. Prints and returns the median files per second of each."""
    rates: dict[str, list[float]] = {name: [] for name in rows}
    cpu_s: dict[str, float] = dict.fromkeys(rows, 0.0)
    for _ in range(rounds):
        for name, work in rows.items():
            before, started = cpu(), time.perf_counter()
            assert work() in (0, files), name
            rates[name].append(files / (time.perf_counter() - started))
            cpu_s[name] += (cpu() - before) / rounds
    for name, found in rates.items():
        # The pool's processes are not reaped between rounds, so their time is in no row.
        spent = f"   {cpu_s[name] / files * 1e6:5.2f} us CPU/file" if "two" not in name else ""
        print(
            f"{name:<34} {statistics.median(found):10,.0f} files/s   {min(found):10,.0f} .. {max(found):10,.0f}{spent}"
        )
    return {name: statistics.median(found) for name, found in rates.items()}


def cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def bench_watch(parent: Path, folders: int, files: int) -> None:
    """Watches on many folders, then a burst of creates into new ones by another process."""
    root = Path(tempfile.mkdtemp(prefix="usenetsync-bench-", dir=parent))
    dirty: set[bytes] = set()
    lost: list[str] = []
    watch = FolderWatch(lambda key, directory: dirty.add(directory), lambda key, reason: lost.append(reason))
    try:
        for number in range(folders):
            (root / "old" / f"{number // 100}" / f"{number % 100}").mkdir(parents=True)
        started = time.perf_counter()
        coverage = watch.add("bench", root)
        took_s = time.perf_counter() - started
        print(f"{'watches set':<34} {coverage.watched:10,} of {coverage.total:,} in {took_s:.2f} s")
        burst = root / "burst"
        burst.mkdir()
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", BURST, burst, "1000", str(files)], check=True)
        took_s = time.perf_counter() - started
        wanted = {b"burst/%d" % number for number in range(1_000)}
        while not wanted <= dirty and time.perf_counter() - started < took_s + 5:
            time.sleep(0.005)
        late_s = time.perf_counter() - started - took_s
        print(
            f"{'burst into 1,000 new folders':<34} {files / took_s:10,.0f} files/s made, "
            f"{len(wanted & dirty):,} of 1,000 folders told {late_s:.2f} s after it, {len(lost)} overflows"
        )
    finally:
        watch.close()
        shutil.rmtree(root)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--per-folder", type=int, default=100)
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="where the tree is made")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rules = compile_rules(RULES)
    with tree(options.directory, options.files, options.per_folder) as root, ProcessPoolExecutor(2) as pool:
        rescan_with_two(root, pool)
        rates = measured(
            {
                "find -printf": lambda: find(root),
                "rescan, nothing changed": lambda: rescan(root),
                "the same, six ignore rules": lambda: rescan(root, rules),
                "the same, two processes": lambda: rescan_with_two(root, pool),
                "list and read every file": lambda: list_and_read(root),
            },
            options.files,
            options.rounds,
        )
        peer = rates["find -printf"]
        print(
            f"of find's rate: one process {rates['rescan, nothing changed'] / peer:.2f}, "
            f"two {rates['the same, two processes'] / peer:.2f}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    bench_watch(options.directory, 20_000, 100_000)


if __name__ == "__main__":
    main()
