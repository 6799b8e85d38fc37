"""The lists of a published version as a reader asks them: which stripe a segment is in, where an article really is.

A list has as many rows as the folder has segments, in the order in which they were posted. So it is read once, when it
is first needed, into a scratch file that finds rows by their ids; memory stays flat.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import structlog

from usenetsyncd.errors import ArticleMissing, FormatError
from usenetsyncd.flows.retrieve import derived
from usenetsyncd.model import ArticleAddress, MessageId, PageRef, SegmentId
from usenetsyncd.wire.keys import ReadKeys, encode_address
from usenetsyncd.wire.overrides import OVERRIDES
from usenetsyncd.wire.page_lists import ListBranch, ListFormat
from usenetsyncd.wire.stripes import STRIPES, Stripe
from usenetsyncd.wire.tree_read import Load

log = structlog.get_logger("lists")

# 64 million: 49 TB of full segments. More rows than that are somebody's attempt to fill the disk.
ROWS_MAX = 1 << 26
INSERTED_AT_ONCE = 10_000
PAGES_HELD = 4


class _Scratch:
    """A table of keys in a file of its own that nobody needs after a crash."""

    def __init__(self, path: Path, columns: str) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(f"CREATE TABLE row (key BLOB PRIMARY KEY, {columns}) WITHOUT ROWID")
        self._width = columns.count(",") + 2

    @classmethod
    def of(cls, path: Path, columns: str, rows: Iterator[tuple[Any, ...]]) -> "_Scratch":
        """One that is filled; none is left behind where the rows cannot all be had now."""
        made = cls(path, columns)
        try:
            made.fill(rows)
        except BaseException:
            made.close()
            raise
        return made

    def fill(self, rows: Iterator[tuple[Any, ...]]) -> None:
        """Of rows with the same key the last counts; beyond the limit they are left out."""
        bounded = islice(rows, ROWS_MAX)
        marks = ",".join("?" * self._width)
        while part := list(islice(bounded, INSERTED_AT_ONCE)):
            self._database.execute("BEGIN")
            self._database.executemany(f"INSERT OR REPLACE INTO row VALUES ({marks})", part)  # noqa: S608
            self._database.execute("COMMIT")

    def find(self, key: bytes) -> tuple[Any, ...] | None:
        """The row without its key."""
        row = self._database.execute("SELECT * FROM row WHERE key = ?", (key,)).fetchone()
        return None if row is None else tuple(row[1:])

    def close(self) -> None:
        """Remove it."""
        self._database.close()
        self._path.unlink(missing_ok=True)


def _pages(kind: ListFormat[Any], root: PageRef, load: Load) -> Iterator[tuple[ListBranch, list[Any]]]:
    """The pages of a list that can be had; those that are lost or broken cost their own rows and no others."""
    try:
        branches = kind.open_root(root, load)
    except (ArticleMissing, FormatError) as error:
        log.warning("list_lost", reason=str(error))
        return
    for branch in branches:
        try:
            yield branch, kind.open_leaf(branch, load)
        except (ArticleMissing, FormatError) as error:
            log.warning("list_page_lost", rows=branch.count, reason=str(error))


class ListedStripes:
    """The stripes of a version: a StripeSource for whoever has no catalogue. Thread-safe."""

    def __init__(self, root: PageRef | None, load: Load, scratch: Path) -> None:
        """scratch: a file to be made when the first stripe is asked for."""
        self._root = root
        self._load = load
        self._place = scratch
        self._lock = Lock()
        self._scratch: _Scratch | None = None
        self._branches: list[ListBranch] = []
        self._held: OrderedDict[int, list[Stripe]] = OrderedDict()

    def stripe_of(self, seg_id: SegmentId) -> Stripe | None:
        """See StripeSource. Raises NewsError where servers do not answer."""
        if self._root is None:
            return None
        with self._lock:
            if self._scratch is None:
                columns = "page INTEGER, place INTEGER"
                self._scratch = _Scratch.of(self._place, columns, self._rows(self._root))
            found = self._scratch.find(seg_id)
            return None if found is None else self._page(found[0])[found[1]]

    def close(self) -> None:
        """Remove the scratch file."""
        with self._lock:
            if self._scratch is not None:
                self._scratch.close()
                self._scratch = None

    def _rows(self, root: PageRef) -> Iterator[tuple[bytes, int, int]]:
        self._branches.clear()
        for number, (branch, stripes) in enumerate(_pages(STRIPES, root, self._load)):
            self._branches.append(branch)
            for place, stripe in enumerate(stripes):
                for segment in stripe.segments:
                    yield segment, number, place

    def _page(self, number: int) -> list[Stripe]:
        stripes = self._held.get(number)
        if stripes is None:
            stripes = self._held[number] = STRIPES.open_leaf(self._branches[number], self._load)
            while len(self._held) > PAGES_HELD:
                self._held.popitem(last=False)
        return stripes


class ListedNames:
    """Under which message-ids a version's articles are, where servers changed them. Thread-safe."""

    def __init__(self, root: PageRef | None, load: Load, scratch: Path) -> None:
        """scratch: a file to be made when the first name is asked for, if there is a list."""
        self._root = root
        self._load = load
        self._place = scratch
        self._lock = Lock()
        self._scratch: _Scratch | None = None

    def name_of(self, keys: ReadKeys, at: ArticleAddress) -> MessageId:
        """The id that its server gave an article, else the one that its address makes.

        Raises NewsError where servers do not answer.
        """
        if self._root is None:
            return derived(keys, at)
        with self._lock:
            if self._scratch is None:
                self._scratch = _Scratch.of(self._place, "name TEXT", self._rows(self._root))
            found = self._scratch.find(encode_address(at))
        return derived(keys, at) if found is None else MessageId(found[0])

    def close(self) -> None:
        """Remove the scratch file."""
        with self._lock:
            if self._scratch is not None:
                self._scratch.close()
                self._scratch = None

    def _rows(self, root: PageRef) -> Iterator[tuple[bytes, str]]:
        for _, overrides in _pages(OVERRIDES, root, self._load):
            for one in overrides:
                yield encode_address(one.at), str(one.message_id)
