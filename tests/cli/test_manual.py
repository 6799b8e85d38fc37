"""Man pages are made from the commands, say all of them, and are what troff wants."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from usenetsyncd.cli import manual
from usenetsyncd.cli.usenetsyncd import usenetsyncd
from usenetsyncd.cli.usyncctl import usyncctl
from usenetsyncd.errors import ExitCode

PROGRAMS = {"usyncctl.1": usyncctl, "usenetsyncd.1": usenetsyncd}


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, Path]:
    manual.main(tmp_path / "man")
    return {path.name: path for path in (tmp_path / "man").iterdir()}


def names(group: click.Group, context: click.Context, before: str = "") -> list[str]:
    """Every command below a group, groups that do nothing themselves left out."""
    found: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += names(command, click.Context(command, parent=context), f"{before}{name} ")
        elif not command.hidden:
            found.append(before + name)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_with_its_help_and_options_is_in_the_page(pages: dict[str, Path], name: str) -> None:
    lines = pages[name].read_text().splitlines()
    headings = [
        line.removeprefix('.SS "').rstrip('"').replace("\\-", "-") for line in lines if line.startswith(".SS")
    ]
    for command in names(PROGRAMS[name], click.Context(PROGRAMS[name])):
        assert any(heading == command or heading.startswith(command + " ") for heading in headings), command
    assert lines[0].startswith('.\\"')
    at = lines.index(".SH NAME")
    assert lines[at + 1].startswith(name.removesuffix(".1") + " \\- "), "whatis and apropos read this line"


def test_the_exit_codes_are_those_of_the_program(pages: dict[str, Path]) -> None:
    text = pages["usyncctl.1"].read_text()
    block = text[text.index(".SH EXIT STATUS") : text.index(".SH ENVIRONMENT")]
    told = {int(line.removeprefix(".B ")) for line in block.splitlines() if line.startswith(".B ")}
    assert told == {int(code) for code in ExitCode}


@pytest.mark.requires("groff")
@pytest.mark.parametrize("name", PROGRAMS)
def test_groff_has_nothing_to_say(pages: dict[str, Path], name: str) -> None:
    judged = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-k", str(pages[name])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (judged.returncode, judged.stderr) == (0, "")
    shown = re.sub(".\b", "", judged.stdout)  # bold is struck twice
    assert "--socket PATH" in shown or name == "usenetsyncd.1"


@pytest.mark.requires("mandoc")
@pytest.mark.parametrize("name", PROGRAMS)
def test_mandoc_finds_no_error(pages: dict[str, Path], name: str) -> None:
    judged = subprocess.run(["mandoc", "-Tlint", "-Werror", str(pages[name])], capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout


def test_it_is_a_program_of_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "usenetsyncd.cli.manual", str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PROGRAMS)


COMPLETIONS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}


@pytest.mark.parametrize(
    "shell", [pytest.param(shell, marks=pytest.mark.requires(shell)) for shell in COMPLETIONS]
)
def test_the_completion_is_a_script_of_its_shell(tmp_path: Path, shell: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "usenetsyncd.cli.usyncctl", "completion", shell],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    script = tmp_path / "completion"
    script.write_text(printed)
    judged = subprocess.run([*COMPLETIONS[shell], str(script)], capture_output=True, text=True)
    assert (judged.returncode, judged.stderr) == (0, "")
