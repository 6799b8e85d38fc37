"""All layers of the configuration -> one frozen snapshot that knows where each value came from.

Lowest first: packaged defaults, the system's file, the user's file (or the one file given instead of
both), environment, --set. Mappings are merged; a list replaces the lower layer's list as a whole.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from usenetsyncd.settings import packaged, paths
from usenetsyncd.settings.checks import check
from usenetsyncd.settings.derive import derive
from usenetsyncd.settings.nodes import DEFAULT, Layer, Node, Origin, merge, plain, walk
from usenetsyncd.settings.overrides import read_environment, read_override
from usenetsyncd.settings.report import ConfigurationErrors, Problem
from usenetsyncd.settings.schema import Settings
from usenetsyncd.settings.translate import translate
from usenetsyncd.settings.yaml_source import parse_yaml, read_yaml


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """settings: the snapshot. origins: by key in effect (``folders[0].settle``); absent: schema default.

    written_at: by key in effect, the key under which it was written (``defaults.settle``).
    files: those that were read. left_out: the system's file, where this user may not read it.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()
    written_at: Mapping[str, str] = field(default_factory=dict, repr=False)

    def origin(self, key: str) -> Origin:
        """Where the value of a key such as ``limits.upload`` was set."""
        return self.origins.get(key, DEFAULT)


def load_settings(
    config: Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    root: bool | None = None,
) -> LoadedSettings:
    """Read every layer.

    config: replaces the system's and the user's file; must exist then.
    overrides: ``a.b=value`` each, strongest. root: whether the process is root; found out when None.
    The system's file is left out with a warning where a user may not read it who runs a daemon of their own.
    Raises ConfigurationErrors with everything that is wrong in all layers.
    """
    variables = os.environ if environ is None else environ
    files = _files(config, variables)
    problems: list[Problem] = []
    optional = () if config is not None or _is_the_systems(variables, root) else (paths.SYSTEM_CONFIG,)
    layers, left_out = _read_files(files, optional, problems)
    tree = _merge_all([_default_layer(), *layers])
    tree = read_environment(tree, variables, problems)
    for text in overrides:
        tree = read_override(tree, text, problems)
    loaded = _finish(tree, variables, root, files, problems)
    return replace(loaded, files=tuple(f for f in files if f not in left_out), left_out=left_out)


def load_text(text: str, name: str = "<text>", environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """Check configuration text that stands in no file yet; only packaged defaults lie below it."""
    tree = merge(_default_layer(), parse_yaml(text, Origin(Layer.FILE, name)))
    return _finish(tree, os.environ if environ is None else environ, None, (), [])


def _files(config: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    if config is not None:
        return (config,)
    found = (paths.SYSTEM_CONFIG, paths.user_config(environ))
    return tuple(path for path in found if path is not None and _is_there(path))


def _is_the_systems(environ: Mapping[str, str], root: bool | None) -> bool:
    """Whether this is the machine's own daemon: root's, or a service that systemd gave the system's directory to.

    It must not start, or go on, as if nothing were configured.
    """
    if paths.runs_as_root() if root is None else root:
        return True
    return str(paths.SYSTEM_CONFIG.parent) in environ.get("CONFIGURATION_DIRECTORY", "").split(os.pathsep)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # a layer that cannot be looked at is not skipped in silence: reading it tells why
        return True
    return True


def _read_files(
    files: Iterable[Path], optional: Collection[Path], problems: list[Problem]
) -> tuple[list[Node], tuple[Path, ...]]:
    """(a tree for each, those of the optional ones that may not be read)"""
    trees: list[Node] = []
    left_out: list[Path] = []
    for path in files:
        try:
            tree = read_yaml(path)
        except ConfigurationErrors as error:
            if path in optional and isinstance(error.__cause__, PermissionError):
                message = "may not be read by this user; it is left out"
                problems.append(Problem(Origin(Layer.FILE, str(path)), "", message, warning=True))
                left_out.append(path)
            else:
                problems.extend(error.problems)
            continue
        if isinstance(tree.value, dict):
            trees.append(tree)
        else:
            problems.append(Problem(tree.at, "", "expected keys and values at the top, such as 'servers:'"))
    return trees, tuple(left_out)


def _merge_all(layers: Sequence[Node]) -> Node:
    tree = layers[0]
    for layer in layers[1:]:
        tree = merge(tree, layer)
    return tree


def default_document() -> dict[str, Any]:
    """The packaged defaults as they are written: text, lists and mappings."""
    document = plain(_default_layer())
    return document if isinstance(document, dict) else {}


@cache
def _default_layer() -> Node:
    return _as_default(read_yaml(packaged.defaults_file()))


def _as_default(node: Node) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {name: _as_default(child) for name, child in value.items()}
    elif isinstance(value, list):
        value = [_as_default(child) for child in value]
    return replace(node, at=DEFAULT, key_at=DEFAULT, value=value)


def _finish(
    tree: Node,
    environ: Mapping[str, str],
    root: bool | None,
    files: tuple[Path, ...],
    problems: list[Problem],
) -> LoadedSettings:
    # a file that could not be parsed would only cause errors that are not there
    tree, undecided = derive(tree, environ, root)
    problems = [*problems, *undecided, *check(tree)]
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(plain(tree))
    except ValidationError as error:
        problems += translate(
            error.errors(include_url=False, include_context=False, include_input=False), tree
        )
    warnings = tuple(problem for problem in dict.fromkeys(problems) if problem.warning)
    errors = [problem for problem in problems if not problem.warning]
    if errors or settings is None:
        raise ConfigurationErrors(errors)
    nodes = dict(walk(tree))
    origins = {key: node.at for key, node in nodes.items()}
    written_at = {key: node.key for key, node in nodes.items()}
    return LoadedSettings(settings, origins, warnings, files, written_at=written_at)
