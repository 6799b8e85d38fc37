"""Against INN: what it says of articles that were cancelled, refused or never there, and how its ids are used."""

import threading

import pytest

from tests.inn.instance import InnServer
from tests.news.conftest import Serve
from tests.news.peers import article
from usenetsyncd.errors import NewsError, PostDuplicate, PostRefused
from usenetsyncd.model import MessageId, Presence, ServerAccount, TlsMode
from usenetsyncd.news.records import IdPolicy
from usenetsyncd.wire.article import ArticleName, build_article

pytestmark = pytest.mark.requires("inn")
CANCELLED, OTHERS, TOGETHER, NOWHERE = 0x1CA00, 0x1CB00, 0x1CC00, 0x1CD00


def account(server: InnServer, **changes: object) -> ServerAccount:
    return ServerAccount(
        "inn",
        *server.address,
        TlsMode.NONE,
        "test",
        server.password,
        timeout_s=10,
        **changes,  # type: ignore[arg-type]
    )


def test_a_cancelled_article_is_missing_there_and_its_id_is_used_up(
    serve: Serve, inn_server: InnServer
) -> None:
    service = serve(account(inn_server))
    ids = [service.post(article(CANCELLED + number)).message_id for number in range(5)]
    assert set(service.stat(ids).values()) == {Presence.PRESENT}
    inn_server.cancel(ids[2])
    assert service.stat(ids) == {one: Presence.MISSING if one == ids[2] else Presence.PRESENT for one in ids}
    got: dict[MessageId, str] = {}
    service.fetch_from(
        "inn", ids, lambda one, block, error: got.update({one: type(error).__name__ if error else "there"})
    )
    assert got == {one: "ArticleMissing" if one == ids[2] else "there" for one in ids}
    with pytest.raises(PostDuplicate):
        service.post(article(CANCELLED + 2))
    assert service.snapshot()[0].id_policy is IdPolicy.KEEPS


def test_thousands_of_questions_on_two_connections_beside_posts(serve: Serve, inn_server: InnServer) -> None:
    service = serve(account(inn_server, connections=2))
    there = service.post(article(OTHERS)).message_id
    absent = [MessageId(f"<{number:08x}@nowhere.invalid>") for number in range(5_000)]
    told: dict[MessageId, Presence] = {}
    asking = threading.Thread(target=lambda: told.update(service.stat([*absent, there], server="inn")))
    asking.start()
    for number in range(1, 20):
        assert service.post(article(OTHERS + number)).server == "inn"
    asking.join()
    assert told.pop(there) is Presence.PRESENT
    assert set(told) == set(absent)
    assert set(told.values()) == {Presence.MISSING}


def test_articles_posted_from_many_threads_are_all_there(serve: Serve, inn_server: InnServer) -> None:
    service = serve(account(inn_server, connections=4))
    lost: list[NewsError] = []

    def post(first: int) -> None:
        for number in range(first, 60, 6):
            try:
                service.post(article(TOGETHER + number))
            except NewsError as error:
                lost.append(error)

    threads = [threading.Thread(target=post, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    ids = [article(TOGETHER + number).name.message_id for number in range(60)]
    assert set(service.stat(ids).values()) == {Presence.PRESENT}


def test_an_article_for_no_group_of_the_server_is_refused_at_once(
    serve: Serve, inn_server: InnServer
) -> None:
    name = article(NOWHERE).name
    stray = build_article(
        ArticleName(name.message_id, name.subject, name.poster, "x"), ("no.such.group",), b"x"
    )
    with pytest.raises(PostRefused):
        serve(account(inn_server)).post(stray)
