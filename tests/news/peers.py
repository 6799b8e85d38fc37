"""News servers that say exactly what a test wants, over real sockets, and certificates of every kind."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from usenetsyncd.model import MessageId, ServerAccount, TlsMode
from usenetsyncd.wire.article import ArticleName, OutgoingArticle, build_article

Script = Callable[["Peer"], None]


class Hung(Exception):
    """The client hung up."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self._received = b""

    def say(self, *lines: str) -> None:
        self.send("".join(line + "\r\n" for line in lines).encode())

    def send(self, octets: bytes) -> None:
        try:
            self.sock.sendall(octets)
        except OSError as error:
            raise Hung from error

    def hear(self) -> str:
        """The next line."""
        return self._until(b"\r\n").decode()

    def hear_article(self) -> bytes:
        return self._until(b"\r\n.\r\n")

    def start_tls(self, context: ssl.SSLContext) -> None:
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except OSError as error:
            raise Hung from error

    def greet(self, login: bool = False) -> None:
        """What every connection begins with, for a client without or with a login."""
        self.say("200 ready")
        line = self.hear()
        if line == "CAPABILITIES":
            self.say("101 capabilities", "VERSION 2", "READER", "POST", ".")
        else:
            self._received = line.encode() + b"\r\n" + self._received
        if login:
            line = self.hear()
            assert line.startswith("AUTHINFO USER "), line
            self.say("381 more")
            assert self.hear().startswith("AUTHINFO PASS ")
            self.say("281 welcome")

    def take_post(self, answer: str = "240 ok") -> bytes:
        """One whole POST dialogue."""
        line = self.hear()
        assert line == "POST", line
        self.say("340 go ahead")
        article = self.hear_article()
        if answer:
            self.say(answer)
        return article

    def serve(self, replies: Callable[[str], str | bytes | None]) -> None:
        """Answer every line by the function until QUIT; None means to hang up."""
        while True:
            line = self.hear()
            if line == "QUIT":
                self.say("205 bye")
                return
            reply = "111 20261122000000" if line == "DATE" else replies(line)
            if reply is None:
                return
            self.send(reply if isinstance(reply, bytes) else reply.encode() + b"\r\n")

    def linger(self) -> None:
        """Read and say nothing until the client hangs up."""
        while True:
            self._receive()

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive()
        found, _, self._received = self._received.partition(end)
        return found

    def _receive(self) -> None:
        try:
            got = self.sock.recv(65536)
        except OSError as error:
            raise Hung from error
        if not got:
            raise Hung
        self._received += got


class ScriptedServer:
    """Runs a script for every connection; ``failures`` holds what the scripts found wrong."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.lock = threading.Lock()
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.failures: list[Exception] = []
        self._sockets: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for peer in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                peer = Peer(sock, self.connections)
                self._sockets.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: Peer) -> None:
        try:
            if self._tls is not None:
                peer.start_tls(self._tls)
            self._script(peer)
        except Hung:
            pass
        except Exception as error:  # noqa: BLE001 - told at the end, in the test's own thread
            self.failures.append(error)
        finally:
            with self.lock:
                self.open -= 1
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
            peer.sock.close()

    def account(self, name: str = "main", **changes: object) -> ServerAccount:
        made = ServerAccount(name, "127.0.0.1", self.port, TlsMode.NONE, timeout_s=2.0)
        return replace(made, **changes)  # type: ignore[arg-type]


class Store:
    """A script that keeps articles and gives them out; ``answer`` may be replaced to lie."""

    def __init__(self, login: bool = False, delay_s: float = 0.0) -> None:
        self.login = login
        self.delay_s = delay_s
        self.bodies: dict[str, bytes] = {}
        self.posted: list[str] = []
        self.asked: list[str] = []

    def put(self, *numbers: int) -> "Store":
        for number in numbers:
            self._keep(article(number).block())
        return self

    def __call__(self, peer: Peer) -> None:
        peer.greet(self.login)
        while (line := peer.hear()) != "QUIT":
            self.answer(peer, line)
        peer.say("205 bye")

    def answer(self, peer: Peer, line: str) -> None:
        verb, _, name = line.partition(" ")
        if self.delay_s:
            time.sleep(self.delay_s)
        if verb == "POST":
            peer.say("340 go ahead")
            if article := peer.hear_article():
                self.take(peer, self._keep(article + b"\r\n"))
            else:
                peer.say("441 an article needs headers")
        elif verb == "DATE":
            peer.say("111 20261122000000")
        elif verb in ("STAT", "BODY"):
            self.asked.append(name)
            self.give(peer, verb, name)
        else:
            peer.say("500 what?")

    def take(self, peer: Peer, name: str) -> None:
        peer.say(f"240 {name} received")

    def give(self, peer: Peer, verb: str, name: str) -> None:
        body = self.bodies.get(name)
        if body is None:
            peer.say("430 no such article")
        elif verb == "STAT":
            peer.say(f"223 0 {name}")
        else:
            peer.send(b"222 0 %s\r\n%s.\r\n" % (name.encode(), body))

    def _keep(self, block: bytes) -> str:
        head, _, body = block.partition(b"\r\n\r\n")
        (name,) = (line[12:].decode() for line in head.split(b"\r\n") if line.startswith(b"Message-ID: "))
        self.posted.append(name)
        self.bodies[name] = body
        return name


def article(number: int = 1, size_bytes: int = 3000) -> OutgoingArticle:
    name = f"{number:08x}"
    called = ArticleName(MessageId(f"<{name}@test.invalid>"), name, "a <a@test.invalid>", name)
    return build_article(called, ("alt.binaries.test",), (b"%08d" % number) * (size_bytes // 8))


def message_id(number: int) -> MessageId:
    return article(number, 8).name.message_id


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate (with its key) and of who signed it."""

    path: Path
    ca: Path
    der: bytes

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context


class Authority:
    """A private CA."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._certificate = (
            x509.CertificateBuilder(
                self._name, self._name, self._key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = directory / "ca.pem"
        self.path.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, host: str = "localhost", days: int = 30, signed: bool = True) -> Certificate:
        """A certificate for host and 127.0.0.1 (only for localhost); days < 0 for one that has ended; not signed: by
        itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ip_address("127.0.0.1")))
        now = datetime.now(UTC)
        signer = self._key if signed else key
        certificate = (
            x509.CertificateBuilder(
                self._name if signed else subject, subject, key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )
        path = self._directory / f"{name}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
        return Certificate(path, self.path, certificate.public_bytes(Encoding.DER))
