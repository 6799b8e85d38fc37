"""Staged content is whole or not there, and for nobody else's eyes."""

import stat
from pathlib import Path

import pytest

from usenetsyncd.flows.staging import TEMPORARY_PREFIX, Staging, StagingFailed
from usenetsyncd.model import SEGMENT_SIZE_BYTES, SegmentId

ONE, TWO = SegmentId(b"\x01" * 16), SegmentId(b"\x02" * 16)


def test_what_is_written_is_read_and_written_again_is_replaced(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging")
    assert staging.read(ONE) is None
    staging.write(ONE, b"first")
    staging.write(TWO, memoryview(b"second"))
    staging.write(ONE, bytearray(b"first again"))
    assert (staging.read(ONE), staging.read(TWO)) == (b"first again", b"second")
    staging.discard(ONE)
    staging.discard(ONE)
    assert (staging.read(ONE), staging.read(TWO)) == (None, b"second")


def test_others_may_not_read_it(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging")
    staging.write(ONE, b"plain content")
    assert stat.S_IMODE((tmp_path / "staging").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "staging").iterdir()] == [0o600]


def test_a_sweep_removes_halves_and_what_is_not_wanted_and_nothing_of_others(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging")
    assert staging.sweep(lambda seg_id: False) == 0
    staging.write(ONE, b"one")
    staging.write(TWO, b"two")
    (tmp_path / "staging" / f"{TEMPORARY_PREFIX}left").write_bytes(b"hal")
    (tmp_path / "staging" / "note").write_bytes(b"not ours")
    assert staging.sweep(lambda seg_id: seg_id == TWO) == 2
    assert sorted(path.name for path in (tmp_path / "staging").iterdir()) == sorted([TWO.hex(), "note"])


def test_a_file_that_no_segment_can_be_is_as_good_as_none(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    (tmp_path / ONE.hex()).write_bytes(b"")
    (tmp_path / TWO.hex()).write_bytes(bytes(SEGMENT_SIZE_BYTES + 1))
    assert (staging.read(ONE), staging.read(TWO)) == (None, None)


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "staging").write_bytes(b"a file in its place")
    with pytest.raises(StagingFailed, match="cannot be used"):
        Staging(tmp_path / "staging").write(ONE, b"content")
    assert (tmp_path / "staging").read_bytes() == b"a file in its place"
