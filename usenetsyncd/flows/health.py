"""How a folder stands: restorable, at risk, damaged or unknown, with reasons, and what to do about it.

Only findings are read, and the stripes and sources of what they are about: the cost is that of the damage.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.findings import DamagedArticle, FindingCounts
from usenetsyncd.catalogue.rows import ArticleState, FolderRow, Source
from usenetsyncd.catalogue.verifications import CheckKind, CheckState
from usenetsyncd.errors import FolderError
from usenetsyncd.flows.availability import CheckedServers
from usenetsyncd.folders.root import PATH_ONLY, FolderRoot
from usenetsyncd.folders.statkey import FileKey
from usenetsyncd.model import ArticleKind, RelativePath, SegmentId, ServerRole
from usenetsyncd.settings.schema import Settings

PAGE = 500
FILES_NAMED = 100

# What the catalogue keeps itself, and what stripes can make again, is never beyond help for want of a file.
_OF_FILES = frozenset({ArticleKind.DATA})


class HealthWord(StrEnum):
    """What a folder's health is called everywhere."""

    RESTORABLE = "restorable"  # nothing is lost
    AT_RISK = "at_risk"  # something is lost, and the newest version can still be made whole
    DAMAGED = "damaged"  # something that the newest version needs is nowhere any more, as far as we know
    UNKNOWN = "unknown"  # never verified


@dataclass(frozen=True, slots=True)
class FolderHealth:
    """One folder's health. lost_segments: nowhere any more; at_risk_segments: with a loss that can be made good.

    files: paths that need a lost segment, the first hundred. backbones: number of servers -> segments that were whole on
    so many at the last check. action: the command that deals with it, "" where none is needed.
    """

    word: HealthWord
    reasons: tuple[str, ...] = ()
    lost_segments: int = 0
    at_risk_segments: int = 0
    files: tuple[RelativePath, ...] = ()
    backbones: dict[int, int] = field(default_factory=dict)
    action: str = ""


def folder_health(catalogue: Catalogue, folder_row: int, settings: Settings) -> FolderHealth:
    """The health of a folder with the servers of the running configuration. Raises NotFound."""
    return assess(catalogue, folder_row, servers_of(settings))


def servers_of(settings: Settings) -> CheckedServers:
    """Who can be asked for articles, by the settings."""
    by_priority = sorted(settings.servers, key=lambda server: server.priority)
    return CheckedServers(
        tuple(server.name for server in by_priority if ServerRole.READ in server.roles),
        tuple(server.name for server in by_priority if ServerRole.VERIFY in server.roles),
    )


def assess(catalogue: Catalogue, folder_row: int, servers: CheckedServers) -> FolderHealth:
    """The same, given the servers."""
    folder = catalogue.folders.by_id(folder_row)
    toll = _Toll()
    for segment in hurt_segments(catalogue, folder, servers):
        toll.add(segment)
    if toll.lost:
        word = HealthWord.DAMAGED
    elif toll.lost_of_older or toll.at_risk:
        word = HealthWord.AT_RISK
    else:
        word = HealthWord.UNKNOWN if folder.verified_at is None else HealthWord.RESTORABLE
    counts = catalogue.findings.counts(folder_row)
    return FolderHealth(
        word,
        tuple(_reasons(toll, counts)),
        toll.lost + toll.lost_of_older,
        toll.at_risk,
        tuple(sorted(toll.files)),
        _backbones(catalogue, folder_row),
        _action(word, toll, folder.name),
    )


class Fate(StrEnum):
    """What the loss of an article means for its segment."""

    AT_RISK = "at_risk"  # it can be had all the same, or made again
    LOST = "lost"  # it is nowhere any more, and files of the newest version need it
    LOST_OF_OLDER = "lost_of_older"  # it is nowhere any more, and at most older versions need it


@dataclass(frozen=True, slots=True)
class HurtSegment:
    """A segment of which an article is not where it belongs. under_way: all such articles are being posted again."""

    segment_row: int
    kind: ArticleKind
    seg_id: SegmentId
    fate: Fate
    under_way: bool
    paths: tuple[RelativePath, ...] = ()


def hurt_segments(catalogue: Catalogue, folder: FolderRow, servers: CheckedServers) -> Iterator[HurtSegment]:
    """All of a folder, in the order of their rows, a page of them in memory at a time."""
    after = 0
    while rows := catalogue.findings.segments(folder.id, after, PAGE):
        yield from _judge(catalogue, folder, servers, rows)
        after = rows[-1]


