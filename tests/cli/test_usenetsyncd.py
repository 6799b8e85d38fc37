"""usenetsyncd: what the command itself does; the daemon has its own tests."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from usenetsyncd import __version__
from usenetsyncd.cli.usenetsyncd import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "usenetsyncd.cli.usenetsyncd"]


def test_the_version_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"usenetsyncd {__version__}\n"


def test_the_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    assert all(f"\n  {name} " in out for name in ("run", "demo", "newsserver"))
    assert main(["nonsense"]) == 2


def test_a_bad_configuration_is_told_line_by_line_with_code_78(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("version: 1\ndefaults:\n  setle: 2s\nlimits:\n  upload: fast\n")
    assert main(["run", "--config", str(file)]) == 78
    err = capfd.readouterr().err
    assert f"{file}:3:3: error: defaults.setle" in err
    assert f"{file}:5:11: error: limits.upload" in err
    assert err.endswith("2 errors\n")
    assert main(["run", "--config", str(tmp_path / "none.yaml")]) == 78


@contextmanager
def newsserver(*arguments: str) -> Iterator[int]:
    """The port of a news server that runs until the end of the block."""
    process = subprocess.Popen(
        [*COMMAND, "newsserver", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield int(line.split("127.0.0.1:")[1].split()[0].rstrip(","))
    finally:
        process.terminate()
        _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (0, "")


def test_the_news_server_greets_until_it_is_stopped(tmp_path: Path) -> None:
    with (
        newsserver("--spool", str(tmp_path / "spool")) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        assert connection.recv(1000).startswith(b"200 ")


def test_the_news_server_wants_user_and_password_together(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["newsserver", "--user", "a"]) == 2
    assert main(["newsserver", "--listen", "nonsense"]) == 2
    assert "HOST:PORT" in capfd.readouterr().err
