"""A real catalogue in a temporary directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue


@pytest.fixture
def catalogue(tmp_path: Path, clock: FakeClock) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "catalogue.db", clock) as opened:
        yield opened


@pytest.fixture
def docs(catalogue: Catalogue) -> int:
    return catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
