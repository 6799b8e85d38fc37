"""When to tell somebody: on a change that lasts, again after a day, and when all is well again. Never every minute."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

# A hiccup is over by then; and what is over for so long is really over.
LASTS_S = 60.0
OVER_S = 300.0
# Between two messages, unless it becomes worse.
APART_S = 900.0


class Level(StrEnum):
    """How bad it is; ``recovered`` is the end of both others."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


_RANK = {Level.OK: 0, Level.WARNING: 1, Level.ERROR: 2}


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that is wrong. key: the same for as long as it is the same thing, whatever its figures."""

    key: str
    level: Level
    message: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """What to tell. kind: warning, error or recovered."""

    kind: str
    title: str
    body: str


@dataclass(slots=True)
class Alarm:
    """One verdict over time. Its state is plain, so that a restart does not tell everything anew.

    told: keys of the reasons that were told, with their levels. sent_at: the last message, 0 for none.
    since: when each present reason was seen first. well_since: when the last of the told reasons went.
    """

    repeat_s: float
    told: dict[str, str] = field(default_factory=dict)
    sent_at: float = 0.0
    since: dict[str, float] = field(default_factory=dict)
    well_since: float | None = None

    def look(self, now: float, reasons: Collection[Reason]) -> Alert | None:
        """What to tell now, if anything. now: seconds since 1970."""
        self.since = {one.key: min(self.since.get(one.key, now), now) for one in reasons}
        lasting = {one.key: one for one in reasons if now - self.since[one.key] >= LASTS_S}
        if self.told and not any(key in self.since for key in self.told) and not lasting:
            return self._well(now)
        self.well_since = None
        if not lasting:
            return None
        worse = _worst(lasting) > max((_RANK[Level(level)] for level in self.told.values()), default=0)
        new = lasting.keys() - self.told.keys()
        again = bool(self.told) and self.repeat_s > 0 and now - self.sent_at >= self.repeat_s
        if not (worse or (new and now - self.sent_at >= APART_S) or again):
            return None
        self.told = {key: one.level.value for key, one in lasting.items()}
        self.sent_at = now
        return _alert(lasting)

    def _well(self, now: float) -> Alert | None:
        self.well_since = now if self.well_since is None else self.well_since
        if now - self.well_since < OVER_S:
            return None
        self.told, self.sent_at, self.well_since = {}, now, None
        return Alert("recovered", "UsenetSync: all is well again", "What was reported before is over.")


def _worst(reasons: Mapping[str, Reason]) -> int:
    return max(_RANK[one.level] for one in reasons.values())


def _alert(reasons: Mapping[str, Reason]) -> Alert:
    ordered = sorted(reasons.values(), key=lambda one: (-_RANK[one.level], one.key))
    kind = ordered[0].level
    first = "something does not work" if kind is Level.ERROR else "something needs attention"
    lines = [f"- {one.message}" + (f"\n  {one.action}" if one.action else "") for one in ordered]
    return Alert(kind.value, f"UsenetSync: {first}", "\n".join(lines))
