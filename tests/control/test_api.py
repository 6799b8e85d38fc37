"""The API over its real socket: documents, errors, cursors, bounds, streams."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control.small_daemon import CONFIG_PROBLEMS, NASTY, SmallDaemon
from tests.control.small_people import STRING
from usenetsyncd.control import schema
from usenetsyncd.control.app import MAX_BODY_BYTES
from usenetsyncd.control.client import Client, Refused
from usenetsyncd.control.listener import Listener
from usenetsyncd.errors import ExitCode, UsenetSyncError

STATUS_KEYS = {
    *(
        "schema",
        "version",
        "state",
        "started_at",
        "warnings",
        "folders",
        "transfer",
        "servers",
        "restart_needed",
    ),
    *("name", "uptime_s"),
}
FOLDER_KEYS = {
    *("id", "path", "state", "reason", "files", "bytes", "pending_files", "pending_bytes", "version"),
    *("restorable_at", "verified_at", "health"),
}


def raw(path: Path, request: bytes) -> tuple[int, bytes, dict[bytes, bytes]]:
    """Status, body and headers of a request as bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(request)
        received = b""
        while part := connection.recv(65_536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines)
    return int(first.split()[1]), body, headers


def refusal(client: Client, method: str, *path: str, body: Any = None, **query: object) -> Refused:
    with pytest.raises(Refused) as caught:
        client.ask(method, path, body, query)
    return caught.value


def test_status_has_every_promised_field(client: Client) -> None:
    status = client.get("status")
    assert status.keys() >= STATUS_KEYS
    assert status["schema"] == 1
    assert status["state"] in ("running", "paused", "stopping")
    assert status["folders"][0].keys() >= FOLDER_KEYS
    assert status["transfer"].keys() >= {"up_bytes_per_s", "down_bytes_per_s", "left_bytes", "eta_s"}
    assert status["servers"][0].keys() >= {"name", "state", "connections", "connections_max"}


def test_times_are_iso_8601_in_utc(client: Client) -> None:
    assert client.get("status")["started_at"] == "2025-11-13T02:13:20.000Z"


def test_a_path_that_is_not_utf8_is_shown_and_given_exactly(client: Client) -> None:
    (error,) = client.get("folders", "docs", "errors")["errors"]
    assert error["path"] == NASTY.decode("utf-8", "backslashreplace")
    import base64

    assert base64.b64decode(error["path_b64"]) == NASTY
    assert client.get("folders", "docs")["path_b64"] is None


def test_a_path_that_is_not_utf8_reaches_the_daemon_exactly(client: Client, daemon: SmallDaemon) -> None:
    body = {"source": "docs", "target": {"b64": "L3RtcC//"}, "paths": ["a/ü", {"b64": "/w=="}]}
    client.post("restore", body=body)
    assert daemon.orders[0].target == b"/tmp/\xff"
    assert daemon.orders[0].paths == ["a/ü".encode(), b"\xff"]
    found = client.get("files", path_b64="L3Nydi9kb2NzL/8=")
    assert found["path_b64"] == "L3Nydi9kb2NzL/8="


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "exit_code"),
    [
        ("GET", ("folders", "nobody"), None, "not_found", ExitCode.NOT_FOUND),
        ("GET", ("nothing", "here"), None, "not_found", ExitCode.NOT_FOUND),
        ("GET", ("jobs", "77"), None, "not_found", ExitCode.NOT_FOUND),
        ("GET", ("jobs", "seven"), None, "usage_error", ExitCode.USAGE),
        ("PATCH", ("status",), {}, "usage_error", ExitCode.USAGE),
        ("POST", ("pause",), {"for_s": -1}, "usage_error", ExitCode.USAGE),
        ("POST", ("pause",), {"nonsense": 1}, "usage_error", ExitCode.USAGE),
        ("POST", ("queue", "retry"), {"articles": ["1; DROP TABLE"]}, "usage_error", ExitCode.USAGE),
        ("GET", ("files",), None, "usage_error", ExitCode.USAGE),
        ("POST", ("servers", "refusing", "test"), {}, "login_refused", ExitCode.FAILED),
    ],
)
def test_what_cannot_be_done_is_told_with_code_and_exit_code(
    client: Client, method: str, path: tuple[str, ...], body: Any, code: str, exit_code: ExitCode
) -> None:
    refused = refusal(client, method, *path, body=body)
    assert (refused.code, refused.exit_code) == (code, exit_code)
    assert refused.problem.keys() == {"schema", "error", "message", "exit_code", "action"}
    assert refused.problem["schema"] == 1


