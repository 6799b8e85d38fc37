"""What the daemon posts, a reader written from docs/format.md alone brings back, byte for byte."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.flows.driving import Driven
from tests.folders.zoo import make_zoo
from tests.reader.newsserver import NewsServer
from tests.reader.pages import FarExtents
from tests.reader.reader import Folder, restore
from tests.reader.sealed import Refused
from usenetsyncd.loopback.server import LoopbackServer


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
            shutil.rmtree(source / "many")
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


def test_a_wrong_string_leads_nowhere(tmp_path: Path) -> None:
    string = "usyncread1pszqc9quyskrg0zyf329cervw37gfry5njj2ed9ad0hg2hzlv2mhzm3g9lagpehay04j3lc"
    with (
        LoopbackServer(tmp_path / "spool") as server,
        NewsServer(*server.address) as news,
        pytest.raises(Refused, match="missing"),
    ):
        Folder(string, news)
