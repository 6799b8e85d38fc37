import threading

from usenetsyncd.telemetry.ring import LogRing


def fill(ring: LogRing, count: int, level: str = "info", component: str = "news") -> None:
    for number in range(count):
        ring.add(1_800_000_000.5, level, component, f"e{number}", {"number": number})


def test_only_the_last_records_are_kept() -> None:
    ring = LogRing(capacity=10)
    fill(ring, 25)
    assert [record.event for record in ring.recent(100)] == [f"e{number}" for number in range(15, 25)]
    assert [record.id for record in ring.recent(2)] == [24, 25]


def test_records_are_chosen_by_component_level_and_id() -> None:
    ring = LogRing()
    fill(ring, 2, "info", "news")
    fill(ring, 2, "error", "folders")
    assert len(ring.recent(component="news")) == 2
    assert [record.id for record in ring.recent(level="warning")] == [3, 4]
    assert [record.id for record in ring.recent(after=3)] == [4]
    assert ring.recent(limit=0) == []


def test_a_record_as_a_document_keeps_reserved_names_apart() -> None:
    ring = LogRing()
    record = ring.add(1_800_000_000.5, "error", "news", "failed", {"level": 3, "server": "main"}, "Trace")
    assert record.as_dict() == {
        "id": 1, "at": "2027-01-15T08:00:00.500Z", "level": "error", "component": "news", "event": "failed",
        "level_": 3, "server": "main", "traceback": "Trace",
    }  # fmt: skip


def test_a_subscription_gets_every_record_from_then_on() -> None:
    ring = LogRing()
    fill(ring, 3)
    subscription = ring.subscribe()
    writer = threading.Thread(target=fill, args=(ring, 3))
    writer.start()
    assert [record.id for _ in range(3) if (record := subscription.get(5.0))] == [4, 5, 6]
    writer.join()
    assert subscription.get(0.0) is None
    subscription.close()
    fill(ring, 1)
    assert subscription.get(0.0) is None


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    ring = LogRing()
    subscription = ring.subscribe(limit=2)
    fill(ring, 5)
    first = subscription.get(1.0)
    assert first is not None
    assert (first.id, subscription.lost) == (4, 3)
    subscription.close()


def test_nobody_waits_for_a_daemon_that_stops() -> None:
    ring = LogRing()
    subscription = ring.subscribe()
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(subscription.get(60.0)))
    reader.start()
    ring.end_subscriptions()
    reader.join(5.0)
    assert found == [None]
