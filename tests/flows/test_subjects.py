"""A server that puts ids of its own in place of ours: everything is found all the same, by subjects and overrides."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.backbones import BOTH, Backbones, backbones
from tests.flows.protected import contents
from tests.flows.test_share import share
from tests.plugins.clock import FakeClock
from usenetsyncd.errors import NothingPublished
from usenetsyncd.flows.locate import KnownVersion, Located, locate, locate_own
from usenetsyncd.flows.restore import Restore, RestoreRequest
from usenetsyncd.flows.subjects import SubjectFinder
from usenetsyncd.model import ArticleAddress, ArticleKind

GROUPS = ("alt.binaries.test",)


@pytest.fixture
def shop(tmp_path: Path, clock: FakeClock) -> Iterator[Backbones]:
    with backbones(tmp_path, clock, {"main": BOTH}) as made:
        made.witness.set([{"match": {"command": "POST"}, "act": {"rewrite_id": True}}])
        yield made


def found(shop: Backbones, access: str, known: KnownVersion | None = None) -> Located:
    return locate(shop.news, access, shop.clock, lambda _: known, groups=GROUPS)


def restored(shop: Backbones, located: Located, name: str) -> dict[str, bytes]:
    target = shop.place / name
    plan = shop.place / f"{name}.plan"
    restore = Restore(
        shop.news, located, RestoreRequest(target), plan, threading.Event(), lambda _: None, GROUPS
    )
    assert restore.run().failed == 0
    return contents(target)


def test_the_string_alone_restores_every_version_from_a_server_that_changes_all_ids(shop: Backbones) -> None:
    shop.segments(3, size=50_100)
    shop.write("small", b"first")
    shop.commit()
    access = share(shop)
    shop.post_all()
    first = found(shop, access)
    assert first.head.version == 1
    assert restored(shop, first, "first") == contents(shop.root)
    for number in range(2, 6):
        shop.write("small", b"version %d" % number)
        shop.commit()
    last = found(shop, access, KnownVersion(1, first.head_hash))
    assert last.head.version == 5
    # The first version could not know of its own index articles' ids; the fifth knows of all before it.
    assert last.head.overrides is not None
    assert restored(shop, last, "last") == contents(shop.root)


def test_the_owner_finds_a_version_of_its_own_there(shop: Backbones) -> None:
    shop.write("small", b"mine")
    shop.commit()
    located = locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, None, GROUPS)
    assert restored(shop, located, "back") == {"small": b"mine"}


def test_without_newsgroups_to_look_in_there_is_nothing(shop: Backbones) -> None:
    shop.write("small", b"mine")
    shop.commit()
    access = share(shop)
    shop.post_all()
    with pytest.raises(NothingPublished):
        locate(shop.news, access, shop.clock, lambda _: None)


def test_a_stranger_under_the_same_subject_is_passed_over(shop: Backbones) -> None:
    shop.write("small", b"mine")
    shop.commit()
    spool = shop.server.spool
    finder = SubjectFinder(shop.news, GROUPS)
    (data,) = [article for article in shop.stored() if article.kind is ArticleKind.DATA]
    assert data.message_id is not None
    stored, wire = spool.find(data.message_id), spool.read(data.message_id)
    assert stored is not None
    assert wire is not None
    forged = wire.replace(wire.split(b"\r\n\r\n", 1)[1][:200], b"=ybegin line=128 size=1 name=x\r\nx")
    assert spool.claim("<forged@elsewhere>")
    spool.add(replace(stored.overview, message_id="<forged@elsewhere>"), [*stored.numbers], [forged])
    at = ArticleAddress(ArticleKind.DATA, data.seg_id)
    assert [content for _, content in finder.open_all((shop.keys,), [at])] == [b"mine"]
