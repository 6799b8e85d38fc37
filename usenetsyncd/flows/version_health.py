"""The health of each version: which of them need a segment that is hurt, and for which files.

Versions share most of their pages, and a page that was looked into once is not looked into again, so that many versions
cost little more than one. Without anything hurt no page is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import VersionRow
from usenetsyncd.errors import FormatError, NotFound
from usenetsyncd.flows.availability import CheckedServers
from usenetsyncd.flows.health import FILES_NAMED, Fate, HealthWord, hurt_segments
from usenetsyncd.model import ArticleKind, Entry, PageRef, RelativePath, SegmentId
from usenetsyncd.wire.pages import iter_extents
from usenetsyncd.wire.tree_read import open_root

SEGMENTS_HELD = 8  # of index pages; neighbours stand together


@dataclass(frozen=True, slots=True)
class VersionHealth:
    """One version's health; files: paths that cannot be restored from it, the first hundred."""

    version: int
    word: HealthWord
    files: tuple[RelativePath, ...] = ()


@dataclass(frozen=True, slots=True)
class _Page:
    """What is in a page and below it. lost: paths of a leaf; with any in a page below, ``below`` names that page."""

    at_risk: bool
    is_lost: bool
    lost: tuple[RelativePath, ...] = ()
    below: tuple[PageRef, ...] = ()


def version_health(
    catalogue: Catalogue, folder_row: int, versions: Sequence[VersionRow], servers: CheckedServers
) -> list[VersionHealth]:
    """The health of these published versions of a folder, in their order.

    A version of which the catalogue holds some page no more is unknown, as are all until the folder was verified.
    """
    folder = catalogue.folders.by_id(folder_row)
    lost: set[bytes] = set()
    at_risk: set[bytes] = set()
    for segment in hurt_segments(catalogue, folder, servers):
        if segment.kind is ArticleKind.DATA:
            (at_risk if segment.fate is Fate.AT_RISK else lost).add(segment.seg_id)
    if not lost and not at_risk:
        word = HealthWord.UNKNOWN if folder.verified_at is None else HealthWord.RESTORABLE
        return [VersionHealth(version.version, word) for version in versions]
    pages = _Pages(catalogue, folder_row, lost, at_risk)
    return [pages.health_of(version) for version in versions]


class _Pages:
    """Looks into pages of the index, each once."""

    def __init__(self, catalogue: Catalogue, folder_row: int, lost: set[bytes], at_risk: set[bytes]) -> None:
        self._catalogue = catalogue
        self._folder_row = folder_row
        self._lost = lost
        self._at_risk = at_risk
        self._known: dict[PageRef, _Page] = {}
        self._segments: dict[SegmentId, bytes] = {}

    def health_of(self, version: VersionRow) -> VersionHealth:
        """The word for one version, with its files."""
        if version.root is None:
            return VersionHealth(version.version, HealthWord.RESTORABLE)
        try:
            page = self._look_into(version.root)
        except (NotFound, FormatError):
            return VersionHealth(version.version, HealthWord.UNKNOWN)
        if page.is_lost:
            return VersionHealth(version.version, HealthWord.DAMAGED, tuple(self._files(page)))
        word = HealthWord.AT_RISK if page.at_risk else HealthWord.RESTORABLE
        return VersionHealth(version.version, word)

    def _look_into(self, root: PageRef) -> _Page:
        known = self._known.get(root)
        if known is None:
            node = open_root(root, self._load)
            below = [(branch.ref, self._look_into(branch.ref)) for branch in node.branches]
            hurt = [self._weigh(entry) for entry in node.entries]
            known = self._known[root] = _Page(
                any(at_risk for _, at_risk, _ in hurt) or any(page.at_risk for _, page in below),
                any(is_lost for _, _, is_lost in hurt) or any(page.is_lost for _, page in below),
                tuple(path for path, _, is_lost in hurt if is_lost),
                tuple(ref for ref, page in below if page.is_lost),
            )
        return known

    def _weigh(self, entry: Entry) -> tuple[RelativePath, bool, bool]:
        """(path, whether a segment of it is at risk, whether one is lost)"""
        at_risk = is_lost = False
        for extent in iter_extents(entry, self._load):
            is_lost = is_lost or extent.segment in self._lost
            at_risk = at_risk or extent.segment in self._at_risk
        return entry.path, at_risk, is_lost

    def _files(self, page: _Page) -> Iterator[RelativePath]:
        """The first paths that need a lost segment."""
        left = FILES_NAMED
        stack = [page]
        while stack and left:
            here = stack.pop()
            yield from here.lost[:left]
            left = max(0, left - len(here.lost))
            stack += [self._known[ref] for ref in reversed(here.below)]

    def _load(self, ref: PageRef) -> bytes:
        content = self._segments.get(ref.segment)
        if content is None:
            content = self._catalogue.segments.find_blob(self._folder_row, ArticleKind.INDEX, ref.segment)
            if content is None:
                raise NotFound("a page of the index is not kept here any more")
            if len(self._segments) >= SEGMENTS_HELD:
                del self._segments[next(iter(self._segments))]
            self._segments[ref.segment] = content
        return content[ref.offset : ref.offset + ref.length]
