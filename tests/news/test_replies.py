"""The reply table, row by row, and a person's changes to it."""

import pytest

from usenetsyncd.errors import ConfigurationError
from usenetsyncd.news.backoff import Backoff, Strategy
from usenetsyncd.news.replies import (
    DEFAULT_ROWS,
    ERRORS,
    NO_REPLY,
    TLS_REFUSED,
    UNREACHABLE,
    Outcome,
    PoolEffect,
    ReplyTable,
    Step,
)

S = Step
CASES = [
    (S.CONNECT, 200, "hello", "greeting_ready"),
    (S.CONNECT, 201, "hello, no posting", "greeting_ready"),
    (S.STARTTLS, 382, "go on", "starttls_ready"),
    (S.MODE, 200, "reader", "mode_ready"),
    (S.LOGIN, 381, "password", "login_wants_password"),
    (S.LOGIN, 281, "welcome", "login_accepted"),
    (S.LOGIN, 502, "Already authenticated", "already_logged_in"),
    (S.LOGIN, 502, "already too many connections", "too_many_connections"),
    (S.POST, 340, "send it", "post_ready"),
    (S.ARTICLE, 240, "<a@b> received", "article_accepted"),
    (S.STAT, 223, "0 <a@b>", "stat_present"),
    (S.STAT, 223, "", "stat_without_text"),
    (S.STAT, 223, "  ", "stat_without_text"),
    (S.BODY, 222, "0 <a@b> body", "body_follows"),
    (S.KEEPALIVE, 111, "20261122000000", "alive"),
    (S.KEEPALIVE, 500, "what?", "alive"),
    (S.STAT, 430, "no such article", "article_missing"),
    (S.BODY, 430, "", "article_missing"),
    (S.BODY, 423, "", "article_missing"),
    (S.BODY, 451, "removed (DMCA)", "article_missing"),
    (S.STAT, 411, "no such group", "article_missing"),
    (S.ARTICLE, 441, "435 Duplicate", "duplicate"),
    (S.ARTICLE, 441, "Article already exists", "duplicate"),
    (S.ARTICLE, 441, "435", "duplicate"),
    (S.ARTICLE, 435, "not wanted", "duplicate_435"),
    (S.ARTICLE, 441, "Newsgroup alt.x does not exist", "article_unfit"),
    (S.ARTICLE, 441, "article too large", "article_unfit"),
    (S.ARTICLE, 437, "rejected", "article_rejected"),
    (S.ARTICLE, 441, "posting failed", "article_refused"),
    (S.POST, 441, "posting failed", "article_refused"),
    (S.ARTICLE, 436, "try later", "article_later"),
    (S.POST, 440, "posting not permitted", "posting_forbidden"),
    (S.ARTICLE, NO_REPLY, "", "article_unanswered"),
    (S.ARTICLE, 400, "too many connections", "article_unanswered"),
    (S.ARTICLE, 502, "too many connections", "article_unanswered"),
    (S.LOGIN, 502, "Too many simultaneous IP addresses", "simultaneous_ip"),
    (S.LOGIN, 482, "Account in use from multiple IP addresses", "simultaneous_ip"),
    (S.CONNECT, 502, "too many connections: maximum of 20 connections", "too_many_connections"),
    (S.LOGIN, 481, "connection limit reached", "too_many_connections"),
    (S.LOGIN, 502, "You have exceeded your threads", "too_many_connections"),
    (S.POST, 400, "too many connections", "too_many_connections"),
    (S.POST, 400, "idle time-out, closing connection", "idle_ended"),
    (S.STAT, 503, "Timeout after 180 seconds, closing connection", "idle_ended"),
    (S.STAT, 205, "idle for too long", "idle_ended"),
    (S.LOGIN, 481, "account has no credits left", "account_ended"),
    (S.LOGIN, 502, "payment required", "account_ended"),
    (S.LOGIN, 482, "subscription expired", "account_ended"),
    (S.BODY, 502, "download limit exceeded", "account_used_up"),
    (S.LOGIN, 502, "byte limit exceeded", "account_used_up"),
    (S.LOGIN, 481, "wrong", "login_refused"),
    (S.LOGIN, 482, "no", "login_refused"),
    (S.LOGIN, 452, "no", "login_refused"),
    (S.CONNECT, 502, "authentication failed", "login_text"),
    (S.BODY, 480, "who are you?", "login_again"),
    (S.POST, 480, "login first", "login_again"),
    (S.LOGIN, 483, "TLS required", "needs_tls"),
    (S.CONNECT, 502, "service permanently unavailable", "no_permission"),
    (S.MODE, 500, "what?", "mode_unknown"),
    (S.STAT, 412, "no newsgroup selected", "group_wanted"),
    (S.CONNECT, 400, "going down", "out_of_service"),
    (S.POST, 403, "disk full", "internal_fault"),
    (S.POST, 500, "what?", "not_understood"),
    (S.ARTICLE, 500, "what?", "not_understood"),
    (S.STAT, 500, "what?", "no_command"),
    (S.STAT, 503, "not supported", "no_command"),
    (S.GROUP, 211, "3 1 3 alt.test", "group_selected"),
    (S.GROUP, 411, "no such group", "group_missing"),
    (S.OVER, 224, "overview follows", "overview_follows"),
    (S.OVER, 423, "empty range", "overview_empty"),
    (S.OVER, 412, "no newsgroup selected", "group_wanted"),
    (S.OVER, 500, "what?", "no_command"),
    (S.OVER, 480, "login first", "login_again"),
    (S.ARTICLE, 438, "not wanted", "duplicate_435"),
    (S.ARTICLE, 439, "rejected", "article_rejected"),
    (S.POST, 401, "MODE-READER", "wrong_mode"),
    (S.STAT, 504, "base64?", "no_command"),
    (S.CONNECT, UNREACHABLE, "", "unreachable"),
    (S.CONNECT, TLS_REFUSED, "", "tls_refused"),
    (S.CONNECT, NO_REPLY, "", "lost_at_start"),
    (S.LOGIN, NO_REPLY, "", "lost_at_start"),
    (S.BODY, NO_REPLY, "", "lost"),
    (S.POST, NO_REPLY, "", "lost"),
    (S.ARTICLE, 599, "?", "article_refused_oddly"),
    (S.ARTICLE, 340, "?", "article_odd"),
    (S.STAT, 240, "?", "out_of_step"),
    (S.CONNECT, 381, "?", "out_of_step"),
]


