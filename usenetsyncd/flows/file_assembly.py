"""Put files together from segments that arrive in any order, several at a time.

A file that fits into one segment is placed at once. Larger ones grow under a temporary name; when their
last part has come they are read back, hashed and renamed. Only a bounded number is open at any moment.
"""

from collections import OrderedDict
from threading import Lock, RLock

from usenetsyncd.errors import (
    Cancelled,
    CatalogueError,
    ContentMismatch,
    DiskFull,
    FormatError,
    UsenetSyncError,
)
from usenetsyncd.flows.restore_plan import DONE, FAILED, Item, Need, RestorePlan
from usenetsyncd.folders import read
from usenetsyncd.folders.place import Target
from usenetsyncd.folders.placing import Placing
from usenetsyncd.folders.safety import split
from usenetsyncd.folders.scan import join
from usenetsyncd.model import SEGMENT_SIZE_BYTES, RelativePath
from usenetsyncd.wire.keys import ReadKeys
from usenetsyncd.wire.segment import FileHasher, content_hash

OPEN_FILES = 128
HASH_BYTES = 16


class FileAssembly:
    """Writes contents into files. Threads may share it; each file is worked on by one at a time."""

    def __init__(
        self, plan: RestorePlan, target: Target, rings: tuple[ReadKeys, ...], overwrite: bool
    ) -> None:
        self._plan = plan
        self._target = target
        self._identities = [keys.identity for keys in rings]
        self._overwrite = overwrite
        self._lock = Lock()
        self._placings: OrderedDict[int, _Open] = OrderedDict()
        self.placed_files = 0
        self.placed_bytes = 0

    def place_segment(self, segment: int, content: bytes) -> None:
        """Write all that is needed of a segment; files that are complete with it get their names."""
        grown: list[Item] = []
        done: list[int] = []
        for need in self._plan.needs(segment):
            try:
                piece = _piece(need, content)
                if need.length == need.item.entry.size:
                    self._place_whole(need.item, piece)
                    done.append(need.item.id)
                else:
                    self._write_part(need, piece)
                    grown.append(need.item)
            except UsenetSyncError as error:
                self.fail(need.item, error)
        self._plan.set_states(done, DONE)
        self._plan.segment_written(segment)
        for item in {item.id: item for item in grown}.values():
            self._finish_if_complete(item)

    def place_empty(self, item: Item) -> None:
        """A file without content."""
        try:
            with self._target.begin_file(item.entry.path, 0) as placing:
                placing.finish(item.entry.mode, item.entry.mtime_ns, self._overwrite, flush=False)
        except UsenetSyncError as error:
            self.fail(item, error)
            return
        self._plan.set_state(item.id, DONE)
        self._count(item)

    def fail(self, item: Item, error: UsenetSyncError) -> None:
        """This file cannot be restored; the others go on. A full disk ends the job instead."""
        if ends_the_job(error):
            raise error
        self._plan.set_state(item.id, FAILED, str(error))
        self._forget(item.id, discard=True)

    def close(self) -> None:
        """Let go of files under way; their temporary names are in the plan."""
        with self._lock:
            opened, self._placings = list(self._placings.values()), OrderedDict()
        for one in opened:
            with one.lock:
                one.placing.close()

    def _place_whole(self, item: Item, piece: memoryview) -> None:
        entry = item.entry
        if not any(content_hash(key, piece)[:HASH_BYTES] == entry.content_hash for key in self._identities):
            raise ContentMismatch("the content is not the one that the index names")
        with self._target.begin_file(entry.path, entry.size, entry.sparse) as placing:
            try:
                placing.write(0, piece)
                placing.finish(entry.mode, entry.mtime_ns, self._overwrite, flush=False)
            except UsenetSyncError:
                placing.discard()
                raise
        self._count(item)

    def _write_part(self, need: Need, piece: memoryview) -> None:
        opened = self._open(need.item)
        with opened.lock:
            if opened.closed:
                opened = self._open(need.item)
            opened.placing.write(need.position, piece)

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
        part = item.part or self._plan.item(item.id).part
        if part is not None:
            resumed = self._target.resume_file(entry.path, part.encode(), entry.size, entry.sparse)
            if resumed is not None:
                return resumed
            self._plan.fetch_again(item.id)
        placing = self._target.begin_file(entry.path, entry.size, entry.sparse)
        self._plan.set_part(item.id, placing.temporary.decode())
        return placing

    def _finish_if_complete(self, item: Item) -> None:
        with self._lock:
            opened = self._placings.get(item.id)
        if opened is None or self._plan.missing_segments(item.id):
            return
        try:
            self.finish_file(item)
        except UsenetSyncError as error:
            self.fail(item, error)

    def finish_file(self, item: Item) -> bool:
        """Hash a file whose parts are all written, and give it its name. False: it must be fetched again."""
        opened = self._open(item)
        with opened.lock:
            if (
                opened.closed
                or self._plan.item_state(item.id) == DONE
                or self._plan.missing_segments(item.id)
            ):
                return False
            entry = item.entry
            parent, _ = split(entry.path)
            part = join(RelativePath(parent), opened.placing.temporary)
            if not self._hash_matches(part, entry.content_hash):
                self._plan.fetch_again(item.id)
                raise ContentMismatch("its parts do not add up to the file that the index names")
            opened.placing.finish(entry.mode, entry.mtime_ns, self._overwrite, flush=False)
            self._plan.set_state(item.id, DONE)
        self._forget(item.id, discard=False)
        self._count(item)
        return True

    def _hash_matches(self, part: RelativePath, expected: bytes) -> bool:
        hashers = [FileHasher(key) for key in self._identities]
        with read.open_file(self._target.root, part) as opened:
            for piece in opened.slices(bytearray(SEGMENT_SIZE_BYTES)):
                for hasher in hashers:
                    hasher.add_slice(piece)
        return any(hasher.digest()[:HASH_BYTES] == expected for hasher in hashers)

    def _forget(self, item: int, discard: bool) -> None:
        with self._lock:
            opened = self._placings.pop(item, None)
        if opened is not None:
            with opened.lock:
                opened.closed = True
                if discard:
                    opened.placing.discard()
                else:
                    opened.placing.close()

    def _count(self, item: Item) -> None:
        with self._lock:
            self.placed_files += 1
            self.placed_bytes += item.entry.size


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
