"""Articles: four headers and one yEnc part, made for sending and taken apart after receiving.

Headers are From, Newsgroups, Subject and Message-ID and nothing else: the server adds the date and the path, and
what is always absent tells an observer less than what varies (docs/format.md, "Articles"; RFC 5536 3.1).
"""

import re
from dataclasses import dataclass

from usenetsyncd.errors import FormatError, UsageError
from usenetsyncd.model import MessageId
from usenetsyncd.wire.nntp import TERMINATOR
from usenetsyncd.wire.yenc import decode, encode

MAX_BODY_BYTES = 1_572_864
"""1.5 MiB: no article body of ours is longer, and no longer one is read."""

MAX_HEADER_BYTES = 16_384
"""The header section of a received article, with everything that servers add."""

MAX_HEADER_LINE_BYTES = 998

_MESSAGE_ID = re.compile(r"<[!-;=?A-~]+@[!-;=?A-~]+>")
_NEWSGROUP = re.compile(r"[A-Za-z0-9+_-]+(?:\.[A-Za-z0-9+_-]+)*")
_PRINTABLE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@dataclass(frozen=True, slots=True)
class ArticleName:
    """What an article is called on the wire. Nothing of it says what is inside.

    message_id: with angle brackets, at most 250 characters. subject, poster (``name <local@domain>``) and
    file_name (for yEnc): printable ASCII.
    """

    message_id: MessageId
    subject: str
    poster: str
    file_name: str


@dataclass(frozen=True, slots=True)
class OutgoingArticle:
    """An article ready to be sent after 340.

    parts: pieces for ``sendmsg``: headers and =ybegin line; yEnc lines; =yend line and the final dot. Joined they
    are all that POST needs, dot-stuffed, every line ended by CRLF.
    """

    name: ArticleName
    newsgroups: tuple[str, ...]
    parts: tuple[bytes | memoryview, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire, with the final dot line."""
        return sum(len(part) for part in self.parts)

    def block(self) -> bytes:
        """The article as an ARTICLE reply would bring it (less what servers add): without the final dot line."""
        return b"".join(self.parts).removesuffix(TERMINATOR)


def check_message_id(message_id: str) -> MessageId:
    """The same message-id, if it can be used in a command and a header (RFC 3977 3.6, RFC 5536 3.1.3).

    Raises FormatError.
    """
    if len(message_id) > 250 or not _MESSAGE_ID.fullmatch(message_id):
        raise FormatError("a message-id must look like <local@domain>, at most 250 characters")
    return MessageId(message_id)


def build_article(
    name: ArticleName, newsgroups: tuple[str, ...], body: bytes | bytearray | memoryview
) -> OutgoingArticle:
    """Make the article that carries ``body`` (0..MAX_BODY_BYTES bytes) to ``newsgroups`` (one at least).

    Raises UsageError for a header value with a line end, a control character or anything but ASCII, for an empty
    one, and for a body that is too long; FormatError for a message-id that is none.
    """
    if len(body) > MAX_BODY_BYTES:
        raise UsageError(f"an article body of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}")
    encoded = encode(body, name.file_name)
    return OutgoingArticle(
        name=name,
        newsgroups=newsgroups,
        parts=(_headers(name, newsgroups) + encoded.begin, encoded.lines, encoded.end + TERMINATOR),
    )


def decode_body(raw_block: bytes, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """What ``build_article`` was given, from the block of a BODY or ARTICLE reply, still dot-stuffed.

    Raises FormatError unless it holds exactly one whole yEnc part with the right sizes and CRC32, and
    LimitExceeded for a part over ``limit_bytes``.
    """
    return decode(raw_block, limit_bytes, _body_start(raw_block))


def _body_start(raw_block: bytes) -> int:
    if raw_block.startswith(b"=ybegin "):
        return 0
    end_of_headers = raw_block.find(b"\r\n\r\n", 0, MAX_HEADER_BYTES)
    if end_of_headers < 0:
        raise FormatError("an article has neither a yEnc part nor an end of its headers")
    return end_of_headers + 4


def _headers(name: ArticleName, newsgroups: tuple[str, ...]) -> bytes:
    for group in newsgroups:
        if not _NEWSGROUP.fullmatch(group):
            raise UsageError(f"{group!r} is not the name of a newsgroup")
    lines = (
        _header("From", name.poster),
        _header("Newsgroups", ",".join(newsgroups)),
        _header("Subject", name.subject),
        _header("Message-ID", check_message_id(name.message_id)),
        "\r\n",
    )
    return "".join(lines).encode("ascii")


def _header(field: str, content: str) -> str:
    if not _PRINTABLE.fullmatch(content):
        raise UsageError(f"the {field} header must be printable ASCII, not empty, without space at its ends")
    line = f"{field}: {content}\r\n"
    if len(line) > MAX_HEADER_LINE_BYTES:
        raise UsageError(f"the {field} header is longer than {MAX_HEADER_LINE_BYTES} characters")
    return line
