"""Trees of files to index and to post. The same call makes the same content; nothing in it can be compressed."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FILES_PER_FOLDER = 100
CHUNK_BYTES = 1 << 20


def tree_a(root: Path, files: int = 100_000) -> int:
    """``files`` of 1 to 8 KB, a hundred to a folder; the bytes they hold."""
    return _many(root, files, 1_000, 8_000)


def tree_c(root: Path, files: int = 1_000_000) -> int:
    """``files`` of 0 to 64 bytes, a hundred to a folder; the bytes they hold."""
    return _many(root, files, 0, 64)


def tree_b(root: Path, files: int = 20, size_bytes: int = 100_000_000) -> int:
    """Large files; the bytes they hold."""
    stream = _stream(b"B")
    root.mkdir(parents=True)
    for number in range(files):
        with (root / f"large-{number:03}.bin").open("wb", buffering=0) as made:
            for at in range(0, size_bytes, CHUNK_BYTES):
                made.write(_take(stream, min(CHUNK_BYTES, size_bytes - at)))
    return files * size_bytes


def tree_of_segments(root: Path, files: int) -> None:
    """Files just too large to be packed, each a segment of its own, nearly all of each a hole: a long queue in
    little memory."""
    for number, at, name in _places(root, files):
        made = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at)
        os.pwrite(made, b"%016d" % number, 50_008)
        os.close(made)


def _many(root: Path, files: int, least: int, most: int) -> int:
    dice, stream, total = random.Random(7), _stream(b"A"), 0
    for _, at, name in _places(root, files):
        size = dice.randint(least, most)
        made = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at)
        os.write(made, _take(stream, size))
        os.close(made)
        total += size
    return total


def _places(root: Path, files: int) -> Iterator[tuple[int, int, str]]:
    for first in range(0, files, FILES_PER_FOLDER):
        number = first // FILES_PER_FOLDER
        folder = root / f"group-{number // 100:04}" / f"folder-{number % 100:02}"
        folder.mkdir(parents=True)
        at = os.open(folder, os.O_RDONLY)
        for file in range(first, min(files, first + FILES_PER_FOLDER)):
            yield file, at, f"file-{file:07}.dat"
        os.close(at)


_ZEROS = bytes(CHUNK_BYTES)


def _stream(label: bytes) -> Iterator[bytes]:
    cipher = Cipher(algorithms.AES(label.ljust(16, b"\0")), modes.CTR(bytes(16))).encryptor()
    while True:
        yield cipher.update(_ZEROS)


_rest: dict[int, memoryview] = {}


def _take(stream: Iterator[bytes], size: int) -> bytes:
    """The next ``size`` (up to CHUNK_BYTES) bytes; what is left of a chunk is used for the next ones."""
    left = _rest.get(id(stream), memoryview(b""))
    if len(left) < size:
        left = memoryview(next(stream))
    _rest[id(stream)] = left[size:]
    return bytes(left[:size])
