"""What the dashboard shows beside what the command shows: the entries of a directory, traffic over time, logins."""

from collections.abc import Sequence

from pydantic import Field

from usenetsyncd.control.schema.bases import Document, Model, Moment, WithPath


class DirectoryEntry(WithPath):
    """One name in a directory; path: its name alone. kind: folder, file or symlink."""

    kind: str
    size: int | None = None
    modified_at: Moment | None = None


class DirectoryPage(Document, WithPath):
    """Subdirectories first, then files, both by name. path: below the folder's root, empty for the root itself."""

    folder: str
    entries: Sequence[DirectoryEntry]
    next: str | None = None


class TrafficPoint(Model):
    """Means over one span of time, bytes per second."""

    up: float
    down: float


class Traffic(Document):
    """The last hour and the last day, the oldest first; the last span of each ends now."""

    hour_span_s: float
    hour: Sequence[TrafficPoint]
    day_span_s: float
    day: Sequence[TrafficPoint]


class WebLogin(Document):
    """A link that logs one browser in, once."""

    url: str = Field(repr=False)
    expires_in_s: float
