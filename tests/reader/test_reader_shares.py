"""The reader written from docs/format.md opens what a daemon shares: with a passphrase, as a member, across epochs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.workshop import Workshop, workshop
from tests.plugins.clock import FakeClock
from tests.reader.newsserver import NewsServer
from tests.reader.people import Identity, read_card
from tests.reader.reader import Folder, restore
from tests.reader.sealed import Refused
from usenetsyncd.catalogue.rows import UserRow
from usenetsyncd.flows.share import access_string
from usenetsyncd.wire import identity
from usenetsyncd.wire.membership import Argon2

SECRET = b"i" * 32
PHRASE = "caf\u00e9 at noon"
QUICK = Argon2(1, 1, 64)


@pytest.fixture
def shop(tmp_path: Path, clock: FakeClock) -> Iterator[Workshop]:
    with workshop(tmp_path, clock) as made:
        yield made


def members(shop: Workshop, *secrets: bytes) -> list[UserRow]:
    found = []
    for number, secret in enumerate(secrets):
        card = identity.read_card(identity.Identity(secret).card(f"user {number}", 1))
        assert read_card(card.text).fingerprint == card.fingerprint
        found.append(shop.catalogue.users.add(card.name, card.fingerprint, card.text.encode()))
    return found


def read(shop: Workshop, string: str, target: Path, **means: object) -> dict[str, bytes]:
    with NewsServer(*shop.server.address) as server:
        folder = Folder(string, server, **means)  # type: ignore[arg-type]
        restore(folder, folder.newest, target)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_protected_and_private_shares_over_three_epochs(shop: Workshop) -> None:
    shop.write("old", b"of epoch 1" * 100)
    shop.write("large", b"0123456789" * 100_000)
    shop.commit()
    sharer = shop.sharer()
    one, two = members(shop, SECRET, b"j" * 32)
    private, protected = sharer.private([one, two]), sharer.protected(PHRASE, argon2=QUICK)
    strings = [access_string(shop.vault, made, shop.signing.fingerprint) for made in (private, protected)]
    for epoch in (2, 3):
        shop.post_all()
        assert (
            sharer.dismiss(private.id, two) == 2
            if epoch == 2
            else sharer.revoke(sharer.public().id, 1.0) == 3
        )
        shop.follow_epoch()
        shop.write(f"new in {epoch}", b"x" * epoch)
        assert shop.commit().epoch == epoch
        assert sharer.renew() == 2
    shop.post_all()
    expected = {path.name: path.read_bytes() for path in shop.root.iterdir()}
    as_member = read(shop, strings[0], shop.place / "member", identity=Identity.of(SECRET))
    by_phrase = read(shop, strings[1], shop.place / "phrase", passphrase="cafe\u0301 at noon")
    assert as_member == by_phrase == expected
    for string, means, why in (
        (strings[0], {"identity": Identity.of(b"j" * 32)}, "not_a_member"),
        (strings[0], {"passphrase": PHRASE}, "not_a_member"),
        (strings[1], {}, "passphrase_needed"),
        (strings[1], {"passphrase": "cafe at noon"}, "wrong_passphrase"),
    ):
        with pytest.raises(Refused, match=why):
            read(shop, string, shop.place / "nothing", **means)
    with NewsServer(*shop.server.address) as server:
        folder = Folder(strings[0], server, identity=Identity.of(SECRET))
        assert [(row[0], row[1]) for row in folder.newest.older] == [(1, 1), (2, 2)]
        restore(folder, folder.head(1), shop.place / "first")
    assert sorted(path.name for path in (shop.place / "first").iterdir()) == ["large", "old"]
