"""Updates of a followed directory in which both sides change things at random: nothing of anybody's is lost."""

import os
import threading
from pathlib import Path
from random import Random

import pytest

from tests.flows.workshop import Workshop
from usenetsyncd.catalogue.follows import Step
from usenetsyncd.errors import Cancelled
from usenetsyncd.flows.locate import locate_own
from usenetsyncd.flows.update import Standing, Update, Updated, planned_version

ROUNDS = 8


class Copy:
    """A directory that follows, without a daemon."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.root = shop.root.parent / "copy"
        self.plan = shop.root.parent / "copy.plan"
        self.standing = Standing()
        self.updated: Updated | None = None

    def update(self, stop: threading.Event | None = None) -> Updated:
        shop = self.shop
        located = locate_own(shop.news, shop.catalogue, shop.row, shop.epochs, None)
        Update(
            shop.news,
            located,
            self.root,
            self.standing,
            self.plan,
            shop.clock,
            stop or threading.Event(),
            lambda _: None,
            self.take,
        ).run()
        assert self.updated is not None
        return self.updated

    def take(self, updated: Updated) -> None:
        step = updated.step
        assert isinstance(step, Step)
        self.standing = Standing(step.version, step.root, step.left)
        self.updated = updated


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def change_source(shop: Workshop, dice: Random) -> None:
    names = sorted(files(shop.root))
    for _ in range(6):
        name = dice.choice(names)
        path = shop.root / name
        what = dice.randrange(5)
        if what == 0 and path.exists():
            path.unlink()
        elif what == 1 and path.exists():
            other = shop.root / f"d{dice.randrange(3)}" / f"r{dice.randrange(1000)}"
            other.parent.mkdir(exist_ok=True)
            path.rename(other)
        elif what == 2 and path.exists():
            path.chmod(dice.choice([0o600, 0o640, 0o644]))
        elif what == 3:
            shop.write(f"d{dice.randrange(3)}/n{dice.randrange(12)}", dice.randbytes(dice.randrange(0, 2000)))
        elif path.exists():
            path.write_bytes(dice.randbytes(dice.randrange(1, 3000)))
    shop.write("always", dice.randbytes(20))


@pytest.mark.parametrize("seed", range(6))
def test_nothing_of_anybodys_is_lost(shop: Workshop, seed: int) -> None:
    dice = Random(seed)
    for number in range(20):
        shop.write(f"d{number % 3}/f{number}", dice.randbytes(dice.randrange(0, 2000)))
    shop.commit()
    copy = Copy(shop)
    copy.update()
    assert files(copy.root) == files(shop.root)
    mine: set[bytes] = set()
    for turn in range(ROUNDS):
        before = files(shop.root)
        change_source(shop, dice)
        shop.commit()
        theirs = files(shop.root)
        for number in range(3):
            content = b"mine %d %d %d" % (seed, turn, number)
            here = files(copy.root)
            name = dice.choice(sorted(name for name, held in here.items() if held not in mine))
            where = copy.root / name if number else copy.root / f"d{dice.randrange(3)}" / f"n{turn}"
            if where.exists() and where.read_bytes() in mine:
                continue
            where.parent.mkdir(exist_ok=True)
            where.write_bytes(content)
            mine.add(content)
        updated = copy.update()
        assert updated.step is not None
        assert not updated.step.left
        now = files(copy.root)
        assert mine <= set(now.values()), "every local change is somewhere"
        for name in theirs.keys() - before.keys() | {
            name for name in theirs.keys() & before.keys() if theirs[name] != before[name]
        }:
            assert now[name] == theirs[name], "what the publisher changed is in its place"
        for name in theirs:
            assert now.get(name) == theirs[name] or now[name] in mine
        for name in now.keys() - theirs.keys():
            assert now[name] in mine, "what is not in the version is ours to keep"
    assert not copy.plan.exists()


def test_an_update_is_interrupted_and_a_newer_version_comes_before_it_goes_on(shop: Workshop) -> None:
    dice = Random(1)
    shop.write("a", b"one")
    shop.write("b", b"stays")
    shop.commit()
    copy = Copy(shop)
    copy.update()
    shop.write("a", b"two")
    shop.write("big", dice.randbytes(2_000_000))
    shop.commit()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        copy.update(stop)
    assert files(copy.root) == {"a": b"one", "b": b"stays"}
    # Whether or not its plan was complete: what it leads to is told, and nothing of ours is taken for somebody's.
    assert planned_version(copy.plan) in (None, 2)
    shop.write("a", b"three")
    shop.commit()
    while copy.standing.version < 3:
        updated = copy.update()
        assert updated.conflicts == 0
    assert files(copy.root) == files(shop.root)
    assert planned_version(copy.plan) is None


def test_hard_links_follow(shop: Workshop) -> None:
    shop.write("a", b"linked" * 100)
    os.link(shop.root / "a", shop.root / "b")
    shop.commit()
    copy = Copy(shop)
    copy.update()
    assert (copy.root / "a").stat().st_ino == (copy.root / "b").stat().st_ino
    (shop.root / "a").write_bytes(b"changed through one name")
    shop.write("c", b"new")
    shop.commit()
    assert copy.update().conflicts == 0
    assert files(copy.root) == files(shop.root)
    assert (copy.root / "a").stat().st_ino == (copy.root / "b").stat().st_ino
