"""Every fault does on the wire what its line in the documentation says."""

import time
from typing import Any

import pytest

from tests.loopback.client import Client, an_article
from usenetsyncd.errors import FormatError, LimitExceeded, NotFound
from usenetsyncd.loopback import faults
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.wire.article import decode_body

BODY = bytes(range(256)) * 200
HERE = "<here@x.y>"


@pytest.fixture
def stocked(server: LoopbackServer) -> LoopbackServer:
    with Client(server.address) as client:
        client.post(an_article(HERE, BODY))
        client.post(an_article("<other@x.y>", b"other" * 1_000))
    return server


def play(server: LoopbackServer, command: str, **act: Any) -> None:
    server.faults.set([{"match": {"command": command}, "act": act}])


def test_every_act_is_documented_and_every_match_too() -> None:
    assert faults.__doc__ is not None
    for name in (*faults.Effects.model_fields, *faults.Match.model_fields):
        assert f"\n{name} " in faults.__doc__


def test_drop_after_240_loses_the_article_and_keeps_its_id(server: LoopbackServer, client: Client) -> None:
    play(server, "POST", drop_after_240=True)
    assert client.post(an_article("<a@b.c>")).code == 240
    server.faults.clear()
    assert client.code("STAT", "<a@b.c>") == 430
    assert client.post(an_article("<a@b.c>")).code == 441
    assert server.counters.posts == {"<a@b.c>": 1}


def test_hide_makes_an_article_appear_later(server: LoopbackServer, client: Client) -> None:
    play(server, "POST", hide=0.3)
    assert client.post(an_article("<a@b.c>")).code == 240
    assert client.code("STAT", "<a@b.c>") == 430
    assert client.code("BODY", "<a@b.c>") == 430
    time.sleep(0.31)
    assert client.code("STAT", "<a@b.c>") == 223


def test_rewrite_id_stores_under_the_id_it_names(server: LoopbackServer, client: Client) -> None:
    play(server, "POST", rewrite_id=True)
    reply = client.post(an_article("<a@b.c>", BODY))
    server.faults.clear()
    real = reply.text.split()[-1]
    assert (reply.code, real == "<a@b.c>") == (240, False)
    assert client.code("STAT", "<a@b.c>") == 430
    assert client.code("ARTICLE", real) == 220
    article = client.block()
    assert f"Message-ID: {real}\r\n".encode() in article
    assert b"<a@b.c>" not in article
    assert decode_body(article) == BODY


def test_swallow_id_stores_under_another_id_and_does_not_say_which(
    server: LoopbackServer, client: Client
) -> None:
    play(server, "POST", swallow_id=True)
    reply = client.post(an_article("<a@b.c>", BODY, subject="qx7 hm2k"))
    assert (reply.code, reply.text) == (240, "Article received")
    assert client.code("STAT", "<a@b.c>") == 430
    client.ask("GROUP", "alt.binaries.test")
    assert client.code("OVER", "1-") == 224
    _, subject, _, _, real, *_ = client.lines()[0].split("\t")
    assert (subject, client.code("STAT", real)) == ("qx7 hm2k", 223)


@pytest.mark.parametrize("how", ["flip", "cut"])
@pytest.mark.parametrize("verb", ["BODY", "ARTICLE"])
def test_corrupt_spoils_what_is_sent_but_not_what_is_stored(
    stocked: LoopbackServer, verb: str, how: str
) -> None:
    play(stocked, verb, corrupt=how)
    with Client(stocked.address) as client:
        assert client.ask(verb, HERE).code // 10 == 22
        spoilt = client.block()
        stocked.faults.clear()
        assert client.ask(verb, HERE).code // 10 == 22
        assert decode_body(client.block()) == BODY
    with pytest.raises(FormatError):
        decode_body(spoilt)


def test_corrupt_can_send_another_article(stocked: LoopbackServer) -> None:
    play(stocked, "BODY", corrupt="wrong")
    with Client(stocked.address) as client:
        client.ask("BODY", HERE)
        assert decode_body(client.block()) == b"other" * 1_000


