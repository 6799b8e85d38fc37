"""Two processes, one data directory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from usenetsyncd.errors import AlreadyRunning, ConfigurationError, ExitCode
from usenetsyncd.service import LockFile, holder_of

HOLD = """
import os, sys
from pathlib import Path
from usenetsyncd.service import LockFile
lock = LockFile(Path(sys.argv[1]))
lock.acquire()
if sys.argv[2] == "fork" and os.fork() == 0:
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_holder(path: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_process_is_refused_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_holder(path) as first:
        with pytest.raises(AlreadyRunning, match=f"process {first.pid} ") as refused:
            LockFile(path).acquire()
        assert refused.value.exit_code == ExitCode.FAILED
        assert holder_of(path) == first.pid


def test_a_lock_outlives_nobody_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_holder(path) as first:
        first.kill()
        first.wait()
        with LockFile(path):
            assert holder_of(path) == os.getpid()


def test_a_forked_child_does_not_hold_the_lock_of_a_killed_daemon(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_holder(path, "fork") as first:
        assert first.stdout is not None
        first.stdout.readline()
        first.kill()
        first.wait()
        with LockFile(path):
            pass


def test_in_one_process_too_only_one_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with LockFile(path), pytest.raises(AlreadyRunning):
        LockFile(path).acquire()
    with LockFile(path):
        pass


def test_released_it_names_no_holder_and_may_be_taken_again(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock")
    lock.release()
    for _ in range(2):
        lock.acquire()
        lock.acquire()
        lock.release()
        assert holder_of(lock.path) is None


def test_a_removed_lock_file_is_not_what_gets_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_holder(path):
        path.unlink()
        with LockFile(path):
            assert holder_of(path) == os.getpid()
            with pytest.raises(AlreadyRunning):
                LockFile(path).acquire()


def test_the_lock_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with LockFile(tmp_path / "lock") as lock:
        assert lock.path.stat().st_mode & 0o777 == 0o600


def test_a_symlink_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(ConfigurationError, match="cannot lock"):
        LockFile(tmp_path / "lock").acquire()
    assert victim.read_text() == "precious"


def test_a_missing_directory_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.data_dir") as refused:
        LockFile(tmp_path / "nowhere" / "lock").acquire()
    assert refused.value.exit_code == ExitCode.CONFIGURATION


def test_rubbish_in_the_file_is_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for rubbish in (b"", b"\n", b"soon", b"\xff" * 100):
        path.write_bytes(rubbish)
        assert holder_of(path) is None
    assert holder_of(tmp_path / "none") is None
