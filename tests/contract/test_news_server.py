"""What every news server does for us. Held against the embedded server and against INN alike.

Where the two may differ (texts, capabilities beyond ours), nothing is asserted. Sources: RFC 3977, 4642, 4643.
"""

import itertools
import os
import re
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.conftest import NewsServer
from tests.loopback.client import GROUP, Client, an_article
from usenetsyncd.wire.article import decode_body
from usenetsyncd.wire.nntp import dot_stuff, dot_unstuff

ABSENT = "<never-posted@contract.example>"
_numbers = itertools.count()


def new_id() -> str:
    """A message-id that no run has used before."""
    return f"<{os.getpid()}.{time.time_ns()}.{next(_numbers)}@contract.example>"


def posted(client: Client, body: bytes = b"content", **more: str) -> str:
    """The message-id of an article that was posted just now and can be read."""
    message_id = new_id()
    assert client.post(an_article(message_id, body, **more)).code == 240
    await_present(client, message_id)
    return message_id


def await_present(client: Client, message_id: str) -> None:
    deadline = time.monotonic() + 10
    while client.code("STAT", message_id) != 223:
        assert time.monotonic() < deadline, f"{message_id} does not appear"
        time.sleep(0.02)


# -- the beginning ---------------------------------------------------------------------------


def test_the_greeting_is_200_or_201(visitor: Client) -> None:
    assert visitor.greeting.code in (200, 201)


def test_mode_reader_is_answered_like_a_greeting(visitor: Client) -> None:
    assert visitor.code("MODE READER") in (200, 201)


def test_capabilities_before_login_say_how_to_log_in(visitor: Client) -> None:
    assert visitor.code("CAPABILITIES") == 101
    lines = visitor.lines()
    assert lines[0] == "VERSION 2"
    assert "STARTTLS" in lines
    assert any(line.startswith("AUTHINFO") and "USER" in line.split() for line in lines)


def test_capabilities_after_login_say_what_there_is(reader: Client) -> None:
    assert reader.code("CAPABILITIES") == 101
    lines = reader.lines()
    assert {"VERSION 2", "READER", "POST", "HDR"} <= set(lines)
    assert any(line.split()[0] == "OVER" for line in lines)
    assert "STARTTLS" not in lines
    assert not any(line.startswith("AUTHINFO") and "USER" in line.split() for line in lines)


def test_commands_are_read_in_any_case(visitor: Client) -> None:
    assert visitor.code("date") == 111
    assert visitor.code("Mode Reader") in (200, 201)


# -- login -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["POST", f"GROUP {GROUP}", f"STAT {ABSENT}", f"BODY {ABSENT}", "LIST ACTIVE"]
)
def test_before_login_everything_that_matters_gets_480(visitor: Client, command: str) -> None:
    assert visitor.code(command) == 480


def test_a_login_succeeds_in_two_steps(visitor: Client) -> None:
    assert visitor.code("AUTHINFO USER test") == 381
    assert visitor.code("AUTHINFO PASS secret") == 281
    assert visitor.code("STAT", ABSENT) == 430


@pytest.mark.parametrize(("user", "password"), [("test", "wrong"), ("nobody", "secret")])
def test_a_wrong_login_gets_481_and_another_try(visitor: Client, user: str, password: str) -> None:
    assert visitor.login(user, password).code == 481
    assert visitor.code("STAT", ABSENT) == 480
    assert visitor.login().code == 281


def test_a_password_without_a_user_gets_482(visitor: Client) -> None:
    assert visitor.code("AUTHINFO PASS secret") == 482


def test_a_second_login_gets_502(reader: Client) -> None:
    assert reader.code("AUTHINFO USER test") == 502


# -- groups ----------------------------------------------------------------------------------


def test_group_gives_count_low_high_and_name(reader: Client) -> None:
    posted(reader)
    reply = reader.ask("GROUP", GROUP)
    assert reply.code == 211
    count, low, high, name = reply.text.split()[:4]
    assert int(count) >= 1
    assert 1 <= int(low) <= int(high)
    assert name == GROUP


def test_a_group_that_does_not_exist_gets_411(reader: Client) -> None:
    assert reader.code("GROUP", "no.such.group") == 411


def test_list_active_names_the_group(reader: Client) -> None:
    posted(reader)
    assert reader.code("LIST", "ACTIVE", GROUP) == 215
    (line,) = reader.lines()
    name, high, low, status = line.split()
    assert (name, status) == (GROUP, "y")
    assert int(high) >= int(low) >= 1


