"""Shares given out. Their secrets are sealed by the vault before they come here."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, page_of
from usenetsyncd.catalogue.rows import ShareRow
from usenetsyncd.catalogue.segments import Segments
from usenetsyncd.catalogue.tables import Member, Share
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound, UsageError
from usenetsyncd.model import ArticleKind, Priority, SegmentId

__all__ = ["IssuedEnvelope", "ShareRow", "Shares"]

_Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, repr=False)
class IssuedEnvelope:
    """A signed envelope on its way into the queue. epoch: the one that it opens."""

    seg_id: SegmentId
    serial: int
    epoch: int
    content: bytes
    copies: int = 1


class Shares:
    """The tables of shares and of their members."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock, segments: Segments) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._segments = segments

    def add(
        self,
        share_id: str,
        folder_id: int,
        access: str,
        secret: bytes,
        expires_at: float | None = None,
        serial: int = 0,
        material: bytes | None = None,
        members: Sequence[int] = (),
    ) -> ShareRow:
        """Store a new share, for these users. Waits for the commit: a string must not be shown before."""
        now = self._clock.now()
        row = ShareRow(share_id, folder_id, access, secret, serial, now, expires_at, None, None, material)

        def intent(database: Connection) -> None:
            Share.insert(
                id=row.id,
                folder_id=row.folder_id,
                access=row.access,
                secret=row.secret,
                serial=row.serial,
                created_at=row.created_at,
                expires_at=row.expires_at,
                material=row.material,
            ).execute(database)
            _add_members(database, share_id, members, now)

        self._writer.run(intent, durable=True)
        return row

    def issue(
        self,
        share_id: str,
        envelope: IssuedEnvelope,
        *,
        add: Sequence[int] = (),
        drop: Sequence[int] = (),
        next_epoch: int | None = None,
        **values: Any,
    ) -> "Future[None]":
        """Queue the next envelope of a share together with what it is about: both or neither, durably.

        add, drop: users. next_epoch: the folder's epoch from now on. values: as in ``update``. Raises NotFound, and
        UsageError when another envelope was issued meanwhile.
        """
        now = self._clock.now()

        def intent(database: Connection) -> None:
            share = database.run("SELECT folder_id, serial FROM share WHERE id = ?", (share_id,)).fetchone()
            if share is None:
                raise NotFound(f"there is no share {share_id!r}")
            if share[1] != envelope.serial - 1:
                raise UsageError(
                    f"share {share_id} was changed by somebody else just now; look and try again"
                )
            self._segments.put_blob(
                database, share[0], ArticleKind.ENVELOPE, envelope.seg_id, envelope.content, envelope.epoch,
                envelope.copies, Priority.CRITICAL,
            )  # fmt: skip
            changed = {**values, "serial": envelope.serial, "epoch": envelope.epoch}
            Share.update(**changed).where(Share.id == share_id).execute(database)
            _add_members(database, share_id, add, now)
            for user in drop:
                database.run("DELETE FROM member WHERE share_id = ? AND user_id = ?", (share_id, user))
            if next_epoch is not None:
                database.run("UPDATE folder SET epoch = max(epoch, ?) WHERE id = ?", (next_epoch, share[0]))

        return self._writer.submit(intent, durable=True)

    def members(self, share_id: str) -> list[int]:
        """Ids of the users whom a private share is for, in the order of their ids."""
        rows = self._readers.fetch(
            "SELECT user_id FROM member WHERE share_id = ? ORDER BY user_id", (share_id,)
        )
        return [row[0] for row in rows]

    def of_member(self, user_id: int) -> list[str]:
        """Ids of the shares that are not revoked and that a user is in."""
        rows = self._readers.fetch(
            "SELECT m.share_id FROM member m JOIN share s ON s.id = m.share_id "
            "WHERE m.user_id = ? AND s.revoked_at IS NULL ORDER BY m.share_id",
            (user_id,),
        )
        return [row[0] for row in rows]

    def behind(self, folder_id: int, epoch: int) -> list[ShareRow]:
        """Shares in force whose newest envelope opens an older epoch than this one, or that have none."""
        where = (Share.folder_id == folder_id) & Share.revoked_at.is_null()
        where &= Share.epoch.is_null() | (Share.epoch < epoch)
        where &= Share.expires_at.is_null() | (Share.expires_at > self._clock.now())
        return [_share(row) for row in self._select(where, -1)]

    def expired_in(self, folder_id: int, epoch: int) -> bool:
        """Whether a share that is over, and was not revoked, opens this epoch."""
        where = (Share.folder_id == folder_id) & Share.revoked_at.is_null()
        where &= (Share.epoch == epoch) & (Share.expires_at <= self._clock.now())
        return bool(self._select(where, 1))

    def get(self, share_id: str) -> ShareRow:
        """Raises NotFound."""
        rows = self._select(Share.id == share_id, 1)
        if not rows:
            raise NotFound(f"there is no share {share_id!r}")
        return _share(rows[0])

    def list(
        self, folder_id: int | None = None, after: str | None = None, limit: int = 100
    ) -> Page[ShareRow]:
        """By id; of one folder or of all."""
        limit = bounded(limit)
        where = Share.id > (decode_cursor(after, (str,))[0] if after else "")
        if folder_id is not None:
            where &= Share.folder_id == folder_id
        return page_of(self._select(where, limit + 1), limit, _share, lambda row: (row["id"],))

    def update(self, share_id: str, **values: Any) -> "Future[None]":
        """Set any of access, secret, serial, expires_at, revoked_at, epoch, material."""

        def intent(database: Connection) -> None:
            if not Share.update(**values).where(Share.id == share_id).execute(database):
                raise NotFound(f"there is no share {share_id!r}")

        return self._writer.submit(intent, durable=True)

    def revoke(self, share_id: str) -> "Future[None]":
        """Mark it as revoked now."""
        return self.update(share_id, revoked_at=self._clock.now())

    def _select(self, where: Any, limit: int) -> _Rows:
        query = Share.select().where(where).order_by(Share.id).limit(limit).dicts()
        return self._readers.query(lambda database: [*query.execute(database)])


def _add_members(database: Connection, share_id: str, users: Sequence[int], now: float) -> None:
    for user in users:
        Member.insert(share_id=share_id, user_id=user, added_at=now).on_conflict_ignore().execute(database)


def _share(row: dict[str, Any]) -> ShareRow:
    material = row["material"]
    return ShareRow(
        **{
            **row,
            "secret": bytes(row["secret"]),
            "material": None if material is None else bytes(material),
        }
    )
