"""Values that follow from others: a folder's options, TLS by port, where state is kept."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from usenetsyncd.settings.nodes import DEFAULT, Node, join_key, merge
from usenetsyncd.settings.paths import default_data_dir, default_socket
from usenetsyncd.settings.report import Problem
from usenetsyncd.settings.schema import FolderOptions

# 443 is what providers offer where 563 is blocked; on 119 a plain greeting comes first
_TLS_BY_PORT = {"563": "implicit", "443": "implicit", "119": "starttls"}
_DEFAULT_PORT = "563"


def derive(tree: Node, environ: Mapping[str, str], root: bool | None = None) -> tuple[Node, list[Problem]]:
    """Fill in what follows from other values. Returns the new tree and what could not be decided."""
    if not isinstance(tree.value, dict):
        return tree, []
    problems: list[Problem] = []
    sections = dict(tree.value)
    if "servers" in sections:
        sections["servers"] = _each(sections["servers"], lambda server: _with_tls(server, problems))
    defaults = sections.get("defaults")
    if "folders" in sections and defaults is not None:
        sections["folders"] = _each(sections["folders"], lambda folder: _inherit(folder, defaults))
    data_dir = sections["storage"].text("data_dir") if "storage" in sections else None
    if data_dir is None and "storage" in sections:
        data_dir = str(default_data_dir(environ, root))
        sections["storage"] = _filled(sections["storage"], "data_dir", data_dir)
    if "control" in sections and sections["control"].text("socket") is None and data_dir is not None:
        socket = str(default_socket(environ, Path(data_dir), root))
        sections["control"] = _filled(sections["control"], "socket", socket)
    return replace(tree, value=sections), problems


def _each(listed: Node, change: Callable[[Node], Node]) -> Node:
    if not isinstance(listed.value, list):
        return listed
    return replace(listed, value=[change(item) for item in listed.value])


def _inherit(folder: Node, defaults: Node) -> Node:
    if not isinstance(folder.value, dict) or not isinstance(defaults.value, dict):
        return folder
    inherited = {name: node for name, node in defaults.value.items() if name in FolderOptions.model_fields}
    return merge(replace(folder, value=inherited), folder)


def _with_tls(server: Node, problems: list[Problem]) -> Node:
    if not isinstance(server.value, dict) or server.text("tls") is not None:
        return server
    port_node = server.child("port")
    port = (server.text("port") or _DEFAULT_PORT).strip()
    mode = _TLS_BY_PORT.get(port)
    if mode is None:
        at = port_node.at if port_node is not None else server.at
        message = f"port {port} does not say how TLS starts; give tls: implicit or tls: starttls"
        if port.isdecimal() and 0 < int(port) < 65_536:
            problems.append(Problem(at, join_key(server.key, "tls"), message))
        mode = "implicit"
    return _filled(server, "tls", mode)


def _filled(section: Node, name: str, text: str) -> Node:
    if not isinstance(section.value, dict):
        return section
    old = section.value.get(name)
    if old is not None and old.value is not None:
        return section
    return replace(
        section, value={**section.value, name: Node(join_key(section.key, name), DEFAULT, DEFAULT, text)}
    )
