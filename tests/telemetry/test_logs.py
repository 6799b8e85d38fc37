import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import structlog

from usenetsyncd.errors import ConfigurationError
from usenetsyncd.telemetry import logs
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.telemetry.ring import LogRecord
from usenetsyncd.telemetry.sinks import FILE_NAME, JournalSink, as_console, with_priority


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_object_with_its_fields() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    structlog.get_logger("news").bind(server="main").info("article_posted", size_bytes=739_812, took_s=0.41)
    (record,) = records(stream)
    assert record["at"].endswith("Z")
    del record["at"], record["id"]
    assert record == {
        "level": "info", "component": "news", "event": "article_posted", "server": "main",
        "size_bytes": 739_812, "took_s": 0.41,
    }  # fmt: skip


def test_a_logger_made_before_logging_is_set_up_follows_it() -> None:
    log = structlog.get_logger("news")
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    log.info("one")
    assert [record["event"] for record in records(stream)] == ["one"]


def test_each_component_has_its_level_and_a_reload_changes_it_at_once() -> None:
    stream = io.StringIO()
    news, folders = structlog.get_logger("news").bind(), structlog.get_logger("folders").bind()
    logs.configure("json", level="warning", components={"news": "debug"}, stream=stream)
    news, folders = structlog.get_logger("news").bind(), structlog.get_logger("folders").bind()
    for log in (news, folders):
        log.debug("a")
        log.warning("b")
    logs.configure("json", level="error", stream=stream)
    for log in (news, folders):
        log.warning("c")
        log.error("d")
    found = [(record["component"], record["event"]) for record in records(stream)]
    assert found == [("news", "a"), ("news", "b"), ("folders", "b"), ("news", "d"), ("folders", "d")]


def test_fields_of_the_context_are_on_every_record() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    with structlog.contextvars.bound_contextvars(job="j1"):
        structlog.get_logger("flows").info("job_started")
    assert records(stream)[0]["job"] == "j1"


def test_the_libraries_come_through_from_warning_on_unless_they_are_named() -> None:
    stream = io.StringIO()
    logs.configure("json", level="debug", components={"uvicorn.error": "info"}, stream=stream)
    logging.getLogger("peewee").debug("SELECT 1")
    logging.getLogger("uvicorn.error").info("GET %s", "/x")
    logging.getLogger("apscheduler.scheduler").warning("late by %d s", 3)
    found = [(record["component"], record["event"], record["logger"]) for record in records(stream)]
    assert found == [
        ("uvicorn", "GET /x", "uvicorn.error"),
        ("apscheduler", "late by 3 s", "apscheduler.scheduler"),
    ]


def test_a_python_warning_is_a_record() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", UserWarning, stacklevel=1)
    assert records(stream)[0]["component"] == "py"


def test_no_secret_reaches_a_sink_or_the_memory_in_fields_events_or_tracebacks() -> None:
    register_secret("c4n4ry-password")
    stream = io.StringIO()
    logs.configure("console", level="debug", stream=stream)
    log = structlog.get_logger("news")

    def fail(password: str) -> None:
        raise ConnectionError(f"AUTHINFO PASS {password} refused")

    try:
        fail("c4n4ry-password")
    except ConnectionError as error:
        log.exception("login_failed", reason=error, sent=f"x c4n4ry-password y {b'c4n4ry-password'.hex()}")
        log.error("again c4n4ry-password", exc_info=error)
        logging.getLogger("lib").exception("c4n4ry-password %s", "c4n4ry-password")
    kept = json.dumps([record.as_dict() for record in logs.ring.recent(10)])
    for text in (stream.getvalue(), kept):
        assert "Traceback" in text
        assert "c4n4ry" not in text
        assert b"c4n4ry-password".hex() not in text


def test_a_line_cannot_be_forged_nor_a_terminal_steered_by_what_is_logged() -> None:
    record = LogRecord(
        1, 0.0, "info", "news", "ev\nent", {"path": 'a\nb\x1b[2J"\u202e\x9b', "na\x1bme": "\udcff"}, None
    )
    for line in (as_console(record), with_priority(record)):
        assert "\n" not in line
        assert "\x1b" not in line
        assert "\u202e" not in line
        assert "\x9b" not in line
    assert r'path="a\nb\x1b[2J\"\u202e\x9b"' in as_console(record)