def test_every_error_of_a_bad_configuration_comes_back_line_by_line(
    client: Client, daemon: SmallDaemon
) -> None:
    daemon.config_refuses = True
    refused = refusal(client, "POST", "config", "reload", body={})
    assert str(refused) == CONFIG_PROBLEMS
    assert refused.exit_code is ExitCode.CONFIGURATION
    assert refused.action == "usyncctl config validate"


def test_an_unforeseen_error_is_told_without_its_text_and_logged(client: Client, logged: list[Any]) -> None:
    refused = refusal(client, "GET", "logs", component="broken")
    assert refused.code == "unexpected"
    assert "hunter2" not in json.dumps(refused.problem)
    (record,) = [record for record in logged if record["event"] == "request_failed_unexpectedly"]
    assert (record["log_level"], record["path"], record["exc_info"]) == ("error", "/api/v1/logs", True)


def test_a_refused_secret_is_repeated_nowhere(client: Client, logged: list[Any]) -> None:
    for body in ({"value": ["hunter3"]}, {"value": "", "hunter3": 1}, {"value": "x", "more": "hunter3"}):
        refused = refusal(client, "PUT", "credentials", "main", body=body)
        assert refused.exit_code is ExitCode.USAGE
        told = json.dumps(refused.problem["message"]) + repr(logged)
        assert "hunter3" not in told.replace("hunter3: Extra inputs", "")


def test_a_body_beyond_the_limit_is_cut_off(listener: Listener) -> None:
    head = b"POST /api/v1/pause HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    big = b'{"folder": "' + b"x" * MAX_BODY_BYTES + b'"}'
    status, body, _ = raw(listener.path, head % len(big) + big)
    assert status == 400
    assert json.loads(body)["exit_code"] == 2


def test_a_request_that_is_not_http_is_refused_and_the_next_one_served(
    listener: Listener, client: Client
) -> None:
    status, _, _ = raw(listener.path, b"\x16\x03\x01\x02\x00\r\n\r\n")
    assert status == 400
    assert client.get("version")["version"] == "1.0.0"


def test_lists_are_bounded_and_go_on_after_a_cursor(client: Client, daemon: SmallDaemon) -> None:
    for number in range(25):
        daemon.known[f"f{number:02}"] = daemon.make_folder(f"f{number:02}", b"/f")
    names, after = [], None
    while True:
        page = client.get("folders", limit=10, after=after)
        assert len(page["folders"]) <= 10
        names += [folder["id"] for folder in page["folders"]]
        after = page["next"]
        if after is None:
            break
    assert names == sorted(daemon.known)
    assert refusal(client, "GET", "folders", limit=1001).exit_code is ExitCode.USAGE
    assert refusal(client, "GET", "folders", limit=0).exit_code is ExitCode.USAGE


def test_the_description_names_every_path_and_every_form(client: Client) -> None:
    described = client.get("openapi.json")
    assert described["openapi"].startswith("3.")
    assert described["info"]["title"] == "UsenetSync"
    assert "/api/v1/status" in described["paths"]
    forms = described["components"]["schemas"]
    assert forms["Status"]["properties"].keys() >= STATUS_KEYS
    assert forms["RestoreOrder"]["properties"].keys() >= {"source", "target", "paths"}
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            assert told["summary"] or told["description"], (method, path)
            parameters = {parameter["name"] for parameter in told.get("parameters", [])}
            assert not parameters & {"value", "source", "string", "password"}, "secrets belong into bodies"


def test_a_share_string_is_given_only_where_it_is_asked_for(client: Client) -> None:
    made = client.post("shares", body={"folder": "docs"})
    assert made.keys() >= {"share_id", "access", "string"}
    assert made["string"] == STRING
    assert STRING not in json.dumps(client.get("shares"))
    assert STRING not in repr(schema.ShareString(**made | {"created_at": 1.0}))


# -- streams -------------------------------------------------------------------------------


def numbers(lines: Iterator[dict[str, Any]], how_many: int) -> list[int]:
    return [next(lines)["id"] for _ in range(how_many)]


