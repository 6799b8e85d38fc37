"""From a changed file to its plan: read it, hash it, keep the segments that hold its content, or plan new ones.

Small files go in batches through the reader, large ones slice by slice through a few threads. A file is taken in
whole or not at all.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.scan_store import ContentExtents, EntryRow, PieceRow
from usenetsyncd.errors import FolderError
from usenetsyncd.flows.departures import Departures
from usenetsyncd.flows.plan import FileWork, Plan
from usenetsyncd.flows.realign import MARK_BYTES, Slice, realign
from usenetsyncd.flows.small_files import BATCH_BYTES, BATCH_FILES, READ_AHEAD, Batch, SmallFileReader
from usenetsyncd.folders import read, scan
from usenetsyncd.folders.root import FolderRoot
from usenetsyncd.folders.statkey import FileKey
from usenetsyncd.model import INDEX_HASH_BYTES, SEGMENT_SIZE_BYTES, EntryKind, RelativePath, same_content
from usenetsyncd.wire.segment import PACK_LIMIT_BYTES, FileHasher, segment_id

HASH_THREADS = 2
# Large files being hashed at once, each with one slice in memory.
LARGE_IN_FLIGHT = 4

# A changed file below this is posted anew where its slices have shifted.
REALIGN_FROM_BYTES = 4 * SEGMENT_SIZE_BYTES
# So many new slices are what an overwritten stretch costs anyway.
FRESH_SLICES = 2

_NOTHING_KNOWN: dict[bytes, ContentExtents] = {}


class Intake:
    """Takes files in and completes or drops each of them in the plan. Single use; for one thread."""

    def __init__(
        self,
        catalogue: Catalogue,
        folder_id: int,
        identity: bytes,
        root: FolderRoot,
        plan: Plan,
        check_stop: Callable[[], None],
        departures: Departures,
        fresh: bool,
        on_hashed: Callable[[FileWork], None],
        on_trouble: Callable[[FileWork, FolderError], None],
    ) -> None:
        """check_stop: called often, from the hashing threads too; raises to end it. departures: what
        left the folder before. fresh: the catalogue knows nothing of the folder yet. on_hashed: told of each file with content. on_trouble: of each that could not be
        read; it was dropped."""
        self._catalogue = catalogue
        self._folder_id = folder_id
        self._identity = identity
        self._root = root
        self._plan = plan
        self._check_stop = check_stop
        self._departures = departures
        self._fresh = fresh
        self._on_hashed = on_hashed
        self._on_trouble = on_trouble
        self._reader = SmallFileReader(root, identity)
        self._gathered: list[FileWork] = []
        self._gathered_bytes = 0
        self._small: deque[list[FileWork]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        # Whether stored hashes may be of an older epoch, and so under another key.
        self.older_epochs = False
        self._large: deque[tuple[FileWork, Future[_HashedFile]]] = deque()

    def close(self) -> None:
        """Let go of threads and child; what is not finished is lost."""
        self._reader.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, work: FileWork) -> None:
        """A file or symlink of an open folder, new or different from ``work.stored``. Raises Cancelled."""
        if work.kind is EntryKind.SYMLINK:
            self._take_symlink(work)
        elif work.size == 0:
            self._complete(work)
        elif work.size < PACK_LIMIT_BYTES:
            self._take_small(work)
        else:
            self._take_large(work)

    def finish(self) -> None:
        """Wait for all that was taken. Raises Cancelled."""
        self._ask()
        self._finish_small(0)
        self._finish_large(0)

    # -- kinds of files ----------------------------------------------------------------------

    def _take_symlink(self, work: FileWork) -> None:
        try:
            work.target = read.read_target(self._root, scan.join(work.folder.path, work.name), _key(work))
        except FolderError as error:
            self._drop(work, error)
        else:
            self._complete(work)

    def _complete(self, work: FileWork) -> None:
        work.publish = work.stored is None or _differs(work.stored, work)
        self._plan.complete(work)

    def _take_small(self, work: FileWork) -> None:
        if self._gathered_bytes + work.size > BATCH_BYTES:
            self._ask()
        self._gathered.append(work)
        self._gathered_bytes += work.size
        # A few files are read one by one as they come; it is only in a large scan that reading ahead pays.
        if not self._reader.reads_ahead or len(self._gathered) == BATCH_FILES:
            self._ask()

    def _ask(self) -> None:
        if not self._gathered:
            return
        batch: Batch = []
        for work in self._gathered:
            if not batch or batch[-1][0] != work.folder.path:
                batch.append((work.folder.path, []))
            batch[-1][1].append((work.name, _key(work)))
        self._finish_small(READ_AHEAD - 1)
        self._reader.ask(batch)
        self._small.append(self._gathered)
        self._gathered, self._gathered_bytes = [], 0
        if not self._reader.reads_ahead:
            self._finish_small(0)

    def _finish_small(self, leave: int) -> None:
        """Take over the batches that are read, waiting until at most ``leave`` are under way."""
        while len(self._small) > leave:
            outcome = self._reader.outcome()
            works = self._small.popleft()
            for work, content_hash in zip(works, outcome.hashes, strict=True):
                work.content_hash = content_hash
            known = self._find_contents(works)
            at = 0
            for number, work in enumerate(works):
                self._check_stop()
                end = at + work.size
                failure = outcome.failures.get(number)
                if failure is not None:
                    work.content_hash = b""
                    self._drop(work, failure)
                else:
                    self._hashed(work)
                    if not self._reuse(work, known):
                        self._plan.pack(work, outcome.content[at:end])
                at = end

    def _take_large(self, work: FileWork) -> None:
        self._finish_large(LARGE_IN_FLIGHT - 1)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(HASH_THREADS, "hash")
        path = scan.join(work.folder.path, work.name)
        future = self._pool.submit(
            _hash_file, self._root, path, _key(work), self._identity, self._check_stop, self._old_pieces(work)
        )
        self._large.append((work, future))

    def _finish_large(self, leave: int) -> None:
        """Take over the large files that are hashed, waiting until at most ``leave`` are under way."""
        while len(self._large) > leave:
            work, future = self._large.popleft()
            try:
                hashed = future.result()
            except FolderError as error:
                self._drop(work, error)
                continue
            work.content_hash = hashed.content_hash
            self._hashed(work)
            if self._reuse(work, self._find_contents([work])):
                continue
            for piece in hashed.slices:
                self._plan.add_slice(work, *piece)
            if hashed.tail:
                self._plan.pack(work, hashed.tail)
            else:
                self._plan.complete(work)

    def _old_pieces(self, work: FileWork) -> Callable[[], list[PieceRow]] | None:
        """How to ask for what the file consisted of, where it was long enough for that to be worth it."""
        stored = work.stored
        if stored is None or stored.hash is None or min(stored.size, work.size) < REALIGN_FROM_BYTES:
            return None
        return lambda: self._catalogue.scan.pieces(stored.id)

    # -- what becomes of them ----------------------------------------------------------------

    def _hashed(self, work: FileWork) -> None:
        if self.older_epochs and work.stored is not None and _is_recovered(work.stored, work):
            work.content_hash = work.stored.hash or b""
        work.publish = work.stored is None or _differs(work.stored, work)
        self._on_hashed(work)

    def _drop(self, work: FileWork, error: FolderError) -> None:
        self._plan.drop_file(work)
        self._on_trouble(work, error)

    def _find_contents(self, works: list[FileWork]) -> dict[bytes, ContentExtents]:
        """Where the catalogue has what these files hold; only what may be there is asked for."""
        wanted = {
            work.content_hash
            for work in works
            if (work.stored is None or not same_content(work.stored.hash, work.content_hash))
            and (not self._fresh or self._plan.maybe_planned(work.content_hash))
        }
        if not wanted:
            return _NOTHING_KNOWN
        found = self._catalogue.scan.find_contents(self._folder_id, wanted)
        departed = self._departures.find(self._folder_id, wanted - found.keys())
        if departed:
            segments = {segment for places in departed.values() for segment, _, _ in places}
            there = self._catalogue.scan.known_segments(self._folder_id, segments)
            found |= {
                content: places
                for content, places in departed.items()
                if all(segment in there for segment, _, _ in places)
            }
        return found

    def _reuse(self, work: FileWork, known: dict[bytes, ContentExtents]) -> bool:
        """Keep the segments that already hold this content, wherever it stands in the folder."""
        if work.stored is not None and same_content(work.stored.hash, work.content_hash):
            work.keeps_extents = True
            self._plan.complete(work)
            return True
        if self._plan.adopt_duplicate(work):
            return True
        found = known.get(work.content_hash)
        if found is None or sum(length for _, _, length in found) != work.size:
            return False
        position = 0
        for segment, offset, length in found:
            work.extents.append((position, segment, offset, length))
            position += length
        self._plan.complete(work)
        return True


@dataclass(frozen=True, slots=True)
class _HashedFile:
    content_hash: bytes
    slices: list[Slice]
    tail: bytes


def _hash_file(
    root: FolderRoot,
    path: RelativePath,
    key: FileKey,
    identity: bytes,
    check_stop: Callable[[], None],
    old_pieces: Callable[[], list[PieceRow]] | None = None,
) -> _HashedFile:
    """Hash a file slice by slice; a last slice below the packing limit is returned as it is.

    old_pieces: what it consisted of before. Where few of the slices are among them, they are sought wherever they stand.
    """
    whole = FileHasher(identity)
    slices: list[Slice] = []
    position, tail = 0, b""
    with read.open_file(root, path, key) as opened:
        for piece in opened.slices(bytearray(SEGMENT_SIZE_BYTES)):
            check_stop()
            slice_hash = whole.add_slice(piece)
            if len(piece) < PACK_LIMIT_BYTES:
                tail = bytes(piece)
            else:
                slices.append(Slice(position, slice_hash, len(piece), bytes(piece[:MARK_BYTES])))
            position += len(piece)
        if old_pieces is not None:
            old = old_pieces()
            known = {piece.seg_id for piece in old}
            fresh = sum(segment_id(one.hash) not in known for one in slices)
            if known and fresh > FRESH_SLICES:
                aligned = realign(opened, identity, old, check_stop)
                if sum(segment_id(one.hash) not in known for one in aligned.slices) < fresh:
                    slices, tail = aligned.slices, aligned.tail
    return _HashedFile(whole.digest(), slices, tail)


def _is_recovered(stored: EntryRow, work: FileWork) -> bool:
    """Whether a row came from an index (`usenetsyncd recover`), and size and time are still those of its file.

    Of an epoch that is over its hash is under another key: it cannot be compared, and the rest has to do.
    """
    from_index = stored.hash is not None and len(stored.hash) == INDEX_HASH_BYTES
    return from_index and (stored.size, stored.mtime_ns) == (work.size, work.mtime_ns)


def _differs(stored: EntryRow, work: FileWork) -> bool:
    """Whether the published entry changes: a new inode or ctime alone does not show."""
    return (
        not same_content(stored.hash, work.content_hash)
        or (stored.kind, stored.size, stored.mtime_ns) != (work.kind, work.size, work.mtime_ns)
        or (stored.mode, stored.target or None) != (work.mode, work.target or None)
        or (stored.nlink > 1) != (work.nlink > 1)
        or (work.nlink > 1 and stored.inode != work.inode)
        or (stored.attributes or None) != (work.attributes or None)
    )


def _key(work: FileWork) -> FileKey:
    # ctime is left out: a chmod between listing and reading changes no content.
    return FileKey(work.size, work.mtime_ns, work.inode)
