"""YAML text -> a tree of nodes with positions, refusing what makes YAML unsafe or surprising.

Anchors, aliases, merge keys, tags and duplicate keys are refused: ``yaml.safe_load`` takes them all,
and a few hundred bytes of merge keys are enough to fill the memory.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from usenetsyncd.settings.nodes import Layer, Node, Origin, join_key
from usenetsyncd.settings.report import ConfigurationErrors, Problem

MAX_FILE_BYTES = 1_048_576
MAX_DEPTH = 16

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def read_yaml(path: Path) -> Node:
    """Read one configuration file. Raises ConfigurationErrors with positions."""
    name = str(path)
    try:
        # a fifo would hold up the start for ever
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refusal(Origin(Layer.FILE, name), "not a regular file")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refusal(Origin(Layer.FILE, name), f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refusal(Origin(Layer.FILE, name), "larger than 1 MiB; this is not a configuration file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        at = Origin(Layer.FILE, name, before.count(b"\n") + 1, column)
        raise _refusal(at, f"not UTF-8: byte 0x{content[error.start]:02x}; save the file as UTF-8") from error
    return parse_yaml(text, Origin(Layer.FILE, name))


def parse_yaml(text: str, source: Origin, key: str = "") -> Node:
    """Parse one document.

    source: file, variable or --set that the text came from; lines and columns are added for files only.
    key: the key under which the document stands. An empty document is an empty mapping.
    """
    reader = _TreeReader(source, key)
    try:
        return reader.document(yaml.parse(text, Loader=_Loader))
    except yaml.YAMLError as error:
        reader.problems.append(_syntax_problem(error, source, text))
        raise ConfigurationErrors(reader.problems) from error


@dataclass
class _TreeReader:
    source: Origin
    key: str
    problems: list[Problem] = field(default_factory=list)

    def document(self, events: Iterator[Any]) -> Node:
        empty = self._at(None)
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                self._refuse(event, self.key, "a second document ('---'); one file is one configuration")
                break
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, self.key, self._at(event), 0)
        if self.problems:
            raise ConfigurationErrors(self.problems)
        if root is None or (root.value is None and not self.key):
            return Node(self.key, empty, empty, {})
        return root

    def _node(self, event: Any, events: Iterator[Any], key: str, key_at: Origin, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse(event, "", f"nested deeper than {MAX_DEPTH} levels")
            raise ConfigurationErrors(self.problems)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, key, f"aliases ('*{event.anchor}') are not supported; write the value out")
            return Node(key, self._at(event), key_at, None)
        if event.anchor:
            self._refuse(event, key, f"anchors ('&{event.anchor}') are not supported; write the value out")
        if event.tag is not None:
            self._refuse(event, key, f"tags ('{event.tag}') are not supported")
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(key, self._at(event), key_at, self._sequence(events, key, depth))
        if isinstance(event, yaml.MappingStartEvent):
            return Node(key, self._at(event), key_at, self._mapping(events, key, depth))
        # libyaml gives '' for a plain scalar, the Python parser None
        is_null = not event.style and event.value in _NULLS
        return Node(key, self._at(event), key_at, None if is_null else event.value)

    def _sequence(self, events: Iterator[Any], key: str, depth: int) -> list[Node]:
        items: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, join_key(key, len(items)), self._at(event), depth + 1))
        return items

    def _mapping(self, events: Iterator[Any], key: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            name = self._name(event, events, key, depth)
            child_key = join_key(key, name)
            child = self._node(next(events), events, child_key, self._at(event), depth + 1)
            if name == "<<":
                self._refuse(event, key, "merge keys ('<<') are not supported; write the keys out")
            elif name in found:
                first = found[name].key_at
                where = f" (line {first.line})" if first.line else ""
                self._refuse(event, child_key, f"given twice{where}")
            else:
                found[name] = child
        return found

    def _name(self, event: Any, events: Iterator[Any], key: str, depth: int) -> str:
        if isinstance(event, yaml.ScalarEvent):
            self._node(event, events, key, self._at(event), depth + 1)
            return str(event.value)
        self._refuse(event, key, "a key must be a single word")
        self._node(event, events, key, self._at(event), depth + 1)
        return f"?{event.start_mark.index}"

    def _at(self, event: Any) -> Origin:
        if self.source.layer is not Layer.FILE:
            return self.source
        mark = event.start_mark if event is not None else None
        return Origin(Layer.FILE, self.source.source, *((mark.line + 1, mark.column + 1) if mark else (1, 1)))

    def _refuse(self, event: Any, key: str, message: str) -> None:
        self.problems.append(Problem(self._at(event), key, message))


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _syntax_problem(error: yaml.YAMLError, source: Origin, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    at = source
    if mark is not None and source.layer is Layer.FILE:
        at = Origin(Layer.FILE, source.source, mark.line + 1, mark.column + 1)
    return Problem(at, "", _plain_words(str(reason), text, mark.line if mark is not None else None))


def _plain_words(reason: str, text: str, line: int | None) -> str:
    lines = text.splitlines()
    written = lines[line] if line is not None and line < len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or ("\\t" in reason or "tab" in reason):
        return "a tab in the indentation; YAML wants spaces"
    if "control characters" in reason or "special characters" in reason:
        return "a control character that YAML does not allow"
    if "mapping values are not allowed" in reason:
        return "a ':' where none may stand; is the indentation right, or does the text need quotes?"
    if re.search(r"expected '?(,|<block end>)'?", reason) or "did not find expected" in reason:
        return f"not valid YAML here: {reason}; check indentation, brackets and quotes from here upwards"
    return f"not valid YAML: {reason}"


def _refusal(at: Origin, message: str) -> ConfigurationErrors:
    return ConfigurationErrors([Problem(at, "", message)])
