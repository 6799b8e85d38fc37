"""The schema, in one place. Paths and names are BLOBs (they need not be UTF-8), times seconds since 1970.

Small constants are chosen so that the frequent value is 0 or 1: SQLite stores those without a byte.
"""

import peewee as pw

from usenetsyncd.catalogue.care_tables import CARE_TABLES
from usenetsyncd.catalogue.follow_tables import FOLLOW_TABLES
from usenetsyncd.catalogue.table import Table


class SchemaVersion(Table):
    """One row per migration that was applied."""

    version = pw.IntegerField(primary_key=True)
    applied_at = pw.FloatField()

    class Meta:
        table_name = "schema_version"


class Meta(Table):
    """Single values."""

    key = pw.TextField(primary_key=True)
    value = pw.TextField()

    class Meta:
        table_name = "meta"
        without_rowid = True


class Folder(Table):
    """A configured folder, its counters kept in the same transaction as what they count.

    parity: NULL none is made; 1 what was posted before is still being listed in ``unprotected``; 2 it is listed.
    """

    id = pw.AutoField()
    name = pw.TextField(unique=True)
    uid = pw.BlobField()
    root = pw.BlobField()
    epoch = pw.IntegerField(default=1)
    version = pw.IntegerField(default=0)
    state = pw.TextField(default="scanning")
    reason = pw.TextField(default="")
    paused = pw.IntegerField(default=0)
    held = pw.IntegerField(default=0)
    files = pw.IntegerField(default=0)
    directories = pw.IntegerField(default=0)
    bytes = pw.BigIntegerField(default=0)
    scanned_at = pw.FloatField(null=True)
    published_at = pw.FloatField(null=True)
    restorable_at = pw.FloatField(null=True)
    verified_at = pw.FloatField(null=True)
    removed_at = pw.FloatField(null=True)
    parity = pw.IntegerField(null=True)


class Tally(Table):
    """Articles and content bytes of a folder by state: what `status` reads instead of counting."""

    folder_id = pw.IntegerField()
    state = pw.IntegerField()
    articles = pw.BigIntegerField(default=0)
    bytes = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("folder_id", "state")
        without_rowid = True


class Directory(Table):
    """A directory inside a folder; the root is path b"". digest NULL: not completely scanned."""

    id = pw.AutoField()
    folder_id = pw.IntegerField()
    path = pw.BlobField()
    digest = pw.BlobField(null=True)
    mode = pw.IntegerField()
    mtime_ns = pw.BigIntegerField()
    inode = pw.BigIntegerField()
    attributes = pw.BlobField(null=True)

    class Meta:
        indexes = ((("folder_id", "path"), True),)


class Entry(Table):
    """A file or symlink. hash NULL on a file with content: it must be read again."""

    id = pw.AutoField()
    directory_id = pw.IntegerField()
    name = pw.BlobField()
    kind = pw.IntegerField()
    size = pw.BigIntegerField()
    mtime_ns = pw.BigIntegerField()
    ctime_ns = pw.BigIntegerField()
    inode = pw.BigIntegerField()
    mode = pw.IntegerField()
    nlink = pw.IntegerField()
    hash = pw.BlobField(null=True)
    target = pw.BlobField(null=True)
    sparse = pw.IntegerField()
    attributes = pw.BlobField(null=True)

    class Meta:
        indexes = ((("directory_id", "name"), True),)


# Eight bytes find equal content just as well as 32, in a third of the space.
Entry.add_index(Entry.index(pw.SQL("substr(hash, 1, 8)"), name="entry_content", where=pw.SQL("size > 0")))


class Segment(Table):
    """Content that is posted as one article per copy. mark: its first bytes, to find it again in a changed file."""

    id = pw.AutoField()
    folder_id = pw.IntegerField()
    kind = pw.IntegerField()
    seg_id = pw.BlobField()
    length = pw.IntegerField()
    epoch = pw.IntegerField()
    mark = pw.BlobField(null=True)

    class Meta:
        indexes = ((("folder_id", "kind", "seg_id"), True),)


class Extent(Table):
    """``length`` bytes at ``position`` of a file are those at ``offset`` of a segment."""

    entry_id = pw.IntegerField()
    position = pw.BigIntegerField()
    segment_id = pw.IntegerField()
    offset = pw.IntegerField()
    length = pw.IntegerField()

    class Meta:
        primary_key = pw.CompositeKey("entry_id", "position")
        without_rowid = True
        indexes = ((("segment_id",), False),)


class Server(Table):
    """Names of servers, so that thirty million articles need not repeat them."""

    id = pw.AutoField()
    name = pw.TextField(unique=True)


class Article(Table):
    """One copy of a segment on its way to, or on, a server. not_before 0: never put off."""

    segment_id = pw.IntegerField()
    copy = pw.IntegerField()
    generation = pw.IntegerField(default=0)
    state = pw.IntegerField()
    folder_id = pw.IntegerField()
    priority = pw.IntegerField()
    not_before = pw.FloatField(default=0)
    attempts = pw.IntegerField(default=0)
    server_id = pw.IntegerField(null=True)
    posted_at = pw.IntegerField(null=True)
    message_id = pw.TextField(null=True)

    class Meta:
        primary_key = pw.CompositeKey("segment_id", "copy")
        without_rowid = True


# The queue: posted articles, which are nearly all, are not in it. A query must say "state > 0" to use it.
Article.add_index(
    Article.index(
        Article.state,
        Article.folder_id,
        Article.not_before,
        Article.priority,
        Article.segment_id,
        Article.copy,
        name="article_queue",
        where=pw.SQL("state > 0"),
    )
)


