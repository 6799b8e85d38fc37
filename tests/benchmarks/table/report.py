"""Results as text for a terminal, and as docs/benchmarks.md."""

import json
import time
from typing import Any

from tests.benchmarks.table.harness import REPOSITORY, RESULTS

TARGET = REPOSITORY / "docs" / "benchmarks.md"
# Rows whose mark is for more files than the short form has, or than any form has.
SMALLER = {"P6"}
ALWAYS_SMALLER = {"P8", "P13"}
HEAD = """\
# Benchmarks

Written by `python -m tests.benchmarks --report` from what `make bench` measured; no figure is typed by hand.
Repeat it with `make bench` (minutes; `make bench ROWS="P1 P3"` for some rows) or `make bench-full`, then write this
file with the command above.

A mark is a ratio to a peer or a limit measured in the same run, in turn with ours; where there is no peer it is the
figure itself. Figures are medians, with the least and the greatest run in brackets. Processor time and memory
include all child processes; memory is the sum of each process's own peak. Load is the machine's load average
before and after the row: well above the benchmark's own share, other work was going on and the absolute figures are
too low.
"""


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 1_000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def verdict(name: str, figure: dict[str, Any], full: bool) -> str:
    if figure["mark"] is None:
        return ""
    if figure["reached"] is None:
        return "not judged"
    smaller = name in ALWAYS_SMALLER or (name in SMALLER and not full)
    return ("yes" if figure["reached"] else "**no**") + (", at a smaller size" if smaller else "")


def mark(figure: dict[str, Any], key: str = "mark") -> str:
    if figure[key] is None:
        return ""
    sign = "<=" if figure["lower_is_better"] else ">="
    unit = " x" if figure["others"] else f" {figure['unit']}"
    return f"{sign} {figure[key]:g}{unit}"


def _spread(one: dict[str, Any]) -> str:
    return f"{number(one['median'])} [{number(one['min'])}..{number(one['max'])}]"


def _cost(one: dict[str, Any]) -> str:
    told = [f"{number(one['cpu_s'])} s"] if one["cpu_s"] else []
    told += [f"{one['peak_bytes'] / 1e6:.0f} MB"] if one["peak_bytes"] else []
    return ", ".join(told)


def as_text(name: str, record: dict[str, Any]) -> str:
    lines = []
    for figure in record["figures"]:
        judged = (
            f"   mark {mark(figure)}: {verdict(name, figure, record['full']).replace('*', '')}"
            if figure["mark"] is not None
            else ""
        )
        ratio = f"   ratio {figure['ratio']:.2f} to {figure['peer']}" if figure["ratio"] is not None else ""
        lines.append(f"{name:<4} {figure['title']} ({figure['unit']}){ratio}{judged}")
        lines += [
            f"       {one['name']:<16} {_spread(one):<40} {_cost(one)}"
            for one in (figure["ours"], *figure["others"])
        ]
        lines += [f"       missing: {reason}" for reason in figure["missing"]]
    lines += [f"       {note}" for note in record["notes"]]
    lines.append(
        f"       load {record['load'][0]:.1f} before, {record['load'][1]:.1f} after; {record['took_s']:.0f} s"
    )
    return "\n".join(lines)


def write() -> None:
    """Raises FileNotFoundError when nothing was measured yet."""
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    rows = sorted(found.items(), key=lambda item: int(item[0][1:]))
    lines = [
        HEAD,
        "| row | figure | ours | peer | ratio | mark | reached | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [line for name, record in rows for line in _summary(name, record)]
    for name, record in rows:
        lines += ["", f"## {name}", "", *_details(record)]
    TARGET.write_text("\n".join(lines) + "\n")


def _summary(name: str, record: dict[str, Any]) -> list[str]:
    if not record["figures"]:
        return [f"| {name} | {'; '.join(record['notes'])} | | | | | not judged | |"]
    lines = []
    for figure in record["figures"]:
        others = {other["name"]: other for other in figure["others"]}
        peer = f"{figure['peer']} {number(others[figure['peer']]['median'])}" if figure["peer"] else ""
        ratio = f"{figure['ratio']:.2f}" if figure["ratio"] is not None else ""
        ours = f"{number(figure['ours']['median'])} {figure['unit']}"
        cells = (
            name,
            figure["title"],
            ours,
            peer,
            ratio,
            mark(figure),
            verdict(name, figure, record["full"]),
            mark(figure, "goal"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _details(record: dict[str, Any]) -> list[str]:
    lines = [
        "| figure | program | median [min..max] | runs | processor, peak memory |",
        "|---|---|---|---|---|",
    ]
    for figure in record["figures"]:
        for one in (figure["ours"], *figure["others"]):
            title = f"{figure['title']}, {figure['unit']}"
            lines.append(f"| {title} | {one['name']} | {_spread(one)} | {one['runs']} | {_cost(one)} |")
    missing = dict.fromkeys(reason for figure in record["figures"] for reason in figure["missing"])
    lines += [""] + [f"- Missing: {reason}" for reason in missing] + [f"- {note}" for note in record["notes"]]
    machine = record["machine"]
    form = "full" if record["full"] else "short"
    lines.append(
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime(record['at']))} UTC, {form} form, {machine['cores']} cores "
        f"of {machine['processor']}, {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}, Linux "
        f"{machine['kernel']}, Python {machine['python']}; load {record['load'][0]:.1f} before, "
        f"{record['load'][1]:.1f} after; took {record['took_s']:.0f} s."
    )
    return lines
