"""Owner and xattrs: packed, unpacked, applied; hostile bytes are refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FileChanged, FormatError
from usenetsyncd.folders.attributes import (
    Attributes,
    apply_attributes,
    pack_attributes,
    read_attributes,
    unpack_attributes,
)
from usenetsyncd.folders.root import FolderRoot
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
        assert apply_attributes(root.fd, b"copy", kept) == []
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
    hostile = Attributes(None, ((b"security.capability", b"x"), (b"trusted.x", b"x"), (b"user.x", b"x")))
    with FolderRoot(tmp_path) as root:
        refused = apply_attributes(root.fd, b"link", hostile)
        assert refused == [b"security.capability", b"trusted.x", b"user.x"]
        assert os.listxattr(tmp_path / "file") == []
        assert apply_attributes(root.fd, b"file", hostile) == [b"security.capability", b"trusted.x"]
    assert os.listxattr(tmp_path / "file") == ["user.x"]
