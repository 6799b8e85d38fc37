"""Vectors of the lists of stripes and overrides, put together by hand like those of the core index."""

from collections.abc import Sequence

from tests.vectors.page_bytes import (
    HOME,
    SEG_A,
    SEG_B,
    SELF,
    Sections,
    Segments,
    column,
    header,
    leaf,
    page,
    refs,
)
from tests.vectors.samples import OK, Vector, error, spec_of

STRIPES, OVERRIDES = 3, 4
BAD, LIMIT, NEWER = "format_error", "limit_exceeded", "newer_format"


def seg(number: int) -> bytes:
    """A segment id that is easy to see."""
    return bytes((number,)) * 16


_Stripe = tuple[list[tuple[bytes, int]], list[bytes]]
TWO_STRIPES: list[_Stripe] = [
    ([(seg(1), 768_000), (seg(2), 5), (seg(3), 70_000)], [seg(0x81), seg(0x82)]),
    ([(seg(4), 1)], [seg(0x83)]),
]
_Override = tuple[int, bytes, int, int, bytes]
FOUR_OVERRIDES: list[_Override] = [
    (1, seg(1), 0, 0, b"<a@b>"),
    (1, seg(1), 0, 1, b"<part1of1.x$y-z@news.example>"),
    (2, seg(0), 3, 65_535, b"<!~@[127.0.0.1]>"),
    (5, seg(0x81), 255, 0, b"<" + b"x" * 248 + b">"),
]


def stripe_page(stripes: Sequence[_Stripe]) -> Sections:
    members = [member for one, _ in stripes for member in one]
    return {
        "header": header(STRIPES, 0, len(stripes)),
        "data": column([len(one) for one, _ in stripes]),
        "parity": column([len(other) for _, other in stripes]),
        "lengths": column([length for _, length in members]),
        "members": b"".join(segment for segment, _ in members),
        "others": b"".join(segment for _, other in stripes for segment in other),
    }


def override_page(overrides: Sequence[_Override]) -> Sections:
    return {
        "header": header(OVERRIDES, 0, len(overrides)),
        "kinds": column([one[0] for one in overrides]),
        "ids": b"".join(one[1] for one in overrides),
        "copies": column([one[2] for one in overrides]),
        "generations": column([one[3] for one in overrides]),
        "sizes": column([len(one[4]) for one in overrides]),
        "names": b"".join(one[4] for one in overrides),
    }


def root_page(tree: int, counts: Sequence[int], below: Sequence[tuple[bytes, int, int]]) -> Sections:
    return {"header": header(tree, 1, len(counts)), "counts": column(counts)} | refs(below)


def _shown_stripe(one: _Stripe) -> Vector:
    return {
        "members": [[segment.hex(), length] for segment, length in one[0]],
        "parity": [segment.hex() for segment in one[1]],
    }


def _shown_override(one: _Override) -> Vector:
    at = {"kind": one[0], "id": one[1].hex(), "copy": one[2], "generation": one[3]}
    return {"at": at, "message_id": one[4].decode()}


def _page(raw: bytes) -> Vector:
    return {"do": "page", "home": HOME.hex(), "page": spec_of(raw)}


def make_lists() -> list[Vector]:
    """Single pages, then whole lists."""
    stripes = _page(page(stripe_page(TWO_STRIPES))) | {"rows": list(map(_shown_stripe, TWO_STRIPES))} | OK
    overrides = _page(page(override_page(FOUR_OVERRIDES)))
    overrides |= {"rows": list(map(_shown_override, FOUR_OVERRIDES))} | OK
    return [stripes, *_bad_stripes(), overrides, *_bad_overrides(), *_roots(), *_lists()]


