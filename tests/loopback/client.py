"""A news client for tests: a raw socket, and usenetsyncd.wire.nntp to understand it."""

import socket
import ssl
from typing import Self

from usenetsyncd.model import MessageId
from usenetsyncd.wire.article import ArticleName, OutgoingArticle, build_article
from usenetsyncd.wire.nntp import Reply, ReplyReader

GROUP = "alt.binaries.test"
LIMIT_BYTES = 4_000_000
USER, PASSWORD = "test", "secret"


def an_article(
    message_id: str, body: bytes = b"content", group: str = GROUP, subject: str = "a subject"
) -> OutgoingArticle:
    name = ArticleName(MessageId(message_id), subject, "poster <p@q.example>", "a.bin")
    return build_article(name, (group,), body)


class Client:
    """Talks NNTP in lock step, or not: ``send`` first and ``reply`` later."""

    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext | None = None, timeout_s: float = 10
    ) -> None:
        self.socket: socket.socket = socket.create_connection(address, timeout=timeout_s)
        self.reader = ReplyReader()
        try:
            if tls is not None:
                self.start_tls(tls)
            self.greeting = self.reply()
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, *lines: str) -> None:
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def _more(self) -> None:
        count = self.socket.recv_into(self.reader.room())
        if not count:
            raise EOFError("the server closed the connection")
        self.reader.filled(count)

    def reply(self) -> Reply:
        while (reply := self.reader.next_reply()) is None:
            self._more()
        return reply

    def block(self, limit_bytes: int = LIMIT_BYTES) -> bytes:
        self.reader.expect_block(limit_bytes)
        while (block := self.reader.next_block()) is None:
            self._more()
        return block

    def lines(self) -> list[str]:
        return self.block().decode().splitlines()

    def ask(self, *parts: str) -> Reply:
        self.send(" ".join(parts))
        return self.reply()

    def code(self, *parts: str) -> int:
        return self.ask(*parts).code

    def login(self, user: str = USER, password: str = PASSWORD) -> Reply:
        reply = self.ask("AUTHINFO", "USER", user)
        return self.ask("AUTHINFO", "PASS", password) if reply.code == 381 else reply

    def post(self, article: OutgoingArticle | bytes) -> Reply:
        """The final reply to POST; article as bytes: with its final dot."""
        asked = self.ask("POST")
        if asked.code != 340:
            return asked
        self.socket.sendall(article if isinstance(article, bytes) else b"".join(article.parts))
        return self.reply()

    def is_closed(self) -> bool:
        """Whether the server has ended the connection, with nothing more to read."""
        try:
            return not self.socket.recv(1)
        except ConnectionError:
            return True