def test_list_overview_fmt_begins_with_the_seven_fields(reader: Client) -> None:
    assert reader.code("LIST", "OVERVIEW.FMT") == 215
    fields = [line.lower().strip(":") for line in reader.lines()]
    assert fields[:7] == ["subject", "from", "date", "message-id", "references", "bytes", "lines"]


# -- posting ---------------------------------------------------------------------------------


def test_post_gets_340_and_then_240(reader: Client) -> None:
    article = an_article(new_id())
    assert reader.code("POST") == 340
    reader.socket.sendmsg(article.parts)
    reply = reader.reply()
    assert reply.code == 240
    named = re.search(r"<[^>]*>", reply.text)
    assert named is None or named[0] == article.name.message_id


def test_an_id_that_is_there_already_gets_441_435(reader: Client) -> None:
    message_id = posted(reader)
    reply = reader.post(an_article(message_id, b"something else"))
    assert reply.code == 441
    assert reply.text.startswith("435")
    assert reader.code("BODY", message_id) == 222
    assert decode_body(reader.block()) == b"content"


def test_an_id_is_never_taken_again_even_after_its_article_was_lost(
    news_server: NewsServer, reader: Client
) -> None:
    message_id = posted(reader)
    news_server.lose(message_id)
    assert reader.code("STAT", message_id) == 430
    assert reader.code("BODY", message_id) == 430
    reply = reader.post(an_article(message_id))
    assert (reply.code, reply.text[:3]) == (441, "435")
    assert reader.code("STAT", message_id) == 430


@pytest.mark.parametrize(
    "old",
    [b"Subject: a subject\r\n", b"From: poster <p@q.example>\r\n", b"Newsgroups: alt.binaries.test\r\n"],
)
def test_an_article_without_a_required_header_gets_441(reader: Client, old: bytes) -> None:
    wire = b"".join(an_article(new_id()).parts)
    assert old in wire
    assert reader.post(wire.replace(old, b"")).code == 441
    assert reader.code("DATE") == 111


def test_an_article_for_no_known_group_gets_441(reader: Client) -> None:
    message_id = new_id()
    assert reader.post(an_article(message_id, group="no.such.group")).code == 441
    assert reader.code("STAT", message_id) == 430


def test_an_article_posted_to_two_groups_is_in_both(reader: Client) -> None:
    article = b"".join(an_article(new_id()).parts)
    both = article.replace(
        b"Newsgroups: alt.binaries.test", b"Newsgroups: alt.binaries.test,alt.binaries.backup"
    )
    before = int(reader.ask("GROUP", "alt.binaries.backup").text.split()[2])
    assert reader.post(both).code == 240
    deadline = time.monotonic() + 10
    while int(reader.ask("GROUP", "alt.binaries.backup").text.split()[2]) != before + 1:
        assert time.monotonic() < deadline, "it does not appear in the second group"
        time.sleep(0.02)


def test_an_article_may_follow_its_post_without_waiting_for_340(reader: Client) -> None:
    articles = [an_article(new_id(), os.urandom(5_000)) for _ in range(4)]
    reader.socket.sendall(b"".join(b"POST\r\n" + b"".join(article.parts) for article in articles))
    assert [reader.reply().code for _ in range(8)] == [340, 240] * 4


# -- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "code"), [("STAT", 223), ("HEAD", 221), ("BODY", 222), ("ARTICLE", 220)])
def test_an_article_is_found_by_its_id(reader: Client, verb: str, code: int) -> None:
    message_id = posted(reader)
    reply = reader.ask(verb, message_id)
    assert reply.code == code
    assert reply.text.split()[:2] == ["0", message_id]
    if verb != "STAT":
        reader.block()
    assert reader.code("DATE") == 111


@pytest.mark.parametrize("verb", ["STAT", "HEAD", "BODY", "ARTICLE"])
def test_an_article_that_is_not_there_gets_430(reader: Client, verb: str) -> None:
    assert reader.code(verb, ABSENT) == 430


@pytest.mark.parametrize("verb", ["STAT", "HEAD", "BODY", "ARTICLE"])
def test_a_number_without_a_group_gets_412(reader: Client, verb: str) -> None:
    assert reader.code(verb, "1") == 412


@pytest.mark.parametrize("verb", ["STAT", "HEAD", "BODY", "ARTICLE"])
def test_a_number_that_is_not_there_gets_423(reader: Client, verb: str) -> None:
    posted(reader)
    reader.ask("GROUP", GROUP)
    assert reader.code(verb, "999999999") == 423


