"""P1, P2, P16: posting, against Nyuu and against bare loops."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.table import daemons, peers, trees
from tests.benchmarks.table.harness import (
    REPOSITORY,
    Contestant,
    Figure,
    Row,
    Sample,
    Scale,
    Unavailable,
    in_turn,
    run,
    workspace,
)
from tests.benchmarks.table.sink import Sink
from tests.inn.configuration import NEWS, VOID, make_certificate
from tests.inn.instance import InnServer, Instance

LAUNCH = (
    "Ours: a fresh daemon from its launch until the version is published, with everything on (hashes, AES-GCM, "
    "catalogue, outbox, index, head). Nyuu: from its launch to its end; it encrypts nothing and remembers nothing."
)
GIVEN = (
    "A daemon is started once and posts for years, so there are two figures: from the reload that gives a running one "
    "its folder, and (start included) from its launch, as for Nyuu. No parity."
)
BARE = "Bare loop: one Python process, 8 threads: read, AES-GCM, sabctools' yEnc, send."
RUNNING, LAUNCHED = "UsenetSync", "UsenetSync from its launch"
SECRET = {"BENCH_PASSWORD": "secret"}


def _cost(figure: Figure, amount_gb: float, mark: float | None, goal: float | None) -> Figure:
    """The same runs as processor seconds per GB."""

    def costs(one: Contestant) -> Contestant:
        return Contestant(one.name, [Sample(s.cpu_s / amount_gb, s.cpu_s, s.peak_bytes) for s in one.samples])

    others = [costs(other) for other in figure.others]
    title = "processor time" + figure.title.removeprefix("posting, plain")
    return Figure(title, "CPU s/GB", costs(figure.ours), others, mark, goal, True, figure.missing)


def _loop(tree: Path, port: int, amount: float, ca_file: str = "-", user: str = "-") -> Callable[[], Sample]:
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.table.loops",
        "post",
        str(tree),
        str(port),
        ca_file,
        user,
    ]
    return lambda: run(command, cwd=REPOSITORY).rate(amount)


def p1(scale: Scale) -> dict[str, Row]:
    """Incompressible files into the discard sink over 8 plain connections."""
    with workspace() as place, Sink() as sink:
        tree = place / "tree"
        amount = trees.tree_b(tree, scale.of(10, 20)) / 1e6
        account = daemons.server(sink.port)
        runs: dict[str, Callable[[], Sample]] = {
            RUNNING: lambda: daemons.post_while_running(place / "one", account, tree, amount),
            LAUNCHED: lambda: daemons.post(place / "one", account, tree, amount),
        }
        found, missing = peers.available({"Nyuu": peers.Nyuu})
        if nyuu := found.get("Nyuu"):
            runs["Nyuu"] = lambda: nyuu.post(tree, sink.port).rate(amount)
        runs["bare loop"] = _loop(tree, sink.port, amount)
        done = in_turn(runs, scale.rounds)
    nyuus = [done["Nyuu"]] if "Nyuu" in done else []
    gigabytes = amount / 1e3
    rate = Figure("posting, plain", "MB/s", done[RUNNING], nyuus, 0.5, 1, missing=missing)
    whole = Figure("posting, plain, start included", "MB/s", done[LAUNCHED], nyuus, 0.5, 1, missing=missing)
    figures = [rate, _cost(rate, gigabytes, 2.5, 1.5), whole, _cost(whole, gigabytes, 2.5, 1.5)]
    figures.append(Figure("against a bare loop", "MB/s", done[RUNNING], [done["bare loop"]], None, 0.75))
    notes = [f"{gigabytes:g} GB in files of 100 MB in memory.", LAUNCH, GIVEN, BARE]
    return {"P1": Row(figures, notes)}


@contextmanager
def _tls_sink(place: Path) -> Iterator[tuple[int, str]]:
    """A sink behind TLS: its port and the certificate to trust."""
    certificate, key = place / "cert.pem", place / "key.pem"
    make_certificate(certificate, key)
    command = [sys.executable, "-m", "tests.benchmarks.table.tls_sink", str(certificate), str(key)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), str(certificate)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def inn() -> Iterator[InnServer]:
    if not (NEWS / "bin" / "innd").exists():
        raise Unavailable("INN is not installed")
    instance = Instance({"test": "secret"})
    try:
        yield instance.start()
    finally:
        instance.stop()


def p2(scale: Scale) -> dict[str, Row]:
    """The same over TLS, and into INN both ways."""
    figures: list[Figure] = []
    with workspace() as place, ExitStack() as stack:
        tree = place / "tree"
        amount = trees.tree_b(tree, scale.of(4, 20)) / 1e6
        port, ca_file = stack.enter_context(_tls_sink(place))
        account = daemons.server(port, tls="implicit", ca_file=ca_file)
        done = in_turn(
            {
                "UsenetSync": lambda: daemons.post(place / "one", account, tree, amount),
                "bare TLS loop": _loop(tree, port, amount, ca_file),
            },
            scale.rounds,
        )
        figures.append(Figure("posting over TLS", "MB/s", *_split(done), 0.6, 0.8))
        found, missing = peers.available({"Nyuu": peers.Nyuu, "INN": lambda: stack.enter_context(inn())})
        if "INN" in found:
            figures += _into_inn(place, tree, amount, found["INN"], found.get("Nyuu"), scale)
    for figure in figures:
        figure.missing += missing
    return {"P2": Row(figures, [f"{amount / 1e3:g} GB in files of 100 MB in memory, 8 connections.", LAUNCH])}


def _split(done: dict[str, Contestant]) -> tuple[Contestant, list[Contestant]]:
    ours, *others = done.values()
    return ours, others


def _into_inn(
    place: Path, tree: Path, amount: float, server: InnServer, nyuu: peers.Nyuu | None, scale: Scale
) -> Iterator[Figure]:
    secret = {"username": "test", "password": "${env:BENCH_PASSWORD}"}
    login = ("-u", "test", "-p", "secret")
    ways = {
        "posting into INN": (daemons.server(server.port, **secret), server.port, login),
        "posting into INN over TLS": (
            daemons.server(server.tls_port, tls="implicit", ca_file=str(server.ca_file), **secret),
            server.tls_port,
            (*login, "-S", "--ignore-cert"),
        ),
    }
    for title, (account, port, options) in ways.items():

        def our_run() -> Sample:
            group = {"newsgroups": [VOID], "environ": SECRET}
            return daemons.post(place / "one", account, tree, amount, **group)  # noqa: B023 - runs inside the loop

        runs: dict[str, Callable[[], Sample]] = {"UsenetSync": our_run}
        if nyuu is not None:
            runs["Nyuu"] = lambda: nyuu.post(tree, port, *options, group=VOID).rate(amount)  # noqa: B023
        yield Figure(title, "MB/s", *_split(in_turn(runs, scale.rounds)), 1.0)


def p16(scale: Scale) -> dict[str, Row]:
    """Posting over a real distance."""
    with workspace() as place, Sink(delay_ms=50) as sink:
        tree = place / "tree"
        amount = trees.tree_b(tree, scale.of(5, 20)) / 1e6
        runs: dict[str, Callable[[], Sample]] = {
            "UsenetSync": lambda: daemons.post(place / "one", daemons.server(sink.port), tree, amount)
        }
        found, missing = peers.available({"Nyuu": peers.Nyuu})
        if nyuu := found.get("Nyuu"):
            runs["Nyuu"] = lambda: nyuu.post(tree, sink.port).rate(amount)
        figure = Figure(
            "posting at 50 ms", "MB/s", *_split(in_turn(runs, scale.rounds)), 2, 6, missing=missing
        )
    return {"P16": Row([figure], [f"{amount / 1e3:g} GB, 8 connections, every reply 50 ms late.", LAUNCH])}
