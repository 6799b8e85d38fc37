"""Owner and xattrs: packed, unpacked, applied; hostile bytes are refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FileChanged, FormatError
from usenetsyncd.folders.attributes import (
    Attributes,
    Refusals,
    apply_owner,
    apply_xattrs,
    hand_nothing_down,
    pack_attributes,
    read_attributes,
    unpack_attributes,
)
from usenetsyncd.folders.root import PATH_ONLY, FolderRoot
from usenetsyncd.model import Owner, RelativePath

FILE = RelativePath(b"file")
OWNERS = st.builds(Owner, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)
XATTRS = st.dictionaries(NAMES, st.binary(max_size=300), max_size=5).map(
    lambda kept: tuple(sorted(kept.items()))
)


@given(st.one_of(st.none(), OWNERS), XATTRS)
def test_what_is_packed_comes_back(owner: Owner | None, xattrs: tuple[tuple[bytes, bytes], ...]) -> None:
    kept = Attributes(owner, xattrs)
    assert unpack_attributes(pack_attributes(kept)) == kept


@given(st.binary(max_size=100))
def test_other_bytes_are_refused_or_understood_and_nothing_else(packed: bytes) -> None:
    try:
        kept = unpack_attributes(packed)
    except FormatError:
        return
    assert len(pack_attributes(kept)) <= max(len(packed), 9)


def test_cut_attributes_are_refused() -> None:
    packed = pack_attributes(Attributes(Owner(1, 2), ((b"user.a", b"value"), (b"user.b", b""))))
    cuts = [packed[:length] for length in range(1, len(packed))]
    refused = 0
    for cut in cuts:
        try:
            unpack_attributes(cut)
        except FormatError:
            refused += 1
    assert refused == len(cuts) - 2  # but where it ends between two attributes


def test_owner_and_xattrs_travel_from_one_file_to_another(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "copy").touch()
    os.setxattr(tmp_path / "file", b"user.\xff", b"\0value")
    with FolderRoot(tmp_path) as root:
        packed = read_attributes(root, FILE, owner=True, xattrs=True)
        kept = unpack_attributes(packed)
        assert kept == Attributes(
            Owner(os.getuid(), (tmp_path / "file").stat().st_gid), ((b"user.\xff", b"\0value"),)
        )
        opened = os.open(tmp_path / "copy", os.O_RDONLY)
        assert apply_xattrs(opened, kept) + apply_owner(opened, kept.owner) == []
        os.close(opened)
    assert os.getxattr(tmp_path / "copy", b"user.\xff") == b"\0value"


def test_nothing_asked_for_is_nothing_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with FolderRoot(tmp_path) as root:
        assert read_attributes(root, FILE, owner=False, xattrs=True) == b""
        assert read_attributes(root, FILE, owner=False, xattrs=False) == b""
        assert (
            unpack_attributes(read_attributes(root, RelativePath(b""), owner=True, xattrs=True)).owner
            is not None
        )
        with pytest.raises(FileChanged):
            read_attributes(root, RelativePath(b"gone"), owner=True, xattrs=False)


def test_a_symlink_is_never_followed_and_security_labels_are_never_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    never = [b"security.capability", b"system.other", b"trusted.x"]
    hostile = Attributes(None, (*((name, b"x") for name in never), (b"user.x", b"x")))
    with FolderRoot(tmp_path) as root:
        for name, refused in ((b"link", [*never, b"user.x"]), (b"file", never)):
            opened = root.open_below(RelativePath(name), PATH_ONLY | os.O_NOFOLLOW)
            assert apply_xattrs(opened, hostile) == refused
            os.close(opened)
            assert os.listxattr(tmp_path / "file") == ([] if name == b"link" else ["user.x"])


def test_what_could_not_be_set_is_counted_by_its_name() -> None:
    refusals = Refusals()
    refusals.add([b"user.a"])
    refusals.add([b"user.b", b"user.a"])
    assert refusals.counts() == [(b"user.a", 2), (b"user.b", 1)]
    refusals.add(b"user.%d" % number for number in range(1_000))
    assert len(refusals.counts()) == 101
    assert sum(count for _, count in refusals.counts()) == 1_003


def test_a_folder_that_hands_down_no_acl_is_left_alone(tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_RDONLY)
    hand_nothing_down(opened)
    os.close(opened)
    assert os.listxattr(tmp_path) == []
