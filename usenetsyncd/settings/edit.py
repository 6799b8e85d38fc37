"""Add a folder to a configuration file, or take one out, and leave every other character as it is.

The text is cut at the positions that the YAML parser gives. What comes out is read again before it
replaces the file: it must say the same as before but for that one folder, and must be valid.
"""

import contextlib
import os
import re
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from usenetsyncd.errors import ConfigurationError, NotFound, NotPermitted, UsageError
from usenetsyncd.settings.layers import LoadedSettings, load_text
from usenetsyncd.settings.nodes import Layer, Origin, plain
from usenetsyncd.settings.yaml_source import parse_yaml, read_yaml

_INDENT = "  "
_one_at_a_time = threading.Lock()

_Folder = dict[str, Any]


class FileNotWritable(NotPermitted):
    """This process may not change the configuration file; somebody else may."""


def file_of_folders(loaded: LoadedSettings) -> Path:
    """The file in which a folder must be added or removed to have an effect.

    A list replaces the lower layer's as a whole, so it is the file whose ``folders`` are in effect.
    Raises UsageError when no file is.
    """
    at = loaded.origin("folders")
    if at.layer is Layer.FILE:
        return Path(at.source)
    if at.layer is not Layer.DEFAULT:
        raise UsageError(f"the folders are set by {at}, not in a file; change them there")
    if not loaded.files:
        raise UsageError("there is no configuration file yet; start one with: usyncctl config generate")
    return loaded.files[-1]


def add_folder(
    file: Path, folder_id: str, path: str, priority: str | None = None, ignore: Sequence[str] | None = None
) -> None:
    """Append a folder to ``folders``.

    Raises UsageError for a folder that is there already, ConfigurationError when the file would not be valid
    with it, FileNotWritable. The file is untouched then.
    """
    folder: _Folder = {"id": folder_id, "path": path}
    if priority is not None:
        folder["priority"] = priority
    if ignore:
        folder["ignore"] = list(ignore)
    line = _as_flow(folder)

    def edit(text: str, before: list[_Folder]) -> tuple[str, list[_Folder]]:
        if any(one.get("id") == folder_id for one in before):
            raise UsageError(f"there is a folder '{folder_id}' already")
        return _with_item(text, line), [*before, folder]

    _change(file, edit, f"add this under `folders:` yourself, then `usyncctl config reload`:\n  - {line}")


def remove_folder(file: Path, folder_id: str) -> None:
    """Take a folder out of ``folders``. Raises NotFound, ConfigurationError, FileNotWritable."""

    def edit(text: str, before: list[_Folder]) -> tuple[str, list[_Folder]]:
        for index, folder in enumerate(before):
            if folder.get("id") == folder_id:
                return _without_item(text, index), before[:index] + before[index + 1 :]
        raise NotFound(f"{file} has no folder '{folder_id}'")

    _change(file, edit, f"take the folder '{folder_id}' out yourself, then `usyncctl config reload`")


def _change(
    file: Path, edit: Callable[[str, list[_Folder]], tuple[str, list[_Folder]]], by_hand: str
) -> None:
    with _one_at_a_time:
        real = file.resolve()
        document = plain(read_yaml(real))
        if not isinstance(document, dict):
            raise ConfigurationError(f"{file} does not hold keys and values")
        folders = document.get("folders") or []
        text = real.read_bytes().decode("utf-8")
        try:
            text, document["folders"] = edit(text, folders)
            changed = plain(parse_yaml(text.removeprefix("\ufeff"), Origin(Layer.FILE, str(file))))
        except (yaml.YAMLError, ConfigurationError) as error:
            raise ConfigurationError(
                f"{file} is written in a way that cannot be edited here; {by_hand}"
            ) from error
        if not isinstance(changed, dict) or changed | {"folders": changed.get("folders") or []} != document:
            raise ConfigurationError(f"{file} is written in a way that cannot be edited here; {by_hand}")
        load_text(text.removeprefix("\ufeff"), str(file))
        try:
            _replace(real, text.encode())
        except OSError as error:
            raise FileNotWritable(f"{file} cannot be written ({error.strerror}); {by_hand}") from error


# -- the text ----------------------------------------------------------------------------------


