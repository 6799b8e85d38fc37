"""The rows of a restore's plan, and what is made of them."""

from dataclasses import dataclass
from typing import Any

from usenetsyncd.folders.attributes import Attributes, pack_attributes
from usenetsyncd.model import Entry, EntryKind, SegmentId

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE item (
  id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, hash BLOB NOT NULL, target BLOB NOT NULL,
  link_group BLOB NOT NULL, sparse INTEGER NOT NULL, attributes INTEGER NOT NULL DEFAULT 0,
  state INTEGER NOT NULL DEFAULT 0, part TEXT, reason TEXT
);
CREATE TABLE attributes (id INTEGER PRIMARY KEY, packed BLOB NOT NULL UNIQUE);
CREATE TABLE lost_page (last BLOB PRIMARY KEY, entries INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segment (id INTEGER PRIMARY KEY, seg_id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL DEFAULT 0);
CREATE TABLE need (
  segment INTEGER NOT NULL, item INTEGER NOT NULL, position INTEGER NOT NULL,
  offset INTEGER NOT NULL, length INTEGER NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (segment, item, position)
) WITHOUT ROWID;
CREATE INDEX need_by_item ON need (item);
CREATE INDEX item_by_kind ON item (kind, path);
CREATE INDEX item_by_state ON item (state) WHERE state IN (2, 3);
CREATE INDEX item_by_link ON item (link_group, hash, size, state) WHERE link_group != x'';
"""

ENTRY_COLUMNS = (
    "path",
    "kind",
    "size",
    "mtime_ns",
    "mode",
    "hash",
    "target",
    "link_group",
    "sparse",
    "attributes",
)
ITEM_COLUMNS = ", ".join(f"item.{column}" for column in ("id", *ENTRY_COLUMNS, "part"))
_KINDS = {int(kind): kind for kind in EntryKind}


@dataclass(frozen=True, slots=True)
class Part:
    """``length`` bytes at ``offset`` of a segment, which stand ``times`` times in a row at ``position`` of a file."""

    segment: SegmentId
    position: int
    offset: int
    length: int
    times: int


@dataclass(frozen=True, slots=True)
class Item:
    """One path to restore; its entry without extents, owner and xattrs. attributes: where those are, 0 for none."""

    id: int
    entry: Entry
    part: str | None
    attributes: int


@dataclass(frozen=True, slots=True)
class Need:
    """A part of a segment that belongs into a file, ``times`` times in a row."""

    item: Item
    position: int
    offset: int
    length: int
    times: int


def row_of(entry: Entry, attributes: int) -> tuple[object, ...]:
    """The values of ``ENTRY_COLUMNS``. attributes: the row of its set of attributes, 0 for none."""
    return (
        entry.path,
        int(entry.kind),
        entry.size,
        entry.mtime_ns,
        entry.mode,
        entry.content_hash,
        entry.target,
        entry.link_group,
        entry.sparse,
        attributes,
    )


def item_of(row: tuple[Any, ...]) -> Item:
    """From the values of ``ITEM_COLUMNS``, more may follow."""
    entry = Entry(row[1], _KINDS[row[2]], row[3], row[4], row[5], row[6], (), row[7], row[8], bool(row[9]))
    return Item(row[0], entry, row[11], row[10])


def packed_attributes(entry: Entry) -> bytes:
    """Owner and xattrs as the plan keeps them, b"" for none."""
    if entry.owner is None and not entry.xattrs:
        return b""
    return pack_attributes(Attributes(entry.owner, entry.xattrs))
