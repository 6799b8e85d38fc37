"""The settings: the same shape as the YAML, checked and frozen.

Sizes are bytes, rates bytes per second, durations seconds, percentages fractions from 0 to 1.
Defaults of everything outside lists stand in config/usenetsyncd.yaml and nowhere else.
"""

import datetime as dt
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from usenetsyncd.errors import NotFound
from usenetsyncd.model import Compression, Priority, ServerRole, TlsMode
from usenetsyncd.settings import fields
from usenetsyncd.settings.references import SecretRef
from usenetsyncd.settings.schedule import TimeWindow
from usenetsyncd.settings.units import Quota


class LogLevel(StrEnum):
    """Least severe level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """auto: the journal under systemd, else console."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class ClusterMode(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    CELERY = "celery"


class NotifyOn(StrEnum):
    """What is worth a message."""

    WARNING = "warning"
    ERROR = "error"
    RECOVERED = "recovered"


class Backoff(StrEnum):
    """How the wait grows from try to try."""

    FIXED = "fixed"
    LINEAR = "linear"
    FIBONACCI = "fibonacci"
    EXPONENTIAL = "exponential"


Newsgroups = Annotated[tuple[Annotated[str, fields.A_NEWSGROUP], ...], fields.LISTED]
Duration = Annotated[float, fields.duration(0, 100 * 365 * 86_400)]
Count = Annotated[int, fields.whole(0, 1_000_000)]
Percentage = Annotated[float, fields.PERCENTAGE]
Flag = Annotated[bool, fields.BOOL]
Level = Annotated[LogLevel, fields.choice(LogLevel)]


class Section(BaseModel):
    """Base of every part: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(Section):
    """One account on one news server."""

    name: Annotated[str, fields.A_NAME]
    host: Annotated[str, fields.HOST]
    port: Annotated[int, fields.whole(1, 65_535)] = 563
    tls: Annotated[TlsMode, fields.choice(TlsMode)] = TlsMode.IMPLICIT
    username: Annotated[str | None, fields.TEXT.optional()] = None
    password: Annotated[SecretRef | None, fields.SECRET.optional()] = None
    connections: Annotated[int, fields.whole(1, 500)] = 8
    roles: Annotated[tuple[Annotated[ServerRole, fields.choice(ServerRole)], ...], fields.LISTED] = (
        ServerRole.POST,
        ServerRole.READ,
    )
    priority: Annotated[int, fields.whole(0, 1000)] = 1
    quota: Annotated[Quota | None, fields.QUOTA.optional()] = None
    expires: Annotated[dt.date | None, fields.DATE.optional()] = None
    ca_file: Annotated[str | None, fields.PATH.optional()] = None
    pin_sha256: Annotated[str | None, fields.PIN.optional()] = None
    timeout: Annotated[float, fields.duration(1, 3600)] = 60.0


class Redundancy(Section):
    """copies: articles per segment. parity: extra articles as a fraction of the segments.

    parity_after: how long a folder must have been quiet before the few segments that fill no stripe get parity too.
    """

    copies: Annotated[int, fields.whole(1, 16)]
    parity: Percentage
    parity_after: Duration


class Keep(Section):
    """How many versions are looked after: the newest ones, then the newest of a day, of a week, of a month."""

    last: Annotated[int, fields.whole(1, 1_000_000)]
    daily: Count
    weekly: Count
    monthly: Count


class Guard(Section):
    """More than this fraction of a folder deleted or changed at once: the folder is held."""

    max_deleted: Percentage
    max_changed: Percentage


class Metadata(Section):
    """What is kept of a file beside content, times and permissions."""

    owner: Flag
    xattrs: Flag


class Verify(Section):
    """First check after posting, period of the checks, fraction of bodies that is fetched."""

    after: Duration
    every: Annotated[float, fields.duration(60, 366 * 86_400)]
    sample: Percentage


class NewsgroupRule(Section):
    """Groups for files that match; without a condition, for all."""

    match: Annotated[str | None, fields.TEXT.optional()] = None
    larger_than: Annotated[int | None, fields.SIZE.optional()] = None
    groups: Newsgroups


def _as_rules(value: object) -> object:
    if not isinstance(value, list | tuple):
        return [] if value is None else value
    # a bare group name is a rule without a condition
    return [{"groups": [item]} if isinstance(item, str) else item for item in value]


class FolderOptions(Section):
    """What ``defaults`` holds and each folder may override."""

    settle: Annotated[float, fields.duration(0, 3600)]
    rescan: Annotated[float, fields.duration(10, 366 * 86_400)]
    ignore: Annotated[tuple[Annotated[str, fields.TEXT], ...], fields.LISTED]
    redundancy: Redundancy
    compression: Annotated[Compression, fields.choice(Compression)]
    keep: Keep
    guard: Guard
    metadata: Metadata
    verify: Verify
    newsgroups: Annotated[tuple[NewsgroupRule, ...], fields.BeforeValidator(_as_rules)]


class FolderSettings(FolderOptions):
    """One watched folder with its options in effect: its own, else those of ``defaults``."""

    id: Annotated[str, fields.A_FOLDER_ID]
    path: Annotated[str, fields.PATH]
    priority: Annotated[Priority, fields.choice(Priority)] = Priority.NORMAL


class LimitRule(Section):
    """Limits while a weekly window is open."""

    at: Annotated[TimeWindow, fields.WINDOW]
    upload: Annotated[int | Literal["pause"] | None, fields.RATE_OR_PAUSE.optional()] = None
    download: Annotated[int | Literal["pause"] | None, fields.RATE_OR_PAUSE.optional()] = None


class Limits(Section):
    """Bytes per second (0: none), bytes of memory, and the timetable; its first open window wins."""

    upload: Annotated[int, fields.RATE]
    download: Annotated[int, fields.RATE]
    memory: Annotated[int, fields.SIZE]
    schedule: Annotated[tuple[LimitRule, ...], fields.LISTED]


class RetryRule(Section):
    """What is different from the built-in row of one reply code, or of the row with that name.

    wait grows by strategy up to longest, give or take jitter; after the last try the server rests.
    """

    wait: Annotated[float | None, fields.duration(0, 86_400).optional()] = None
    tries: Annotated[int | None, fields.whole(1, 1000).optional()] = None
    strategy: Annotated[Backoff | None, fields.choice(Backoff).optional()] = None
    longest: Annotated[float | None, fields.duration(0, 86_400).optional()] = None
    jitter: Annotated[float | None, fields.PERCENTAGE.optional()] = None
    rest: Annotated[float | None, fields.duration(0, 86_400).optional()] = None

    def row_fields(self) -> dict[str, str | int | float]:
        """What is set, under the names that a row of the reply table has."""
        named = {
            "base_s": self.wait,
            "attempts": self.tries,
            "strategy": self.strategy.value if self.strategy else None,
            "max_s": self.longest,
            "jitter": self.jitter,
            "rest_s": self.rest,
        }
        return {name: value for name, value in named.items() if value is not None}


class Storage(Section):
    """Where state is kept. catalogue: ``sqlite`` or a PostgreSQL URL."""

    data_dir: Annotated[str, fields.PATH]
    catalogue: Annotated[SecretRef, fields.CATALOGUE]
    min_free: Annotated[int, fields.SIZE]


class Control(Section):
    """The Unix socket; group: may use it beside the daemon's own user."""

    socket: Annotated[str, fields.PATH]
    group: Annotated[str | None, fields.TEXT.optional()]


