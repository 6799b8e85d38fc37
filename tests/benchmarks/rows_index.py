"""Rows P3 to P6: what indexing costs, in time and in memory."""

import shutil
from pathlib import Path
from typing import Any

from tests.benchmarks import ours
from tests.benchmarks.ground import Ground, sink, size_of
from tests.benchmarks.measuring import Row, Run, Sampler

MB = 1_000_000


def p3_p4(ground: Ground) -> list[Row]:
    """First index and rescan of tree A, against restic, Borg, Syncthing and find; ours of tree C as well."""
    first = Row("P3", "first index of tree A: 100,000 files of 1 to 8 KB in 5,000 folders", "files/s")
    again = Row("P4", "rescan of tree A with nothing changed", "files/s")
    tree = ground.tree_a()
    files, _ = size_of(tree)
    for _ in range(ground.runs):
        for run, row, name in _index_once(ground, tree, files):
            (first if row == "first" else again).of(name).runs.append(run)
        walked = rivals.find_walk(tree)
        walked.figure = files / walked.seconds
        again.of("find -printf").runs.append(walked)
    _compare(first, again)
    _tree_c(ground, first, again)
    return [first, again]


def _index_once(ground: Ground, tree: Path, files: int) -> list[tuple[Run, str, str]]:
    found = _ours(ground, tree, files)
    others = {"restic": rivals.restic_index, "borg": rivals.borg_index, "syncthing": rivals.syncthing_index}
    for name, measure in others.items():
        if rivals.have(name):
            for run, row in zip(measure(ground, tree), ("first", "again"), strict=True):
                run.figure = files / run.seconds
                found.append((run, row, name))
    return found


def _ours(ground: Ground, tree: Path, files: int, name: str = "ours") -> list[tuple[Run, str, str]]:
    place = ground.fresh("catalogue")
    run, told = ours.drive("index", tree=str(tree), catalogue=str(place / "c.sqlite"), rescans=3)
    assert told["files"] == files, told
    assert not any(scan["hashed"] for scan in told["rescans"]), "a rescan read files"
    first = _part(told["first"], files, run.peak_bytes)
    first.more["catalogue_bytes_per_file"] = told["catalogue_bytes"] / files
    best = sorted(told["rescans"], key=lambda scan: float(scan["seconds"]))[len(told["rescans"]) // 2]
    shutil.rmtree(place)
    return [(first, "first", name), (_part(best, files, run.peak_bytes), "again", name)]


def _part(scan: dict[str, Any], files: int, peak_bytes: int) -> Run:
    return Run(files / scan["seconds"], scan["seconds"], scan["cpu_s"], peak_bytes)


def _compare(first: Row, again: Row) -> None:
    best = first.best_peer()
    if best is not None:
        ratio = first.of("ours").median() / best.median()
        first.at_least(f"times {best.name}, the best of the others", ratio, 3)
    finding = again.of("find -printf").median()
    again.at_least("of find's rate", again.of("ours").median() / finding, 0.5)
    indexers = [series for series in again.series[1:] if series.name != "find -printf" and series.runs]
    if indexers:
        best = max(indexers, key=lambda series: series.median())
        again.at_least(
            f"times {best.name}, the best of the indexers", again.of("ours").median() / best.median(), 5
        )


def _tree_c(ground: Ground, first: Row, again: Row) -> None:
    tree = ground.tree_c()
    files, _ = size_of(tree)
    for _ in range(max(1, ground.runs // 2)):
        for run, row, _ in _ours(ground, tree, files):
            (first if row == "first" else again).of(f"ours, tree C ({files:,} files)").runs.append(run)
        walked = rivals.find_walk(tree)
        walked.figure = files / walked.seconds
        again.of(f"find, tree C ({files:,} files)").runs.append(walked)
    ground.forget("c")
    if ground.full:
        _wide_tree(ground, again)


def _wide_tree(ground: Ground, again: Row) -> None:
    tree = ground.small_tree("wide", 3_000_000, 300_000, 0, 16)
    for run, row, _ in _ours(ground, tree, 3_000_000):
        if row == "again":
            again.of("ours, 3,000,000 files in 300,000 folders").runs.append(run)
    walked = rivals.find_walk(tree)
    walked.figure = 3_000_000 / walked.seconds
    again.of("find, 3,000,000 files in 300,000 folders").runs.append(walked)
    ground.forget("wide")


def p5(ground: Ground) -> list[Row]:
    """First index of large files."""
    row = Row("P5", "first index of tree B: 20 files of 100 MB", "MB/s")
    tree = ground.tree_b()
    files, size = size_of(tree)
    for _ in range(ground.runs):
        for run, part, name in _index_once(ground, tree, files):
            if part == "first":
                run.figure = size / MB / run.seconds
                row.of(name).runs.append(run)
    if row.of("syncthing").runs:
        row.at_least("times Syncthing", row.of("ours").median() / row.of("syncthing").median(), 1)
    row.series = [series for series in row.series if series.runs]
    ground.forget("b")
    return [row]


def p6(ground: Ground) -> list[Row]:
    """Peak memory of a real daemon that indexes, posts, publishes and rescans a large tree."""
    tree = ground.tree_c()
    files, _ = size_of(tree)
    row = Row(
        "P6", f"peak memory of the daemon and its children: {files:,} files", "MB", more_is_better=False
    )
    place = ground.fresh("p6")
    with sink() as news:
        daemon = ours.daemon(place, ours.server(news.port), tree)
        try:
            daemon.start()
            assert daemon.process is not None
            sampler = Sampler(daemon.process.pid)
            daemon.wait_idle(1_800)
            first = sampler.end()
            row.of("ours: index, post and publish").runs.append(Run(first / MB, peak_bytes=first))
            sampler = Sampler(daemon.process.pid)
            daemon.post("/scan", {"folder": "src"})
            daemon.wait_idle(1_800)
            again = sampler.end()
            row.of("ours: rescan").runs.append(Run(again / MB, peak_bytes=again))
            daemon.stop()
        finally:
            daemon.end()
    row.at_most(
        "MB at 1,000,000 files" if ground.full else f"MB at {files:,} files", max(first, again) / MB, 250
    )
    ground.forget("c")
    return [row]
