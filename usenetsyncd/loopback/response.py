"""What the embedded server answers: one line, perhaps with a block behind it."""

from collections.abc import Iterable
from dataclasses import dataclass

from usenetsyncd.loopback.channel import Bytes
from usenetsyncd.wire.nntp import TERMINATOR, dot_stuff


@dataclass(frozen=True, slots=True)
class Response:
    """A reply. block: lines with CRLF, dot-stuffed, without the final dot; None for a reply of one line."""

    code: int
    text: str
    block: Bytes | None = None

    def line(self) -> bytes:
        """The first line with its CRLF."""
        return f"{self.code} {self.text}".rstrip().encode("utf-8", "surrogateescape") + b"\r\n"

    def pieces(self, terminator: bytes = TERMINATOR) -> tuple[Bytes, ...]:
        """All of it, in pieces to send one after the other."""
        return (self.line(),) if self.block is None else (self.line(), self.block, terminator)


def listing(code: int, text: str, lines: Iterable[str]) -> Response:
    """A reply whose block are these lines, given without line ends."""
    block = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
    return Response(code, text, dot_stuff(block))
