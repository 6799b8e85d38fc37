"""What the daemon says of its surroundings, its timetable and its past."""

from usenetsyncd.control import schema
from usenetsyncd.daemon.alarm import Level, Reason
from usenetsyncd.daemon.diagnosis import Finding, Grade, diagnose
from usenetsyncd.daemon.limits import limits_at
from usenetsyncd.daemon.operations.base import Base
from usenetsyncd.errors import UsageError

_RANK = (Grade.OK, Grade.WARNING, Grade.ERROR)
# What every folder has by the thousand is in `events`.
NOISE = frozenset({"article_failed", "source_changed"})
# Of a warning's message what stands before the first colon: the folder or server that it is about.
KEY_CHARS = 60
# A pause without an end, as it is kept.
FOREVER_S = 1e11


class InsightOperations(Base):
    """doctor, schedule, history."""

    def doctor(self) -> schema.Diagnosis:
        """Asks the servers; takes seconds."""
        found: list[Finding] = list(diagnose(self._daemon))
        worst = max((one.grade for one in found), key=_RANK.index, default=Grade.OK)
        return schema.Diagnosis(
            grade=worst.value,
            findings=[
                schema.Finding(check=one.check, grade=one.grade.value, message=one.message, action=one.action)
                for one in found
            ],
        )

    def alarm_reasons(self) -> list[Reason]:
        """What the one verdict is made of, for those who are told of it elsewhere."""
        return [
            Reason(
                f"{one.code}:{one.message.partition(':')[0][:KEY_CHARS]}",
                Level(one.level),
                one.message,
                one.action,
            )
            for one in self.health().reasons  # type: ignore[attr-defined]
        ]

    def schedule(self) -> schema.Schedule:
        """What applies now, and what comes."""
        daemon = self._daemon
        limits, now = daemon.settings.limits, daemon.clock.now()
        applied = limits_at(limits, now)
        until = daemon.pauses.until(None)
        coming = [
            schema.Coming(what=name.replace(":", " "), at=at)
            for name, at in daemon.timetable.next_runs().items()
            if name.startswith("rescan:")
        ]
        for folder in daemon.folders:
            at = daemon.caretaker.next_check_at(folder)
            if at is not None:
                coming.append(schema.Coming(what=f"check {folder.name}", at=at))
        return schema.Schedule(
            upload=applied.up_bytes_per_s,
            download=applied.down_bytes_per_s,
            paused=applied.up_paused or until is not None,
            reason="paused on request" if until is not None else applied.reason,
            paused_until=until if until is not None and until < FOREVER_S else None,
            windows=[
                schema.LimitWindow(
                    at=str(rule.at),
                    open=applied.reason == f"timetable: {rule.at}",
                    upload=rule.upload,
                    download=rule.download,
                )
                for rule in limits.schedule
            ],
            coming=sorted(coming, key=lambda one: one.at),
        )

    def history(self, folder: str | None, after: str | None, limit: int) -> schema.History:
        """Raises NotFound, UsageError."""
        before = _number(after) if after else 2**62
        rows = self._daemon.catalogue.events.latest(limit + 1, self._folder_row_or_none(folder), before)
        shown = [
            schema.Event(
                id=row.id,
                at=row.at,
                level=row.level,
                code=row.code,
                folder=self._name_of(row.folder_id),
                message=row.message,
                fields=row.fields,
            )
            for row in rows[:limit]
            if row.code not in NOISE
        ]
        return schema.History(events=shown, next=str(rows[limit - 1].id) if len(rows) > limit else None)


def _number(cursor: str) -> int:
    try:
        return int(cursor)
    except ValueError:
        raise UsageError("this is no cursor of a history") from None
