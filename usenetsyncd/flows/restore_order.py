"""What a restore is asked for, and what it tells."""

from dataclasses import dataclass
from pathlib import Path

from usenetsyncd.model import RelativePath


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore and where. paths: those and everything below them; none means all.

    owner: give files the numeric owners that the version names, where it names them and we may. Only on request:
    it is the publisher who says whose they will be.
    """

    target: Path
    paths: tuple[RelativePath, ...] = ()
    overwrite: bool = False
    dry_run: bool = False
    owner: bool = False


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """How far a restore is; bytes of file content."""

    phase: str
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    failed: int


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """How a restore ended. failures: (path, reason), at most 1,000 of ``failed``."""

    version: int
    files: int
    bytes: int
    failed: int
    failures: tuple[tuple[RelativePath, str], ...] = ()
    warnings: tuple[str, ...] = ()
