"""Xattrs, ACLs and owners come back as they were; what a stranger writes into an index raises no rights."""

import os
import struct
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.hostile import Publisher, Reader, leaf_of
from tests.flows.workshop import Workshop
from usenetsyncd.clock import SYSTEM_CLOCK
from usenetsyncd.flows.locate import locate
from usenetsyncd.flows.reindex import ReindexOptions
from usenetsyncd.flows.restore import Restore, RestoreRequest, RestoreSummary
from usenetsyncd.flows.share import access_string
from usenetsyncd.model import Entry, EntryKind, Owner, RelativePath

pytestmark = pytest.mark.requires("linux")

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
# <linux/posix_acl_xattr.h>: version 2, then (tag, rights, id); the owner, a user of their own, group, mask, others.
_NOBODY = 65_534
_NO_ID = 0xFFFFFFFF
_TAGS = ((0x01, 6, _NO_ID), (0x02, 5, _NOBODY), (0x04, 4, _NO_ID), (0x10, 5, _NO_ID), (0x20, 0, _NO_ID))
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *tag) for tag in _TAGS)
NOW_NS = 1_700_000_000_000_000_000


def _restore(shop: Workshop, access: str, target: Path, owner: bool = False) -> RestoreSummary:
    located = locate(shop.news, access, SYSTEM_CLOCK, lambda _: None)
    request = RestoreRequest(target, owner=owner)
    return Restore(shop.news, located, request, shop.place / "plan", threading.Event(), lambda _: None).run()


