"""Leaf pages of the core index: entries to bytes and back. Source: docs/format.md, "Core index pages"."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, pairwise

from usenetsyncd.errors import FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import (
    Entry,
    EntryKind,
    Extent,
    Owner,
    SegmentId,
    SpilledExtents,
)
from usenetsyncd.wire.columns import ENTRY_TREE, MAX_PATH_BYTES, Locate, PageReader, PageWriter

MAX_LEAF_ENTRIES = 4096
MAX_INLINE_EXTENTS = 256
MAX_LEAF_EXTENTS = 32_768
MAX_EXTENTS = 1 << 28  # of one file: 200 TB in whole segments
MAX_LEAF_XATTRS = 32_768
MAX_XATTRS = 1024  # of one entry
MAX_XATTR_BYTES = 131_072  # names and values of one entry
MAX_XATTR_NAME_BYTES = 255
MAX_TARGET_BYTES = 4096
MAX_SIZE_BYTES = (1 << 63) - 1
MAX_OWNER_ID = (1 << 32) - 1

SPARSE = 0x04
LINKED = 0x08
OWNED = 0x10
XATTRS = 0x20
SPILLED = 0x40
_KIND = 0x03
_KNOWN = 0x7F

_MAX_MODE = 0o7777
_SECOND_NS = 1_000_000_000
_NO_XATTRS: tuple[tuple[bytes, bytes], ...] = ()

# -- what may be an entry -----------------------------------------------------------------


def admit_entry(entry: Entry) -> Entry:
    """The entry as an index keeps it: without the size and holes that a filesystem gives to what is no file.

    Raises FormatError or LimitExceeded for an entry that the format cannot hold. What an ExtentStream adds up to is
    checked when it is written.
    """
    if entry.kind is not EntryKind.FILE and (entry.size or entry.sparse):
        entry = replace(entry, size=0, sparse=False)
    _check_entry(entry)
    return entry


def _check_entry(entry: Entry) -> None:
    if len(entry.path) > MAX_PATH_BYTES:
        raise LimitExceeded(f"a path of {len(entry.path):,} bytes")
    if entry.kind is EntryKind.FILE:
        _check_content(entry)
    elif entry.content_hash or entry.extents:
        raise FormatError(f"{entry.path!r} is no file, yet has content")
    if (entry.kind is EntryKind.SYMLINK) != bool(entry.target):
        raise FormatError(f"{entry.path!r}: a symlink has a target, and only a symlink")
    if not 0 <= entry.mode <= _MAX_MODE:
        raise FormatError(f"{entry.path!r} has mode {entry.mode:#o}")
    if not -(1 << 63) <= entry.mtime_ns < 1 << 63:
        raise LimitExceeded(f"{entry.path!r} has a time of {entry.mtime_ns:,} ns")
    if entry.target or entry.link_group or entry.owner or entry.xattrs:
        _check_rare(entry)


def _check_content(entry: Entry) -> None:
    extents = entry.extents
    if not 0 <= entry.size <= MAX_SIZE_BYTES:
        raise LimitExceeded(f"{entry.path!r} has a size of {entry.size:,} bytes")
    if len(entry.content_hash) != (16 if entry.size else 0):
        raise FormatError(f"{entry.path!r} has a content hash of {len(entry.content_hash)} bytes")
    if not isinstance(extents, tuple):
        return
    total = extents[0].length if len(extents) == 1 else sum(extent.length for extent in extents)
    if total != entry.size:
        raise FormatError(f"{entry.path!r} has {entry.size:,} bytes but its extents do not")


def _check_rare(entry: Entry) -> None:
    if len(entry.target) > MAX_TARGET_BYTES:
        raise LimitExceeded(f"{entry.path!r} has a target of {len(entry.target):,} bytes")
    if len(entry.link_group) not in (0, 8):
        raise FormatError(f"{entry.path!r} has a link group of {len(entry.link_group)} bytes")
    owner = entry.owner
    if owner and not (0 <= owner.uid <= MAX_OWNER_ID and 0 <= owner.gid <= MAX_OWNER_ID):
        raise LimitExceeded(f"{entry.path!r} belongs to {owner}")
    if (
        len(entry.xattrs) > MAX_XATTRS
        or sum(len(name) + len(value) for name, value in entry.xattrs) > MAX_XATTR_BYTES
    ):
        raise LimitExceeded(f"{entry.path!r} has too many attributes")
    names = [name for name, _ in entry.xattrs]
    if names and (not min(map(len, names)) or max(map(len, names)) > MAX_XATTR_NAME_BYTES):
        raise LimitExceeded(f"{entry.path!r} has an attribute name without or with too many bytes")
    if any(first >= second for first, second in pairwise(names)):
        raise FormatError(f"{entry.path!r} has attributes out of order")


def entry_weight(entry: Entry) -> int:
    """An upper bound of an entry's bytes in a page before compression."""
    extents = entry.extents
    weight = 64 + len(entry.path) + len(entry.target)
    weight += 28 * len(extents) if isinstance(extents, tuple) else 64
    if entry.xattrs:
        weight += sum(16 + len(name) + len(value) for name, value in entry.xattrs)
    return weight


