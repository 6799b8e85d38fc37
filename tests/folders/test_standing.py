"""What stands in a target already is put aside under a name that tells what it is, and never lost."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import UnsafePath
from usenetsyncd.folders import standing
from usenetsyncd.folders.place import Target
from usenetsyncd.model import EntryKind, RelativePath

STAMP = b"20261122-2215"


@pytest.mark.parametrize(
    ("name", "number", "wanted"),
    [
        (b"name.ext", 1, b"name.conflict-20261122-2215.ext"),
        (b"name.ext", 2, b"name.conflict-20261122-2215-2.ext"),
        (b"name", 1, b"name.conflict-20261122-2215"),
        (b".hidden", 1, b".hidden.conflict-20261122-2215"),
        (b"a.tar.gz", 1, b"a.tar.conflict-20261122-2215.gz"),
        (b"no.suffix of this length", 1, b"no.suffix of this length.conflict-20261122-2215"),
        ("ü".encode() * 127, 1, "ü".encode() * 116 + b".conflict-20261122-2215"),
    ],
)
def test_the_name_beside(name: bytes, number: int, wanted: bytes) -> None:
    assert standing.conflict_name(name, STAMP, number) == wanted


@given(st.binary(min_size=1, max_size=255), st.integers(1, 999))
def test_no_name_grows_too_long_or_loses_its_mark(name: bytes, number: int) -> None:
    made = standing.conflict_name(name, STAMP, number)
    assert len(made) <= 255
    assert b".conflict-20261122-2215" in made


def test_many_put_aside_in_one_minute_all_stay(tmp_path: Path) -> None:
    path = RelativePath(b"note.txt")
    with Target(tmp_path) as target:
        for number in range(5):
            (tmp_path / "note.txt").write_text(str(number))
            standing.put_aside(target, path, 1_795_000_000.0)
    assert sorted(one.read_text() for one in tmp_path.iterdir()) == list("01234")


def test_folders_with_something_in_them_stay(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"")
    with Target(tmp_path) as target:
        assert not standing.remove(target, RelativePath(b"sub"))
        assert standing.remove(target, RelativePath(b"sub/file"))
        assert standing.remove(target, RelativePath(b"sub"))
        assert standing.kind_at(target, RelativePath(b"sub")) is None
        assert not standing.remove(target, RelativePath(b"sub"))


def test_nothing_behind_a_symlink_is_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"not ours")
    place = tmp_path / "place"
    place.mkdir()
    (place / "way").symlink_to(outside)
    path = RelativePath(b"way/file")
    with Target(place) as target:
        assert standing.kind_at(target, RelativePath(b"way")) is EntryKind.SYMLINK
        assert not standing.remove(target, path), "there is nothing of ours there"
        for act in (
            lambda: standing.put_aside(target, path, 0.0),
            lambda: standing.set_time(target, path, 0),
            lambda: standing.move(target, path, RelativePath(b"here")),
        ):
            with pytest.raises(UnsafePath):
                act()
        for climbing in (b"../outside/file", b"/etc/passwd", b""):
            with pytest.raises(UnsafePath):
                standing.remove(target, RelativePath(climbing))
    assert os.listdir(outside) == ["file"]


def test_a_move_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with Target(tmp_path) as target:
        assert not standing.move(target, RelativePath(b"a"), RelativePath(b"b"))
        assert standing.move(target, RelativePath(b"a"), RelativePath(b"new/folder/a"))
    assert (tmp_path / "b").read_bytes() == b"b"
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == b"a"
