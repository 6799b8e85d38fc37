"""yEnc around sabctools: single part, CRC32 and sizes checked, strict on the way back (yEnc draft 1.3).

An encoded body is ``=ybegin line=128 size=N name=X``, lines of 128 characters, ``=yend size=N crc32=X``, each
ended by CRLF. The encoder escapes a dot at the beginning of a line, so encoded lines need no dot-stuffing;
tests/wire/test_yenc.py holds it to that. The decoder undoes dot-stuffing where another encoder made it necessary.
"""

import re
from dataclasses import dataclass

import sabctools

from usenetsyncd.errors import FormatError, LimitExceeded, UsageError

MAX_NAME_BYTES = 255

LINE_LENGTH = 128
"""What sabctools writes. Other lengths are read too."""

_NAME = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_BEGIN = re.compile(rb"=ybegin line=(\d{1,4}) size=(\d{1,10}) name=[^\r\n\0]{1,255}\r\n")
_END = re.compile(rb"\r\n=yend size=(\d{1,10}) crc32=[0-9A-Fa-f]{8}\r\n")
_END_BYTES = 64  # more than the longest =yend line that _END takes

# The decoder's own buffer: two of its 64 KiB steps stay in the cache; larger was not faster.
_RING_BYTES = 131_072


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded body in three pieces that only have to be sent one after the other."""

    begin: bytes  # the =ybegin line with its CRLF
    lines: bytes  # without the last CRLF
    end: bytes  # CRLF and the =yend line with its CRLF


def encode(body: bytes | bytearray | memoryview, name: str) -> Encoded:
    """Encode ``body`` as one part called ``name`` (1..255 printable ASCII characters, no space at either end).

    A memoryview costs one copy more than bytes, since sabctools takes nothing else: for 768 KB 50 us where malloc
    keeps what was freed (see mallopt in daemon/), 770 us where it maps each piece anew.
    Raises UsageError for a name that does not fit.
    """
    if len(name) > MAX_NAME_BYTES or not _NAME.fullmatch(name):
        raise UsageError(f"a yEnc name must be printable ASCII, 1 to {MAX_NAME_BYTES} characters")
    content = body if isinstance(body, bytes) else bytes(body)
    lines, crc32 = sabctools.yenc_encode(content)
    size = len(content)
    return Encoded(
        begin=f"=ybegin line={LINE_LENGTH} size={size} name={name}\r\n".encode("ascii"),
        lines=lines,
        end=f"\r\n=yend size={size} crc32={crc32:08x}\r\n".encode("ascii"),
    )


def decode(block: bytes, limit_bytes: int, start: int = 0) -> bytes:
    """Decode the yEnc part that is ``block[start:]``, dot-stuffed as it came from the wire.

    Raises LimitExceeded if it says that it is longer than ``limit_bytes``, and FormatError unless it is one whole
    single part: a =ybegin line at its start, a =yend line at its end, both sizes and the CRC32 true.
    """
    size = _declared_size(block, start, limit_bytes)
    # At worst every character is escaped, and each line of 128 has its CRLF.
    if len(block) - start > 2 * size + 2 * size // 32 + 1024:
        raise FormatError("a yEnc part holds more than its size allows")
    decoder = sabctools.Decoder(_RING_BYTES)
    # The decoder wants a whole reply, as from a socket.
    _feed(decoder, memoryview(b"222 0\r\n"))
    try:
        _feed(decoder, memoryview(block)[start:])
    except BufferError as error:
        raise FormatError("a yEnc part holds far more than its size says") from error
    _feed(decoder, memoryview(b".\r\n"))
    response = next(decoder, None)
    if response is None or len(decoder):
        raise FormatError("a yEnc part is broken off in the middle")
    decoded = b"" if response.data is None else bytes(response.data)
    if len(decoded) != size:
        raise FormatError(f"a yEnc part says it has {size} bytes but has {len(decoded)}")
    if response.crc is None and size:
        raise FormatError("the CRC32 of a yEnc part is wrong")
    return decoded


def _declared_size(block: bytes, start: int, limit_bytes: int) -> int:
    begin = _BEGIN.match(block, start)
    if begin is None:
        raise FormatError("no yEnc part begins here, or it is one of several")
    end = _END.fullmatch(block, _end_line(block, begin.end() - 2))
    if end is None:
        raise FormatError("a yEnc part has no proper =yend line at its end")
    size = int(begin[2])
    if size > limit_bytes:
        raise LimitExceeded(f"a yEnc part of {size} bytes is over the limit of {limit_bytes}")
    if size != int(end[1]):
        raise FormatError("the two sizes of a yEnc part differ")
    return size


def _end_line(block: bytes, from_: int) -> int:
    """Where the CRLF before the last =yend line is, or the end of the block."""
    found = block.rfind(b"\r\n=yend ", max(from_, len(block) - _END_BYTES))
    return found if found >= 0 else len(block)


def _feed(decoder: sabctools.Decoder, received: memoryview) -> None:
    at = 0
    while at < len(received):
        with memoryview(decoder) as room:
            count = min(len(room), len(received) - at)
            room[:count] = received[at : at + count]
        decoder.process(count)
        at += count
