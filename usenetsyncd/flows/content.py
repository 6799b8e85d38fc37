"""Make a segment's content again from where it came, or from wherever it still is.

A first article is made from the source files or a stored blob. One that is posted again may also come from another
copy, another server, or parity: the source may be long gone.
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Lock
from typing import Protocol

import structlog

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import Source
from usenetsyncd.errors import (
    ArticleMissing,
    ContentGone,
    FileChanged,
    FolderError,
    FormatError,
    NotFound,
)
from usenetsyncd.flows.envelopes import opened_envelope
from usenetsyncd.flows.rebuild import CatalogueStripes
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.flows.staging import Staging
from usenetsyncd.folders import read
from usenetsyncd.folders.read import OpenFile
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import FileKey
from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, RelativePath, SegmentId
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.seal import Workbench
from usenetsyncd.wire.segment import content_hash, segment_id

log = structlog.get_logger("content")

# Files below that are packed many to a segment: too many to be kept open.
ONE_SLICE_BYTES = 2 * SEGMENT_SIZE_BYTES


class Origins:
    """Where some segments come from: their sources asked for at once, their folders' roots opened once.

    Shared by the threads that post these segments. Each of them calls ``release`` when it is done with one;
    the last closes what is open, so that no disk is kept from being unmounted for longer than a batch takes.
    """

    __slots__ = ("_catalogue", "_files", "_left", "_lock", "_roots", "_sources")

    def __init__(self, catalogue: Catalogue, segment_rows: Collection[int], shares: int) -> None:
        """segment_rows: those whose content files hold. shares: how many times ``release`` will be called."""
        self._catalogue = catalogue
        self._sources = catalogue.segments.sources_of(segment_rows) if segment_rows else {}
        self._left = shares
        self._lock = Lock()
        self._roots: dict[bytes, FolderRoot] = {}
        self._files: dict[tuple[RelativePath, FileKey], OpenFile] = {}

    def read(self, segment_row: int, length: int, root: bytes, workbench: Workbench) -> memoryview:
        """The content of a segment, read where the workbench will seal it. Valid until the bench is used again.

        Sealing compares it with its id. Raises FileChanged where the source is not any more what was planned.
        """
        view = workbench.area(length)
        known = self._sources.get(segment_row, [])
        try:
            self._read(known, self._root(root), view)
        except FolderError:
            # Since it was asked, a file may have been renamed: its content then has another path and is as it was.
            newer = self._catalogue.segments.sources(segment_row)
            if newer == known:
                raise
            with FolderRoot(root) as opened:
                _read_sources(newer, opened, view)
        return view

    def release(self) -> None:
        """One segment less to be read."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        for file in self._files.values():
            file.close()
        for root in self._roots.values():
            root.close()

    def _read(self, known: list[Source], root: FolderRoot, view: memoryview) -> None:
        if len(known) != 1 or known[0].length != len(view) or known[0].size < ONE_SLICE_BYTES:
            _read_sources(known, root, view)
            return
        # A slice of a large file: the next segments are of the same one.
        (source,) = known
        self._file(source, root).range(source.position, view)

    def _file(self, source: Source, root: FolderRoot) -> OpenFile:
        key = source.path, FileKey(source.size, source.mtime_ns, source.inode)
        opened = self._files.get(key)
        if opened is None:
            fresh = read.open_file(root, *key)
            with self._lock:
                opened = self._files.setdefault(key, fresh)
            if opened is not fresh:
                fresh.close()
        return opened

    def _root(self, path: bytes) -> FolderRoot:
        opened = self._roots.get(path)
        if opened is None:
            with self._lock:
                opened = self._roots.get(path)
                if opened is None:
                    opened = self._roots[path] = FolderRoot(path)
        return opened


def _read_sources(sources: list[Source], root: FolderRoot, view: memoryview) -> None:
    """Fill the view; several files may offer the same part, one that is still as it was is enough."""
    offers: dict[tuple[int, int], list[Source]] = defaultdict(list)
    for source in sources:
        offers[source.offset, source.length].append(source)
    covered = 0
    for (offset, length), candidates in sorted(offers.items()):
        if offset > covered:
            raise FileChanged("a file of this segment is gone")
        _read_any(candidates, root, view[offset : offset + length])
        covered = max(covered, offset + length)
    if covered != len(view):
        raise FileChanged("a file of this segment is gone")


