"""Taking back: what comes next is out of reach, and whoever may goes on reading all of it."""

import os
import threading
from pathlib import Path

import pytest

from tests.flows.workshop import Workshop
from usenetsyncd.catalogue.rows import ArticleState, ShareRow, UserRow
from usenetsyncd.catalogue.shares import IssuedEnvelope
from usenetsyncd.errors import (
    CatalogueError,
    Fork,
    LimitExceeded,
    NotAMember,
    NotFound,
    NothingPublished,
    ShareExpired,
    ShareRevoked,
    UsageError,
    WrongPassphrase,
)
from usenetsyncd.flows.epochs import epoch_awaits_version, next_epoch
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.flows.locate import KnownVersion, Located, Opening, locate, newest_head
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.restore import Restore, RestoreRequest, RestoreSummary
from usenetsyncd.flows.share import access_string, segment_of
from usenetsyncd.model import ArticleAddress, ArticleKind
from usenetsyncd.wire.access import decode_access
from usenetsyncd.wire.identity import Identity, read_card
from usenetsyncd.wire.keys import message_id_of, read_keys
from usenetsyncd.wire.membership import Argon2
from usenetsyncd.wire.pages import find_entry

QUICK = Argon2(1, 1, 64)
BOB, CAROL = Identity(b"b" * 32), Identity(b"c" * 32)


def user(shop: Workshop, name: str, identity: Identity) -> UserRow:
    card = read_card(identity.card(name, 1))
    return shop.catalogue.users.add(name, card.fingerprint, card.text.encode())


def string_of(shop: Workshop, share: ShareRow) -> str:
    return access_string(shop.vault, share, shop.signing.fingerprint)


def look(
    shop: Workshop,
    string: str,
    passphrase: str | None = None,
    identity: Identity | None = None,
    known: KnownVersion | None = None,
) -> Located:
    return locate(shop.news, string, shop.clock, lambda _: known, Opening(passphrase, identity))


def restore(shop: Workshop, located: Located, target: Path) -> RestoreSummary:
    plan = shop.place / f"{target.name}.plan"
    return Restore(shop.news, located, RestoreRequest(target), plan, threading.Event(), lambda _: None).run()


def begin_epoch(shop: Workshop) -> int:
    """Revoke a public share that was made for it; the folder stands in the next epoch, with a version."""
    sharer = shop.sharer()
    assert sharer.revoke(sharer.public().id, shop.clock.now()) is not None
    shop.follow_epoch()
    version = shop.commit()
    sharer.renew()
    shop.post_all()
    return version.epoch


def test_nothing_that_is_posted_after_a_dismissal_can_be_found_or_opened_by_who_was_dismissed(
    shop: Workshop,
) -> None:
    shop.write("a", b"a" * 100)
    bob, carol = user(shop, "bob", BOB), user(shop, "carol", CAROL)
    shop.commit()
    sharer = shop.sharer()
    share = sharer.private([bob, carol])
    string = string_of(shop, share)
    shop.post_all()
    kept = look(shop, string, identity=BOB)  # with the keys of epoch 1, for good
    before = {article.seg_id for article in shop.articles(ArticleState.POSTED)}
    assert sharer.dismiss(share.id, bob) == 2
    shop.follow_epoch()
    shop.write("b", os.urandom(900_000))
    assert shop.commit().epoch == 2
    assert sharer.renew() == 1
    shop.post_all()
    new = [article for article in shop.articles(ArticleState.POSTED) if article.seg_id not in before]
    assert {article.kind for article in new} == {
        ArticleKind.DATA,
        ArticleKind.INDEX,
        ArticleKind.HEAD,
        ArticleKind.ENVELOPE,
    }
    names = {message_id_of(kept.rings[0].location, ArticleAddress(one.kind, one.seg_id)) for one in new}
    assert not names & shop.server.counters.posts.keys(), (
        "of the new ones none has a name that Bob can compute"
    )
    with pytest.raises(NotAMember):
        look(shop, string, identity=BOB)
    old = newest_head(shop.news, kept.rings, kept.head.fingerprint, 1, 1, None, shop.clock)
    assert old.head_hash == kept.head_hash, "what he could read he can still read"
    found = look(shop, string, identity=CAROL)
    assert (found.head.version, found.head.epoch) == (2, 2)
    assert restore(shop, found, shop.place / "out").failed == 0
    shop.assert_sound()


