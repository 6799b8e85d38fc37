"""Shares that are followed: which, into what directory, and how far each of them is."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers, Row
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.model import PageRef, RelativePath, SegmentId

_SELECT = """SELECT id, target, access, passphrase, fingerprint, every_s, state, code, reason, added_at, asked_at,
    updated_at, version, root_segment, root_offset, root_length, files, bytes, conflicts,
    (SELECT count(*) FROM follow_left WHERE follow_id = follow.id) FROM follow"""


class FollowState(StrEnum):
    """stopped: by what the share or the directory is like; it goes on when a person says so."""

    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"


class LeftPath(NamedTuple):
    """A path that could not be placed. stands: what of ours is there instead, packed by flows.before; None: nothing."""

    path: RelativePath
    stands: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class FollowRow:
    """One followed share. code, reason: of the last trouble, "" while all is well.

    version, root: what stands in the directory; 0 and None before the first. conflicts: local changes that were kept
    beside, since it was added. left: paths that could not be placed.
    """

    id: int
    target: bytes
    access: bytes = field(repr=False)
    passphrase: bytes | None = field(repr=False)
    fingerprint: bytes
    every_s: float
    state: FollowState
    code: str
    reason: str
    added_at: float
    asked_at: float | None
    updated_at: float | None
    version: int
    root: PageRef | None
    files: int
    bytes: int
    conflicts: int
    left: int


@dataclass(frozen=True, slots=True)
class Step:
    """A version that stands in the directory now, but for the paths that are left."""

    version: int
    root: PageRef | None
    files: int
    bytes: int
    conflicts: int
    left: Sequence[LeftPath]


class Follows:
    """The table of followed shares."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def add(
        self, target: bytes, access: bytes, passphrase: bytes | None, fingerprint: bytes, every_s: float
    ) -> FollowRow:
        """access, passphrase: sealed. Raises UsageError when something is followed into this directory already."""
        now = self._clock.now()

        def intent(database: Connection) -> int:
            if database.run("SELECT 1 FROM follow WHERE target = ?", (target,)).fetchone():
                raise UsageError("something is followed into this directory already")
            cursor = database.run(
                "INSERT INTO follow (target, access, passphrase, fingerprint, every_s, state, code, reason, added_at, "
                "version, files, bytes, conflicts) VALUES (?, ?, ?, ?, ?, 'active', '', '', ?, 0, 0, 0, 0)",
                (target, access, passphrase, fingerprint, every_s, now),
            )
            return int(cursor.lastrowid or 0)

        return self.get(self._writer.run(intent, durable=True))

    def get(self, follow_id: int) -> FollowRow:
        """Raises NotFound."""
        row = self._readers.fetch_one(f"{_SELECT} WHERE id = ?", (follow_id,))
        if row is None:
            raise NotFound(f"nothing is followed under the number {follow_id}")
        return _follow(row)

    def list(self) -> "Sequence[FollowRow]":
        """All, in the order in which they were added."""
        return [_follow(row) for row in self._readers.fetch(f"{_SELECT} ORDER BY id", ())]

    def left(self, follow_id: int) -> "Sequence[LeftPath]":
        """Paths that could not be placed, by path."""
        rows = self._readers.fetch(
            "SELECT path, stands, reason FROM follow_left WHERE follow_id = ? ORDER BY path", (follow_id,)
        )
        return [LeftPath(RelativePath(row[0]), row[1], row[2]) for row in rows]

    def asked(self, follow_id: int, code: str = "", reason: str = "") -> "Future[None]":
        """Servers were asked; with a code, in vain."""
        now = self._clock.now()

        def intent(database: Connection) -> None:
            database.run(
                "UPDATE follow SET asked_at = ?, code = ?, reason = ? WHERE id = ?",
                (now, code, reason, follow_id),
            )

        return self._writer.submit(intent)

    def set_state(
        self, follow_id: int, state: FollowState, code: str = "", reason: str = ""
    ) -> "Future[None]":
        """Raises NotFound."""

        def intent(database: Connection) -> None:
            changed = database.run(
                "UPDATE follow SET state = ?, code = ?, reason = ? WHERE id = ?",
                (state.value, code, reason, follow_id),
            ).rowcount
            if not changed:
                raise NotFound(f"nothing is followed under the number {follow_id}")

        return self._writer.submit(intent, durable=True)

    def step(self, follow_id: int, to: Step) -> "Future[None]":
        """Another version stands in the directory, all of whose files are on the disk."""
        now = self._clock.now()

        def intent(database: Connection) -> None:
            root = to.root
            changed = database.run(
                "UPDATE follow SET version = ?, root_segment = ?, root_offset = ?, root_length = ?, files = ?, "
                "bytes = ?, conflicts = conflicts + ?, updated_at = ? WHERE id = ?",
                (
                    to.version,
                    root and root.segment,
                    root and root.offset,
                    root and root.length,
                    to.files,
                    to.bytes,
                    to.conflicts,
                    now,
                    follow_id,
                ),
            ).rowcount
            if not changed:
                return  # removed meanwhile
            database.run("DELETE FROM follow_left WHERE follow_id = ?", (follow_id,))
            for one in to.left:
                database.run("INSERT INTO follow_left VALUES (?, ?, ?, ?)", (follow_id, *one))

        return self._writer.submit(intent, durable=True)

    def start_over(self, follow_id: int) -> "Future[None]":
        """Nothing of it stands in the directory any more."""

        def intent(database: Connection) -> None:
            database.run(
                "UPDATE follow SET version = 0, root_segment = NULL, root_offset = NULL, root_length = NULL WHERE id = ?",
                (follow_id,),
            )
            database.run("DELETE FROM follow_left WHERE follow_id = ?", (follow_id,))

        return self._writer.submit(intent, durable=True)

    def remove(self, follow_id: int) -> "Future[None]":
        """Forget it; what was placed stays. Raises NotFound."""

        def intent(database: Connection) -> None:
            if not database.run("DELETE FROM follow WHERE id = ?", (follow_id,)).rowcount:
                raise NotFound(f"nothing is followed under the number {follow_id}")
            database.run("DELETE FROM follow_left WHERE follow_id = ?", (follow_id,))

        return self._writer.submit(intent, durable=True)


def _follow(row: Row) -> FollowRow:
    root = None if row[13] is None else PageRef(SegmentId(row[13]), row[14], row[15])
    return FollowRow(
        id=row[0],
        target=row[1],
        access=row[2],
        passphrase=row[3],
        fingerprint=row[4],
        every_s=row[5],
        state=FollowState(row[6]),
        code=row[7],
        reason=row[8],
        added_at=row[9],
        asked_at=row[10],
        updated_at=row[11],
        version=row[12],
        root=root,
        files=row[16],
        bytes=row[17],
        conflicts=row[18],
        left=row[19],
    )
