"""A workshop for every test of a single flow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.workshop import Workshop, workshop
from tests.plugins.clock import FakeClock


@pytest.fixture
def shop(tmp_path: Path, clock: FakeClock) -> Iterator[Workshop]:
    with workshop(tmp_path, clock) as made:
        yield made
