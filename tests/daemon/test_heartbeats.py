"""Heartbeats."""

from tests.plugins.clock import FakeClock
from usenetsyncd.daemon.heartbeats import STALE_AFTER_S, Heartbeats


def test_whoever_is_silent_for_too_long_is_named(clock: FakeClock) -> None:
    heartbeats = Heartbeats(clock)
    one, two = heartbeats.of("one"), heartbeats.of("two")
    assert heartbeats.stale() == []
    clock.advance(STALE_AFTER_S)
    one()
    assert heartbeats.stale() == []
    clock.advance(1)
    assert heartbeats.stale() == ["two"]
    two()
    assert heartbeats.stale() == []


def test_a_wall_clock_that_jumps_makes_nobody_stale(clock: FakeClock) -> None:
    heartbeats = Heartbeats(clock)
    heartbeats.of("one")
    clock.set_wall(clock.now() + 10**7)
    assert heartbeats.stale() == []
