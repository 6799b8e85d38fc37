"""Single values from the environment and from --set, laid over the merged files.

``USENETSYNCD_LIMITS__UPLOAD=8 MB/s``, ``USENETSYNCD_SERVERS__0__PORT=119``, ``--set servers[0].port=119``.
A value that starts with ``[`` or ``{`` is YAML; everything else is text as it stands.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from usenetsyncd.settings.nodes import Layer, Node, Origin, join_key, merge
from usenetsyncd.settings.paths import SOCKET_VARIABLE
from usenetsyncd.settings.report import ConfigurationErrors, Problem
from usenetsyncd.settings.schema import Settings
from usenetsyncd.settings.yaml_source import parse_yaml

PREFIX = "USENETSYNCD_"
_MAX_VALUE_BYTES = 65_536
_SECRET_KEYS = frozenset({"password", "url", "broker", "cache", "healthcheck", "catalogue"})
_NULLS = frozenset({"", "~", "null"})


def read_environment(tree: Node, environ: Mapping[str, str], problems: list[Problem]) -> Node:
    """Lay every USENETSYNCD_ variable over the tree; ``..._FILE`` names a file with the value."""
    names = sorted(name for name in environ if name.upper().startswith(PREFIX) and name != SOCKET_VARIABLE)
    for name in names:
        at = Origin(Layer.ENVIRONMENT, name)
        parts = [part.lower() for part in name[len(PREFIX) :].split("__")]
        from_file = parts[-1].endswith("_file") and parts[-1] not in _known_names()
        if from_file:
            parts[-1] = parts[-1].removesuffix("_file")
            if name[: -len("_FILE")] in environ:
                problems.append(
                    Problem(at, "", f"{name} and {name[: -len('_FILE')]} are both set; keep one of them")
                )
                continue
        text = _environment_text(name, environ[name], parts, from_file, at, problems)
        if text is not None:
            tree = _lay(tree, parts, text, at, problems)
    return tree


def read_override(tree: Node, text: str, problems: list[Problem]) -> Node:
    """Lay one ``a.b=value`` over the tree."""
    key, equals, value = text.partition("=")
    key = key.strip()
    at = Origin(Layer.OVERRIDE, key or "...")
    parts = re.split(r"\.|(?=\[)", key)
    if not equals or not all(re.fullmatch(r"\w[\w-]*|\[\d{1,6}\]", part) for part in parts):
        problems.append(Problem(at, "", "expected key=value, such as --set limits.upload='8 MB/s'"))
        return tree
    return _lay(tree, [part.strip("[]") for part in parts], value.strip(), at, problems)


def _environment_text(
    name: str, value: str, parts: list[str], from_file: bool, at: Origin, problems: list[Problem]
) -> str | None:
    if parts[-1] in _SECRET_KEYS and parts[-1] == "password" and "${" not in value:
        # the environment and files are fit places for a secret: keep it there, refer to it here
        return f"${{file:{value}}}" if from_file else f"${{env:{name}}}"
    if from_file and parts[-1] in _SECRET_KEYS:
        return f"${{file:{value}}}"
    if not from_file:
        return value
    try:
        with Path(value).open("rb") as file:
            return file.read(_MAX_VALUE_BYTES).decode("utf-8").strip()
    except OSError as error:
        problems.append(Problem(at, "", f"{value} cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        problems.append(Problem(at, "", f"{value} is not UTF-8"))
    return None


def _lay(tree: Node, path: list[str], text: str, at: Origin, problems: list[Problem]) -> Node:
    key = _key(tree, path)
    try:
        return _placed(tree, path, _parse(text, key, at), at)
    except ConfigurationErrors as error:
        problems.extend(error.problems)
    except LookupError as error:
        problems.append(Problem(at, key, str(error.args[0])))
    return tree


def _key(tree: Node, path: list[str]) -> str:
    key, node = "", tree
    for part in path:
        # a number is a position in a list, but the name of a key in a mapping, as under retry
        position = int(part) if part.isdecimal() and node.items() else None
        key = join_key(key, part if position is None else position)
        nothing = Node(key, node.at, node.at, None)
        if position is None:
            node = node.child(part) or nothing
        else:
            node = node.items()[position] if position < len(node.items()) else nothing
    return key


def _parse(text: str, key: str, at: Origin) -> Node:
    if text.lstrip()[:1] in {"[", "{"}:
        return parse_yaml(text, at, key)
    return Node(key, at, at, None if text in _NULLS else text)


def _placed(node: Node, path: list[str], value: Node, at: Origin) -> Node:
    if not path:
        return merge(node, value)
    name, rest = path[0], path[1:]
    if isinstance(node.value, list):
        items = list(node.value)
        if not name.isdecimal():
            raise LookupError(f"{node.key} is a list; name an item by its number, such as {node.key}[0]")
        if int(name) >= len(items):
            raise LookupError(f"{node.key} has {len(items)} items, counted from 0")
        items[int(name)] = _placed(items[int(name)], rest, value, at)
        return replace(node, value=items)
    children = node.value if isinstance(node.value, dict) else {}
    empty = Node(join_key(node.key, name), at, at, {} if rest else None)
    child = _placed(children.get(name, empty), rest, value, at)
    return replace(node, value={**children, name: child})


@cache
def _known_names() -> frozenset[str]:
    names: set[str] = set()
    models: list[Any] = [Settings]
    seen: set[Any] = set()
    while models:
        model = models.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, found in model.model_fields.items():
            names.add(name)
            models += _models_in(found.annotation)
    return frozenset(names)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