def entry_flags(entry: Entry) -> int:
    """The flag byte: kind in two bits, then what else the page holds of this entry."""
    return (
        entry.kind
        | (SPARSE if entry.sparse else 0)
        | (LINKED if entry.link_group else 0)
        | (OWNED if entry.owner else 0)
        | (XATTRS if entry.xattrs else 0)
        | (SPILLED if isinstance(entry.extents, SpilledExtents) else 0)
    )


# -- writing ------------------------------------------------------------------------------


def encode_leaf(entries: Sequence[Entry], locate: Locate) -> bytes:
    """A leaf page before compression, from checked entries in ascending order."""
    page = PageWriter(ENTRY_TREE, 0, len(entries))
    page.paths([entry.path for entry in entries])
    page.column([entry_flags(entry) for entry in entries])
    page.column([entry.mode for entry in entries])
    _write_times(page, entries)
    page.column([entry.size for entry in entries if entry.kind is EntryKind.FILE])
    page.blob(b"".join([entry.content_hash for entry in entries]))
    _write_extents(page, entries)
    _write_spilled(page, entries, locate)
    _write_rare(page, entries)
    return page.raw()


def _write_times(page: PageWriter, entries: Sequence[Entry]) -> None:
    """Differences to the entry before, as floor seconds and the nanoseconds left over.

    Whole-second times then cost no nanoseconds, and files written at one go no seconds.
    """
    seconds, rests = [], []
    previous = 0
    for entry in entries:
        quotient, rest = divmod(entry.mtime_ns - previous, _SECOND_NS)
        previous = entry.mtime_ns
        seconds.append(quotient << 1 if quotient >= 0 else -quotient * 2 - 1)
        rests.append(rest)
    page.column(seconds)
    page.column(rests)


def _write_extents(page: PageWriter, entries: Sequence[Entry]) -> None:
    """Extents of the files that have them here; the last one of a file needs no length."""
    lists = [entry.extents for entry in entries if entry.extents and isinstance(entry.extents, tuple)]
    every = list(chain.from_iterable(lists))
    page.column([len(extents) - 1 for extents in lists])
    page.column([extent.length for extents in lists for extent in extents[:-1]])
    page.places(
        [extent.segment for extent in every],
        [extent.offset for extent in every],
        [extent.length for extent in every],
    )


def _write_spilled(page: PageWriter, entries: Sequence[Entry], locate: Locate) -> None:
    spilled = [entry.extents for entry in entries if isinstance(entry.extents, SpilledExtents)]
    page.column([extents.count for extents in spilled])
    page.blob(b"".join([extents.digest for extents in spilled]))
    page.refs([extents.root for extents in spilled], locate)


def _write_rare(page: PageWriter, entries: Sequence[Entry]) -> None:
    targets = [entry.target for entry in entries if entry.target]
    page.column(list(map(len, targets)))
    page.blob(b"".join(targets))
    page.blob(b"".join([entry.link_group for entry in entries]))
    owners = [entry.owner for entry in entries if entry.owner]
    page.column([owner.uid for owner in owners])
    page.column([owner.gid for owner in owners])
    lists = [entry.xattrs for entry in entries if entry.xattrs]
    pairs = list(chain.from_iterable(lists))
    page.column([len(xattrs) - 1 for xattrs in lists])
    page.column([len(name) for name, _ in pairs])
    page.column([len(value) for _, value in pairs])
    page.blob(b"".join([name for name, _ in pairs]))
    page.blob(b"".join([value for _, value in pairs]))