@pytest.mark.parametrize("how", ["flip", "cut", "wrong"])
def test_corrupt_at_post_spoils_what_is_stored(server: LoopbackServer, client: Client, how: str) -> None:
    play(server, "POST", corrupt=how)
    assert client.post(an_article("<a@b.c>", BODY)).code == 240
    assert client.code("BODY", "<a@b.c>") == 222
    with pytest.raises(FormatError):
        decode_body(client.block())


@pytest.mark.parametrize("how", ["flip", "cut", "wrong"])
def test_a_stored_article_can_be_corrupted_and_lost(stocked: LoopbackServer, how: str) -> None:
    stocked.corrupt(HERE, how)
    with Client(stocked.address) as client:
        client.ask("BODY", HERE)
        block = client.block()
        if how == "wrong":
            assert decode_body(block) == b"other" * 1_000
        else:
            with pytest.raises(FormatError):
                decode_body(block)
        stocked.remove(HERE)
        assert client.code("BODY", HERE) == 430
    assert stocked.message_ids() == ["<other@x.y>"]
    for act in (stocked.remove, stocked.corrupt, stocked.article):
        with pytest.raises(NotFound):
            act(HERE)


def test_stat_lie_says_the_opposite(stocked: LoopbackServer) -> None:
    play(stocked, "STAT", stat_lie=True)
    with Client(stocked.address) as client:
        assert client.code("STAT", HERE) == 430
        assert client.code("STAT", "<nowhere@x.y>") == 223
        assert client.code("BODY", HERE) == 222


@pytest.mark.parametrize("code", [430, 436, 440, 441, 451, 480, 481, 482, 500, 503])
@pytest.mark.parametrize("verb", ["STAT", "BODY", "POST", "POST-BEGIN", "AUTHINFO USER"])
def test_any_code_can_be_the_reply_to_anything(
    server: LoopbackServer, client: Client, verb: str, code: int
) -> None:
    play(server, verb, reply={"code": code, "text": "because"})
    reply = client.post(an_article("<a@b.c>")) if verb.startswith("POST") else client.ask(verb, "<a@b.c>")
    assert (reply.code, reply.text) == (code, "because")
    assert server.message_ids() == []
    server.faults.clear()
    assert client.code("DATE") == 111


def test_400_is_said_and_the_connection_closed(server: LoopbackServer, client: Client) -> None:
    play(server, "DATE", reply={"code": 400, "text": "enough"})
    assert client.code("DATE") == 400
    assert client.is_closed()


def test_a_greeting_of_502_ends_the_connection(server: LoopbackServer) -> None:
    play(server, "CONNECT", reply={"code": 502, "text": "Too many connections"})
    with Client(server.address) as client:
        assert client.greeting.code == 502
        assert client.is_closed()


def test_lie_does_what_was_asked_and_says_something_else(server: LoopbackServer, client: Client) -> None:
    play(server, "POST", lie={"code": 441, "text": "Posting failed"})
    assert client.post(an_article("<a@b.c>")).code == 441
    assert server.message_ids() == ["<a@b.c>"]


def test_a_240_may_come_without_an_id(server: LoopbackServer, client: Client) -> None:
    play(server, "POST", lie={"code": 240})
    reply = client.post(an_article("<a@b.c>"))
    assert (reply.code, reply.text) == (240, "")
    assert server.message_ids() == ["<a@b.c>"]


def test_a_greeting_may_break_off(server: LoopbackServer) -> None:
    play(server, "CONNECT", cut_reply_at=5)
    with pytest.raises(EOFError):
        Client(server.address)


def test_close_silently_does_nothing_and_says_nothing(server: LoopbackServer, client: Client) -> None:
    play(server, "POST", close_silently=True)
    with pytest.raises(EOFError):
        client.post(an_article("<a@b.c>"))
    assert server.message_ids() == []


@pytest.mark.parametrize("sent", [0, 1, 3, 10])
def test_cut_reply_at_stores_the_article_and_loses_the_answer(
    server: LoopbackServer, client: Client, sent: int
) -> None:
    play(server, "POST", cut_reply_at=sent)
    client.ask("POST")
    client.socket.sendall(b"".join(an_article("<a@b.c>").parts))
    received = b""
    while piece := client.socket.recv(100):
        received += piece
    assert received == b"240 Article received"[:sent]
    assert server.message_ids() == ["<a@b.c>"]


