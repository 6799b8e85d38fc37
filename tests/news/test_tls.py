"""Certificates: verified by default, by a private CA or by a pin; never not at all."""

import base64
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.news.peers import Authority, Certificate, Peer, ScriptedServer
from usenetsyncd.errors import ConfigurationError, NewsError
from usenetsyncd.model import ServerAccount, TlsMode
from usenetsyncd.news.connection import Connection, Dialer, Setback
from usenetsyncd.news.replies import Outcome, ReplyTable
from usenetsyncd.news.tls import client_context, is_loopback, key_pin, parse_pin


def open_one(account: ServerAccount) -> Connection:
    return Dialer(account, ReplyTable()).open()


def polite(peer: Peer) -> None:
    peer.greet(login=True)
    peer.serve(lambda _line: "500 what?")


def starttls(context: ssl.SSLContext, injected: bytes = b"") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.say("200 hello")
        assert peer.hear() == "STARTTLS"
        peer.send(b"382 go on\r\n" + injected)
        peer.start_tls(context)
        line = peer.hear()
        assert line == "CAPABILITIES", line
        peer.say("101 list", "READER", ".")
        assert peer.hear().startswith("AUTHINFO USER")
        peer.say("281 welcome")
        peer.serve(lambda _line: "500 what?")

    return script


def account_of(server: ScriptedServer, certificate: Certificate | None, **changes: object) -> ServerAccount:
    made = server.account(tls=TlsMode.IMPLICIT, username="u", password="p", host="localhost", **changes)
    return replace(made, ca_file=str(certificate.ca)) if certificate else made


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_names_and_addresses_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["news.example.com", "10.0.0.1", "::2", "localhost.example.com", "127.0.0.1.example.com", ""]
)
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_tls_none_off_loopback_is_refused_at_construction_with_a_way_out() -> None:
    with pytest.raises(ConfigurationError, match="tls: implicit"):
        Dialer(ServerAccount("main", "news.example.com", 119, TlsMode.NONE), ReplyTable())


def test_a_context_without_pin_always_verifies_chain_and_host() -> None:
    for mode in (TlsMode.IMPLICIT, TlsMode.STARTTLS):
        context = client_context(ServerAccount("main", "news.example.com", 563, mode))
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_unreadable_ca_file_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="/nowhere"):
        client_context(ServerAccount("main", "h.example", 563, TlsMode.IMPLICIT, ca_file="/nowhere/ca.pem"))


def test_a_pin_may_be_written_in_every_usual_way() -> None:
    digest = bytes(range(32))
    spelt = [
        digest.hex(),
        digest.hex().upper(),
        digest.hex(":"),
        "sha256:" + digest.hex(),
        base64.b64encode(digest).decode(),
        "sha256//" + base64.b64encode(digest).decode(),
    ]
    assert {parse_pin(pin) for pin in spelt} == {digest}


@pytest.mark.parametrize("pin", ["", "abcd", "zz" * 32, "sha256:" + "00" * 31])
def test_a_pin_that_is_none_is_refused_before_connecting(pin: str) -> None:
    with pytest.raises(ConfigurationError, match="pin_sha256"):
        client_context(ServerAccount("main", "h.example", 563, TlsMode.IMPLICIT, pin_sha256=pin))


def test_a_private_ca_is_accepted_and_the_login_goes_through(authority: Authority) -> None:
    certificate = authority.issue("good")
    with ScriptedServer(polite, certificate.context()) as server:
        connection = open_one(account_of(server, certificate))
        assert connection.transport.tls is not None
        assert connection.is_in_step
        connection.close()


@pytest.mark.parametrize(
    ("made", "ca", "reason"),
    [
        ({"days": -1}, True, "expired"),
        ({"host": "other.example"}, True, "another name than localhost"),
        ({"signed": False}, False, "signed by nobody known"),
        ({}, False, "unknown authority"),
    ],
)
def test_bad_certificates_are_refused_with_the_reason(
    authority: Authority, made: dict[str, object], ca: bool, reason: str
) -> None:
    certificate = authority.issue("bad", **made)  # type: ignore[arg-type]
    with ScriptedServer(polite, certificate.context()) as server:
        with pytest.raises(Setback, match=reason) as caught:
            open_one(account_of(server, certificate if ca else None))
        assert caught.value.row.outcome is Outcome.TLS


def test_a_pinned_key_is_accepted_even_if_self_signed_and_out_of_date(authority: Authority) -> None:
    certificate = authority.issue("pinned", days=-1, signed=False)
    with ScriptedServer(polite, certificate.context()) as server:
        connection = open_one(account_of(server, None, pin_sha256=key_pin(certificate.der).hex()))
        connection.close()


def test_another_key_than_the_pinned_one_is_refused_before_any_word_of_ours(authority: Authority) -> None:
    heard: list[str] = []

    def listen(peer: Peer) -> None:
        peer.say("200 hello")
        heard.append(peer.hear())

    certificate = authority.issue("mitm")
    with ScriptedServer(listen, certificate.context()) as server:
        account = account_of(server, None, pin_sha256=key_pin(authority.issue("real").der).hex())
        with pytest.raises(Setback, match="not the pinned one"):
            open_one(account)
    assert heard == []


def test_with_a_ca_beside_the_pin_both_must_hold(authority: Authority) -> None:
    certificate = authority.issue("both", days=-1)
    with ScriptedServer(polite, certificate.context()) as server:
        account = account_of(server, certificate, pin_sha256=key_pin(certificate.der).hex())
        with pytest.raises(Setback, match="expired"):
            open_one(account)


def test_starttls_protects_before_the_login(authority: Authority) -> None:
    certificate = authority.issue("starttls")
    with ScriptedServer(starttls(certificate.context())) as server:
        connection = open_one(replace(account_of(server, certificate), tls=TlsMode.STARTTLS))
        assert connection.transport.tls is not None
        connection.close()


def test_what_is_sent_in_clear_behind_the_382_is_never_believed(authority: Authority) -> None:
    certificate = authority.issue("injected")
    injected = b"101 list\r\nMODE-READER\r\n.\r\n281 welcome\r\n"
    with ScriptedServer(starttls(certificate.context(), injected)) as server:
        account = replace(account_of(server, certificate), tls=TlsMode.STARTTLS)
        try:
            connection = open_one(account)
        except Setback:
            return  # the injected bytes reached the handshake and broke it
        assert connection.is_in_step
        connection.close()


def test_a_server_that_refuses_starttls_never_gets_the_password(authority: Authority) -> None:
    heard: list[str] = []

    def refuse(peer: Peer) -> None:
        peer.say("200 hello")
        heard.append(peer.hear())
        peer.say("580 not now")
        peer.linger()

    with ScriptedServer(refuse) as server:
        account = replace(account_of(server, authority.issue("unused")), tls=TlsMode.STARTTLS)
        with pytest.raises(NewsError):
            open_one(account)
    assert heard == ["STARTTLS"]


def test_a_port_that_speaks_plain_nntp_is_told_apart_from_a_bad_certificate() -> None:
    def plain(peer: Peer) -> None:
        peer.say("200 hello")
        peer.linger()

    with ScriptedServer(plain) as server, pytest.raises(Setback, match="really TLS"):
        open_one(account_of(server, None))
