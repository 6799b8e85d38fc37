"""The last log records, kept in memory for ``usyncctl logs``, and subscriptions to the next ones."""

import datetime as dt
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_RESERVED = frozenset({"id", "at", "level", "component", "event", "traceback"})


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One thing that happened. id counts up from 1 while the process lives; fields hold no secrets."""

    id: int
    at_s: float
    level: str
    component: str
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)
    traceback: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Flat and ready for JSON; a field with a reserved name gets an underscore."""
        at = (
            dt.datetime.fromtimestamp(self.at_s, dt.UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        head: dict[str, object] = {
            "id": self.id,
            "at": at,
            "level": self.level,
            "component": self.component,
            "event": self.event,
        }
        head |= {f"{name}_" if name in _RESERVED else name: value for name, value in self.fields.items()}
        return head | ({"traceback": self.traceback} if self.traceback else {})


class Subscription:
    """Records from now on, in order. When the reader is slow the oldest are dropped and counted."""

    def __init__(self, ring: "LogRing", limit: int) -> None:
        self._ring = ring
        self._waiting: deque[LogRecord] = deque(maxlen=limit)
        self._ready = threading.Condition()
        self._closed = False
        self.lost = 0

    def get(self, timeout_s: float) -> LogRecord | None:
        """The next record; None after the time-out or after close()."""
        with self._ready:
            self._ready.wait_for(lambda: self._waiting or self._closed, timeout_s)
            return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """End the subscription; a waiting get() returns None."""
        self._ring.unsubscribe(self)
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def put(self, record: LogRecord) -> None:
        """Called by the ring; never blocks for long."""
        with self._ready:
            if len(self._waiting) == self._waiting.maxlen:
                self.lost += 1
            self._waiting.append(record)
            self._ready.notify()


class LogRing:
    """A bounded memory of records; thread-safe."""

    def __init__(self, capacity: int = 2000) -> None:
        self._records: deque[LogRecord] = deque(maxlen=capacity)
        self._subscriptions: tuple[Subscription, ...] = ()
        self._lock = threading.Lock()
        self._next_id = 1

    def add(
        self,
        at_s: float,
        level: str,
        component: str,
        event: str,
        fields: Mapping[str, object],
        traceback: str | None = None,
    ) -> LogRecord:
        """Keep one record and hand it to every subscription. Returns it with its id."""
        with self._lock:
            record = LogRecord(self._next_id, at_s, level, component, event, fields, traceback)
            self._next_id += 1
            self._records.append(record)
            for subscription in self._subscriptions:
                subscription.put(record)
        return record

    def recent(
        self, limit: int = 100, component: str | None = None, level: str | None = None, after: int = 0
    ) -> list[LogRecord]:
        """The newest records that fit, oldest first.

        component: exactly this one. level: this one and worse. after: only ids above it.
        """
        least = LEVELS.get(level or "debug", 0)
        with self._lock:
            kept = list(self._records)
        fitting = [
            record
            for record in kept
            if record.id > after
            and (component is None or record.component == component)
            and LEVELS.get(record.level, 0) >= least
        ]
        return fitting[-limit:] if limit > 0 else []

    def subscribe(self, limit: int = 1000) -> Subscription:
        """Records from now on; close() it when done."""
        subscription = Subscription(self, limit)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Called by Subscription.close()."""
        with self._lock:
            self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)

    def end_subscriptions(self) -> None:
        """Close all of them, so that nobody waits for a daemon that stops."""
        for subscription in self._subscriptions:
            subscription.close()
