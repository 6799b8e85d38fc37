"""Vectors of the directory of folders."""

import struct

from tests.vectors.samples import MASTER, OK, STRANGER, UID, Vector, error, spec_of_address
from tests.vectors.sealed import flip
from usenetsyncd.wire import directory, keys

KEYS = directory.directory_keys(MASTER)
_DOMAIN = b"usenetsync/1 directory\0"
_CREATED = 1_763_800_000
_FOLDERS = (
    directory.FolderRecord(UID, 1, 2, "docs", b"/srv/docs", b'{"priority":"low"}'),
    directory.FolderRecord(bytes(range(16)), 3, 0, "caf\u00e9", b"/srv/caf\xe9\xff"),
)


def spec_of_directory(one: directory.DirectoryPart) -> Vector:
    """A part as vectors write it."""
    return {
        "serial": one.serial,
        "created_s": one.created_s,
        "part": one.part,
        "parts": one.parts,
        "folders": [
            {
                "uid": folder.uid.hex(),
                "epoch": folder.epoch,
                "version": folder.version,
                "name": folder.name,
                "path": folder.path.hex(),
                "settings": folder.settings.hex(),
            }
            for folder in one.folders
        ],
    }


def make_directories() -> list[Vector]:
    """Keys from M, and contents of directory articles."""
    reading = KEYS.reading
    vectors: list[Vector] = [
        {
            "do": "keys",
            "m": MASTER.hex(),
            "public": KEYS.signing.public.hex(),
            "fingerprint": KEYS.signing.fingerprint.hex(),
            "k_id": reading.identity.hex(),
            "k_seg": reading.sealing.hex(),
            "k_loc": reading.location.hex(),
        }
        | OK
    ]
    base: Vector = {"do": "part", "m": MASTER.hex()}
    at = directory.directory_address(7)
    for folders in (_FOLDERS, ()):
        (content,) = directory.encode_directory(folders, 7, _CREATED, KEYS.signing)
        told = spec_of_directory(directory.decode_directory(content, KEYS, at))
        vectors.append(
            base | {"address": spec_of_address(at), "content": content.hex(), "directory": told} | OK
        )
    for place, content, code, why in _bad():
        vectors.append(
            base | {"address": spec_of_address(place), "content": content.hex()} | error(code, why)
        )
    return vectors


def _signed(message: bytes, key: keys.SigningKey = KEYS.signing) -> bytes:
    return message + key.sign(_DOMAIN + message)


def _bad() -> list[tuple[directory.ArticleAddress, bytes, str, str]]:
    at = directory.directory_address(7)
    (good,) = directory.encode_directory(_FOLDERS, 7, _CREATED, KEYS.signing)
    message = good[:-64]
    u16, u32, u64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
    form, over = "format_error", "limit_exceeded"

    def changed(offset: int, patch: bytes) -> bytes:
        return _signed(message[:offset] + patch + message[offset + len(patch) :])

    first = 80  # where the first folder begins
    return [
        (at, b"", form, "empty"),
        (at, good[:70], form, "cut in the middle"),
        (at, flip(good, 90), "bad_signature", "altered"),
        (at, _signed(message, STRANGER), "bad_signature", "signed with another key"),
        (at, changed(0, b"\2"), "newer_format", "version 2"),
        (at, changed(1, b"\2"), form, "suite 2"),
        (at, changed(2, b"\0\1"), form, "reserved bytes set"),
        (at, changed(52, u64.pack(0)), over, "serial 0"),
        (at, changed(60, b"\xff" * 8), form, "made before 1970"),
        (at, changed(68, u32.pack(1)), over, "part 1 of 1"),
        (at, changed(72, u32.pack(4_097)), over, "of 4,097 parts"),
        (directory.directory_address(8), good, "content_mismatch", "serial 7 in the place of 8"),
        (directory.directory_address(7, 1), good, "content_mismatch", "part 0 in the place of 1"),
        (at, changed(76, u32.pack(3)), form, "a folder promised and not given"),
        (at, changed(76, u32.pack(1)), form, "a folder that is not promised"),
        (at, changed(first + 16, u32.pack(0)), form, "a folder of epoch 0"),
        (at, changed(first + 20, u64.pack(2**63)), form, "a folder of version 2^63"),
        (at, changed(first + 28, b"\0"), form, "a folder without a name"),
        (at, changed(first + 31, u16.pack(16_385)), form, "settings beyond the end"),
    ]
