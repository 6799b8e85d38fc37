"""What every row needs: a place in memory, measured processes, rounds in turn, and a record of what came out."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".bench"
RESULTS = CACHE / "results.json"
SAMPLE_S = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """Something that a row needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Short or full form."""

    full: bool = False

    @property
    def rounds(self) -> int:
        return 5 if self.full else 3

    def of(self, short: int, full: int) -> int:
        return full if self.full else short


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run. value: in the row's unit. Processor time and memory include all child processes."""

    value: float
    cpu_s: float = 0.0
    peak_bytes: int = 0


@dataclass(slots=True)
class Contestant:
    """All runs of one program for one figure."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    def record(self) -> dict[str, Any]:
        values = [sample.value for sample in self.samples]
        return {
            "name": self.name,
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "runs": len(values),
            "cpu_s": statistics.median(sample.cpu_s for sample in self.samples),
            "peak_bytes": max(sample.peak_bytes for sample in self.samples),
        }


@dataclass(slots=True)
class Figure:
    """One line of a row's table.

    ours: what is judged. others: peers or limits; the first is what the ratio refers to. mark: the least ratio
    (or, without others, the figure itself), read with ``lower_is_better``. None: nothing to judge here.
    """

    title: str
    unit: str
    ours: Contestant
    others: list[Contestant] = field(default_factory=list)
    mark: float | None = None
    goal: float | None = None
    lower_is_better: bool = False
    missing: list[str] = field(default_factory=list)

    def best_other(self) -> Contestant | None:
        pick = min if self.lower_is_better else max
        return pick(self.others, key=lambda other: other.median) if self.others else None

    def record(self) -> dict[str, Any]:
        peer = self.best_other()
        ratio = self.ours.median / peer.median if peer and peer.median else None
        judged = ratio if self.others else self.ours.median
        reached = None
        if self.mark is not None and judged is not None:
            reached = judged <= self.mark if self.lower_is_better else judged >= self.mark
        return {
            "title": self.title,
            "unit": self.unit,
            "ours": self.ours.record(),
            "others": [other.record() for other in self.others],
            "peer": peer.name if peer else None,
            "ratio": ratio,
            "mark": self.mark,
            "goal": self.goal,
            "lower_is_better": self.lower_is_better,
            "reached": reached,
            "missing": self.missing,
        }


@dataclass(slots=True)
class Row:
    """What one function measured. notes: how it was done and what was scaled down."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# -- places and rounds ---------------------------------------------------------------------------


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory in memory where there is one, removed afterwards; its path is short enough for Unix sockets."""
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="usenetsync-bench-", dir=shared if shared.is_dir() else None))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def fresh(place: Path) -> Path:
    """That directory, empty."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def in_turn(runs: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, Contestant]:
    """Each one once per round, so that all of them see the same weather."""
    found = {name: Contestant(name) for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].samples.append(run())
    return found


def against(
    title: str,
    unit: str,
    runs: Mapping[str, Callable[[], Sample]],
    scale: Scale,
    **judged: Any,
) -> Figure:
    """A figure from runs in turn; the first of ``runs`` is ours."""
    found = list(in_turn(runs, scale.rounds).values())
    return Figure(title, unit, found[0], found[1:], **judged)


# -- processes -----------------------------------------------------------------------------------


class Meter:
    """Watches a process and all its descendants from /proc: processor time, and the sum of each one's peak memory."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._thread.start()

    @property
    def peak_bytes(self) -> int:
        return sum(self._peaks.values())

    def cpu_s(self) -> float:
        """Processor time until now, of those that live and of their children that ended."""
        return sum(_cpu_s(pid) for pid in _family(self._pid))

    def resident_bytes(self) -> int:
        return sum(_status_bytes(pid, b"VmRSS:") for pid in _family(self._pid))

    def sample(self) -> None:
        for pid in _family(self._pid):
            self._peaks[pid] = max(self._peaks.get(pid, 0), _status_bytes(pid, b"VmHWM:"))

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.sample()


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        with suppress(OSError):
            for task in os.listdir(f"/proc/{member}/task"):
                with suppress(OSError):
                    children = Path(f"/proc/{member}/task/{task}/children").read_bytes()
                    found.extend(int(child) for child in children.split())
    return found


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / TICKS
    return 0.0


def _status_bytes(pid: int, key: bytes) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


@dataclass(frozen=True, slots=True)
class Ran:
    """One command that has ended."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    output: str

    def rate(self, amount: float) -> Sample:
        return Sample(amount / self.seconds, self.cpu_s, self.peak_bytes)


def run(command: Sequence[str], environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
    """Run a command to its end and measure it. Raises RuntimeError with what it said when it fails."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environ or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        meter = Meter(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            meter.close()
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said[-2_000:]}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, meter.peak_bytes, said)


# -- results -------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    model = ""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_bytes": memory,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
    }


def keep_result(row: str, record: dict[str, Any]) -> None:
    """Put one row's record into .bench/results.json; the others stay."""
    CACHE.mkdir(exist_ok=True)
    known: dict[str, Any] = {}
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(RESULTS.read_text())
    known[row] = record
    new = RESULTS.with_suffix(".new")
    new.write_text(json.dumps(known, indent=1, ensure_ascii=False))
    new.replace(RESULTS)