def test_cut_reply_at_breaks_a_body_off(stocked: LoopbackServer) -> None:
    play(stocked, "BODY", cut_reply_at=30_000)
    with Client(stocked.address) as client:
        client.send(f"BODY {HERE}")
        received = 0
        while piece := client.socket.recv(65_536):
            received += len(piece)
    assert received == 30_000


@pytest.mark.parametrize("cut_at", [1, 40, 1_000, 40_000])
def test_cut_article_at_closes_in_the_middle_and_stores_nothing(
    server: LoopbackServer, client: Client, cut_at: int
) -> None:
    play(server, "POST-BEGIN", cut_article_at=cut_at)
    client.ask("POST")
    article = b"".join(an_article("<a@b.c>", BODY).parts)
    client.socket.sendall(article[:cut_at])
    assert client.is_closed()
    assert server.message_ids() == []


def test_limit_connections_turns_the_rest_away(server: LoopbackServer, client: Client) -> None:
    play(server, "CONNECT", limit_connections={"max": 2, "code": 400, "text": "too many connections for you"})
    with Client(server.address) as second, Client(server.address) as third:
        assert second.greeting.code == 200
        assert (third.greeting.code, third.greeting.text) == (400, "too many connections for you")
        assert third.is_closed()
    assert client.code("DATE") == 111


def test_delay_holds_the_reply_back(server: LoopbackServer, client: Client) -> None:
    play(server, "DATE", delay=0.2)
    began = time.monotonic()
    assert client.code("DATE") == 111
    assert time.monotonic() - began >= 0.2


def test_slow_sends_so_many_bytes_a_second(server: LoopbackServer, client: Client) -> None:
    play(server, "DATE", slow=100)
    began = time.monotonic()
    assert client.code("DATE") == 111
    assert 0.1 < time.monotonic() - began < 2
    server.faults.clear()
    assert client.code("DATE") == 111


def test_slow_at_connect_is_for_the_whole_connection(server: LoopbackServer) -> None:
    play(server, "CONNECT", slow=400)
    with Client(server.address) as client:
        server.faults.clear()
        began = time.monotonic()
        client.code("HELP")
        client.block()
        assert time.monotonic() - began > 0.2


@pytest.mark.parametrize("where", ["CONNECT", "STAT"])
def test_an_endless_line_does_not_end_until_the_client_goes(server: LoopbackServer, where: str) -> None:
    play(server, where, endless_line=True)
    with pytest.raises(LimitExceeded), Client(server.address) as client:
        client.ask("STAT", "<a@b>")


def test_no_final_dot_leaves_the_block_open(stocked: LoopbackServer) -> None:
    play(stocked, "BODY", no_final_dot=True)
    with Client(stocked.address, timeout_s=0.3) as client:
        client.ask("BODY", HERE)
        with pytest.raises(TimeoutError):
            client.block()


def test_extra_reply_puts_the_dialogue_out_of_step(server: LoopbackServer, client: Client) -> None:
    play(server, "DATE", extra_reply="205 surprise")
    assert client.code("DATE") == 111
    assert client.reply().code == 205


def test_faults_are_played_to_the_connection_they_are_for(server: LoopbackServer, client: Client) -> None:
    server.faults.set([{"match": {"connection": 2, "command": "DATE"}, "act": {"reply": {"code": 503}}}])
    with Client(server.address) as second:
        assert (client.code("DATE"), second.code("DATE")) == (111, 503)


def test_faults_are_played_to_the_group_and_id_they_are_for(server: LoopbackServer, client: Client) -> None:
    refuse = {"reply": {"code": 441, "text": "no"}}
    server.faults.set(
        [
            {"match": {"group": "alt.bad"}, "act": refuse},
            {"match": {"message_id": "<1*"}, "act": {"stat_lie": True}},
        ]
    )
    assert client.post(an_article("<1@b.c>", group="alt.bad")).code == 441
    assert client.post(an_article("<1@b.c>")).code == 240
    assert client.post(an_article("<2@b.c>")).code == 240
    assert (client.code("STAT", "<1@b.c>"), client.code("STAT", "<2@b.c>")) == (430, 223)