# -- reading ------------------------------------------------------------------------------


def decode_leaf(page: PageReader, home: SegmentId) -> tuple[Entry, ...]:
    """The entries of a leaf page that stands in segment ``home``.

    Raises FormatError (LimitExceeded, NewerFormat) for anything ``encode_leaf`` would not write.
    """
    if page.count > MAX_LEAF_ENTRIES:
        raise LimitExceeded(f"an index page of {page.count:,} entries")
    paths = page.paths()
    flags = page.column(page.count)
    kinds = _check_flags(flags)
    modes = page.column(page.count)
    if max(modes) > _MAX_MODE:
        raise FormatError("an index page has a mode beyond 07777")
    times = _read_times(page)
    files = [flag for flag in flags if flag & _KIND == EntryKind.FILE]
    sizes = page.column(len(files))
    if sizes and max(sizes) > MAX_SIZE_BYTES:
        raise LimitExceeded("an index page has a size beyond 2^63 - 1")
    contents = _read_contents(page, files, sizes, home)
    targets, groups, owners, xattrs = _read_rare(page, flags)
    page.finish()
    entries: list[Entry] = []
    for path, flag, kind, mode, mtime_ns in zip(paths, flags, kinds, modes, times, strict=True):
        size, content_hash, extents = next(contents) if kind is EntryKind.FILE else (0, b"", ())
        if flag <= EntryKind.FOLDER:
            entries.append(Entry(path, kind, size, mtime_ns, mode, content_hash, extents))
            continue
        entries.append(
            Entry(
                path,
                kind,
                size,
                mtime_ns,
                mode,
                content_hash,
                extents,
                target=next(targets) if kind is EntryKind.SYMLINK else b"",
                link_group=next(groups) if flag & LINKED else b"",
                sparse=bool(flag & SPARSE),
                owner=next(owners) if flag & OWNED else None,
                xattrs=next(xattrs) if flag & XATTRS else _NO_XATTRS,
            )
        )
    return tuple(entries)


_KINDS = (None, EntryKind.FILE, EntryKind.FOLDER, EntryKind.SYMLINK)


def _check_flags(flags: Sequence[int]) -> list[EntryKind]:
    """The kind of each entry, and no flag that this version or this kind does not have."""
    kinds: list[EntryKind] = []
    for flag in flags:
        if flag > _KNOWN:
            raise NewerFormat("an index entry was made by a newer version of UsenetSync")
        kind = _KINDS[flag & _KIND]
        if kind is None or (kind is not EntryKind.FILE and flag & (SPARSE | SPILLED)):
            raise FormatError(f"an index entry has flags {flag:#04x}")
        kinds.append(kind)
    return kinds


def _read_times(page: PageReader) -> list[int]:
    times: list[int] = []
    time_ns = 0
    for second, rest in zip(page.column(page.count), page.column(page.count), strict=True):
        time_ns += (-(second + 1 >> 1) if second & 1 else second >> 1) * _SECOND_NS + rest
        if rest >= _SECOND_NS or not -(1 << 63) <= time_ns < 1 << 63:
            raise FormatError("an index page has an impossible time")
        times.append(time_ns)
    return times


_Content = tuple[int, bytes, tuple[Extent, ...] | SpilledExtents]


def _read_contents(
    page: PageReader, files: Sequence[int], sizes: Sequence[int], home: SegmentId
) -> Iterator[_Content]:
    """Size, hash and extents of each file, in order; everything is read and checked before it returns."""
    if any(flag & SPILLED and not size for flag, size in zip(files, sizes, strict=True)):
        raise FormatError("an empty file with extents")
    hashes = iter(page.ids(len(sizes) - sizes.count(0)))
    inline = iter(
        _read_extents(
            page,
            [size for flag, size in zip(files, sizes, strict=True) if size and not flag & SPILLED],
        )
    )
    spilled = iter(_read_spilled(page, sum(flag & SPILLED > 0 for flag in files), home))
    contents: list[_Content] = []
    for flag, size in zip(files, sizes, strict=True):
        if not size:
            contents.append((0, b"", ()))
        elif flag & SPILLED:
            contents.append((size, next(hashes), next(spilled)))
        else:
            contents.append((size, next(hashes), next(inline)))
    return iter(contents)


