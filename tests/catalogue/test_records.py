"""The small tables: folders, jobs, events, shares, troubles, heads, values."""

import pytest

from tests.plugins.clock import FakeClock
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.events import Events
from usenetsyncd.catalogue.jobs import JobState
from usenetsyncd.errors import CatalogueError, NotFound, UsageError
from usenetsyncd.model import RelativePath


def test_a_folder_keeps_its_uid_and_follows_its_root(catalogue: Catalogue, docs: int) -> None:
    again = catalogue.folders.ensure("docs", b"/mnt/d\xffcs", b"another uid, 16.")
    assert (again.id, again.uid, again.root) == (docs, b"u" * 16, b"/mnt/d\xffcs")


def test_a_removed_folder_is_gone_until_it_is_taken_back(
    catalogue: Catalogue, docs: int, clock: FakeClock
) -> None:
    catalogue.folders.remove(docs).result()
    with pytest.raises(NotFound, match="'docs'"):
        catalogue.folders.get("docs")
    assert catalogue.folders.list() == []
    assert [row.removed_at for row in catalogue.folders.list(removed=True)] == [clock.now()]
    assert catalogue.folders.by_id(docs).name == "docs"
    assert catalogue.folders.ensure("docs", b"/srv/docs", b"u" * 16).removed_at is None
    with pytest.raises(NotFound):
        catalogue.folders.by_id(77)


def test_states_flags_and_times_of_a_folder(catalogue: Catalogue, docs: int) -> None:
    catalogue.folders.set_state(docs, "held", "31% of files deleted")
    catalogue.folders.set_held(docs, True, "31% of files deleted")
    catalogue.folders.set_paused(docs, True)
    catalogue.folders.stamp(docs, scanned_at=5.0, verified_at=6.0).result()
    row = catalogue.folders.get("docs")
    assert (row.state, row.reason, row.held, row.paused) == ("held", "31% of files deleted", True, True)
    assert (row.scanned_at, row.verified_at, row.published_at) == (5.0, 6.0, None)
    with pytest.raises(ValueError, match="removed_at"):
        catalogue.folders.stamp(docs, removed_at=1.0)


def test_a_job_from_asking_to_its_end(catalogue: Catalogue, docs: int, clock: FakeClock) -> None:
    job = catalogue.jobs.add("restore", docs, {"paths": ["a"]})
    assert (job.state, job.params, job.attempts) == (JobState.QUEUED, {"paths": ["a"]}, 0)
    catalogue.jobs.start(job.id)
    started = clock.now()
    clock.advance(5)
    catalogue.jobs.start(job.id)
    catalogue.jobs.progress(job.id, {"files": 3}).result()
    running = catalogue.jobs.get(job.id)
    assert (running.state, running.started_at, running.attempts) == (JobState.RUNNING, started, 2)
    assert running.progress == {"files": 3}
    assert catalogue.jobs.unfinished() == (running,)
    catalogue.jobs.finish(job.id, JobState.FAILED, {"failed": 1}, "seal_broken", "one file").result()
    done = catalogue.jobs.get(job.id)
    assert (done.state, done.result, done.error_code, done.finished_at) == (
        JobState.FAILED,
        {"failed": 1},
        "seal_broken",
        clock.now(),
    )
    assert catalogue.jobs.unfinished() == ()
    with pytest.raises(NotFound):
        catalogue.jobs.start(99).result()
    with pytest.raises(NotFound):
        catalogue.jobs.get(99)


def test_jobs_are_listed_the_newest_first_and_old_ones_forgotten(catalogue: Catalogue, docs: int) -> None:
    for number in range(6):
        job = catalogue.jobs.add("scan", docs if number % 2 else None)
        if number != 1:
            catalogue.jobs.finish(job.id)
    first = catalogue.jobs.list(limit=4)
    catalogue.jobs.add("late")
    rest = catalogue.jobs.list(first.next, limit=4)
    assert [row.id for row in (*first.rows, *rest.rows)] == [6, 5, 4, 3, 2, 1]
    assert [row.id for row in catalogue.jobs.list(folder_id=docs).rows] == [6, 4, 2]
    assert [row.id for row in catalogue.jobs.list(states=[JobState.QUEUED]).rows] == [7, 2]
    assert catalogue.jobs.prune(keep=3).result() == 3
    assert [row.id for row in catalogue.jobs.list().rows] == [7, 6, 5, 2]


