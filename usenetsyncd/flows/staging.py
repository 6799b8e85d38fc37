"""Content that no file and no table holds, kept on disk until it is posted: one file for each parity segment.

A file here has its name only when it is whole and on disk. What is in it was made from plain content, so nobody
but the daemon may read it.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from usenetsyncd.errors import DiskFull, UsenetSyncError
from usenetsyncd.model import SEGMENT_SIZE_BYTES, SegmentId

TEMPORARY_PREFIX = ".new-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SEGMENT_ID_BYTES = 16


class StagingFailed(UsenetSyncError):
    """The staging directory cannot be written or read."""


class Staging:
    """One directory of segments by their ids. For any number of threads; one process."""

    def __init__(self, directory: Path) -> None:
        """directory: is made, for its owner only, with the first file."""
        self._directory = directory

    def write(self, seg_id: SegmentId, content: bytes | bytearray | memoryview) -> None:
        """Keep the content of a segment; when this returns it outlives a power cut. Raises DiskFull, StagingFailed."""
        temporary = self._directory / f"{TEMPORARY_PREFIX}{seg_id.hex()}-{os.urandom(4).hex()}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(temporary, self._path(seg_id))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            self._sync()
        except OSError as error:
            _translate(error, self._directory)

    def read(self, seg_id: SegmentId) -> bytes | None:
        """What was kept, or None. Its hash is for the caller to check. Raises StagingFailed."""
        try:
            with open(self._path(seg_id), "rb") as file:
                content = file.read(SEGMENT_SIZE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _translate(error, self._directory)
        return content if 0 < len(content) <= SEGMENT_SIZE_BYTES else None

    def discard(self, seg_id: SegmentId) -> None:
        """It is posted, or not wanted any more. Nothing happens if it is not there. Raises StagingFailed."""
        try:
            self._path(seg_id).unlink(missing_ok=True)
        except OSError as error:
            _translate(error, self._directory)

    def sweep(self, keep: Callable[[SegmentId], bool]) -> int:
        """At a start: remove what a killed process left half written, and what ``keep`` does not want; how many.

        Raises StagingFailed.
        """
        removed = 0
        try:
            for path in sorted(self._directory.iterdir()) if self._directory.is_dir() else ():
                seg_id = _segment_of(path.name)
                if (seg_id is None and path.name.startswith(TEMPORARY_PREFIX)) or (
                    seg_id is not None and not keep(seg_id)
                ):
                    path.unlink(missing_ok=True)
                    removed += 1
        except OSError as error:
            _translate(error, self._directory)
        return removed

    def _path(self, seg_id: SegmentId) -> Path:
        return self._directory / seg_id.hex()

    def _sync(self) -> None:
        """Make the new name durable too."""
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _segment_of(name: str) -> SegmentId | None:
    """The segment that a file of this name holds; None for a name that is not ours."""
    try:
        seg_id = bytes.fromhex(name)
    except ValueError:
        return None
    return SegmentId(seg_id) if len(seg_id) == _SEGMENT_ID_BYTES and seg_id.hex() == name else None


def _translate(error: OSError, directory: Path) -> NoReturn:
    if error.errno in _FULL:
        raise DiskFull(f"no room left to write {directory}") from error
    raise StagingFailed(f"{directory} cannot be used: {error.strerror or error}") from error
