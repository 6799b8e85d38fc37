"""yEnc made by us is what the draft says, and nothing damaged is ever taken for whole."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded, UsageError
from usenetsyncd.wire.nntp import dot_stuff
from usenetsyncd.wire.yenc import decode, encode

LIMIT = 1_572_864
CRITICAL = {0x00, 0x0A, 0x0D, 0x3D}

# Bytes whose encoding is critical, a dot, a tab or a space: where encoders go wrong.
awkward = st.lists(st.sampled_from([214, 224, 227, 19, 4, 223, 246, 0, 65]), max_size=600).map(bytes)
bodies = st.binary(max_size=1_000) | awkward


def block(body: bytes, name: str = "a.bin") -> bytes:
    encoded = encode(body, name)
    return encoded.begin + encoded.lines + encoded.end


def reference_encode(body: bytes, escape_dots: bool) -> bytes:
    """yEnc written from the draft, one byte after the other."""
    lines, line = [], bytearray()
    for byte in body:
        code = (byte + 42) % 256
        escape = code in CRITICAL or (escape_dots and code == 0x2E and not line)
        line += bytes([0x3D, (code + 64) % 256]) if escape else bytes([code])
        if len(line) >= 128:
            lines.append(bytes(line))
            line.clear()
    if line or not lines:
        lines.append(bytes(line))
    return b"\r\n".join(lines)


def reference_decode(wire: bytes) -> bytes:
    decoded, escaped = bytearray(), False
    for line in wire.split(b"\r\n")[1:-2]:
        for code in line.removeprefix(b".") if line.startswith(b"..") else line:
            if escaped:
                decoded.append((code - 64 - 42) % 256)
                escaped = False
            elif code == 0x3D:
                escaped = True
            else:
                decoded.append((code - 42) % 256)
    return bytes(decoded)


@given(bodies)
def test_a_decoder_written_from_the_draft_reads_what_we_write(body: bytes) -> None:
    wire = block(body)
    begin, *_, end, nothing = wire.split(b"\r\n")
    assert begin == b"=ybegin line=128 size=%d name=a.bin" % len(body)
    assert end == b"=yend size=%d crc32=%08x" % (len(body), zlib.crc32(body))
    assert nothing == b""
    assert reference_decode(wire) == body


@given(bodies, st.booleans())
def test_we_read_what_an_encoder_written_from_the_draft_writes(body: bytes, escape_dots: bool) -> None:
    ends = (b"=ybegin line=128 size=%d name=b\r\n", b"\r\n=yend size=%d crc32=%08X\r\n")
    lines = reference_encode(body, escape_dots)
    wire = ends[0] % len(body) + lines + ends[1] % (len(body), zlib.crc32(body))
    assert decode(dot_stuff(wire), LIMIT) == body


@given(bodies)
def test_what_we_write_comes_back(body: bytes) -> None:
    assert decode(block(body), LIMIT) == body


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 65_535, 131_072, 131_073, 768_048, LIMIT])
@pytest.mark.parametrize("byte", [4, 19, 65, 214, None])
def test_every_size_comes_back(size: int, byte: int | None) -> None:
    body = bytes([byte]) * size if byte is not None else bytes(n * n % 251 for n in range(size % 70_000))
    assert decode(block(memoryview(body)), LIMIT) == body


@given(st.lists(st.sampled_from([4, 4, 4, 227, 214, 0]), min_size=1, max_size=900).map(bytes))
def test_no_encoded_line_begins_with_a_dot_so_nothing_needs_stuffing(body: bytes) -> None:
    wire = block(body)
    assert dot_stuff(wire) == wire


def test_no_encoded_line_begins_with_a_dot_at_any_column() -> None:
    dots = bytes([4]) * 2_000
    for before in range(260):
        wire = block(bytes([0]) * before + dots)
        assert b"\n." not in wire


@given(bodies)
def test_encoded_lines_hold_no_nul_and_no_stray_line_end(body: bytes) -> None:
    encoded = encode(body, "x")
    for line in encoded.lines.split(b"\r\n"):
        assert not {0x00, 0x0A, 0x0D} & set(line)
        assert len(line) <= 129


@pytest.mark.parametrize("name", ["", " a", "a ", "a\r\nb", "a\0", "ä", "x" * 256, "\x7f"])
def test_a_name_that_would_leave_its_line_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        encode(b"abc", name)


BODY = bytes(range(256)) * 20
WHOLE = block(BODY)


@pytest.mark.parametrize("cut", [*range(60), 100, 2_000, 4_000, *range(len(WHOLE) - 60, len(WHOLE))])
def test_a_part_that_is_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(FormatError):
        decode(WHOLE[:cut], LIMIT)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_without_effect(at: int, bit: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= 1 << bit
    try:
        decoded = decode(bytes(damaged), LIMIT)
    except FormatError:
        return
    assert decoded == BODY  # only the name and the line length may change without anybody caring


@given(st.integers(60, len(WHOLE) - 60), st.integers(1, 200))
def test_a_missing_middle_is_refused(at: int, length: int) -> None:
    after = min(at + length, len(WHOLE) - 45)
    if not WHOLE[at:after].strip(b"\r\n"):
        return  # a line end carries nothing
    with pytest.raises(FormatError):
        decode(WHOLE[:at] + WHOLE[after:], LIMIT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"=ybegin ", b"=ybogus "),
        (b"line=128 ", b""),
        (b"size=5120 name", b"size= name"),
        (b"size=5120 name", b"name"),
        (b"size=5120 name", b"size=-5120 name"),
        (b"size=5120 name", b"size=5119 name"),
        (b"size=5120 name", b"size=99999999999 name"),
        (b"line=128 size", b"part=1 total=2 line=128 size"),
        (b" name=a.bin", b""),
        (b" name=a.bin", b" name="),
        (b"=yend size=5120", b"=yend size=5121"),
        (b"=yend size=5120", b"=yend"),
        (b"=yend ", b"=yEND "),
        (b" crc32=", b" crc="),
        (b" crc32=", b" crc32=0"),
        (b" crc32=", b" crc32=zz"),
        (b"\r\n=yend", b"A\r\n=yend"),
        (b"\r\n=yend", b"\r\n.\r\n=yend"),
        (b"\r\n=yend", b"\n=yend"),
    ],
)
def test_a_malformed_part_is_refused(old: bytes, new: bytes) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(FormatError):
        decode(WHOLE.replace(old, new), LIMIT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"name=a.bin\r\n", b"name=a.bin\r\n=ypart begin=1 end=5120\r\n"),
        (b"\r\n=yend", b"\r\n=yend size=5120 crc32=00000000\r\n=yend"),
        (b"\r\n=yend", b"\r\n=ybegin line=128 size=1 name=b\r\n=yend"),
    ],
)
def test_a_control_line_too_many_cannot_change_what_the_sizes_and_the_crc_vouch_for(
    old: bytes, new: bytes
) -> None:
    try:
        decoded = decode(WHOLE.replace(old, new), LIMIT)
    except FormatError:
        return
    assert decoded == BODY


@pytest.mark.parametrize("after", [b"x", b"\r\n", b"spam\r\n", WHOLE, b"=yend\r\n", b".\r\n", b"\0"])
def test_anything_after_the_part_is_refused(after: bytes) -> None:
    with pytest.raises(FormatError):
        decode(WHOLE + after, LIMIT)


@pytest.mark.parametrize("before", [b"x", b"\r\n", b"spam\r\n", WHOLE])
def test_anything_before_the_part_is_refused(before: bytes) -> None:
    with pytest.raises(FormatError):
        decode(before + WHOLE, LIMIT)


def test_a_wrong_crc_is_refused() -> None:
    end = WHOLE.rindex(b"crc32=") + 6
    with pytest.raises(FormatError, match="CRC32"):
        decode(WHOLE[:end] + b"00000000\r\n", LIMIT)


def test_a_part_over_the_limit_is_refused_before_it_is_decoded() -> None:
    assert decode(WHOLE, len(BODY)) == BODY
    with pytest.raises(LimitExceeded):
        decode(WHOLE, len(BODY) - 1)


def test_a_part_that_holds_far_more_than_it_says_is_refused() -> None:
    huge = block(bytes(11_000_000))
    with pytest.raises(FormatError):
        decode(huge.replace(b"size=11000000", b"size=1000000"), LIMIT)


def test_decoding_starts_where_it_is_told_to() -> None:
    assert decode(b"Subject: x\r\n\r\n" + WHOLE, LIMIT, start=14) == BODY


@given(st.binary(max_size=400))
def test_any_bytes_at_all_give_a_format_error(junk: bytes) -> None:
    with pytest.raises(FormatError):
        decode(b"=ybegin line=128 size=10 name=x\r\n" + junk, LIMIT)
