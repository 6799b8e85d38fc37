"""Parity in whole daemons: the first version carries it, quiet folders get the rest, no kill leaves it half done."""

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import DaemonProcess, World, assert_restored, until
from tests.daemon.trees import describe, differences, write_files
from tests.flows.driving import Driven, configuration, wait_until
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.daemon.daemon import Daemon
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.settings.layers import load_settings
from usenetsyncd.vault.vault import Vault
from usenetsyncd.wire.keys import folder_secret, message_id_of, read_keys, read_secret, signing_key

DATA, INDEX, HEAD, PARITY = 1, 2, 3, 5
KILLS = 8
# Segments without parity, and stripes of which some is not posted.
WAITING = "SELECT (SELECT count(*) FROM unprotected), (SELECT count(*) FROM stripe WHERE state = 0)"


def redundancy(parity: str, parity_after: str = "1h") -> dict[str, Any]:
    kept = {"copies": 1, "parity": parity, "parity_after": parity_after}
    return {"settle": "0.3s", "redundancy": kept}


def rows(daemon: DaemonProcess, query: str) -> list[tuple[Any, ...]]:
    catalogue = daemon.catalogue()
    try:
        return catalogue.execute(query).fetchall()
    finally:
        catalogue.close()


def posted(daemon: DaemonProcess, kind: int, copy: int = 0) -> int:
    query = "SELECT count(*) FROM article a JOIN segment s ON s.id = a.segment_id "
    return int(rows(daemon, f"{query} WHERE a.state = 0 AND s.kind = {kind} AND a.copy = {copy}")[0][0])


def published(daemon: DaemonProcess) -> list[tuple[int, int, int]]:
    """(data, parity, version) of the stripes that readers know of."""
    return rows(daemon, "SELECT data, parity, version FROM stripe WHERE state = 2 ORDER BY id")


def staged(daemon: DaemonProcess) -> list[str]:
    place = daemon.data_dir / "staging"
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_the_first_version_carries_parity_for_all_and_brings_back_what_is_lost(here: World) -> None:
    dice = random.Random(1)
    here.source.mkdir()
    for number in range(50):
        (here.source / f"large {number}").write_bytes(dice.randbytes(60_000 + number))
    one = here.daemon(defaults=redundancy("10%")).start()
    one.wait_idle()
    string = one.share()
    one.wait_idle()
    assert sorted(published(one)) == [(10, 1, 1), (20, 2, 1), (20, 2, 1)]
    assert posted(one, PARITY) == 5
    until(lambda: not staged(one), 20.0, lambda: f"staged for ever: {staged(one)}")
    one.stop()
    lost = lose(one, here.server)
    assert lost == 5
    whole = shutil.copytree(here.source, here.place / "whole", symlinks=True)
    shutil.rmtree(here.source)
    two = here.reader().start()
    assert_restored(two, string, whole, here.place / "back")


def lose(daemon: DaemonProcess, server: LoopbackServer) -> int:
    """As many data articles of each stripe as it has parity are gone; how many in all."""
    vault = Vault.open(daemon.data_dir)
    (uid,) = rows(daemon, "SELECT uid FROM folder")[0]
    secret = folder_secret(vault.master(), uid)
    keys = read_keys(read_secret(secret, 1), signing_key(secret).fingerprint)
    found = rows(
        daemon,
        "SELECT s.seg_id FROM stripe t JOIN stripe_member m ON m.stripe_id = t.id AND m.position < t.parity "
        "JOIN segment s ON s.id = m.segment_id",
    )
    for (seg_id,) in found:
        server.remove(message_id_of(keys.location, ArticleAddress(ArticleKind.DATA, seg_id)))
    return len(found)


def test_few_changes_get_parity_when_the_folder_is_quiet_and_the_index_a_second_copy(here: World) -> None:
    write_files(here.source, 10, random.Random(2), largest=3_000)
    one = here.daemon(defaults=redundancy("10%", "1s")).start()
    one.wait_idle()
    assert published(one) == [(1, 1, 1)]
    (here.source / "new").write_bytes(b"few bytes")
    one.wait_idle()
    query = "SELECT data, parity, state FROM stripe ORDER BY id"
    until(lambda: rows(one, query) == [(1, 1, 2), (1, 1, 1)], 30.0, lambda: str(rows(one, query)))
    until(
        lambda: posted(one, INDEX, 1) == posted(one, INDEX) and posted(one, HEAD, 1) >= 1,
        30.0,
        lambda: f"{posted(one, INDEX, 1)} of {posted(one, INDEX)} index articles have a copy",
    )
    assert one.folder()["version"] == 2  # a stripe alone waits for company


