"""Shares and the people they are for."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from usenetsyncd.control.schema.bases import Document, Model, Moment, Name, Request, Secret, SecretText

MAX_EXPIRY_S = 100 * 366 * 86_400.0
MAX_MEMBERS = 512


class ShareOrder(Request):
    """A share to make. expires_in_s None: never.

    to: users whom a private share is for. passphrase: of a protected share; None: six random words.
    """

    folder: Name
    access: Annotated[str, StringConstraints(pattern="^(public|private|protected)$")] = "public"
    expires_in_s: float | None = Field(default=None, gt=0, le=MAX_EXPIRY_S)
    to: list[Name] = Field(default=[], max_length=MAX_MEMBERS)
    passphrase: SecretText | None = Field(default=None, repr=False)


class Share(Model):
    """One share, without its string. state: active, expired or revoked. members: how many people it is for."""

    share_id: str
    folder: str
    access: str
    state: str
    created_at: Moment
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    members: int | None = None


class SharePage(Document):
    """By id."""

    shares: Sequence[Share]
    next: str | None = None


class ShareString(Document, Share):
    """One share with its string: whoever has it can read the folder, together with what else the share asks for.

    passphrase: only in the answer that made the share, and only where it was drawn for it.
    """

    string: str = Field(repr=False)
    passphrase: str | None = Field(default=None, repr=False)


class ShareTaken(Document, Share):
    """What became of a share that was taken back, or of which somebody was taken out.

    statement: what that reaches and what it does not, as a sentence. new_epoch: whether one begins because of it.
    pending: why servers cannot hear of it yet; empty where nothing is in the way.
    """

    new_epoch: bool
    statement: str
    pending: str = ""


class User(Model):
    """Somebody whom private shares can be made for. fingerprint: 32 hexadecimal digits; words: to read it aloud."""

    name: str
    fingerprint: str
    words: str
    added_at: Moment
    shares: int = 0


class UserList(Document):
    """By name."""

    users: Sequence[User]


class UserAdded(Document, User):
    """A user who was just taken in."""


class UserRemoved(Document):
    """A user who is gone. shares: those that this was a member of."""

    name: str
    shares: Sequence[str] = ()
    statement: str = ""
    pending: str = ""


class UserSpec(Request):
    """A user to take in. card: what ``identity export`` printed there. name None: the one on the card."""

    card: Secret
    name: Name | None = None


class MemberList(Document):
    """Whom a private share is for, by name."""

    share_id: str
    members: Sequence[User]


class MemberChange(Request):
    """Users to let in."""

    add: list[Name] = Field(min_length=1, max_length=MAX_MEMBERS)


class Identity(Document):
    """Who this installation is. fingerprint: 32 hexadecimal digits; words: the same to read aloud."""

    fingerprint: str
    words: str


class Card(Identity):
    """What others need to share with this installation: public, and signed."""

    name: str
    card: str