def test_events_come_as_lines_and_those_to_come_follow(client: Client, daemon: SmallDaemon) -> None:
    assert [line["id"] for line in client.stream("GET", ("events",))] == [1, 2, 3]
    assert [line["id"] for line in client.stream("GET", ("events",), since=2)] == [3]
    following = client.stream("GET", ("events",), since=1, follow=1)
    assert numbers(following, 2) == [2, 3]
    daemon.add_event()
    assert numbers(following, 1) == [4]
    following.close()
    newest = client.stream("GET", ("events",), limit=1, follow=1)
    assert numbers(newest, 1) == [4]
    daemon.add_event()
    assert numbers(newest, 1) == [5]
    newest.close()


def test_following_from_the_end_begins_with_what_comes(client: Client, daemon: SmallDaemon) -> None:
    following = client.stream("GET", ("events",), since=3, follow=1)
    timer = threading.Timer(0.3, daemon.add_event)
    timer.start()
    assert numbers(following, 1) == [4]
    following.close()
    timer.join()


def test_streams_are_newline_delimited_json(listener: Listener) -> None:
    _, body, headers = raw(listener.path, b"GET /api/v1/logs HTTP/1.0\r\n\r\n")
    assert headers[b"content-type"] == b"application/x-ndjson"
    assert [json.loads(line)["schema"] for line in body.splitlines()] == [1, 1, 1]


def test_a_job_is_told_until_its_summary(client: Client, daemon: SmallDaemon) -> None:
    job = client.post("restore", body={"source": STRING, "target": "/tmp/x"})
    assert STRING not in json.dumps(job)
    lines = client.stream("GET", ("jobs", str(job["id"]), "stream"))
    first = next(lines)
    assert (first["type"], first["phase"], first["files"]) == ("progress", "fetching", 1)
    daemon.change_job(job["id"], progress={"phase": "fetching", "files": 2})
    assert next(lines)["files"] == 2
    daemon.finish_restore(job["id"], failed=1)
    (summary,) = lines
    assert summary["type"] == "summary"
    assert (summary["files"], summary["bytes"], summary["failed"], summary["exit_code"]) == (2, 30, 1, 3)


@pytest.mark.parametrize(
    ("values", "exit_code"),
    [({"state": "failed", "error_code": "no_server", "error": "no server"}, 1), ({"state": "cancelled"}, 1)],
)
def test_a_job_that_did_not_get_there_says_so_in_its_summary(
    client: Client, daemon: SmallDaemon, values: dict[str, Any], exit_code: int
) -> None:
    job = client.post("restore", body={"source": "docs", "target": "/tmp/x"})
    daemon.change_job(job["id"], **values)
    (summary,) = client.stream("GET", ("jobs", str(job["id"]), "stream"))
    assert summary["exit_code"] == exit_code
    assert summary.keys() >= {"files", "bytes", "failed", "error", "message"}


def test_a_scan_is_told_until_its_summary_and_a_bad_name_refused_before(client: Client) -> None:
    types = [line["type"] for line in client.stream("POST", ("scan", "stream"), {"folder": "docs"})]
    assert types == ["progress", "folder", "summary"]
    with pytest.raises(Refused) as refused:
        next(client.stream("POST", ("scan", "stream"), {"folder": "nobody"}))
    assert refused.value.exit_code is ExitCode.NOT_FOUND


def test_asking_for_idle_waits_until_it_is_so(client: Client, daemon: SmallDaemon) -> None:
    daemon.is_idle = False
    assert client.get("idle") == {"schema": 1, "idle": False, "reasons": ["docs: 3 files to upload"]}
    timer = threading.Timer(0.3, lambda: setattr(daemon, "is_idle", True))
    timer.start()
    began = time.monotonic()
    assert client.get("idle", wait_s=30)["idle"] is True
    assert 0.2 < time.monotonic() - began < 10
    timer.join()


def test_an_error_in_a_stream_is_its_last_line(client: Client, daemon: SmallDaemon) -> None:
    job = client.post("restore", body={"source": "docs", "target": "/tmp/x"})
    lines = client.stream("GET", ("jobs", str(job["id"]), "stream"))
    next(lines)
    del daemon.jobs_by_id[job["id"]]
    with pytest.raises(UsenetSyncError, match="there is no job"):
        next(lines)
