"""Directories of any number of folders, in as many parts as they need."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import SEGMENT_SIZE_BYTES
from usenetsyncd.wire.directory import (
    MAX_PATH_BYTES,
    MAX_SETTINGS_BYTES,
    FolderRecord,
    decode_directory,
    directory_address,
    directory_keys,
    encode_directory,
)

KEYS = directory_keys(bytes(range(32)))

folders = st.builds(
    FolderRecord,
    uid=st.binary(min_size=16, max_size=16),
    epoch=st.integers(1, 2**32 - 1),
    version=st.integers(0, 2**63 - 1),
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    path=st.binary(max_size=200),
    settings=st.binary(max_size=200),
)


@given(st.lists(folders, max_size=8), st.integers(1, 2**63 - 1))
def test_what_goes_in_comes_out(records: list[FolderRecord], serial: int) -> None:
    (content,) = encode_directory(records, serial, 1_763_800_000, KEYS.signing)
    part = decode_directory(content, KEYS, directory_address(serial))
    assert part.folders == tuple(records)
    assert (part.serial, part.part, part.parts) == (serial, 0, 1)


def test_many_folders_are_in_several_parts_and_none_is_lost() -> None:
    records = [FolderRecord(os.urandom(16), 1, n, f"folder {n}", b"/srv" * 300) for n in range(1_500)]
    contents = encode_directory(records, 3, 0, KEYS.signing)
    assert len(contents) == 3
    assert all(len(content) <= SEGMENT_SIZE_BYTES for content in contents)
    parts = [
        decode_directory(content, KEYS, directory_address(3, number))
        for number, content in enumerate(contents)
    ]
    assert [folder for part in parts for folder in part.folders] == records


@pytest.mark.parametrize(
    "record",
    [
        FolderRecord(b"short", 1, 0, "docs", b""),
        FolderRecord(bytes(16), 0, 0, "docs", b""),
        FolderRecord(bytes(16), 1, 2**63, "docs", b""),
        FolderRecord(bytes(16), 1, 0, "", b""),
        FolderRecord(bytes(16), 1, 0, "docs", b"/" * (MAX_PATH_BYTES + 1)),
        FolderRecord(bytes(16), 1, 0, "docs", b"", b" " * (MAX_SETTINGS_BYTES + 1)),
    ],
    ids=["uid", "epoch", "version", "name", "path", "settings"],
)
def test_what_a_reader_would_refuse_is_not_written(record: FolderRecord) -> None:
    with pytest.raises((FormatError, LimitExceeded)):
        encode_directory([record], 1, 0, KEYS.signing)


def test_a_serial_beyond_the_limit_is_refused() -> None:
    for serial in (0, 2**63):
        with pytest.raises(LimitExceeded):
            encode_directory([], serial, 0, KEYS.signing)
