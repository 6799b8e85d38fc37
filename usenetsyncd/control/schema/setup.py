"""What is set: configuration, credentials; what was tested, what happened."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from usenetsyncd.control.schema.bases import Document, Model, Moment, Request, Secret
from usenetsyncd.control.schema.state import Server

MAX_CONFIG_CHARS = 1_000_000


class ServerList(Document):
    """In the order of the configuration."""

    servers: Sequence[Server]


class ServerReport(Document):
    """What a test found; see news.records.ServerReport. lines: tell it to a person.

    id_policy: unknown, keeps, rewrites or swallows, as far as any article told. article_bytes: of the largest article
    that the server took since the daemon started, 0 for none. group: where the test posted to, empty where it did not.
    """

    name: str
    ok: bool
    problem: str = ""
    lines: Sequence[str] = ()
    tls: str = ""
    certificate: str = ""
    certificate_expires_at: Moment | None = None
    login: str = ""
    posting: bool | None = None
    round_trip_s: float | None = None
    pipelining: bool | None = None
    connections: int = 0
    connections_tried: int = 0
    id_policy: str = "unknown"
    article_bytes: int = 0
    group: str = ""


class ServerTest(Request):
    """How to test a server. post: also post one article, of no content, to the first configured newsgroup."""

    post: bool = False


class ConfigShown(Document):
    """text: YAML that loads to the same settings. settings, origins: the same for programs. Secrets are references."""

    text: str
    settings: Mapping[str, Any]
    origins: Mapping[str, str] | None = None
    files: Sequence[str] = ()


class ConfigText(Request):
    """A configuration to check; name: how errors call it."""

    text: str = Field(max_length=MAX_CONFIG_CHARS)
    name: str = Field(default="usenetsyncd.yaml", max_length=4_096)


class ConfigReport(Document):
    """problems, warnings: lines such as ``usenetsyncd.yaml:11:18: error: ...``."""

    valid: bool
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


class ConfigChange(Model):
    """One key. live: applied without a restart. text: ``limits.upload: 8 MB/s -> 1 MB/s``."""

    key: str
    old: Any = None
    new: Any = None
    live: bool
    text: str


class ConfigDifference(Document):
    """applied: the changes are in effect, but for restart_needed. file: what was edited, if anything was."""

    changes: Sequence[ConfigChange]
    applied: bool
    restart_needed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    file: str | None = None


class Credential(Model):
    """source: store, or systemd. Never the value."""

    name: str
    source: str


class CredentialList(Document):
    """By name. missing: referred to by the configuration and not there."""

    credentials: Sequence[Credential]
    missing: Sequence[str] = ()


class CredentialValue(Request):
    """A value to store."""

    value: Secret


class Event(Document):
    """One thing of the history shown to people. ids only grow."""

    id: int
    at: Moment
    level: str
    code: str
    folder: str | None = None
    message: str
    fields: Mapping[str, Any] = Field(default_factory=dict)


class LogLine(Document):
    """One log record. ids only grow while the process lives."""

    id: int
    at: Moment
    level: str
    component: str
    event: str
    fields: Mapping[str, Any] = Field(default_factory=dict)
    traceback: str | None = None
