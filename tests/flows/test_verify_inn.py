"""INN beside the embedded server: an article that is cancelled there is lost there, and comes back there."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.flows.backbones import BOTH, Backbones, backbones
from tests.inn.instance import InnServer
from tests.plugins.clock import FakeClock
from usenetsyncd.flows.health import HealthWord
from usenetsyncd.model import ServerAccount, TlsMode

pytestmark = pytest.mark.requires("inn")


@pytest.fixture
def three(tmp_path: Path, clock: FakeClock, inn_server: InnServer) -> Iterator[Backbones]:
    host, port = inn_server.address
    inn = ServerAccount("inn", host, port, TlsMode.NONE, inn_server.user, inn_server.password, connections=2)
    with backbones(tmp_path, clock, {"east": BOTH, "west": BOTH}, others=[inn]) as made:
        yield made


def test_what_is_cancelled_on_inn_is_lost_there_and_repaired_there(
    three: Backbones, inn_server: InnServer
) -> None:
    three.post_on_each(20)
    assert {name: len(three.on(name)) for name in ("east", "west", "inn")} == {
        "east": 20,
        "west": 20,
        "inn": 20,
    }
    cancelled = Random(8).sample(three.on("inn"), 5)
    for one in cancelled:
        inn_server.cancel(three.id_of(one))
    lost = three.lose(three.on("east")[:2])
    summary = three.verify(full=True)
    assert three.found() >= lost | {("inn", one.segment_row, 0) for one in cancelled}
    assert {name: counts.missing for name, counts in summary.by_server.items()} == {
        "east": 2,
        "west": 0,
        "inn": 5,
    }
    assert (summary.corrupt, summary.unknown) == (0, 0)
    # Only INN can take them: a repair that works with INN's memory of every id.
    (inn,) = [account for account in three.accounts if account.name == "inn"]
    assert three.repair().reposted == 7
    three.news.replace_accounts([inn])
    three.post_all()
    three.news.replace_accounts(three.accounts)
    three.clock.advance(601)
    assert three.check_propagation().missing == 0
    assert three.found() == set()
    assert three.health().word is HealthWord.RESTORABLE
    assert len(three.on("inn")) == 22
    assert three.verify(full=True).statement == (
        "all 60 articles were fetched and opened: nothing is missing"
    )
