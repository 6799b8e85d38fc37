"""Trying out one server, for ``usyncctl server test``: what it is, what it allows, in plain words."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from usenetsyncd.clock import SYSTEM_CLOCK, Clock
from usenetsyncd.errors import ConfigurationError, TlsFailed
from usenetsyncd.model import MessageId, ServerAccount, ServerRole
from usenetsyncd.news.connection import Connection, Dialer, Setback
from usenetsyncd.news.records import ServerReport
from usenetsyncd.news.replies import ReplyTable, Step
from usenetsyncd.news.tls import certificate_of
from usenetsyncd.news.trial import try_posting

_ROUND_TRIPS: Final = 3
_PIPELINED: Final = 10
_DAY_S: Final = 86_400.0
_EXPIRES_SOON_DAYS: Final = 14


@dataclass(frozen=True, slots=True)
class PostTrial:
    """That an article may be posted to find something out: to which newsgroups, and how to wait for it to appear."""

    groups: Sequence[str]
    wait: Callable[[float], None]


def probe(
    account: ServerAccount,
    table: ReplyTable,
    clock: Clock = SYSTEM_CLOCK,
    connections: int = 1,
    trial: PostTrial | None = None,
) -> ServerReport:
    """Connect, log in, ask around, and open as many connections as ``connections`` says (at least one, and never more
    than the account allows). Without a trial nothing is posted. Raises nothing that a server can cause: it is in the
    report.
    """
    report = ServerReport(account.name, False, "", ())
    with ExitStack() as opened:
        try:
            dialer = Dialer(account, table, clock)
            first = dialer.open()
        except (Setback, ConfigurationError) as error:
            return replace(report, problem=str(error), lines=(f"cannot be used: {error}",))
        opened.callback(_part, first)
        try:
            report = _about_line(report, first, clock)
            report = _about_manners(report, account, first)
            if trial is not None and report.posting:
                report = _about_posting(report, first, trial)
        except (Setback, TlsFailed) as error:
            return replace(report, ok=False, problem=str(error), lines=(*report.lines, f"broke off: {error}"))
        report = _about_pipelining(report, first)
        return _about_limit(report, account, dialer, opened, min(connections, account.connections))


def _part(connection: Connection) -> None:
    if connection.send_quit():
        connection.finish()
    else:
        connection.close()


def _about_line(report: ServerReport, connection: Connection, clock: Clock) -> ServerReport:
    secured = connection.transport.tls
    if secured is None:
        return replace(report, lines=("connected without TLS, on this machine",))
    subject, issuer, last_day = certificate_of(secured)
    left_days = int((last_day.timestamp() - clock.now()) / _DAY_S)
    soon = "  <- soon" if left_days < _EXPIRES_SOON_DAYS else ""
    return replace(
        report,
        tls=secured.version() or "",
        certificate=subject,
        certificate_expires_s=last_day.timestamp(),
        lines=(
            f"connected with {secured.version()}",
            f"certificate of {subject or '(no name)'}, from {issuer or '(no name)'}",
            f"certificate valid until {last_day:%Y-%m-%d} ({left_days} days){soon}",
        ),
    )


def _about_manners(report: ServerReport, account: ServerAccount, connection: Connection) -> ServerReport:
    offered = connection.capabilities()
    # What is offered after the login counts; a greeting of 201 before it often means nothing.
    offers = "POST" in offered if offered else connection.posting_allowed
    wanted = ServerRole.POST in account.roles
    posting = connection.may_post() if wanted else offers
    for _ in range(_ROUND_TRIPS):
        connection.keep_alive(account.timeout_s)
    lines = [
        f"login accepted for {account.username}" if account.username else "no login asked for",
        "posting is allowed" if posting else "the server says that posting is not allowed",
        f"round trip {connection.round_trip_s * 1000:.1f} ms",
    ]
    return replace(
        report,
        ok=posting or not wanted,
        problem="" if posting or not wanted else "the server does not let this account post",
        login="accepted" if account.username else "not needed",
        posting=posting,
        round_trip_s=connection.round_trip_s,
        lines=(*report.lines, *lines),
    )


def _about_posting(report: ServerReport, connection: Connection, trial: PostTrial) -> ServerReport:
    became = try_posting(connection, trial.groups, trial.wait)
    problem = "" if became.taken_bytes else became.refusal
    return replace(
        report,
        ok=report.ok and not problem,
        problem=report.problem or problem,
        id_policy=became.policy,
        article_bytes=became.taken_bytes,
        lines=(*report.lines, *became.lines),
    )


def _about_pipelining(report: ServerReport, connection: Connection) -> ServerReport:
    ids = [MessageId(f"<{secrets.token_hex(10)}@{secrets.token_hex(6)}>") for _ in range(_PIPELINED)]
    try:
        connection.request(Step.STAT, ids)
        for _ in ids:
            connection.answer()
        works = connection.is_in_step
    except Setback:
        works = False
    words = (
        "commands may be sent ahead (pipelining)"
        if works
        else "commands may not be sent ahead: reading will be slow"
    )
    return replace(report, pipelining=works, lines=(*report.lines, words))


def _about_limit(
    report: ServerReport, account: ServerAccount, dialer: Dialer, opened: ExitStack, wanted: int
) -> ServerReport:
    count, problem = 1, ""
    while count < wanted and not problem:
        try:
            opened.callback(_part, dialer.open())
            count += 1
        except Setback as setback:
            problem = str(setback)
    tried = max(count, min(wanted, count + 1))
    line = f"{count} connection{'s' if count > 1 else ''} at once, of {account.connections} configured"
    if problem:
        line += f"; no more: {problem}"
    elif count < account.connections:
        line += " (no more were tried)"
    return replace(
        report,
        ok=report.ok and not problem,
        problem=report.problem or problem,
        connections=count,
        connections_tried=tried,
        lines=(*report.lines, line),
    )
