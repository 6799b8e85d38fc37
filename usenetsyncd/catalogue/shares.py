"""Shares given out. Their secrets are sealed by the vault before they come here."""

from concurrent.futures import Future
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.paging import Page, bounded, decode_cursor, page_of
from usenetsyncd.catalogue.rows import ShareRow
from usenetsyncd.catalogue.tables import Share
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound

__all__ = ["ShareRow", "Shares"]

_Rows = list[dict[str, Any]]


class Shares:
    """The table of shares."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def add(
        self,
        share_id: str,
        folder_id: int,
        access: str,
        secret: bytes,
        expires_at: float | None = None,
        serial: int = 0,
    ) -> ShareRow:
        """Store a new share. Waits for the commit: an access string must not be shown before."""
        row = ShareRow(share_id, folder_id, access, secret, serial, self._clock.now(), expires_at, None)

        def intent(database: Connection) -> None:
            Share.insert(
                id=row.id,
                folder_id=row.folder_id,
                access=row.access,
                secret=row.secret,
                serial=row.serial,
                created_at=row.created_at,
                expires_at=row.expires_at,
            ).execute(database)

        self._writer.run(intent, durable=True)
        return row

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
        """Set any of access, secret, serial, expires_at, revoked_at."""

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


def _share(row: dict[str, Any]) -> ShareRow:
    return ShareRow(**{**row, "secret": bytes(row["secret"])})
