"""One connection against every kind of server."""

import threading
import time
from collections.abc import Callable

import pytest

from tests.news.peers import Authority, Peer, ScriptedServer, article, message_id
from usenetsyncd.errors import FormatError
from usenetsyncd.model import ServerAccount, TlsMode
from usenetsyncd.news.connection import Connection, Dialer, Setback
from usenetsyncd.news.replies import Outcome, ReplyTable, Step
from usenetsyncd.wire.nntp import dot_unstuff


def open_one(account: ServerAccount) -> Connection:
    return Dialer(account, ReplyTable()).open()


def refused(account: ServerAccount) -> Setback:
    with pytest.raises(Setback) as caught:
        open_one(account)
    return caught.value


def greeting(line: str) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.say(line)
        peer.linger()

    return script


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("400 going down for maintenance", "out_of_service"),
        ("502 too many connections", "too_many_connections"),
        ("502 no permission", "no_permission"),
        ("500 what?", "no_command"),
        ("281 welcome", "out_of_step"),
    ],
)
def test_a_greeting_that_is_no_welcome_finds_its_row(line: str, row: str) -> None:
    with ScriptedServer(greeting(line)) as server:
        assert refused(server.account()).row.name == row


@pytest.mark.parametrize(
    "octets",
    [b"200 " + b"x" * 4096, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\n" * 9 + b"\r\n"],
)
def test_what_is_no_nntp_server_ends_in_a_format_error(octets: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.send(octets)
        peer.linger()

    with ScriptedServer(script) as server:
        assert isinstance(refused(server.account()).__cause__, FormatError)


def test_a_banner_without_end_is_given_up_after_a_few_kilobytes() -> None:
    sent = 0

    def flood(peer: Peer) -> None:
        nonlocal sent
        while True:
            peer.send(b"x" * 65536)
            sent += 65536

    with ScriptedServer(flood) as server:
        started = time.monotonic()
        refused(server.account())
        assert time.monotonic() - started < 1
    assert sent < 20_000_000


def test_a_server_that_dribbles_bytes_does_not_hold_us_beyond_the_time_out() -> None:
    stop = threading.Event()

    def dribble(peer: Peer) -> None:
        while not stop.is_set():
            peer.send(b"2")
            stop.wait(0.05)

    with ScriptedServer(dribble) as server:
        started = time.monotonic()
        assert refused(server.account(timeout_s=0.3)).row.name == "lost_at_start"
        assert time.monotonic() - started < 1.5
        stop.set()


def test_a_silent_server_times_out() -> None:
    with ScriptedServer(Peer.linger) as server:
        assert "time-out" in str(refused(server.account(timeout_s=0.2)))


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with ScriptedServer(Peer.linger) as server:
        account = server.account()
    setback = refused(account)
    assert setback.row.name == "unreachable"
    assert "nothing listens" in str(setback)


@pytest.mark.parametrize(
    ("user_reply", "pass_reply", "row"),
    [
        ("381 go on", "481 no", "login_refused"),
        ("381 go on", "482 no", "login_refused"),
        ("381 go on", "502 too many connections", "too_many_connections"),
        ("381 go on", "502 simultaneous ip limit", "simultaneous_ip"),
        ("381 go on", "381 and again", "login_refused"),
        ("482 no", "", "login_refused"),
        ("502 expired", "", "account_ended"),
    ],
)
def test_a_refused_login_finds_its_row(user_reply: str, pass_reply: str, row: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        assert peer.hear() == "AUTHINFO USER alice"
        peer.say(user_reply)
        assert peer.hear() == "AUTHINFO PASS secret word"
        peer.say(pass_reply)
        peer.linger()

    with ScriptedServer(script) as server:
        assert refused(server.account(username="alice", password="secret word")).row.name == row


def test_a_password_that_a_server_echoes_does_not_reach_the_message() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.hear()
        peer.say("381 go on")
        peer.say("481 wrong password " + peer.hear().split()[-1] + "\x1b[31m")
        peer.linger()

    with ScriptedServer(script) as server:
        told = str(refused(server.account(username="alice", password="hunter2")))
    assert "hunter2" not in told
    assert "\x1b" not in told


def test_a_password_that_would_smuggle_a_command_is_never_sent() -> None:
    with ScriptedServer(lambda peer: peer.greet(login=True)) as server:
        setback = refused(server.account(username="alice", password="x\r\nPOST"))
        assert setback.row.outcome is Outcome.LOGIN_REFUSED


def test_reader_mode_is_entered_where_the_server_offers_it_and_not_asked_for_twice() -> None:
    heard: list[str] = []

    def script(peer: Peer) -> None:
        peer.say("201 transit")
        while (line := peer.hear()) != "QUIT":
            heard.append(line)
            peer.say(*(["101 list", "MODE-READER", "."] if line == "CAPABILITIES" else ["200 reader"]))

    with ScriptedServer(script) as server:
        dialer = Dialer(server.account(), ReplyTable())
        for _ in range(2):
            connection = dialer.open()
            assert connection.posting_allowed
            connection.send_quit()
            connection.close()
    assert heard == ["CAPABILITIES", "MODE READER", "MODE READER"]


def test_a_server_that_wants_the_login_before_reader_mode_gets_it() -> None:
    heard: list[str] = []

    def script(peer: Peer) -> None:
        peer.say("200 hello")
        replies = iter(["500 what?", "480 login first", "281 welcome", "200 reader"])
        for reply in replies:
            heard.append(peer.hear().partition(" ")[0])
            peer.say(reply)
        peer.linger()

    with ScriptedServer(script) as server:
        open_one(server.account(username="a", password="b")).close()
    assert heard == ["CAPABILITIES", "MODE", "AUTHINFO", "MODE"]


def test_an_article_arrives_byte_for_byte() -> None:
    arrived: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.greet()
        arrived.append(peer.take_post())
        peer.linger()

    sent = article(size_bytes=900_000)
    with ScriptedServer(script) as server:
        connection = open_one(server.account())
        assert connection.post(sent).code == 240
        connection.close()
    assert arrived[0] + b"\r\n.\r\n" == b"".join(sent.parts)


def test_an_article_arrives_byte_for_byte_over_tls(authority: Authority) -> None:
    arrived: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.greet()
        while True:
            arrived.append(peer.take_post())

    certificate = authority.issue("posting")
    sizes = [8, 100, 15_000, 16_384, 16_400, 32_768, 100_000, 900_000]
    with ScriptedServer(script, certificate.context()) as server:
        account = server.account(tls=TlsMode.IMPLICIT, host="localhost", ca_file=str(certificate.ca))
        connection = open_one(account)
        for number, size in enumerate(sizes):
            connection.post(article(number, size))
        connection.close()
    assert [text + b"\r\n.\r\n" for text in arrived] == [
        b"".join(article(n, s).parts) for n, s in enumerate(sizes)
    ]


def posting(connection_script: Callable[[Peer], None], size_bytes: int = 3000) -> Setback:
    def script(peer: Peer) -> None:
        peer.greet()
        connection_script(peer)

    with ScriptedServer(script) as server:
        connection = open_one(server.account(timeout_s=0.5))
        try:
            with pytest.raises(Setback) as caught:
                connection.post(article(size_bytes=size_bytes))
        finally:
            connection.close()
    return caught.value


def test_a_cut_before_the_340_is_a_plain_loss() -> None:
    assert posting(lambda peer: peer.hear() and None).row.name == "lost"


def test_a_cut_in_the_middle_of_the_article_is_a_plain_loss() -> None:
    def cut(peer: Peer) -> None:
        peer.hear()
        peer.say("340 go on")
        peer.sock.recv(100_000)

    setback = posting(cut, 1_500_000 * 1)
    assert setback.row.outcome in (Outcome.LOST, Outcome.DOUBTFUL)


def test_a_cut_after_the_whole_article_is_doubtful() -> None:
    assert posting(lambda peer: peer.take_post(answer="") and None).row.outcome is Outcome.DOUBTFUL


def test_silence_after_the_whole_article_is_doubtful() -> None:
    def silent(peer: Peer) -> None:
        peer.take_post(answer="")
        peer.linger()

    assert posting(silent).row.outcome is Outcome.DOUBTFUL


def test_nonsense_after_the_whole_article_is_doubtful() -> None:
    assert posting(lambda peer: peer.take_post(answer="OK thanks") and None).row.outcome is Outcome.DOUBTFUL


def test_a_reply_that_comes_with_the_340_is_out_of_step() -> None:
    def hasty(peer: Peer) -> None:
        peer.hear()
        peer.say("340 go on", "240 got it")
        peer.linger()

    setback = posting(hasty)
    assert setback.row.close
    assert setback.row.outcome is Outcome.LOST


def test_a_reply_before_the_article_was_sent_whole_is_out_of_step() -> None:
    def interrupt(peer: Peer) -> None:
        peer.hear()
        peer.say("340 go on")
        peer.sock.recv(10)
        peer.say("441 too large for me")
        peer.linger()

    setback = posting(interrupt, 1_500_000)
    # The whole article may be in the socket's buffer before the reply is here: then it counts as the verdict.
    if setback.row.outcome is Outcome.LOST:
        assert setback.row.close
    else:
        assert setback.row.outcome is Outcome.REFUSED


def test_bodies_come_in_the_order_asked_for_with_those_missing_told_apart() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        held = {message_id(n): b"line %d\r\n..dot\r\n" % n for n in range(10) if n % 3}

        def body(line: str) -> bytes:
            asked = line.split()[1]
            if asked not in held:
                return b"430 no such article\r\n"
            return b"222 0 " + asked.encode() + b"\r\n" + held[asked] + b".\r\n"  # type: ignore[index]

        peer.serve(body)

    with ScriptedServer(script) as server:
        connection = open_one(server.account())
        ids = [message_id(n) for n in range(10)]
        connection.request(Step.BODY, ids)
        answers = [connection.answer() for _ in ids]
        assert [answer[0] for answer in answers] == ids
        assert [n for n, answer in enumerate(answers) if answer[1].outcome is Outcome.MISSING] == [0, 3, 6, 9]
        assert answers[4][3] == b"line 4\r\n..dot\r\n"
        assert dot_unstuff(answers[4][3]) == b"line 4\r\n.dot\r\n"
        assert connection.is_in_step
        connection.close()


def asking(reply: Callable[[str], bytes | None], step: Step = Step.BODY) -> Setback:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.serve(reply)

    with ScriptedServer(script) as server:
        connection = open_one(server.account(timeout_s=0.4))
        try:
            connection.request(step, [message_id(1)])
            with pytest.raises(Setback) as caught:
                connection.answer()
        finally:
            connection.close()
    return caught.value


@pytest.mark.parametrize(
    "reply",
    [
        b"222 0 <1@x>\r\nbody without an end\r\n",
        b"222 0 " + message_id(1).encode() + b"\r\nbody without an end\r\n",
        b"222 0 " + message_id(2).encode() + b"\r\nanother article\r\n.\r\n",
        b"",
        b"22",
        b"nonsense\r\n",
        b"222 " + b"x" * 3000 + b"\r\n",
        b"222 body\r\n" + b"y" * 5_000_000,
    ],
)
def test_a_body_that_does_not_come_properly_is_a_lost_connection_and_never_a_missing_article(
    reply: bytes,
) -> None:
    setback = asking(lambda _line: reply)
    assert setback.row.close
    assert setback.row.outcome is Outcome.LOST


def test_a_cut_within_a_body_is_a_lost_connection() -> None:
    def cut(peer: Peer) -> None:
        peer.greet()
        peer.hear()
        peer.send(b"222 0 " + message_id(1).encode() + b"\r\nhalf of the bo")

    with ScriptedServer(cut) as server:
        connection = open_one(server.account())
        connection.request(Step.BODY, [message_id(1)])
        with pytest.raises(Setback):
            connection.answer()
        connection.close()


def test_something_said_without_being_asked_is_noticed() -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        peer.serve(lambda _line: "430 no\r\n430 no")

    with ScriptedServer(script) as server:
        connection = open_one(server.account())
        assert connection.is_in_step
        connection.request(Step.STAT, [message_id(1)])
        connection.answer()
        said.wait(0.05)
        assert not connection.is_in_step
        connection.close()


def test_another_thread_can_end_a_connection_that_waits() -> None:
    with ScriptedServer(lambda peer: (peer.greet(), peer.linger())[0]) as server:
        connection = open_one(server.account(timeout_s=30))
        timer = threading.Timer(0.1, connection.abort)
        timer.start()
        started = time.monotonic()
        with pytest.raises(Setback):
            connection.post(article())
        assert time.monotonic() - started < 5
        timer.join()
        connection.close()


def test_quit_is_said_and_the_server_hangs_up_first() -> None:
    heard: list[str] = []

    def script(peer: Peer) -> None:
        peer.greet()
        heard.append(peer.hear())
        peer.say("205 bye")

    with ScriptedServer(script) as server:
        connection = open_one(server.account())
        assert connection.send_quit()
        connection.finish()
    assert heard == ["QUIT"]
