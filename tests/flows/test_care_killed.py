"""kill -9 again and again in the middle of verifying, repairing and posting: nothing lost, nothing posted twice."""

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.flows.backbones import BOTH, Backbones, backbones
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.flows.health import HealthWord

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("CRASH_ROUNDS", "10"))
PATIENCE_S = 60.0


def asked(shop: Backbones) -> int:
    return sum(server.counters.commands.total() for server in shop.servers.values())


def care(shop: Backbones, kill_after: int | None) -> int | None:
    """Run the child; kill it when it has sent so many commands. Its exit code, None if it was killed."""
    servers = [f"{name}={server.address[0]}:{server.address[1]}" for name, server in shop.servers.items()]
    command = [sys.executable, "-m", "tests.flows.caring", str(shop.place), *servers]
    before = asked(shop)
    deadline = time.monotonic() + PATIENCE_S
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        while child.poll() is None:
            assert time.monotonic() < deadline
            if kill_after is not None and asked(shop) - before > kill_after:
                child.kill()
            time.sleep(0.001)
    return child.returncode if child.returncode >= 0 else None


def test_killed_again_and_again_it_repairs_everything_once(tmp_path: Path, clock: FakeClock) -> None:
    dice = Random(6)
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}) as shop:
        shop.post_on_each(120)
        lost = dice.sample(shop.stored(), 60)
        shop.lose(lost[:45])
        shop.spoil(lost[45:])
        shop.catalogue.close()
        # Slow enough that a kill hits the middle.
        for witness in shop.witnesses.values():
            witness.set([{"match": {"command": ["BODY", "POST"]}, "act": {"delay": 0.004}}])
        ended = None
        killed = 0
        while killed < KILLS and ended is None:
            ended = care(shop, dice.randint(20, 700))
            killed += ended is None
        assert killed > 2
        for witness in shop.witnesses.values():
            witness.clear()
        assert care(shop, None) == 0
        shop.catalogue = Catalogue.open(shop.place / "catalogue.sqlite", clock)
        with shop.catalogue:
            assert {one.key for one in shop.stored() if one.generation == 1} == {one.key for one in lost}
            assert max(one.generation for one in shop.stored()) == 1
            posts = [count for server in shop.servers.values() for count in server.counters.posts.values()]
            assert posts == [1] * (240 + 60)
            clock.advance(3_600)
            shop.check_propagation()
            assert shop.verify(full=True).statement == (
                "all 240 articles were fetched and opened: nothing is missing"
            )
            assert shop.health().word is HealthWord.RESTORABLE
            shop.assert_sound()
