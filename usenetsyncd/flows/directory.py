"""The directory of folders on the servers: published when the set of folders changes, found again with the kit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError, NothingPublished, PostDoubtful, PostDuplicate
from usenetsyncd.flows.locate import find_newest, newest_above
from usenetsyncd.flows.retrieve import retrieve
from usenetsyncd.model import ArticleAddress, Compression
from usenetsyncd.news.service import NewsService
from usenetsyncd.wire.article import build_article
from usenetsyncd.wire.directory import (
    DirectoryKeys,
    DirectoryPart,
    FolderRecord,
    decode_directory,
    directory_address,
    encode_directory,
)
from usenetsyncd.wire.keys import name_article
from usenetsyncd.wire.seal import Workbench

log = structlog.get_logger("directory")

# Small, and everything hangs on it.
COPIES = 2
SERIALS_TRIED = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A directory as it is on the servers. lost: parts of it that no server has any more."""

    serial: int
    created_s: int
    folders: tuple[FolderRecord, ...]
    lost: int


def publish_directory(
    news: NewsService,
    keys: DirectoryKeys,
    folders: Sequence[FolderRecord],
    known: int,
    groups: Sequence[str],
    now_s: int,
    check_stop: Callable[[], None] = lambda: None,
) -> int:
    """Post a directory under a serial that none had before; returns it. known: a serial in use, 0 for none.

    Its first part is posted last: whoever finds that finds all. Raises NewsError, LimitExceeded.
    """
    newest = newest_above(
        news,
        keys.reading,
        directory_address,
        known,
        lambda serial: _part(news, keys, directory_address(serial)),
    )
    first = max(known, newest.serial if newest else 0) + 1
    for serial in range(first, first + SERIALS_TRIED):
        contents = encode_directory(folders, serial, now_s, keys.signing)
        try:
            for part in reversed(range(len(contents))):
                for copy in range(COPIES):
                    check_stop()
                    _post(news, keys, directory_address(serial, part, copy), contents[part], groups)
        except PostDuplicate:
            continue  # left by a run that ended in the middle: its number is taken
        log.info("directory_published", serial=serial, folders=len(folders), parts=len(contents))
        return serial
    raise PostDoubtful(f"the numbers from {first} on are taken, but hold no directory")


def find_directory(news: NewsService, keys: DirectoryKeys) -> Found:
    """The newest directory. Raises NothingPublished, NewsError, NewerFormat."""

    def read(serial: int) -> DirectoryPart:
        return _part(news, keys, directory_address(serial))

    first, _ = find_newest(news, keys.reading, directory_address, 0, read)
    if first is None:
        raise NothingPublished("no server has a list of folders for this recovery kit")
    folders, lost = list(first.folders), 0
    for number in range(1, first.parts):
        try:
            folders += _part(news, keys, directory_address(first.serial, number)).folders
        except (ArticleMissing, FormatError) as error:
            log.warning("directory_part_lost", part=number, reason=str(error))
            lost += 1
    return Found(first.serial, first.created_s, tuple(folders), lost)


def _part(news: NewsService, keys: DirectoryKeys, at: ArticleAddress) -> DirectoryPart:
    return decode_directory(retrieve(news, (keys.reading,), at), keys, at)


def _post(
    news: NewsService, keys: DirectoryKeys, at: ArticleAddress, content: bytes, groups: Sequence[str]
) -> None:
    body = Workbench().seal(keys.reading, at, content, Compression.ZSTD)
    group = groups[(at.id[7] + at.copy) % len(groups)]
    news.post(build_article(name_article(keys.reading.location, at), (group,), body))
