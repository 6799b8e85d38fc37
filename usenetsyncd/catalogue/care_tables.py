"""The part of the schema for what is lost on servers, and for what brings it back."""

import peewee as pw

from usenetsyncd.catalogue.table import Table


class Finding(Table):
    """An article that a server has lost or spoilt. Sparse: what is as it should be has no row.

    damage: 1 missing, 2 corrupt, 3 not there and not expected there. generation: the one that was asked for.
    reposted_at: a newer generation is on a server since then, and waits for its first check.
    """

    segment_id = pw.IntegerField()
    copy = pw.IntegerField()
    server_id = pw.IntegerField()
    folder_id = pw.IntegerField()
    damage = pw.IntegerField()
    generation = pw.IntegerField()
    since = pw.FloatField()
    checked_at = pw.FloatField()
    reposted_at = pw.FloatField(null=True)

    class Meta:
        primary_key = pw.CompositeKey("segment_id", "copy", "server_id")
        without_rowid = True
        indexes = ((("folder_id", "segment_id"), False),)


class Verification(Table):
    """One check of a folder's articles: how far it is, what it has found. The cursor is the last article asked for."""

    id = pw.AutoField()
    folder_id = pw.IntegerField()
    kind = pw.TextField()
    server = pw.TextField(null=True)
    state = pw.TextField()
    started_at = pw.FloatField()
    finished_at = pw.FloatField(null=True)
    cursor_segment = pw.IntegerField(default=0)
    cursor_copy = pw.IntegerField(default=-1)
    checked = pw.BigIntegerField(default=0)
    missing = pw.BigIntegerField(default=0)
    corrupt = pw.BigIntegerField(default=0)
    unknown = pw.BigIntegerField(default=0)
    sampled = pw.BigIntegerField(default=0)
    detail = pw.TextField(default="{}")

    class Meta:
        indexes = ((("folder_id", "kind", "id"), False),)


class Stripe(Table):
    """Segments that parity articles are made of, and those: any ``data`` of them give all the others.

    length: bytes of each parity segment, those of its longest member. state: 0 its parity is being posted, 1 it is
    posted, 2 published in ``version``.
    """

    id = pw.AutoField()
    folder_id = pw.IntegerField()
    epoch = pw.IntegerField()
    data = pw.IntegerField()
    parity = pw.IntegerField()
    length = pw.IntegerField()
    state = pw.IntegerField(default=0)
    version = pw.IntegerField(null=True)

    class Meta:
        indexes = ((("folder_id", "state", "id"), False),)


class StripeMember(Table):
    """Positions 0 to data - 1 hold content of files, the others parity."""

    stripe_id = pw.IntegerField()
    position = pw.IntegerField()
    segment_id = pw.IntegerField()

    class Meta:
        table_name = "stripe_member"
        primary_key = pw.CompositeKey("stripe_id", "position")
        without_rowid = True
        indexes = ((("segment_id",), False),)


class Unprotected(Table):
    """A posted segment of file content that is in no stripe yet. Only kept for folders that have parity made."""

    folder_id = pw.IntegerField()
    segment_id = pw.IntegerField()

    class Meta:
        primary_key = pw.CompositeKey("folder_id", "segment_id")
        without_rowid = True


class Override(Table):
    """An article that a server gave another message-id. version: the one that says so to readers, NULL: none yet.

    state: 0 not in a published version, 2 published.
    """

    segment_id = pw.IntegerField()
    copy = pw.IntegerField()
    generation = pw.IntegerField()
    folder_id = pw.IntegerField()
    message_id = pw.TextField()
    state = pw.IntegerField(default=0)
    version = pw.IntegerField(null=True)

    class Meta:
        primary_key = pw.CompositeKey("segment_id", "copy", "generation")
        without_rowid = True
        indexes = ((("folder_id", "state", "segment_id"), False),)


class Hold(Table):
    """What the deletion guard knows of a folder. cause NULL: it is not held.

    accepting: what the next scan finds gone is accepted. released_at, files: when a person accepted what was gone,
    and how many files the folder had then.
    """

    folder_id = pw.IntegerField(primary_key=True)
    cause = pw.TextField(null=True)
    since = pw.FloatField(null=True)
    accepting = pw.IntegerField(default=0)
    released_at = pw.FloatField(null=True)
    files = pw.IntegerField(null=True)


CARE_TABLES: tuple[type[Table], ...] = (
    Finding,
    Verification,
    Stripe,
    StripeMember,
    Unprotected,
    Override,
    Hold,
)
