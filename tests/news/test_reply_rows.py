"""Every row of the reply table, played by the embedded server: what the caller is told, how often the server was asked,
what becomes of the pool, and how long the server is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.client import Client
from tests.news.conftest import Serve
from tests.news.peers import Authority, article, message_id
from usenetsyncd.errors import NewsError
from usenetsyncd.loopback.faults import FaultRules
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ServerAccount, TlsMode
from usenetsyncd.news import service as news_service
from usenetsyncd.news.replies import DEFAULT_ROWS, Overrides, ReplyTable, Row, Step
from usenetsyncd.news.service import NewsService

GROUP = "alt.binaries.test"
CONNECTIONS = 4

# The strategies and the numbers of tries stay those of the table; the waits become short, but for those that hold
# dialling back, which a test can see in the server's state.
SHORT: Overrides = {
    row.name: {"base_s": 0.01, "max_s": 0.02} for row in DEFAULT_ROWS if 0 < row.backoff.base_s < 30
}


@dataclass(frozen=True)
class Trial:
    """One row: a fault, what we do, what we are told (and how often the fault was met), and what is different then.

    allowed: connections. rests_s: until the next dial. may_post: whether the server is still posted to.
    """

    row: str
    command: str
    act: dict[str, Any]
    do: str
    told: str
    met: int = 1
    times: int | None = None
    allowed: int = CONNECTIONS
    rests_s: float = 0.0
    may_post: bool = True
    login: bool = True
    also: tuple[dict[str, Any], ...] = field(default=())

    def rules(self) -> list[dict[str, Any]]:
        match = {"command": self.command} | ({"times": self.times} if self.times else {})
        return [{"name": "trial", "match": match, "act": self.act}, *self.also]

    def __str__(self) -> str:
        said = self.act.get("reply") or self.act.get("limit_connections") or {}
        return f"{self.row}-{self.command}-{said.get('code', next(iter(self.act)))}-{self.do}"


def says(code: int, text: str = "") -> dict[str, Any]:
    return {"reply": {"code": code, "text": text}}


NOTHING = {"delay": 0.0}
READER_MODE = {"match": {"command": "CAPABILITIES"}, "act": says(500)}
MINUTES_10 = 600

TRIALS = [
    # -- as hoped -------------------------------------------------------------------------------------
    Trial("greeting_ready", "CONNECT", NOTHING, "post", "posted"),
    Trial("greeting_ready", "CONNECT", says(201, "no posting here"), "post", "posted"),
    Trial("mode_ready", "MODE", NOTHING, "post", "posted", also=(READER_MODE,)),
    Trial("login_wants_password", "AUTHINFO USER", NOTHING, "post", "posted"),
    Trial("login_accepted", "AUTHINFO PASS", NOTHING, "post", "posted"),
    Trial("already_logged_in", "AUTHINFO USER", NOTHING, "post", "posted", login=False),
    Trial("post_ready", "POST-BEGIN", NOTHING, "post", "posted"),
    Trial("article_accepted", "POST", NOTHING, "post", "posted"),
    Trial("stat_present", "STAT", NOTHING, "stat", "present"),
    Trial("body_follows", "BODY", NOTHING, "fetch", "fetched"),
    Trial("group_selected", "GROUP", NOTHING, "search", "found"),
    Trial("overview_follows", "OVER", NOTHING, "search", "found"),
    Trial("alive", "DATE", NOTHING, "test", "well", met=3),
    Trial("alive", "DATE", says(500), "test", "well", met=3),
    # -- about the article ----------------------------------------------------------------------------
    Trial("stat_without_text", "STAT", says(223), "stat", "missing"),
    *(Trial("article_missing", "STAT", says(code), "stat", "missing") for code in (430, 423, 451, 420, 411)),
    *(Trial("article_missing", "BODY", says(code), "fetch", "ArticleMissing") for code in (430, 423, 451)),
    Trial("article_missing", "BODY", says(411), "fetch", "ArticleMissing"),
    Trial("group_missing", "GROUP", says(411), "search", "nothing"),
    Trial("overview_empty", "OVER", says(423), "search", "nothing"),
    Trial("overview_empty", "OVER", says(420), "search", "nothing"),
    Trial("duplicate", "POST", says(441, "435 Duplicate"), "post", "PostDuplicate"),
    Trial("duplicate", "POST-BEGIN", says(437, "already have it"), "post", "PostDuplicate"),
    Trial("duplicate_435", "POST", says(435), "post", "PostDuplicate"),
    Trial("duplicate_435", "POST", says(438), "post", "PostDuplicate"),
    Trial("article_unfit", "POST", says(441, "no such newsgroup"), "post", "PostRefused"),
    Trial("article_unfit", "POST", says(439, "article too large"), "post", "PostRefused"),
    Trial("article_rejected", "POST", says(437, "rejected"), "post", "PostRefused"),
    Trial("article_rejected", "POST", says(439, "rejected"), "post", "PostRefused"),
    Trial("article_refused", "POST", says(441, "posting failed"), "post", "PostRefused", met=3),
    Trial("article_refused", "POST", says(441, "posting failed"), "post", "posted", met=2, times=2),
    Trial("article_later", "POST", says(436, "try later"), "post", "PostRefused", met=5),
    Trial("article_later", "POST", says(436, "try later"), "post", "posted", met=4, times=4),
    Trial("posting_forbidden", "POST-BEGIN", says(440), "post", "NoServer", may_post=False),
    Trial("posting_forbidden", "POST", says(440), "post", "NoServer", may_post=False),
    Trial("article_unanswered", "POST", {"close_silently": True}, "post", "PostDoubtful"),
    Trial("article_unanswered", "POST", {"cut_reply_at": 0}, "post", "PostDoubtful"),
    Trial("article_unanswered", "POST", says(400, "closing"), "post", "PostDoubtful"),
    Trial("article_unanswered", "POST", says(502, "too many connections"), "post", "PostDoubtful"),
    # -- about the connection and the account ---------------------------------------------------------
    Trial(
        "simultaneous_ip", "AUTHINFO PASS", says(502, "too many simultaneous IP addresses"), "post", "NoServer",
        allowed=1, rests_s=30,
    ),
    Trial(
        "too_many_connections", "CONNECT", {"limit_connections": {"max": 0}}, "post", "NoServer",
        allowed=1, rests_s=30,
    ),
    Trial("too_many_connections", "AUTHINFO PASS", says(481, "connection limit reached"), "post", "NoServer",
          allowed=1, rests_s=30),
    Trial("idle_ended", "POST-BEGIN", says(400, "idle time-out"), "post", "posted", times=1),
    Trial("idle_ended", "BODY", says(400, "inactive for too long"), "fetch", "fetched", times=1),
    Trial("account_ended", "AUTHINFO PASS", says(502, "payment required"), "post", "NoServer", rests_s=MINUTES_10),
    Trial("account_used_up", "BODY", says(502, "download limit exceeded"), "fetch", "LoginRefused",
          rests_s=MINUTES_10),
    Trial("login_refused", "AUTHINFO PASS", says(481, "wrong"), "post", "NoServer", rests_s=MINUTES_10),
    Trial("login_refused", "AUTHINFO USER", says(482, "no"), "post", "NoServer", rests_s=MINUTES_10),
    Trial("login_refused", "AUTHINFO PASS", says(480, "no"), "post", "NoServer", rests_s=MINUTES_10),
    Trial("login_text", "CONNECT", says(502, "authentication failed"), "post", "NoServer", rests_s=MINUTES_10),
    Trial("login_again", "POST-BEGIN", says(480, "log in"), "post", "posted", times=1),
    Trial("login_again", "POST", says(480, "log in"), "post", "posted", times=1),
    Trial("login_again", "STAT", says(480, "log in"), "stat", "present", times=1),
    Trial("login_again", "BODY", says(480, "log in"), "fetch", "fetched", times=1),
    Trial("needs_tls", "AUTHINFO USER", says(483, "TLS first"), "post", "NoServer", rests_s=MINUTES_10),
    Trial("no_permission", "CONNECT", says(502, "service permanently unavailable"), "post", "NoServer", rests_s=300),
    Trial("no_permission", "BODY", says(502, "not for you"), "fetch", "ServerUnavailable", rests_s=300),
    Trial("mode_unknown", "MODE", says(500), "post", "posted", also=(READER_MODE,)),
    Trial("group_wanted", "STAT", says(412), "stat", "unknown"),
    Trial("wrong_mode", "POST-BEGIN", says(401, "MODE-READER"), "post", "posted", met=2, times=2),
    # -- about the server -----------------------------------------------------------------------------
    Trial("out_of_service", "CONNECT", says(400, "back at six"), "post", "NoServer", met=5, rests_s=60),
    Trial("out_of_service", "BODY", says(400, "going down"), "fetch", "ConnectionLost", met=5),
    Trial("out_of_service", "BODY", says(400, "going down"), "fetch", "fetched", met=4, times=4),
    Trial("internal_fault", "POST-BEGIN", says(403, "disk full"), "post", "NoServer", met=5),
    Trial("internal_fault", "POST-BEGIN", says(403, "disk full"), "post", "posted", met=4, times=4),
    Trial("not_understood", "POST-BEGIN", says(500), "post", "posted", met=4, times=4),
    Trial("not_understood", "POST", says(503), "post", "posted", met=2, times=2),
    Trial("not_understood", "POST-BEGIN", says(504), "post", "posted", times=1),
    Trial("no_command", "STAT", says(500), "stat", "unknown"),
    Trial("no_command", "STAT", says(503), "stat", "unknown"),
    Trial("no_command", "BODY", says(504), "fetch", "ServerUnavailable"),
    Trial("no_command", "OVER", says(501), "search", "found"),
    # -- no reply at all ------------------------------------------------------------------------------
    Trial("lost_at_start", "CONNECT", {"close_silently": True}, "post", "posted", met=2, times=2),
    Trial("lost_at_start", "AUTHINFO PASS", {"close_silently": True}, "post", "posted", times=1),
    Trial("lost", "POST-BEGIN", {"close_silently": True}, "post", "posted", met=4, times=4),
    Trial("lost", "POST-BEGIN", {"close_silently": True}, "post", "NoServer", met=5),
    Trial("lost", "BODY", {"close_silently": True}, "fetch", "fetched", met=2, times=2),
    Trial("lost", "STAT", {"close_silently": True}, "stat", "unknown", met=5),
    Trial("lost", "BODY", {"cut_reply_at": 100}, "fetch", "fetched", times=1),
    Trial("lost", "OVER", {"close_silently": True}, "search", "found", times=1),
]  # fmt: skip


class Watched(ReplyTable):
    """The table, which also tells what was looked up in it."""

    found: set[str]

    def find(self, step: Step, code: int, text: str = "") -> Row:
        row = super().find(step, code, text)
        self.found.add(row.name)
        return row


@pytest.fixture
def rows_met(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    met: set[str] = set()
    monkeypatch.setattr(Watched, "found", met, raising=False)
    monkeypatch.setattr(news_service, "ReplyTable", Watched)
    return met


@contextmanager
def a_server_with_one_article(directory: Path, login: bool) -> Iterator[LoopbackServer]:
    with LoopbackServer(directory, users={"u": "secret"} if login else {}) as server:
        with Client(server.address) as client:
            if login:
                client.login("u", "secret")
            client.post(article(1))
        yield server


def perform(service: NewsService, verb: str) -> str:
    """Do it, and say in one word what came of it."""
    try:
        match verb:
            case "post":
                return "posted" if service.post(article(2)).server else ""
            case "stat":
                return service.stat([message_id(1)])[message_id(1)].value
            case "fetch":
                return "fetched" if service.fetch_one(message_id(1)) else ""
            case "search":
                subject = article(1).name.subject
                return "found" if service.find_by_subject([GROUP], [subject]) else "nothing"
            case _:
                return "well" if service.test("main").ok else "not well"
    except NewsError as error:
        return type(error).__name__


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_a_row_does_what_it_says(serve: Serve, tmp_path: Path, rows_met: set[str], trial: Trial) -> None:
    with a_server_with_one_article(tmp_path, trial.login) as server:
        account = ServerAccount(
            "main", *server.address, TlsMode.NONE, "u", "secret", connections=CONNECTIONS, timeout_s=2.0
        )
        service = serve(account, overrides=SHORT)
        server.faults.set(trial.rules())
        assert perform(service, trial.do) == trial.told
        assert trial.row in rows_met
        assert server.faults.fired()["trial"] == trial.met
        (state,) = service.snapshot()
        assert state.allowed == trial.allowed
        assert state.retry_after_s == pytest.approx(trial.rests_s, rel=0.25, abs=0.1)
        assert (state.posting_reason == "") is trial.may_post


def test_where_nobody_listens_the_server_rests_a_little(
    serve: Serve, tmp_path: Path, rows_met: set[str]
) -> None:
    with LoopbackServer(tmp_path) as server:
        account = ServerAccount("main", *server.address, TlsMode.NONE)
    service = serve(account, overrides={"unreachable": {"base_s": 20}})
    assert perform(service, "post") == "NoServer"
    assert "unreachable" in rows_met
    assert service.snapshot()[0].retry_after_s == pytest.approx(20, rel=0.25)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_accepted_or_the_server_rests(
    serve: Serve, tmp_path: Path, authority: Authority, rows_met: set[str], trusted: bool
) -> None:
    made = authority.issue(f"row-{trusted}", signed=trusted)
    with LoopbackServer(tmp_path, tls=(made.path, made.path), implicit_tls=False) as server:
        account = ServerAccount(
            "main", "localhost", server.address[1], TlsMode.STARTTLS, ca_file=str(authority.path)
        )
        service = serve(account)
        assert perform(service, "post") == ("posted" if trusted else "NoServer")
        assert {"starttls_ready"} | (set() if trusted else {"tls_refused"}) <= rows_met
        assert service.snapshot()[0].retry_after_s == pytest.approx(0 if trusted else MINUTES_10, abs=1)


ELSEWHERE = {"unreachable", "tls_refused", "starttls_ready"}


def test_every_row_has_its_trial() -> None:
    assert {row.name for row in DEFAULT_ROWS} == {trial.row for trial in TRIALS} | ELSEWHERE


def test_after_240_and_nothing_there_the_article_is_missing(serve: Serve, tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, faults=FaultRules([{"act": {"drop_after_240": True}}])) as server:
        service = serve(ServerAccount("main", *server.address, TlsMode.NONE))
        assert perform(service, "post") == "posted"
        assert service.stat([message_id(2)])[message_id(2)].value == "missing"
