"""When checks and repairs are due, by the clock in the test's hand. The lane does not run: what is put on it waits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalogue.making import batch, directory, file
from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import Damage, Seen
from usenetsyncd.catalogue.rows import PostedArticle
from usenetsyncd.catalogue.verifications import START, Advance, CheckKind
from usenetsyncd.daemon.caretaking import AGAIN_S, GRACE_S, Caretaker
from usenetsyncd.daemon.checking import VERIFY, Checking, Scopes
from usenetsyncd.daemon.health import HealthBook
from usenetsyncd.daemon.jobs import Jobs
from usenetsyncd.daemon.lane import Lane
from usenetsyncd.daemon.live import LiveFolders
from usenetsyncd.daemon.repairing import REPAIR, Repairing, note_repair
from usenetsyncd.news.service import NewsService
from usenetsyncd.settings.layers import load_text
from usenetsyncd.vault.vault import Vault

AFTER_S, EVERY_S = 600.0, 7 * 86_400.0
TEXT = """
version: 1
servers: [{name: main, host: 127.0.0.1, port: 1, tls: none}]
newsgroups: [alt.binaries.test]
folders: [{id: docs, path: /srv/docs, verify: {after: 10m, every: 7d, sample: 2%}}]
"""


class Desk:
    """A caretaker with a folder of two posted articles that were published just now."""

    def __init__(self, catalogue: Catalogue, vault: Vault, news: NewsService, clock: FakeClock) -> None:
        self.catalogue, self.clock = catalogue, clock
        settings = load_text(TEXT, environ={}).settings
        folders = LiveFolders(catalogue, vault)
        folders.load(settings)
        self.docs = folders.named("docs")
        self.row = self.docs.row
        scopes = Scopes(catalogue, vault, folders, news, clock, lambda: settings)
        self.book = HealthBook(catalogue, lambda: settings, clock)
        self.lane = Lane("lane", lambda: None)
        works = {
            VERIFY: Checking(scopes, self.book, lambda folder: None),
            REPAIR: Repairing(scopes, self.book, lambda: None, lambda: False),
        }
        self.jobs = Jobs(catalogue, clock, works, self.lane)
        self.caretaker = Caretaker(scopes, self.book, self.jobs, self.lane)

    def publish(self) -> None:
        files = [file(name, name.decode()) for name in (b"a", b"b")]
        self.catalogue.scan.store(batch(self.row, directory(b"", *files))).result()
        self.post()
        self.catalogue.folders.raise_version(self.row, 1).result()
        self.catalogue.folders.stamp(self.row, published_at=self.clock.now()).result()

    def post(self) -> None:
        """All that is queued is on the server now."""
        leased = self.catalogue.queue.lease(100).result()
        self.catalogue.queue.posted(
            [
                PostedArticle(one.segment_row, one.copy, one.generation, "main", None, self.clock.now())
                for one in leased
            ]
        ).result()

    def check(self, missing: int = 0, unknown: int = 0) -> None:
        """All was asked for, and that was found."""
        row = self.catalogue.verifications.begin(self.row, CheckKind.AVAILABILITY)
        self.catalogue.verifications.advance(row.id, Advance(START, 2, missing, 0, unknown, 0, {})).result()
        self.catalogue.verifications.finish(row.id).result()

    def due(self, kind: str) -> bool:
        self.caretaker.look()
        return self.jobs.waits(kind, self.row)

    def waits(self, errand: str) -> bool:
        self.caretaker.look()
        return self.lane.withdraw(f"{errand}-{self.row}")


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Iterator[Desk]:
    with Catalogue.open(tmp_path / "catalogue.sqlite", clock) as catalogue:
        news = NewsService([], clock)
        try:
            yield Desk(catalogue, Vault.open(tmp_path / "data", {}), news, clock)
        finally:
            news.close(0.0)


def test_nothing_is_due_before_there_is_a_version(desk: Desk) -> None:
    desk.clock.advance(EVERY_S)
    assert desk.caretaker.next_check_at(desk.docs) is None
    assert not desk.due(VERIFY)
    assert not desk.waits("propagation")


def test_the_first_check_comes_after_the_first_version_and_the_next_when_the_period_is_over(
    desk: Desk,
) -> None:
    desk.publish()
    assert desk.caretaker.next_check_at(desk.docs) == desk.clock.now() + AFTER_S
    desk.clock.advance(AFTER_S - 1)
    assert not desk.due(VERIFY)
    desk.clock.advance(1)
    assert desk.due(VERIFY)
    assert desk.jobs.asked() == 0
    desk.check()
    assert desk.caretaker.next_check_at(desk.docs) == desk.clock.now() + EVERY_S


def test_new_versions_do_not_put_off_the_first_check(desk: Desk) -> None:
    desk.publish()
    desk.caretaker.look()
    first = desk.caretaker.next_check_at(desk.docs)
    desk.clock.advance(AFTER_S / 2)
    desk.catalogue.folders.stamp(desk.row, published_at=desk.clock.now()).result()
    assert desk.caretaker.next_check_at(desk.docs) == first


def test_a_check_without_an_answer_from_some_server_is_done_again_soon(desk: Desk) -> None:
    desk.publish()
    desk.check(unknown=1)
    assert desk.caretaker.next_check_at(desk.docs) == desk.clock.now() + AGAIN_S


def test_a_check_is_asked_for_once_and_not_at_every_look(desk: Desk) -> None:
    desk.publish()
    desk.clock.advance(AFTER_S)
    assert desk.due(VERIFY)
    (job,) = desk.catalogue.jobs.list().rows
    desk.caretaker.look()
    desk.jobs.cancel(job.id)
    assert not desk.due(VERIFY)
    desk.clock.advance(AGAIN_S)
    assert desk.due(VERIFY)
    assert len(desk.catalogue.jobs.list().rows) == 2


def test_a_clock_that_was_set_back_does_not_end_the_checks(desk: Desk) -> None:
    desk.publish()
    desk.check()
    desk.clock.set_wall(desk.clock.now() - 10 * 365 * 86_400)
    assert desk.due(VERIFY)


def test_new_articles_are_asked_for_some_minutes_after_they_were_posted(desk: Desk) -> None:
    desk.publish()
    desk.clock.advance(AFTER_S - 1)
    assert not desk.waits("propagation")
    desk.clock.advance(2)
    assert desk.waits("propagation")


def test_what_was_posted_again_is_asked_for_like_what_is_new(desk: Desk) -> None:
    desk.publish()
    (first, _) = desk.catalogue.verifications.articles(desk.row)
    row = desk.catalogue.verifications.begin(desk.row, CheckKind.PROPAGATION)
    (*_, last) = desk.catalogue.verifications.articles(desk.row)
    seen = Seen(first.segment_row, 0, 0, "main", Damage.MISSING)
    desk.catalogue.verifications.advance(row.id, Advance(last.key, 2, 1, 0, 0, 0, {}, [seen])).result()
    assert not desk.waits("propagation")
    desk.catalogue.queue.repost([first.key]).result()
    desk.post()
    desk.clock.advance(AFTER_S + 1)
    assert desk.waits("propagation")


def test_what_somebody_found_is_left_to_him_for_a_while(desk: Desk) -> None:
    desk.publish()
    desk.check(missing=1)
    desk.clock.advance(GRACE_S - 1)
    assert not desk.due(REPAIR)
    desk.clock.advance(1)
    assert desk.due(REPAIR)
    assert desk.jobs.asked() == 0


def test_what_was_repaired_since_is_not_repaired_again(desk: Desk) -> None:
    desk.publish()
    desk.check(missing=1)
    desk.clock.advance(1)
    note_repair(desk.catalogue, desk.row, desk.clock.now())
    desk.clock.advance(GRACE_S)
    assert not desk.due(REPAIR)
    desk.check(missing=1)
    desk.clock.advance(GRACE_S)
    assert desk.due(REPAIR)


def test_nothing_is_repaired_while_the_folder_is_paused(desk: Desk) -> None:
    desk.publish()
    desk.check(missing=1)
    desk.catalogue.folders.set_paused(desk.row, True).result()
    desk.clock.advance(GRACE_S)
    assert not desk.due(REPAIR)
    desk.catalogue.folders.set_paused(desk.row, False).result()
    assert desk.due(REPAIR)


def test_health_is_worked_out_once_and_again_only_where_something_is_wrong(desk: Desk) -> None:
    desk.publish()
    assert desk.waits("health")
    assert desk.book.of(desk.row).word == "unknown"
    assert desk.book.renew(desk.docs).word == "unknown"
    desk.check()
    assert desk.book.of(desk.row).word == "restorable"
    desk.book.renew(desk.docs)
    desk.clock.advance(EVERY_S / 2)
    assert not desk.waits("health")
    article = desk.catalogue.verifications.articles(desk.row)[0]
    desk.catalogue.findings.note(desk.row, [Seen(article.segment_row, 0, 0, "main", Damage.MISSING)]).result()
    assert desk.waits("health")


def told(desk: Desk) -> list[str]:
    """Codes of the events, all that are on their way to the catalogue included."""
    desk.catalogue.writer.run(lambda _: None)
    return [event.code for event in desk.catalogue.events.latest()]


def test_a_loss_for_good_is_an_event_once(desk: Desk) -> None:
    desk.publish()
    articles = desk.catalogue.verifications.articles(desk.row)
    seen = [Seen(article.segment_row, 0, 0, "main", Damage.MISSING) for article in articles]
    desk.catalogue.findings.note(desk.row, seen).result()
    for _ in range(3):
        health = desk.book.renew(desk.docs)
    assert health.lost_segments == 2
    events = told(desk)
    assert events.count("unrepairable") == 1
    gone = [Seen(article.segment_row, 0, 0, "main", None) for article in articles]
    desk.catalogue.findings.note(desk.row, gone).result()
    desk.book.renew(desk.docs)
    events = told(desk)
    assert (events.count("unrepairable"), events.count("recovered")) == (1, 1)
