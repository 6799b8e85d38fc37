"""Tell people through Apprise, and a watching service through a ping that stops when something does not work."""

import importlib
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Sequence

import structlog

from usenetsyncd.daemon.alarm import Alarm, Alert, Reason
from usenetsyncd.daemon.checking import Scopes
from usenetsyncd.daemon.lane import Lane, Urgency
from usenetsyncd.errors import ConfigurationError
from usenetsyncd.settings.references import SecretRef, resolve
from usenetsyncd.settings.schema import Notify
from usenetsyncd.telemetry.redaction import register_secret

log = structlog.get_logger("notify")

LOOK_S = 20.0
PING_EVERY_S = 60.0
PING_WITHIN_S = 10.0
_KEY = "notified:"
_ERRAND = "notify"

Reasons = Callable[[], Sequence[Reason]]


class Notifying:
    """Looks by the timetable; sends on the caretaker's thread."""

    def __init__(self, scopes: Scopes, lane: Lane) -> None:
        self._scopes = scopes
        self._lane = lane
        self._reasons: Reasons | None = None
        self._alarms: dict[int, Alarm] = {}
        self._pinged_at = 0.0
        self._failed: set[str] = set()

    def watch(self, reasons: Reasons) -> None:
        """From now on look at these: what the one verdict of the daemon is made of."""
        self._reasons = reasons

    def look(self) -> None:
        """If anybody wants to be told: see whether there is something."""
        if self._reasons is not None and self._scopes.settings().notify:
            self._lane.put(_ERRAND, self._round, Urgency.SOON)

    def _round(self, _: threading.Event) -> bool:
        if self._reasons is None:
            return True
        reasons = self._reasons()
        now = self._scopes.clock.now()
        ping_due = now - self._pinged_at >= PING_EVERY_S
        for number, target in enumerate(self._scopes.settings().notify):
            if target.url is not None:
                self._tell(number, target, target.url, reasons, now)
            # Silence is the alarm: it also comes when nobody is left to raise one.
            if target.healthcheck is not None and ping_due and all(one.level != "error" for one in reasons):
                self._pinged_at = now
                self._ping(target.healthcheck, f"notify[{number}].healthcheck")
        return True

    def _tell(
        self, number: int, target: Notify, url: SecretRef, reasons: Sequence[Reason], now: float
    ) -> None:
        alarm = self._alarms.get(number)
        if alarm is None:
            alarm = self._alarms[number] = self._kept(number, target.repeat)
        alarm.repeat_s = target.repeat
        alert = alarm.look(now, reasons)
        if alert is None:
            return
        kept = {"told": alarm.told, "sent_at": alarm.sent_at}
        self._scopes.catalogue.values.set(f"{_KEY}{number}", json.dumps(kept)).result()
        if alert.kind in {str(kind) for kind in target.on}:
            self._send(url, f"notify[{number}].url", alert)

    def _kept(self, number: int, repeat_s: float) -> Alarm:
        kept = json.loads(self._scopes.catalogue.values.get(f"{_KEY}{number}") or "{}")
        return Alarm(repeat_s, dict(kept.get("told", {})), float(kept.get("sent_at", 0.0)))

    def _send(self, ref: SecretRef, key: str, alert: Alert) -> None:
        try:
            apprise = importlib.import_module("apprise")
            # One target at a time: no threads of its own.
            sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
            if not sender.add(self._resolved(ref, key)):
                raise ConfigurationError(f"{key}: Apprise does not know this kind of URL")
            kinds = {"warning": "warning", "error": "failure", "recovered": "success"}
            title = f"{alert.title} ({socket.gethostname()})"
            if not sender.notify(body=alert.body, title=title, notify_type=kinds[alert.kind]):
                raise ConfigurationError(f"{key}: the message was not taken")
        except ModuleNotFoundError:
            self._trouble(key, "Apprise is not installed: pip install 'usenetsyncd[notify]'")
        except (ConfigurationError, OSError) as error:
            self._trouble(key, str(error))
        else:
            self._failed.discard(key)
            log.info("notified", target=key, kind=alert.kind)

    def _ping(self, ref: SecretRef, key: str) -> None:
        try:
            url = self._resolved(ref, key)
            if not url.startswith(("https://", "http://")):
                raise ConfigurationError(f"{key}: expected an http or https URL")
            with urllib.request.urlopen(url, timeout=PING_WITHIN_S) as answer:  # noqa: S310 - checked above
                answer.read(1_000)
        except (ConfigurationError, OSError, ValueError) as error:
            # Neither the address nor what a server says of it goes into the log: both may hold the secret.
            self._trouble(key, str(error) if isinstance(error, ConfigurationError) else type(error).__name__)
        else:
            self._failed.discard(key)

    def _resolved(self, ref: SecretRef, key: str) -> str:
        found = resolve(ref, self._scopes.vault.credentials.get, os.environ, key)
        register_secret(found)
        return found

    def _trouble(self, key: str, reason: str) -> None:
        if key not in self._failed:
            self._failed.add(key)
            log.error("not_notified", target=key, reason=reason)
            self._scopes.catalogue.events.add("error", "not_notified", f"{key}: {reason}")
