"""P3 to P6: indexing, in a process of its own, against programs that keep an index too."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.table import peers, trees
from tests.benchmarks.table.harness import (
    REPOSITORY,
    Contestant,
    Figure,
    Row,
    Sample,
    Scale,
    fresh,
    run,
    workspace,
)

ALONE = (
    "ours is the indexing flow in a process that is already running (as in the daemon), Syncthing likewise over its "
    "REST interface; restic and Borg are whole commands, their start included"
)


def ours(place: Path, tree: Path, amount: float) -> tuple[Sample, Sample]:
    """Rates of the first index and of a rescan, in a fresh process with a fresh catalogue."""
    command = [sys.executable, "-m", "tests.benchmarks.table.indexing", str(tree), str(fresh(place / "ours"))]
    ran = run(command, cwd=REPOSITORY)
    first, again = json.loads(ran.output.splitlines()[-1])
    if again["files_hashed"]:
        raise RuntimeError(f"a rescan hashed {again['files_hashed']} files")
    return _sample(first, amount, ran.peak_bytes), _sample(again, amount, ran.peak_bytes)


def _sample(scan: dict[str, Any], amount: float, family_peak_bytes: int) -> Sample:
    return Sample(amount / scan["seconds"], scan["cpu_s"], max(scan["peak_bytes"], family_peak_bytes))


def _rounds(
    place: Path, tree: Path, amount: float, scale: Scale
) -> tuple[list[Contestant], list[Contestant], list[str]]:
    found, missing = peers.available(peers.INDEXERS)
    names = ["UsenetSync", *found]
    first, again = [Contestant(name) for name in names], [Contestant(name) for name in names]
    for _ in range(scale.rounds):
        for number, peer in enumerate((None, *found.values())):
            indexed, rescanned = (
                peers.index_and_rescan(peer, place, tree, amount) if peer else ours(place, tree, amount)
            )
            first[number].samples.append(indexed)
            again[number].samples.append(rescanned)
    return first, again, missing


def p3_p4(scale: Scale) -> dict[str, Row]:
    """First index and rescan of tree A: 100,000 files of 1 to 8 KB in memory, nothing posted."""
    with workspace() as place:
        tree, files = place / "tree", 100_000
        trees.tree_a(tree, files)
        first, again, missing = _rounds(place, tree, files, scale)
        find = Contestant("find -printf")
        for _ in range(scale.rounds):
            command = ["find", str(tree), "-type", "f", "-printf", r"%i %s %T@ %C@ %m %p\n"]
            find.samples.append(run(command).rate(files))
    return {
        "P3": Row(
            [Figure("first index, tree A", "files/s", first[0], first[1:], 3, 6, missing=missing)],
            ["Tree A: 100,000 files of 1 to 8 KB in memory, a hundred to a folder.", ALONE],
        ),
        "P4": Row(
            [
                Figure("rescan, nothing changed", "files/s", again[0], again[1:], 5, missing=missing),
                Figure("rescan against find", "files/s", again[0], [find], 0.5, 1.2),
            ],
            ["Tree A as in P3; find prints inode, size, both times, mode and path of every file.", ALONE],
        ),
    }


def p5(scale: Scale) -> dict[str, Row]:
    """First index of large files."""
    count = scale.of(5, 20)
    with workspace() as place:
        tree = place / "tree"
        size = trees.tree_b(tree, count)
        first, _, missing = _rounds(place, tree, size / 1e6, scale)
    syncthing = [other for other in first[1:] if other.name == "Syncthing"]
    figures = [Figure("first index, large files", "MB/s", first[0], first[1:], None, missing=missing)]
    if syncthing:
        figures.append(Figure("against Syncthing", "MB/s", first[0], syncthing, 1))
    return {
        "P5": Row(
            figures,
            [f"{count} files of 100 MB in memory{'' if scale.full else ' (20 in the full form)'}.", ALONE],
        )
    }


def p6(scale: Scale) -> dict[str, Row]:
    """Peak memory of indexing many tiny files."""
    files = scale.of(200_000, 1_000_000)
    with workspace() as place:
        tree = place / "tree"
        trees.tree_c(tree, files)
        first, again = ours(place, tree, files)
    peak = Sample(max(first.peak_bytes, again.peak_bytes) / 1e6, first.cpu_s + again.cpu_s, again.peak_bytes)
    short = "" if scale.full else "; the mark is for 1,000,000, the full form"
    return {
        "P6": Row(
            [
                Figure(
                    f"peak memory, {files:,} files",
                    "MB",
                    Contestant("UsenetSync", [peak]),
                    [],
                    250,
                    150,
                    True,
                ),
                Figure("first index, tree C", "files/s", Contestant("UsenetSync", [first])),
                Figure("rescan, tree C", "files/s", Contestant("UsenetSync", [again])),
            ],
            [f"{files:,} files of 0 to 64 bytes in memory{short}.", "One run: peak memory hardly varies."],
        )
    }
