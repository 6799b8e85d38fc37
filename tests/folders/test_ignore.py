"""Ignore rules: as git has them, on names that are bytes."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.folders.ignore import NO_RULES, compile_rules, load_rules
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.model import RelativePath


def ignored(rules: list[str], path: bytes, is_dir: bool = False) -> bool:
    return compile_rules(rules).covers(RelativePath(path), is_dir)


@pytest.mark.parametrize(
    ("rules", "path", "is_dir", "expected"),
    [
        (["*.o"], b"a.o", False, True),
        (["*.o"], b"deep/down/a.o", False, True),
        (["*.o"], b"a.c", False, False),
        (["build/"], b"build", True, True),
        (["build/"], b"build", False, False),
        (["build/"], b"src/build/x", False, True),
        (["/build"], b"src/build", True, False),
        (["/build"], b"build", True, True),
        (["a/**/b"], b"a/x/y/b", False, True),
        (["a/**/b"], b"a/b", False, True),
        (["*", "!*/", "!*.py"], b"a/b.txt", False, True),
        (["*", "!*/", "!*.py"], b"a/b.py", False, False),
        (["dir", "!dir/keep"], b"dir/keep", False, True),  # git: not below an ignored directory
        (["dir/*", "!dir/keep"], b"dir/keep", False, False),
        (["*.log", "!important.log"], b"important.log", False, False),
        (["# comment", "", "  "], b"# comment", False, False),
        (["\\#file"], b"#file", False, True),
        (["*.o"], b"\xff\xfe.o", False, True),
        (["caf\u00e9"], "caf\u00e9".encode(), False, True),
        (["*.o"], b"new\nline.o", False, True),
        (["*.o"], b"new\nline/a.o", False, True),
        (["*.o"], b"a.o\n", False, False),
        (["foo?"], b"foo1", False, True),
        (["[a-c]x"], b"bx", False, True),
    ],
)
def test_rules_mean_what_they_mean_to_git(
    rules: list[str], path: bytes, is_dir: bool, expected: bool
) -> None:
    assert ignored(rules, path, is_dir) is expected


def test_no_rules_are_false_and_match_nothing() -> None:
    assert not NO_RULES
    assert not compile_rules([], ["# only a comment"])
    assert not NO_RULES.covers(RelativePath(b"a/b"), False)


def test_a_later_list_overrules_an_earlier_one() -> None:
    rules = compile_rules(["*.log"], ["!keep.log"])
    assert rules.matches(RelativePath(b"other.log"), False)
    assert not rules.matches(RelativePath(b"keep.log"), False)


def test_a_line_that_is_no_pattern_is_reported_and_left_out() -> None:
    rules = compile_rules(["!", "*.o"])
    assert len(rules.problems) == 1
    assert rules.matches(RelativePath(b"a.o"), False)


def test_the_rules_file_in_the_root_counts(tmp_path: Path) -> None:
    with FolderRoot(tmp_path) as root:
        assert not load_rules(root, [])
        (tmp_path / ".usyncignore").write_bytes(b"*.tmp\n\xff*\n")
        rules = load_rules(root, ["*.o"])
        assert all(rules.matches(RelativePath(name), False) for name in (b"a.tmp", b"\xffx", b"b.o"))


def test_a_rules_file_that_is_a_symlink_or_too_long_is_an_error_and_not_ignored(tmp_path: Path) -> None:
    with FolderRoot(tmp_path) as root:
        (tmp_path / ".usyncignore").symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic"):
            load_rules(root)
        (tmp_path / ".usyncignore").unlink()
        (tmp_path / ".usyncignore").write_bytes(b"x\n" * 1_000_000)
        with pytest.raises(OSError, match="over"):
            load_rules(root)


PATTERNS = st.lists(
    st.text(alphabet="ab*?/!.", min_size=1, max_size=6).filter(lambda line: line.strip("!/ ") != ""),
    min_size=1,
    max_size=4,
)
PATHS = st.lists(st.text(alphabet="ab.", min_size=1, max_size=3), min_size=1, max_size=3).filter(
    lambda names: not {".", ".."} & set(names)
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("git")
    subprocess.run(
        ["git", "init", "-q", made], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    )
    return made


@pytest.mark.requires("git")
@pytest.mark.parametrize("seed", range(3))
def test_git_itself_agrees(repository: Path, seed: int) -> None:
    import random

    chosen = random.Random(seed)
    paths = sorted(
        {"/".join(chosen.choice(["a", "b", "ab", "a.b", "b.a"]) for _ in range(3)) for _ in range(40)}
    )
    for _ in range(12):
        rules = [
            chosen.choice(["", "!", "/", ""])
            + chosen.choice(["a", "*b", "a?", "**/b", "a/b", "a/**", "ab/", "*.a", "[ab]"])
            for _ in range(3)
        ]
        rules = [rule.replace("!/", "!") for rule in rules]
        (repository / ".gitignore").write_text("\n".join(rules) + "\n")
        told = subprocess.run(
            ["git", "-C", repository, "check-ignore", "--no-index", "-z", "--stdin"],
            input="\0".join(paths),
            capture_output=True,
            text=True,
        )
        by_git = set(told.stdout.split("\0")) - {""}
        ours = {path for path in paths if ignored(rules, path.encode())}
        assert ours == by_git, rules


@given(PATTERNS, PATHS, st.booleans())
def test_no_rule_and_no_path_makes_it_fail(rules: list[str], names: list[str], is_dir: bool) -> None:
    assert ignored(rules, "/".join(names).encode(), is_dir) in (True, False)
