"""What all sessions of one embedded news server share."""

import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from usenetsyncd.clock import Clock
from usenetsyncd.loopback.faults import FaultRules
from usenetsyncd.loopback.spool import Spool


class Counters:
    """What happened so far; every attribute is read at any time, through a copy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: Counter[str] = Counter()
        self._offers: Counter[str] = Counter()
        self._commands: Counter[str] = Counter()
        self._connections = self._connections_max = self._connections_total = 0

    @property
    def posts(self) -> Counter[str]:
        """message-id as it was sent -> how often POST said 240, whatever became of the article."""
        with self._lock:
            return self._posts.copy()

    @property
    def offers(self) -> Counter[str]:
        """message-id as it was sent -> how often the article came in whole, whatever the answer."""
        with self._lock:
            return self._offers.copy()

    @property
    def commands(self) -> Counter[str]:
        """Verb -> how often it came."""
        with self._lock:
            return self._commands.copy()

    @property
    def connections(self) -> int:
        """Connections open now."""
        with self._lock:
            return self._connections

    @property
    def connections_max(self) -> int:
        """The most that were open at once."""
        with self._lock:
            return self._connections_max

    @property
    def connections_total(self) -> int:
        """Connections accepted since the start."""
        with self._lock:
            return self._connections_total

    def connected(self) -> int:
        """Count a connection; returns its number, the first is 1."""
        with self._lock:
            self._connections += 1
            self._connections_total += 1
            self._connections_max = max(self._connections, self._connections_max)
            return self._connections_total

    def disconnected(self) -> None:
        """Count the end of one."""
        with self._lock:
            self._connections -= 1

    def command(self, verb: str) -> None:
        """Count a command."""
        with self._lock:
            self._commands[verb] += 1

    def offered(self, message_id: str) -> None:
        """Count an article that came in whole."""
        with self._lock:
            self._offers[message_id] += 1

    def posted(self, message_id: str) -> None:
        """Count a 240."""
        with self._lock:
            self._posts[message_id] += 1


@dataclass(frozen=True, slots=True)
class Site:
    """The server as its sessions see it.

    users: name -> password; empty for a server without login. read_only: users to whom POST says 440.
    groups: shell patterns of the newsgroups that exist.
    """

    spool: Spool
    faults: FaultRules
    clock: Clock
    users: Mapping[str, str] = field(repr=False)
    read_only: frozenset[str]
    groups: tuple[str, ...]
    max_article_bytes: int
    max_connections: int
    tls: ssl.SSLContext | None
    implicit_tls: bool | None
    counters: Counters = field(default_factory=Counters)
    stopping: threading.Event = field(default_factory=threading.Event)

    def carries(self, group: str) -> bool:
        """Whether a newsgroup exists here."""
        return any(fnmatchcase(group, pattern) for pattern in self.groups)
