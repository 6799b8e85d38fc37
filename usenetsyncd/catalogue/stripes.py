"""Stripes: which posted segments have parity, which wait for it, and what the next version says of both.

A folder is tracked while parity is made for it: every segment of file content that is posted is listed as unprotected
until a stripe takes it. Also here: message-ids that servers changed, which versions publish in the same way.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future

from usenetsyncd.catalogue import protection
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.rows import ArticleState, SegmentRow
from usenetsyncd.catalogue.segments import insert_articles, revive
from usenetsyncd.catalogue.statements import RowIds, Tallies, change_in, insert, select_in
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.model import ArticleAddress, ArticleKind, MessageId, Priority, SegmentId
from usenetsyncd.wire.overrides import Override
from usenetsyncd.wire.stripes import Member, Stripe

# Segments looked at in one transaction while a folder's old ones are listed.
FILL_STRETCH = 50_000
READ_CHUNK = 256
_FILLING, _FILLED = 1, 2
_UNFINISHED = "NOT IN (0, 5)"  # neither posted nor given up
_SECOND_COPY = 1


class Stripes:
    """The stripes of every folder."""

    def __init__(self, readers: Readers, writer: Writer, ids: RowIds) -> None:
        self._readers = readers
        self._writer = writer
        self._ids = ids

    # -- what has none yet -----------------------------------------------------------------

    def track(self, folder_id: int) -> None:
        """From now on list what is posted; what was posted before is listed first. Waits for it, once per folder."""
        if self._tracking(folder_id) == _FILLED:
            return
        self._set_tracking(folder_id, _FILLING)
        last = self._readers.fetch_one("SELECT coalesce(max(id), 0) FROM segment")
        for start in range(0, 0 if last is None else last[0] + 1, FILL_STRETCH):
            self._writer.submit(_fill(folder_id, start, start + FILL_STRETCH), alone=True).result()
        self._set_tracking(folder_id, _FILLED)

    def forget(self, folder_id: int) -> None:
        """No parity is made for this folder any more; the stripes that there are stay."""
        if self._tracking(folder_id) is None:
            return

        def intent(database: Connection) -> None:
            database.run("UPDATE folder SET parity = NULL WHERE id = ?", (folder_id,))
            database.run("DELETE FROM unprotected WHERE folder_id = ?", (folder_id,))

        self._writer.submit(intent, alone=True).result()

    def unprotected(self, folder_id: int, limit: int, after: int = 0) -> list[SegmentRow]:
        """Posted segments in no stripe, the oldest first, of rows above ``after``."""
        rows = self._readers.fetch(
            "SELECT s.id, s.folder_id, s.kind, s.seg_id, s.length, s.epoch FROM unprotected u "
            "JOIN segment s ON s.id = u.segment_id JOIN article a ON a.segment_id = s.id AND a.copy = 0 "
            "WHERE u.folder_id = ? AND u.segment_id > ? AND a.state = 0 ORDER BY u.segment_id LIMIT ?",
            (folder_id, after, limit),
        )
        return [_segment(row) for row in rows]

    def unprotected_count(self, folder_id: int) -> int:
        """How many wait for parity."""
        return self._count(
            "SELECT count(*) FROM unprotected u JOIN article a ON a.segment_id = u.segment_id AND a.copy = 0 "
            "WHERE u.folder_id = ? AND a.state = 0",
            (folder_id,),
        )

    def newest_unprotected(self, folder_id: int) -> int:
        """The highest row that waits for parity; 0 for none."""
        return self._count(
            "SELECT coalesce(max(segment_id), 0) FROM unprotected WHERE folder_id = ?", (folder_id,)
        )

    def newest_segment(self) -> int:
        """The highest row of any segment; 0 for none."""
        return self._count("SELECT coalesce(max(id), 0) FROM segment", ())

    def leave_out(self, folder_id: int, segment_rows: Collection[int]) -> "Future[None]":
        """These get no parity: no file holds them any more."""
        return self._writer.submit(
            lambda database: change_in(
                database,
                "DELETE FROM unprotected WHERE folder_id = ? AND segment_id IN",
                (folder_id,),
                segment_rows,
            )
        )

    # -- making and giving up -----------------------------------------------------------------

    def add(
        self,
        folder_id: int,
        members: Sequence[SegmentRow],
        parity: Sequence[SegmentId],
        copies: int,
        priority: Priority,
    ) -> "Future[int | None]":
        """A stripe over these posted segments of one epoch; its parity segments are queued.

        Their contents must be staged before. Returns the stripe's row; None, and nothing done, where one of the
        members has meanwhile got into another stripe or is not posted any more.
        """
        rows = [member.id for member in members]
        length = max(member.length for member in members)
        epoch = members[0].epoch

        def intent(database: Connection) -> int | None:
            free = "SELECT u.segment_id FROM unprotected u JOIN article a ON a.segment_id = u.segment_id AND a.copy = 0 "
            free += "WHERE u.folder_id = ? AND a.state = 0 AND u.segment_id IN"
            if len(set(select_in(database, free, (folder_id,), rows))) != len(rows):
                return None
            stripe = self._ids.take(database, "stripe")
            database.run(
                "INSERT INTO stripe (id, folder_id, epoch, data, parity, length, state) VALUES (?, ?, ?, ?, ?, ?, 0)",
                (stripe, folder_id, epoch, len(rows), len(parity), length),
            )
            made = [
                self._put_parity(database, folder_id, seg_id, length, epoch, copies, priority)
                for seg_id in parity
            ]
            params: list[int] = []
            for position, row in enumerate([*rows, *made]):
                params += (stripe, position, row)
            head = "INSERT INTO stripe_member (stripe_id, position, segment_id) VALUES"
            insert(database, head, 3, params)
            change_in(
                database, "DELETE FROM unprotected WHERE folder_id = ? AND segment_id IN", (folder_id,), rows
            )
            # All of its parity may be there already: content that two stripes have in common.
            database.run(protection.POSTED_STRIPE, (made[0],))
            return stripe

        return self._writer.submit(intent)

    def _put_parity(
        self,
        database: Connection,
        folder_id: int,
        seg_id: SegmentId,
        length: int,
        epoch: int,
        copies: int,
        priority: Priority,
    ) -> int:
        tallies = Tallies()
        found = database.run(
            "SELECT id FROM segment WHERE folder_id = ? AND kind = 5 AND seg_id = ?", (folder_id, seg_id)
        ).fetchone()
        if found is None:
            row = self._ids.take(database, "segment")
            database.run(
                "INSERT INTO segment (id, folder_id, kind, seg_id, length, epoch) VALUES (?, ?, 5, ?, ?, ?)",
                (row, folder_id, seg_id, length, epoch),
            )
            insert_articles(database, folder_id, [(row, length)], copies, priority, tallies)
        else:
            row = int(found[0])
            revive(database, folder_id, [row], priority, tallies)
        tallies.write(database)
        return row

    def give_up(self, stripe: int) -> "Future[bool]":
        """The content of its parity cannot be had: its members wait for another stripe. False when it is posted."""

        def intent(database: Connection) -> bool:
            row = database.run("SELECT folder_id, data, state FROM stripe WHERE id = ?", (stripe,)).fetchone()
            if row is None or row[2] != 0:
                return False
            folder_id, data, _ = row
            members = database.run(
                "SELECT position, segment_id FROM stripe_member WHERE stripe_id = ?", (stripe,)
            ).fetchall()
            database.run("DELETE FROM stripe_member WHERE stripe_id = ?", (stripe,))
            database.run("DELETE FROM stripe WHERE id = ?", (stripe,))
            for position, segment in members:
                if position < data:
                    database.run(
                        "INSERT INTO unprotected (folder_id, segment_id) SELECT id, ? FROM folder "
                        "WHERE id = ? AND parity IS NOT NULL ON CONFLICT DO NOTHING",
                        (segment, folder_id),
                    )
                else:
                    _abandon_unposted(database, folder_id, segment)
            return True

        return self._writer.submit(intent)

    # -- finding -------------------------------------------------------------------------

    def find(self, folder_id: int, seg_id: bytes) -> Stripe | None:
        """A stripe that this segment, data or parity, is in."""

        def ask(database: Connection) -> Stripe | None:
            row = database.run(
                "SELECT m.stripe_id FROM segment s JOIN stripe_member m ON m.segment_id = s.id "
                "WHERE s.folder_id = ? AND s.kind IN (1, 5) AND s.seg_id = ? ORDER BY m.stripe_id LIMIT 1",
                (folder_id, seg_id),
            ).fetchone()
            return None if row is None else _read_stripes(database, [row[0]])[0]

        return self._readers.query(ask)

    def unposted(self, folder_id: int) -> list[tuple[int, Stripe]]:
        """Stripes whose parity is not all on a server, by row."""

        def ask(database: Connection) -> list[tuple[int, Stripe]]:
            rows = database.run(
                "SELECT id FROM stripe WHERE folder_id = ? AND state = 0 ORDER BY id", (folder_id,)
            ).fetchall()
            found = [row[0] for row in rows]
            return list(zip(found, _read_stripes(database, found), strict=True))

        return self._readers.query(ask)

    def parity_wanted(self, seg_id: bytes) -> bool:
        """Whether a parity segment still has to be posted, in any folder: its content must be kept until then."""
        return bool(
            self._count(
                "SELECT count(*) FROM folder f JOIN segment s ON s.folder_id = f.id AND s.kind = 5 AND s.seg_id = ? "  # noqa: S608
                f"JOIN article a ON a.segment_id = s.id WHERE f.removed_at IS NULL AND a.state {_UNFINISHED}",
                (seg_id,),
            )
        )

    # -- versions ------------------------------------------------------------------------

    def ready(self, folder_id: int) -> tuple[int, int]:
        """Stripes and changed message-ids (but those of index articles) that no version has told readers of."""
        stripes = self._count(
            "SELECT count(*) FROM stripe WHERE folder_id = ? AND state = 1 AND version IS NULL", (folder_id,)
        )
        overrides = self._count(
            "SELECT count(*) FROM override o JOIN segment s ON s.id = o.segment_id "
            "WHERE o.folder_id = ? AND o.state = 0 AND o.version IS NULL AND s.kind <> 2",
            (folder_id,),
        )
        return stripes, overrides

    def take(self, folder_id: int, version: int) -> "Future[tuple[int, int]]":
        """Everything ready goes into this version: how many stripes, how many message-ids."""
        return self._writer.submit(
            lambda database: (
                protection.take(database, "stripe", folder_id, version),
                protection.take(database, "override", folder_id, version),
            )
        )

    def taken_stripes(self, folder_id: int, version: int) -> Iterator[Stripe]:
        """Those that a version took, the oldest first, a few at a time."""
        after = 0
        while True:
            rows = self._readers.fetch(
                "SELECT id FROM stripe WHERE folder_id = ? AND state = 1 AND version = ? AND id > ? ORDER BY id LIMIT ?",
                (folder_id, version, after, READ_CHUNK),
            )
            found = [row[0] for row in rows]
            if not found:
                return
            after = found[-1]
            yield from self._readers.query(_reading(found))

    def taken_overrides(self, folder_id: int, version: int) -> Iterator[Override]:
        """Message-ids that a version took."""
        after = (0, -1, -1)
        while True:
            rows = self._readers.fetch(
                "SELECT o.segment_id, o.copy, o.generation, s.kind, s.seg_id, o.message_id FROM override o "
                "JOIN segment s ON s.id = o.segment_id WHERE o.folder_id = ? AND o.state = 0 AND o.version = ? "
                "AND (o.segment_id, o.copy, o.generation) > (?, ?, ?) "
                "ORDER BY o.segment_id, o.copy, o.generation LIMIT ?",
                (folder_id, version, *after, READ_CHUNK),
            )
            if not rows:
                return
            after = rows[-1][:3]
            for _, copy, generation, kind, seg_id, message_id in rows:
                at = ArticleAddress(ArticleKind(kind), seg_id, copy, generation)
                yield Override(at, MessageId(message_id))

    def message_id(self, folder_id: int, at: ArticleAddress) -> MessageId | None:
        """The id that a server gave this article instead of its own, where one did."""
        row = self._readers.fetch_one(
            "SELECT o.message_id FROM segment s JOIN override o ON o.segment_id = s.id AND o.copy = ? "
            "AND o.generation = ? WHERE s.folder_id = ? AND s.kind = ? AND s.seg_id = ?",
            (at.copy, at.generation, folder_id, int(at.kind), at.id),
        )
        return None if row is None else MessageId(row[0])

    def copy_index(self, folder_id: int, after: int, priority: Priority) -> "Future[int]":
        """A second copy of the index segments of rows above ``after``, and of the newest head; how many are queued."""

        def intent(database: Connection) -> int:
            rows = database.run(
                "SELECT s.id, s.length FROM segment s JOIN article a ON a.segment_id = s.id AND a.copy = 0 "
                "WHERE s.folder_id = ? AND s.kind = 2 AND s.id > ? AND a.state = 0 UNION "
                "SELECT s.id, s.length FROM version v JOIN segment s ON s.id = v.head_segment_id "
                "WHERE v.folder_id = ? AND v.state = 'published' AND v.version = "
                "(SELECT max(version) FROM version WHERE folder_id = ? AND state = 'published')",
                (folder_id, after, folder_id, folder_id),
            ).fetchall()
            tallies, count = Tallies(), 0
            for row, length in rows:
                made = database.run(
                    "INSERT INTO article (segment_id, copy, generation, state, folder_id, priority, not_before, attempts) "
                    "VALUES (?, ?, 0, 1, ?, ?, 0, 0) ON CONFLICT DO NOTHING",
                    (row, _SECOND_COPY, folder_id, int(priority)),
                ).rowcount
                if made:
                    tallies.move(folder_id, None, ArticleState.QUEUED, length)
                    count += 1
            tallies.write(database)
            return count

        return self._writer.submit(intent)

    # -- helpers -------------------------------------------------------------------------

    def _count(self, query: str, params: tuple[object, ...]) -> int:
        row = self._readers.fetch_one(query, params)
        return 0 if row is None else int(row[0])

    def _tracking(self, folder_id: int) -> int | None:
        row = self._readers.fetch_one("SELECT parity FROM folder WHERE id = ?", (folder_id,))
        return None if row is None else row[0]

    def _set_tracking(self, folder_id: int, state: int) -> None:
        self._writer.run(
            lambda database: database.run("UPDATE folder SET parity = ? WHERE id = ?", (state, folder_id))
        )


def _fill(folder_id: int, start: int, end: int) -> Callable[[Connection], None]:
    def intent(database: Connection) -> None:
        database.run(
            "INSERT INTO unprotected (folder_id, segment_id) SELECT s.folder_id, s.id FROM segment s "
            "JOIN article a ON a.segment_id = s.id AND a.copy = 0 WHERE s.id >= ? AND s.id < ? AND +s.folder_id = ? "
            "AND s.kind = 1 AND a.state = 0 AND NOT EXISTS (SELECT 1 FROM stripe_member WHERE segment_id = s.id) "
            "ON CONFLICT DO NOTHING",
            (start, end, folder_id),
        )

    return intent


def _abandon_unposted(database: Connection, folder_id: int, segment_row: int) -> None:
    """Articles of a parity segment that no stripe needs any more are not posted."""
    if database.run("SELECT 1 FROM stripe_member WHERE segment_id = ?", (segment_row,)).fetchone():
        return
    tallies = Tallies()
    rows = database.run(
        "SELECT a.copy, a.state, s.length FROM article a JOIN segment s ON s.id = a.segment_id "  # noqa: S608
        f"WHERE a.segment_id = ? AND a.state {_UNFINISHED}",
        (segment_row,),
    ).fetchall()
    for copy, state, length in rows:
        database.run("UPDATE article SET state = 5 WHERE segment_id = ? AND copy = ?", (segment_row, copy))
        database.run("DELETE FROM failure WHERE segment_id = ? AND copy = ?", (segment_row, copy))
        tallies.move(folder_id, state, ArticleState.ABANDONED, length)
    tallies.write(database)


def _reading(rows: Sequence[int]) -> Callable[[Connection], list[Stripe]]:
    return lambda database: _read_stripes(database, rows)


def _read_stripes(database: Connection, rows: Sequence[int]) -> list[Stripe]:
    """Stripes in the order of their rows."""
    head = "SELECT m.stripe_id, m.position, t.data, s.seg_id, s.length FROM stripe_member m "
    head += "JOIN stripe t ON t.id = m.stripe_id JOIN segment s ON s.id = m.segment_id WHERE m.stripe_id IN"
    members: dict[int, list[Member]] = {row: [] for row in rows}
    parity: dict[int, list[SegmentId]] = {row: [] for row in rows}
    found = list(select_in(database, head, (), rows, "ORDER BY m.stripe_id, m.position"))
    for stripe, position, data, seg_id, length in found:
        if position < data:
            members[stripe].append(Member(SegmentId(seg_id), length))
        else:
            parity[stripe].append(SegmentId(seg_id))
    return [Stripe(tuple(members[row]), tuple(parity[row])) for row in rows]


def _segment(row: Row) -> SegmentRow:
    return SegmentRow(row[0], row[1], ArticleKind(row[2]), SegmentId(row[3]), row[4], row[5])