def test_head_has_our_four_headers_unchanged(reader: Client) -> None:
    message_id = posted(reader, subject="qx7 hm2k")
    assert reader.code("HEAD", message_id) == 221
    lines = reader.lines()
    for expected in (
        "From: poster <p@q.example>",
        f"Newsgroups: {GROUP}",
        "Subject: qx7 hm2k",
        f"Message-ID: {message_id}",
    ):
        assert expected in lines
    assert "" not in lines


def test_article_is_head_and_body_with_an_empty_line_between(reader: Client) -> None:
    message_id = posted(reader)
    blocks = {}
    for verb in ("HEAD", "BODY", "ARTICLE"):
        assert reader.code(verb, message_id) // 10 == 22
        blocks[verb] = reader.block()
    assert blocks["ARTICLE"] == blocks["HEAD"] + b"\r\n" + blocks["BODY"]
    assert decode_body(blocks["ARTICLE"]) == decode_body(blocks["BODY"]) == b"content"


@pytest.mark.parametrize("size", [1, 127, 128, 129, 50_000, 768_048])
def test_a_body_comes_back_byte_for_byte(reader: Client, size: int) -> None:
    body = os.urandom(size)
    article = an_article(new_id(), body)
    assert reader.post(article).code == 240
    await_present(reader, article.name.message_id)
    assert reader.code("BODY", article.name.message_id) == 222
    block = reader.block()
    assert block == article.block().partition(b"\r\n\r\n")[2]
    assert decode_body(block) == body


def test_an_article_of_800_kb_on_the_wire_passes(reader: Client) -> None:
    body = os.urandom(780_000)
    message_id = posted(reader, body)
    assert reader.code("ARTICLE", message_id) == 220
    block = reader.block()
    assert len(block) > 800_000
    assert decode_body(block) == body


def test_lines_that_begin_with_dots_survive(reader: Client) -> None:
    message_id = new_id()
    body = b".\r\n..\r\n...\r\n.x\r\nx.\r\n\r\n.\r\n" + b"." * 700 + b"\r\nend\r\n"
    head = an_article(message_id).block().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert reader.post(head + dot_stuff(body) + b".\r\n").code == 240
    await_present(reader, message_id)
    assert reader.code("BODY", message_id) == 222
    assert dot_unstuff(reader.block()) == body


def test_every_byte_but_nul_and_line_ends_survives(reader: Client) -> None:
    message_id = new_id()
    line = bytes(byte for byte in range(1, 256) if byte not in b"\r\n")
    head = an_article(message_id).block().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert reader.post(head + line + b"\r\n.\r\n").code == 240
    await_present(reader, message_id)
    assert reader.code("BODY", message_id) == 222
    assert reader.block() == line + b"\r\n"


def test_pipelined_stat_is_answered_in_order(reader: Client) -> None:
    present = [posted(reader) for _ in range(3)]
    asked = [present[n % 3] if n % 2 else ABSENT for n in range(300)]
    reader.socket.sendall(b"".join(f"STAT {message_id}\r\n".encode() for message_id in asked))
    for message_id in asked:
        reply = reader.reply()
        assert reply.code == (430 if message_id == ABSENT else 223)
        if message_id != ABSENT:
            assert reply.text.split()[1] == message_id


def test_pipelined_bodies_come_in_order(reader: Client) -> None:
    bodies = [os.urandom(60_000) for _ in range(6)]
    ids = [posted(reader, body) for body in bodies]
    asked = [*ids[:3], ABSENT, *ids[3:]]
    reader.socket.sendall(b"".join(f"BODY {message_id}\r\n".encode() for message_id in asked))
    received = []
    for message_id in asked:
        reply = reader.reply()
        if message_id == ABSENT:
            assert reply.code == 430
            continue
        assert reply.code == 222
        received.append(decode_body(reader.block()))
    assert received == bodies


# -- by number, and overview -------------------------------------------------------------------


def test_an_article_is_found_by_its_number(reader: Client) -> None:
    message_id = posted(reader)
    number = number_of(reader, message_id)
    reply = reader.ask("STAT", number)
    assert (reply.code, *reply.text.split()[:2]) == (223, number, message_id)
    assert reader.ask("STAT").text.split()[1] == message_id
    assert reader.code("BODY", number) == 222
    assert decode_body(reader.block()) == b"content"


