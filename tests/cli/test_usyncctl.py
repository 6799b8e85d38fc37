"""usyncctl: every command says what a person and what a program need, and ends with the right code."""

import getpass
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Standard
from tests.control.small_daemon import CONFIG_PROBLEMS, SmallDaemon
from tests.control.small_people import STRING
from usenetsyncd.cli import usyncctl
from usenetsyncd.control import schema
from usenetsyncd.control.listener import Listener
from usenetsyncd.settings.edit import FileNotWritable

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("listener")

# command line -> exit code
COMMANDS = {
    "status": 0,
    "folder list": 0,
    "folder list --limit 1": 0,
    "folder show docs": 0,
    "folder show nobody": 5,
    "folder errors docs": 0,
    "folder add new /srv/new --priority low --ignore *.bak": 0,
    "folder add docs /srv/docs": 2,
    "folder remove docs": 0,
    "folder remove nobody": 5,
    "scan": 0,
    "scan docs": 0,
    "scan nobody": 5,
    "scan nobody --wait": 5,
    "file status /srv/docs/a": 0,
    "file status /etc/passwd": 5,
    "versions docs": 0,
    "versions /srv/docs/a": 0,
    "versions nobody": 5,
    "pause": 0,
    "pause docs --for 1h": 0,
    "pause --for soon": 2,
    "pause nobody": 5,
    "resume docs": 0,
    "queue": 0,
    "queue --state failed --folder docs": 0,
    "queue --state nonsense": 2,
    "queue retry": 0,
    "queue retry 12-0 13-1": 0,
    "queue retry x": 2,
    "queue cancel": 2,
    "queue cancel --all": 0,
    "queue move high --folder docs": 0,
    "queue move high": 2,
    "job list": 0,
    "job show 99": 5,
    "job cancel 99": 5,
    "wait --idle": 0,
    "wait --ready": 0,
    "wait": 2,
    "wait --idle --ready": 2,
    "share create docs": 0,
    "share create docs --expires 30d": 0,
    "share create docs --expires 2001-01-01": 2,
    "share create docs --access private": 2,
    "share create docs --access private --to bob": 0,
    "share create docs --access private --to nobody": 5,
    "share create docs --access protected": 0,
    "share create docs --access protected --passphrase-file /nonexistent": 2,
    "share create nobody": 5,
    "share list": 0,
    "share show s1": 0,
    "share show s2": 5,
    "share revoke s1": 0,
    "share revoke s2": 5,
    "share members p1": 0,
    "share members p1 --remove bob": 0,
    "share members p1 --remove nobody": 5,
    "share members s1": 2,
    "identity show": 0,
    "identity export": 0,
    "identity export --name Alice": 0,
    "user list": 0,
    "user add /nonexistent": 2,
    "user add usyncuser1AAAA": 2,
    "user remove bob": 0,
    "user remove nobody": 5,
    "restore docs --to /tmp/x --detach": 0,
    "restore docs": 2,
    "restore docs ../etc --to /tmp/x": 2,
    "verify --detach": 0,
    "verify docs --full --detach": 0,
    "verify nobody": 5,
    "verify --server nobody": 5,
    "verify --sample 200%": 2,
    "verify --full --sample 2%": 2,
    "repair --detach": 0,
    "repair docs --dry-run --no-wait --detach": 0,
    "repair nobody": 5,
    "server list": 0,
    "server test": 0,
    "server test main": 0,
    "server test main --post": 0,
    "server test --post": 2,
    "server test nobody": 5,
    "server test refusing": 1,
    "config generate": 0,
    "config show": 0,
    "config show --origin": 0,
    "config diff": 0,
    "config reload": 0,
    "credential list": 0,
    "credential remove main": 0,
    "credential remove nobody": 5,
    "logs --component news": 0,
    "logs --component broken": 1,
    "events": 0,
    "events --since 2": 0,
    "health": 0,
    "version": 0,
    "completion bash": 0,
    "completion tcsh": 2,
    "stop": 0,
    "nonsense": 2,
    "": 2,
}


@pytest.mark.parametrize("noun", dict.fromkeys(command.partition(" ")[0] for command in COMMANDS))
def test_every_command_ends_with_its_code_and_speaks_json(run: Run, noun: str) -> None:
    for command, code in COMMANDS.items():
        if command.partition(" ")[0] == noun:
            check(run, command, code)


