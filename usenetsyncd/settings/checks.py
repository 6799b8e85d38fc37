"""Checks that look at more than one value. They read the tree, so they run beside the schema's own
errors, and everything is reported at once."""

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from usenetsyncd.settings.nodes import Node, join_key
from usenetsyncd.settings.report import Problem


def is_loopback(host: str) -> bool:
    """True for this machine's own addresses and the name localhost."""
    bare = host.removeprefix("[").removesuffix("]").removesuffix(".").lower()
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost" or bare.endswith(".localhost")


def check(tree: Node) -> Iterator[Problem]:
    """Every contradiction in a merged and derived tree."""
    servers = _section(tree, "servers")
    folders = _section(tree, "folders")
    yield from _duplicates(servers, "name", "servers")
    yield from _duplicates(folders, "id", "folders")
    for server in servers:
        yield from _check_server(server)
    yield from _check_folder_paths(tree, folders)
    yield from _check_roles(tree, servers, folders)
    yield from _check_notify(tree)
    yield from _check_rest(tree)


def _section(tree: Node, name: str) -> list[Node]:
    node = tree.child(name)
    return [item for item in node.items() if isinstance(item.value, dict)] if node is not None else []


def _duplicates(items: list[Node], name: str, listed: str) -> Iterator[Problem]:
    seen: dict[str, Node] = {}
    for item in items:
        node = item.child(name)
        text = item.text(name)
        if node is None or text is None:
            continue
        if text in seen:
            first = seen[text].at
            where = f" at {first}" if first.line else ""
            yield Problem(node.at, node.key, f"'{text}' is taken already by another entry of {listed}{where}")
        seen.setdefault(text, node)


def _check_server(server: Node) -> Iterator[Problem]:
    host, tls = server.text("host"), server.child("tls")
    if tls is not None and tls.value == "none" and host is not None and not is_loopback(host):
        message = (
            "'none' is only for a server on this machine (127.0.0.1, ::1, localhost): account and articles would "
            "travel in clear; use implicit (port 563) or starttls (port 119)"
        )
        yield Problem(tls.at, join_key(server.key, "tls"), message)
    username, password = server.child("username"), server.child("password")
    if (username is None or username.value is None) and password is not None and password.value is not None:
        yield Problem(password.at, password.key, "a password without a username")
    if username is not None and username.value is not None and (password is None or password.value is None):
        yield Problem(username.at, username.key, "a username without a password", warning=True)
    ca_file, path = server.child("ca_file"), server.text("ca_file")
    if ca_file is not None and path and os.path.isabs(path) and not os.path.isfile(path):
        yield Problem(ca_file.at, ca_file.key, f"there is no file {path}", warning=True)
    roles = server.child("roles")
    if roles is not None and not roles.items() and not isinstance(roles.value, str):
        yield Problem(roles.at, roles.key, "a server without a role; give some of post, read, verify")


def _check_folder_paths(tree: Node, folders: list[Node]) -> Iterator[Problem]:
    storage = tree.child("storage")
    data_dir = storage.text("data_dir") if storage is not None else None
    data_parts = _parts(data_dir) if data_dir and os.path.isabs(data_dir) else None
    placed: list[tuple[tuple[str, ...], Node, str]] = []
    for folder in folders:
        path, node = folder.text("path"), folder.child("path")
        if node is None or path is None or not os.path.isabs(path):
            continue
        parts = _parts(path)
        name = f"'{folder.text('id') or path}'"
        if data_parts is not None and data_parts[: len(parts)] == parts:
            message = (
                f"{path} contains the data directory {data_dir} (storage.data_dir); it would watch itself"
            )
            yield Problem(node.at, node.key, message)
        elif data_parts is not None and parts[: len(data_parts)] == data_parts:
            yield Problem(
                node.at, node.key, f"{path} lies inside the data directory {data_dir} (storage.data_dir)"
            )
        placed.append((parts, node, name))
    yield from _check_nesting(placed)


