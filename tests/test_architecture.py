"""Rules of the house that a person would otherwise have to remember."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "usenetsyncd"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

TOP_LEVEL = {
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "config",
    "contrib",
    "docs",
    "pyproject.toml",
    "systemd",
    "tests",
    "usenetsyncd",
    "usenetsyncd.example.yaml",
}

# Written in pieces so that this file passes its own test. Paths of one machine, and hosts that only packagers talk to.
FORBIDDEN = [
    *("/wo" + "rk/", "/tmp" + "/v/", "/ro" + "ot/.", "/home" + "/runner"),
    *("pypi" + ".org", "python" + "hosted.org", "deb" + ".debian.org", "snapshot" + ".debian.org"),
]
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|NotImplemented" r"Error)\b")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_path_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"(?<![\w/.$~<-])(?:[\w.-]+/)*[\w-]+\.(?:py|md|yaml|toml|service)\b", text))
    named |= set(re.findall(r"(?<![\w/.$~<-])(?:[\w.-]+/)+(?=[\s`),;:]|$)", text))
    assert named, "the map names nothing"
    missing = {name for name in named if not _stands_somewhere(name)}
    assert not missing


def _stands_somewhere(name: str) -> bool:
    if (ROOT / name).exists() or (PACKAGE / name).exists():
        return True
    # In a drawn tree a file stands under its folder's line, without the folder's name.
    return "/" not in name.rstrip("/") and any(
        next(place.rglob(name.rstrip("/")), None) for place in (PACKAGE, ROOT / "tests", ROOT / "docs")
    )


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in modules() if (n := text_of(p).count("\n")) > MAX_FILE_LINES}
    assert not long


def test_no_function_of_the_package_is_longer_than_60_lines() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{f.lineno} {f.name}": lines
        for path in modules()
        for f in functions(path)
        if (lines := (f.end_lineno or f.lineno) - f.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not long


def test_every_module_of_the_package_says_what_it_is() -> None:
    assert not [
        str(p.relative_to(ROOT)) for p in modules() if not ast.get_docstring(ast.parse(p.read_bytes()))
    ]


@pytest.mark.requires("git")
def test_nothing_stands_at_the_top_but_what_belongs_there() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.requires("git")
def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in tracked()
        for word in FORBIDDEN
        if word in text_of(path)
    ]
    assert not found


@pytest.mark.requires("git")
def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path.suffix in {".py", ".sh", ".toml", ".yaml"}
        for match in UNFINISHED.finditer(text_of(path))
    ]
    assert not found


@pytest.mark.requires("git")
def test_no_test_is_skipped_without_being_listed_as_could_not_run() -> None:
    silent = re.compile(r"pytest\.(skip|importorskip)|mark\.(skip|skipif|xfail)\b|unittest\.mock")
    here = (Path(__file__), ROOT / "tests" / "plugins" / "requirements.py")
    tests = [path for path in tracked() if path.suffix == ".py" and path.parts[len(ROOT.parts)] == "tests"]
    assert not [str(p.relative_to(ROOT)) for p in tests if p not in here and silent.search(text_of(p))]
