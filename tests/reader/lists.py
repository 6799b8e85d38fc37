"""Lists of stripes and overrides: docs/format.md, sections 16.2, 16.3 and 17."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.reader.pages import Blocks, Load, Place, open_page, stored_page
from tests.reader.sealed import SEGMENT_BYTES, Address, Refused, must

STRIPES, OVERRIDES = 3, 4
MESSAGE_ID = re.compile(rb"<[\x21-\x3b\x3d\x3f-\x7e]{1,248}>")


@dataclass(frozen=True, slots=True)
class Stripe:
    """Data segments with the lengths of their contents, and parity segments."""

    members: tuple[tuple[bytes, int], ...]
    parity: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Override:
    at: Address
    message_id: str


Rows = list[Stripe] | list[Override]
Branches = list[tuple[Place, int]]


def stripes(blocks: Blocks, n: int) -> list[Stripe]:
    must(n <= 512, "limit_exceeded", "stripes of a page")
    k, m = blocks.column(n), blocks.column(n)
    must(max(k) <= 128 and max(m) <= 128, "limit_exceeded", "segments of a stripe")
    must(min(k) > 0 and min(m) > 0, why="a stripe of nothing")
    lengths = blocks.column(sum(k))
    must(all(1 <= length <= SEGMENT_BYTES for length in lengths), why="length of a member")
    data = iter(list(zip(blocks.ids(sum(k), 16), lengths, strict=True)))
    parity = iter(blocks.ids(sum(m), 16))
    made = []
    for a, b in zip(k, m, strict=True):
        made.append(Stripe(tuple(itertools.islice(data, a)), tuple(itertools.islice(parity, b))))
        must(len({segment for segment, _ in made[-1].members}) == a, why="a member twice")
    return made


def overrides(blocks: Blocks, n: int) -> list[Override]:
    must(n <= 4_096, "limit_exceeded", "overrides of a page")
    kinds, ids = blocks.column(n), blocks.ids(n, 16)
    copies, generations, lengths = blocks.column(n), blocks.column(n), blocks.column(n)
    must(max(lengths) <= 250, "limit_exceeded", "a Message-ID")
    must(max(copies) <= 255 and max(generations) <= 65_535, "limit_exceeded", "an address")
    must(all(kind in (1, 2, 5) for kind in kinds), why="kind of an override")
    names = blocks.strings(lengths)
    must(all(MESSAGE_ID.fullmatch(name) for name in names), why="no Message-ID")
    places = [Address(*row) for row in zip(kinds, ids, copies, generations, strict=True)]
    must(all(a.encode() < b.encode() for a, b in itertools.pairwise(places)), why="order of overrides")
    return [Override(at, name.decode()) for at, name in zip(places, names, strict=True)]


def read_list_page(page: bytes, home: bytes) -> tuple[int, int, Branches | Rows]:
    """Tree, level, and branches (place, rows) of a root page or rows of a page."""
    tree, level, count, blocks = open_page(page)
    must(tree in (STRIPES, OVERRIDES) and level <= 1, why="no page of a list")
    found: Branches | Rows
    if level:
        must(count <= 32_768, "limit_exceeded", "pages of a list")
        counts = blocks.column(count)
        places = blocks.refs(count, home)
        must(all(counts) and len({place[:2] for place in places}) == count, why="pages of a list")
        found = list(zip(places, counts, strict=True))
    else:
        found = stripes(blocks, count) if tree == STRIPES else overrides(blocks, count)
    must(blocks.at == len(page), why="bytes after the page")
    return tree, level, found


def pages_of_list(tree: int, root: Place, load: Load) -> Branches:
    """The root page: where the pages of rows are, and how many rows each has."""
    found, level, branches = read_list_page(stored_page(load, root), root[0])
    must((found, level) == (tree, 1), why="no root page of this list")
    return branches


def rows_of_page(tree: int, place: Place, promised: int, load: Load) -> Rows:
    found, level, rows = read_list_page(stored_page(load, place), place[0])
    must((found, level, len(rows)) == (tree, 0, promised), why="not the page that its root page promises")
    return rows


def list_rows(tree: int, root: Place, load: Load, strict: bool = False) -> Iterator[Stripe | Override]:
    """All rows; pages that cannot be had are left out, unless ``strict``."""
    for place, promised in pages_of_list(tree, root, load):
        try:
            rows = rows_of_page(tree, place, promised, load)
        except Refused:
            if strict:
                raise
            continue
        yield from rows