def _with_item(text: str, line: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    found = _find_folders(text)
    if found is None:
        return _at_end_of_mapping(text, f"folders:{newline}{_INDENT}- {line}{newline}", newline)
    key, value = found
    if not isinstance(value, yaml.SequenceNode) or not value.value:
        indent = " " * key.start_mark.column + _INDENT
        end = _end_of_line(text, key.end_mark.index)
        # an empty list or null may stand behind the key, and a comment behind that
        head = text[: key.end_mark.index] + ":"
        rest = text[max(_content_end(value), text.index(":", key.end_mark.index) + 1) : end]
        return f"{head}{rest.rstrip()}{newline}{indent}- {line}{newline}" + text[_after_newline(text, end) :]
    if value.flow_style:
        close = value.end_mark.index - 1
        separator = ", " if _comma(text, _content_end(value.value[-1]), close) is None else ""
        return f"{text[:close]}{separator}{line}{text[close:]}"
    end = _end_of_line(text, _content_end(value.value[-1]))
    return f"{text[:end]}{newline}{' ' * value.start_mark.column}- {line}{text[end:]}"


def _without_item(text: str, index: int) -> str:
    found = _find_folders(text)
    if found is None or not isinstance(found[1], yaml.SequenceNode):
        raise ConfigurationError("no list of folders")
    key, value = found
    item = value.value[index]
    if value.flow_style:
        start, end = item.start_mark.index, item.end_mark.index
        if index + 1 < len(value.value):
            end = value.value[index + 1].start_mark.index
        elif index:
            start = value.value[index - 1].end_mark.index
        elif (comma := _comma(text, end, value.end_mark.index)) is not None:
            text = text[:comma] + text[comma + 1 :]
        return text[:start] + text[end:]
    start = _dash_line(text, item.start_mark.index, value.start_mark.column)
    end = _after_newline(text, _end_of_line(text, _content_end(item)))
    text = text[:start] + text[end:]
    if len(value.value) == 1:
        colon = text.index(":", key.end_mark.index) + 1
        text = f"{text[:colon]} []{text[colon:]}"
    return text


def _find_folders(text: str) -> tuple[Any, Any] | None:
    """The nodes of the key ``folders`` and of its value."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ConfigurationError("not written as lines of keys and values")
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "folders":
            return key, value
    return None


def _at_end_of_mapping(text: str, lines: str, newline: str) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    end = len(text) if root is None else _after_newline(text, _end_of_line(text, _content_end(root)))
    if root is None and text and not text.endswith(newline):
        text, end = text + newline, end + len(newline)
    elif root is not None and not text[:end].endswith("\n"):
        return f"{text[:end]}{newline}{lines}{text[end:]}"
    return text[:end] + lines + text[end:]


def _content_end(node: Any) -> int:
    """Where a node's own text ends; the parser's end of a block lies behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return max(_content_end(part) for part in last) if isinstance(last, tuple) else _content_end(last)


def _comma(text: str, start: int, end: int) -> int | None:
    """The first comma between two places that stands in no comment."""
    for found in re.finditer(r"#[^\n]*|,", text[start:end]):
        if found[0] == ",":
            return start + found.start()
    return None


def _dash_line(text: str, index: int, column: int) -> int:
    """Where the line starts that has the dash of the item at ``index``."""
    start = text.rfind("\n", 0, index) + 1
    while text[start : start + column + 1].strip() != "-":
        if start == 0:
            raise ConfigurationError("an item without a dash")
        start = text.rfind("\n", 0, start - 1) + 1
    return start


def _end_of_line(text: str, index: int) -> int:
    """Where the line of ``index`` ends, before its line break; a block scalar ends behind its own."""
    if index > 0 and text[index - 1] == "\n":
        index -= 1
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    return end - 1 if end > index and text[end - 1] == "\r" else end


def _after_newline(text: str, end: int) -> int:
    following = text.find("\n", end)
    return len(text) if following < 0 else following + 1


def _as_flow(folder: _Folder) -> str:
    try:
        folder["path"].encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("a path that is not UTF-8 cannot stand in a configuration file") from None
    line = yaml.safe_dump(
        folder, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1_000_000
    )
    return line.strip()


# -- the file ----------------------------------------------------------------------------------


def _replace(file: Path, content: bytes) -> None:
    """Atomically, with the mode and owner that the file had. Raises OSError."""
    had = file.stat()
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{os.urandom(6).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            if hasattr(os, "fchown"):
                # a member of the group may edit without being able to give the file away
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, had.st_uid, had.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(had.st_mode))
            os.fsync(descriptor)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        directory = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
