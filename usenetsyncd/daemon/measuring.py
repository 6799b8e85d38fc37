"""The running daemon as readings for a metrics collector: what status tells, as numbers."""

from collections import Counter
from collections.abc import Iterator

from usenetsyncd import __version__
from usenetsyncd.control import schema
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.flows.article_check import BODIES, CHECKS
from usenetsyncd.flows.availability import Condition
from usenetsyncd.flows.repair import REPAIRS, Place
from usenetsyncd.flows.retrieve import WAYS
from usenetsyncd.telemetry.metrics import Reading

SERVER_STATES = ("idle", "up", "limited", "resting", "disabled")
JOBS_COUNTED = 1_000
RETRIEVAL_WAYS = ("by_id", "by_copy", "by_server", "by_parity", "by_subject", "nowhere")


class Measuring:
    """One moment. Costs what a status costs."""

    def __init__(self, daemon: Daemon, status: schema.Status, health: schema.Health) -> None:
        self._daemon, self._status, self._health = daemon, status, health

    def readings(self) -> Iterator[Reading]:
        """Everything."""
        yield from self._whole()
        for folder in self._status.folders:
            yield from _folder(folder)
        yield from self._queue()
        for server in self._status.servers:
            yield from _server(server)
        yield from _care()

    def _whole(self) -> Iterator[Reading]:
        status, health = self._status, self._health
        yield Reading("build_info", 1, (__version__,))
        yield Reading("start_time_seconds", status.started_at)
        for verdict in schema.Verdict:
            yield Reading("health_status", health.verdict is verdict, (str(verdict),))
        yield Reading("ready", health.ready)
        yield Reading("paused", status.state is schema.DaemonState.PAUSED)
        for (code, level), number in sorted(Counter((r.code, r.level) for r in health.reasons).items()):
            yield Reading("warnings", number, (code, level))
        yield Reading("transfer_bytes", self._daemon.up_rate.total, ("up",))
        yield Reading("transfer_bytes", self._daemon.down_rate.total, ("down",))
        yield Reading("transfer_limit_bytes_per_second", status.transfer.up_limit_bytes_per_s or 0, ("up",))
        yield Reading(
            "transfer_limit_bytes_per_second", status.transfer.down_limit_bytes_per_s or 0, ("down",)
        )

    def _queue(self) -> Iterator[Reading]:
        catalogue = self._daemon.catalogue
        counts = catalogue.queue.counts(None)
        for state, number in counts.articles.items():
            yield Reading("queue_articles", number, (state.name.lower(),))
        yield Reading("queue_pending_bytes", counts.pending_bytes)
        for (kind, word), number in sorted(
            Counter((j.kind, str(j.state)) for j in catalogue.jobs.unfinished()).items()
        ):
            yield Reading("jobs", number, (kind, word))
        size = catalogue.size()
        yield Reading("catalogue_bytes", size.file_bytes + size.wal_bytes)


def _folder(folder: schema.Folder) -> Iterator[Reading]:
    name = (folder.id,)
    for state in schema.FolderState:
        yield Reading("folder_state", folder.state is state, (folder.id, str(state)))
    for health in schema.FolderHealth:
        yield Reading("folder_health", folder.health is health, (folder.id, str(health)))
    yield Reading("folder_files", folder.files, name)
    yield Reading("folder_bytes", folder.bytes, name)
    yield Reading("folder_pending_files", folder.pending_files, name)
    yield Reading("folder_pending_bytes", folder.pending_bytes, name)
    yield Reading("folder_unreadable_files", folder.errors, name)
    yield Reading("folder_version", folder.version, name)
    # a time that never was is no number: alert rules must not take it for 1970
    if folder.restorable_at is not None:
        yield Reading("folder_restorable_timestamp_seconds", folder.restorable_at, name)
    if folder.verified_at is not None:
        yield Reading("folder_verified_timestamp_seconds", folder.verified_at, name)
    if folder.verified_fraction is not None:
        yield Reading("folder_verified_ratio", folder.verified_fraction, name)


def _care() -> Iterator[Reading]:
    """Reading, checking and repairing since the process was started; what never happened is 0."""
    for way in RETRIEVAL_WAYS:
        yield Reading("article_retrievals", WAYS.value(way), (way.removeprefix("by_"),))
    for condition in Condition:
        yield Reading("verify_answers", CHECKS.value(condition), (condition.value,))
    yield Reading("verify_bodies", CHECKS.value(BODIES))
    for place in Place:
        yield Reading("article_repairs", REPAIRS.value(place), (place.value,))


def _server(server: schema.Server) -> Iterator[Reading]:
    name = (server.name,)
    for state in sorted({*SERVER_STATES, server.state}):
        yield Reading("server_state", server.state == state, (server.name, state))
    yield Reading("server_connections", server.connections, name)
    yield Reading("server_connections_limit", server.connections_max, name)
    yield Reading("server_articles_posted", server.posted, name)
    yield Reading("server_articles_fetched", server.fetched, name)
    yield Reading("server_bytes", server.bytes_up, (server.name, "up"))
    yield Reading("server_bytes", server.bytes_down, (server.name, "down"))
