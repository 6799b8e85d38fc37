"""Posting: what each answer leads to, and that a doubtful article is never posted again on our own account."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

from tests.news.conftest import QUICK, Serve
from tests.news.peers import Hung, Peer, ScriptedServer, Store, article, message_id
from usenetsyncd.errors import (
    Cancelled,
    NewsError,
    NoServer,
    PostDoubtful,
    PostDuplicate,
    PostRefused,
)
from usenetsyncd.model import ServerRole


class Answers(Store):
    """Answers the articles (or the word POST) with these in turn, then 240."""

    def __init__(self, *article_replies: str, post: tuple[str, ...] = (), **options: bool) -> None:
        super().__init__(**options)
        self.article_replies: Iterator[str] = chain(article_replies, repeat(""))
        self.post_replies: Iterator[str] = chain(post, repeat(""))

    def answer(self, peer: Peer, line: str) -> None:
        if line == "POST" and (said := next(self.post_replies)):
            if said == "cut":
                raise Hung
            peer.say(said)
        elif line.startswith("AUTHINFO USER"):
            peer.say("281 welcome")
        else:
            super().answer(peer, line)

    def take(self, peer: Peer, name: str) -> None:
        said = next(self.article_replies)
        if said == "cut":
            raise Hung
        if said != "silence":
            peer.say(said or f"240 {name} ok")


def test_a_receipt_says_where_and_under_which_id_and_how_large(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        receipt = serve(server.account()).post(article())
    assert (receipt.server, receipt.message_id) == ("main", message_id(1))
    assert receipt.size_bytes == article().size_bytes
    assert receipt.took_s > 0


def test_a_240_with_another_id_gives_that_id(serve: Serve) -> None:
    with ScriptedServer(Answers("240 Article received <other@server.example>")) as server:
        assert serve(server.account()).post(article()).message_id == "<other@server.example>"


def test_a_240_without_any_id_gives_ours(serve: Serve) -> None:
    with ScriptedServer(Answers("240 fine")) as server:
        assert serve(server.account()).post(article()).message_id == message_id(1)


@pytest.mark.parametrize("reply", ["441 435 Duplicate", "441 message-id already exists", "435 no thanks"])
def test_a_duplicate_is_told_apart_and_not_tried_again(serve: Serve, reply: str) -> None:
    store = Answers(reply)
    with ScriptedServer(store) as server, pytest.raises(PostDuplicate):
        serve(server.account()).post(article())
    assert len(store.posted) == 1


@pytest.mark.parametrize(
    "reply", ["cut", "silence", "400 going down", "502 no more", "340 again?", "nonsense"]
)
def test_an_article_whose_answer_is_lost_is_doubtful_and_not_posted_again_anywhere(
    serve: Serve, reply: str
) -> None:
    first, second = Answers(reply), Store()
    with ScriptedServer(first) as one, ScriptedServer(second) as two:
        service = serve(one.account("one", timeout_s=0.3), two.account("two", priority=2))
        with pytest.raises(PostDoubtful) as caught:
            service.post(article())
    assert not isinstance(caught.value, PostDuplicate)
    assert len(first.posted) == 1
    assert second.posted == []


@pytest.mark.parametrize("trouble", ["441 posting failed", "436 later", "500 what?", "503 not now"])
def test_a_refusal_that_may_pass_is_tried_again(serve: Serve, trouble: str) -> None:
    store = Answers(trouble, trouble)
    with ScriptedServer(store) as server:
        serve(server.account()).post(article())
    assert len(store.posted) == 3


@pytest.mark.parametrize(
    "trouble", ["441 posting failed", "436 later", "500 what?", "403 fault", "cut", "480 who are you?"]
)
def test_trouble_before_the_article_is_tried_again(serve: Serve, trouble: str) -> None:
    store = Answers(post=(trouble,))
    with ScriptedServer(store) as server:
        serve(server.account(username="a", password="b")).post(article())
    assert len(store.posted) == 1


def test_a_refusal_that_stays_is_told_after_the_tries_of_the_table(serve: Serve) -> None:
    store = Answers(*["441 posting failed"] * 9)
    with ScriptedServer(store) as server, pytest.raises(PostRefused, match="441 posting failed"):
        serve(server.account()).post(article())
    assert len(store.posted) == 3


def test_a_refusal_of_this_very_article_is_not_tried_again_there_but_elsewhere(serve: Serve) -> None:
    strict, open_minded = Answers(*["441 newsgroup not carried"] * 3), Store()
    with ScriptedServer(strict) as one, ScriptedServer(open_minded) as two:
        service = serve(one.account("strict"), two.account("open", priority=2))
        assert service.post(article()).server == "open"
    assert len(strict.posted) == 1


def test_a_server_that_forbids_posting_is_left_alone_and_still_read_from(serve: Serve) -> None:
    reader, poster = Answers(post=("440 no posting",) * 9), Store()
    reader.put(7)
    with ScriptedServer(reader) as one, ScriptedServer(poster) as two:
        service = serve(one.account("reader"), two.account("poster", priority=2))
        assert [service.post(article(n)).server for n in range(3)] == ["poster"] * 3
        assert "440" in service.snapshot()[0].posting_reason
        assert service.posting_capacity() == two.account().connections
        assert service.fetch_one(message_id(7))
    assert reader.posted == [message_id(7)]


def test_of_two_servers_the_one_of_higher_priority_gets_everything(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        service = serve(one.account("second", priority=2), two.account("first", priority=1))
        assert {service.post(article(n)).server for n in range(5)} == {"first"}
        assert one.connections == 0


def test_servers_to_avoid_come_last_but_are_better_than_none(serve: Serve) -> None:
    with ScriptedServer(Store()) as one, ScriptedServer(Store()) as two:
        service = serve(one.account("one"), two.account("two", priority=2))
        assert service.post(article(1), avoid={"one"}).server == "two"
        assert service.post(article(2), avoid={"one", "two"}).server == "one"


def test_a_server_without_the_posting_role_gets_no_article(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account(roles=frozenset({ServerRole.READ})))
        with pytest.raises(NoServer, match="no server is configured"):
            service.post(article())


def test_when_the_first_server_is_down_the_next_one_takes_over_and_the_first_returns(serve: Serve) -> None:
    with ScriptedServer(Store()) as gone:
        account = gone.account("main")
    with ScriptedServer(Store()) as spare:
        overrides = {**QUICK, "unreachable": {"base_s": 0.2, "max_s": 0.2, "jitter": 0}}
        service = serve(account, spare.account("spare", priority=2), overrides=overrides)
        assert service.post(article(1)).server == "spare"
        assert service.snapshot()[0].state == "resting"
        assert "nothing listens" in service.snapshot()[0].reason
        with ScriptedServer(Store(), port=account.port):
            time.sleep(0.25)
            assert service.post(article(2)).server == "main"
            service.close(1)


def test_when_no_server_is_left_the_reason_and_the_wait_are_told(serve: Serve) -> None:
    def refuse(peer: Peer) -> None:
        peer.say("502 service permanently unavailable")

    with (
        ScriptedServer(refuse) as server,
        pytest.raises(NoServer, match="permanently unavailable") as caught,
    ):
        serve(server.account()).post(article())
    assert caught.value.retry_after_s == pytest.approx(300, abs=1)


def test_a_wrong_password_is_tried_once_and_then_rests(serve: Serve) -> None:
    def refuse(peer: Peer) -> None:
        peer.greet()
        peer.hear()
        peer.say("481 wrong")

    with ScriptedServer(refuse) as server:
        service = serve(server.account(username="a", password="b"))
        failures: list[NewsError] = []

        def post() -> None:
            try:
                service.post(article())
            except NewsError as error:
                failures.append(error)

        threads = [threading.Thread(target=post) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.connections == 1
        assert len(failures) == 10
        assert all(isinstance(error, NoServer) and 590 < error.retry_after_s <= 600 for error in failures)


def test_a_short_trouble_is_waited_out_within_post(serve: Serve) -> None:
    tries = 0

    def moody(peer: Peer) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            peer.say("400 one moment")
        else:
            Store()(peer)

    with ScriptedServer(moody) as server:
        service = serve(server.account(), overrides={"out_of_service": {"base_s": 0.05}})
        assert service.post(article()).server == "main"


def test_a_hold_that_other_posts_caused_uses_up_no_try_of_this_one(serve: Serve) -> None:
    # Each 500 closes the connection and holds dialling back; whoever comes meanwhile is told to wait, many times over.
    with ScriptedServer(Answers(post=("500 what?",) * 40)) as server:
        service = serve(
            server.account(), overrides={"not_understood": {"base_s": 0.01, "jitter": 1, "attempts": 99}}
        )
        assert service.post(article()).server == "main"


def limited(most: int, reply: str) -> Callable[[Peer], None]:
    lock, count = threading.Lock(), 0
    store = Store()

    def script(peer: Peer) -> None:
        nonlocal count
        with lock:
            count += 1
            fits = count <= most
        try:
            if fits:
                store(peer)
            else:
                peer.say(reply)
        finally:
            with lock:
                count -= 1

    return script


def test_too_many_connections_shrinks_the_pool_and_every_article_is_posted(serve: Serve) -> None:
    with ScriptedServer(limited(2, "502 too many connections")) as server:
        service = serve(server.account(connections=8))
        failures: list[Exception] = []

        def post(numbers: range) -> None:
            try:
                for number in numbers:
                    service.post(article(number))
            except NewsError as error:
                failures.append(error)

        threads = [threading.Thread(target=post, args=(range(n * 10, n * 10 + 10),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (state,) = service.snapshot()
        assert failures == []
        assert state.posted == 80
        assert (state.state, state.allowed, state.connections_max) == ("limited", 2, 8)
        assert "too many connections" in state.reason
        assert service.posting_capacity() == 2


def test_simultaneous_ip_addresses_shrink_the_pool_to_one(serve: Serve) -> None:
    with ScriptedServer(limited(3, "502 Too many simultaneous IP addresses")) as server:
        service = serve(server.account(connections=8))
        threads = [threading.Thread(target=service.post, args=(article(n),)) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert service.posting_capacity() in (1, 8)  # 8 where three connections were enough for all forty
        for number in range(100, 103):
            service.post(article(number))


def test_forty_threads_post_over_eight_connections_and_not_one_more(serve: Serve) -> None:
    store = Store(delay_s=0.002)
    with ScriptedServer(store) as server:
        service = serve(server.account(connections=8))
        threads = [
            threading.Thread(target=lambda n=n: [service.post(article(n * 5 + i)) for i in range(5)])  # type: ignore[misc]
            for n in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.posted) == len(set(store.posted)) == 200
        assert server.most_open <= 8


def test_the_upload_limit_holds_and_can_be_lifted_while_articles_wait(serve: Serve) -> None:
    with ScriptedServer(Store()) as server:
        service = serve(server.account())
        service.set_limits(10_000, 0)
        service.post(article(1, 80_000))
        waiting = threading.Thread(target=service.post, args=(article(2),))
        waiting.start()
        time.sleep(0.1)
        assert waiting.is_alive()
        service.set_limits(0, 0)
        waiting.join(2)
        assert not waiting.is_alive()


def test_closing_lets_an_article_under_way_arrive_and_refuses_new_ones(serve: Serve) -> None:
    store = Store(delay_s=0.2)
    with ScriptedServer(store) as server:
        service = serve(server.account())
        posting = threading.Thread(target=service.post, args=(article(),))
        posting.start()
        time.sleep(0.25)
        service.close(5)
        posting.join()
        assert store.posted == [message_id(1)]
        with pytest.raises(Cancelled):
            service.post(article(2))


def test_closing_cuts_off_what_does_not_end_by_the_deadline_as_doubtful(serve: Serve) -> None:
    with ScriptedServer(Answers("silence")) as server:
        service = serve(server.account(timeout_s=30))
        outcome: list[NewsError] = []

        def post() -> None:
            try:
                service.post(article())
            except NewsError as error:
                outcome.append(error)

        posting = threading.Thread(target=post)
        posting.start()
        time.sleep(0.1)
        started = time.monotonic()
        service.close(0.2)
        posting.join()
        assert time.monotonic() - started < 3
        assert isinstance(outcome[0], PostDoubtful)
