"""The Unix socket: who may connect, what is left behind, how it stops."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.control.small_daemon import SmallDaemon
from usenetsyncd.control.client import Client
from usenetsyncd.control.listener import Listener
from usenetsyncd.control.peer import Peer, Permitted, group_id, peer_of
from usenetsyncd.errors import AlreadyRunning, ConfigurationError

ROOT = Path(__file__).parents[2]
NOBODY = 65534

# The interpreter may stand where only root can start it, so the user is changed after everything is imported.
AS_NOBODY = """
import os, sys
from usenetsyncd.control.client import Client
from usenetsyncd.errors import UsenetSyncError
import encodings.idna
os.setgroups([int(group) for group in sys.argv[2:]])
os.setgid(65534)
os.setuid(65534)
try:
    print(Client([sys.argv[1]]).get("version")["version"])
except UsenetSyncError as error:
    print(error.code, int(error.exit_code), error)
"""


def as_nobody(path: Path, *groups: int) -> str:
    command = [sys.executable, "-c", AS_NOBODY, str(path), *map(str, groups)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def test_the_socket_is_private_without_a_group(listener: Listener) -> None:
    assert stat.S_IMODE(listener.path.stat().st_mode) == 0o600


@pytest.mark.requires("root")
def test_the_socket_belongs_to_the_group_that_is_configured(daemon: SmallDaemon, socket_path: Path) -> None:
    listener = Listener(daemon, socket_path, "daemon")
    listener.start()
    found = socket_path.stat()
    listener.stop()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group_id("daemon"))


@pytest.mark.requires("root")
def test_another_user_is_refused_even_when_the_socket_lets_him_in(
    listener: Listener, short_dir: Path
) -> None:
    short_dir.chmod(0o755)
    assert as_nobody(listener.path).startswith("not_permitted 77 you may not use")
    listener.path.chmod(0o666)
    assert as_nobody(listener.path).startswith("not_permitted 77 user 65534 may not use this daemon")


@pytest.mark.requires("root")
def test_a_member_of_the_group_is_let_in(daemon: SmallDaemon, socket_path: Path, short_dir: Path) -> None:
    short_dir.chmod(0o755)
    listener = Listener(daemon, socket_path, "daemon")
    listener.start()
    try:
        assert as_nobody(socket_path, group_id("daemon")) == "1.0.0"
        socket_path.chmod(0o666)
        assert as_nobody(socket_path, group_id("games")).startswith("not_permitted")
    finally:
        listener.stop()


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.uid, peer.gid, peer.pid) == (os.geteuid(), os.getegid(), os.getpid())
    assert peer.groups == frozenset(os.getgroups())


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        (Peer(0, 0, 1), True),
        (Peer(1000, 1000, 1), True),
        (Peer(1001, 50, 1), True),
        (Peer(1001, 1001, 1, frozenset({7, 50})), True),
        (Peer(1001, 1001, 1, frozenset({7})), False),
        (Peer(1001, 1000, 1), False),
    ],
)
def test_root_the_daemons_user_and_the_group_may(peer: Peer, allowed: bool) -> None:
    assert Permitted(1000, 50).allows(peer) is allowed
    assert Permitted(1000, None).allows(peer) is (peer.uid in (0, 1000))


def test_a_group_that_does_not_exist_is_a_mistake_in_the_configuration(
    daemon: SmallDaemon, socket_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"no group 'no-such-group'.*groupadd"):
        Listener(daemon, socket_path, "no-such-group").start()
    assert not socket_path.exists()


def test_a_stale_socket_is_replaced(daemon: SmallDaemon, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    listener = Listener(daemon, socket_path)
    listener.start()
    assert Client([str(socket_path)]).get("version")["version"] == "1.0.0"
    listener.stop()
    assert not socket_path.exists()


def test_the_socket_of_a_living_daemon_is_left_alone(listener: Listener, client: Client) -> None:
    with pytest.raises(AlreadyRunning, match="another daemon answers"):
        Listener(SmallDaemon(), listener.path).start()
    assert client.get("version")["version"] == "1.0.0"


def test_a_file_in_the_place_of_the_socket_is_left_alone(daemon: SmallDaemon, socket_path: Path) -> None:
    socket_path.write_text("mine")
    with pytest.raises(ConfigurationError, match="not a socket"):
        Listener(daemon, socket_path).start()
    assert socket_path.read_text() == "mine"


def test_a_path_that_no_socket_can_have_is_told(daemon: SmallDaemon, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="longer than 107 bytes"):
        Listener(daemon, tmp_path / ("x" * 108)).start()


def test_a_missing_directory_is_made_private(daemon: SmallDaemon, short_dir: Path) -> None:
    path = short_dir / "run" / "control.sock"
    listener = Listener(daemon, path)
    listener.start()
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    listener.stop()
    assert mode == 0o700


def test_stopping_ends_streams_and_long_polls_at_once(daemon: SmallDaemon, socket_path: Path) -> None:
    daemon.is_idle = False
    listener = Listener(daemon, socket_path)
    listener.start()
    client = Client([str(socket_path)])
    job = client.post("restore", body={"source": "docs", "target": "/tmp/x"})
    ended: dict[str, object] = {}

    def watch(name: str, method: str, *path: str, body: object = None, **query: object) -> None:
        ended[name] = [*client.stream(method, path, body, **query)]  # type: ignore[arg-type]

    threads = [
        threading.Thread(target=watch, args=("events", "GET", "events"), kwargs={"follow": 1}),
        threading.Thread(target=watch, args=("logs", "GET", "logs"), kwargs={"follow": 1}),
        threading.Thread(target=watch, args=("job", "GET", "jobs", str(job["id"]), "stream")),
        threading.Thread(target=watch, args=("scan", "POST", "scan", "stream"), kwargs={"body": {}}),
        threading.Thread(target=lambda: ended.update(idle=client.get("idle", wait_s=60))),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    listener.stop(5.0)
    took_s = time.monotonic() - began
    for thread in threads:
        thread.join(5)
    assert took_s < 2.0
    assert ended.keys() == {"events", "logs", "job", "scan", "idle"}
    assert ended["job"][-1]["type"] == "interrupted"  # type: ignore[index]


def test_a_request_that_does_not_end_cannot_hold_up_the_stop(daemon: SmallDaemon, socket_path: Path) -> None:
    listener = Listener(daemon, socket_path)
    listener.start()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(socket_path))
        slow.sendall(b"POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        began = time.monotonic()
        listener.stop(1.0)
        assert time.monotonic() - began < 4.0


def test_one_who_goes_away_in_the_middle_of_a_stream_is_forgotten(listener: Listener, client: Client) -> None:
    lines = client.stream("GET", ("events",), follow=1)
    next(lines)
    server = listener._server
    assert server is not None
    assert len(server.server_state.connections) == 1
    lines.close()
    deadline = time.monotonic() + 5
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.server_state.connections
    assert not server.server_state.tasks


def test_stop_without_start_and_twice_is_harmless(daemon: SmallDaemon, socket_path: Path) -> None:
    listener = Listener(daemon, socket_path)
    listener.stop()
    other = Listener(daemon, socket_path)
    other.start()
    assert other.alive()
    other.stop()
    other.stop()
