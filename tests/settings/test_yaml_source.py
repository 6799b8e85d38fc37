import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.settings.nodes import Layer, Origin, plain, walk
from usenetsyncd.settings.report import ConfigurationErrors
from usenetsyncd.settings.yaml_source import MAX_FILE_BYTES, parse_yaml, read_yaml

SOURCE = Origin(Layer.FILE, "u.yaml")


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationErrors) as caught:
        parse_yaml(text, SOURCE)
    return str(caught.value)


def test_every_value_knows_where_it_was_written() -> None:
    tree = parse_yaml("limits:\n  upload: 8 MB/s\nfolders:\n  - {id: docs, path: /srv}\n", SOURCE)
    places = {key: (node.at.line, node.at.column) for key, node in walk(tree)}
    assert places["limits.upload"] == (2, 11)
    assert places["folders[0].path"] == (4, 22)
    assert {key: (node.key_at.line, node.key_at.column) for key, node in walk(tree)}["limits.upload"] == (
        2,
        3,
    )


def test_scalars_stay_the_text_that_was_written() -> None:
    tree = parse_yaml(
        "a: 007\nb: on\nc: 10:30\nd: 2027-03-01\ne: null\nf: ~\ng:\nh: 'null'\non: 1\ni: 1e3", SOURCE
    )
    assert plain(tree) == {
        "a": "007", "b": "on", "c": "10:30", "d": "2027-03-01", "e": None, "f": None, "g": None, "h": "null",
        "on": "1", "i": "1e3",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_is_an_empty_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "u.yaml").write_text(text, encoding="utf-8")
    assert plain(read_yaml(tmp_path / "u.yaml")) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1", "u.yaml:1:4: error: a: anchors ('&x') are not supported; write the value out"),
        ("a: *x", "u.yaml:1:4: error: a: aliases ('*x') are not supported; write the value out"),
        ("a: {<<: {b: 1}}", "u.yaml:1:5: error: a: merge keys ('<<') are not supported; write the keys out"),
        ("a: !!python/object:os.system x", "u.yaml:1:4: error: a: tags ("),
        ("a: !!str 1", "tags ("),
        ("a: 1\nb: 2\na: 3", "u.yaml:3:1: error: a: given twice (line 1)"),
        ("a: {b: 1, b: 2}", "u.yaml:1:11: error: a.b: given twice (line 1)"),
        ("a:\n\tb: 1", "u.yaml:2:1: error: a tab in the indentation; YAML wants spaces"),
        ("a: b: c", "error: a ':' where none may stand"),
        ("a: [1, 2", "error: not valid YAML here"),
        ("a: 'x", "error: "),
        ("a: 1\n---\nb: 2", "u.yaml:2:1: error: a second document ('---')"),
        ("? [a, b]\n: 1", "u.yaml:1:3: error: a key must be a single word"),
        ("a: \x00", "error: a control character that YAML does not allow"),
        ("a: " + "[" * 40, "nested deeper than 16 levels"),
        ("{a: " * 40, "nested deeper than 16 levels"),
    ],
)
def test_what_makes_yaml_unsafe_or_wrong_is_refused_with_its_place(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_everything_refused_in_one_file_is_told_at_once() -> None:
    text = refusal("a: &x 1\nb: *x\nc: !t 3\na: 2\n")
    assert [line.split(":")[1] for line in text.splitlines()] == ["1", "2", "3", "4"]


def test_a_merge_bomb_costs_nothing() -> None:
    levels = "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
    assert "anchors" in refusal("a0: &a0 {x: 1}\n" + levels)


@pytest.mark.parametrize("text", ["[" * 500_000, "{" * 500_000, "- " * 400_000, "a:\n" * 300_000])
def test_a_hostile_file_is_refused_quickly(text: str) -> None:
    assert refusal(text)


def test_a_file_that_is_not_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "u.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigurationErrors, match=r"u\.yaml:2:7: error: not UTF-8: byte 0xe9"):
        read_yaml(tmp_path / "u.yaml")


def test_a_file_over_one_mebibyte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "u.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationErrors, match="larger than 1 MiB"):
        read_yaml(tmp_path / "u.yaml")


def test_a_file_that_is_missing_or_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationErrors, match=r"absent\.yaml: error: cannot be read: No such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigurationErrors, match="error: "):
        read_yaml(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationErrors, match="not a regular file"):
        read_yaml(tmp_path / "pipe")


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!#|>'\"%@`,? \n\t<=~01"), max_size=60))
def test_any_text_is_a_tree_or_a_list_of_problems(text: str) -> None:
    with contextlib.suppress(ConfigurationErrors):
        parse_yaml(text, SOURCE)
