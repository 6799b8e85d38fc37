"""The settings in effect, as YAML and as a document, with the origin of each value; the JSON schema."""

import re
from typing import Any

import yaml

from usenetsyncd.settings.layers import LoadedSettings, default_document
from usenetsyncd.settings.schema import FolderOptions, Settings

_ORIGIN_COLUMN = 48
# the loader takes every scalar as text, so a date needs no quotes
_PLAIN_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def show_document(loaded: LoadedSettings, with_origin: bool = False) -> dict[str, object]:
    """The settings as YAML would hold them: units as text, secrets as their references.

    with_origin: adds ``origins``, a mapping from key to text such as ``usenetsyncd.yaml:11:18``.
    """
    document = _document(loaded)
    if not with_origin:
        return {"settings": document}
    origins = {key: str(loaded.origin(key)) for key, value in _leaves("", document) if value is not None}
    return {"settings": document, "origins": origins}


def render_show(loaded: LoadedSettings, with_origin: bool = False) -> str:
    """The settings as YAML text that loads to the same settings.

    A folder shows only what it sets itself; with_origin: each line ends with where its value was set.
    """
    lines: list[str] = []
    for name, value in _document(loaded).items():
        _render(lines, loaded if with_origin else None, "", name, value, "")
    return "\n".join(lines) + "\n"


def json_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors. Nothing with a default is required."""
    schema = Settings.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "usenetsyncd.yaml"
    definitions = schema.get("$defs", {})
    _drop_defaulted(schema, Settings.model_fields, definitions, default_document())
    folder = definitions["FolderSettings"]
    folder["required"] = ["id", "path"]
    return schema


def _drop_defaulted(
    schema: dict[str, Any], names: Any, definitions: dict[str, Any], defaults: dict[str, Any]
) -> None:
    schema.pop("required", None)
    for name in names:
        value, described = defaults.get(name), schema["properties"][name]
        if isinstance(value, dict) and "$ref" in described:
            below = definitions[described["$ref"].rpartition("/")[2]]
            _drop_defaulted(below, below["properties"], definitions, value)
            # a folder overrides single keys of redundancy and the like: none of them is required either
        elif name in defaults:
            described["default"] = value


def _document(loaded: LoadedSettings) -> dict[str, Any]:
    document = loaded.settings.model_dump(mode="json")
    document["servers"] = [_without_nulls(server) for server in document["servers"]]
    document["notify"] = [_without_nulls(item) for item in document["notify"]]
    document["cluster"] = _without_nulls(document["cluster"])
    document["limits"]["schedule"] = [_without_nulls(rule) for rule in document["limits"]["schedule"]]
    document["retry"] = {code: _without_nulls(rule) for code, rule in document["retry"].items()}
    for item in document["notify"]:
        if "healthcheck" in item:
            item.pop("on", None)
            item.pop("repeat", None)
    document["defaults"]["newsgroups"] = _rules(document["defaults"]["newsgroups"])
    document["folders"] = [_own(loaded, index, folder) for index, folder in enumerate(document["folders"])]
    return document


def _own(loaded: LoadedSettings, index: int, folder: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {name: folder[name] for name in ("id", "path", "priority")}
    folder["newsgroups"] = _rules(folder["newsgroups"])
    for name in FolderOptions.model_fields:
        key = f"folders[{index}].{name}"
        value = folder[name]
        if isinstance(value, dict):
            value = {below: item for below, item in value.items() if _is_own(loaded, f"{key}.{below}")}
            if value:
                own[name] = value
        elif _is_own(loaded, key):
            own[name] = value
    return own


def _is_own(loaded: LoadedSettings, key: str) -> bool:
    return loaded.written_at.get(key, "").startswith("folders")


def _rules(rules: list[dict[str, Any]]) -> list[Any]:
    shown: list[Any] = []
    for rule in rules:
        kept = _without_nulls(rule)
        shown += kept["groups"] if kept.keys() == {"groups"} else [kept]
    return shown


def _without_nulls(mapping: dict[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in mapping.items() if value is not None}


def _leaves(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [
            leaf
            for name, item in value.items()
            for leaf in _leaves(f"{key}.{name}" if key else str(name), item)
        ]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(f"{key}[{index}]", item)]
    return [(key, value)]


def _render(
    lines: list[str], loaded: LoadedSettings | None, indent: str, name: str, value: Any, parent: str
) -> None:
    key = f"{parent}.{name}" if parent else name
    if isinstance(value, dict) and value:
        lines.append(f"{indent}{name}:")
        for below, item in value.items():
            _render(lines, loaded, indent + "  ", str(below), item, key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        lines.append(f"{indent}{name}:")
        for index, item in enumerate(value):
            _render_item(lines, loaded, indent + "  ", item, f"{key}[{index}]")
    else:
        lines.append(_with_origin(f"{indent}{name}: {_scalar(value)}", loaded, key))


def _render_item(lines: list[str], loaded: LoadedSettings | None, indent: str, item: Any, key: str) -> None:
    if not isinstance(item, dict):
        lines.append(_with_origin(f"{indent}- {_scalar(item)}", loaded, key))
        return
    first = len(lines)
    for name, value in item.items():
        _render(lines, loaded, indent + "  ", name, value, key)
    lines[first] = f"{indent}- {lines[first][len(indent) + 2 :]}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN_DATE.fullmatch(value):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _with_origin(line: str, loaded: LoadedSettings | None, key: str) -> str:
    if loaded is None:
        return line
    source = str(loaded.origin(key))
    written = loaded.written_at.get(key)
    if written and written != key and not key.startswith("retry"):
        source += f" ({written})"
    return f"{line:<{_ORIGIN_COLUMN}}  # {source}"
