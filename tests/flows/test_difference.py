"""What differs between two versions, against the same worked out from whole lists."""

from collections import Counter
from random import Random

from tests.flows.workshop import Workshop
from usenetsyncd.flows.difference import Change, PathChange, differences, version_differences
from usenetsyncd.model import Entry, EntryKind


def told(shop: Workshop, old: int, new: int) -> dict[bytes, PathChange]:
    versions = shop.catalogue.versions
    rows = versions.get(shop.row, old), versions.get(shop.row, new)
    found = list(version_differences(shop.catalogue, shop.news, shop.epochs.rings(1), *rows))
    assert [bytes(one.path) for one in found] == sorted(bytes(one.path) for one in found)
    assert found == list(differences(rows[0].root, rows[1].root, shop.load))
    return {bytes(one.path): one for one in found}


def publish(shop: Workshop) -> dict[bytes, Entry]:
    shop.scan()
    shop.post_all()
    return shop.index(shop.publish())


def test_hundreds_of_changes_are_told_as_the_lists_tell_them(shop: Workshop) -> None:
    dice = Random(4)
    for number in range(300):
        shop.write(f"d{number % 7}/f{number}", dice.randbytes(dice.randrange(1, 300)))
    before = publish(shop)
    for number in range(0, 300, 5):
        shop.write(f"d{number % 7}/f{number}", dice.randbytes(400))
    for number in range(1, 300, 5):
        (shop.root / f"d{number % 7}/f{number}").unlink()
    for number in range(2, 300, 10):
        (shop.root / f"d{number % 7}/f{number}").rename(shop.root / f"d{number % 7}/moved{number}")
    for number in range(3, 300, 50):
        (shop.root / f"d{number % 7}/f{number}").chmod(0o600)
    for number in range(20):
        shop.write(f"new/n{number}", dice.randbytes(30))
    after = publish(shop)

    found = told(shop, 1, 2)
    counts = Counter(one.change for one in found.values() if one.kind is EntryKind.FILE)
    assert counts[Change.MOVED] == 30
    assert counts[Change.REMOVED] == 60
    assert counts[Change.CHANGED] == 60
    assert counts[Change.ADDED] == 20
    assert counts[Change.ATTRIBUTES] == 6
    for path, one in found.items():
        if one.change is Change.MOVED:
            assert one.old_path is not None
            assert after[path].content_hash == before[one.old_path].content_hash
            assert one.old_path not in after
        elif one.change is Change.ADDED:
            assert path not in before
        elif one.change is Change.REMOVED:
            assert path not in after
        else:
            assert before[path] != after[path]
    gone = {bytes(one.old_path) for one in found.values() if one.old_path}
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == (
        found.keys() | gone
    )

    # The other way round, what was added is removed and what moved moves back; nothing differs from itself.
    back = Counter(one.change for one in told(shop, 2, 1).values() if one.kind is EntryKind.FILE)
    assert (back[Change.MOVED], back[Change.ADDED], back[Change.REMOVED]) == (30, 60, 20)
    assert told(shop, 2, 2) == {}


def test_of_many_copies_as_many_have_moved_as_are_gone(shop: Workshop) -> None:
    shop.write("a", b"the same content")
    shop.write("b", b"the same content")
    publish(shop)
    (shop.root / "a").unlink()
    for name in ("c", "d"):
        shop.write(name, b"the same content")
    publish(shop)
    found = told(shop, 1, 2)
    assert (found[b"c"].change, found[b"c"].old_path) == (Change.MOVED, b"a")
    assert found[b"d"].change is Change.ADDED
    assert b"b" not in found