def test_console_lines_are_key_value() -> None:
    fields = {"server": "main", "took_s": 0.412345678, "path": "a b", "list": [1, "x"], "none": None}
    line = as_console(LogRecord(1, 0.0, "info", "news", "article_posted", fields))
    assert line.endswith(
        'news      article_posted server=main took_s=0.412346 path="a b" list=[1, "x"] none=None'
    )


def test_colours_are_for_a_terminal_that_wants_them() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        stream = Terminal()
        logs.configure("auto", stream=stream, environ=environ)
        structlog.get_logger("news").info("x")
        assert ("\x1b[" in stream.getvalue()) is coloured
    plain = io.StringIO()
    logs.configure("auto", stream=plain, environ={})
    structlog.get_logger("news").info("x")
    assert "\x1b" not in plain.getvalue()


def test_a_directory_gets_private_files_and_an_unwritable_one_keeps_the_old_set_up(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs.configure("json", directory=tmp_path / "log", stream=stream)
    structlog.get_logger("news").info("one", path=os.fsdecode(b"\xff"))
    path = tmp_path / "log" / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"log\.directory"):
        logs.configure("json", directory=tmp_path / "file", stream=io.StringIO())
    structlog.get_logger("news").info("two")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["one", "two"]


def test_files_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usenetsyncd.telemetry.sinks.MAX_FILE_BYTES", 2000)
    logs.configure("json", directory=tmp_path, stream=io.StringIO())
    for number in range(100):
        structlog.get_logger("news").info("filled", number=number)
    logs.shutdown()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [FILE_NAME, *(f"{FILE_NAME}.{number}" for number in range(1, 6))]
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_a_reader_that_went_away_does_not_stop_the_daemon() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        logs.configure("json", stream=stream)
        structlog.get_logger("news").info("lost")
        assert logs.ring.recent(1)[0].event == "lost"
        logs.shutdown()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


def test_the_journal_gets_structured_fields() -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    sink = JournalSink(lambda message, **fields: sent.append((message, fields)))
    sink.write(
        LogRecord(
            1, 0.0, "warning", "news", "server_in_trouble", {"server": "main", "took-s": 0.5}, "Trace\nback\n"
        )
    )
    message, fields = sent[0]
    assert message == "server_in_trouble server=main took-s=0.5\nTrace\nback"
    assert fields == {
        "PRIORITY": "4", "SYSLOG_IDENTIFIER": "usenetsyncd", "USYNC_COMPONENT": "news",
        "USYNC_EVENT": "server_in_trouble", "USYNC_SERVER": "main", "USYNC_TOOK_S": "0.5",
    }  # fmt: skip


PROGRAM = """
import os, sys, structlog
if sys.argv[1] == "without": sys.modules["systemd"] = sys.modules["systemd.journal"] = None
status = os.fstat(2)
if sys.argv[2] == "here": os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
else: os.environ["JOURNAL_STREAM"] = "1:2"
from usenetsyncd.telemetry import logs
logs.configure("auto")
structlog.get_logger("news").warning("server_in_trouble", server="main")
try: 1 / 0
except ZeroDivisionError: structlog.get_logger("news").exception("job_failed")
logs.shutdown()
"""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_stream_to_the_journal_gets_priorities_where_systemd_s_library_is_absent() -> None:
    lines = run("without", "here").splitlines()
    assert lines[0] == "<4>news: server_in_trouble server=main"
    assert lines[1] == "<3>news: job_failed"
    assert all(line.startswith("<3>") for line in lines[1:])
    assert lines[-1] == "<3>ZeroDivisionError: division by zero"


@pytest.mark.requires("systemd-python")
def test_the_journal_s_own_protocol_is_spoken_where_systemd_s_library_is_there() -> None:
    assert run("with", "here") == ""


def test_a_stream_that_was_redirected_from_the_journal_gets_console_lines() -> None:
    assert "warning  news      server_in_trouble server=main" in run("without", "elsewhere")


def test_threads_share_the_log_without_tearing_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs.configure("json", directory=tmp_path, stream=stream)

    def write(number: int) -> None:
        log = structlog.get_logger("flows")
        for step in range(50):
            log.info("step_done", number=number, step=step)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        logs.configure("json", directory=tmp_path, stream=stream)
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    logs.shutdown()
    assert len({(record["number"], record["step"]) for record in records(stream)}) == 400
    assert all(json.loads(line) for line in (tmp_path / FILE_NAME).read_text().splitlines())
