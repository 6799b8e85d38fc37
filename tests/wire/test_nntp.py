"""Replies, commands and blocks survive any chunking, and nothing from a peer is read without a bound."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded, UsageError
from usenetsyncd.wire.nntp import (
    MAX_COMMAND_LINE_BYTES,
    MAX_REPLY_LINE_BYTES,
    Command,
    CommandReader,
    Reply,
    ReplyReader,
    command,
    dot_stuff,
    dot_unstuff,
)

lines = st.lists(st.binary(max_size=40).map(lambda line: line.translate(None, b"\r\n")), max_size=12)
blocks = lines.map(lambda found: b"".join(line + b"\r\n" for line in found))
dotty = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a.", b"...", b"x" * 200]), max_size=30)
dotty_blocks = dotty.map(lambda found: b"".join(line + b"\r\n" for line in found))


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    return [wire[a:b] for a, b in itertools.pairwise(places)]


def put(reader: ReplyReader | CommandReader, piece: bytes, by_room: bool) -> None:
    if not by_room:
        reader.feed(piece)
        return
    room = reader.room(len(piece) or 1)
    room[: len(piece)] = piece
    reader.filled(len(piece))


@given(
    st.lists(blocks | dotty_blocks, min_size=1, max_size=5), st.lists(st.integers(0, 10_000)), st.booleans()
)
def test_pipelined_blocks_come_out_whole_however_they_are_cut(
    contents: list[bytes], cuts: list[int], by_room: bool
) -> None:
    wire = b"".join(b"222 0 <a@b>\r\n" + dot_stuff(content) + b".\r\n" for content in contents)
    reader, taken, in_block = ReplyReader(), [], False
    for piece in pieces(wire, cuts):
        put(reader, piece, by_room)
        while True:
            if in_block:
                block = reader.next_block()
                if block is None:
                    break
                taken.append(dot_unstuff(block))
                in_block = False
            else:
                reply = reader.next_reply()
                if reply is None:
                    break
                assert reply == Reply(222, "0 <a@b>")
                reader.expect_block(10_000)
                in_block = True
    assert taken == contents
    assert reader.pending_bytes == 0


def test_large_blocks_pass_through_a_small_buffer_in_order() -> None:
    bodies = [bytes([65 + n]) * 126 + b"\r\n" for n in range(9)]
    contents = [line * 6_500 for line in bodies]
    wire = b"".join(b"222 x\r\n" + content + b".\r\n" for content in contents)
    reader, taken = ReplyReader(), []
    for at in range(0, len(wire), 50_000):
        reader.feed(memoryview(wire)[at : at + 50_000])
        while True:
            if not reader.expects_block:
                if reader.next_reply() is None:
                    break
                reader.expect_block(1_000_000)
            block = reader.next_block()
            if block is None:
                break
            taken.append(block)
    assert taken == contents


@pytest.mark.parametrize("cut", range(1, 14))
def test_an_empty_block_is_found_wherever_it_is_cut(cut: int) -> None:
    wire = b"222 x\r\n.\r\n205\r\n"
    reader = ReplyReader()
    reader.feed(wire[:cut])
    reply = reader.next_reply()
    if reply is None:
        reader.feed(wire[cut:])
        cut = len(wire)
        assert reader.next_reply() == Reply(222, "x")
    reader.expect_block(10)
    block = reader.next_block()
    if block is None:
        reader.feed(wire[cut:])
        cut = len(wire)
        block = reader.next_block()
    assert block == b""
    reader.feed(wire[cut:])
    assert reader.next_reply() == Reply(205, "")


def test_a_code_without_text_is_a_reply() -> None:
    reader = ReplyReader()
    reader.feed(b"223\r\n200 \r\n")
    assert reader.next_reply() == Reply(223, "")
    assert reader.next_reply() == Reply(200, "")
    assert reader.next_reply() is None


def test_reply_text_that_is_not_utf8_is_escaped() -> None:
    reader = ReplyReader()
    reader.feed(b"200 gr\xfc\xdf\r\n")
    assert reader.next_reply() == Reply(200, "gr\\xfc\\xdf")


@pytest.mark.parametrize(
    "line",
    [b"", b"20", b"2OO ok", b"099 low", b"600 high", b"2000 long", b"-12 x", b"\xff\xfe\xfd", b"200-go"],
)
def test_what_is_no_reply_is_a_format_error(line: bytes) -> None:
    reader = ReplyReader()
    reader.feed(line + b"\r\n")
    with pytest.raises(FormatError):
        reader.next_reply()


def test_an_endless_reply_line_is_refused_at_the_limit_and_not_later() -> None:
    reader = ReplyReader()
    reader.feed(b"200 " + b"x" * (MAX_REPLY_LINE_BYTES - 6))
    assert reader.next_reply() is None
    reader.feed(b"x")
    with pytest.raises(LimitExceeded):
        reader.next_reply()


def test_the_longest_reply_line_is_read() -> None:
    reader = ReplyReader()
    reader.feed(b"200 " + b"x" * (MAX_REPLY_LINE_BYTES - 6) + b"\r\n")
    reply = reader.next_reply()
    assert reply is not None
    assert len(reply.text) == MAX_REPLY_LINE_BYTES - 6


@pytest.mark.parametrize("size", [0, 2, 100])
def test_a_block_may_fill_its_limit_but_not_pass_it(size: int) -> None:
    content = b"x" * (size - 2) + b"\r\n" if size else b""
    reader = ReplyReader()
    reader.expect_block(size)
    reader.feed(content + b".\r\n")
    assert reader.next_block() == content
    reader.expect_block(size)
    reader.feed(b"x" + content + b"\r\n.\r\n")
    with pytest.raises(LimitExceeded):
        reader.next_block()


def test_a_block_that_never_ends_is_refused_at_its_limit() -> None:
    reader = ReplyReader()
    reader.expect_block(100_000)
    for _ in range(10):
        reader.feed(b"x" * 9_998 + b"\r\n")
        assert reader.next_block() is None
    reader.feed(b"xxx")
    with pytest.raises(LimitExceeded):
        reader.next_block()


def test_bytes_that_came_too_early_are_seen() -> None:
    reader = ReplyReader()
    reader.feed(b"382 go\r\n200 smuggled\r\n")
    reader.next_reply()
    assert reader.pending_bytes == len(b"200 smuggled\r\n")


def test_a_reader_is_not_asked_for_the_wrong_thing() -> None:
    reader = ReplyReader()
    with pytest.raises(RuntimeError):
        reader.next_block()
    reader.expect_block(1)
    with pytest.raises(RuntimeError):
        reader.next_reply()
    with pytest.raises(ValueError, match="do not fit"):
        reader.filled(1 << 40)


# -- the server's side -----------------------------------------------------------------------


@given(st.lists(st.integers(0, 1000)), st.booleans())
def test_commands_and_articles_come_out_whole_however_they_are_cut(cuts: list[int], by_room: bool) -> None:
    wire = b"mode reader\r\n\r\nPOST\r\nA: b\r\n\r\n..x\r\n.\r\nAUTHINFO PASS two  words\r\nQUIT\r\n"
    reader, taken = CommandReader(), []
    for piece in pieces(wire, cuts):
        put(reader, piece, by_room)
        while True:
            found = reader.next_block() if reader.expects_block else reader.next_command()
            if found is None:
                break
            taken.append(found)
            if isinstance(found, Command) and found.verb == "POST":
                reader.expect_block(1000)
    assert taken == [
        Command("MODE", ("reader",), "reader"),
        Command("POST", (), ""),
        b"A: b\r\n\r\n..x\r\n",
        Command("AUTHINFO", ("PASS", "two", "words"), "PASS two  words"),
        Command("QUIT", (), ""),
    ]


@given(st.integers(MAX_COMMAND_LINE_BYTES - 6, 3000), st.integers(1, 700))
def test_a_command_line_too_long_is_refused_once_and_the_next_one_read(length: int, piece: int) -> None:
    wire = b"STAT " + b"x" * length + b"\r\nDATE\r\n"
    reader, refused, taken = CommandReader(), 0, []
    for at in range(0, len(wire), piece):
        reader.feed(wire[at : at + piece])
        while True:
            try:
                found = reader.next_command()
            except LimitExceeded:
                refused += 1
                continue
            if found is None:
                break
            taken.append(found.verb)
    assert refused == 1
    assert taken == ["DATE"]


@given(st.integers(200, 3000), st.integers(1, 400), st.sampled_from([b"x", b".\r\n.x", b"\r\n..", b"."]))
@settings(max_examples=200)
def test_an_article_too_long_is_thrown_away_and_the_next_command_read(
    size: int, piece: int, filling: bytes
) -> None:
    article = dot_stuff((filling * size)[:size].replace(b"\r\n.\r\n", b"12345") + b"\r\n")
    wire = article + b".\r\nDATE\r\n"
    reader, seen = CommandReader(), []
    reader.expect_block(100)
    for at in range(0, len(wire), piece):
        reader.feed(wire[at : at + piece])
        while True:
            try:
                found = reader.next_block() if reader.expects_block else reader.next_command()
            except LimitExceeded:
                seen.append("too long")
                continue
            if found is None:
                break
            seen.append(found.verb if isinstance(found, Command) else "block")
        assert reader.pending_bytes <= 110
    assert seen == ["too long", "DATE"]


def test_a_command_with_nul_is_refused() -> None:
    reader = CommandReader()
    reader.feed(b"STAT <a\0b>\r\n")
    with pytest.raises(FormatError):
        reader.next_command()


def test_a_command_is_one_line() -> None:
    assert command("STAT", "<a@b>") == b"STAT <a@b>\r\n"
    assert command("AUTHINFO", "PASS", "grüße") == "AUTHINFO PASS grüße\r\n".encode()


@pytest.mark.parametrize("argument", ["a\r\nQUIT", "a\rb", "a\nb", "a\0b", "", "x" * 506])
def test_an_argument_that_would_leave_its_line_is_refused_without_being_shown(argument: str) -> None:
    with pytest.raises(UsageError) as refused:
        command("STAT", argument)
    assert len(argument) < 2 or argument not in str(refused.value)


def test_the_longest_command_line_is_made() -> None:
    assert len(command("STAT", "x" * 505)) == MAX_COMMAND_LINE_BYTES


@given(blocks | dotty_blocks)
def test_dot_stuffing_is_undone(content: bytes) -> None:
    stuffed = dot_stuff(content)
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    assert dot_unstuff(stuffed) == content
