"""What the daemon posts, a reader written from docs/format.md alone brings back, byte for byte."""

import os
import shutil
import stat
from pathlib import Path
from random import Random

import pytest

from tests.flows.driving import Driven
from tests.folders.zoo import make_zoo
from tests.reader.newsserver import NewsServer
from tests.reader.pages import FarExtents
from tests.reader.reader import Folder, restore
from tests.reader.sealed import Refused
from usenetsyncd.loopback.server import LoopbackServer
from usenetsyncd.model import ArticleAddress, ArticleKind, PageRef
from usenetsyncd.wire.head import decode_head
from usenetsyncd.wire.keys import message_id_of
from usenetsyncd.wire.stripes import STRIPES


def facts(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Path -> everything about each file, folder and link below ``root`` that a restore must bring back."""
    found: dict[bytes, tuple[object, ...]] = {}
    first_names: dict[int, bytes] = {}
    base = os.fsencode(root)
    for here, folders, files in os.walk(base):
        folders.sort()
        for name in sorted([*folders, *files]):
            full = os.path.join(here, name)
            path, status = os.path.relpath(full, base), os.lstat(full)
            if stat.S_ISLNK(status.st_mode):
                found[path] = ("link", os.readlink(full), status.st_mtime_ns)
            elif stat.S_ISDIR(status.st_mode):
                found[path] = ("folder", status.st_mode, status.st_mtime_ns)
            elif stat.S_ISREG(status.st_mode):
                same_as = first_names.setdefault(status.st_ino, path)
                content = Path(os.fsdecode(full)).read_bytes()
                found[path] = ("file", status.st_mode, status.st_mtime_ns, content, same_as)
    return found


def make_source(root: Path) -> None:
    """A zoo, several levels deep, with a file that is mostly zeros and long enough for extents in pages of their own."""
    root.mkdir()
    make_zoo(os.fsencode(root))
    deep = root
    for level in range(20):
        deep = deep / f"level {level}"
        deep.mkdir()
        (deep / "file").write_text(f"on level {level}")
    many = root / "many"
    many.mkdir()
    for number in range(1_500):
        (many / f"{number:04}").write_bytes(os.urandom(number % 700))
    with (root / "mostly zeros").open("wb") as made:
        for at in range(0, 200_000_000, 50_000_000):
            made.seek(at)
            made.write(b"an island" * 10)
        made.truncate(200_100_000)


@pytest.mark.timeout(120)
def test_a_stranger_restores_every_version_from_the_string_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_source(source)
    with LoopbackServer(tmp_path / "spool") as server:
        with Driven.at(tmp_path / "publisher", server.address, {"zoo": source}) as publisher:
            publisher.wait_for_version("zoo", 1)
            string = publisher.share("zoo")
            first = facts(source)
            shutil.rmtree(source / "level 0" / "level 1")
            for number in range(250):  # fewer than what holds a folder for a person's word
                (source / "many" / f"{number:04}").unlink()
            (source / "large").rename(source / "folder" / "moved")
            with (source / "mostly zeros").open("r+b") as changed:
                changed.seek(123_456_789)
                changed.write(os.urandom(1_000_000))
            (source / "new").write_text("new in the second version")
            publisher.wait_for_version("zoo", 2)
            second = facts(source)
        with NewsServer(*server.address) as news:
            folder = Folder(string, news)
            assert any(isinstance(entry.extents, FarExtents) for entry in folder.entries(folder.newest))
            restore(folder, folder.newest, tmp_path / "newest")
            assert facts(tmp_path / "newest") == second
            restore(folder, folder.head(1), tmp_path / "first")
            assert facts(tmp_path / "first") == first
        assert (tmp_path / "newest" / "mostly zeros").stat().st_blocks * 512 < 10_000_000


@pytest.mark.timeout(120)
def test_a_stranger_rebuilds_what_is_lost_from_stripes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    dice = Random(7)
    for number in range(50):
        (source / f"large {number:02}").write_bytes(dice.randbytes(dice.randint(50_000, 60_000)))
    (source / "huge").write_bytes(dice.randbytes(2_000_000))
    (source / "small").write_text("packed")
    with LoopbackServer(tmp_path / "spool") as server:
        with Driven.at(tmp_path / "publisher", server.address, {"src": source}) as publisher:
            publisher.wait_for_version("src", 1)
            string = publisher.share("src")
            lost = lose_parity(publisher, server)
        with NewsServer(*server.address) as news:
            folder = Folder(string, news)
            restore(folder, folder.newest, tmp_path / "back")
    assert lost > 4
    assert facts(tmp_path / "back") == facts(source)


def lose_parity(publisher: Driven, server: LoopbackServer) -> int:
    """Of every stripe as many data articles as it has parity are gone; how many in all."""
    folder = publisher.daemon.folders.named("src")
    version = publisher.daemon.catalogue.versions.newest(folder.row)
    assert version is not None
    assert version.head_segment is not None
    head = decode_head(
        publisher.daemon.catalogue.segments.blob(version.head_segment), folder.keys.fingerprint
    )

    def load(ref: PageRef) -> bytes:
        content = publisher.daemon.catalogue.segments.find_blob(folder.row, ArticleKind.INDEX, ref.segment)
        assert content is not None
        return content[ref.offset : ref.offset + ref.length]

    lost = 0
    for stripe in STRIPES.read(head.stripes, load):
        for member in stripe.members[:: len(stripe.members) // len(stripe.parity)][: len(stripe.parity)]:
            at = ArticleAddress(ArticleKind.DATA, member.segment)
            server.remove(message_id_of(folder.keys.location, at))
            lost += 1
    return lost


def test_a_wrong_string_leads_nowhere(tmp_path: Path) -> None:
    string = "usyncread1pszqc9quyskrg0zyf329cervw37gfry5njj2ed9ad0hg2hzlv2mhzm3g9lagpehay04j3lc"
    with (
        LoopbackServer(tmp_path / "spool") as server,
        NewsServer(*server.address) as news,
        pytest.raises(Refused, match="missing"),
    ):
        Folder(string, news)
