import subprocess
import sys
from pathlib import Path

import pytest

from usenetsyncd.settings.paths import default_data_dir, default_socket, socket_candidates, user_config

SYSTEM = Path("/run/usenetsyncd/control.sock")


@pytest.mark.parametrize(
    ("environ", "root", "data_dir", "socket"),
    [
        ({}, True, "/var/lib/usenetsyncd", "/run/usenetsyncd/control.sock"),
        ({"HOME": "/h"}, True, "/var/lib/usenetsyncd", "/run/usenetsyncd/control.sock"),
        ({"HOME": "/h"}, False, "/h/.local/state/usenetsyncd", "/h/.local/state/usenetsyncd/control.sock"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, False, "/s/usenetsyncd", "/s/usenetsyncd/control.sock"),
        (
            {"HOME": "/h", "XDG_STATE_HOME": "s"},
            False,
            "/h/.local/state/usenetsyncd",
            "/h/.local/state/usenetsyncd/control.sock",
        ),
        (
            {"HOME": "/h", "XDG_RUNTIME_DIR": "/r"},
            False,
            "/h/.local/state/usenetsyncd",
            "/r/usenetsyncd/control.sock",
        ),
        ({"STATE_DIRECTORY": "/st:/other", "RUNTIME_DIRECTORY": "/ru"}, False, "/st", "/ru/control.sock"),
        ({"STATE_DIRECTORY": "/st", "RUNTIME_DIRECTORY": "/ru"}, True, "/st", "/ru/control.sock"),
        ({}, False, "/var/lib/usenetsyncd", "/var/lib/usenetsyncd/control.sock"),
    ],
)
def test_state_and_socket_are_where_the_platform_keeps_them(
    environ: dict[str, str], root: bool, data_dir: str, socket: str
) -> None:
    assert default_data_dir(environ, root) == Path(data_dir)
    assert default_socket(environ, root=root) == Path(socket)


def test_a_client_asks_its_own_daemon_before_the_system_s() -> None:
    assert socket_candidates({"XDG_RUNTIME_DIR": "/r"}, root=False) == (
        Path("/r/usenetsyncd/control.sock"),
        SYSTEM,
    )
    assert socket_candidates({}, root=True) == (SYSTEM,)
    assert socket_candidates({"USENETSYNCD_SOCKET": "/x.sock"}, root=True) == (Path("/x.sock"),)


def test_the_user_s_file_is_where_xdg_says() -> None:
    assert user_config({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}) == Path("/c/usenetsyncd/usenetsyncd.yaml")
    assert user_config({"HOME": "/h"}) == Path("/h/.config/usenetsyncd/usenetsyncd.yaml")
    assert user_config({}) is None


def test_finding_the_socket_imports_nothing_heavy() -> None:
    program = (
        "import sys, usenetsyncd.settings.paths; "
        "sys.exit(', '.join({'pydantic', 'yaml', 'structlog', 'cryptography'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
