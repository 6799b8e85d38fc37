"""Users: people whom private shares can be made for. What is kept of one is public."""

from collections.abc import Collection
from typing import Any

from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.catalogue.database import Readers
from usenetsyncd.catalogue.rows import UserRow
from usenetsyncd.catalogue.writer import Writer
from usenetsyncd.clock import Clock
from usenetsyncd.errors import NotFound, UsageError

__all__ = ["UserRow", "Users"]

_SELECT = "SELECT id, name, fingerprint, card, added_at FROM user"


class Users:
    """The table of users."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    def add(self, name: str, fingerprint: bytes, card: bytes) -> UserRow:
        """Waits for the commit. Raises UsageError when the name or the identity is there already."""

        def intent(database: Connection) -> None:
            taken = database.run(
                "SELECT name FROM user WHERE name = ? OR fingerprint = ?", (name, fingerprint)
            ).fetchone()
            if taken is not None:
                what = "there is a user" if taken[0] == name else "this identity is known as"
                raise UsageError(f"{what} {taken[0]!r} already; usyncctl user list shows all")
            database.run(
                "INSERT INTO user (name, fingerprint, card, added_at) VALUES (?, ?, ?, ?)",
                (name, fingerprint, card, self._clock.now()),
            )

        self._writer.run(intent, durable=True)
        return self.named(name)

    def named(self, name: str) -> UserRow:
        """Raises NotFound."""
        row = self._readers.fetch_one(f"{_SELECT} WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"there is no user {name!r}; usyncctl user add makes one from an exported card")
        return _user(row)

    def by_ids(self, ids: Collection[int]) -> list[UserRow]:
        """By name; ids of users that are gone are left out."""
        return [user for user in self.list() if user.id in ids]

    def list(self) -> list[UserRow]:
        """All, by name: people, so there are never many."""
        return [_user(row) for row in self._readers.fetch(f"{_SELECT} ORDER BY name")]

    def remove(self, user_id: int) -> None:
        """Forget a user. Raises UsageError for a member of a share in force."""

        def intent(database: Connection) -> None:
            member = database.run(
                "SELECT m.share_id FROM member m JOIN share s ON s.id = m.share_id "
                "WHERE m.user_id = ? AND s.revoked_at IS NULL LIMIT 1",
                (user_id,),
            ).fetchone()
            if member is not None:
                raise UsageError(f"a member of share {member[0]} must leave it first")
            database.run("DELETE FROM member WHERE user_id = ?", (user_id,))
            database.run("DELETE FROM user WHERE id = ?", (user_id,))

        self._writer.run(intent, durable=True)


def _user(row: tuple[Any, ...]) -> UserRow:
    return UserRow(row[0], row[1], bytes(row[2]), bytes(row[3]), row[4])
