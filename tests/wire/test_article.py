"""An article is four headers and one yEnc part, and comes back whatever it carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded, UsageError
from usenetsyncd.model import MessageId
from usenetsyncd.wire.article import (
    MAX_BODY_BYTES,
    ArticleName,
    build_article,
    check_message_id,
    decode_body,
)
from usenetsyncd.wire.nntp import ReplyReader

NAME = ArticleName(MessageId("<abc123@def.example>"), "hk2l 39ax", "qwe <asd@zxc.example>", "k3j4h5.bin")
GROUPS = ("alt.binaries.test", "alt.binaries.backup")


def renamed(**changes: str) -> ArticleName:
    was = {field: getattr(NAME, field) for field in ("message_id", "subject", "poster", "file_name")}
    return ArticleName(**{**was, **changes})  # type: ignore[arg-type]


def test_the_headers_are_these_four_in_this_order() -> None:
    article = build_article(NAME, GROUPS, b"content")
    headers, _, body = article.block().partition(b"\r\n\r\n")
    assert headers.split(b"\r\n") == [
        b"From: qwe <asd@zxc.example>",
        b"Newsgroups: alt.binaries.test,alt.binaries.backup",
        b"Subject: hk2l 39ax",
        b"Message-ID: <abc123@def.example>",
    ]
    assert body.startswith(b"=ybegin line=128 size=7 name=k3j4h5.bin\r\n")


@given(st.binary(max_size=2_000), st.integers(1, 700), st.booleans())
def test_any_body_survives_the_wire(body: bytes, piece: int, whole_article: bool) -> None:
    article = build_article(NAME, GROUPS, memoryview(body))
    sent = b"".join(article.parts)
    assert article.size_bytes == len(sent)
    if not whole_article:
        sent = sent.partition(b"\r\n\r\n")[2]
    wire = b"222 0 <abc123@def.example>\r\n" + sent
    reader, block = ReplyReader(), None
    for at in range(0, len(wire), piece):
        reader.feed(wire[at : at + piece])
        if not reader.expects_block and reader.next_reply():
            reader.expect_block(MAX_BODY_BYTES)
        if reader.expects_block:
            block = reader.next_block()
    assert block is not None
    assert decode_body(block) == body


def test_every_line_ends_with_crlf_and_the_last_one_is_a_dot() -> None:
    sent = b"".join(build_article(NAME, GROUPS, bytes(range(256)) * 300).parts)
    assert sent.endswith(b"\r\n.\r\n")
    assert sent.count(b"\n") == sent.count(b"\r") == sent.count(b"\r\n")
    assert b"\r\n." not in sent.removesuffix(b".\r\n")


def test_headers_that_servers_add_do_not_disturb() -> None:
    block = build_article(NAME, GROUPS, b"content").block()
    more = b"Path: a!b!not-for-mail\r\nX-Trace: =ybegin line=1\r\n\tfolded\r\n" + block
    assert decode_body(more) == b"content"


@pytest.mark.parametrize("field", ["subject", "poster", "file_name", "message_id"])
@pytest.mark.parametrize(
    "bad", ["", "a\r\nX: y", "a\nb", "a\rb", "a\0b", "grün", " a", "a ", "a\x7f", "x" * 1_000]
)
def test_a_header_value_that_is_not_plain_is_refused(field: str, bad: str) -> None:
    with pytest.raises((UsageError, FormatError)):
        build_article(renamed(**{field: bad}), GROUPS, b"content")


@pytest.mark.parametrize(
    "groups", [(), ("",), ("alt.x,alt.y",), ("alt..x",), ("alt.x\r\n",), ("alt x",), ("ält.x",)]
)
def test_a_newsgroup_that_is_none_is_refused(groups: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        build_article(NAME, groups, b"content")


@pytest.mark.parametrize("good", ["<a@b>", "<a.b$c%d@x-y.example>", "<" + "a" * 240 + "@b.cdefg>"])
def test_a_message_id_is_accepted(good: str) -> None:
    assert check_message_id(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a@b",
        "<a@b",
        "<ab>",
        "<a@>",
        "<@b>",
        "<a b@c>",
        "<a@b@c>",
        "<a@b>\n",
        "<<a@b>>",
        "<" + "a" * 250 + "@b>",
    ],
)
def test_what_is_no_message_id_is_refused(bad: str) -> None:
    with pytest.raises(FormatError):
        check_message_id(bad)


def test_a_body_over_the_limit_is_refused_both_ways() -> None:
    with pytest.raises(UsageError):
        build_article(NAME, GROUPS, bytes(MAX_BODY_BYTES + 1))
    with pytest.raises(LimitExceeded):
        decode_body(build_article(NAME, GROUPS, bytes(1_001)).block(), limit_bytes=1_000)


def test_the_longest_body_comes_back() -> None:
    body = bytes(range(256)) * (MAX_BODY_BYTES // 256)
    assert decode_body(build_article(NAME, GROUPS, body).block()) == body


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\r\n",
        b"Subject: x\r\n",
        b"Subject: x\r\n\r\n",
        b"Subject: x\r\n\r\nhello\r\n",
        b"a\r\n\r\n" + b"x" * 20_000,
    ],
)
def test_an_article_that_is_not_ours_is_a_format_error(block: bytes) -> None:
    with pytest.raises(FormatError):
        decode_body(block)


def test_headers_without_an_end_are_not_searched_for_ever() -> None:
    block = build_article(NAME, GROUPS, b"content").block()
    with pytest.raises(FormatError):
        decode_body(b"X: y\r\n" * 4_000 + block)


@given(st.binary(max_size=500))
def test_any_bytes_at_all_give_a_format_error(junk: bytes) -> None:
    with pytest.raises(FormatError):
        decode_body(junk)
