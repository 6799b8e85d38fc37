"""Pauses end when they should and survive a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalogue.making import batch, directory, file
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.daemon.pauses import Pauses


@pytest.fixture
def catalogue(tmp_path: Path, clock: FakeClock) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "catalogue.sqlite", clock) as opened:
        yield opened


def pauses(catalogue: Catalogue, clock: FakeClock) -> tuple[Pauses, list[int], int]:
    told: list[int] = []
    row = catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).id
    return Pauses(catalogue, clock, lambda: told.append(1)), told, row


def test_a_pause_with_an_end_ends_then_and_not_before(catalogue: Catalogue, clock: FakeClock) -> None:
    made, told, row = pauses(catalogue, clock)
    until = made.pause(row, 60)
    assert until == made.until(row) == clock.now() + 60
    assert catalogue.folders.by_id(row).paused
    clock.advance(59)
    made.expire([row])
    assert catalogue.folders.by_id(row).paused
    clock.advance(1)
    made.expire([row])
    assert made.until(row) is None
    assert not catalogue.folders.by_id(row).paused
    assert len(told) == 2


def test_a_pause_without_an_end_lasts_until_somebody_goes_on(catalogue: Catalogue, clock: FakeClock) -> None:
    made, _, row = pauses(catalogue, clock)
    assert made.pause(None, None) is None
    clock.advance(10**9)
    made.expire([row])
    assert made.until(None) == float("inf")
    assert not catalogue.folders.by_id(row).paused, "the pause of everything is not that of a folder"
    made.resume(None)
    assert made.until(None) is None


def test_pauses_survive_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    with Catalogue.open(tmp_path / "c", clock) as catalogue:
        made, _, row = pauses(catalogue, clock)
        made.pause(row, 3_600)
        made.pause(None, None)
    with Catalogue.open(tmp_path / "c", clock) as catalogue:
        again, _, row = pauses(catalogue, clock)
        assert again.until(row) == clock.now() + 3_600
        assert again.until(None) == float("inf")
        assert catalogue.folders.by_id(row).paused


def test_nothing_of_a_paused_folder_can_be_leased(catalogue: Catalogue, clock: FakeClock) -> None:
    made, _, row = pauses(catalogue, clock)
    catalogue.scan.store(batch(row, directory(b"", file(b"a")))).result()
    made.pause(row, None)
    assert catalogue.queue.lease(10).result() == []
    made.resume(row)
    assert len(catalogue.queue.lease(10).result()) == 1