def _check_nesting(placed: list[tuple[tuple[str, ...], Node, str]]) -> Iterator[Problem]:
    # sorted by components, a folder directly follows the ones it lies in: one pass with a stack
    around: list[tuple[tuple[str, ...], Node, str]] = []
    for parts, node, name in sorted(placed, key=lambda item: item[0]):
        while around and around[-1][0] != parts[: len(around[-1][0])]:
            around.pop()
        if around:
            outer_parts, outer, outer_name = around[-1]
            if outer_parts == parts:
                message = f"{node.value} is watched already by the folder {outer_name}"
            else:
                message = f"{node.value} lies inside the folder {outer_name} ({outer.value}); use its ignore list instead"
            yield Problem(node.at, node.key, message)
        around.append((parts, node, name))


def _parts(path: str) -> tuple[str, ...]:
    # a symlinked path is the folder that it leads to
    return Path(os.path.realpath(path)).parts


def _check_roles(tree: Node, servers: list[Node], folders: list[Node]) -> Iterator[Problem]:
    if not folders:
        return
    node = tree.child("servers")
    at = node.at if node is not None else tree.at
    if not servers:
        yield Problem(at, "servers", "there are folders but no news server to post them to", warning=True)
        return
    roles = {role.value for server in servers for role in _roles(server)}
    for role, purpose in (("post", "nothing is uploaded"), ("read", "nothing can be restored")):
        if role not in roles:
            yield Problem(at, "servers", f"no server has the role {role}: {purpose}", warning=True)
    groups = tree.child("newsgroups")
    if groups is not None and not groups.items() and groups.value in (None, []):
        for folder in folders:
            own = folder.child("newsgroups")
            if own is None or not own.items():
                message = f"no newsgroup to post the folder '{folder.text('id')}' to"
                yield Problem(groups.at, "newsgroups", message)


def _roles(server: Node) -> list[Node]:
    roles = server.child("roles")
    if roles is None:
        return [Node("", server.at, server.at, role) for role in ("post", "read")]
    return roles.items()


def _check_notify(tree: Node) -> Iterator[Problem]:
    for item in _section(tree, "notify"):
        given = [
            name for name in ("url", "healthcheck") if (found := item.child(name)) and found.value is not None
        ]
        if len(given) != 1:
            yield Problem(item.at, item.key, "give either url or healthcheck")


def _check_rest(tree: Node) -> Iterator[Problem]:
    limits, cluster, web = tree.child("limits"), tree.child("cluster"), tree.child("web")
    timetable = limits.child("schedule") if limits is not None else None
    for rule in timetable.items() if timetable is not None else []:
        if isinstance(rule.value, dict) and not {"upload", "download"} & rule.value.keys():
            yield Problem(rule.at, rule.key, "give upload, download or both")
    if cluster is not None and cluster.text("mode") == "celery" and cluster.text("broker") is None:
        yield Problem(cluster.at, "cluster.broker", "needed for mode celery, such as redis://host/0")
    if web is not None:
        yield from _check_web(web)
    for rules in _newsgroup_rules(tree):
        for rule in rules.items():
            if isinstance(rule.value, dict) and not rule.child("groups"):
                continue
            groups = rule.child("groups")
            if groups is not None and isinstance(groups.value, list) and not groups.value:
                yield Problem(groups.at, groups.key, "name at least one group")


def _check_web(web: Node) -> Iterator[Problem]:
    listen, address = web.child("listen"), web.text("listen")
    if listen is None or not address or ":" not in address or is_loopback(address.rpartition(":")[0]):
        return
    password = web.child("password")
    if password is None or password.value is None:
        message = (
            "other machines can reach this address, so there must be a password: `usyncctl credential set web` and "
            "`password: ${credential:web}`, or listen on 127.0.0.1 and come through ssh -L or a proxy"
        )
        yield Problem(listen.at, "web.listen", message)
    message = "reachable from other machines without TLS; put a proxy with TLS in front of it"
    yield Problem(listen.at, "web.listen", message, warning=True)


def _newsgroup_rules(tree: Node) -> Iterator[Node]:
    for owner in (tree.child("defaults"), *_section(tree, "folders")):
        rules = owner.child("newsgroups") if owner is not None else None
        if rules is not None:
            yield rules
