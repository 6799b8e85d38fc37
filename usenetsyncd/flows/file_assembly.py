"""Put files together from segments that arrive in any order, several at a time.

A file that fits into one segment is placed at once. Larger ones grow under a temporary name; when their
last part has come they are read back, hashed and renamed. Only a bounded number is open at any moment.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock, RLock

import structlog

from usenetsyncd.errors import (
    Cancelled,
    CatalogueError,
    ContentMismatch,
    DiskFull,
    FormatError,
    UsenetSyncError,
)
from usenetsyncd.flows.restore_plan import DONE, FAILED, OPEN, Item, Need, RestorePlan
from usenetsyncd.folders import read
from usenetsyncd.folders.attributes import Attributes
from usenetsyncd.folders.place import Target
from usenetsyncd.folders.placing import Placing
from usenetsyncd.folders.safety import split
from usenetsyncd.folders.scan import join
from usenetsyncd.folders.small import SmallFiles
from usenetsyncd.model import SEGMENT_SIZE_BYTES, Entry, RelativePath
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.segment import FileHasher, content_hash

log = structlog.get_logger("restore")

OPEN_FILES = 128
HASH_BYTES = 16


class FileAssembly:
    """Writes contents into files. Threads may share it; each file is worked on by one at a time."""

    def __init__(
        self,
        plan: RestorePlan,
        target: Target,
        rings: tuple[ReadKeys, ...],
        overwrite: bool,
        kept: Callable[[Item], Attributes],
        check_stop: Callable[[], None] = lambda: None,
        make_way: Callable[[Item], None] = lambda _: None,
    ) -> None:
        """kept: the attributes that a file gets. check_stop: called while long files are hashed; raises to end it.

        make_way: called just before a file gets its name; raises where it must not.
        """
        self._plan = plan
        self._target = target
        self._identities = [keys.identity for keys in rings]
        self._overwrite = overwrite
        self._kept = kept
        self._check_stop = check_stop
        self._make_way = make_way
        self._lock = Lock()
        self._placings: OrderedDict[int, _Open] = OrderedDict()
        self._begun: set[int] = set()  # whose parts were all written by this process
        self.placed_files = 0
        self.placed_bytes = 0

    def place_segment(self, segment: int, content: bytes) -> None:
        """Write all that is needed of a segment; files that are complete with it get their names."""
        grown: dict[int, Item] = {}
        done: list[int] = []
        placed_bytes = 0
        with SmallFiles(self._target, self._overwrite, self._plan.token) as small:
            for need in self._plan.needs(segment):
                try:
                    piece = _piece(need, content)
                    if need.length == need.item.entry.size:
                        self._place_whole(small, need.item, piece)
                        done.append(need.item.id)
                        placed_bytes += need.length
                    else:
                        self._write_part(need, piece)
                        grown[need.item.id] = need.item
                except UsenetSyncError as error:
                    self.fail(need.item, error)
        self._plan.segment_written(segment, done)
        self._count(len(done), placed_bytes)
        for item in grown.values():
            self._finish_if_complete(item)

    def place_empty(self, items: list[Item]) -> None:
        """Files without content."""
        done: list[int] = []
        with SmallFiles(self._target, self._overwrite, self._plan.token) as small:
            for item in items:
                try:
                    self._make_way(item)
                    small.place(item.entry, b"", self._kept(item))
                    done.append(item.id)
                except UsenetSyncError as error:
                    self.fail(item, error)
        self._plan.set_done(done)
        self._count(len(done), 0)

    def fail(self, item: Item, error: UsenetSyncError) -> None:
        """This file cannot be restored; the others go on. A full disk ends the job instead."""
        if ends_the_job(error):
            raise error
        self._plan.set_state(item.id, FAILED, str(error))
        self._discard(item)

    def close(self) -> None:
        """Let go of files under way; their temporary names are in the plan."""
        with self._lock:
            opened, self._placings = list(self._placings.values()), OrderedDict()
        for one in opened:
            one.close()

    def _place_whole(self, small: SmallFiles, item: Item, piece: memoryview) -> None:
        entry = item.entry
        if not any(content_hash(key, piece)[:HASH_BYTES] == entry.content_hash for key in self._identities):
            raise ContentMismatch("the content is not the one that the index names")
        self._make_way(item)
        small.place(entry, piece, self._kept(item))

    def _write_part(self, need: Need, piece: memoryview) -> None:
        while True:
            opened = self._open(need.item)
            with opened.lock:
                if opened.closed:  # put aside to keep few files open, just after it was handed out
                    continue
                if need.times > 1 and need.item.entry.sparse and not any(piece):
                    return  # a new file holds zeros there, a resumed one this content or zeros
                for number in range(need.times):
                    if number % 1_000 == 999:
                        self._check_stop()
                    opened.placing.write(need.position + number * need.length, piece)
                return

    def _open(self, item: Item) -> "_Open":
        evicted: _Open | None = None
        with self._lock:
            opened = self._placings.get(item.id)
            if opened is not None:
                self._placings.move_to_end(item.id)
                return opened
            opened = _Open(self._begin(item))
            self._placings[item.id] = opened
            if len(self._placings) > OPEN_FILES:
                _, evicted = self._placings.popitem(last=False)
        if evicted is not None:
            evicted.close()
        return opened

    def _begin(self, item: Item) -> Placing:
        entry = item.entry
        part = self._plan.item(item.id).part
        if part is not None:
            resumed = self._target.resume_file(entry.path, part.encode(), entry.size, entry.sparse)
            if resumed is not None:
                return resumed
            self._plan.fetch_again(item.id)
        placing = self._target.begin_file(entry.path, entry.size, entry.sparse)
        self._begun.add(item.id)
        self._plan.set_part(item.id, placing.temporary.decode())
        return placing

    def _finish_if_complete(self, item: Item) -> None:
        try:
            if self._plan.is_ready(item.id):
                self.finish_file(item)
        except UsenetSyncError as error:
            self.fail(item, error)

    def finish_file(self, item: Item) -> None:
        """Hash a file whose parts are all written, and give it its name; nothing if it is not so far."""
        while True:
            if self._plan.item_state(item.id) != OPEN:
                return
            opened = self._open(item)
            with opened.lock:
                if opened.closed:
                    continue
                if self._plan.item_state(item.id) != OPEN:  # another thread was faster
                    self._discard(item)
                    return
                if not self._plan.is_ready(item.id):
                    return
                if self._is_right(item.entry, opened.placing):
                    mode, mtime_ns = item.entry.mode, item.entry.mtime_ns
                    self._make_way(item)
                    opened.placing.finish(mode, mtime_ns, self._overwrite, False, self._kept(item))
                    self._plan.set_state(item.id, DONE)
                    break
                if item.id in self._begun:
                    raise ContentMismatch("its parts do not add up to the file that the index names")
                self._begin_again(item)
                return
        self._forget(item.id)
        self._count(1, item.entry.size)

    def _begin_again(self, item: Item) -> None:
        """What an earlier process had written did not last, as after a power failure: fetch all of it once more."""
        log.warning("parts_did_not_last", item=item.id)
        self._begun.add(item.id)
        self._discard(item)
        self._plan.fetch_again(item.id)

    def _is_right(self, entry: Entry, placing: Placing) -> bool:
        parent, _ = split(entry.path)
        part = join(RelativePath(parent), placing.temporary)
        return any(self._hash_of(part, key) == entry.content_hash for key in self._identities)

    def _hash_of(self, part: RelativePath, identity: bytes) -> bytes:
        hasher = FileHasher(identity)
        with read.open_file(self._target.root, part) as opened:
            for piece in opened.slices(bytearray(SEGMENT_SIZE_BYTES)):
                self._check_stop()
                hasher.add_slice(piece)
        return hasher.digest()[:HASH_BYTES]

    def _forget(self, item: int) -> "_Open | None":
        with self._lock:
            opened = self._placings.pop(item, None)
        if opened is not None:
            opened.close()
        return opened

    def _discard(self, item: Item) -> None:
        """Remove what there is of a file under its temporary name."""
        self._forget(item.id)
        part = self._plan.item(item.id).part
        entry = item.entry
        if part is not None:
            left = self._target.resume_file(entry.path, part.encode(), entry.size, entry.sparse)
            if left is not None:
                left.discard()

    def _count(self, files: int, size: int) -> None:
        with self._lock:
            self.placed_files += files
            self.placed_bytes += size


class _Open:
    """A file under way and the lock of whoever writes to it."""

    def __init__(self, placing: Placing) -> None:
        self.placing = placing
        self.lock = RLock()
        self.closed = False

    def close(self) -> None:
        with self.lock:
            self.closed = True
            self.placing.close()


def ends_the_job(error: UsenetSyncError) -> bool:
    """Whether an error is about the machine and not about one file."""
    return isinstance(error, (DiskFull, Cancelled, CatalogueError))


def _piece(need: Need, content: bytes) -> memoryview:
    end = need.offset + need.length
    if end > len(content):
        raise FormatError("the index names a part beyond the end of its segment")
    return memoryview(content)[need.offset : end]