class Web(Section):
    """Dashboard and metrics; listen null: off.

    password: logs in beside the links of ``usyncctl web``; off loopback there must be one. metrics_token: what a
    collector sends. hosts: further names the dashboard may be called by, as by a proxy.
    """

    listen: Annotated[str | None, fields.LISTEN.optional()]
    metrics: Flag
    password: Annotated[SecretRef | None, fields.SECRET.optional()]
    metrics_token: Annotated[SecretRef | None, fields.SECRET.optional()]
    hosts: Annotated[tuple[Annotated[str, fields.HOST], ...], fields.LISTED]


class Log(Section):
    """directory null: no files."""

    level: Level
    format: Annotated[LogFormat, fields.choice(LogFormat)]
    components: Annotated[dict[Annotated[str, fields.A_NAME], Level], AfterValidator(fields.FrozenMapping)]
    directory: Annotated[str | None, fields.PATH.optional()]


class Notify(Section):
    """Either an Apprise URL or a dead-man ping."""

    url: Annotated[SecretRef | None, fields.SECRET_URL.optional()] = None
    on: Annotated[tuple[Annotated[NotifyOn, fields.choice(NotifyOn)], ...], fields.LISTED] = tuple(NotifyOn)
    repeat: Annotated[float, fields.duration(0, 366 * 86_400)] = 86_400.0
    healthcheck: Annotated[SecretRef | None, fields.SECRET_URL.optional()] = None


class Cluster(Section):
    """Workers on other hosts."""

    mode: Annotated[ClusterMode, fields.choice(ClusterMode)]
    broker: Annotated[SecretRef | None, fields.SECRET_URL.optional()] = None
    cache: Annotated[SecretRef | None, fields.SECRET_URL.optional()] = None


class Settings(Section):
    """Everything, as one frozen snapshot."""

    version: Annotated[int, fields.VERSION]
    servers: Annotated[tuple[ServerSettings, ...], fields.LISTED]
    newsgroups: Newsgroups
    defaults: FolderOptions
    folders: Annotated[tuple[FolderSettings, ...], fields.LISTED]
    limits: Limits
    retry: Annotated[dict[Annotated[str, fields.REPLY], RetryRule], AfterValidator(fields.FrozenMapping)]
    storage: Storage
    control: Control
    web: Web
    log: Log
    notify: Annotated[tuple[Notify, ...], fields.LISTED]
    cluster: Cluster

    def folder(self, folder_id: str) -> FolderSettings:
        """The folder with its options in effect. Raises NotFound."""
        for folder in self.folders:
            if folder.id == folder_id:
                return folder
        raise NotFound(f"no folder '{folder_id}' in the configuration")

    def server(self, name: str) -> ServerSettings:
        """Raises NotFound."""
        for server in self.servers:
            if server.name == name:
                return server
        raise NotFound(f"no server '{name}' in the configuration")