def _read_extents(page: PageReader, sizes: Sequence[int]) -> list[tuple[Extent, ...]]:
    counts = [count + 1 for count in page.column(len(sizes))]
    total = sum(counts)
    if total > MAX_LEAF_EXTENTS or max(counts, default=0) > MAX_INLINE_EXTENTS:
        raise LimitExceeded(f"an index page of {total:,} extents")
    if total == len(counts):  # one each
        page.column(0)
        lengths = list(sizes)
    else:
        lengths = _fill_lengths(sizes, counts, iter(page.column(total - len(counts))))
    segments, offsets = page.places(lengths)
    extents = map(Extent, map(SegmentId, segments), offsets, lengths)
    return [tuple(islice(extents, count)) for count in counts]


def _fill_lengths(sizes: Sequence[int], counts: Sequence[int], written: Iterator[int]) -> list[int]:
    """The length of every extent: all but each file's last are written."""
    lengths: list[int] = []
    for size, count in zip(sizes, counts, strict=True):
        first = list(islice(written, count - 1))
        last = size - sum(first)
        if last <= 0:
            raise FormatError("the extents of a file are longer than the file")
        lengths += first
        lengths.append(last)
    return lengths


def _read_spilled(page: PageReader, count: int, home: SegmentId) -> list[SpilledExtents]:
    counts = page.column(count)
    if counts and min(counts) <= MAX_INLINE_EXTENTS:
        raise FormatError("extents stand apart that belong into the entry")
    if max(counts, default=0) > MAX_EXTENTS:
        raise LimitExceeded(f"a file of {max(counts):,} extents")
    digests = page.ids(count)
    return list(map(SpilledExtents, page.refs(count, home), counts, digests))


_Rare = tuple[Iterator[bytes], Iterator[bytes], Iterator[Owner], Iterator[tuple[tuple[bytes, bytes], ...]]]


def _read_rare(page: PageReader, flags: Sequence[int]) -> _Rare:
    """Targets, link groups, owners and attributes, each in the order of the entries that have them."""
    sizes = page.column(sum(flag & _KIND == EntryKind.SYMLINK for flag in flags))
    if sizes and (not min(sizes) or max(sizes) > MAX_TARGET_BYTES):
        raise LimitExceeded("a symlink's target is empty or too long")
    targets = page.strings(sizes)
    groups = page.ids(sum(flag & LINKED > 0 for flag in flags), 8)
    owned = sum(flag & OWNED > 0 for flag in flags)
    uids, gids = page.column(owned), page.column(owned)
    if owned and max(*uids, *gids) > MAX_OWNER_ID:
        raise LimitExceeded("an owner beyond 32 bits")
    xattrs = _read_xattrs(page, sum(flag & XATTRS > 0 for flag in flags))
    return iter(targets), iter(groups), map(Owner, uids, gids), iter(xattrs)


def _read_xattrs(page: PageReader, count: int) -> list[tuple[tuple[bytes, bytes], ...]]:
    counts = [one + 1 for one in page.column(count)]
    total = sum(counts)
    if total > MAX_LEAF_XATTRS or max(counts, default=0) > MAX_XATTRS:
        raise LimitExceeded(f"an index page of {total:,} attributes")
    name_sizes, value_sizes = page.column(total), page.column(total)
    if total and (not min(name_sizes) or max(name_sizes) > MAX_XATTR_NAME_BYTES):
        raise LimitExceeded("an attribute name is empty or too long")
    pairs = zip(page.strings(name_sizes), page.strings(value_sizes), strict=True)
    lists = [tuple(islice(pairs, one)) for one in counts]
    for xattrs in lists:
        if sum(len(name) + len(value) for name, value in xattrs) > MAX_XATTR_BYTES:
            raise LimitExceeded("an entry has too many bytes of attributes")
        if any(first[0] >= second[0] for first, second in pairwise(xattrs)):
            raise FormatError("attributes are out of order")
    return lists