def check(run: Run, command: str, code: int) -> None:
    once = " add new" in command or command in ("folder remove docs", "credential remove main")
    if not once:
        person = run(*command.split())
        assert person.code == code, command
        assert noun_says_nothing(command) or (person.err if code else person.out + person.err).strip()
        assert code or not person.out.startswith("{")
    program = run(*command.split(), "--json")
    assert program.code == code, command
    if "Usage:" in program.err:
        assert code == 2
        return
    last = program.lines[-1]
    assert code == 0 or (last["exit_code"] == code and last["error"])


def noun_says_nothing(command: str) -> bool:
    """`wait` is silent when it is over."""
    return command.startswith("wait")


def test_json_may_be_asked_for_before_the_command_too(run: Run) -> None:
    assert run("--json", "version").document["daemon"]["version"] == "1.0.0"


def test_the_table_of_commands_tells_what_each_command_tells(run: Run) -> None:
    group = usyncctl.usyncctl
    context = group.make_context("usyncctl", ["--json"], resilient_parsing=True)
    for name, (_, _, told) in usyncctl.COMMANDS.items():
        command = group.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert run(name, "--help").code == 0
        assert told.endswith(".")
    shown = run("--help").out
    assert all(f"\n  {name} " in shown for name in usyncctl.COMMANDS)


# -- status --------------------------------------------------------------------------------

EXPECTED = """\
UsenetSync 1.0.0 on nas01, running 6d 04h                     2 warnings
Restorable up to {at} (12m ago)

FOLDER    STATE       DONE      FILES     SIZE  RESTORABLE  VERIFIED
docs      up to date  100%     48,213  61.0 GB  v118 {at}  100%  2d ago
photos    uploading    63%  1,204,551   1.9 TB  v7   {at}    2%  2d ago
projects  held           -      9,876  12.4 GB  v41  {at}  100%  2d ago

up 7.6 MB/s (limit 8 MB/s)   41.2 GB left   ETA 1h35m   main 18/20
! photos: 3 files unreadable       usyncctl folder errors photos
! projects: 31% of files deleted   usyncctl folder review projects
"""


def test_status_looks_as_promised(run: Run, daemon: SmallDaemon) -> None:
    at, verified = time.time() - 720, time.time() - 2 * 86_400 - 60
    times = {"restorable_at": at, "verified_at": verified}
    daemon.known = {
        "docs": daemon.make_folder("docs", b"/srv/docs", **times),
        "photos": daemon.make_folder(
            "photos",
            b"/srv/photos",
            **times,
            state="uploading",
            files=1_204_551,
            bytes=1_900_000_000_000,
            pending_files=9,
            pending_bytes=700_000_000_000,
            version=7,
            verified_fraction=0.02,
        ),
        "projects": daemon.make_folder(
            "projects",
            b"/srv/projects",
            **times,
            state="held",
            reason="31% of files deleted",
            files=9_876,
            bytes=12_400_000_000,
            version=41,
        ),
    }
    daemon.warnings = [
        schema.Trouble(
            code="unreadable", message="photos: 3 files unreadable", action="usyncctl folder errors photos"
        ),
        schema.Trouble(
            code="held", message="projects: 31% of files deleted", action="usyncctl folder review projects"
        ),
    ]
    clock = time.strftime("%H:%M", time.localtime(at))
    if time.localtime(at).tm_yday != time.localtime().tm_yday:
        clock = time.strftime("%b %d %H:%M", time.localtime(at))
        assert clock in run("status").out  # just after midnight the columns are wider
    else:
        assert run("status").out == EXPECTED.format(at=clock)


def test_every_idle_state_has_its_reason_in_status(run: Run, daemon: SmallDaemon) -> None:
    daemon.known["docs"] = daemon.make_folder("docs", b"/", state="paused", reason="paused until 18:00")
    assert "- docs: paused until 18:00\n" in run("status").out
    daemon.known.clear()
    assert "No folders yet. Add one: usyncctl folder add ID PATH\n" in run("status").out


def test_status_names_what_waits_for_a_restart(run: Run, daemon: SmallDaemon) -> None:
    daemon.restart_needed = ["storage.data_dir"]
    assert (
        "! a restart is needed for storage.data_dir   sudo systemctl restart usenetsyncd" in run("status").out
    )


def test_nothing_is_done_until_all_is_posted(run: Run, daemon: SmallDaemon) -> None:
    daemon.known["docs"] = daemon.make_folder(
        "docs", b"/", state="uploading", pending_files=1, pending_bytes=1
    )
    assert " 99% " in run("status").out


# -- what others wrote is only ever shown ----------------------------------------------------


