"""A daemon finds the versions of its own folders, verified as anybody else's."""

import os

import pytest

from tests.flows.workshop import Workshop
from usenetsyncd.errors import ArticleMissing, NotFound, NothingPublished
from usenetsyncd.flows.locate import locate_own
from usenetsyncd.wire.head import head_address
from usenetsyncd.wire.keys import message_id_of
from usenetsyncd.wire.pages import read_tree


def test_the_newest_version_and_any_older_one_are_found(shop: Workshop) -> None:
    versions = []
    for number in range(3):
        shop.write(f"f{number}", os.urandom(100))
        versions.append(shop.commit())
    newest = locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, None)
    assert (newest.head.version, newest.head_hash) == (3, versions[2].head_hash)
    for version in versions:
        located = locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, version.version)
        assert located.head_hash == version.head_hash
        assert located.head.root == version.root
        files = [e for e in read_tree(located.head.root, shop.load) if e.kind.name == "FILE"]
        assert len(files) == version.version


def test_what_is_not_published_is_not_found(shop: Workshop) -> None:
    with pytest.raises(NothingPublished):
        locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, None)
    shop.write("a", b"a")
    shop.scan()
    shop.post_all()
    version = shop.publisher().build()
    with pytest.raises(NothingPublished):
        locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, version.version)
    shop.post_all()
    shop.publisher().finish(version)
    with pytest.raises(NotFound):
        locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, 7)


def test_a_head_that_the_servers_lost_is_said_to_be_missing(shop: Workshop) -> None:
    shop.write("a", b"a")
    version = shop.commit()
    shop.server.remove(message_id_of(shop.keys.location, head_address(version.epoch, version.version)))
    with pytest.raises((ArticleMissing, NotFound)):
        locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, None)
