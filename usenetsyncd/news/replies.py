"""The one reply table: (step, code, text) -> what it means, what to do, and whom it concerns.

Sources: RFC 3977 (codes), RFC 4643 (AUTHINFO), RFC 4642 (STARTTLS), and what providers really say. The first row
that matches counts. Things that happen without a reply stand in the same table under codes of our own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from usenetsyncd.errors import (
    ArticleMissing,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    LoginRefused,
    NewsError,
    PostDoubtful,
    PostDuplicate,
    PostingForbidden,
    PostRefused,
    ServerUnavailable,
    TlsFailed,
    TooManyConnections,
)
from usenetsyncd.news.backoff import Backoff, Strategy

NO_REPLY: Final = 0
"""The connection ended, fell out of step or timed out before the reply."""
UNREACHABLE: Final = 1
"""No connection came about."""
TLS_REFUSED: Final = 2
"""We refuse the server's certificate or handshake."""

ONCE: Final = Backoff()
"""One try, nothing again."""

Overrides = Mapping[str, Mapping[str, str | float]]
"""Row name or code -> fields to replace (strategy, base_s, attempts, jitter, max_s, rest_s)."""


class Step(StrEnum):
    """What the reply answers."""

    CONNECT = "connect"
    STARTTLS = "starttls"
    MODE = "mode"
    LOGIN = "login"
    POST = "post"  # the word POST itself
    ARTICLE = "article"  # the article, sent whole
    STAT = "stat"
    BODY = "body"
    GROUP = "group"
    OVER = "over"
    KEEPALIVE = "keepalive"


class Outcome(StrEnum):
    """What the reply means for the thing that was asked."""

    DONE = "done"
    GO_ON = "go_on"
    MISSING = "missing"
    DUPLICATE = "duplicate"
    DOUBTFUL = "doubtful"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    LOGIN_AGAIN = "login_again"
    LOGIN_REFUSED = "login_refused"
    TOO_MANY = "too_many"
    FORBIDDEN = "forbidden"


class PoolEffect(StrEnum):
    """What the pool's limit becomes."""

    NONE = "none"
    TO_RUNNING = "to_running"
    TO_ONE = "to_one"


ERRORS: Final[Mapping[Outcome, type[NewsError]]] = {
    Outcome.MISSING: ArticleMissing,
    Outcome.DUPLICATE: PostDuplicate,
    Outcome.DOUBTFUL: PostDoubtful,
    Outcome.REFUSED: PostRefused,
    Outcome.UNKNOWN: ServerUnavailable,
    Outcome.UNAVAILABLE: ServerUnavailable,
    Outcome.LOST: ConnectionLost,
    Outcome.UNREACHABLE: ConnectFailed,
    Outcome.TLS: TlsFailed,
    Outcome.LOGIN_AGAIN: LoginRefused,
    Outcome.LOGIN_REFUSED: LoginRefused,
    Outcome.TOO_MANY: TooManyConnections,
    Outcome.FORBIDDEN: PostingForbidden,
}
"""The class that tells each outcome to the caller."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    steps, codes: empty means any. text: must be found in the reply. unless: must not be found.
    backoff: for the same thing on the same server. close: the connection must not be used again.
    rest_s: how long the server rests when the tries are used up. blame: what the health score loses, 0..1.
    """

    name: str
    steps: frozenset[Step]
    codes: frozenset[int]
    outcome: Outcome
    text: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    backoff: Backoff = ONCE
    close: bool = False
    pool: PoolEffect = PoolEffect.NONE
    rest_s: float = 0.0
    blame: float = 0.0

    def matches(self, step: Step, code: int, text: str) -> bool:
        """Whether this row speaks of that reply."""
        return (
            (not self.steps or step in self.steps)
            and (not self.codes or code in self.codes)
            and (self.text is None or self.text.search(text) is not None)
            and (self.unless is None or self.unless.search(text) is None)
        )

    @property
    def succeeded(self) -> bool:
        """Whether the dialogue goes on as hoped."""
        return self.outcome in (Outcome.DONE, Outcome.GO_ON)


