"""What the news service tells others about itself."""

from dataclasses import dataclass
from enum import StrEnum

from usenetsyncd.model import MessageId


class IdPolicy(StrEnum):
    """What a server does with the message-ids of articles posted to it."""

    UNKNOWN = "unknown"
    KEEPS = "keeps"
    REWRITES = "rewrites"  # and names the new one in its 240
    SWALLOWS = "swallows"  # gives another one and does not say which


@dataclass(frozen=True, slots=True)
class PostReceipt:
    """An article that a server took. ``message_id`` is the server's word: it may differ from the one we sent."""

    server: str
    message_id: MessageId
    took_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server now.

    state: idle (nothing open, nothing wrong), up, limited (the server allows us fewer connections than the account),
    resting (no new connection until retry_after_s is over), closing. reason: why it is not idle or up.
    score: 0..1. connections: open ones; connections_max: of the account; allowed: as of now. id_policy: as far as it was
    seen in what was posted or tested. largest_posted: bytes of the largest article that it took.
    """

    name: str
    state: str
    connections: int
    connections_max: int
    reason: str
    posted: int
    fetched: int
    bytes_up: int
    bytes_down: int
    allowed: int
    score: float
    retry_after_s: float
    posting_reason: str
    id_policy: IdPolicy = IdPolicy.UNKNOWN
    largest_posted: int = 0


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a test of one server found. ``problem`` is empty when all is well; ``lines`` tell it to a person.

    tls: "TLSv1.3" and the like, "" without. round_trip_s: fastest of several commands. pipelining: None if not tried.
    connections: how many could be open at once, of how many were tried. article_bytes: of the largest article that it is
    known to take, on the wire; 0 where none was posted.
    """

    name: str
    ok: bool
    problem: str
    lines: tuple[str, ...]
    tls: str = ""
    certificate: str = ""
    certificate_expires_s: float | None = None
    login: str = "not needed"
    posting: bool | None = None
    round_trip_s: float | None = None
    pipelining: bool | None = None
    connections: int = 0
    connections_tried: int = 0
    id_policy: IdPolicy = IdPolicy.UNKNOWN
    article_bytes: int = 0
