"""Rebuild what an installation knew of a folder from news servers alone: its versions, files and segments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rebuilding import PublishedVersion
from usenetsyncd.errors import ArticleMissing, FormatError
from usenetsyncd.flows.abreast import newest_posted
from usenetsyncd.flows.epochs import Epochs
from usenetsyncd.flows.index_reader import IndexReader, LostPage, surviving_entries
from usenetsyncd.flows.locate import Located, read_head
from usenetsyncd.flows.restore_index import check_entry
from usenetsyncd.flows.restore_rows import packed_attributes
from usenetsyncd.model import ArticleAddress, ArticleKind, Entry, Extent, Presence, RelativePath, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.directory import FolderRecord
from usenetsyncd.wire.extent_tree import iter_extents
from usenetsyncd.wire.head import Head
from usenetsyncd.wire.keys import folder_secret, message_id_of, signing_key
from usenetsyncd.wire.overrides import OVERRIDES
from usenetsyncd.wire.stripes import STRIPES

log = structlog.get_logger("recover")

ENTRIES_AT_ONCE = 1_000
EXTENTS_AT_ONCE = 20_000
STRIPES_AT_ONCE = 32
# Older heads that are read so that their versions can be named; the rest stay on the servers all the same.
VERSIONS_READ = 1_000
_ANY_SIZE = 1 << 62


@dataclass(frozen=True, slots=True)
class RecoveredFolder:
    """What came back of one folder. version: 0 when nothing of it was ever published. lost: sentences."""

    name: str
    path: bytes
    version: int
    versions: int
    files: int
    size_bytes: int
    lost: tuple[str, ...] = ()


def recover_folder(
    news: NewsService,
    catalogue: Catalogue,
    master: bytes,
    record: FolderRecord,
    root: bytes,
    check_stop: Callable[[], None] = lambda: None,
) -> RecoveredFolder:
    """Write the rows of one folder; a run that was interrupted is begun anew. root: where it is on this machine.

    Raises NewsError when servers do not answer, NewerFormat, IndexLost.
    """
    secret = folder_secret(master, record.uid)
    epochs = Epochs(secret, signing_key(secret).fingerprint)
    row = catalogue.folders.ensure(record.name, root, record.uid)
    catalogue.rebuilding.forget(row.id)
    newest = newest_posted(news, epochs, record.epoch, max(0, record.version - 1)) or newest_posted(
        news, epochs, 1, 0
    )
    if newest is None:
        catalogue.folders.set_epoch(row.id, record.epoch).result()
        lost = ("its versions are on no server any more",) if record.version else ()
        return RecoveredFolder(record.name, root, 0, 0, 0, 0, lost)
    head = newest.head
    lost_pages: list[LostPage] = []
    told: list[str] = []
    load = IndexReader(news, epochs.rings(head.epoch)).load
    entries = surviving_entries(head.root, load, RelativePath(b""), lost_pages.append)
    prepared = _prepared(entries, load, told, check_stop)

    def epochs_of(kind: ArticleKind, segments: set[SegmentId]) -> dict[SegmentId, int]:
        return _epochs_of(news, epochs, head, kind, segments) if head.older else {}

    while chunk := _chunk(prepared):
        segments = {extent.segment for _, extents, _ in chunk for extent in extents}
        catalogue.rebuilding.add(row.id, head.epoch, chunk, epochs_of(ArticleKind.DATA, segments))
    _recover_lists(catalogue, row.id, head, load, epochs_of, told)
    versions = [_published(newest), *_older(news, epochs, newest, check_stop)]
    catalogue.rebuilding.finish(row.id, versions)
    told += [f"a page of its index is lost: {page.entries:,} entries are not known" for page in lost_pages]
    log.info("folder_recovered", folder=record.name, version=head.version, files=head.files, lost=len(told))
    return RecoveredFolder(
        record.name, root, head.version, len(versions), head.files, head.bytes_total, tuple(told)
    )


_Prepared = tuple[Entry, tuple[Extent, ...], bytes | None]


def _prepared(
    entries: Iterator[Entry],
    load: Callable[..., bytes],
    told: list[str],
    check_stop: Callable[[], None],
) -> Iterator[_Prepared]:
    """Entries with all their extents; those whose extents are lost are left out, and so read and posted anew."""
    for entry in entries:
        check_stop()
        try:
            check_entry(entry, _ANY_SIZE)
            extents = tuple(iter_extents(entry, load))
        except (FormatError, ArticleMissing) as error:
            told.append(f"{entry.path.decode('utf-8', 'backslashreplace')}: {error}")
            continue
        yield entry, extents, packed_attributes(entry) or None


def _chunk(prepared: Iterator[_Prepared]) -> list[_Prepared]:
    chunk: list[_Prepared] = []
    extents = 0
    for one in islice(prepared, ENTRIES_AT_ONCE):
        chunk.append(one)
        extents += len(one[1])
        if extents > EXTENTS_AT_ONCE:
            break
    return chunk


def _epochs_of(
    news: NewsService, epochs: Epochs, head: Head, kind: ArticleKind, segments: set[SegmentId]
) -> dict[SegmentId, int]:
    """In which epoch each was sealed the index does not say; servers do."""
    found: dict[SegmentId, int] = {}
    left = set(segments)
    for epoch in range(head.epoch, 0, -1):
        location = epochs.keys(epoch).location
        names = {message_id_of(location, ArticleAddress(kind, one)): one for one in left}
        presence = news.stat(list(names)) if names else {}
        for name, one in names.items():
            if presence[name] is Presence.PRESENT:
                left.discard(one)
                found[one] = epoch
    return found


def _recover_lists(
    catalogue: Catalogue,
    row: int,
    head: Head,
    load: Callable[..., bytes],
    epochs_of: Callable[[ArticleKind, set[SegmentId]], dict[SegmentId, int]],
    told: list[str],
) -> None:
    """Stripes and overrides. Where such a list is lost, parity is made anew and ids are learnt anew."""
    try:
        stripes = STRIPES.read(head.stripes, load)
        while some := list(islice(stripes, STRIPES_AT_ONCE)):
            known = epochs_of(ArticleKind.PARITY, {one for stripe in some for one in stripe.parity})
            known |= epochs_of(ArticleKind.DATA, {one.segment for stripe in some for one in stripe.members})
            for stripe in some:
                catalogue.rebuilding.add_stripe(row, head.version, head.epoch, stripe, known)
        for override in OVERRIDES.read(head.overrides, load):
            catalogue.rebuilding.add_override(row, head.version, override)
    except (FormatError, ArticleMissing) as error:
        told.append(f"not all that is known of its parity came back: {error}")


def _published(located: Located) -> PublishedVersion:
    head = located.head
    return PublishedVersion(
        head.version,
        head.epoch,
        float(head.created_s),
        located.head_hash,
        head.root,
        head.files,
        head.folders,
        head.bytes_total,
    )


def _older(
    news: NewsService, epochs: Epochs, newest: Located, check_stop: Callable[[], None]
) -> Iterator[PublishedVersion]:
    """The versions before, the newest first; one whose head is lost is left out."""
    epoch = newest.head.epoch
    for version in range(newest.head.version - 1, max(0, newest.head.version - 1 - VERSIONS_READ), -1):
        check_stop()
        for one in range(epoch, 0, -1):
            keys = epochs.keys(one)
            try:
                located = read_head(news, (keys,), keys.fingerprint, one, version)
            except (ArticleMissing, FormatError):
                continue
            epoch = one
            yield _published(located)
            break