def test_nothing_from_outside_reaches_the_terminal_unescaped(run: Run, daemon: SmallDaemon) -> None:
    nasty = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\r\n\x7f"
    daemon.name = nasty
    daemon.known["docs"] = daemon.make_folder("docs", nasty.encode(), reason=nasty, state="held")
    daemon.warnings = [schema.Trouble(code="x", message=nasty, action=nasty)]
    daemon.event_rows = [schema.Event(id=9, at=1.0, level="error", code="x", message=nasty)]
    daemon.log_rows = [
        schema.LogLine(
            id=9,
            at=1.0,
            level="info",
            component=nasty,
            event=nasty,
            fields={nasty: nasty},
            traceback=f"a\n{nasty}",
        )
    ]
    for command in (
        "status",
        "folder list",
        "folder show docs",
        "folder errors docs",
        "events",
        "logs",
        "health",
    ):
        for arguments in (command.split(), [*command.split(), "--json"]):
            outcome = run(*arguments)
            told = outcome.out + outcome.err
            assert "owned" in told
            dangerous = {letter for letter in told if letter in "\x1b\x07\x9b\u202e\r\x7f"}
            assert not dangerous, arguments


def test_the_daemons_refusals_are_escaped_too(run: Run) -> None:
    outcome = run("folder", "show", "\x1b]0;owned\x07")
    assert outcome.code == 5
    assert "\x1b" not in outcome.err
    assert "owned" in outcome.err


# -- waiting -------------------------------------------------------------------------------


def test_waiting_for_idle_ends_when_it_is_so(run: Run, daemon: SmallDaemon) -> None:
    daemon.is_idle = False
    timer = threading.Timer(0.3, lambda: setattr(daemon, "is_idle", True))
    timer.start()
    assert run("wait", "--idle", "--timeout", "30s").code == 0
    timer.join()


def test_waiting_in_vain_tells_what_is_still_going_on(run: Run, daemon: SmallDaemon) -> None:
    daemon.is_idle = False
    outcome = run("wait", "--idle", "--timeout", "200ms")
    assert outcome.code == 1
    assert "- docs: 3 files to upload" in outcome.err
    daemon.ready = False
    assert run("wait", "--ready", "--timeout", "0").code == 1


def test_health_is_an_exit_code(run: Run, daemon: SmallDaemon) -> None:
    for verdict, code in (("ok", 0), ("warning", 3), ("error", 1)):
        daemon.verdict = schema.Verdict(verdict)
        assert run("health").code == code
        assert run("health", "--json").document["verdict"] == verdict


def test_a_scan_that_is_waited_for_tells_what_it_found(run: Run, daemon: SmallDaemon) -> None:
    outcome = run("scan", "docs", "--wait")
    assert (outcome.code, outcome.out) == (0, "docs: 2 files read (20 B), 0 gone\n")
    assert [line["type"] for line in run("scan", "--wait", "--json").lines] == [
        "progress",
        "folder",
        "summary",
    ]
    daemon.unreadable = 1
    assert run("scan", "docs", "--wait").code == 3


def test_each_version_is_told_with_its_health(run: Run) -> None:
    told = run("versions", "docs")
    assert told.out.splitlines()[0].split()[-1] == "HEALTH"
    assert told.out.splitlines()[1].endswith("at risk")
    assert "usyncctl folder show docs" in told.err


def test_a_server_is_posted_to_only_where_that_is_asked_for(run: Run) -> None:
    asked, posted = (run("server", "test", "main", *more, "--json").lines[-1] for more in ((), ("--post",)))
    assert (asked["id_policy"], asked["article_bytes"], asked["group"]) == ("unknown", 0, "")
    assert (posted["id_policy"], posted["article_bytes"], posted["group"]) == (
        "keeps",
        790_000,
        "alt.binaries.test",
    )
    assert "the test article is for alt.binaries.test" in run("server", "test", "main", "--post").out
    (server,) = run("server", "list", "--json").lines[-1]["servers"]
    assert (server["id_policy"], server["article_bytes"]) == ("swallows", 790_000)
    shown = run("server", "list").out
    assert "swallowed" in shown
    assert "790.0 kB" in shown


# -- restoring -----------------------------------------------------------------------------


def finish_soon(daemon: SmallDaemon, **values: int) -> threading.Thread:
    def finish() -> None:
        while not daemon.jobs_by_id:
            time.sleep(0.01)
        time.sleep(0.2)
        daemon.finish_restore(max(daemon.jobs_by_id), **values)

    thread = threading.Thread(target=finish)
    thread.start()
    return thread


