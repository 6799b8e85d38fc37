"""Who is at the other end of a connection on the Unix socket, and whether it may be there."""

import os
import socket
import struct
from dataclasses import dataclass

from usenetsyncd.errors import ConfigurationError

_CREDENTIALS = struct.Struct("3i")
# asm-generic/socket.h, Linux 4.13; the socket module does not name it
_SO_PEERGROUPS = 59
# more than the socket module lets through at once (1,024 bytes) are looked up by name instead
_MAX_GROUPS = 256


@dataclass(frozen=True, slots=True)
class Peer:
    """The kernel's word on the process that connected. groups: its supplementary groups."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Permitted:
    """Root, the daemon's own user, and members of one group."""

    uid: int
    gid: int | None = None

    def allows(self, peer: Peer) -> bool:
        """Whether this process may use the daemon."""
        if peer.uid in (0, self.uid):
            return True
        return self.gid is not None and (peer.gid == self.gid or self.gid in peer.groups)


def peer_of(connection: socket.socket) -> Peer:
    """Raises OSError when the other end is gone already."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(packed)
    return Peer(uid, gid, pid, _groups(connection, uid, gid))


def group_id(name: str) -> int:
    """Raises ConfigurationError when there is no such group."""
    # not on every platform
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(
            f"control.group: there is no group '{name}' on this machine; make it (groupadd --system {name}) "
            "or set control.group to null"
        ) from None


def permitted(group: str | None) -> Permitted:
    """Who may use a daemon that runs as this process does."""
    return Permitted(os.geteuid(), None if group is None else group_id(group))


def _groups(connection: socket.socket, uid: int, gid: int) -> frozenset[int]:
    # The kernel's list, not the name service's: that may be slow, and knows nothing of what a process dropped.
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MAX_GROUPS)
    except OSError:
        return _groups_by_name(uid, gid)
    return frozenset(struct.unpack(f"{len(packed) // 4}I", packed))


def _groups_by_name(uid: int, gid: int) -> frozenset[int]:
    # as above
    import pwd

    try:
        return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        return frozenset()
