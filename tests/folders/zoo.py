"""Files and names that a real disk may hold, and ways to be somebody who may not read them."""

import os
import shutil
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534

NAMES = (
    b"plain",
    b"\xff\xfe not utf-8",
    b"new\nline",
    b"tab\tand \x1b[31mescape",
    b"x" * 255,
    b"caf\xc3\xa9",  # NFC
    b"cafe\xcc\x81",  # NFD: looks the same
    b"Case",
    b"case",
    b" leading and trailing ",
    b"-rf *",
    b"back\\slash",
    b".hidden",
    b"a:b?c|d",
    b"...",
)


def make_zoo(root: bytes) -> dict[bytes, bytes]:
    """Fill a folder with every kind of oddity. Returns path -> content of its regular files."""
    contents = {name: b"content of " + name for name in NAMES}
    contents |= {b"empty": b"", b"folder/inner/file": b"inner", b"large": os.urandom(2_000_000)}
    contents[b"sparse"] = b"start" + bytes(3_000_000) + b"end"
    for path, content in contents.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as made:
            made.write(content)
    with open(os.path.join(root, b"sparse"), "r+b") as made:
        made.truncate(0)
        made.write(b"start")
        made.seek(5 + 3_000_000)
        made.write(b"end")
    os.mkdir(os.path.join(root, b"empty folder"))
    os.link(os.path.join(root, b"plain"), os.path.join(root, b"plain too"))
    contents[b"plain too"] = contents[b"plain"]
    os.symlink(b"nowhere/at all", os.path.join(root, b"dangling"))
    os.symlink(b"/", os.path.join(root, b"to the root"))
    os.symlink(b"folder", os.path.join(root, b"to a folder"))
    os.symlink(b"loop", os.path.join(root, b"loop"))
    os.mkfifo(os.path.join(root, b"fifo"))
    with short_socket(os.path.join(root, b"socket")):
        pass
    return contents


@contextmanager
def short_socket(path: bytes) -> Iterator[None]:
    """A bound Unix socket file at ``path``, however long that is."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    here = socket.socket(socket.AF_UNIX)
    try:
        here.bind(b"/proc/self/fd/%d/%b" % (directory, os.path.basename(path)))
        yield
    finally:
        here.close()
        os.close(directory)


@contextmanager
def deep_path(root: bytes, length: int = 4_096, name_length: int = 255) -> Iterator[tuple[bytes, int]]:
    """Folders nested so that a file name of up to 255 bytes in the last makes ``length`` in all.

    Gives the folders' path and a descriptor of the last.
    """
    here = os.open(root, os.O_RDONLY)
    names: list[bytes] = []
    while (left := length - sum(len(name) + 1 for name in names)) > 255:
        name = b"d" * min(name_length, max(1, left - 2))
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        names.append(name)
    try:
        yield b"/".join(names), here
    finally:
        os.close(here)


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that another user can reach; pytest's own are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="usenetsync-"))
    made.chmod(0o777)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def as_nobody(act: Callable[[], None]) -> None:
    """Run ``act`` without privileges: in a child process that has given them up, or here if there are none.

    Fails when ``act`` raises.
    """
    if os.geteuid() != 0:
        act()
        return
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            act()
            failed = 0
        except BaseException:  # noqa: BLE001  # the child must not return into pytest
            traceback.print_exc()
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "see the traceback on stderr"