def _row(
    name: str,
    steps: str,
    codes: str,
    outcome: Outcome,
    *,
    text: str | None = None,
    unless: str | None = None,
    backoff: Backoff | None = None,
    close: bool = False,
    pool: PoolEffect = PoolEffect.NONE,
    rest_s: float = 0.0,
    blame: float = 0.0,
) -> Row:
    return Row(
        name,
        frozenset(Step(step) for step in steps.split()),
        frozenset(int(code) for code in codes.split()),
        outcome,
        re.compile(text, re.IGNORECASE) if text else None,
        re.compile(unless, re.IGNORECASE) if unless else None,
        backoff or ONCE,
        close,
        pool,
        rest_s,
        blame,
    )


def _wait(base_s: float, attempts: int, strategy: Strategy = Strategy.FIXED, max_s: float = 600.0) -> Backoff:
    return Backoff(strategy, base_s, attempts, max_s=max_s)


_ASKING = "connect mode login post stat body group over keepalive"
_MINUTES_5, _MINUTES_10, _HOUR = 300.0, 600.0, 3600.0

DEFAULT_ROWS: Final[tuple[Row, ...]] = (
    # -- as hoped ---------------------------------------------------------------------------------
    _row("greeting_ready", "connect", "200 201", Outcome.DONE),
    _row("starttls_ready", "starttls", "382", Outcome.DONE),
    _row("mode_ready", "mode", "200 201", Outcome.DONE),
    _row("login_wants_password", "login", "381 350", Outcome.GO_ON),
    _row("login_accepted", "login", "281 250", Outcome.DONE),
    # RFC 4643 2.2: known by its address, or the login of before still holds.
    _row("already_logged_in", "login", "502", Outcome.DONE, text=r"already", unless=r"too many|connection"),
    _row("post_ready", "post", "340", Outcome.GO_ON),
    _row("article_accepted", "article", "240", Outcome.DONE),
    # One provider says 223 and nothing more for what it no longer has.
    _row("stat_without_text", "stat", "223", Outcome.MISSING, text=r"^\s*$"),
    _row("stat_present", "stat", "223", Outcome.DONE),
    _row("body_follows", "body", "222", Outcome.DONE),
    _row("group_selected", "group", "211", Outcome.DONE),
    _row("overview_follows", "over", "224", Outcome.DONE),
    _row("alive", "keepalive", "111 500 501 503 504", Outcome.DONE),
    # -- about the article ------------------------------------------------------------------------
    _row("article_missing", "stat body", "430 423 411 451 420", Outcome.MISSING),
    _row("group_missing", "group", "411 430", Outcome.MISSING),
    _row("overview_empty", "over", "420 421 422 423 430", Outcome.MISSING),
    _row("duplicate", "article post", "441 435 437", Outcome.DUPLICATE, text=r"\b435\b|duplicat|already|have (it|that)"),
    # 438 is what CHECK would say of it (RFC 4644 2.4); servers that take feeds and posts alike mix them up.
    _row("duplicate_435", "article post", "435 438", Outcome.DUPLICATE),
    # Said of this very article: the same bytes are refused again tomorrow.
    _row(
        "article_unfit",
        "article post",
        "441 437 439",
        Outcome.REFUSED,
        text=r"newsgroup|\bgroups?\b|header|too (large|big|long)|\blines?\b|message-id",
    ),
    _row("article_rejected", "article post", "437 439", Outcome.REFUSED),
    _row("article_refused", "article post", "441", Outcome.REFUSED, backoff=_wait(5, 3), blame=0.05),
    _row("article_later", "article post", "436", Outcome.REFUSED, backoff=_wait(5, 5, Strategy.LINEAR), blame=0.05),
    _row("posting_forbidden", "article post", "440", Outcome.FORBIDDEN, rest_s=_HOUR),
    # The whole article is with the server, and this answer does not say what became of it.
    _row("article_unanswered", "article", "0 205 400 502", Outcome.DOUBTFUL, close=True, blame=0.2),
    # -- about the connection and the account -----------------------------------------------------
    _row(
        "simultaneous_ip",
        _ASKING,
        "400 452 481 482 502",
        Outcome.TOO_MANY,
        text=r"(simultaneous|multiple|different|too many|max\w*)\W+ip\b|ip address\w* .*(exceed|limit)",
        backoff=_wait(30, 10),
        close=True,
        pool=PoolEffect.TO_ONE,
        rest_s=_MINUTES_10,
        blame=0.3,
    ),
    _row("idle_ended", _ASKING, "205 400 503", Outcome.LOST, text=r"idle|time.?out|timed out|inactiv", close=True,
         backoff=_wait(0.2, 5, Strategy.EXPONENTIAL)),
    _row("account_ended", _ASKING, "400 452 481 482 502", Outcome.LOGIN_REFUSED, text=r"credit|paym|expired|suspend",
         close=True, rest_s=_MINUTES_10, blame=0.5),
    _row("account_used_up", _ASKING, "400 452 481 482 502", Outcome.LOGIN_REFUSED, text=r"download|byte|quota",
         close=True, rest_s=_MINUTES_10, blame=0.5),
    _row(
        "too_many_connections",
        _ASKING,
        "400 481 482 502",
        Outcome.TOO_MANY,
        text=r"too many|connections?\b|limit|exceed|threads",
        backoff=_wait(30, 10),
        close=True,
        pool=PoolEffect.TO_RUNNING,
        rest_s=_MINUTES_10,
        blame=0.1,
    ),
    _row("login_refused", "login", "452 480 481 482", Outcome.LOGIN_REFUSED, close=True, rest_s=_MINUTES_10, blame=0.5),
    _row("login_text", _ASKING, "400 481 482 502", Outcome.LOGIN_REFUSED, text=r"login|password|user ?name|authenticat",
         close=True, rest_s=_MINUTES_10, blame=0.5),
    _row("login_again", "mode post article stat body group over keepalive", "480", Outcome.LOGIN_AGAIN, backoff=_wait(0, 2)),
    _row("needs_tls", "", "483", Outcome.TLS, close=True, rest_s=_MINUTES_10, blame=0.5),
    _row("no_permission", "", "502", Outcome.UNAVAILABLE, close=True, backoff=_wait(0, 1), rest_s=_MINUTES_5, blame=0.3),
    _row("mode_unknown", "mode", "500 501 503 504", Outcome.DONE),
    _row("group_wanted", "stat body over", "412", Outcome.UNKNOWN),
    # RFC 3977 3.2.1: MODE READER is wanted first. A new connection asks what the server needs.
    _row("wrong_mode", "", "401", Outcome.UNAVAILABLE, close=True, backoff=_wait(10, 3), blame=0.2),
    # -- about the server -------------------------------------------------------------------------
    _row("out_of_service", "", "400", Outcome.UNAVAILABLE, close=True, backoff=_wait(6, 5), rest_s=60, blame=0.2),
    _row("internal_fault", "", "403", Outcome.UNAVAILABLE, backoff=_wait(5, 5, Strategy.EXPONENTIAL), blame=0.2),
    _row("not_understood", "post article", "500 501 503 504", Outcome.UNAVAILABLE, close=True, backoff=_wait(10, 5), blame=0.2),
    _row("no_command", "", "500 501 503 504", Outcome.UNKNOWN, backoff=_wait(10, 5), blame=0.05),
    # -- no reply at all --------------------------------------------------------------------------
    _row("unreachable", "", "1", Outcome.UNREACHABLE, close=True,
         backoff=_wait(1, 5, Strategy.EXPONENTIAL, max_s=60), rest_s=60, blame=0.3),
    _row("tls_refused", "", "2", Outcome.TLS, close=True, rest_s=_MINUTES_10, blame=0.5),
    _row("lost_at_start", "connect starttls mode login", "0", Outcome.UNREACHABLE, close=True,
         backoff=_wait(1, 5, Strategy.EXPONENTIAL, max_s=60), rest_s=60, blame=0.2),
    _row("lost", "", "0", Outcome.LOST, close=True, backoff=_wait(0.2, 5, Strategy.EXPONENTIAL), blame=0.05),
)  # fmt: skip