def test_a_restore_ends_with_its_summary(run: Run, daemon: SmallDaemon) -> None:
    thread = finish_soon(daemon)
    outcome = run("restore", STRING, "a/b", "/c/", "--to", "somewhere", "--overwrite", "--json")
    thread.join()
    assert outcome.code == 0
    summary = outcome.lines[-1]
    assert (summary["type"], summary["files"], summary["bytes"], summary["failed"]) == ("summary", 3, 30, 0)
    (order,) = daemon.orders
    assert order.source == STRING
    assert order.paths == [b"a/b", b"c"]
    assert order.target == os.fsencode(Path("somewhere").absolute())
    assert order.overwrite
    assert not order.owner
    assert not order.dry_run


def test_a_restore_that_could_not_place_everything_ends_with_3_and_names_it(
    run: Run, daemon: SmallDaemon
) -> None:
    thread = finish_soon(daemon, failed=1)
    outcome = run("restore", "docs@7", "--to", "/tmp/x")
    thread.join()
    assert outcome.code == 3
    assert outcome.out == "version 7: 2 files, 30 B done, 1 failed\n"
    assert "\\x1b]0;owned\\x07/café\\xff: a different file stands there" in outcome.err


def test_owners_are_asked_for_and_what_could_not_be_set_is_told(run: Run, daemon: SmallDaemon) -> None:
    daemon.restore_warnings = ["owner of 3 files\x1b could not be set"]
    thread = finish_soon(daemon)
    outcome = run("restore", "docs", "--to", "/tmp/x", "--owner")
    thread.join()
    assert outcome.code == 0
    assert daemon.orders[0].owner
    told = "! owner of 3 files\\x1b could not be set"
    assert told in outcome.err
    assert told in run("job", "show", "1").out
    followed = run("job", "show", "1", "--follow", "--json").lines[-1]
    assert followed["warnings"] == daemon.restore_warnings
    assert run("job", "show", "1", "--json").lines[-1]["result"]["warnings"] == daemon.restore_warnings


def test_the_access_string_is_read_from_standard_input_and_never_shown(run: Run, daemon: SmallDaemon) -> None:
    outcome = run("restore", "-", "--to", "/tmp/x", "--detach", stdin=STRING.encode() + b"\n")
    assert outcome.code == 0
    assert daemon.orders[0].source == STRING
    assert (
        STRING
        not in outcome.out + outcome.err + run("job", "list").out + run("job", "show", "1", "--json").out
    )
    assert run("restore", "-", "--to", "/tmp/x", stdin=b"\n").code == 2


def test_a_failed_job_says_why(run: Run, daemon: SmallDaemon) -> None:
    run("restore", "docs", "--to", "/tmp/x", "--detach")
    daemon.change_job(1, state="failed", error_code="no_server", error="no server answers")
    outcome = run("job", "show", "1", "--follow")
    assert (outcome.code, outcome.err) == (1, "job 1: no server answers\n")
    assert "no server answers" in run("job", "list").out


