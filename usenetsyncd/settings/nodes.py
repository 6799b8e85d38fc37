"""The tree that the layers are merged in: every value knows where it was written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum


class Layer(StrEnum):
    """Where a value came from, lowest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OVERRIDE = "set"


@dataclass(frozen=True, slots=True)
class Origin:
    """source: file name, variable name or --set key. line and column count from 1; 0: none."""

    layer: Layer
    source: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        match self.layer:
            case Layer.DEFAULT:
                return "default"
            case Layer.ENVIRONMENT:
                return f"environment variable {self.source}"
            case Layer.OVERRIDE:
                return f"--set {self.source}"
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


DEFAULT = Origin(Layer.DEFAULT)


@dataclass(frozen=True, slots=True)
class Node:
    """One value as written.

    key: where it was written (``defaults.settle``), also after it was inherited elsewhere.
    at: origin of the value; key_at: origin of the key in front of it.
    value: text exactly as written, None for null, a list or a mapping.
    """

    key: str
    at: Origin
    key_at: Origin
    value: "str | list[Node] | dict[str, Node] | None"

    def child(self, name: str) -> "Node | None":
        """The value under a key, None where there is none."""
        return self.value.get(name) if isinstance(self.value, dict) else None

    def text(self, name: str) -> str | None:
        """The text under a key, None where there is none."""
        found = self.child(name)
        return found.value if found is not None and isinstance(found.value, str) else None

    def items(self) -> "list[Node]":
        """Items of a list, else nothing."""
        return self.value if isinstance(self.value, list) else []


def join_key(parent: str, part: str | int) -> str:
    """``servers`` and 0 -> ``servers[0]``; ``limits`` and ``upload`` -> ``limits.upload``."""
    if isinstance(part, int):
        return f"{parent}[{part}]"
    return f"{parent}.{part}" if parent else part


def merge(lower: Node, upper: Node) -> Node:
    """Mappings are merged key by key; a list or a single value replaces the lower one as a whole.

    A null above a mapping (``limits:`` with every line below it commented out) changes nothing.
    """
    if not isinstance(lower.value, dict):
        return upper
    if upper.value is None:
        return lower
    if not isinstance(upper.value, dict):
        return upper
    merged = dict(lower.value)
    for name, node in upper.value.items():
        merged[name] = merge(merged[name], node) if name in merged else node
    return replace(upper, value=merged)


def plain(node: Node) -> object:
    """The tree as str, None, list and dict, for the schema."""
    if isinstance(node.value, dict):
        return {name: plain(child) for name, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def walk(node: Node, key: str = "") -> Iterator[tuple[str, Node]]:
    """Every value with the key under which it is in effect, parents first."""
    if key:
        yield key, node
    if isinstance(node.value, dict):
        for name, child in node.value.items():
            yield from walk(child, join_key(key, name))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from walk(child, join_key(key, index))
