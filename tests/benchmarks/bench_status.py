"""`usyncctl status` from the shell's point of view, and what the API adds to the daemon's memory (P11).

    python -m tests.benchmarks.bench_status [--rounds 21]

The daemon behind the socket is the small one of tests/control, in this process: the figure is the client's start, the
request and the table, less what a real daemon needs to gather its answer (row P7 has that).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.control.small_daemon import SmallDaemon
from usenetsyncd.control.listener import Listener

ROOT = Path(__file__).parents[2]
STATUS = "import sys; from usenetsyncd.cli.usyncctl import main; sys.exit(main(sys.argv[1:]))"
ROWS: dict[str, Sequence[str]] = {
    "bare python": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "usyncctl status": ["-c", STATUS, "status"],
    "usyncctl status --json": ["-c", STATUS, "status", "--json"],
    "usyncctl folder list": ["-c", STATUS, "folder", "list"],
    "usyncctl --help": ["-c", STATUS, "--help"],
}
# What the daemon holds anyway, then the parts of the API in turn.
PARTS = (
    ("settings, structlog, ssl", "ssl, structlog, usenetsyncd.settings.layers"),
    ("control.schema", "usenetsyncd.control.schema"),
    ("asyncio and uvicorn", "asyncio, uvicorn.protocols.http.h11_impl"),
    ("fastapi", "fastapi"),
    ("control.listener with all routes", "usenetsyncd.control.listener"),
)
MEASURE = """
import sys
def rss():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])
for part in sys.argv[1:]:
    before = rss()
    for name in part.split(", "):
        __import__(name)
    if part == "usenetsyncd.control.listener":
        import threading
        from usenetsyncd.control.app import make_app
        app = make_app(None, threading.Event())
    print(rss() - before)
"""


def wall_ms(arguments: Sequence[str], rounds: int) -> list[float]:
    """Wall times of one command, sorted."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    print(f"load {os.getloadavg()[0]:.1f}; ms: median (fastest to slowest) of {rounds}")
    with tempfile.TemporaryDirectory() as place:
        listener = Listener(SmallDaemon(), Path(place) / "control.sock")
        os.environ["USENETSYNCD_SOCKET"] = str(listener.path)
        listener.start()
        try:
            for name, arguments in ROWS.items():
                taken = wall_ms(arguments, rounds)
                print(f"{name:<24} {statistics.median(taken):6.1f}  ({taken[0]:.1f} to {taken[-1]:.1f})")
        finally:
            listener.stop(1.0)
    command = [sys.executable, "-c", MEASURE, *(part for _, part in PARTS)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    for (name, _), kib in zip(PARTS, told, strict=True):
        print(f"{name:<34} +{int(kib) / 1024:5.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
