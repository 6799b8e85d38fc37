"""What is different between two settings, and whether it takes a restart."""

from collections.abc import Iterator
from dataclasses import dataclass

from usenetsyncd.settings.schema import FolderOptions, Settings

# Everything else is read anew for each job, or its owner is told (interface.md, "Live on reload")
_RESTART = ("storage.data_dir", "storage.catalogue", "control.", "cluster.")
# An entry of these lists is known by its name, not by its position
_NAMED = {"servers": "name", "folders": "id"}


@dataclass(frozen=True, slots=True)
class Change:
    """One key, spelt as in YAML (``folders[docs].settle``); None: not there."""

    key: str
    old: object
    new: object
    live: bool

    def __str__(self) -> str:
        if isinstance(self.new, dict) and self.old is None:
            return f"{self.key}: added"
        if isinstance(self.old, dict) and self.new is None:
            return f"{self.key}: removed"
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)}" + (
            "" if self.live else " (needs a restart)"
        )


def difference(old: Settings, new: Settings) -> list[Change]:
    """Changed keys in the order of the YAML.

    A folder that merely inherits a changed default is not listed beside the default. Secrets are
    references in settings, so none can be in here.
    """
    inherited = set(_inherited(old, new))
    changes = _changes("", old.model_dump(mode="json"), new.model_dump(mode="json"))
    return [change for change in changes if change.key not in inherited]


def _changes(key: str, old: object, new: object) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            below = f"{key}.{name}" if key else str(name)
            yield from _changes(below, old.get(name), new.get(name))
    elif key in _NAMED and isinstance(old, list) and isinstance(new, list):
        old_named = {item[_NAMED[key]]: item for item in old}
        new_named = {item[_NAMED[key]]: item for item in new}
        for name in dict.fromkeys([*old_named, *new_named]):
            yield from _changes(f"{key}[{name}]", old_named.get(name), new_named.get(name))
    else:
        yield Change(key, old, new, live=not key.startswith(_RESTART))


def _inherited(old: Settings, new: Settings) -> Iterator[str]:
    """Keys of folders that changed exactly as the defaults did."""
    options = set(FolderOptions.model_fields)
    old_defaults, new_defaults = _options(old.defaults, options), _options(new.defaults, options)
    default_changes = {change.key: change for change in _changes("", old_defaults, new_defaults)}
    old_folders = {folder.id: folder for folder in old.folders}
    for folder in new.folders:
        before = old_folders.get(folder.id)
        if before is None:
            continue
        for change in _changes("", _options(before, options), _options(folder, options)):
            default = default_changes.get(change.key)
            if default is not None and (default.old, default.new) == (change.old, change.new):
                yield f"folders[{folder.id}].{change.key}"


def _options(holder: FolderOptions, names: set[str]) -> dict[str, object]:
    return holder.model_dump(mode="json", include=names)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items() if item is not None)
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
