"""A file of a terabyte goes from the catalogue into an index without ever being in memory as a whole."""

import hashlib
import tracemalloc

import pytest

from tests.catalogue.making import batch, directory, file, seg
from usenetsyncd.catalogue.catalogue import Catalogue
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.model import SEGMENT_SIZE_BYTES, PageRef, RelativePath, SegmentId, SpilledExtents
from usenetsyncd.wire.pages import find_entry, iter_extents, update_tree

EXTENTS = 1_300_000
SEGMENTS = 1_000
PEAK_BYTES = 48_000_000


def _grow(database: Connection) -> None:
    """A file of one extent becomes one of 1,300,000, in 1,000 segments by turns: mostly holes."""
    (entry,) = database.run("SELECT id FROM entry WHERE name = ?", (b"huge",)).fetchone()
    database.run("DELETE FROM extent WHERE entry_id = ?", (entry,))
    database.run(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?), "
        "s AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM segment) "
        "INSERT INTO extent (entry_id, position, segment_id, offset, length) "
        "SELECT ?, i * ?, s.id, 0, ? FROM n JOIN s ON s.number = i % ?",
        (EXTENTS, entry, SEGMENT_SIZE_BYTES, SEGMENT_SIZE_BYTES, SEGMENTS),
    )
    database.run("UPDATE entry SET size = ? WHERE id = ?", (EXTENTS * SEGMENT_SIZE_BYTES, entry))


@pytest.mark.timeout(300)
def test_the_index_of_a_terabyte_is_written_and_read_in_little_memory(
    catalogue: Catalogue, docs: int
) -> None:
    size = SEGMENT_SIZE_BYTES
    others = [file(b"%04d" % number, f"c{number}", size) for number in range(SEGMENTS - 1)]
    catalogue.scan.store(batch(docs, directory(b"", *others, file(b"huge", "huge", size)))).result()
    catalogue.writer.run(_grow)
    segments: dict[SegmentId, bytes] = {}

    def seal(content: bytes) -> SegmentId:
        name = SegmentId(hashlib.sha256(content).digest()[:16])
        segments[name] = content
        return name

    def load(ref: PageRef) -> bytes:
        return segments[ref.segment][ref.offset : ref.offset + ref.length]

    changes = catalogue.versions.changes(docs, only_ready=False)
    tracemalloc.start()
    try:
        update = update_tree(None, changes, load, seal)
        written = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert written - sum(map(len, segments.values())) < PEAK_BYTES
    assert update.root is not None
    entry = find_entry(update.root, load, RelativePath(b"huge"))
    assert entry is not None
    assert isinstance(entry.extents, SpilledExtents)
    assert entry.extents.count == EXTENTS
    found = {extent.segment for extent, _ in zip(iter_extents(entry, load), range(SEGMENTS), strict=False)}
    assert found == {seg(f"c{number}") for number in range(SEGMENTS - 1)} | {seg("huge")}
