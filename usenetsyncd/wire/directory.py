"""The directory of an installation's folders: what the recovery kit alone must be able to find.

Source: docs/format.md 18 (directory); vectors/directory.json.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from usenetsyncd.errors import ContentMismatch, FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind
from usenetsyncd.wire.head import MAX_VERSION
from usenetsyncd.wire.keys import (
    MAX_EPOCH,
    SIGNATURE_BYTES,
    ReadKeys,
    SigningKey,
    derive,
    label,
    read_keys,
    read_secret,
    signing_key,
)
from usenetsyncd.wire.signed import check_signed, sign

DIRECTORY_VERSION = 1
MAX_SERIAL = 2**63 - 1
MAX_PARTS = 4_096
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4_096
MAX_SETTINGS_BYTES = 16_384

_FIXED = struct.Struct(">BBH16s32sQqIII")
_FOLDER = struct.Struct(">16sIQBHH")
_SUITE = 1
_LABEL = label("directory")
_ROOM = SEGMENT_SIZE_BYTES - _FIXED.size - SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class DirectoryKeys:
    """What publishes and what finds the directory. Never printed."""

    signing: SigningKey
    reading: ReadKeys


@dataclass(frozen=True, slots=True)
class FolderRecord:
    """One folder. uid: 16 bytes that its keys derive from. epoch, version: the newest when this was written (version
    0: none yet). name: as the configuration calls it. path: bytes, may be empty. settings: JSON, b"" for none."""

    uid: bytes
    epoch: int
    version: int
    name: str
    path: bytes
    settings: bytes = b""


@dataclass(frozen=True, slots=True)
class DirectoryPart:
    """One of ``parts`` articles that make up a directory. serial: from 1, higher is newer. part: from 0."""

    public: bytes
    serial: int
    created_s: int
    part: int
    parts: int
    folders: tuple[FolderRecord, ...]


def directory_keys(master: bytes) -> DirectoryKeys:
    """Those of an installation, from M: as a folder has them, in epoch 1."""
    secret = derive(master, "directory")
    signing = signing_key(secret)
    return DirectoryKeys(signing, read_keys(read_secret(secret, 1), signing.fingerprint))


def directory_address(serial: int, part: int = 0, copy: int = 0, generation: int = 0) -> ArticleAddress:
    """Where a part stands: found by whoever has M and counts. Raises LimitExceeded."""
    if not (1 <= serial <= MAX_SERIAL and 0 <= part < MAX_PARTS):
        raise LimitExceeded(f"no directory has serial {serial} and part {part}")
    place = serial.to_bytes(8, "big") + part.to_bytes(4, "big") + bytes(4)
    return ArticleAddress(ArticleKind.DIRECTORY, place, copy, generation)


def encode_directory(
    folders: Sequence[FolderRecord], serial: int, created_s: int, key: SigningKey
) -> list[bytes]:
    """The signed contents of all parts, before sealing; one even without folders. Raises LimitExceeded, FormatError."""
    chunks = list(_chunks([_pack(folder) for folder in folders]))
    if len(chunks) > MAX_PARTS:
        raise LimitExceeded(f"a directory of {len(folders):,} folders is too long")
    directory_address(serial)
    return [
        sign(
            _FIXED.pack(
                DIRECTORY_VERSION, _SUITE, 0, key.fingerprint, key.public, serial, created_s, number, len(chunks),
                len(rows),
            ) + b"".join(rows), key, _LABEL,
        )
        for number, rows in enumerate(chunks)
    ]  # fmt: skip


def decode_directory(content: bytes, keys: DirectoryKeys, at: ArticleAddress) -> DirectoryPart:
    """One part, its signature checked. at: where it was found.

    Raises FormatError, LimitExceeded, BadSignature, NewerFormat, ContentMismatch.
    """
    message = check_signed(content, DIRECTORY_VERSION, _LABEL, keys.signing.fingerprint, _FIXED.size)
    _, suite, reserved, _, public, serial, created, part, parts, count = _FIXED.unpack_from(message)
    if suite != _SUITE or reserved or created < 0:
        raise FormatError("a directory that contradicts itself")
    if not (1 <= serial <= MAX_SERIAL and 1 <= parts <= MAX_PARTS and part < parts):
        raise LimitExceeded("a directory numbered beyond its limits")
    if directory_address(serial, part).id != at.id:
        raise ContentMismatch("a directory stands in the place of another")
    return DirectoryPart(public, serial, created, part, parts, tuple(_unpack(message, count)))


def _pack(folder: FolderRecord) -> bytes:
    name = folder.name.encode("utf-8", "surrogateescape")
    if len(folder.uid) != 16 or not (1 <= folder.epoch <= MAX_EPOCH and 0 <= folder.version <= MAX_VERSION):
        raise FormatError("a folder without uid, epoch or version cannot be in a directory")
    if not 1 <= len(name) <= MAX_NAME_BYTES or len(folder.path) > MAX_PATH_BYTES:
        raise LimitExceeded("the name or path of a folder is too long for a directory")
    if len(folder.settings) > MAX_SETTINGS_BYTES:
        raise LimitExceeded("the settings of a folder are too long for a directory")
    sizes = len(name), len(folder.path), len(folder.settings)
    return (
        _FOLDER.pack(folder.uid, folder.epoch, folder.version, *sizes) + name + folder.path + folder.settings
    )


def _chunks(rows: Sequence[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    room = _ROOM
    for row in rows:
        if len(row) > room:
            yield chunk
            chunk, room = [], _ROOM
        chunk.append(row)
        room -= len(row)
    yield chunk


def _unpack(message: bytes, count: int) -> Iterator[FolderRecord]:
    at = _FIXED.size
    for _ in range(count):
        if at + _FOLDER.size > len(message):
            raise FormatError("a directory is cut short")
        uid, epoch, version, name_size, path_size, settings_size = _FOLDER.unpack_from(message, at)
        at += _FOLDER.size
        end = at + name_size + path_size + settings_size
        if end > len(message):
            raise FormatError("a directory is cut short")
        if not (epoch and version <= MAX_VERSION and name_size):
            raise FormatError("a directory with a folder that cannot be")
        if path_size > MAX_PATH_BYTES or settings_size > MAX_SETTINGS_BYTES:
            raise LimitExceeded("a directory with a folder beyond its limits")
        name = message[at : at + name_size].decode("utf-8", "surrogateescape")
        path = message[at + name_size : at + name_size + path_size]
        yield FolderRecord(uid, epoch, version, name, path, message[end - settings_size : end])
        at = end
    if at != len(message):
        raise FormatError("a directory with something behind its end")
