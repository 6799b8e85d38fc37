"""Worlds for the tests of the daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import World, world


@pytest.fixture
def here(short_dir: Path) -> Iterator[World]:
    """A news server and a place for daemons."""
    with world(short_dir) as made:
        yield made
