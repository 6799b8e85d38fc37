"""pydantic's errors -> problems with a place, in plain words."""

from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from usenetsyncd.settings.nodes import Node, join_key
from usenetsyncd.settings.report import Problem, describe
from usenetsyncd.settings.schema import Settings
from usenetsyncd.settings.suggestions import did_you_mean

_NO_VERIFY = (
    "certificates are always verified; for a server with a certificate of its own give ca_file (a private CA) "
    "or pin_sha256 (the SHA-256 of its public key)"
)
_TLS_KEY = "TLS is set by 'tls': implicit (port 563), starttls (port 119), or none on this machine only"
_EXPLAINED = {
    **dict.fromkeys(
        ("verify", "verify_tls", "tls_verify", "ssl_verify", "verify_ssl", "insecure"), _NO_VERIFY
    ),
    **dict.fromkeys(("verify_certificate", "check_hostname", "allow_insecure", "skip_verify"), _NO_VERIFY),
    **dict.fromkeys(("ssl", "use_ssl", "use_tls", "encryption", "starttls"), _TLS_KEY),
    "user": "unknown key; did you mean 'username'?",
    "pass": "unknown key; did you mean 'password'?",
    "max_connections": "unknown key; did you mean 'connections'?",
}


def translate(errors: Iterable[ErrorDetails], tree: Node) -> list[Problem]:
    """One problem for each error. A refused secret is never repeated."""
    return [_problem(error, tree) for error in errors]


def _problem(error: ErrorDetails, tree: Node) -> Problem:
    path = [part for part in error["loc"] if part != "[key]"]
    node, parent, left = _find(tree, path)
    last = str(path[-1]) if path else ""
    match error["type"]:
        case "extra_forbidden":
            return Problem(node.key_at, node.key, _unknown(path, last))
        case "missing":
            return Problem(parent.at, join_key(parent.key, last), "required, but not given")
        case "plain_secret":
            return Problem(node.at, node.key, _plain_secret(str(error["msg"]), node, parent))
        case "refused":
            at = node.key_at if error["loc"] and error["loc"][-1] == "[key]" else node.at
            return Problem(at, _full_key(node.key, left), str(error["msg"]))
        case "tuple_type" | "list_type":
            return Problem(node.at, node.key, f"expected a list, got {_described(node)}")
    return Problem(node.at, node.key, f"expected keys and values, got {_described(node)}")


def _find(tree: Node, path: list[int | str]) -> tuple[Node, Node, list[int | str]]:
    """The node at a path, its parent, and the part of the path that the tree does not have."""
    node, parent = tree, tree
    for position, part in enumerate(path):
        child: Node | None = None
        if isinstance(part, int) and isinstance(node.value, list) and part < len(node.value):
            child = node.value[part]
        elif isinstance(node.value, dict):
            child = node.value.get(str(part))
        if child is None:
            return node, node, path[position:]
        node, parent = child, node
    return node, parent, []


def _full_key(key: str, left: list[int | str]) -> str:
    for part in left:
        key = join_key(key, part)
    return key


def _described(node: Node) -> str:
    # the text might be a secret in the wrong place: only its kind is told
    return "text" if isinstance(node.value, str) else describe(node.value)


def _plain_secret(reason: str, node: Node, parent: Node) -> str:
    name = parent.text("name") or node.key.rpartition(".")[2]
    return (
        f"{reason}, so that this file holds no secret: store it with 'usyncctl credential set {name}' and write "
        f"${{credential:{name}}} (or ${{env:VARIABLE}}, ${{file:/path}})"
    )


def _unknown(path: list[int | str], name: str) -> str:
    model = _model_at(path[:-1])
    if path and path[0] == "servers" and name in _EXPLAINED:
        return _EXPLAINED[name]
    known = list(model.model_fields) if model is not None else []
    if hint := did_you_mean(name, known):
        return f"unknown key{hint}"
    places = _places().get(name, [])
    return f"unknown key; did you mean '{places[0]}'?" if places else "unknown key"


def _model_at(path: list[int | str]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Settings
    for part in path:
        if isinstance(part, int) or model is None:
            continue
        found = model.model_fields.get(part)
        # a key below a mapping such as retry names no field: its values are of the mapping's model
        if found is not None:
            model = _model_in(found.annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Union or get_args(annotation):
        for argument in get_args(annotation):
            if (model := _model_in(argument)) is not None:
                return model
    return None


def _places() -> dict[str, list[str]]:
    """Where a key of each name may stand, nearest to the top first."""
    found: dict[str, list[str]] = {}
    queue: list[tuple[str, type[BaseModel]]] = [("", Settings)]
    while queue:
        prefix, model = queue.pop(0)
        for name, field in model.model_fields.items():
            key = join_key(prefix, name)
            found.setdefault(name, []).append(key)
            if (below := _model_in(field.annotation)) is not None:
                is_list = get_origin(field.annotation) is tuple
                queue.append((f"{key}[]" if is_list else key, below))
    return found
