"""P9, P10: asking for articles, and bringing them back."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.table import daemons, peers, trees
from tests.benchmarks.table.harness import (
    REPOSITORY,
    Contestant,
    Figure,
    Row,
    Sample,
    Scale,
    in_turn,
    run,
    workspace,
)
from tests.benchmarks.table.loops import connect
from tests.benchmarks.table.nzbget import NzbGet, Posted
from tests.benchmarks.table.rows_post import SECRET, inn
from tests.benchmarks.table.sink import Sink

LOGIN = {"username": "test", "password": "${env:BENCH_PASSWORD}"}


def _stat(place: Path, port: int, ids: list[str], user: str) -> dict[str, Callable[[], Sample]]:
    listed = place / f"ids-{port}"
    listed.write_text("\n".join(ids))

    def measured(module: str) -> Callable[[], Sample]:
        command = [
            sys.executable,
            "-m",
            f"tests.benchmarks.table.{module}",
            "stat",
            str(port),
            str(listed),
            user,
        ]

        def one() -> Sample:
            ran = run(command, cwd=REPOSITORY)
            return Sample(json.loads(ran.output.splitlines()[-1])["rate"], ran.cpu_s, ran.peak_bytes)

        return one

    return {"UsenetSync": measured("asking"), "bare loop": measured("loops")}


def p9(scale: Scale) -> dict[str, Row]:
    """How fast the presence of articles can be asked for."""
    figures = []
    with workspace() as place, ExitStack() as stack:
        far = stack.enter_context(Sink(delay_ms=50, has_all=True))
        ids = [f"<{number:032x}@bench.invalid>" for number in range(scale.of(8_000, 30_000))]
        done = in_turn({"UsenetSync": _stat(place, far.port, ids, "-")["UsenetSync"]}, scale.rounds)
        figures.append(Figure("STAT at 50 ms, 2 connections", "1/s", done["UsenetSync"], [], 1_000, 1_900))
        found, missing = peers.available({"INN": lambda: stack.enter_context(inn())})
        figures[0].missing += missing
        if "INN" in found:
            server = found["INN"]
            ids = _some_articles(server.port, scale.of(2_000, 10_000))
            done = in_turn(_stat(place, server.port, ids, "test:secret"), scale.rounds)
            limit = [done["bare loop"]]
            figures.append(
                Figure("STAT against INN, 2 connections", "1/s", done["UsenetSync"], limit, 0.5, 1)
            )
    loop = "Ours is NewsService.stat; the bare loop asks in windows of 200 and is the server's own rate."
    return {"P9": Row(figures, [loop])}


def _some_articles(port: int, count: int) -> list[str]:
    """Post small articles to an INN; their ids."""
    sock, readline = connect(port, "-", "test:secret")
    ids = [f"<{number:032x}@bench.invalid>" for number in range(count)]
    with sock:
        for one in ids:
            sock.sendall(b"POST\r\n")
            readline()
            head = f"From: a@b.invalid\r\nNewsgroups: alt.binaries.test\r\nSubject: s\r\nMessage-ID: {one}\r\n\r\nx\r\n.\r\n"
            sock.sendall(head.encode())
            if not (told := readline()).startswith(b"240"):
                raise RuntimeError(f"INN: {told!r}")
    return ids


@dataclass(frozen=True, slots=True)
class Shop:
    """A server that has a folder of ours and the same files as plain yEnc."""

    port: int
    string: str
    posted: Posted
    login: bool


@contextmanager
def _shop(place: Path, tree: Path, port: int, login: bool) -> Iterator[Shop]:
    """Post the tree with a daemon of ours, and as plain yEnc for the other."""
    account = daemons.server(port, **(LOGIN if login else {}))
    with daemons.daemon(place / "publisher", account, tree, environ=SECRET) as publisher:
        daemons.wait_published(publisher)
        string = publisher.share(daemons.FOLDER)
        publisher.wait_idle(daemons.LONGEST_S)
    posted = Posted.of(tree, port, "test:secret" if login else "-")
    yield Shop(port, string, posted, login)


def _restored(place: Path, shop: Shop, amount: float) -> Sample:
    """A fresh daemon that knows nothing but the string; from the order to the end of the job."""
    account = daemons.server(shop.port, **(LOGIN if shop.login else {}))
    with daemons.daemon(place / "reader", account, None, environ=SECRET) as reader:
        reader.wait_ready()
        cpu_s, started = reader.meter.cpu_s(), time.perf_counter()
        job = reader.begin_restore(shop.string, place / "reader" / "out")
        done = reader.wait_job(job, daemons.LONGEST_S)
        seconds = time.perf_counter() - started
        if done["state"] != "done" or done["result"]["failed"]:
            raise RuntimeError(f"the restore failed: {done}")
        reader.meter.sample()
        return Sample(amount / seconds, reader.meter.cpu_s() - cpu_s, reader.meter.peak_bytes)


def p10(scale: Scale) -> dict[str, Row]:
    """Restore from INN and from the sink, near and far, against NZBGet and a bare loop."""
    figures: list[Figure] = []
    with workspace() as place, ExitStack() as stack:
        tree = place / "tree"
        amount = trees.tree_b(tree, scale.of(3, 10)) / 1e6
        sinks = {
            "restore from the sink": (stack.enter_context(Sink(keep=True)).port, False, 1.0),
            "restore at 50 ms": (stack.enter_context(Sink(delay_ms=50, keep=True)).port, False, 3.0),
        }
        found, missing = peers.available({"INN": lambda: stack.enter_context(inn()), "NZBGet": NzbGet})
        shops = {**sinks, **({"restore from INN": (found["INN"].port, True, 1.0)} if "INN" in found else {})}
        for title, (port, login, mark) in shops.items():
            with _shop(place, tree, port, login) as shop:
                done = in_turn(_restores(place, shop, amount, found.get("NZBGet")), scale.rounds)
            nzbget = [done["NZBGet"]] if "NZBGet" in done else []
            figures.append(Figure(title, "MB/s", done["UsenetSync"], nzbget, mark, None, missing=missing))
            loop = [Contestant("bare loop", done["bare loop"].samples)]
            figures.append(Figure(f"{title}, against a bare loop", "MB/s", done["UsenetSync"], loop))
    how = (
        f"{amount / 1e3:g} GB in files of 100 MB, 8 connections; opened, hashed, placed and synced in memory. Ours: from "
        "the order to the end of the job, head and index included. NZBGet: plain yEnc of the same files, from adding "
        "the NZB to its history."
    )
    loop_is = "Bare loop: BODY with four in flight, yEnc decoded and dropped; one Python process. SABnzbd is not measured."
    return {"P10": Row(figures, [how, loop_is])}


def _restores(
    place: Path, shop: Shop, amount: float, nzbget: NzbGet | None
) -> dict[str, Callable[[], Sample]]:
    user = "test:secret" if shop.login else "-"
    listed = place / f"plain-{shop.port}"
    listed.write_text("\n".join(shop.posted.ids))
    loop = [sys.executable, "-m", "tests.benchmarks.table.loops", "fetch", str(shop.port), str(listed), user]
    runs: dict[str, Callable[[], Sample]] = {"UsenetSync": lambda: _restored(place, shop, amount)}
    if nzbget is not None:
        runs["NZBGet"] = lambda: nzbget.fetch(place, shop.port, shop.login, shop.posted).rate(amount)
    runs["bare loop"] = lambda: run(loop, cwd=REPOSITORY).rate(amount)
    return runs