def test_events_are_followed_by_id_and_bounded(catalogue: Catalogue, docs: int, clock: FakeClock) -> None:
    events = Events(catalogue._readers, catalogue.writer, clock, kept=10)
    for number in range(35):
        events.add(
            "info", "posted", f"event {number}", docs if number % 2 else None, size_bytes=number
        ).result()
    assert events.newest_id() == 35
    assert [row.id for row in events.since(0)] == list(range(21, 36))
    assert [row.id for row in events.since(33)] == [34, 35]
    assert [row.id for row in events.latest(3)] == [35, 34, 33]
    assert [row.id for row in events.latest(2, folder_id=docs, before=34)] == [32, 30]
    (last,) = events.since(34)
    assert (last.at, last.level, last.code, last.message, last.fields) == (
        clock.now(),
        "info",
        "posted",
        "event 34",
        {"size_bytes": 34},
    )


def test_shares_from_creation_to_revocation(catalogue: Catalogue, docs: int, clock: FakeClock) -> None:
    made = catalogue.shares.add("s1", docs, "public", b"\x00sealed\xff", expires_at=9.0)
    assert catalogue.shares.get("s1") == made
    assert "sealed" not in repr(made)
    catalogue.shares.add("s2", docs, "public", b"x")
    with pytest.raises(CatalogueError):
        catalogue.shares.add("s1", docs, "public", b"y")
    catalogue.shares.update("s1", serial=2, secret=b"new").result()
    catalogue.shares.revoke("s1").result()
    row = catalogue.shares.get("s1")
    assert (row.serial, row.secret, row.revoked_at, row.expires_at) == (2, b"new", clock.now(), 9.0)
    first = catalogue.shares.list(docs, limit=1)
    assert [row.id for row in (*first.rows, *catalogue.shares.list(docs, first.next).rows)] == ["s1", "s2"]
    assert catalogue.shares.list(77).rows == ()
    for call in (lambda: catalogue.shares.get("no"), lambda: catalogue.shares.revoke("no").result()):
        with pytest.raises(NotFound):
            call()


def test_troubles_count_attempts_and_end(catalogue: Catalogue, docs: int, clock: FakeClock) -> None:
    path = RelativePath(b"d/\xff")
    since = clock.now()
    catalogue.troubles.note(docs, path, "changing", "it changes")
    clock.advance(9)
    catalogue.troubles.note(docs, path, "changing", "still")
    catalogue.troubles.note(docs, RelativePath(b"e"), "unreadable", "EACCES").result()
    first = catalogue.troubles.list(docs, limit=1)
    (row,) = first.rows
    assert (row.path, row.code, row.message, row.since, row.attempts) == (path, "changing", "still", since, 2)
    assert [row.path for row in catalogue.troubles.list(docs, first.next).rows] == [b"e"]
    catalogue.troubles.note(docs, path, "unreadable", "EIO").result()
    assert catalogue.troubles.list(docs).rows[0].attempts == 1
    assert catalogue.troubles.counts(docs) == {"unreadable": 2}
    assert catalogue.troubles.clear(docs, path).result()
    assert not catalogue.troubles.clear(docs, path).result()
    assert catalogue.troubles.clear_folder(docs, clock.now()).result() == 0
    assert catalogue.troubles.clear_folder(docs).result() == 1


def test_a_known_head_never_goes_back(catalogue: Catalogue) -> None:
    name = b"f" * 16
    assert catalogue.heads.get(name) is None
    assert catalogue.heads.remember(name, 5, b"five").result()
    assert not catalogue.heads.remember(name, 4, b"four").result()
    assert not catalogue.heads.remember(name, 5, b"fork").result()
    assert catalogue.heads.remember(name, 5, b"five").result()
    known = catalogue.heads.get(name)
    assert known is not None
    assert (known.version, known.head_hash) == (5, b"five")
    assert catalogue.heads.remember(name, 6, b"six").result()


def test_values_are_replaced(catalogue: Catalogue) -> None:
    assert catalogue.values.get("device") is None
    for value in ("1", "2"):
        catalogue.values.set("device", value).result()
    assert catalogue.values.get("device") == "2"


def test_cursors_of_another_list_are_refused(catalogue: Catalogue, docs: int) -> None:
    for number in range(3):
        catalogue.jobs.add("scan")
        catalogue.troubles.note(docs, RelativePath(b"%d" % number), "x", "y").result()
    of_jobs, of_troubles = catalogue.jobs.list(limit=1).next, catalogue.troubles.list(docs, limit=1).next
    with pytest.raises(UsageError):
        catalogue.troubles.list(docs, of_jobs)
    with pytest.raises(UsageError):
        catalogue.jobs.list(of_troubles)
