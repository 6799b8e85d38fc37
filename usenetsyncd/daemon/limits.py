"""Which bandwidth limits apply now, from the settings' weekly timetable."""

import time
from dataclasses import dataclass

from usenetsyncd.settings.schema import Limits


@dataclass(frozen=True, slots=True)
class LimitsNow:
    """Bytes per second, 0 for none; paused: nothing is posted."""

    up_bytes_per_s: float
    down_bytes_per_s: float
    up_paused: bool = False
    reason: str = ""


def limits_at(limits: Limits, wall_s: float) -> LimitsNow:
    """The first open window wins; outside of all, the plain limits. ``wall_s`` is read as local time."""
    local = time.localtime(wall_s)
    minute = local.tm_hour * 60 + local.tm_min
    for rule in limits.schedule:
        if rule.at.contains(local.tm_wday, minute):
            up = limits.upload if rule.upload is None else rule.upload
            down = limits.download if rule.download is None else rule.download
            paused = up == "pause"
            return LimitsNow(
                0.0 if up == "pause" else float(up),
                1.0 if down == "pause" else float(down),
                paused,
                f"timetable: {rule.at}",
            )
    return LimitsNow(float(limits.upload), float(limits.download))