def _read_any(candidates: list[Source], root: FolderRoot, into: memoryview) -> None:
    failure: FolderError | None = None
    for source in candidates:
        key = FileKey(source.size, source.mtime_ns, source.inode)
        try:
            read.read_range(root, source.path, source.position, key, into)
            return
        except FolderError as error:
            failure = error
    if failure is not None:
        raise FileChanged(str(failure)) from failure


class Way(StrEnum):
    """Where content came from."""

    SOURCE = "source"
    BLOB = "blob"
    STAGED = "staged"
    COPY = "copy"
    PARITY = "parity"


class Wanted(Protocol):
    """What has to be known of a segment to look for its content: any row of an article has it."""

    @property
    def segment_row(self) -> int:
        """Its number in the catalogue."""

    @property
    def folder_id(self) -> int:
        """Of which folder it is."""

    @property
    def kind(self) -> ArticleKind:
        """What it carries."""

    @property
    def seg_id(self) -> SegmentId:
        """Its id on the wire."""

    @property
    def length(self) -> int:
        """Bytes of content."""


class Rebuilds(Protocol):
    """Gives back a segment from the others of its stripe."""

    def rebuild(self, seg_id: SegmentId) -> bytes | None:
        """The content, its hash checked; None when too much of the stripe is gone. Raises NewsError."""


@dataclass(frozen=True, slots=True)
class Found:
    """The content of a segment, and where it was."""

    content: bytes
    way: Way


class ContentFinder:
    """Finds the content of segments that were posted before. Thread-safe."""

    def __init__(
        self,
        catalogue: Catalogue,
        news: NewsService,
        staging: Staging,
        rebuilder_of: Callable[[int], Rebuilds | None],
    ) -> None:
        """rebuilder_of: of a folder, where it has parity."""
        self._catalogue = catalogue
        self._news = news
        self._staging = staging
        self._rebuilder_of = rebuilder_of

    def find(self, wanted: Wanted, at: ArticleAddress, root: bytes, keys: ReadKeys) -> Found:
        """The content, from the nearest place that still has it: here, then on a server, then by parity.

        at: where one of its articles is, or was. root: of the segment's folder. keys: those that it is sealed with.
        Raises ContentGone when no place has it, and NewsError when that cannot be known now.
        """
        here = self._here(wanted, root, keys)
        if here is not None:
            return here
        try:
            name_of = CatalogueStripes(self._catalogue, wanted.folder_id).name_of
            return Found(retrieve(self._news, (keys,), replace(at, copy=0, generation=0), name_of), Way.COPY)
        except (ArticleMissing, FormatError) as error:
            reason = str(error)
        rebuilder = self._rebuilder_of(wanted.folder_id)
        content = None if rebuilder is None else rebuilder.rebuild(wanted.seg_id)
        if content is None:
            raise ContentGone(f"its content is neither here nor anywhere else: {reason}")
        return Found(content, Way.PARITY)

    def _here(self, wanted: Wanted, root: bytes, keys: ReadKeys) -> Found | None:
        if wanted.kind is ArticleKind.DATA:
            found = self._from_source(wanted, root, keys)
            return None if found is None else Found(found, Way.SOURCE)
        if wanted.kind is ArticleKind.PARITY:
            staged = self._staging.read(wanted.seg_id)
            if staged is None or segment_id(content_hash(keys.identity, staged)) != wanted.seg_id:
                return None
            return Found(staged, Way.STAGED)
        try:
            kept = self._catalogue.segments.blob(wanted.segment_row)
        except NotFound:
            return None
        return Found(opened_envelope(keys, kept) if wanted.kind is ArticleKind.ENVELOPE else kept, Way.BLOB)

    def _from_source(self, wanted: Wanted, root: bytes, keys: ReadKeys) -> bytes | None:
        sources = self._catalogue.segments.sources(wanted.segment_row)
        if not sources:
            return None
        room = bytearray(wanted.length)
        try:
            with FolderRoot(root) as opened:
                _read_sources(sources, opened, memoryview(room))
        except FolderError as error:
            log.debug("source_has_changed", reason=str(error))
            return None
        if segment_id(content_hash(keys.identity, room)) != wanted.seg_id:
            return None
        return bytes(room)
