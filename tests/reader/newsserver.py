"""One news server, asked over a plain socket, and yEnc: docs/format.md, section 11."""

import re
import socket
import zlib
from typing import Self

from tests.reader.sealed import must

BURST = 200
SHIFTED = bytes((value - 42) % 256 for value in range(256))
ESCAPED = re.compile(rb"=(.)", re.DOTALL)


class NewsServer:
    """STAT and BODY, nothing else."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=30)
        self.received = self.socket.makefile("rb")
        assert self.received.readline(2_048).startswith(b"20")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.sendall(b"QUIT\r\n")
        self.received.close()
        self.socket.close()

    def present(self, ids: list[str]) -> list[bool]:
        """Which Message-IDs the server has, asked in bursts."""
        found: list[bool] = []
        for at in range(0, len(ids), BURST):
            burst = ids[at : at + BURST]
            self.socket.sendall("".join(f"STAT {name}\r\n" for name in burst).encode())
            found += [self.received.readline(2_048).startswith(b"223") for _ in burst]
        return found

    def body(self, name: str) -> bytes | None:
        """The article's body as received, dot-stuffed, without the final dot line; None when it is not there."""
        self.socket.sendall(f"BODY {name}\r\n".encode())
        if not self.received.readline(2_048).startswith(b"222"):
            return None
        lines: list[bytes] = []
        while (line := self.received.readline(2_000_000)) != b".\r\n":
            assert line, "the server hung up"
            lines.append(line)
        return b"".join(lines)


def undotted(block: bytes) -> list[bytes]:
    """The lines of a block without line ends and dot stuffing."""
    lines = block.split(b"\r\n")
    return [line[1:] if line.startswith(b".") else line for line in lines]


def yenc_decode(block: bytes) -> bytes:
    """The bytes of a yEnc part, from BODY or ARTICLE."""
    lines = undotted(block)
    if not lines[0].startswith(b"=ybegin"):
        must(b"" in lines, why="neither a body nor an article")
        lines = lines[lines.index(b"") + 1 :]
    while lines and not lines[-1]:
        lines.pop()
    must(
        len(lines) >= 2 and lines[0].startswith(b"=ybegin ") and lines[-1].startswith(b"=yend "),
        why="no yEnc",
    )
    begin, end = lines[0].partition(b" name=")[0], lines[-1]
    must(b"part=" not in begin and b"total=" not in begin, why="one part of several")
    size, end_size = re.search(rb" size=(\d{1,20})\b", begin), re.search(rb" size=(\d{1,20})\b", end)
    crc = re.search(rb" crc32=([0-9a-fA-F]{1,8})\b", end)
    must(size is not None and end_size is not None and crc is not None, why="no size or CRC-32")
    must(int(size[1]) <= 1_572_864, "limit_exceeded", "size")
    encoded = b"".join(lines[1:-1])
    plain = ESCAPED.sub(lambda pair: bytes([(pair[1][0] - 64) % 256]), encoded).translate(SHIFTED)
    must(len(plain) == int(size[1]) == int(end_size[1]), why="size")
    must(zlib.crc32(plain) == int(crc[1], 16), why="CRC-32")
    return plain
