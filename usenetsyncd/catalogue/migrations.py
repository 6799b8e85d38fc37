"""Bring a catalogue file to this version's schema, step by step, or refuse it untouched."""

import time
from collections.abc import Callable, Mapping

import structlog

from usenetsyncd.catalogue import tables
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.errors import CatalogueDamaged, NewerCatalogue

log = structlog.get_logger("catalogue")

SCHEMA_VERSION = 2

Step = Callable[[Connection], None]

# What was found on servers, stripes, and whom shares are for.
_TO_2 = """
ALTER TABLE segment ADD COLUMN mark BLOB;
CREATE TABLE finding (segment_id INTEGER NOT NULL, copy INTEGER NOT NULL, server_id INTEGER NOT NULL,
    folder_id INTEGER NOT NULL, damage INTEGER NOT NULL, generation INTEGER NOT NULL, since REAL NOT NULL,
    checked_at REAL NOT NULL, reposted_at REAL, PRIMARY KEY (segment_id, copy, server_id)) WITHOUT ROWID;
CREATE INDEX finding_folder_id_segment_id ON finding (folder_id, segment_id);
CREATE TABLE verification (id INTEGER NOT NULL PRIMARY KEY, folder_id INTEGER NOT NULL, kind TEXT NOT NULL,
    server TEXT, state TEXT NOT NULL, started_at REAL NOT NULL, finished_at REAL, cursor_segment INTEGER NOT NULL,
    cursor_copy INTEGER NOT NULL, checked INTEGER NOT NULL, missing INTEGER NOT NULL, corrupt INTEGER NOT NULL,
    unknown INTEGER NOT NULL, sampled INTEGER NOT NULL, detail TEXT NOT NULL);
CREATE INDEX verification_folder_id_kind_id ON verification (folder_id, kind, id);
CREATE TABLE stripe (id INTEGER NOT NULL PRIMARY KEY, folder_id INTEGER NOT NULL, epoch INTEGER NOT NULL,
    data INTEGER NOT NULL, parity INTEGER NOT NULL, length INTEGER NOT NULL, state INTEGER NOT NULL,
    version INTEGER);
CREATE INDEX stripe_folder_id_state_id ON stripe (folder_id, state, id);
CREATE TABLE stripe_member (stripe_id INTEGER NOT NULL, position INTEGER NOT NULL, segment_id INTEGER NOT NULL,
    PRIMARY KEY (stripe_id, position)) WITHOUT ROWID;
CREATE INDEX stripemember_segment_id ON stripe_member (segment_id);
ALTER TABLE folder ADD COLUMN parity INTEGER;
CREATE TABLE unprotected (folder_id INTEGER NOT NULL, segment_id INTEGER NOT NULL,
    PRIMARY KEY (folder_id, segment_id)) WITHOUT ROWID;
CREATE TABLE override (segment_id INTEGER NOT NULL, copy INTEGER NOT NULL, generation INTEGER NOT NULL,
    folder_id INTEGER NOT NULL, message_id TEXT NOT NULL, state INTEGER NOT NULL, version INTEGER,
    PRIMARY KEY (segment_id, copy, generation)) WITHOUT ROWID;
CREATE INDEX override_folder_id_state_segment_id ON override (folder_id, state, segment_id);
ALTER TABLE share ADD COLUMN epoch INTEGER;
ALTER TABLE share ADD COLUMN material BLOB;
CREATE TABLE user (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, fingerprint BLOB NOT NULL,
    card BLOB NOT NULL, added_at REAL NOT NULL);
CREATE UNIQUE INDEX user_name ON user (name);
CREATE UNIQUE INDEX user_fingerprint ON user (fingerprint);
CREATE TABLE member (share_id TEXT NOT NULL, user_id INTEGER NOT NULL, added_at REAL NOT NULL,
    PRIMARY KEY (share_id, user_id)) WITHOUT ROWID;
CREATE INDEX member_user_id ON member (user_id);
ALTER TABLE change ADD COLUMN was BLOB;
CREATE INDEX change_was ON change (folder_id) WHERE was IS NOT NULL;
CREATE TABLE hold (folder_id INTEGER NOT NULL PRIMARY KEY, cause TEXT, since REAL, accepting INTEGER NOT NULL,
    released_at REAL, files INTEGER);
CREATE TABLE follow (id INTEGER NOT NULL PRIMARY KEY, target BLOB NOT NULL, access BLOB NOT NULL, passphrase BLOB,
    fingerprint BLOB NOT NULL, every_s REAL NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    added_at REAL NOT NULL, asked_at REAL, updated_at REAL, version INTEGER NOT NULL, root_segment BLOB,
    root_offset INTEGER, root_length INTEGER, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    conflicts INTEGER NOT NULL);
CREATE UNIQUE INDEX follow_target ON follow (target);
CREATE TABLE retired (segment_id INTEGER NOT NULL PRIMARY KEY, folder_id INTEGER NOT NULL, state INTEGER NOT NULL);
CREATE INDEX retired_folder_id ON retired (folder_id);
CREATE TABLE follow_left (follow_id INTEGER NOT NULL, path BLOB NOT NULL, stands BLOB, reason TEXT NOT NULL,
    PRIMARY KEY (follow_id, path)) WITHOUT ROWID
"""


def _run_all(statements: str) -> Step:
    def run(database: Connection) -> None:
        for statement in statements.split(";"):
            database.run(statement)

    return run


# Version -> what turns the version before into it. A step is frozen once released: it speaks SQL of its
# own, never the models of tables.py, which go on changing. A new file is made from the models at once.
STEPS: Mapping[int, Step] = {2: _run_all(_TO_2)}


def stored_version(database: Connection) -> int:
    """Version of the schema in the file; 0 for an empty file. Raises CatalogueDamaged for a foreign one."""
    names = {row[0] for row in database.run("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not names:
        return 0
    if "schema_version" not in names:
        raise CatalogueDamaged(
            "this file is not a UsenetSync catalogue: it has tables, but no schema version"
        )
    version = database.run("SELECT max(version) FROM schema_version").fetchone()[0]
    if version is None:
        raise CatalogueDamaged("the catalogue has lost its schema version")
    return int(version)


def refuse_newer(found: int, newest: int = SCHEMA_VERSION) -> None:
    """Raises NewerCatalogue when the file has a schema that this program does not know."""
    if found > newest:
        raise NewerCatalogue(
            f"the catalogue has schema {found}, made by a newer version of UsenetSync; "
            f"this version knows schemas up to {newest}. Nothing was changed: install the newer version, "
            "or restore a catalogue backup"
        )


def migrate(database: Connection, steps: Mapping[int, Step] = STEPS, newest: int = SCHEMA_VERSION) -> int:
    """Bring the schema to ``newest`` in one transaction; returns the version it had before."""
    found = stored_version(database)
    refuse_newer(found, newest)
    if found == newest:
        return found
    with database.atomic("IMMEDIATE"):
        if found == 0:
            create(database)
            _note(database, newest)
        for version in range(found + 1, newest + 1) if found else ():
            steps[version](database)
            _note(database, version)
    log.info("catalogue_migrated", found=found, version=newest)
    return found


def create(database: Connection) -> None:
    """Make every table and index of tables.py."""
    with database.bind_ctx(tables.ALL):
        database.create_tables(tables.ALL, safe=False)


def _note(database: Connection, version: int) -> None:
    database.run("INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", (version, time.time()))