def test_an_epoch_is_told_only_when_a_version_stands_in_it(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    sharer = shop.sharer()
    kept = string_of(shop, sharer.public())
    gone = sharer.public()
    shop.post_all()
    assert sharer.revoke(gone.id, 1.0) == 2
    shop.post_all()
    assert epoch_awaits_version(shop.catalogue, shop.row)
    with pytest.raises(ShareRevoked):
        look(shop, string_of(shop, gone))
    assert look(shop, kept).head.version == 1, "until then others read what there is"
    assert sharer.renew() == 0
    # Whatever else is taken back now needs no epoch of its own: nobody has the secret of the next one.
    also = sharer.public()
    assert sharer.revoke(also.id, 1.0) is None
    shop.follow_epoch()
    version = shop.publish()
    assert (version.epoch, version.files) == (2, 1)
    assert not epoch_awaits_version(shop.catalogue, shop.row)
    assert sharer.renew() == 1
    assert sharer.renew() == 0
    shop.post_all()
    found = look(shop, kept)
    assert (found.head.epoch, found.head.version) == (2, 2)
    assert [(old.epoch, old.first_version) for old in found.head.older] == [(1, 1)]


def test_a_reader_who_knows_an_old_version_follows_the_chain_across_epochs(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    string = string_of(shop, shop.sharer().public())
    shop.post_all()
    first = look(shop, string)
    assert [begin_epoch(shop), begin_epoch(shop)] == [2, 3]
    known = KnownVersion(1, first.head_hash)
    assert look(shop, string, known=known).head.epoch == 3
    with pytest.raises(Fork):
        look(shop, string, known=KnownVersion(1, b"x" * 32))
    second = shop.catalogue.versions.get(shop.row, 2)
    with pytest.raises(Fork):
        look(shop, string, known=KnownVersion(2, b"x" * 32))
    assert second.head_hash is not None
    assert look(shop, string, known=KnownVersion(2, second.head_hash)).head.version == 3


def test_segments_of_every_epoch_come_back_in_bulk(shop: Workshop) -> None:
    string = string_of(shop, shop.sharer().public())
    expected = {}
    for epoch in (1, 2, 3):
        for number in range(12):
            content = expected[f"{epoch}-{number}"] = os.urandom(60_000)
            shop.write(f"{epoch}-{number}", content)
        shop.commit()
        begin_epoch(shop)
    found = look(shop, string)
    assert found.head.epoch == 4
    shop.witness.asked.clear()
    assert restore(shop, found, shop.place / "out").failed == 0
    assert {path.name: path.read_bytes() for path in (shop.place / "out").iterdir()} == expected
    stats = [message_id for command, message_id in shop.witness.asked if command == "STAT"]
    assert len(stats) < 200, "36 segments sought one by one would be asked for 35 times each"


def test_what_was_hashed_before_the_epoch_moved_stays_in_its_epoch(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    string = string_of(shop, shop.sharer().public())
    gone = shop.sharer().public()
    shop.post_all()
    shop.write("late", os.urandom(70_000))
    # The scan began with the keys of epoch 1, and stores when the folder stands in epoch 2.
    shop.sharer().revoke(gone.id, 1.0)
    shop.scan(options=ReindexOptions(epoch=1))
    shop.post_all()
    assert shop.states() == {ArticleState.POSTED: sum(shop.states().values())}
    shop.follow_epoch()
    assert shop.publish().epoch == 2
    shop.sharer().renew()
    shop.post_all()
    assert restore(shop, look(shop, string), shop.place / "out").failed == 0
    assert (shop.place / "out" / "late").read_bytes() == (shop.root / "late").read_bytes()


def test_names_of_one_file_belong_together_across_epochs(shop: Workshop) -> None:
    shop.write("one", b"content" * 20)
    os.link(shop.root / "one", shop.root / "two")
    shop.commit()
    string = string_of(shop, shop.sharer().public())
    begin_epoch(shop)
    os.link(shop.root / "one", shop.root / "three")
    shop.commit()
    found = look(shop, string)
    load = IndexReader(shop.news, found.rings).load
    entries = [find_entry(found.head.root, load, name) for name in (b"one", b"two", b"three")]  # type: ignore[arg-type]
    assert len({entry.link_group for entry in entries if entry is not None}) == 1


def test_a_share_that_is_over_begins_an_epoch_once(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    sharer = shop.sharer()
    kept = string_of(shop, sharer.public())
    short = string_of(shop, sharer.public(int(shop.clock.now()) + 100))
    shop.post_all()
    assert sharer.expire() is None
    shop.clock.advance(101)
    assert sharer.expire() == 2
    assert sharer.expire() is None
    shop.follow_epoch()
    shop.publish()
    assert sharer.renew() == 1, "the one that is over is not told"
    shop.post_all()
    with pytest.raises(ShareExpired):
        look(shop, short)
    assert look(shop, kept).head.epoch == 2


def test_a_protected_share_goes_on_with_its_passphrase_in_the_next_epoch(shop: Workshop) -> None:
    shop.write("a", b"a")
    shop.commit()
    string = string_of(shop, shop.sharer().protected("noon at the caf\u00e9", argon2=QUICK))
    begin_epoch(shop)
    assert look(shop, string, "noon at the cafe\u0301").head.epoch == 2
    with pytest.raises(WrongPassphrase):
        look(shop, string, "midnight")
    stored = b"".join(path.read_bytes() for path in shop.place.glob("catalogue.sqlite*"))
    assert b"noon at" not in stored


def test_members_come_and_go(shop: Workshop) -> None:
    shop.write("a", b"a")
    bob, carol = user(shop, "bob", BOB), user(shop, "carol", CAROL)
    shop.commit()
    sharer = shop.sharer()
    share = sharer.private([bob])
    string = string_of(shop, share)
    shop.post_all()
    with pytest.raises(NotAMember):
        look(shop, string, identity=CAROL)
    assert sharer.admit(share.id, [carol, bob]).serial == 2
    assert sharer.admit(share.id, [carol]).serial == 2, "who is in is not let in again"
    shop.post_all()
    assert look(shop, string, identity=CAROL).head.version == 1
    assert next_epoch(shop.catalogue, shop.catalogue.shares.get(share.id)) == 2
    with pytest.raises(UsageError, match="leave it first"):
        shop.catalogue.users.remove(bob.id)
    sharer.dismiss(share.id, bob)
    with pytest.raises(NotFound, match="bob is not a member"):
        sharer.dismiss(share.id, bob)
    shop.catalogue.users.remove(bob.id)
    with pytest.raises(NotFound):
        shop.catalogue.users.named("bob")
    with pytest.raises(UsageError, match="only a private one"):
        sharer.admit(sharer.public().id, [carol])


def test_two_users_are_never_one(shop: Workshop) -> None:
    user(shop, "bob", BOB)
    with pytest.raises(UsageError, match="there is a user 'bob' already"):
        user(shop, "bob", CAROL)
    with pytest.raises(UsageError, match="known as 'bob'"):
        user(shop, "robert", BOB)
    assert [row.name for row in shop.catalogue.users.list()] == ["bob"]


def test_taking_back_happens_as_a_whole_or_not_at_all(shop: Workshop) -> None:
    bob = user(shop, "bob", BOB)
    sharer = shop.sharer()
    share = sharer.private([bob])
    taken = share.serial + 1
    # The place of the next envelope is taken by something else: the transaction fails at its last step but one.
    shop.catalogue.segments.add_blob(
        shop.row,
        ArticleKind.ENVELOPE,
        segment_of(share.id, taken),
        b"something else",
        1,
    ).result()
    with pytest.raises(CatalogueError):
        sharer.dismiss(share.id, bob)
    assert shop.catalogue.shares.members(share.id) == [bob.id]
    assert shop.catalogue.shares.get(share.id).serial == share.serial
    assert shop.catalogue.folders.by_id(shop.row).epoch == 1


def test_of_two_changes_at_once_one_is_refused(shop: Workshop) -> None:
    share = shop.sharer().public()
    envelope = IssuedEnvelope(segment_of(share.id, 2), 2, 1, b"an envelope")
    shop.catalogue.shares.issue(share.id, envelope).result()
    with pytest.raises(UsageError, match="changed by somebody else"):
        shop.catalogue.shares.issue(share.id, envelope).result()


def test_before_anything_is_published_every_string_says_so_and_taking_back_counts_all_the_same(
    shop: Workshop,
) -> None:
    bob, carol = user(shop, "bob", BOB), user(shop, "carol", CAROL)
    sharer = shop.sharer()
    share = sharer.private([bob, carol])
    string = string_of(shop, share)
    shop.post_all()
    with pytest.raises(NothingPublished):
        look(shop, string, identity=BOB)
    assert sharer.dismiss(share.id, bob) == 2
    shop.follow_epoch()
    shop.write("a", b"a")
    assert shop.commit().epoch == 2
    sharer.renew()
    shop.post_all()
    found = look(shop, string, identity=CAROL)
    assert [(old.epoch, old.first_version) for old in found.head.older] == [(1, 1)]
    with pytest.raises(NotAMember):
        look(shop, string, identity=BOB)
    _, _, fingerprint = decode_access(string)
    first = read_keys(shop.epochs.secret(1), fingerprint)
    with pytest.raises(NothingPublished):
        newest_head(shop.news, (first,), fingerprint, 1, 0, None, shop.clock)


def test_a_folder_has_a_thousand_older_epochs_and_no_more(shop: Workshop) -> None:
    older = shop.epochs.older(shop.catalogue, shop.row, 1_001, 7)
    assert [one.epoch for one in older] == list(range(1, 1_001))
    assert {one.first_version for one in older} == {7}
    with pytest.raises(LimitExceeded):
        shop.epochs.older(shop.catalogue, shop.row, 1_002, 7)