_AFTER_ARTICLE = Row("article_odd", frozenset(), frozenset(), Outcome.DOUBTFUL, close=True, blame=0.2)
_REFUSED_ODDLY = Row(
    "article_refused_oddly",
    frozenset(),
    frozenset(),
    Outcome.REFUSED,
    close=True,
    backoff=_wait(5, 3),
    blame=0.1,
)
_OUT_OF_STEP = Row(
    "out_of_step", frozenset(), frozenset(), Outcome.LOST, close=True,
    backoff=_wait(0.2, 5, Strategy.EXPONENTIAL), blame=0.1,
)  # fmt: skip


class ReplyTable:
    """The rows, with a person's overrides laid over them. Shared by all threads."""

    def __init__(self, overrides: Overrides | None = None) -> None:
        """Raises ConfigurationError for a name, a field or a figure that cannot be."""
        self.use(overrides or {})

    def use(self, overrides: Overrides) -> None:
        """From the next reply on these overrides count, and none of before. Raises ConfigurationError, and then
        nothing has changed."""
        rows = apply_overrides(DEFAULT_ROWS, overrides)
        # One assignment: whoever looks up meanwhile sees the old rows or the new ones, never some of both.
        self._in_force: tuple[tuple[Row, ...], dict[tuple[Step, int], tuple[Row, ...]]] = rows, {}

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row in force, in the order in which they count."""
        return self._in_force[0]

    def find(self, step: Step, code: int, text: str = "") -> Row:
        """The row for a reply; never fails: what no row knows is out of step, and closes the connection."""
        rows, known = self._in_force
        likely = known.get((step, code))
        if likely is None:
            likely = tuple(
                row
                for row in rows
                if (not row.steps or step in row.steps) and (not row.codes or code in row.codes)
            )
            if 0 <= code <= 599:
                known[step, code] = likely
        for row in likely:
            if row.matches(step, code, text):
                return row
        if step is Step.ARTICLE:
            return _REFUSED_ODDLY if 400 <= code <= 599 else _AFTER_ARTICLE
        return _OUT_OF_STEP

    def row(self, name: str) -> Row:
        """The row of that name, for things that happen without a reply. Raises KeyError."""
        return next(row for row in self.rows if row.name == name)


def apply_overrides(rows: tuple[Row, ...], overrides: Overrides) -> tuple[Row, ...]:
    """The rows with the named fields replaced. A key is a row's name or a code; a code means its failures.

    Raises ConfigurationError, naming the key.
    """
    changed = list(rows)
    for key, fields in overrides.items():
        found = [i for i, row in enumerate(changed) if _is_meant(row, str(key))]
        if not found:
            raise ConfigurationError(f"retry.{key}: no reply code or row of the reply table has this name")
        for i in found:
            changed[i] = _changed(changed[i], str(key), fields)
    return tuple(changed)


def _is_meant(row: Row, key: str) -> bool:
    if key == row.name:
        return True
    final = row.succeeded or row.outcome in (Outcome.MISSING, Outcome.DUPLICATE, Outcome.DOUBTFUL)
    return not final and key.isdecimal() and int(key) in row.codes and int(key) >= 100


def _changed(row: Row, key: str, fields: Mapping[str, str | float]) -> Row:
    backoff, rest_s = row.backoff, row.rest_s
    for name, value in fields.items():
        where = f"retry.{key}.{name}"
        if name == "strategy":
            if value not in list(Strategy):
                raise ConfigurationError(f"{where}: expected one of {', '.join(Strategy)}, got {value!r}")
            backoff = replace(backoff, strategy=Strategy(value))
        elif name == "attempts":
            backoff = replace(backoff, attempts=int(_figure(where, value, least=1)))
        elif name == "jitter":
            backoff = replace(backoff, jitter=_figure(where, value, most=1))
        elif name == "base_s":
            backoff = replace(backoff, base_s=_figure(where, value))
        elif name == "max_s":
            backoff = replace(backoff, max_s=_figure(where, value))
        elif name == "rest_s":
            rest_s = _figure(where, value)
        else:
            raise ConfigurationError(
                f"{where}: unknown; known are strategy, base_s, attempts, jitter, max_s, rest_s"
            )
    return replace(row, backoff=backoff, rest_s=rest_s)


def _figure(where: str, value: str | float, least: float = 0.0, most: float = 1e6) -> float:
    if isinstance(value, str | bool) or not least <= value <= most:
        raise ConfigurationError(f"{where}: expected a number from {least:g} to {most:g}, got {value!r}")
    return float(value)
