"""The claim itself: three servers lose and spoil articles, the source is gone, and what arithmetic allows comes back.

Two embedded servers and INN. The short form has some hundred segments; `make proof` has 20,000.
"""

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.commands import ctl, message_ids
from tests.daemon.harness import DaemonProcess, World, until
from tests.inn.instance import InnServer
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ArticleKind

SEGMENTS = int(os.environ.get("PROOF_SEGMENTS", "400"))
# After it is up again; the short form takes less than two seconds in peace.
KILL_EVERY_S = float(os.environ.get("PROOF_KILL_EVERY_S", "0.3"))
# As long as a segment of its own has to be, and no longer: the number of articles is what counts here.
FILE_BYTES = 50_000
DATA, PARITY = int(ArticleKind.DATA), int(ArticleKind.PARITY)
LOST, SPOILT = 0.05, 0.02
PATIENCE_S = 60.0 + SEGMENTS / 4

pytestmark = [pytest.mark.requires("inn"), pytest.mark.timeout(300 + SEGMENTS)]


@dataclass
class Harm:
    """What was done to the servers: message-ids by server."""

    lost: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    spoilt: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def all(self) -> set[str]:
        return set().union(*self.lost.values(), *self.spoilt.values())


@dataclass
class Place:
    """A daemon with a folder on three servers."""

    here: World
    second: LoopbackServer
    inn: InnServer
    one: DaemonProcess
    string: str

    @property
    def account_list(self) -> list[dict[str, Any]]:
        servers: list[dict[str, Any]] = self.one.config["servers"]
        return servers

    def ids_by_server(self) -> dict[str, list[str]]:
        """Everything posted, but for envelopes, by the server that took it."""
        database = self.one.catalogue()
        try:
            servers = database.execute(
                "SELECT v.name FROM article a JOIN segment s ON s.id = a.segment_id JOIN server v ON v.id = a.server_id "
                "WHERE a.state = 0 AND s.kind <> 4 ORDER BY a.segment_id, a.copy"
            ).fetchall()
        finally:
            database.close()
        found: dict[str, list[str]] = defaultdict(list)
        for (server,), message_id in zip(servers, message_ids(self.one), strict=True):
            found[server].append(message_id)
        return found

    def harm(self, dice: random.Random) -> Harm:
        """Lose and spoil articles on each server."""
        done = Harm()
        inn_files = _spool_files(self.inn)
        remove: dict[str, Callable[[str], None]] = {
            "main": self.here.server.remove,
            "second": self.second.remove,
            "inn": self.inn.cancel,
        }
        spoil: dict[str, Callable[[str], None]] = {
            "main": self.here.server.corrupt,
            "second": self.second.corrupt,
            "inn": lambda name: _flip(inn_files[name], dice),
        }
        for server, ids in sorted(self.ids_by_server().items()):
            chosen = dice.sample(ids, round(len(ids) * (LOST + SPOILT)))
            losses = round(len(ids) * LOST)
            for name in chosen[:losses]:
                remove[server](name)
            for name in chosen[losses:]:
                spoil[server](name)
            done.lost[server], done.spoilt[server] = set(chosen[:losses]), set(chosen[losses:])
        return done

    def hopeless(self, harm: Harm) -> tuple[set[int], set[int]]:
        """Data and parity segments that arithmetic gives up: of their stripe more is gone than it has parity."""
        gone = harm.all()
        database = self.one.catalogue()
        try:
            rows = [row for (row,) in database.execute(
                "SELECT a.segment_id FROM article a JOIN segment s ON s.id = a.segment_id "
                "WHERE a.state = 0 AND s.kind <> 4 ORDER BY a.segment_id, a.copy"
            )]  # fmt: skip
            lost = {row for row, name in zip(rows, message_ids(self.one), strict=True) if name in gone}
            kinds = dict(database.execute("SELECT id, kind FROM segment"))
            stripes = dict(database.execute("SELECT id, parity FROM stripe"))
            members = defaultdict(set)
            for stripe, row in database.execute("SELECT stripe_id, segment_id FROM stripe_member"):
                members[stripe].add(row)
        finally:
            database.close()
        saved = set[int]()
        for stripe, rows_of in members.items():
            if len(rows_of & lost) <= stripes[stripe]:
                saved |= rows_of
        # Pages and heads are in the catalogue.
        gone_for_good = lost - saved
        return {row for row in gone_for_good if kinds[row] == DATA}, {
            row for row in gone_for_good if kinds[row] == PARITY
        }


@contextmanager
def _place(here: World, inn: InnServer, directory: Path) -> Iterator[Place]:
    with LoopbackServer(directory / "second") as second:
        here.source.mkdir(exist_ok=True)
        dice = random.Random(71)
        for number in range(SEGMENTS):
            folder = here.source / f"{number // 500:03}"
            folder.mkdir(exist_ok=True)
            (folder / f"file {number}").write_bytes(dice.randbytes(FILE_BYTES))
        servers = [_account(*here.server.address, "main"), _account(*second.address, "second")]
        login = {"username": inn.user, "password": "${env:NEWS_PASSWORD}"}
        servers.append({**_account(*inn.address, "inn"), **login})
        one = here.daemon(
            servers=servers,
            defaults={
                "settle": "0.3s",
                "redundancy": {"copies": 1, "parity": "10%"},
                "verify": {"after": "1h", "every": "30d", "sample": "2%"},
            },
            environ={"NEWS_PASSWORD": inn.password},
        ).start()
        one.wait_idle(PATIENCE_S)
        string = one.share()
        one.wait_idle(PATIENCE_S)
        yield Place(here, second, inn, one, string)


