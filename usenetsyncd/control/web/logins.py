"""Who may use the dashboard: one-time links, sessions, and how often a password may be tried. Thread-safe."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from usenetsyncd.clock import SYSTEM_CLOCK, Clock

LINK_VALID_S = 300.0
IDLE_S = 12 * 3_600.0
LONGEST_S = 7 * 86_400.0
MAX_LINKS, MAX_SESSIONS, MAX_NOTES = 16, 64, 8
# After so many wrong passwords in a row nobody may try for a while, whoever he is.
FREE_TRIES, LOCKED_S, LONGEST_LOCK_S = 5, 15.0, 900.0


@dataclass(slots=True)
class Session:
    """One browser. notes: what its next page tells, as (level, text)."""

    begun_s: float
    used_s: float
    notes: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, level: str, text: str) -> None:
        """level: done or failed."""
        self.notes = [*self.notes, (level, text)][-MAX_NOTES:]

    def take_notes(self) -> list[tuple[str, str]]:
        """They are shown once."""
        notes, self.notes = self.notes, []
        return notes


class Logins:
    """Kept in memory only, and as hashes: a restart ends every session."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[bytes, float] = {}
        self._sessions: dict[bytes, Session] = {}
        self._wrong = 0
        self._locked_until_s = 0.0

    def new_link(self) -> str:
        """A word that opens one session, once, within five minutes."""
        word = secrets.token_urlsafe(32)
        with self._lock:
            self._forget()
            while len(self._links) >= MAX_LINKS:
                del self._links[next(iter(self._links))]
            self._links[_hash(word)] = self._clock.monotonic() + LINK_VALID_S
        return word

    def enter(self, word: str) -> str | None:
        """The cookie of a new session for the word of a link; None when the word is not, or no more, good."""
        with self._lock:
            self._forget()
            if self._links.pop(_hash(word), None) is None:
                return None
            return self._begin()

    def enter_by_password(self, given: str, right: Callable[[], str | None]) -> str | None:
        """The same for a password. right: looks up the one that is set; None when there is none."""
        with self._lock:
            if self._locked_until_s > self._clock.monotonic():
                return None
            # counted before it is compared, so that trying many at once gains nothing
            self._wrong += 1
            if self._wrong >= FREE_TRIES:
                wait_s = min(LOCKED_S * 2 ** (self._wrong - FREE_TRIES), LONGEST_LOCK_S)
                self._locked_until_s = self._clock.monotonic() + wait_s
        password = right()
        if not password or not hmac.compare_digest(_hash(given), _hash(password)):
            return None
        with self._lock:
            self._wrong, self._locked_until_s = 0, 0.0
            return self._begin()

    def locked_s(self) -> float:
        """How long no password is taken; 0 when one is."""
        with self._lock:
            return max(0.0, self._locked_until_s - self._clock.monotonic())

    def session(self, cookie: str | None, use: bool = True) -> Session | None:
        """The session of a cookie, if it still goes on. use: whether this puts off its end."""
        if not cookie:
            return None
        with self._lock:
            self._forget()
            session = self._sessions.get(_hash(cookie))
            if session is not None and use:
                session.used_s = self._clock.monotonic()
            return session

    def holds(self, session: Session | None) -> bool:
        """Whether a session still goes on. Asking does not count as using it."""
        with self._lock:
            self._forget()
            return any(kept is session for kept in self._sessions.values())

    def leave(self, cookie: str) -> None:
        """End one session."""
        with self._lock:
            self._sessions.pop(_hash(cookie), None)

    def end_all(self) -> None:
        """End every session and every link."""
        with self._lock:
            self._sessions.clear()
            self._links.clear()

    def _begin(self) -> str:
        cookie, now_s = secrets.token_urlsafe(32), self._clock.monotonic()
        while len(self._sessions) >= MAX_SESSIONS:
            oldest = min(self._sessions, key=lambda key: self._sessions[key].used_s)
            del self._sessions[oldest]
        self._sessions[_hash(cookie)] = Session(now_s, now_s)
        return cookie

    def _forget(self) -> None:
        now_s = self._clock.monotonic()
        self._links = {key: until_s for key, until_s in self._links.items() if until_s > now_s}
        self._sessions = {
            key: session
            for key, session in self._sessions.items()
            if now_s - session.used_s < IDLE_S and now_s - session.begun_s < LONGEST_S
        }


def _hash(word: str) -> bytes:
    # what is looked up is a hash, so neither memory nor timing tells the word
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
