"""Publish a version: take the ready changes, write the pages they touch, sign a head over the result.

The pages and the head are queued like any other article; the head leaves only after the last page is on a
server. What a crash interrupts is given up while nothing of its head can have been posted, else seen through.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import VersionRow, VersionState
from usenetsyncd.clock import Clock
from usenetsyncd.errors import FormatError, NotFound, UnsafePath
from usenetsyncd.flows.epochs import Epochs
from usenetsyncd.flows.rebuild import CatalogueStripes
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.folders.attributes import unpack_attributes
from usenetsyncd.folders.safety import check_path
from usenetsyncd.model import (
    ArticleAddress,
    ArticleKind,
    Entry,
    Owner,
    PageRef,
    Priority,
    RelativePath,
    SegmentId,
)
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.head import Head, OlderEpoch, decode_head, encode_head, head_address, head_hash
from usenetsyncd.wire.keys import ReadKeys, SigningKey
from usenetsyncd.wire.overrides import OVERRIDES, can_override
from usenetsyncd.wire.pages import admit_entry, update_tree_into
from usenetsyncd.wire.segment import content_hash, segment_id
from usenetsyncd.wire.segments_out import IndexSegments
from usenetsyncd.wire.stripes import STRIPES

log = structlog.get_logger("publish")

# A head says when the next one is due at the latest; they are re-published weekly, so this allows for a holiday.
HEAD_VALID_S = 30 * 86_400
NO_HEAD = bytes(32)
CACHED_SEGMENTS = 8
LINK_GROUP_BYTES = 8


@dataclass(frozen=True, slots=True)
class Publisher:
    """What it takes to publish one folder. keys: of its first epoch; epochs: of all, None where that is the only one."""

    catalogue: Catalogue
    news: NewsService
    clock: Clock
    folder_row: int
    signing: SigningKey
    keys: ReadKeys
    copies: int = 1
    priority: Priority = Priority.HIGH
    epochs: Epochs | None = None

    def keys_of(self, epoch: int) -> ReadKeys:
        """The keys of the epoch that a version was begun in."""
        return self.keys if self.epochs is None else self.epochs.keys(epoch)

    def recover(self) -> VersionRow | None:
        """After a start: give up a version whose pages were not finished; returns one that is being posted."""
        for version in self.catalogue.versions.unfinished(self.folder_row):
            if version.state is VersionState.POSTING:
                return version
            self.catalogue.versions.abandon(self.folder_row, version.version).result()
            log.info("unfinished_version_given_up", folder=self.folder_row, version=version.version)
        return None

    def build(self) -> VersionRow:
        """Take the ready changes and queue pages and head. The version is posted afterwards like anything else."""
        versions = self.catalogue.versions
        before = versions.newest(self.folder_row)
        begun = versions.begin(self.folder_row)
        try:
            return self._build(before, begun)
        except BaseException:
            versions.abandon(self.folder_row, begun.version).result()
            raise

    def finish(self, version: VersionRow) -> bool:
        """If the head is on a server, the version is published. False: not yet."""
        versions = self.catalogue.versions
        if not versions.head_posted(self.folder_row, version.version):
            return False
        versions.publish_done(self.folder_row, version.version).result()
        log.info("version_published", folder=self.folder_row, version=version.version, files=version.files)
        return True

    def _build(self, before: VersionRow | None, begun: VersionRow) -> VersionRow:
        started = self.clock.monotonic()
        pages = _PageStore(self, begun)
        root = None if before is None else before.root
        out = IndexSegments(pages.keep)
        lists = self._append_lists(before, begun.version, pages, out)
        update = update_tree_into(root, self._changes(begun.version), pages.load, out)
        stripes, overrides = (None if page is None else out.absolute(page) for page in lists)
        now = int(self.clock.now())
        head = Head(
            fingerprint=self.signing.fingerprint,
            public=self.signing.public,
            epoch=begun.epoch,
            version=begun.version,
            created_s=now,
            expires_s=now + HEAD_VALID_S,
            previous=NO_HEAD if before is None or before.head_hash is None else before.head_hash,
            root=update.root,
            files=update.totals.files,
            folders=update.totals.folders,
            bytes_total=update.totals.bytes,
            older=self._older(begun),
            stripes=stripes,
            overrides=overrides,
        )
        content = encode_head(head, self.signing)
        built = self.catalogue.versions.complete(
            self.folder_row,
            begun.version,
            root=update.root,
            head_id=head_address(begun.epoch, begun.version).id,
            head=content,
            head_hash=head_hash(content),
            files=head.files,
            directories=head.folders,
            size_bytes=head.bytes_total,
            copies=self.copies,
            priority=self.priority,
        ).result()
        log.info(
            "version_built",
            folder=self.folder_row,
            version=begun.version,
            changed=update.added + update.changed + update.removed,
            index_bytes=update.size_bytes,
            articles=len(update.segments) + 1,
            took_s=round(self.clock.monotonic() - started, 3),
        )
        return built

    def _older(self, begun: VersionRow) -> tuple[OlderEpoch, ...]:
        if self.epochs is None:
            return ()
        return self.epochs.older(self.catalogue, self.folder_row, begun.epoch, begun.version)

    def _append_lists(
        self, before: VersionRow | None, version: int, pages: "_PageStore", out: IndexSegments
    ) -> tuple[PageRef | None, PageRef | None]:
        """Stripes that are posted, and ids that servers changed, behind those that readers know of already."""
        known = self.catalogue.stripes
        known.take(self.folder_row, version).result()
        head = None if before is None else self._head_of(before)
        stripes, overrides = (None, None) if head is None else (head.stripes, head.overrides)
        changed_ids = filter(can_override, known.taken_overrides(self.folder_row, version))
        return (
            STRIPES.append(stripes, known.taken_stripes(self.folder_row, version), pages.load, out),
            OVERRIDES.append(overrides, changed_ids, pages.load, out),
        )

    def _head_of(self, version: VersionRow) -> Head:
        """Of a version that was published, from the catalogue or else from a server."""
        at = head_address(version.epoch, version.version)
        try:
            if version.head_segment is None:
                raise NotFound(f"the head of version {version.version} is not known here")
            content = self.catalogue.segments.blob(version.head_segment)
        except NotFound:
            content = retrieve(self.news, (self.keys_of(version.epoch),), at)
        return decode_head(content, self.signing.fingerprint, at)

    def _changes(self, version: int) -> Iterator[tuple[RelativePath, Entry | None]]:
        """The journal, with inode numbers turned into groups that tell an outsider nothing."""
        changes = self.catalogue.versions.changes(
            self.folder_row, only_ready=False, version=version, unpack=_unpack
        )
        for path, found in changes:
            if found is None:
                yield path, None
                continue
            entry = self._with_keyed_group(found)
            try:
                admit_entry(entry)
                if path:
                    check_path(path)
            except (FormatError, UnsafePath) as error:
                # One path that the format cannot hold, or no restore would make, must not keep the others back.
                self.catalogue.troubles.note(self.folder_row, path, "unpublishable", str(error))
                continue
            yield path, entry

    def _with_keyed_group(self, entry: Entry) -> Entry:
        if not entry.link_group:
            return entry
        # Of the first epoch always: names that were published in different ones still belong together.
        identity = self.keys_of(1).identity
        keyed = hashlib.blake2b(entry.link_group, key=identity, digest_size=LINK_GROUP_BYTES)
        return replace(entry, link_group=keyed.digest())


class _PageStore:
    """Where ``update_tree`` reads old pages and leaves new index segments."""

    def __init__(self, publisher: Publisher, version: VersionRow) -> None:
        self._publisher = publisher
        self._version = version.version
        self._epoch = version.epoch
        self._cache: dict[SegmentId, bytes] = {}

    def load(self, ref: PageRef) -> bytes:
        """A stored page. Old index segments are in the catalogue; after a loss they are fetched."""
        content = self._cache.get(ref.segment)
        if content is None:
            content = self._find(ref.segment)
            while len(self._cache) >= CACHED_SEGMENTS:
                self._cache.pop(next(iter(self._cache)))
            self._cache[ref.segment] = content
        return content[ref.offset : ref.offset + ref.length]

    def keep(self, content: bytes) -> SegmentId:
        """Store and queue a finished index segment; its id."""
        publisher = self._publisher
        segment = segment_id(content_hash(publisher.keys_of(self._epoch).identity, content))
        publisher.catalogue.versions.add_segment(
            publisher.folder_row, self._version, segment, content, publisher.copies, publisher.priority
        ).result()
        return segment

    def _find(self, segment: SegmentId) -> bytes:
        publisher = self._publisher
        content = publisher.catalogue.segments.find_blob(publisher.folder_row, ArticleKind.INDEX, segment)
        if content is not None:
            return content
        try:
            at = ArticleAddress(ArticleKind.INDEX, segment)
            names = CatalogueStripes(publisher.catalogue, publisher.folder_row)
            return retrieve(publisher.news, self._rings(), at, names.name_of)
        except NotFound as error:
            raise NotFound("a page of the last version is neither here nor on a server") from error

    def _rings(self) -> tuple[ReadKeys, ...]:
        epochs = self._publisher.epochs
        return (self._publisher.keys,) if epochs is None else epochs.rings(self._epoch)


def _unpack(packed: bytes) -> tuple[Owner | None, tuple[tuple[bytes, bytes], ...]]:
    kept = unpack_attributes(packed)
    return kept.owner, kept.xattrs
