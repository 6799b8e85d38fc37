"""Pages of the core index put together by hand, from docs/format.md 12 rather than through ``wire``.

A page is a dict of named sections in the order of the document, so that a vector can replace one of them.
"""

import hashlib
import struct
from collections.abc import Sequence
from itertools import groupby

from tests.vectors.samples import Vector

Sections = dict[str, bytes]

SELF = bytes(16)
HOME = b"\x77" * 16
SEG_A, SEG_B = b"\xaa" * 16, b"\xbb" * 16
HASH = bytes(range(16))
SLICE = 768_000


def column(values: Sequence[int], width: int | None = None) -> bytes:
    """A column, of another width than its numbers need if asked."""
    if width is None:
        width = (max(values, default=0).bit_length() + 7) // 8
    planes = [bytes(value >> 8 * place & 0xFF for value in values) for place in reversed(range(width))]
    return bytes((width,)) + b"".join(planes)


def signed(values: Sequence[int]) -> bytes:
    """A column of signed numbers, zigzag."""
    return column([2 * value if value >= 0 else -2 * value - 1 for value in values])


def header(tree: int, level: int, count: int, version: int = 1, reserved: int = 0) -> bytes:
    return struct.pack(">BBBBI", version, tree, level, reserved, count)


def page(sections: Sections, /, **changed: bytes) -> bytes:
    """All sections in order, some replaced."""
    return b"".join((sections | changed).values())


def frame(raw: bytes) -> bytes:
    """A zstd frame that no library has a say in: raw blocks, and RLE blocks for runs (RFC 8878 3.1.1)."""
    blocks: list[tuple[int, bytes, int]] = []  # type, bytes, size
    for value, run in groupby(raw):
        size = sum(1 for _ in run)
        while size >= 16:
            part = min(size, 131_072)
            blocks.append((1, bytes((value,)), part))
            size -= part
        if size and blocks and blocks[-1][0] == 0 and blocks[-1][2] + size <= 131_072:
            before = blocks.pop()[1]
            blocks.append((0, before + bytes((value,)) * size, len(before) + size))
        elif size:
            blocks.append((0, bytes((value,)) * size, size))
    stored = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(raw))
    for number, (kind, content, size) in enumerate(blocks or [(0, b"", 0)]):
        last = number >= len(blocks) - 1
        stored += (last | kind << 1 | size << 3).to_bytes(3, "little") + content
    return stored


def places(table: Sequence[bytes], steps: Sequence[int], gaps: Sequence[int], name: str = "") -> Sections:
    return {
        f"{name}segment_count": column([len(table)]),
        f"{name}segments": b"".join(table),
        f"{name}steps": signed(steps),
        f"{name}gaps": signed(gaps),
    }


def refs(refs: Sequence[tuple[bytes, int, int]]) -> Sections:
    """References that all lie one after the other in one segment, or each at the start of its own."""
    lengths = [length for _, _, length in refs]
    table = list(dict.fromkeys(segment for segment, _, _ in refs))
    rows = [table.index(segment) for segment, _, _ in refs]
    ends = [0] * len(table)
    gaps = []
    for row, (_, offset, length) in zip(rows, refs, strict=True):
        gaps.append(offset - ends[row])
        ends[row] = offset + length
    steps = [row - before for row, before in zip(rows, [0, *rows], strict=False)]
    return {"ref_lengths": column(lengths)} | places(table, steps, gaps, "ref_")


def paths(names: Sequence[bytes]) -> Sections:
    shared = [
        next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        for a, b in zip([b"", *names], names, strict=False)
    ]
    rests = [name[size:] for name, size in zip(names, shared, strict=True)]
    return {
        "shared": column(shared),
        "rest_sizes": column([len(rest) for rest in rests]),
        "rests": b"".join(rests),
    }


_NOTHING = column([])


def leaf(names: Sequence[bytes], /, **sections: bytes) -> Sections:
    """A leaf of folders, except for the sections that are given."""
    count = len(names)
    whole = {"header": header(1, 0, count)} | paths(names)
    whole |= {"flags": column([2] * count), "modes": column([0o755] * count)}
    whole |= {
        "seconds": column([0] * count),
        "nanoseconds": column([0] * count),
        "sizes": _NOTHING,
        "hashes": b"",
    }
    whole |= {"extent_counts": _NOTHING, "extent_lengths": _NOTHING} | places([], [], [])
    whole |= {"spilled_counts": _NOTHING, "spilled_digests": b""} | refs([])
    whole |= {"target_sizes": _NOTHING, "targets": b"", "groups": b"", "uids": _NOTHING, "gids": _NOTHING}
    whole |= {"xattr_counts": _NOTHING, "name_sizes": _NOTHING, "value_sizes": _NOTHING}
    whole |= {"names": b"", "values": b""}
    assert sections.keys() <= whole.keys()
    return whole | sections


def inner(
    level: int,
    names: Sequence[bytes],
    totals: Sequence[tuple[int, int, int, int]],
    below: Sequence[tuple[bytes, int, int]],
) -> Sections:
    whole = {"header": header(1, level, len(names))} | paths(names)
    for at, name in enumerate(("files", "folders", "symlinks", "bytes")):
        whole[name] = column([one[at] for one in totals])
    return whole | refs(below)


def extent_leaf(
    lengths: Sequence[int], table: Sequence[bytes], steps: Sequence[int], gaps: Sequence[int]
) -> Sections:
    whole = {"header": header(2, 0, len(lengths)), "lengths": column(lengths)}
    return whole | places(table, steps, gaps)


def extent_inner(
    level: int, records: Sequence[tuple[int, int, bytes]], below: Sequence[tuple[bytes, int, int]]
) -> Sections:
    whole = {"header": header(2, level, len(records))}
    whole["counts"] = column([count for count, _, _ in records])
    whole["sizes"] = column([size for _, size, _ in records])
    whole["digests"] = b"".join(digest for _, _, digest in records)
    return whole | refs(below)


def digest(level: int, content: bytes) -> bytes:
    return hashlib.sha256(b"usenetsync/1 extents\0" + bytes((level,)) + content).digest()[:16]


def record(count: int, size: int, digested: bytes) -> bytes:
    return struct.pack(">QQ16s", count, size, digested)


class Segments:
    """Index segments for a vector, under ids that are easy to see."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}

    def put(self, number: int, raw: bytes) -> tuple[bytes, int, int]:
        """Append a page to segment ``number``; where it then stands."""
        identity = bytes((number,)) * 16
        before = self.contents.get(identity, b"")
        stored = frame(raw)
        self.contents[identity] = before + stored
        return identity, len(before), len(stored)


def entry(path: bytes, kind: int, **fields: object) -> Vector:
    """An entry as vectors write it."""
    whole: Vector = {"path": path.hex(), "kind": kind, "size": 0, "mtime_ns": 0, "mode": 0o755}
    whole |= {"content_hash": "", "extents": [], "target": "", "link_group": "", "sparse": False}
    return whole | {"owner": None, "xattrs": []} | fields