@pytest.mark.parametrize(("step", "code", "text", "row"), CASES)
def test_each_reply_finds_its_row(step: Step, code: int, text: str, row: str) -> None:
    assert ReplyTable().find(step, code, text).name == row


def test_every_row_of_the_table_is_reached_by_some_reply() -> None:
    assert {row.name for row in DEFAULT_ROWS} <= {row for *_, row in CASES}


def test_names_of_rows_are_unique() -> None:
    names = [row.name for row in DEFAULT_ROWS]
    assert len(names) == len(set(names))


def test_every_outcome_that_is_a_failure_has_an_error_class() -> None:
    assert set(Outcome) - set(ERRORS) == {Outcome.DONE, Outcome.GO_ON}


def test_waits_and_tries_are_those_of_the_specification() -> None:
    table = ReplyTable()
    shared = table.find(S.LOGIN, 502, "simultaneous ip")
    assert (shared.backoff.base_s, shared.backoff.attempts, shared.pool) == (30, 10, PoolEffect.TO_ONE)
    crowded = table.find(S.LOGIN, 502, "too many connections")
    assert (crowded.backoff.base_s, crowded.backoff.attempts, crowded.pool) == (30, 10, PoolEffect.TO_RUNNING)
    refused = table.find(S.ARTICLE, 441, "no")
    assert (refused.backoff.base_s, refused.backoff.attempts) == (5, 3)
    odd = table.find(S.POST, 500, "no")
    assert (odd.backoff.base_s, odd.backoff.attempts) == (10, 5)


def test_only_codes_of_absence_mean_missing_never_silence_or_trouble() -> None:
    table = ReplyTable()
    missing = {
        code
        for code in range(600)
        for step in (S.STAT, S.BODY)
        if table.find(step, code, "x").outcome is Outcome.MISSING
    }
    assert missing == {411, 420, 423, 430, 451}


def test_a_lost_answer_to_a_whole_article_is_doubtful_whatever_else_the_row_says() -> None:
    for code in (NO_REPLY, 400, 205, 502, 111, 340):
        row = ReplyTable().find(S.ARTICLE, code, "too many connections")
        assert row.outcome is Outcome.DOUBTFUL
        assert row.close


def test_a_code_that_is_overridden_changes_its_failures_only() -> None:
    table = ReplyTable(
        {"441": {"strategy": "fibonacci", "base_s": 2, "attempts": 7, "jitter": 0, "max_s": 9, "rest_s": 4}}
    )
    changed = table.find(S.ARTICLE, 441, "no")
    assert changed.backoff == Backoff(Strategy.FIBONACCI, 2, 7, 0, 9)
    assert changed.rest_s == 4
    assert table.find(S.ARTICLE, 441, "435 duplicate") == ReplyTable().find(S.ARTICLE, 441, "435 duplicate")


def test_a_row_is_overridden_by_its_name() -> None:
    assert (
        ReplyTable({"too_many_connections": {"attempts": 2}}).find(S.LOGIN, 502, "too many").backoff.attempts
        == 2
    )


@pytest.mark.parametrize(
    "overrides",
    [
        {"nonsense": {"attempts": 2}},
        {"999": {"attempts": 2}},
        {"441": {"attempts": 0}},
        {"441": {"attempts": "three"}},
        {"441": {"jitter": 2}},
        {"441": {"strategy": "random"}},
        {"441": {"tries": 3}},
    ],
)
def test_impossible_overrides_are_refused_by_name(overrides: dict[str, dict[str, str | float]]) -> None:
    (key,) = overrides
    with pytest.raises(ConfigurationError, match=rf"retry\.{key}"):
        ReplyTable(overrides)
