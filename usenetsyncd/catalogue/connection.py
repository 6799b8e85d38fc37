"""A peewee database with a typed way to run SQL."""

import sqlite3
from typing import Any

import peewee as pw


class Connection(pw.SqliteDatabase):
    """One connection to the catalogue. peewee's wrapped errors come out of everything."""

    def run(self, sql: str, params: Any = ()) -> sqlite3.Cursor:
        """Execute one statement; the cursor gives its rows, ``rowcount`` and ``lastrowid``."""
        cursor: sqlite3.Cursor = self.execute_sql(sql, params)  # type: ignore[no-untyped-call]
        return cursor

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection below peewee."""
        connection: sqlite3.Connection = self.connection()  # type: ignore[no-untyped-call]
        return connection

    @property
    def busy(self) -> bool:
        """In a transaction; not so after SQLite has rolled back by itself, as it may when the disk is full."""
        return self.raw.in_transaction
