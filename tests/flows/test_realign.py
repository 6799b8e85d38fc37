"""Old pieces of a large file are found in its new content, whatever was done to it."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.catalogue.batches import PieceRow
from usenetsyncd.flows.realign import MARK_BYTES, Aligned, realign
from usenetsyncd.folders.read import open_file
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.model import SEGMENT_SIZE_BYTES as SLICE
from usenetsyncd.model import RelativePath, SegmentId
from usenetsyncd.wire.segment import PACK_LIMIT_BYTES, content_hash, segment_id

IDENTITY = bytes(range(32))
LARGE = random.Random(5).randbytes(30 * SLICE + 123_456)


def pieces_of(content: bytes) -> list[PieceRow]:
    """The file as a first scan cuts it."""
    cut = [(at, content[at : at + SLICE]) for at in range(0, len(content), SLICE)]
    return [
        PieceRow(at, segment_id(content_hash(IDENTITY, part)), len(part), part[:MARK_BYTES])
        for at, part in cut
        if len(part) >= PACK_LIMIT_BYTES
    ]


def aligned(place: Path, content: bytes, old: list[PieceRow]) -> Aligned:
    """Realign, and check that what came out is the file and nothing else."""
    (place / "file").write_bytes(content)
    with FolderRoot(bytes(place)) as root, open_file(root, RelativePath(b"file")) as opened:
        made = realign(opened, IDENTITY, old, lambda: None)
    at = 0
    for one in made.slices:
        part = content[one.position : one.position + one.length]
        assert one.position == at
        assert PACK_LIMIT_BYTES <= one.length <= SLICE
        assert one.hash == content_hash(IDENTITY, part)
        assert one.mark == part[:MARK_BYTES]
        at += one.length
    assert content[at:] == made.tail
    assert len(made.tail) < PACK_LIMIT_BYTES
    return made


def fresh_bytes(made: Aligned, old: list[PieceRow]) -> int:
    known = {piece.seg_id for piece in old}
    return len(made.tail) + sum(one.length for one in made.slices if segment_id(one.hash) not in known)


def cut_out(begin: int, end: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:begin] + content[end:]


def put_in(at: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + new + content[at:]


def overwrite(at: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + new + content[at + len(new) :]


NEW = random.Random(6).randbytes
EDITS: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "nothing": (lambda content: content, 0),
    "a byte in front": (put_in(0, b"x"), 2 * SLICE),
    "a byte in the middle": (put_in(10 * SLICE + 77, b"x"), 2 * SLICE),
    "two slices and a half in front": (put_in(0, NEW(5 * SLICE // 2)), 4 * SLICE),
    "nine slices in the middle": (put_in(7 * SLICE + 5, NEW(9 * SLICE + 3)), 12 * SLICE),
    "a byte taken out": (cut_out(5, 6), 2 * SLICE),
    "ten slices taken out": (cut_out(3 * SLICE + 9, 13 * SLICE + 1_000), 2 * SLICE),
    "the front taken out": (cut_out(0, 12 * SLICE + 11), 2 * SLICE),
    "a stretch overwritten": (overwrite(4 * SLICE + 100, NEW(3 * SLICE)), 5 * SLICE),
    "twelve slices overwritten, a byte put in behind": (
        lambda content: put_in(20 * SLICE, b"x")(overwrite(2 * SLICE, NEW(12 * SLICE))(content)),
        15 * SLICE,
    ),
    "a byte at five places": (
        lambda content: put_in(1, b"a")(
            put_in(6 * SLICE, b"b")(
                put_in(12 * SLICE, b"c")(put_in(18 * SLICE, b"d")(put_in(24 * SLICE, b"e")(content)))
            )
        ),
        10 * SLICE,
    ),
    "more at the end": (lambda content: content + NEW(2 * SLICE), 4 * SLICE),
    "cut off": (lambda content: content[: 11 * SLICE + 60_000], 60_000),
    "halves exchanged": (lambda content: content[15 * SLICE :] + content[: 15 * SLICE], 16 * SLICE),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_costs_about_as_much_as_it_is_long(tmp_path: Path, name: str) -> None:
    edit, most = EDITS[name]
    old = pieces_of(LARGE)
    tail = len(LARGE) % SLICE
    made = aligned(tmp_path, edit(LARGE), old)
    assert fresh_bytes(made, old) <= most + tail


def test_another_file_of_the_same_name_is_cut_like_a_new_one(tmp_path: Path) -> None:
    content = NEW(9 * SLICE + 100_000)
    made = aligned(tmp_path, content, pieces_of(LARGE))
    assert [one.length for one in made.slices] == [SLICE] * 9 + [100_000]


@pytest.mark.parametrize(
    "old", [bytes(20 * SLICE), b"abcdefgh" * (15 * SLICE // 8)], ids=["zeros", "a pattern"]
)
def test_content_without_any_mark_of_its_own_is_no_trouble(tmp_path: Path, old: bytes) -> None:
    aligned(tmp_path, b"x" + old, pieces_of(old))
    made = aligned(tmp_path, old + b"y" * SLICE, pieces_of(old))
    assert fresh_bytes(made, pieces_of(old)) <= 2 * SLICE


def test_marks_that_lie_cost_a_few_hashes_and_nothing_else(tmp_path: Path) -> None:
    mark = LARGE[:MARK_BYTES]
    lies = [PieceRow(at * SLICE, SegmentId(bytes(16)), SLICE, mark) for at in range(40)]
    made = aligned(tmp_path, mark * 300_000 + LARGE[: 4 * SLICE], lies)
    assert not {segment_id(one.hash) for one in made.slices} & {bytes(16)}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["in", "out", "over"]), st.integers(0, 6 * SLICE), st.integers(1, 2 * SLICE)
        ),
        max_size=4,
    ),
    st.integers(0, 2**32),
)
def test_whatever_was_edited_every_byte_is_in_one_slice(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, int, int]], seed: int
) -> None:
    content = old = LARGE[: 6 * SLICE + 70_000]
    dice = random.Random(seed)
    for how, at, length in edits:
        new = dice.randbytes(length)
        change = {"in": put_in(at, new), "out": cut_out(at, at + length), "over": overwrite(at, new)}[how]
        content = change(content)
    if content:
        aligned(tmp_path_factory.mktemp("realign"), content, pieces_of(old))