def _differences(source: Path, target: Path, options: str = "-naHAXi") -> str:
    """What rsync would do to make the target equal, ACLs and xattrs among it."""
    command = ["rsync", options, "--checksum", "--delete", f"{source}/", f"{target}/"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _published(shop: Workshop) -> str:
    """A folder with every kind of attribute on every kind of entry; the access string of its first version."""
    shop.write("sub/small", b"small")
    shop.write("sub/empty", b"")
    shop.write("sub/large", os.urandom(2_000_000))
    (shop.root / "sub" / "link").symlink_to("small")
    os.link(shop.root / "sub" / "small", shop.root / "sub" / "second name")
    shop.write("plain/below", b"plain")
    for name in ("small", "empty", "large", "."):
        os.setxattr(shop.root / "sub" / name, "user.origin", b"\0of " + name.encode())
        os.setxattr(shop.root / "sub" / name, ACCESS, ACL)
    for folder in (shop.root, shop.root / "sub"):
        os.setxattr(folder, DEFAULT, ACL)  # after its files were made: none of them has it from there
    (shop.root / "sub" / "large").chmod(0o440)
    shop.scan(options=ReindexOptions(owner=True, xattrs=True))
    shop.post_all()
    return _published_string(shop)


def _published_string(shop: Workshop) -> str:
    made = shop.sharer().public()
    shop.post_all()
    shop.publish()
    return access_string(shop.vault, made, shop.signing.fingerprint)


@pytest.mark.requires("rsync")
def test_xattrs_and_acls_of_files_and_folders_come_back(shop: Workshop) -> None:
    access = _published(shop)
    target = shop.place / "out"
    summary = _restore(shop, access, target)
    assert (summary.failed, summary.warnings) == (0, ())
    assert _differences(shop.root, target) == ""
    assert os.getxattr(target / "sub" / "large", "user.origin") == b"\0of large"
    assert os.getxattr(target / "sub", DEFAULT) == ACL


@pytest.mark.requires("rsync")
def test_a_second_restore_puts_modes_and_attributes_right_and_fetches_nothing(shop: Workshop) -> None:
    access = _published(shop)
    target = shop.place / "out"
    _restore(shop, access, target)
    (target / "plain" / "below").chmod(0o600)
    (target / "sub" / "large").chmod(0o4777)
    os.setxattr(target / "sub" / "large", "user.origin", b"other")
    os.removexattr(target / "sub" / "empty", ACCESS)
    os.removexattr(target / "sub", "user.origin")
    fetched = shop.server.counters.commands["BODY"]
    summary = _restore(shop, access, target)
    assert (summary.failed, summary.warnings) == (0, ())
    assert _differences(shop.root, target) == ""
    assert shop.server.counters.commands["BODY"] - fetched <= 3  # envelope, head, index


@pytest.mark.requires("rsync")
def test_what_is_made_again_below_a_folder_with_a_default_acl_does_not_inherit_it(shop: Workshop) -> None:
    access = _published(shop)
    target = shop.place / "out"
    _restore(shop, access, target)
    (target / "plain" / "below").unlink()
    (target / "plain").rmdir()
    (target / "sub" / "large").unlink()
    assert _restore(shop, access, target).failed == 0
    assert os.listxattr(target / "plain") == []
    assert _differences(shop.root, target) == ""


@pytest.mark.requires("root", "rsync")
def test_owners_come_back_on_request_and_only_then(shop: Workshop) -> None:
    shop.write("sub/theirs", b"theirs")
    shop.write("sub/empty", b"")
    (shop.root / "sub" / "link").symlink_to("theirs")
    for path in (shop.root / "sub", *(shop.root / "sub").iterdir()):
        os.chown(path, 12_345, 23_456, follow_symlinks=False)
    shop.scan(options=ReindexOptions(owner=True))
    shop.post_all()
    access = _published_string(shop)
    unasked, target = shop.place / "unasked", shop.place / "out"
    assert _restore(shop, access, unasked).failed == 0
    assert {path.lstat().st_uid for path in unasked.rglob("*")} == {os.geteuid()}
    for _ in range(2):
        summary = _restore(shop, access, target, owner=True)
        assert (summary.failed, summary.warnings) == (0, ())
        assert _differences(shop.root, target) == ""
        os.chown(target / "sub" / "theirs", 0, 0)


@pytest.mark.requires("root")
def test_a_stranger_sets_neither_labels_nor_privileges_nor_owners(
    publisher: Publisher, reader: Reader, tmp_path: Path
) -> None:
    evil = (
        (b"security.capability", b"x"),
        (b"system.other", b""),
        (b"trusted.overlay.opaque", b"y"),
        (b"user.kept", b"1"),
    )
    file = publisher.file(b"folder/file", b"content", mode=0o6755, owner=Owner(0, 0), xattrs=evil)
    folder = Entry(
        RelativePath(b"folder"), EntryKind.FOLDER, 0, NOW_NS, 0o7755, owner=Owner(1, 1), xattrs=evil
    )
    publisher.publish(publisher.index([leaf_of([folder, file])]))
    for number, owner in enumerate((False, True)):
        target = tmp_path / f"target {number}"
        summary = reader.restore(publisher.access, target, plan=f"plan{number}", owner=owner)
        assert summary.failed == 0
        (warning,) = summary.warnings
        assert "'security.capability' of 2" in warning
        for path, owned in ((target / "folder" / "file", 0), (target / "folder", 1)):
            assert os.listxattr(path) == ["user.kept"]
            assert path.stat().st_mode & 0o7777 == 0o755
            assert path.stat().st_uid == (owned if owner else os.geteuid())


def test_a_file_with_more_attributes_than_any_filesystem_keeps_is_refused_alone(
    publisher: Publisher, reader: Reader, tmp_path: Path
) -> None:
    names = tuple((b"user.%04d" % number, b"x") for number in range(600))
    good = publisher.file(b"good", b"good")
    many = replace(publisher.file(b"many", b"many"), xattrs=names)
    publisher.publish(publisher.index([leaf_of([good, many])]))
    summary = reader.restore(publisher.access, tmp_path / "target")
    assert [path for path, _ in summary.failures] == [b"many"]
    assert (tmp_path / "target" / "good").read_bytes() == b"good"
