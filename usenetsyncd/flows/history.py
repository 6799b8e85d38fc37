"""What one file was from version to version, read from the published indexes themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.rows import VersionRow
from usenetsyncd.flows.index_reader import IndexReader
from usenetsyncd.model import ArticleKind, Entry, PageRef, RelativePath
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.pages import find_entry

# Versions looked into for one page of an answer; more are a further page.
VERSIONS_READ = 500


@dataclass(frozen=True, slots=True)
class FileChange:
    """The file as it is from this version on; entry None: not there."""

    version: int
    created_at: float
    entry: Entry | None


def file_history(
    catalogue: Catalogue,
    news: NewsService,
    folder_row: int,
    rings: Sequence[ReadKeys],
    path: RelativePath,
    before: int | None,
    limit: int,
) -> tuple[list[FileChange], str | None]:
    """The versions in which a file became another, newest first, and a cursor for those before them.

    Pages that the catalogue no longer holds are fetched. Raises NewsError, FormatError.
    """
    network = IndexReader(news, rings)

    def load(ref: PageRef) -> bytes:
        content = catalogue.segments.find_blob(folder_row, ArticleKind.INDEX, ref.segment)
        if content is None:
            return network.load(ref)
        return content[ref.offset : ref.offset + ref.length]

    rows = _versions(catalogue, folder_row, before)
    # One version more than is told, to compare the last one with.
    pairs: list[tuple[VersionRow, VersionRow | None]] = list(pairwise(rows))
    more = len(rows) > VERSIONS_READ
    if rows and not more:
        pairs.append((rows[-1], None))
    changes: list[FileChange] = []
    for newer, older in pairs:
        if len(changes) == limit:
            return changes, str(newer.version + 1)
        entry = find_entry(newer.root, load, path)
        earlier = None if older is None else find_entry(older.root, load, path)
        if entry != earlier:
            changes.append(FileChange(newer.version, newer.created_at, entry))
    return changes, str(rows[-1].version + 1) if more else None


def _versions(catalogue: Catalogue, folder_row: int, before: int | None) -> list[VersionRow]:
    rows: list[VersionRow] = []
    after: str | None = None
    while len(rows) <= VERSIONS_READ:
        page = catalogue.versions.list(folder_row, after, 100)
        rows += [row for row in page.rows if before is None or row.version < before]
        after = page.next
        if after is None:
            break
    return rows
