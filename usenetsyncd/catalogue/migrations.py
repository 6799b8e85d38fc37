"""Bring a catalogue file to this version's schema, step by step, or refuse it untouched."""

import time
from collections.abc import Callable, Mapping

import structlog

from usenetsyncd.catalogue import tables
from usenetsyncd.catalogue.connection import Connection
from usenetsyncd.errors import CatalogueDamaged, NewerCatalogue

log = structlog.get_logger("catalogue")

SCHEMA_VERSION = 1

Step = Callable[[Connection], None]

# Version -> what turns the version before into it. A step is frozen once released: it speaks SQL of its
# own, never the models of tables.py, which go on changing. A new file is made from the models at once.
STEPS: Mapping[int, Step] = {}


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
