"""The tables of followed shares and of kept versions. See tables.py for how columns are chosen."""

import peewee as pw

from usenetsyncd.catalogue.table import Table


class Follow(Table):
    """A share whose newest version is kept in a directory here. String and passphrase are sealed by the vault.

    version 0: nothing was placed yet. root: of that version's index.
    """

    id = pw.AutoField()
    target = pw.BlobField(unique=True)
    access = pw.BlobField()
    passphrase = pw.BlobField(null=True)
    fingerprint = pw.BlobField()
    every_s = pw.FloatField()
    state = pw.TextField()
    code = pw.TextField(default="")
    reason = pw.TextField(default="")
    added_at = pw.FloatField()
    asked_at = pw.FloatField(null=True)
    updated_at = pw.FloatField(null=True)
    version = pw.IntegerField(default=0)
    root_segment = pw.BlobField(null=True)
    root_offset = pw.IntegerField(null=True)
    root_length = pw.IntegerField(null=True)
    files = pw.BigIntegerField(default=0)
    bytes = pw.BigIntegerField(default=0)
    conflicts = pw.IntegerField(default=0)


class FollowLeft(Table):
    """A path that is not as the followed version has it, because it could not be placed. stands: what of ours is
    there, packed; NULL for nothing."""

    follow_id = pw.IntegerField()
    path = pw.BlobField()
    stands = pw.BlobField(null=True)
    reason = pw.TextField()

    class Meta:
        table_name = "follow_left"
        primary_key = pw.CompositeKey("follow_id", "path")
        without_rowid = True


class Retired(Table):
    """A segment that only versions need which are not kept. state 0: proposed; 1: nothing else needs it."""

    segment_id = pw.IntegerField(primary_key=True)
    folder_id = pw.IntegerField(index=True)
    state = pw.IntegerField()


FOLLOW_TABLES: tuple[type[Table], ...] = (Follow, FollowLeft, Retired)