# What a shell starts in the background ignores Ctrl-C, and so would whatever tests start that run there.
HEEDS_CTRL_C = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])"""


def _interrupted(process: "subprocess.Popen[str]") -> str:
    """Ctrl-C, as a person does it: again after a while, should Python have lost the first in a callback of its own."""
    for _ in range(5):
        process.send_signal(2)
        try:
            return process.communicate(timeout=5)[1]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    process.communicate()
    raise AssertionError("it does not end")


def test_ctrl_c_leaves_the_restore_running(daemon: SmallDaemon, listener: Listener) -> None:
    command = [sys.executable, "-m", "usenetsyncd.cli.usyncctl", "--socket", str(listener.path)]
    process = subprocess.Popen(
        [sys.executable, "-c", HEEDS_CTRL_C, *command, "restore", "docs", "--to", "/tmp/x"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    while not daemon.jobs_by_id:
        time.sleep(0.02)
    time.sleep(0.3)
    err = _interrupted(process)
    assert process.returncode == 130
    assert "Job 1 goes on without this command. See it: usyncctl job show 1 --follow" in err
    assert "Stop it: usyncctl job cancel 1" in err
    assert daemon.jobs_by_id[1].state == "running"


def test_a_daemon_that_stops_leaves_the_job_for_its_next_start(
    run: Run, daemon: SmallDaemon, listener: Listener
) -> None:
    run("restore", "docs", "--to", "/tmp/x", "--detach")
    timer = threading.Timer(0.3, listener.stop)
    timer.start()
    outcome = run("job", "show", "1", "--follow")
    timer.join()
    assert outcome.code == 1
    assert "goes on when it is started again" in outcome.err


# -- configuration and credentials -----------------------------------------------------------


def test_a_refused_reload_tells_every_error_and_that_nothing_changed(run: Run, daemon: SmallDaemon) -> None:
    daemon.config_refuses = True
    outcome = run("config", "reload")
    assert outcome.code == 78
    assert outcome.err == f"{CONFIG_PROBLEMS}\n2 errors; the running configuration was left unchanged\n"


def test_a_reload_that_needs_a_restart_says_so_and_ends_with_3(run: Run, daemon: SmallDaemon) -> None:
    daemon.restart_needed = ["control.socket"]
    outcome = run("config", "reload")
    assert outcome.code == 3
    assert "a restart is needed for control.socket" in outcome.err


def test_a_credential_comes_from_standard_input_and_is_never_shown(run: Run, daemon: SmallDaemon) -> None:
    outcome = run("credential", "set", "ntfy", stdin=b"s3cret value\n")
    assert (outcome.code, outcome.out) == (0, "ntfy is set\n")
    assert daemon.secrets["ntfy"] == "s3cret value"
    assert "s3cret" not in run("credential", "list").out + run("credential", "list", "--json").out
    assert run("credential", "set", "ntfy", stdin=b"").code == 2


def test_a_credential_typed_on_a_terminal_is_asked_for_twice(
    run: Run, daemon: SmallDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Standard(b"", terminal=True))
    typed = ["one", "two", "same", "same"]
    monkeypatch.setattr(getpass, "getpass", lambda _: typed.pop(0))
    assert run("credential", "set", "main").code == 2
    assert run("credential", "set", "main").code == 0
    assert daemon.secrets["main"] == "same"


def test_a_file_that_the_daemon_may_not_write_is_edited_by_the_command(
    run: Run, daemon: SmallDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "usenetsyncd.yaml"
    file.write_text("version: 1\nfolders: []\n")
    daemon.file_refuses = FileNotWritable("the file cannot be written; add this yourself")
    monkeypatch.setattr(daemon, "files", lambda: [str(file)])
    outcome = run("folder", "add", "new", "/srv/new", "--json")
    assert (outcome.code, outcome.document["file"]) == (0, str(file))
    assert "  - {id: new, path: /srv/new}\n" in file.read_text()
    daemon.known["new"] = daemon.make_folder("new", b"/srv/new")
    assert run("folder", "remove", "new").code == 0
    assert "new" not in file.read_text()


# -- the frame -----------------------------------------------------------------------------


def test_lists_say_how_they_go_on(run: Run) -> None:
    outcome = run("queue")
    assert "there is more: usyncctl queue --after 12-0" in outcome.err
    assert "more" not in run("queue", "--after", "12-0").err


def test_a_reader_that_has_had_enough_is_no_error(listener: Listener) -> None:
    command = f"{sys.executable} -m usenetsyncd.cli.usyncctl --socket {listener.path} logs -f | head -n 1; echo ${{PIPESTATUS[0]}}"
    process = subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    time.sleep(1.0)
    listener._operations.log_rows.append(  # type: ignore[attr-defined]
        schema.LogLine(id=4, at=1.0, level="info", component="news", event="late")
    )
    out, err = process.communicate(timeout=15)
    assert out.splitlines()[-1] == "0"
    assert err == ""


def test_a_terminal_that_is_not_utf8_gets_escapes(daemon: SmallDaemon, listener: Listener) -> None:
    daemon.name = "nás→"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "USENETSYNCD_SOCKET": str(listener.path)}
    command = [sys.executable, "-m", "usenetsyncd.cli.usyncctl", "status"]
    outcome = subprocess.run(command, capture_output=True, check=True, env=environment, cwd=ROOT)
    assert "n\xe1s\\u2192".encode("latin-1") in outcome.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_knows_commands_and_folders(
    run: Run, shell: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "_USYNCCTL_COMPLETE" in run("completion", shell).out
    monkeypatch.setenv("_USYNCCTL_COMPLETE", f"{shell}_complete")
    words = "usyncctl folder show d"
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", "d" if shell == "fish" else "3")
    monkeypatch.setenv("COMP_WORD", "d")
    with pytest.raises(SystemExit):
        usyncctl.main([])
    assert "docs" in capfd.readouterr().out


def test_the_scripts_of_the_shells_are_theirs(run: Run) -> None:
    script = run("completion", "bash").out
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert json.loads(run("completion", "fish", "--json").out)["shell"] == "fish"