def test_without_parity_there_is_none(here: World) -> None:
    write_files(here.source, 10, random.Random(2), largest=3_000)
    one = here.daemon().start()
    one.wait_idle()
    assert (posted(one, PARITY), rows(one, "SELECT * FROM unprotected")) == (0, [])
    assert rows(one, "SELECT parity FROM folder") == [(None,)]


def test_parity_that_is_turned_on_later_covers_what_was_posted_before(here: World) -> None:
    dice = random.Random(3)
    here.source.mkdir()
    for number in range(8):
        (here.source / f"large {number}").write_bytes(dice.randbytes(60_000))
    one = here.daemon().start()
    one.wait_idle()
    one.stop()
    one.config["defaults"] = redundancy("50%")
    one.write_config()
    one.start()
    until(
        lambda: rows(one, "SELECT count(*) FROM stripe WHERE state = 1") == [(2,)],
        30.0,
        lambda: str(rows(one, "SELECT * FROM stripe")),
    )


def test_stripes_alone_get_a_version_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usenetsyncd.daemon.publishing.LISTS_WAIT_S", 0.5)
    source = tmp_path / "src"
    source.mkdir()
    (source / "first").write_bytes(b"first")
    with LoopbackServer(tmp_path / "spool") as server:
        path = configuration(tmp_path / "one", server.address, {"src": source})
        text = path.read_text().replace(
            "defaults: {settle: 1s}",
            "defaults: {settle: 200ms, redundancy: {copies: 1, parity: 10%, parity_after: 1s}}",
        )
        path.write_text(text)
        with Driven(Daemon(load_settings(path), SYSTEM_CLOCK)) as driven:
            driven.wait_for_version("src", 1)
            (source / "second").write_bytes(b"second")
            driven.wait_for_version("src", 3)
            row = driven.daemon.folders.named("src").row
            stripes = driven.daemon.catalogue.stripes
            wait_until(lambda: stripes.ready(row) == (0, 0), "every stripe in a version")
            assert driven.daemon.catalogue.versions.change_count(row) == 0


def test_no_kill_leaves_parity_half_made_or_posted_twice(here: World) -> None:
    dice = random.Random(11)
    one = here.daemon(defaults=redundancy("50%", "1s"))
    for number in range(KILLS):
        for file in range(12):
            (here.source / f"{number}-{file}").write_bytes(dice.randbytes(60_000 + file))
        one.launch()
        taken = here.posts() + dice.randrange(1, 24)
        until(
            lambda taken=taken: here.posts() >= taken,  # type: ignore[misc]
            30.0,
            lambda: f"nothing is posted: {one.tail()}",
        )
        one.kill()
        here.assert_posted_once()
    one.start()
    one.wait_idle()
    until(
        lambda: rows(one, WAITING) == [(0, 0)] and not staged(one),
        60.0,
        lambda: f"{rows(one, WAITING)} {staged(one)} {one.tail()}",
    )
    string = one.share()
    one.wait_idle()
    one.stop()
    here.assert_posted_once()
    database = sqlite3.connect(one.data_dir / "catalogue.sqlite")
    try:
        # Every segment is in one stripe, and every stripe has all of its members.
        members, distinct = database.execute(
            "SELECT count(*), count(DISTINCT segment_id) FROM stripe_member m "
            "JOIN stripe t ON t.id = m.stripe_id AND m.position < t.data"
        ).fetchone()
        assert members == distinct == KILLS * 12
        broken = database.execute(
            "SELECT count(*) FROM stripe t WHERE t.data + t.parity <> "
            "(SELECT count(*) FROM stripe_member m WHERE m.stripe_id = t.id)"
        ).fetchone()
        assert broken == (0,)
    finally:
        database.close()
    two = here.reader().start()
    two.restore(string, here.place / "back")
    told = differences(describe(here.source), describe(here.place / "back"))
    assert not told
