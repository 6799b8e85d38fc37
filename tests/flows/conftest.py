"""A workshop for the flows one by one; a news server, a hostile publisher and a reader for what meets them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.hostile import Publisher, Reader
from tests.flows.neighbourhood import Neighbourhood
from tests.flows.workshop import Workshop, workshop
from tests.plugins.clock import FakeClock
from usenetsyncd.loopback.server import LoopbackServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(tmp_path / "spool") as running:
        yield running


@pytest.fixture
def publisher(server: LoopbackServer) -> Iterator[Publisher]:
    with Publisher(server.address) as made:
        yield made


@pytest.fixture
def reader(server: LoopbackServer, tmp_path: Path) -> Reader:
    work = tmp_path / "work"
    work.mkdir()
    return Reader(server.address, work)


@pytest.fixture
def shop(tmp_path: Path, clock: FakeClock) -> Iterator[Workshop]:
    with workshop(tmp_path, clock) as made:
        yield made


@pytest.fixture
def around(tmp_path: Path) -> Neighbourhood:
    return Neighbourhood(tmp_path)
