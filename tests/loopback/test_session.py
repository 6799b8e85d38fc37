"""The dialogue of the embedded server, where it goes beyond what every news server must do."""

from pathlib import Path

import pytest

from tests.loopback.client import GROUP, Client, an_article
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import MessageId
from usenetsyncd.wire.article import decode_body


@pytest.fixture
def filled(server: LoopbackServer, client: Client) -> Client:
    for number in range(1, 6):
        assert client.post(an_article(f"<{number}@x.y>", subject=f"subject {number}")).code == 240
    server.remove("<3@x.y>")
    return client


def test_articles_are_found_by_number_as_by_id(filled: Client) -> None:
    assert filled.ask("GROUP", GROUP).text == f"4 1 5 {GROUP}"
    assert filled.ask("STAT").text == "1 <1@x.y>"
    assert filled.ask("STAT", "4").text == "4 <4@x.y>"
    assert filled.ask("HEAD").text == "4 <4@x.y>"
    assert b"Subject: subject 4" in filled.block()
    assert filled.code("STAT", "3") == 423
    assert filled.code("STAT", "99") == 423
    assert filled.code("STAT", "x") == 501
    assert filled.ask("BODY", "5").text == "5 <5@x.y>"
    assert decode_body(filled.block()) == b"content"


def test_next_and_last_walk_over_the_gap(filled: Client) -> None:
    filled.ask("GROUP", GROUP)
    walked = [filled.ask("NEXT").text.split()[0] for _ in range(3)]
    assert walked == ["2", "4", "5"]
    assert filled.code("NEXT") == 421
    assert filled.ask("LAST").text == "4 <4@x.y>"
    filled.ask("STAT", "1")
    assert filled.code("LAST") == 422


def test_without_a_group_numbers_mean_nothing(filled: Client) -> None:
    for command in ("STAT 1", "STAT", "NEXT", "LAST", "OVER 1-", "LISTGROUP", "HDR Subject 1"):
        assert filled.code(command) == 412, command


def test_an_empty_group_exists_if_its_name_fits(client: Client) -> None:
    assert client.ask("GROUP", "alt.empty").text == "0 1 0 alt.empty"
    assert client.code("STAT") == 420
    assert client.code("NEXT") == 420
    assert client.code("OVER", "1-") == 423
    assert client.code("GROUP", "comp.lang.python") == 411
    assert client.code("GROUP") == 501


def test_listgroup_gives_numbers(filled: Client) -> None:
    assert filled.code("LISTGROUP", GROUP) == 211
    assert filled.lines() == ["1", "2", "4", "5"]
    assert filled.code("LISTGROUP", GROUP, "2-4") == 211
    assert filled.lines() == ["2", "4"]
    assert filled.code("LISTGROUP", GROUP, "x-4") == 501


@pytest.mark.parametrize("command", ["OVER", "XOVER"])
def test_overview_has_its_seven_fields(filled: Client, command: str) -> None:
    filled.ask("GROUP", GROUP)
    assert filled.code(command, "4-") == 224
    first, second = (line.split("\t") for line in filled.lines())
    assert first[:3] == ["4", "subject 4", "poster <p@q.example>"]
    assert first[4:6] == ["<4@x.y>", ""]
    assert first[7] == "3"
    assert second[0] == "5"
    assert filled.code(command, "3") == 423
    filled.ask("STAT", "2")
    assert filled.code(command) == 224
    assert filled.lines()[0].startswith("2\t")


def test_overview_is_given_by_message_id(filled: Client) -> None:
    assert filled.code("OVER", "<2@x.y>") == 224
    assert filled.lines()[0].startswith("0\tsubject 2\t")
    assert filled.code("OVER", "<none@x.y>") == 430


def test_hdr_and_xhdr_give_one_field(filled: Client) -> None:
    filled.ask("GROUP", GROUP)
    assert filled.code("HDR", "Subject", "1-2") == 225
    assert filled.lines() == ["1 subject 1", "2 subject 2"]
    assert filled.code("XHDR", "message-id", "<5@x.y>") == 221
    assert filled.lines() == ["0 <5@x.y>"]
    assert filled.code("HDR", ":lines", "1") == 225
    assert filled.lines() == ["1 3"]
    assert filled.code("HDR", "X-Odd", "1") == 503
    assert filled.code("HDR") == 501


def test_lists(filled: Client) -> None:
    filled.post(an_article("<b@x.y>", group="alt.other"))
    assert filled.code("LIST") == 215
    assert filled.lines() == [f"{GROUP} 5 1 y", "alt.other 1 1 y"]
    assert filled.code("LIST", "active", "alt.o*") == 215
    assert filled.lines() == ["alt.other 1 1 y"]
    assert filled.code("LIST", "NEWSGROUPS") == 215
    assert [line.split("\t")[0] for line in filled.lines()] == [GROUP, "alt.other"]
    assert filled.code("LIST", "OVERVIEW.FMT") == 215
    assert filled.lines() == ["Subject:", "From:", "Date:", "Message-ID:", "References:", ":bytes", ":lines"]
    assert filled.code("LIST", "HEADERS") == 215
    assert "Subject" in filled.lines()
    assert filled.code("LIST", "FOO") == 501


