"""The list of overrides: articles that a server gave another Message-ID than the one derived from their address.

Source: docs/format.md 17 (overrides); vectors/lists.json.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from usenetsyncd.errors import FormatError, LimitExceeded
from usenetsyncd.model import ArticleAddress, ArticleKind, MessageId
from usenetsyncd.wire.columns import OVERRIDE_LIST, PageReader, PageWriter
from usenetsyncd.wire.keys import encode_address
from usenetsyncd.wire.page_lists import ListFormat

MAX_OVERRIDES = 4_096
FULL_OVERRIDES = 1_024
MAX_MESSAGE_ID_BYTES = 250  # RFC 3977, 3.6

OVERRIDDEN_KINDS = frozenset({ArticleKind.DATA, ArticleKind.INDEX, ArticleKind.PARITY})
"""Those that are looked for through the list; to find the list itself, a head must be found without it."""

# It is sent to servers in commands: nothing but what RFC 3977 allows, or a reader could be made to say anything.
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,248}>")


@dataclass(frozen=True, slots=True)
class Override:
    """Where the article of an address really is."""

    at: ArticleAddress
    message_id: MessageId


def sorted_overrides(overrides: Iterable[Override]) -> list[Override]:
    """In the order that a page wants, each address once (the last one given counts)."""
    by_place = {encode_address(override.at): override for override in overrides}
    return [by_place[place] for place in sorted(by_place)]


def can_override(override: Override) -> bool:
    """Whether the format can hold it: of a kind that is looked for, under an id that may be sent to a server."""
    raw = override.message_id.encode("utf-8", "replace")
    return override.at.kind in OVERRIDDEN_KINDS and _MESSAGE_ID.fullmatch(raw) is not None


def _write(page: PageWriter, overrides: Sequence[Override]) -> None:
    ordered = sorted_overrides(overrides)
    if len(ordered) != len(overrides) or not all(map(can_override, ordered)):
        raise FormatError("an override twice, or one that no reader would take")
    names = [override.message_id.encode("ascii") for override in ordered]
    page.column([int(override.at.kind) for override in ordered])
    page.blob(b"".join([override.at.id for override in ordered]))
    page.column([override.at.copy for override in ordered])
    page.column([override.at.generation for override in ordered])
    page.column(list(map(len, names)))
    page.blob(b"".join(names))


def _read(page: PageReader) -> list[Override]:
    kinds, ids = page.column(page.count), page.ids(page.count)
    copies, generations = page.column(page.count), page.column(page.count)
    sizes = page.column(page.count)
    if max(sizes) > MAX_MESSAGE_ID_BYTES or max(copies) > 0xFF or max(generations) > 0xFFFF:
        raise LimitExceeded("an override beyond the limits of an address or a Message-ID")
    if not OVERRIDDEN_KINDS.issuperset(kinds):
        raise FormatError("an override of an article that has none")
    names = page.strings(sizes)
    if not all(map(_MESSAGE_ID.fullmatch, names)):
        raise FormatError("an override that is no Message-ID")
    places = [
        ArticleAddress(ArticleKind(kind), id_, copy, generation)
        for kind, id_, copy, generation in zip(kinds, ids, copies, generations, strict=True)
    ]
    if any(a >= b for a, b in pairwise(map(encode_address, places))):
        raise FormatError("overrides of a page are not in order")
    return [Override(at, MessageId(name.decode("ascii"))) for at, name in zip(places, names, strict=True)]


OVERRIDES: ListFormat[Override] = ListFormat(
    OVERRIDE_LIST, MAX_OVERRIDES, FULL_OVERRIDES, _write, _read, sorted_overrides
)
