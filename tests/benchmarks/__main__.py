"""``make bench``: measure the rows of the performance table.

python -m tests.benchmarks [P1 P3 ...]   short form, minutes
python -m tests.benchmarks --full        sizes of the table, five rounds
python -m tests.benchmarks --report      write docs/benchmarks.md from what was measured
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable

from tests.benchmarks.table import report, rows_client, rows_index, rows_post, rows_restore
from tests.benchmarks.table.harness import Row, Scale, Unavailable, keep_result, machine

WORK: dict[tuple[str, ...], Callable[[Scale], dict[str, Row]]] = {
    ("P1",): rows_post.p1,
    ("P2",): rows_post.p2,
    ("P3", "P4"): rows_index.p3_p4,
    ("P5",): rows_index.p5,
    ("P6",): rows_index.p6,
    ("P8", "P11", "P12", "P14", "P15"): rows_client.living_with_it,
    ("P9",): rows_restore.p9,
    ("P10",): rows_restore.p10,
    ("P13",): rows_client.p13,
    ("P16",): rows_post.p16,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = sorted({row for rows in WORK for row in rows}, key=lambda row: int(row[1:]))
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(known))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(known):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    if options.report:
        report.write()
        return 0
    failed = 0
    for rows, work in WORK.items():
        if not options.rows or set(rows) & set(options.rows):
            failed += not _measure(rows, work, Scale(options.full))
    return 1 if failed else 0


def _measure(rows: tuple[str, ...], work: Callable[[Scale], dict[str, Row]], scale: Scale) -> bool:
    """Run one function, print and keep what it found. False: it broke; the other rows go on."""
    print(f"-- {', '.join(rows)}", flush=True)
    before, started = os.getloadavg()[0], time.time()
    try:
        found = work(scale)
    except Unavailable as reason:
        found = {row: Row(notes=[f"could not run: {reason}"]) for row in rows}
    except Exception:  # noqa: BLE001 - one broken row must not cost the others
        traceback.print_exc()
        return False
    for name, row in found.items():
        record = {
            "figures": [figure.record() for figure in row.figures],
            "notes": row.notes,
            "at": started,
            "took_s": time.time() - started,
            "load": [before, os.getloadavg()[0]],
            "full": scale.full,
            "machine": machine(),
        }
        keep_result(name, record)
        print(report.as_text(name, record), flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