def _bad_stripes() -> list[Vector]:
    whole = stripe_page(TWO_STRIPES)
    raw = page(whole)
    vectors = []
    for content, code, why in (
        (raw[:-1], BAD, "a page cut in its last byte"),
        (raw + b"\0", BAD, "a byte too many"),
        (b"\2" + raw[1:], NEWER, "version 2"),
        (raw[:1] + b"\5" + raw[2:], NEWER, "tree 5"),
        (raw[:2] + b"\2" + raw[3:], BAD, "a list of level 2"),
        (raw[:4] + b"\0\0\2\1" + raw[8:], LIMIT, "513 stripes"),
        (raw[:4] + b"\xff\xff\xff\xff" + raw[8:], LIMIT, "2^32 - 1 stripes"),
        (page(whole, data=column([4, 0])), BAD, "a stripe without data"),
        (page(whole, parity=column([3, 0])), BAD, "a stripe without parity"),
        (page(whole, data=column([129, 1])), LIMIT, "129 data segments"),
        (page(whole, parity=column([2, 129])), LIMIT, "129 parity segments"),
        (page(whole, data=column([4, 1])), BAD, "a member more than there is"),
        (page(whole, lengths=column([768_000, 0, 70_000, 1])), BAD, "a segment of no bytes"),
        (page(whole, lengths=column([768_001, 5, 70_000, 1])), BAD, "a segment of 768,001 bytes"),
        (page(whole, lengths=column([2**64 - 1, 5, 70_000, 1])), BAD, "a segment of 2^64 - 1 bytes"),
        (page(whole, members=seg(1) + seg(1) + seg(3) + seg(4)), BAD, "one member twice"),
    ):
        vectors.append(_page(content) | error(code, why))
    return vectors


def _bad_overrides() -> list[Vector]:
    whole = override_page(FOUR_OVERRIDES)
    raw = page(whole)
    vectors = []
    for content, code, why in (
        (raw[:-1], BAD, "a page cut in its last byte"),
        (raw + b"\0", BAD, "a byte too many"),
        (raw[:4] + b"\0\0\x10\1" + raw[8:], LIMIT, "4,097 overrides"),
        (page(whole, kinds=column([1, 1, 3, 5])), BAD, "an override of a head"),
        (page(whole, kinds=column([1, 1, 4, 5])), BAD, "an override of an envelope"),
        (page(whole, kinds=column([0, 1, 2, 5])), BAD, "an override of kind 0"),
        (page(whole, copies=column([0, 0, 3, 256])), LIMIT, "copy 256"),
        (page(whole, generations=column([0, 1, 65_536, 0])), LIMIT, "generation 65,536"),
        (page(whole, generations=column([0, 0, 65_535, 0])), BAD, "one address twice"),
        (page(whole, generations=column([1, 0, 65_535, 0])), BAD, "addresses out of order"),
        (page(whole, kinds=column([1, 2, 1, 5])), BAD, "kinds out of order"),
        (_named(b"<" + b"x" * 249 + b">"), LIMIT, "a Message-ID of 251 bytes"),
        (_named(b"<>"), BAD, "a Message-ID of nothing"),
        (_named(b"a@b"), BAD, "a Message-ID without its brackets"),
        (_named(b"<a@b> <c@d>"), BAD, "two Message-IDs"),
        (_named(b"<a@b>\r\nQUIT"), BAD, "a command after the Message-ID"),
        (_named(b"<a\r\nQUIT>"), BAD, "a command inside of the Message-ID"),
        (_named(b"<a<@b>"), BAD, "a bracket inside of the Message-ID"),
        (_named(b"<a\0b>"), BAD, "a NUL"),
        (_named("<\u00e9@b>".encode()), BAD, "a letter that is not ASCII"),
        (_named(b""), BAD, "an empty Message-ID"),
    ):
        vectors.append(_page(content) | error(code, why))
    return vectors


def _named(message_id: bytes) -> bytes:
    return page(override_page([(1, seg(1), 0, 0, message_id)]))


