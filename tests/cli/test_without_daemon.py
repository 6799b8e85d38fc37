"""usyncctl when no daemon runs, and what it must not import."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from usenetsyncd.settings.layers import load_settings
from usenetsyncd.vault.vault import Vault

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("apscheduler", "cryptography", "fastapi", "peewee", "pydantic", "sabctools", "starlette", "structlog"),
    *("uvicorn", "watchdog", "yaml", "rich", "asyncio", "ssl", "email", "http"),
}


def config_of(short_dir: Path) -> Path:
    file = short_dir / "config" / "usenetsyncd" / "usenetsyncd.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@pytest.mark.parametrize(
    "command", ["status", "folder list", "scan", "health", "logs -f", "stop", "wait --idle"]
)
def test_a_daemon_that_is_down_is_told_with_code_4(run: Run, short_dir: Path, command: str) -> None:
    sentence = (
        f"usenetsyncd isn't running (tried {short_dir}/none.sock). Start: sudo systemctl start usenetsyncd"
    )
    outcome = run(*command.split())
    assert (outcome.code, outcome.out, outcome.err) == (4, "", sentence + "\n")
    problem = run(*command.split(), "--json").document
    assert (problem["error"], problem["message"], problem["exit_code"]) == ("daemon_unreachable", sentence, 4)


def test_the_socket_may_be_named_in_front_of_and_behind_the_command(run: Run, short_dir: Path) -> None:
    for arguments in (["--socket", "/nowhere/a", "status"], ["status", "--socket", "/nowhere/a"]):
        assert "(tried /nowhere/a)" in run(*arguments).err


def test_wait_ready_goes_on_asking_until_its_time_is_over(run: Run) -> None:
    assert run("wait", "--ready", "--timeout", "300ms").code == 4


def test_version_needs_no_daemon(run: Run) -> None:
    assert "usenetsyncd isn't running" in run("version").out
    assert run("version", "--json").document["daemon"] is None


def test_config_commands_work_without_a_daemon(run: Run, short_dir: Path) -> None:
    file = config_of(short_dir)
    file.write_text(run("config", "generate").out)
    assert run("config", "validate", str(file)).out == f"valid: {file}\n"
    assert run("config", "validate").code == 0
    assert run("config", "validate", "--json").document["valid"] is True
    shown = run("config", "show", "--origin")
    assert (shown.code, shown.err) == (0, "usenetsyncd isn't running; this is what it would read\n")
    assert f"# {file}:" in shown.out
    assert run("config", "show", "--json").document["settings"]["version"] == 1
    assert run("config", "show", "--config", str(file)).code == 0


def test_every_error_of_a_file_is_told_with_its_place(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "usenetsyncd.yaml"
    file.write_text("version: 1\ndefaults:\n  setle: 2s\nlimits:\n  upload: fast\n")
    outcome = run("config", "validate", str(file))
    assert outcome.code == 78
    assert f"{file}:3:3: error: defaults.setle: unknown key; did you mean 'settle'?" in outcome.err
    assert f"{file}:5:11: error: limits.upload: " in outcome.err
    assert outcome.err.endswith("2 errors\n")
    document = run("config", "validate", str(file), "--json").document
    assert document["valid"] is False
    assert len(document["problems"]) == 2


def test_credentials_go_into_the_vault_directly(run: Run, short_dir: Path) -> None:
    config_of(short_dir).write_text(f"storage: {{data_dir: {short_dir}/data}}\n")
    outcome = run("credential", "set", "main", stdin=b"hunter2\n")
    assert (outcome.code, outcome.out) == (0, "main is set\n")
    assert "vault directly" in outcome.err
    data_dir = Path(load_settings().settings.storage.data_dir)
    assert data_dir == short_dir / "data"
    assert Vault.open(data_dir).credentials.get("main") == "hunter2"
    assert "main" in run("credential", "list").out
    assert run("credential", "remove", "main").code == 0
    assert run("credential", "remove", "main").code == 5


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["--help"], ["folder", "list", "--json"], ["wait", "--ready", "--timeout", "0s"]],
)
def test_a_start_imports_nothing_heavy(short_dir: Path, arguments: list[str]) -> None:
    script = (
        "import sys\nfrom usenetsyncd.cli.usyncctl import main\n"
        "try: main(sys.argv[1:])\nfinally: sys.stderr.write('\\nimported ' + ' '.join(sys.modules))"
    )
    command = [sys.executable, "-c", script, "--socket", str(short_dir / "none.sock"), *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stderr
    imported = {name.split(".")[0] for name in told.rpartition("\nimported ")[2].split()}
    assert "click" in imported
    assert not imported & HEAVY