def _judge(
    catalogue: Catalogue, folder: FolderRow, servers: CheckedServers, rows: Sequence[int]
) -> Iterator[HurtSegment]:
    """Those of some segments with findings that are hurt."""
    articles = catalogue.findings.articles_of(rows)
    hurt: dict[int, list[DamagedArticle]] = {}
    nowhere: set[int] = set()
    for row in rows:
        copies = [one for one in articles.get(row, ()) if one.state is not ArticleState.ABANDONED]
        found = [one for one in copies if is_hurt(servers, one)]
        if found:
            hurt[row] = found
            if not is_held(servers, copies):
                nowhere.add(row)
    lost = nowhere - rebuildable(catalogue, servers, nowhere) if nowhere else set()
    from_files = [row for row in lost if hurt[row][0].article.kind in _OF_FILES]
    sources = catalogue.segments.sources_of(from_files) if from_files else {}
    for row, found in hurt.items():
        article = found[0].article
        fate = Fate.AT_RISK
        paths: tuple[RelativePath, ...] = ()
        if row in lost and article.kind in _OF_FILES:
            known = sources.get(row, [])
            if not known:
                fate = Fate.LOST_OF_OLDER
            elif not is_intact(folder.root, known, article.length):
                fate, paths = Fate.LOST, tuple(source.path for source in known)
        under_way = all(one.state is not ArticleState.POSTED for one in found)
        yield HurtSegment(row, article.kind, article.seg_id, fate, under_way, paths)


@dataclass(slots=True)
class _Toll:
    """Segments by what their losses mean. under_way: of those at risk, the ones that are being posted again."""

    lost: int = 0
    lost_of_older: int = 0
    at_risk: int = 0
    under_way: int = 0
    files: set[RelativePath] = field(default_factory=set)

    def add(self, segment: HurtSegment) -> None:
        """Count one."""
        self.lost += segment.fate is Fate.LOST
        self.lost_of_older += segment.fate is Fate.LOST_OF_OLDER
        if segment.fate is Fate.AT_RISK:
            self.at_risk += 1
            self.under_way += segment.under_way
        self.files.update(segment.paths[: FILES_NAMED - len(self.files)])


def is_hurt(servers: CheckedServers, one: DamagedArticle) -> bool:
    """Whether an article is not where it belongs, or is on its way back there."""
    if one.state is ArticleState.POSTED:
        return servers.is_damaged(one.article, one.findings)
    return bool(one.findings)


def is_held(servers: CheckedServers, copies: Iterable[DamagedArticle]) -> bool:
    """Whether any copy of a segment is on a server, as far as is known."""
    return any(
        one.state is ArticleState.POSTED and not servers.is_lost(one.article, one.findings) for one in copies
    )


def rebuildable(catalogue: Catalogue, servers: CheckedServers, rows: Iterable[int]) -> set[int]:
    """Which of these segments the others of their stripes give back, as far as is known."""
    stripes = catalogue.findings.stripes_of([*rows])
    members = {row for stripe in stripes.values() for row in stripe.segment_rows}
    if not members:
        return set()
    articles = catalogue.findings.articles_of(members)
    held = {row for row in members if is_held(servers, articles.get(row, ()))}
    whole = [stripe for stripe in stripes.values() if len(stripe.segment_rows & held) >= stripe.data]
    return {row for stripe in whole for row in stripe.segment_rows} & {*rows}


def is_intact(root: bytes, sources: Sequence[Source], length: int) -> bool:
    """Whether files on this machine still seem to hold all of a segment: they are as they were when it was planned."""
    try:
        opened = FolderRoot(root)
    except (FolderError, OSError):
        return False
    with opened:
        covered = 0
        for source in sources:
            if source.offset <= covered < source.offset + source.length and _is_as_it_was(opened, source):
                covered = source.offset + source.length
    return covered >= length


def _is_as_it_was(root: FolderRoot, source: Source) -> bool:
    try:
        descriptor = root.open_below(source.path, PATH_ONLY)
    except OSError:
        return False
    try:
        return FileKey(source.size, source.mtime_ns, source.inode).fits(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _reasons(toll: _Toll, counts: dict[str, FindingCounts]) -> Iterator[str]:
    if toll.lost:
        yield f"{_segments(toll.lost)} of the newest version cannot be had from anywhere any more"
    if toll.lost_of_older:
        yield f"{_segments(toll.lost_of_older)} that only older versions need cannot be had any more"
    left = toll.at_risk - toll.under_way
    if left:
        yield f"{_segments(left)} lost an article and can be made whole again"
    if toll.under_way:
        yield f"{_segments(toll.under_way)} are being posted again"
    for server, found in sorted(counts.items()):
        name = server or "the servers together"
        if found.missing or found.corrupt:
            yield f"{name}: {found.missing:,} articles missing, {found.corrupt:,} corrupt"
        if found.reposted:
            yield f"{name}: {found.reposted:,} articles were posted again and wait for their check"


def _segments(count: int) -> str:
    return f"{count:,} segment" if count == 1 else f"{count:,} segments"


def _backbones(catalogue: Catalogue, folder_row: int) -> dict[int, int]:
    for kind, state in (
        (CheckKind.AVAILABILITY, CheckState.DONE),
        (CheckKind.PROPAGATION, CheckState.RUNNING),
    ):
        row = catalogue.verifications.latest(folder_row, kind, state)
        if row is not None and row.checked:
            return {int(servers): segments for servers, segments in row.detail.get("backbones", {}).items()}
    return {}


def _action(word: HealthWord, toll: _Toll, name: str) -> str:
    if word is HealthWord.UNKNOWN:
        return f"usyncctl verify {name}"
    if toll.at_risk > toll.under_way or toll.lost or toll.lost_of_older:
        return f"usyncctl repair {name}"
    return ""
