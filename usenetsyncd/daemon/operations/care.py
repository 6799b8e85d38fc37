"""Looking after what is posted: checks, repairs, and what is known of a folder's health."""

from usenetsyncd.catalogue.rows import ArticleState, FolderRow
from usenetsyncd.catalogue.verifications import VerificationRow
from usenetsyncd.control import schema
from usenetsyncd.daemon.checking import VERIFY
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.daemon.operations.base import Base
from usenetsyncd.daemon.repairing import REPAIR
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.flows.health import FolderHealth, HealthWord


class CareOperations(Base):
    """verify, repair, health of folders."""

    def verify(self, order: schema.VerifyOrder) -> schema.Job:
        """Begin a check, or join the same one that has not begun yet. Raises NotFound, UsageError."""
        if order.full and order.sample is not None:
            raise UsageError("a full check fetches everything: it takes no sample")
        if order.server is not None:
            self._check_server(order.server)
        params = {"full": order.full, "sample": order.sample, "server": order.server}
        job = self._daemon.jobs.start(VERIFY, self._folder_row_or_none(order.folder), params)
        return self.job(job)  # type: ignore[attr-defined, no-any-return]

    def repair(self, order: schema.RepairOrder) -> schema.Job:
        """Begin a repair, or join the same one that has not begun yet. Raises NotFound."""
        params = {"dry_run": order.dry_run, "wait": order.wait}
        job = self._daemon.jobs.start(REPAIR, self._folder_row_or_none(order.folder), params)
        return self.job(job)  # type: ignore[attr-defined, no-any-return]

    def _check_server(self, name: str) -> None:
        known = self._daemon.scopes.servers().all
        if name not in known:
            names = ", ".join(known) or "none yet"
            raise NotFound(
                f"no server named '{name}' can be asked (servers with the role read or verify: {names})"
            )

    # -- health ----------------------------------------------------------------------------------

    def _health(self, folder: LiveFolder) -> FolderHealth:
        return self._daemon.book.of(folder.row)

    def _damage(self, folder: LiveFolder) -> schema.Damage:
        health = self._health(folder)
        return schema.Damage(
            lost=health.lost_segments,
            at_risk=health.at_risk_segments,
            reasons=health.reasons,
            files=[path.decode("utf-8", "backslashreplace") for path in health.files],
            backbones=health.backbones,
            action=health.action,
        )

    def _last_check(self, folder: LiveFolder) -> schema.LastCheck | None:
        row = self._latest(folder)
        if row is None or row.finished_at is None:
            return None
        return schema.LastCheck(
            finished_at=row.finished_at,
            checked=row.checked,
            missing=row.missing,
            corrupt=row.corrupt,
            unknown=row.unknown,
            sampled=row.sampled,
            statement=row.detail.get("statement", ""),
        )

    def _latest(self, folder: LiveFolder) -> VerificationRow | None:
        return self._daemon.catalogue.verifications.latest(folder.row)

    def _verified_fraction(self, folder: LiveFolder, row: FolderRow) -> float | None:
        """How much of what is posted now was asked for and is there; None while nothing was."""
        if row.verified_at is None:
            return None
        posted = self._daemon.catalogue.queue.counts(folder.row).articles[ArticleState.POSTED]
        last, health = self._latest(folder), self._health(folder)
        if not posted:
            return 0.0
        asked = posted if last is None else last.checked - last.unknown  # else one by one, after posting
        there = asked - health.lost_segments - health.at_risk_segments
        return max(0.0, min(1.0, there / posted))

    def _health_warnings(self, folder: LiveFolder) -> list[schema.Trouble]:
        health = self._health(folder)
        found = []
        if health.word in (HealthWord.DAMAGED, HealthWord.AT_RISK):
            damaged = health.word is HealthWord.DAMAGED
            told = health.reasons[0] if health.reasons else "something is lost"
            found.append(
                schema.Trouble(
                    code=health.word.value,
                    message=f"{folder.name}: {told}",
                    action=health.action or f"usyncctl folder show {folder.name}",
                    level="error" if damaged else "warning",
                )
            )
        last = self._latest(folder)
        if last is not None and last.unknown:
            message = f"{folder.name}: {last.unknown} articles could not be asked for at the last check"
            found.append(schema.Trouble(code="unasked", message=message, action="usyncctl server list"))
        return found

    def _unprotected(self, folder: LiveFolder) -> int | None:
        if not folder.settings.redundancy.parity:
            return None
        return self._daemon.catalogue.stripes.unprotected_count(folder.row)

    def _next_check_at(self, folder: LiveFolder) -> float | None:
        return self._daemon.caretaker.next_check_at(folder)