@pytest.mark.parametrize("killed", [False, True], ids=["in peace", "killed again and again"])
def test_what_three_servers_lose_comes_back_without_the_source(
    here: World, inn_server: InnServer, short_dir: Path, killed: bool
) -> None:
    with _place(here, inn_server, short_dir) as place:
        one = place.one
        assert set(place.ids_by_server()) == {"main", "second", "inn"}
        harm = place.harm(random.Random(72))
        hopeless, without_use = place.hopeless(harm)
        kept = here.place / "kept"
        here.source.rename(kept)
        until(lambda: one.folder()["state"] == "held", 30, one.tail)
        with _killing(one) if killed else _peace() as kills:
            found = _job(one, "/verify", {"folder": "src", "full": True})
            done = _job(one, "/repair", {"folder": "src"})
        told = {of["server"]: (of["missing"], of["corrupt"]) for of in found["servers"]}
        assert told == {name: (len(harm.lost[name]), len(harm.spoilt[name])) for name in told}
        assert (found["missing"], found["corrupt"]) == (
            sum(map(len, harm.lost.values())),
            sum(map(len, harm.spoilt.values())),
        )
        assert found["unrepairable"] == len(hopeless)
        assert done["waiting"] == 0
        again = ctl(one, "verify", "src", "--full", "--json").summary
        assert again["missing"] + again["corrupt"] == len(hopeless) + len(without_use)
        assert again["unrepairable"] == len(hopeless)
        assert len(kills) > 0 or not killed
        here.assert_posted_once()
        assert not {name: count for name, count in place.second.counters.offers.items() if count > 1}
        _compare(place, kept, len(hopeless))


def _compare(place: Place, kept: Path, hopeless: int) -> None:
    """Restore elsewhere: every file but those that arithmetic gives up, byte for byte."""
    two = place.here.reader(servers=place.account_list, environ={"NEWS_PASSWORD": place.inn.password}).start()
    target = place.here.place / "out"
    job = two.wait_job(two.begin_restore(place.string, target), PATIENCE_S)
    assert job["state"] == "done", job
    assert job["result"]["failed"] == hopeless
    different = [
        path
        for path in sorted(kept.rglob("file *"))
        if not (target / path.relative_to(kept)).is_file()
        or (target / path.relative_to(kept)).read_bytes() != path.read_bytes()
    ]
    assert len(different) == hopeless


def _job(one: DaemonProcess, path: str, order: dict[str, Any]) -> dict[str, Any]:
    """Order something and wait until it has ended, however often the daemon is killed meanwhile."""
    job = 0

    def ended() -> bool:
        nonlocal job
        try:
            job = job or int(one.post(path, order)["id"])
            return one.job(job)["state"] in ("done", "failed", "cancelled")
        except OSError:
            return False

    until(ended, PATIENCE_S, one.tail, every_s=0.2)
    until(lambda: _answers(one), PATIENCE_S, one.tail)
    last = one.job(job)
    assert last["state"] == "done", last
    result: dict[str, Any] = last["result"]
    return result


def _answers(one: DaemonProcess) -> bool:
    try:
        one.get("/version")
    except OSError:
        return False
    return True


@contextmanager
def _peace() -> Iterator[list[float]]:
    yield []


@contextmanager
def _killing(one: DaemonProcess) -> Iterator[list[float]]:
    """kill -9 every few seconds while the block runs; at its end the daemon is up."""
    over = threading.Event()
    kills: list[float] = []
    problems = Counter[str]()

    def run() -> None:
        while not over.wait(KILL_EVERY_S):
            try:
                one.kill()
                kills.append(time.monotonic())
                one.start()
            except Exception as error:  # noqa: BLE001 - told by the test
                problems[repr(error)] += 1
                return

    killer = threading.Thread(target=run, name="killer")
    killer.start()
    try:
        yield kills
    finally:
        over.set()
        killer.join()
    assert not problems, problems
    one.wait_ready()


def _account(host: str, port: int, name: str) -> dict[str, Any]:
    return {"name": name, "host": host, "port": port, "tls": "none", "connections": 4}


def _spool_files(inn: InnServer) -> dict[str, Path]:
    """Message-id -> the file that INN keeps the article in."""
    found: dict[str, Path] = {}
    for path in (inn.root / "spool" / "articles").rglob("*"):
        if path.is_file():
            with path.open("rb") as opened:
                head = opened.read(4096)
            for line in head.split(b"\n"):
                if line.lower().startswith(b"message-id:"):
                    found[line.split(b":", 1)[1].strip().decode()] = path
                    break
    return found


def _flip(path: Path, dice: random.Random) -> None:
    """One byte in the middle of the body is another one; nothing that the protocol would stumble over."""
    content = bytearray(path.read_bytes())
    at = len(content) // 2 + dice.randrange(64)
    while content[at] in b"\r\n=." or content[at - 1] in b"\r\n=.":
        at += 1
    content[at] = ord("a") if content[at] != ord("a") else ord("b")
    path.write_bytes(content)
