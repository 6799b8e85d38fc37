"""A target with canaries around it, clean entries to stand beside bad ones, and what every restore must keep to."""

import os
import unicodedata
from pathlib import Path

from tests.flows.hostile import Publisher, Reader
from usenetsyncd.flows.restore import RestoreSummary
from usenetsyncd.model import (
    Entry,
    EntryKind,
    PageRef,
    RelativePath,
    SegmentId,
)

EVIL = b"evil content"
PEAK_BYTES = 200_000_000
CLEAN = {b"a clean/file": b"clean content", b"zz clean": b"also clean"}


class Neighbourhood:
    """A target, and everything around it that must stay as it is."""

    def __init__(self, base: Path) -> None:
        self.base = base / "around"
        self.target = self.base / "target"
        self.outside = self.base / "outside"
        self.outside.mkdir(parents=True)
        (self.base / "canary").write_text("alive")
        (self.outside / "canary").write_text("alive")
        self.before = self.seen()

    def seen(self) -> dict[str, tuple[int, int, bytes]]:
        found = {}
        for here, folders, files in os.walk(self.base):
            if Path(here) == self.base and "target" in folders:
                folders.remove("target")
            for name in [*folders, *files]:
                full = Path(here, name)
                status = full.lstat()
                found[str(full)] = (
                    status.st_mode,
                    status.st_ino,
                    full.read_bytes() if full.is_file() else b"",
                )
        return found


def clean(publisher: Publisher) -> list[Entry]:
    folder = Entry(RelativePath(b"a clean"), EntryKind.FOLDER, mode=0o755)
    return [folder, *(publisher.file(path, content) for path, content in CLEAN.items())]


def link(path: bytes, target: bytes) -> Entry:
    return Entry(RelativePath(path), EntryKind.SYMLINK, target=target, mode=0o777)


def folder(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(RelativePath(path), EntryKind.FOLDER, mode=mode)


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmHWM"))


def restore_within_bounds(reader: Reader, access: str, around: Neighbourhood) -> RestoreSummary:
    """Restore; what is promised whatever the index says is checked here."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = peak_bytes()
    summary = reader.restore(access, around.target)
    assert peak_bytes() - before < PEAK_BYTES
    assert around.seen() == around.before
    assert len(summary.failures) <= summary.failed
    for _, reason in summary.failures:
        assert reason
        assert not any(unicodedata.category(letter) == "Cc" for letter in reason), reason
    for path, content in CLEAN.items():
        assert Path(os.fsdecode(os.path.join(os.fsencode(around.target), path))).read_bytes() == content
    return summary


def names_below(target: Path) -> set[bytes]:
    base = os.fsencode(target)
    return {
        os.path.relpath(os.path.join(here, name), base)
        for here, folders, files in os.walk(base)
        for name in [*folders, *files]
    }


def ref_to(place: tuple[bytes, int, int]) -> PageRef:
    return PageRef(SegmentId(place[0]), *place[1:])