class Failure(Table):
    """Why an article is FAILED."""

    segment_id = pw.IntegerField()
    copy = pw.IntegerField()
    reason = pw.TextField()
    at = pw.FloatField()

    class Meta:
        primary_key = pw.CompositeKey("segment_id", "copy")
        without_rowid = True


class Blob(Table):
    """Content of segments that no file holds: index pages, heads, envelopes."""

    segment_id = pw.IntegerField(primary_key=True)
    content = pw.BlobField()


class Change(Table):
    """Journal: a path that differs from the last published version. Both ids NULL: it is gone.

    was: of a file that is in that version the first 8 bytes of its hash, x'' for an empty one; else NULL.
    """

    folder_id = pw.IntegerField()
    path = pw.BlobField()
    entry_id = pw.IntegerField(null=True)
    directory_id = pw.IntegerField(null=True)
    version = pw.IntegerField(null=True)
    was = pw.BlobField(null=True)

    class Meta:
        primary_key = pw.CompositeKey("folder_id", "path")
        without_rowid = True


# What is new, which is nearly everything in a large journal, does not concern the deletion guard.
Change.add_index(Change.index(Change.folder_id, name="change_was", where=pw.SQL("was IS NOT NULL")))


class Version(Table):
    """A version of a folder, from its first page to its posted head."""

    folder_id = pw.IntegerField()
    version = pw.IntegerField()
    epoch = pw.IntegerField()
    state = pw.TextField()
    created_at = pw.FloatField()
    published_at = pw.FloatField(null=True)
    head_segment_id = pw.IntegerField(null=True)
    root_segment = pw.BlobField(null=True)
    root_offset = pw.IntegerField(null=True)
    root_length = pw.IntegerField(null=True)
    head_hash = pw.BlobField(null=True)
    files = pw.IntegerField(default=0)
    directories = pw.IntegerField(default=0)
    bytes = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("folder_id", "version")
        without_rowid = True


class VersionSegment(Table):
    """Index segments that must be posted before the head of an unfinished version."""

    segment_id = pw.IntegerField()
    folder_id = pw.IntegerField()
    version = pw.IntegerField()

    class Meta:
        table_name = "version_segment"
        primary_key = pw.CompositeKey("segment_id", "folder_id", "version")
        without_rowid = True


class Share(Table):
    """An access string given out. The secret is sealed by the vault, and so is the material.

    epoch: of the folder, in the newest envelope. material: what wraps that envelope again without its passphrase.
    """

    id = pw.TextField(primary_key=True)
    folder_id = pw.IntegerField(index=True)
    access = pw.TextField()
    secret = pw.BlobField()
    serial = pw.IntegerField(default=0)
    created_at = pw.FloatField()
    expires_at = pw.FloatField(null=True)
    revoked_at = pw.FloatField(null=True)
    epoch = pw.IntegerField(null=True)
    material = pw.BlobField(null=True)


class User(Table):
    """Somebody whom private shares can be made for: the card that was handed over."""

    id = pw.AutoField()
    name = pw.TextField(unique=True)
    fingerprint = pw.BlobField(unique=True)
    card = pw.BlobField()
    added_at = pw.FloatField()


class Member(Table):
    """A user whom a private share is for."""

    share_id = pw.TextField()
    user_id = pw.IntegerField(index=True)
    added_at = pw.FloatField()

    class Meta:
        primary_key = pw.CompositeKey("share_id", "user_id")
        without_rowid = True


class Job(Table):
    """Something asked for that takes time."""

    id = pw.AutoField()
    kind = pw.TextField()
    folder_id = pw.IntegerField(null=True)
    state = pw.TextField(index=True)
    params = pw.TextField()
    progress = pw.TextField(default="{}")
    result = pw.TextField(null=True)
    error_code = pw.TextField(null=True)
    error_text = pw.TextField(null=True)
    created_at = pw.FloatField()
    started_at = pw.FloatField(null=True)
    finished_at = pw.FloatField(null=True)
    attempts = pw.IntegerField(default=0)


class Event(Table):
    """The history shown to people; bounded."""

    id = pw.AutoField()
    at = pw.FloatField()
    level = pw.TextField()
    code = pw.TextField()
    folder_id = pw.IntegerField(null=True)
    message = pw.TextField()
    fields = pw.TextField(default="{}")


class Trouble(Table):
    """A path that could not be taken as it should."""

    folder_id = pw.IntegerField()
    path = pw.BlobField()
    code = pw.TextField()
    message = pw.TextField()
    since = pw.FloatField()
    attempts = pw.IntegerField(default=1)

    class Meta:
        primary_key = pw.CompositeKey("folder_id", "path")
        without_rowid = True


class KnownHead(Table):
    """The newest head of a publisher verified here."""

    fingerprint = pw.BlobField(primary_key=True)
    version = pw.IntegerField()
    head_hash = pw.BlobField()
    seen_at = pw.FloatField()

    class Meta:
        table_name = "known_head"


ALL: tuple[type[Table], ...] = (
    SchemaVersion,
    Meta,
    Folder,
    Tally,
    Directory,
    Entry,
    Segment,
    Extent,
    Server,
    Article,
    Failure,
    Blob,
    Change,
    Version,
    VersionSegment,
    Share,
    User,
    Member,
    Job,
    Event,
    Trouble,
    KnownHead,
    *CARE_TABLES,
    *FOLLOW_TABLES,
)
