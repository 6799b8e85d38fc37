"""The same promises against the embedded server and against INN, in clear and over TLS."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inn.instance import InnServer
from tests.news.conftest import Serve
from tests.news.peers import Authority
from usenetsyncd.errors import ArticleMissing, NewsError, NoServer, PostDuplicate
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.wire.article import ArticleName, OutgoingArticle, build_article, decode_body

EMBEDDED = ["embedded", "embedded-implicit", "embedded-starttls"]
INN = [pytest.param(kind, marks=pytest.mark.requires("inn")) for kind in ("inn", "inn-implicit")]


@pytest.fixture(params=EMBEDDED + INN)  # type: ignore[arg-type]
def account(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[ServerAccount]:
    kind, _, how = request.param.partition("-")
    mode = TlsMode(how or "none")
    if kind == "inn":
        inn: InnServer = request.getfixturevalue("inn_server")
        port = inn.port if mode is TlsMode.NONE else inn.tls_port
        ca = None if mode is TlsMode.NONE else str(inn.ca_file)
        yield ServerAccount(
            "main", "localhost" if ca else inn.host, port, mode, inn.user, inn.password, 4, ca_file=ca
        )
        return
    certificate = authority.issue(f"alike-{how}")
    tls = (certificate.path, certificate.path) if how else None
    with LoopbackServer(
        tmp_path, users={"u": "p"}, tls=tls, implicit_tls=how == "implicit" if how else None
    ) as server:
        ca = str(certificate.ca) if how else None
        yield ServerAccount(
            "main", "localhost" if ca else "127.0.0.1", server.address[1], mode, "u", "p", 4, ca_file=ca
        )


def make(content: bytes) -> OutgoingArticle:
    name = secrets.token_hex(12)
    called = ArticleName(
        MessageId(f"<{name}@{name[:8]}.invalid>"), name, f"{name[:5]} <{name[:5]}@a.invalid>", name
    )
    return build_article(called, ("alt.binaries.test",), content)


def test_what_was_posted_comes_back_byte_for_byte_whatever_it_holds(
    serve: Serve, account: ServerAccount
) -> None:
    service = serve(account)
    contents = [
        b"x",
        b".",
        b"\r\n.\r\n",
        b".\r\n" * 5000,
        bytes(range(256)) * 3000,
        secrets.token_bytes(900_000),
    ]
    articles = [make(content) for content in contents]
    for made in articles:
        assert service.post(made).message_id == made.name.message_id
    blocks: dict[MessageId, bytes] = {}
    service.fetch(
        [made.name.message_id for made in articles],
        lambda name, block, _: blocks.update({name: block or b""}),
    )
    assert [decode_body(blocks[made.name.message_id]) for made in articles] == contents


def test_the_same_id_again_is_a_duplicate(serve: Serve, account: ServerAccount) -> None:
    service, made = serve(account), make(b"once")
    service.post(made)
    with pytest.raises(PostDuplicate):
        service.post(made)


def test_present_and_missing_are_told_apart_over_hundreds(serve: Serve, account: ServerAccount) -> None:
    service = serve(account)
    here = [make(b"%d" % number) for number in range(30)]
    for made in here:
        service.post(made)
    ids = [
        name
        for made in here
        for name in (made.name.message_id, *(make(b"").name.message_id for _ in range(9)))
    ]
    found = service.stat(ids)
    assert {name for name in ids if found[name] is Presence.PRESENT} == {
        made.name.message_id for made in here
    }
    assert set(found.values()) == {Presence.PRESENT, Presence.MISSING}


def test_a_missing_article_is_missing(serve: Serve, account: ServerAccount) -> None:
    with pytest.raises(ArticleMissing):
        serve(account).fetch_one(make(b"never").name.message_id)


def test_a_wrong_password_is_refused(serve: Serve, account: ServerAccount) -> None:
    from dataclasses import replace

    service = serve(replace(account, password="not it"))
    with pytest.raises(NoServer) as caught:
        service.post(make(b""))
    assert caught.value.retry_after_s > 500
    with pytest.raises(NewsError):
        service.fetch_one(make(b"").name.message_id)


def test_the_servers_report_is_good(serve: Serve, account: ServerAccount) -> None:
    report = serve(account).test("main")
    assert report.ok, report.lines
    assert (report.posting, report.pipelining, report.connections) == (True, True, 4)
