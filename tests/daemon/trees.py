"""Trees as they are on disk: described for comparison, and made for tests."""

import hashlib
import os
import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 1 << 20
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink"}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a restore must give back of one path. content: a hash, or where a symlink leads.

    names: the paths that share this file's inode, sorted; empty where there is one alone.
    """

    kind: str
    mode: int
    mtime_ns: int
    content: bytes
    names: tuple[bytes, ...] = ()


Tree = dict[bytes, Kept]


def describe(root: Path | bytes) -> Tree:
    """Everything in a folder that can be restored, by path; the root itself is ``b""``."""
    found: Tree = {}
    inodes: dict[int, list[bytes]] = {}
    of_path: dict[bytes, int] = {}
    fd = os.open(os.fsencode(root), os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path, kept, inode in _walk(fd, b""):
            found[path] = kept
            if inode:
                inodes.setdefault(inode, []).append(path)
                of_path[path] = inode
    finally:
        os.close(fd)
    for path, inode in of_path.items():
        names = inodes[inode]
        if len(names) > 1:
            kept = found[path]
            found[path] = Kept(kept.kind, kept.mode, kept.mtime_ns, kept.content, tuple(sorted(names)))
    return found


def _walk(fd: int, path: bytes) -> Iterator[tuple[bytes, Kept, int]]:
    """By descriptors, since a path may be longer than the kernel takes in one call."""
    own = os.fstat(fd)
    yield path, Kept("folder", stat.S_IMODE(own.st_mode), own.st_mtime_ns, b""), 0
    for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        below = path + b"/" + name if path else name
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind == "folder":
            opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            try:
                yield from _walk(opened, below)
            finally:
                os.close(opened)
        elif kind == "symlink":
            target = os.readlink(name, dir_fd=fd)
            yield below, Kept(kind, 0, status.st_mtime_ns, target), 0
        elif kind == "file":
            mode = stat.S_IMODE(status.st_mode)
            inode = status.st_ino if status.st_nlink > 1 else 0
            yield below, Kept(kind, mode, status.st_mtime_ns, _hash(name, fd)), inode


def _hash(name: bytes, fd: int) -> bytes:
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
    digest = hashlib.sha256()
    try:
        while block := os.read(opened, BLOCK_BYTES):
            digest.update(block)
    finally:
        os.close(opened)
    return digest.digest()


def differences(expected: Tree, found: Tree) -> list[str]:
    """Sentences about the first paths that differ; none when the trees are the same."""
    told: list[str] = []
    for path in sorted(expected.keys() | found.keys()):
        before, after = expected.get(path), found.get(path)
        if before != after:
            told.append(f"{path!r}: {before} became {after}")
    return told[:10] + ([f"and {len(told) - 10} more"] if len(told) > 10 else [])


def write_files(
    root: Path, count: int, dice: random.Random, largest: int = 8_000, per_folder: int = 100
) -> None:
    """Incompressible small files, empty ones among them, in numbered folders."""
    for number in range(count):
        folder = root / f"folder {number // per_folder:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number:05}").write_bytes(dice.randbytes(dice.randrange(largest)))


def edit_some(root: Path, dice: random.Random, edits: int = 12) -> None:
    """Change a folder as people do: rewrite, append, make, delete, rename, link."""
    for _ in range(edits):
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        path = dice.choice(files)
        deed = dice.choice(("rewrite", "append", "make", "delete", "rename", "link", "symlink", "chmod"))
        fresh = path.parent / f"new {dice.randrange(10**9)}"
        if deed == "rewrite":
            path.write_bytes(dice.randbytes(dice.randrange(20_000)))
        elif deed == "append":
            with path.open("ab") as opened:
                opened.write(dice.randbytes(dice.randrange(1, 5_000)))
        elif deed == "make":
            fresh.write_bytes(dice.randbytes(dice.choice((0, 100, 60_000, 900_000))))
        elif deed == "delete":
            path.unlink()
        elif deed == "rename":
            path.rename(fresh)
        elif deed == "link":
            os.link(path, fresh)
        elif deed == "symlink":
            fresh.symlink_to(path.name)
        else:
            path.chmod(dice.choice((0o600, 0o644, 0o755, 0o640)))