def number_of(reader: Client, message_id: str) -> str:
    """The number of an article in GROUP, which is selected afterwards; waits for the overview to have it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        _, low, high = (int(part) for part in reader.ask("GROUP", GROUP).text.split()[:3])
        if reader.code("OVER", f"{max(low, high - 5)}-") == 224:
            for line in reader.lines():
                number, *fields = line.split("\t")
                if fields[3] == message_id:
                    return number
        time.sleep(0.05)
    raise AssertionError(f"{message_id} does not appear in the overview")


@pytest.mark.parametrize("verb", ["OVER", "XOVER"])
def test_overview_tells_subject_poster_id_and_size(reader: Client, verb: str) -> None:
    message_id = posted(reader, os.urandom(10_000), subject="qx7 hm2k")
    number = number_of(reader, message_id)
    assert reader.code(verb, f"{number}-{number}") == 224
    (line,) = reader.lines()
    found, subject, poster, date, found_id, references, size, lines = line.split("\t")[:8]
    assert (found, subject, found_id, references) == (number, "qx7 hm2k", message_id, "")
    assert poster == "poster <p@q.example>"
    assert str(datetime.now(UTC).year) in date
    assert 10_000 < int(size) < 12_000
    assert 80 <= int(lines) <= 90


def test_overview_without_a_group_gets_412(reader: Client) -> None:
    assert reader.code("OVER", "1-") == 412


def test_overview_of_nothing_gets_423(reader: Client) -> None:
    posted(reader)
    reader.ask("GROUP", GROUP)
    assert reader.code("OVER", "999999990-999999999") == 423


def test_hdr_gives_one_header(reader: Client) -> None:
    message_id = posted(reader, subject="qx7 hm2k")
    assert reader.code("HDR", "Subject", message_id) == 225
    assert reader.lines() == ["0 qx7 hm2k"]
    number = number_of(reader, message_id)
    assert reader.code("XHDR", "Message-ID", number) == 221
    assert reader.lines() == [f"{number} {message_id}"]


# -- the rest ----------------------------------------------------------------------------------


def test_date_is_now_in_utc(visitor: Client) -> None:
    reply = visitor.ask("DATE")
    assert reply.code == 111
    said = datetime.strptime(reply.text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - said) < timedelta(seconds=5)


def test_help_is_a_block(visitor: Client) -> None:
    assert visitor.code("HELP") == 100
    assert visitor.lines()


def test_an_unknown_command_gets_500(reader: Client) -> None:
    assert reader.code("XYZZY") == 500


def test_an_unknown_mode_and_a_missing_argument_get_501(reader: Client) -> None:
    assert reader.code("MODE LAZY") == 501
    assert reader.code("GROUP") == 501


def test_a_line_that_is_too_long_is_refused_and_the_next_one_answered(reader: Client) -> None:
    assert reader.code("STAT", "<" + "x" * 700 + "@y.example>") in (500, 501)
    assert reader.code("DATE") == 111


def test_quit_gets_205_and_the_connection_ends(visitor: Client) -> None:
    assert visitor.code("QUIT") == 205
    assert visitor.is_closed()


# -- TLS ---------------------------------------------------------------------------------------


def test_everything_works_with_tls_from_the_first_byte(news_server: NewsServer) -> None:
    with Client(news_server.tls_address, news_server.trusting()) as client:
        assert client.greeting.code in (200, 201)
        assert client.login().code == 281
        body = os.urandom(768_048)
        message_id = posted(client, body)
        assert client.code("BODY", message_id) == 222
        assert decode_body(client.block()) == body
        assert client.code("QUIT") == 205


def test_starttls_protects_the_login(news_server: NewsServer, visitor: Client) -> None:
    assert visitor.code("STARTTLS") == 382
    assert visitor.reader.pending_bytes == 0
    visitor.start_tls(news_server.trusting())
    assert visitor.code("CAPABILITIES") == 101
    assert "STARTTLS" not in visitor.lines()
    assert visitor.login().code == 281
    assert visitor.code("STAT", posted(visitor)) == 223


def test_starttls_is_refused_after_login_and_inside_tls(news_server: NewsServer, reader: Client) -> None:
    assert reader.code("STARTTLS") == 502
    with Client(news_server.tls_address, news_server.trusting()) as client:
        assert client.code("STARTTLS") == 502


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(news_server: NewsServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(news_server.tls_address, ssl.create_default_context())
