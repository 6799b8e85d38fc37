"""The client's end: what it says when there is nobody, or nonsense, at the other end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from usenetsyncd.control.client import Client, Refused
from usenetsyncd.errors import DaemonUnreachable, ExitCode


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[Client]:
    """Somebody who answers one connection with these bytes, whatever is asked."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Client([str(path)])
        finally:
            thread.join()


def test_no_daemon_is_told_with_the_command_that_starts_one(socket_path: Path) -> None:
    with pytest.raises(DaemonUnreachable) as caught:
        Client([str(socket_path)]).get("status")
    expected = f"usenetsyncd isn't running (tried {socket_path}). Start: sudo systemctl start usenetsyncd"
    assert str(caught.value) == expected
    assert caught.value.exit_code is ExitCode.UNREACHABLE


def test_every_socket_that_was_tried_is_named(short_dir: Path) -> None:
    with pytest.raises(DaemonUnreachable, match=r"tried .*/a and .*/b\)"):
        Client([str(short_dir / "a"), str(short_dir / "b")]).get("status")


def test_a_socket_that_nobody_serves_any_more_is_passed_over(short_dir: Path, client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_dir / "dead"))
    both = Client([str(short_dir / "dead"), *client._candidates])
    assert both.get("version")["version"] == "1.0.0"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
        b'HTTP/1.1 200 OK\r\n\r\n{"schema": 1, "sta',
        b"HTTP/1.1 abc OK\r\n\r\n{}",
        b"HTTP/1.1 500 Oh\r\n\r\n<html>",
    ],
)
def test_an_answer_that_is_none_is_one_of_our_errors(socket_path: Path, answer: bytes) -> None:
    with answering(socket_path, answer) as client, pytest.raises(DaemonUnreachable):
        client.get("status")


@pytest.mark.parametrize("cut", [b'{"id": 2', b"nonsense\n"])
def test_a_stream_that_is_cut_off_is_not_taken_for_its_end(socket_path: Path, cut: bytes) -> None:
    with answering(socket_path, b'HTTP/1.1 200 OK\r\n\r\n{"id": 1}\n' + cut) as client:
        lines = client.stream("GET", ("events",))
        assert next(lines) == {"id": 1}
        with pytest.raises(DaemonUnreachable, match="lost"):
            next(lines)


def test_a_refusal_of_a_newer_daemon_still_has_a_known_exit_code(socket_path: Path) -> None:
    answer = b'HTTP/1.1 418 Teapot\r\n\r\n{"error": "teapot", "message": "short and stout", "exit_code": 99}'
    with answering(socket_path, answer) as client, pytest.raises(Refused, match="short and stout") as caught:
        client.get("status")
    assert (caught.value.code, caught.value.exit_code) == ("teapot", ExitCode.FAILED)


def test_names_are_quoted_in_urls(client: Client) -> None:
    with pytest.raises(Refused, match="no folder named 'a b%2e\\?x=1#'"):
        client.get("folders", "a b%2e?x=1#")
