"""The embedded server listens on this machine only, comes back with its articles, and leaves nothing behind."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.loopback.client import Client, an_article
from usenetsyncd.errors import ConfigurationError, UsageError
from usenetsyncd.loopback.serve import parse_listen, run_newsserver
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.wire.article import decode_body

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only to be refused


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1", "8.8.8.8", "fe80::1"])
def test_an_address_that_others_could_reach_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="this machine only"):
        LoopbackServer(tmp_path, (host, 0))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_addresses_are_served(tmp_path: Path, host: str) -> None:
    with LoopbackServer(tmp_path, (host, 0)) as server, Client(server.address) as client:
        assert client.greeting.code == 200


def test_a_port_that_is_taken_is_named(tmp_path: Path, server: LoopbackServer) -> None:
    port = server.address[1]
    with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"):
        LoopbackServer(tmp_path / "other", ("127.0.0.1", port)).start()


def test_a_spool_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ConfigurationError, match="spool"):
        LoopbackServer(tmp_path / "spool").start()


def test_the_same_spool_has_the_same_articles_after_a_restart(tmp_path: Path) -> None:
    server = LoopbackServer(tmp_path)
    server.start()
    address = server.address
    with Client(address) as client:
        client.post(an_article("<a@b.c>", b"kept"))
    server.stop()
    server.stop()
    server.start()
    assert server.address == address
    with Client(address) as client:
        client.ask("BODY", "<a@b.c>")
        assert decode_body(client.block()) == b"kept"
    server.stop()
    with LoopbackServer(tmp_path) as other, Client(other.address) as client:
        assert client.code("STAT", "<a@b.c>") == 223


def test_stopping_ends_connections_whatever_they_are_doing(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    server = LoopbackServer(tmp_path, tls=certificate, implicit_tls=True)
    server.faults.set([{"match": {"command": "DATE"}, "act": {"delay": 60}}])
    plain = LoopbackServer(tmp_path / "plain", faults=server.faults)
    with server, plain:
        silent = socket.create_connection(server.address)
        waiting, idle, posting = (Client(plain.address) for _ in range(3))
        waiting.send("DATE")
        posting.ask("POST")
        posting.socket.sendall(b"From: half an art")
        time.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    for client in (waiting, idle, posting):
        assert client.is_closed()
        client.socket.close()
    silent.close()


def test_dropped_connections_are_gone_and_new_ones_welcome(server: LoopbackServer, client: Client) -> None:
    server.drop_connections()
    assert client.is_closed()
    with Client(server.address) as again:
        assert again.code("DATE") == 111


def test_an_idle_connection_ends_in_a_bare_eof(tmp_path: Path) -> None:
    with LoopbackServer(tmp_path, idle_timeout_s=0.1) as server, Client(server.address) as client:
        assert client.is_closed()


def test_connections_beyond_the_limit_get_502(tmp_path: Path) -> None:
    with (
        LoopbackServer(tmp_path, max_connections=2) as server,
        Client(server.address),
        Client(server.address),
    ):
        with Client(server.address) as third:
            assert third.greeting.code == 502
            assert third.is_closed()
        assert server.counters.connections_max == 3


def test_a_hundred_and_twenty_connections_post_at_once(server: LoopbackServer) -> None:
    def post(number: int) -> None:
        with Client(server.address, timeout_s=30) as client:
            barrier.wait()
            codes.append(client.post(an_article(f"<{number}@x.y>", os.urandom(20_000))).code)
            client.ask("QUIT")

    barrier, codes = threading.Barrier(120), []
    threads = [threading.Thread(target=post, args=(number,)) for number in range(120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [240] * 120
    assert len(server.message_ids()) == 120
    assert server.spool.groups() == {"alt.binaries.test": (1, 120)}
    assert server.counters.connections_max == 120


def test_one_id_posted_on_many_connections_at_once_is_taken_once(server: LoopbackServer) -> None:
    def post() -> None:
        with Client(server.address) as client:
            client.ask("POST")
            barrier.wait()
            client.socket.sendall(b"".join(an_article("<same@x.y>", bytes(50_000)).parts))
            codes.append(client.reply().code)

    barrier, codes = threading.Barrier(8), []
    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [240] + [441] * 7


@pytest.mark.parametrize("implicit", [None, True])
def test_tls_from_the_first_byte(
    tmp_path: Path, certificate: tuple[Path, Path], trusting: ssl.SSLContext, implicit: bool | None
) -> None:
    server = LoopbackServer(tmp_path, tls=certificate, implicit_tls=implicit)
    with server, Client(server.address, trusting) as client:
        body = os.urandom(500_000)
        assert client.post(an_article("<a@b.c>", body)).code == 240
        client.ask("BODY", "<a@b.c>")
        assert decode_body(client.block()) == body
        assert client.code("STARTTLS") == 502
        assert client.code("QUIT") == 205


@pytest.mark.parametrize("implicit", [None, False])
def test_starttls_on_the_same_port(
    tmp_path: Path, certificate: tuple[Path, Path], trusting: ssl.SSLContext, implicit: bool | None
) -> None:
    server = LoopbackServer(tmp_path, users={"test": "secret"}, tls=certificate, implicit_tls=implicit)
    with server, Client(server.address) as client:
        client.ask("CAPABILITIES")
        assert "STARTTLS" in client.lines()
        assert client.code("STARTTLS") == 382
        client.start_tls(trusting)
        client.ask("CAPABILITIES")
        assert "STARTTLS" not in client.lines()
        assert client.login().code == 281


def test_commands_sent_in_clear_behind_starttls_are_not_obeyed(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with (
        LoopbackServer(tmp_path, tls=certificate, implicit_tls=False) as server,
        Client(server.address) as client,
    ):
        client.send("STARTTLS", "DATE")
        with pytest.raises(EOFError):
            client.reply()
        assert server.counters.commands == {"STARTTLS": 1}


def test_without_a_certificate_there_is_no_tls(client: Client) -> None:
    assert client.code("STARTTLS") == 580


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cert"):
        LoopbackServer(tmp_path, tls=(tmp_path / "cert.pem", tmp_path / "key.pem"))


# -- the server alone ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:1119", ("127.0.0.1", 1119)), ("[::1]:0", ("::1", 0)), (":119", ("127.0.0.1", 119))],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:", "127.0.0.1:70000", "1119"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_listen(text)


def test_a_user_needs_a_password(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        run_newsserver("127.0.0.1:0", tmp_path, user="u")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_alone_says_where_it_is_and_ends_when_told_to(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = (
        "import sys, pathlib; from usenetsyncd.loopback.serve import run_newsserver;"
        "run_newsserver('127.0.0.1:0', pathlib.Path(sys.argv[1]), user='u', password='p')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        host, _, port = line.split()[3].rstrip(",").rpartition(":")
        with Client((host, int(port))) as client:
            assert client.login("u", "p").code == 281
            process.send_signal(number)
            assert process.wait(10) == 0
    assert line == f"news server at 127.0.0.1:{port}, articles in {tmp_path}\n"