def _roots() -> list[Vector]:
    below = [(SEG_A, 0, 100), (SEG_B, 5, 10), (SELF, 200, 30)]
    branches = [[SEG_A.hex(), 0, 100, 128], [SEG_B.hex(), 5, 10, 128], [HOME.hex(), 200, 30, 7]]
    whole = root_page(STRIPES, [128, 128, 7], below)
    raw = page(whole)
    others = page(root_page(OVERRIDES, [128, 128, 7], below))
    vectors = [_page(raw) | {"branches": branches} | OK, _page(others) | {"branches": branches} | OK]
    twice = root_page(STRIPES, [1, 1], [(SEG_A, 0, 100), (SEG_A, 100, 10)]) | {"ref_gaps": column([0, 199])}
    for content, code, why in (
        (raw[:-1], BAD, "a root page cut in its last byte"),
        (raw + b"\0", BAD, "a byte too many"),
        (page(whole, counts=column([128, 0, 7])), BAD, "a page of no rows"),
        (raw[:4] + b"\0\0\x80\1" + raw[8:], LIMIT, "32,769 pages"),
        (page(twice), BAD, "one page named twice"),
        (page(whole, ref_lengths=column([100, 0, 30])), BAD, "a page of no length"),
    ):
        vectors.append(_page(content) | error(code, why))
    return vectors


# -- whole lists ------------------------------------------------------------------------------


def _list(tree: int, segments: Segments, root: tuple[bytes, int, int]) -> Vector:
    contents = {identity.hex(): spec_of(content) for identity, content in segments.contents.items()}
    return {"do": "list", "tree": tree, "segments": contents, "root": [root[0].hex(), *root[1:]]}


def _two_pages(
    counts: tuple[int, int] = (1, 1), second: bytes | None = None, tree: int = STRIPES
) -> tuple[Segments, tuple[bytes, int, int]]:
    """A page in segment 1; one beside the root page in segment 2."""
    segments = Segments()
    one = segments.put(1, page(stripe_page(TWO_STRIPES[:1])))
    two = segments.put(2, page(stripe_page(TWO_STRIPES[1:])) if second is None else second)
    root = segments.put(2, page(root_page(tree, counts, [one, (SELF, *two[1:])])))
    return segments, root


def _lists() -> list[Vector]:
    shown = list(map(_shown_stripe, TWO_STRIPES))
    segments = Segments()
    parts = [segments.put(1, page(override_page(part))) for part in (FOUR_OVERRIDES[2:], FOUR_OVERRIDES[:2])]
    root = segments.put(1, page(root_page(OVERRIDES, [2, 2], [(SELF, *part[1:]) for part in parts])))
    rows = list(map(_shown_override, [*FOUR_OVERRIDES[2:], *FOUR_OVERRIDES[:2]]))
    vectors = [
        _list(STRIPES, *_two_pages()) | {"rows": shown} | OK,
        _list(OVERRIDES, segments, root) | {"rows": rows} | OK,
    ]
    overrides = page(override_page(FOUR_OVERRIDES[:1]))
    inner = page(root_page(STRIPES, [1], [(SEG_A, 0, 10)]))
    for tree, made, why in (
        (STRIPES, _two_pages((1, 2)), "a page of fewer rows than promised"),
        (STRIPES, _two_pages((2, 1)), "a page of fewer rows than promised"),
        (STRIPES, _two_pages(second=overrides), "a page of overrides in a list of stripes"),
        (STRIPES, _two_pages(second=inner), "a root page below a root page"),
        (STRIPES, _two_pages(second=page(leaf([b"a"]))), "a page of entries in a list"),
        (STRIPES, _two_pages(tree=OVERRIDES), "a list of overrides where one of stripes should be"),
        (OVERRIDES, _two_pages(), "a list of stripes where one of overrides should be"),
    ):
        vectors.append(_list(tree, *made) | error(BAD, why))
    segments, root = _two_pages()
    vectors.append(
        _list(STRIPES, segments, (root[0], 0, root[1])) | error(BAD, "a page of rows where a list begins")
    )
    vectors.append(
        _list(STRIPES, segments, (root[0], root[1], root[2] - 1)) | error(BAD, "a reference too short")
    )
    return [*vectors, _cycle()]


def _cycle() -> Vector:
    """A root page that names itself."""
    size = 1
    for _ in range(3):
        segments = Segments()
        root = segments.put(1, page(root_page(STRIPES, [1], [(SELF, 0, size)])))
        size = root[2]
    return _list(STRIPES, segments, root) | error(BAD, "a root page below itself")
