"""A process of its own that indexes a tree and scans it again: ``python -m tests.benchmarks.table.indexing TREE PLACE``.

Prints one line of JSON: seconds, processor seconds and files of both, and the peak memory after each.
"""

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.daemon.allocator import tune_allocator
from usenetsyncd.flows.reindex import Reindex, ReindexOptions
from usenetsyncd.model import Fingerprint
from usenetsyncd.wire.keys import ReadKeys, read_keys


@dataclass(frozen=True, slots=True)
class Scan:
    """One run over the tree."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    files: int
    files_hashed: int


def scan(catalogue: Catalogue, folder: int, tree: Path, keys: ReadKeys) -> Scan:
    cpu_s, started = _cpu_s(), time.perf_counter()
    found = Reindex(catalogue, folder, bytes(tree), keys, ReindexOptions(), Event()).whole()
    seconds = time.perf_counter() - started
    files = catalogue.folders.by_id(folder).files
    return Scan(seconds, _cpu_s() - cpu_s, _peak_bytes(), files, found.files_hashed)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_bytes() -> int:
    """Of this process alone. Not ru_maxrss: that is inherited from whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    tree, place = Path(sys.argv[1]), Path(sys.argv[2])
    tune_allocator()
    keys = read_keys(b"r" * 32, Fingerprint(b"f" * 16))
    with Catalogue.open(place / "catalogue.sqlite") as catalogue:
        folder = catalogue.folders.ensure("tree", bytes(tree), b"u" * 16).id
        scans = [asdict(scan(catalogue, folder, tree, keys)) for _ in range(2)]
    print(json.dumps(scans))


if __name__ == "__main__":
    main()