def test_an_article_gets_a_path_a_date_and_an_id_if_it_has_none(client: Client) -> None:
    wire = b"From: a@b.example\r\nNewsgroups: alt.a\r\nSubject: s\r\n\r\nhello\r\n.\r\n"
    reply = client.post(wire)
    message_id = reply.text.split()[-1]
    assert client.code("HEAD", message_id) == 221
    fields = [line.split(":")[0] for line in client.lines()]
    assert fields == ["Path", "Date", "Message-ID", "From", "Newsgroups", "Subject"]


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (b"From: a@b.c\r\nNewsgroups: comp.x\r\nSubject: s\r\n\r\nx\r\n", "No valid newsgroups"),
        (b"Newsgroups: alt.x\r\nSubject: s\r\n\r\nx\r\n", "From"),
        (b"From: a@b.c\r\nSubject: s\r\n\r\nx\r\n", "Newsgroups"),
        (b"From: a@b.c\r\nNewsgroups: alt.x\r\n\r\nx\r\n", "Subject"),
        (b"From: a@b.c\r\nFrom: a@b.c\r\nNewsgroups: alt.x\r\nSubject: s\r\n\r\nx\r\n", "two From"),
        (b"From: a@b.c\r\nNewsgroups: alt.x\r\nSubject: s\r\n", "no body"),
        (b"From: a@b.c\r\nNewsgroups: alt.x\r\nSubject: s\r\nMessage-ID: x1\r\n\r\nx\r\n", "message-id"),
        (b"hello\r\n\r\nx\r\n", "headers"),
        (b"", "no body"),
    ],
)
def test_a_bad_article_is_refused_with_a_reason_and_the_dialogue_goes_on(
    client: Client, wire: bytes, said: str
) -> None:
    reply = client.post(wire + b".\r\n")
    assert reply.code == 441
    assert said in reply.text
    assert client.code("DATE") == 111


def test_a_folded_header_is_one_header(client: Client) -> None:
    wire = (
        b"From: a@b.c\r\nNewsgroups: alt.x\r\nSubject: one\r\n two\r\nMessage-ID: <f@x.y>\r\n\r\nx\r\n.\r\n"
    )
    assert client.post(wire).code == 240
    assert client.code("HDR", "Subject", "<f@x.y>") == 225
    assert client.lines() == ["0 one two"]


def test_an_article_too_large_is_refused_and_the_dialogue_goes_on(tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, max_article_bytes=10_000) as server, Client(server.address) as client:
        assert client.post(an_article("<big@x.y>", bytes(300_000))).code == 441
        assert client.post(an_article("<fits@x.y>", bytes(5_000))).code == 240
        assert server.message_ids() == ["<fits@x.y>"]


def test_an_article_sent_without_waiting_is_taken_in_order(client: Client) -> None:
    articles = [an_article(f"<{n}@x.y>", bytes(30_000)) for n in range(5)]
    for article in articles:
        client.socket.sendall(b"POST\r\n" + b"".join(article.parts))
    assert [client.reply().code for _ in range(10)] == [340, 240] * 5


@pytest.mark.parametrize("line", ["FOO", "STAT \0", "STAT " + "x" * 600, "X" * 100_000])
def test_nonsense_is_answered_and_the_dialogue_goes_on(client: Client, line: str) -> None:
    assert client.code(line) in (500, 501)
    assert client.code("DATE") == 111


def test_an_empty_line_is_passed_over(client: Client) -> None:
    client.send("", "DATE")
    assert client.reply().code == 111


def test_what_may_be_asked_before_login(tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, users={"u": "p q"}) as server, Client(server.address) as client:
        for command in ("STAT <a@b>", "GROUP alt.a", "POST", "LIST", "OVER 1-", "BODY <a@b>"):
            assert client.code(command) == 480, command
        assert client.code("MODE READER") == 200
        assert client.code("DATE") == 111
        assert client.code("AUTHINFO PASS x") == 482
        assert client.code("AUTHINFO SASL PLAIN") == 501
        assert client.login("nobody", "p q").code == 481
        assert client.login("u", "wrong").code == 481
        assert client.code("AUTHINFO PASS x") == 482
        assert client.login("u", "p q").code == 281
        assert client.login("u", "p q").code == 502
        assert client.post(an_article("<a@b.c>")).code == 240


def test_a_reader_may_not_post(tmp_path: Path) -> None:
    users = {"test": "secret", "ro": "secret"}
    with LoopbackServer(tmp_path, users=users, read_only=["ro"]) as server, Client(server.address) as client:
        client.login("ro")
        assert client.code("POST") == 440
        assert client.code("STAT", "<a@b>") == 430


def test_posts_offers_and_commands_are_counted(server: LoopbackServer, client: Client) -> None:
    article = an_article("<a@b.c>")
    client.post(article)
    client.post(article)
    assert server.counters.posts == {MessageId("<a@b.c>"): 1}
    assert server.counters.offers == {MessageId("<a@b.c>"): 2}
    assert server.counters.commands == {"POST": 2}
    assert (server.counters.connections, server.counters.connections_max) == (1, 1)
