"""The plugins that watch over the other tests do notice."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_pytest(place: Path, source: str, *arguments: str, ci: bool = False) -> tuple[int, str]:
    """Exit code and output of a pytest of its own over one file."""
    (place / "test_it.py").write_text(source)
    (place / "pytest.ini").write_text("[pytest]\nmarkers =\n  requires(*names)\n  leaks_nothing(**checks)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("CI", None)
    plugins = ("-p", "tests.plugins.leaks", "-p", "tests.plugins.requirements", "-p", "no:cacheprovider")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments, str(place)],
        env={**environment, "CI": "true"} if ci else environment,
        cwd=place,
        capture_output=True,
        text=True,
    )
    return ran.returncode, ran.stdout


NEEDS_UNOBTAINIUM = """
import pytest
from tests.plugins.requirements import PROBES

PROBES["unobtainium"] = lambda: "no unobtainium"

@pytest.mark.requires("unobtainium")
def test_first(): raise AssertionError

@pytest.mark.requires("unobtainium")
def test_second(): raise AssertionError
"""


def test_what_could_not_run_is_listed_at_the_end(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, NEEDS_UNOBTAINIUM)
    assert code == 0
    assert "= could not run =" in output
    assert "no unobtainium: 2 tests\n    test_it.py::test_first\n    test_it.py::test_second" in output


def test_it_is_listed_by_parallel_runs_too(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, NEEDS_UNOBTAINIUM, "-n", "1")
    assert code == 0
    assert "no unobtainium: 2 tests" in output


def test_under_ci_what_could_not_run_fails(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, NEEDS_UNOBTAINIUM, ci=True)
    assert code == 1
    assert "no unobtainium: 2 tests" in output


LEAKS = """
import os, socket, threading
kept = []

def test_files():
    kept.append(socket.socket())
    kept.append(open(__file__))
    kept.extend(os.pipe())

def test_thread():
    threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()

def test_nothing():
    with socket.socket(), open(__file__):
        pass
    thread = threading.Thread(target=print)
    thread.start()
    thread.join()
"""


def test_a_forgotten_thread_socket_file_or_pipe_fails_its_test(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, LEAKS, "-rE")
    assert code == 1
    assert "3 passed, 2 errors" in output
    assert "left open: thread 'forgotten'" in output
    assert re.search(
        r"left open: fd \d+ \(socket:.*\), fd \d+ \(/.*test_it.py\), fd \d+ \(pipe:.*fd \d+ \(pipe:", output
    )


def test_a_leak_may_be_allowed_by_name(tmp_path: Path) -> None:
    marked = LEAKS.replace("def test_", "@pytest.mark.leaks_nothing(threads=False, files=False)\ndef test_")
    code, _ = run_pytest(tmp_path, "import pytest\n" + marked)
    assert code == 0


def test_the_fixture_of_inn_is_imported_nowhere() -> None:
    """Each import makes a fixture of its own, and with it an INN of its own."""
    imports = re.compile(r"^from tests\.inn\.fixture import|^import tests\.inn\.fixture", re.MULTILINE)
    assert [path for path in (ROOT / "tests").rglob("*.py") if imports.search(path.read_text())] == []
