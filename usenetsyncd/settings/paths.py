"""Where things are by default. Imports nothing heavy: the client needs this at every start."""

import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM_CONFIG = Path("/etc/usenetsyncd/usenetsyncd.yaml")
SYSTEM_STATE = Path("/var/lib/usenetsyncd")
SYSTEM_SOCKET = Path("/run/usenetsyncd/control.sock")
SOCKET_VARIABLE = "USENETSYNCD_SOCKET"


def runs_as_root() -> bool:
    """True for uid 0; False on systems without uids."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def user_config(environ: Mapping[str, str]) -> Path | None:
    """The user's own configuration file, whether or not it exists; None without a home."""
    base = _base(environ, "XDG_CONFIG_HOME", ".config")
    return base / "usenetsyncd" / "usenetsyncd.yaml" if base else None


def default_data_dir(environ: Mapping[str, str], root: bool | None = None) -> Path:
    """State directory: systemd's, else /var/lib/usenetsyncd for root, else the user's own.

    root: whether the process is root; found out when None.
    """
    if given := _first_directory(environ.get("STATE_DIRECTORY")):
        return given
    if runs_as_root() if root is None else root:
        return SYSTEM_STATE
    base = _base(environ, "XDG_STATE_HOME", ".local/state")
    return base / "usenetsyncd" if base else SYSTEM_STATE


def default_socket(
    environ: Mapping[str, str], data_dir: Path | None = None, root: bool | None = None
) -> Path:
    """Control socket where neither configuration nor command line names one.

    data_dir: the last resort, for a user without $XDG_RUNTIME_DIR; the default one when None.
    """
    if given := _first_directory(environ.get("RUNTIME_DIRECTORY")):
        return given / "control.sock"
    if runs_as_root() if root is None else root:
        return SYSTEM_SOCKET
    if runtime := _absolute(environ.get("XDG_RUNTIME_DIR")):
        return runtime / "usenetsyncd" / "control.sock"
    return (data_dir or default_data_dir(environ, root)) / "control.sock"


def socket_candidates(environ: Mapping[str, str], root: bool | None = None) -> tuple[Path, ...]:
    """Sockets a client tries in this order: its own user's daemon first, then the system's.

    A socket named in the environment is the only candidate.
    """
    named = environ.get(SOCKET_VARIABLE) or environ.get("USENETSYNCD_CONTROL__SOCKET")
    if named:
        return (Path(named),)
    return tuple(dict.fromkeys((default_socket(environ, root=root), SYSTEM_SOCKET)))


def _base(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    if given := _absolute(environ.get(variable)):
        return given
    home = _absolute(environ.get("HOME") or environ.get("USERPROFILE"))
    return home / below_home if home else None


def _absolute(text: str | None) -> Path | None:
    # XDG: a relative path in these variables is to be ignored
    return Path(text) if text and os.path.isabs(text) else None


def _first_directory(text: str | None) -> Path | None:
    # systemd joins several directories of one unit with colons
    return _absolute(text.split(os.pathsep)[0]) if text else None
