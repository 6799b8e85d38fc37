"""Metrics in the text format of Prometheus: every family with its name, kind, help and labels, in one table.

Names follow the convention: ``usenetsyncd_`` before, base units (seconds, bytes, ratio) and ``_total`` behind. No label
holds a path, a file name or an error text: labels are few, bounded and not secret.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

GAUGE, COUNTER = "gauge", "counter"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. name without the prefix, and of a counter without ``_total``."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a family now; labels in the order of the family's."""

    family: str
    value: float
    labels: tuple[str, ...] = ()


def _families(*families: Family) -> Mapping[str, Family]:
    return {family.name: family for family in families}


FAMILIES = _families(
    Family("build_info", GAUGE, "Always 1; the version that runs is a label.", ("version",)),
    Family("start_time_seconds", GAUGE, "When the daemon started, seconds since 1970."),
    Family("health_status", GAUGE, "1 for the one verdict that holds now.", ("verdict",)),
    Family("ready", GAUGE, "1 while the daemon watches and a news server can be used."),
    Family("paused", GAUGE, "1 while nothing is posted, on request or by the timetable."),
    Family("warnings", GAUGE, "Things that need attention, by what is wrong.", ("code", "level")),
    Family("folder_state", GAUGE, "1 for the one state a folder is in.", ("folder", "state")),
    Family("folder_health", GAUGE, "1 for the one health a folder has.", ("folder", "health")),
    Family("folder_files", GAUGE, "Files in a folder.", ("folder",)),
    Family("folder_bytes", GAUGE, "Bytes of the files in a folder.", ("folder",)),
    Family("folder_pending_files", GAUGE, "Files that are not in a published version yet.", ("folder",)),
    Family("folder_pending_bytes", GAUGE, "Bytes that are not on a server yet.", ("folder",)),
    Family("folder_unreadable_files", GAUGE, "Paths that could not be taken.", ("folder",)),
    Family("folder_version", GAUGE, "The newest published version, 0 for none.", ("folder",)),
    Family("folder_restorable_timestamp_seconds", GAUGE, "Up to when a folder can be restored.", ("folder",)),
    Family("folder_verified_timestamp_seconds", GAUGE, "When a folder was last verified.", ("folder",)),
    Family(
        "folder_verified_ratio", GAUGE, "Part of what is published that is verified, 0 to 1.", ("folder",)
    ),
    Family("queue_articles", GAUGE, "Articles by state; posted ones too.", ("state",)),
    Family("queue_pending_bytes", GAUGE, "Bytes of the articles that are to be posted."),
    Family("transfer_bytes", COUNTER, "Bytes of articles since the start.", ("direction",)),
    Family("transfer_limit_bytes_per_second", GAUGE, "The limit in force, 0 for none.", ("direction",)),
    Family("server_state", GAUGE, "1 for the one state a news server is in.", ("server", "state")),
    Family("server_connections", GAUGE, "Open connections.", ("server",)),
    Family("server_connections_limit", GAUGE, "Connections that may be opened.", ("server",)),
    Family("server_articles_posted", COUNTER, "Articles that a server took since the start.", ("server",)),
    Family("server_articles_fetched", COUNTER, "Articles that a server gave since the start.", ("server",)),
    Family("server_bytes", COUNTER, "Bytes to and from a server since the start.", ("server", "direction")),
    Family(
        "article_retrievals", COUNTER, "Articles read since the start, by how they were come by.", ("way",)
    ),
    Family("verify_answers", COUNTER, "What checks heard of articles since the start.", ("condition",)),
    Family("verify_bodies", COUNTER, "Articles that checks fetched to look into them, since the start."),
    Family(
        "article_repairs",
        COUNTER,
        "Lost articles that repairs dealt with since the start, by where their content is.",
        ("place",),
    ),
    Family("jobs", GAUGE, "Jobs that wait or run.", ("kind", "state")),
    Family("catalogue_bytes", GAUGE, "The catalogue and its log on disk."),
)
"""By name."""


def exposition(readings: Iterable[Reading]) -> bytes:
    """All readings, and those of the process (memory, processor, open files), as text."""
    registry = CollectorRegistry()
    registry.register(_Given(readings))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = list(readings)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        made: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for reading in self._readings:
            family = FAMILIES[reading.family]
            if family.name not in made:
                kind = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
                made[family.name] = kind(f"usenetsyncd_{family.name}", family.help, labels=family.labels)
            made[family.name].add_metric(reading.labels, reading.value)
        yield from made.values()
