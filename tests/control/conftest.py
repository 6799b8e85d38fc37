"""A listener on a real socket, in front of the small daemon."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.control.small_daemon import SmallDaemon
from usenetsyncd.control.client import Client
from usenetsyncd.control.listener import Listener


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged; nothing is printed."""
    with capture_logs() as records:
        yield records


@pytest.fixture
def daemon() -> SmallDaemon:
    return SmallDaemon()


@pytest.fixture
def socket_path(short_dir: Path) -> Path:
    return short_dir / "control.sock"


@pytest.fixture
def listener(daemon: SmallDaemon, socket_path: Path) -> Iterator[Listener]:
    listener = Listener(daemon, socket_path)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(1.0)


@pytest.fixture
def client(listener: Listener) -> Client:
    return Client([str(listener.path)])
