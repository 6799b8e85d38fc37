"""Shares and the people they are for."""

import platform
import unicodedata
from collections.abc import Sequence
from typing import Any

from usenetsyncd.catalogue.rows import ShareRow, UserRow
from usenetsyncd.control import schema
from usenetsyncd.daemon.live import LiveFolder
from usenetsyncd.daemon.operations.base import Base
from usenetsyncd.errors import UsageError
from usenetsyncd.flows.share import access_string
from usenetsyncd.telemetry.redaction import register_secret
from usenetsyncd.vault.identities import own_identity
from usenetsyncd.wire.identity import MAX_NAME_BYTES, read_card, spoken
from usenetsyncd.wire.words import new_passphrase

NOT_RECALLED = (
    "What was published until now stays readable to whoever could read it: it is on Usenet, and nothing there can be "
    "called back. "
)


class PeopleOperations(Base):
    """share, user, identity."""

    # -- shares ------------------------------------------------------------------------------

    def share_create(self, order: schema.ShareOrder) -> schema.ShareString:
        """Raises NotFound, UsageError."""
        _check_order(order)
        live = self._live(order.folder)
        daemon = self._daemon
        sharer = daemon.sharing.sharer(live)
        expires_s = 0 if order.expires_in_s is None else int(daemon.clock.now() + order.expires_in_s)
        drawn: str | None = None
        if order.access == "private":
            share = sharer.private(self._users(order.to), expires_s)
        elif order.access == "protected":
            drawn = new_passphrase() if order.passphrase is None else None
            passphrase = order.passphrase or drawn or ""
            register_secret(passphrase)
            share = sharer.protected(passphrase, expires_s)
        else:
            share = sharer.public(expires_s)
        daemon.uploader.wake()
        self._note(live, "share_created", f"{order.access} share {share.id} was made")
        return self._share_string(share, drawn)

    def shares(self, folder: str | None, after: str | None, limit: int) -> schema.SharePage:
        """By id."""
        page = self._daemon.catalogue.shares.list(self._folder_row_or_none(folder), after, limit)
        return schema.SharePage(shares=[self._share(row) for row in page.rows], next=page.next)

    def share(self, share_id: str) -> schema.ShareString:
        """With its string. Raises NotFound."""
        return self._share_string(self._daemon.catalogue.shares.get(share_id), None)

    def share_revoke(self, share_id: str) -> schema.ShareTaken:
        """Take it back: it opens nothing that is published from now on. Raises NotFound, UsageError."""
        live = self._folder_of(share_id)
        epoch = self._daemon.sharing.sharer(live).revoke(share_id, self._daemon.clock.now())
        self._epoch_begun(live)
        self._note(live, "share_revoked", f"share {share_id} was revoked")
        return self._taken(
            share_id, epoch, "From the next version on, this string opens nothing; other shares go on."
        )

    def share_members(self, share_id: str) -> schema.MemberList:
        """Raises NotFound, UsageError for a share that has no members."""
        catalogue = self._daemon.catalogue
        if (access := catalogue.shares.get(share_id).access) != "private":
            raise UsageError(f"share {share_id} is {access}: only a private one has members")
        members = catalogue.users.by_ids(set(catalogue.shares.members(share_id)))
        return schema.MemberList(share_id=share_id, members=[self._user(user) for user in members])

    def share_admit(self, share_id: str, change: schema.MemberChange) -> schema.MemberList:
        """Let more people into a private share. Raises NotFound, UsageError."""
        live = self._folder_of(share_id)
        self._daemon.sharing.sharer(live).admit(share_id, self._users(change.add))
        self._daemon.uploader.wake()
        self._note(live, "member_added", f"{', '.join(change.add)} can read share {share_id}")
        return self.share_members(share_id)

    def share_dismiss(self, share_id: str, user: str) -> schema.ShareTaken:
        """Take somebody out of a private share. Raises NotFound, UsageError."""
        row = self._daemon.catalogue.users.named(user)
        epoch = self._dismiss(share_id, row)
        return self._taken(
            share_id, epoch, f"From the next version on, {user} can read nothing; the others go on."
        )

    def _dismiss(self, share_id: str, user: UserRow) -> int | None:
        live = self._folder_of(share_id)
        epoch = self._daemon.sharing.sharer(live).dismiss(share_id, user)
        self._epoch_begun(live)
        self._note(live, "member_removed", f"{user.name} was taken out of share {share_id}")
        return epoch

    # -- people ------------------------------------------------------------------------------

    def identity(self) -> schema.Identity:
        """Who this installation is."""
        fingerprint = own_identity(self._daemon.vault).fingerprint
        return schema.Identity(fingerprint=fingerprint.hex(), words=spoken(fingerprint))

    def identity_card(self, name: str | None) -> schema.Card:
        """What to give to somebody who shall share with it. name None: that of the machine."""
        identity = own_identity(self._daemon.vault)
        shown = (
            unicodedata.normalize("NFC", name) if name else platform.node()[:MAX_NAME_BYTES] or "usenetsync"
        )
        return schema.Card(
            name=shown,
            card=identity.card(shown, int(self._daemon.clock.now())),
            fingerprint=identity.fingerprint.hex(),
            words=spoken(identity.fingerprint),
        )

    def users(self) -> schema.UserList:
        """All, by name."""
        return schema.UserList(users=[self._user(user) for user in self._daemon.catalogue.users.list()])

    def user_add(self, spec: schema.UserSpec) -> schema.UserAdded:
        """Take in somebody by a card. Raises BadCard, BadSignature, UsageError."""
        card = read_card(spec.card)
        if card.fingerprint == own_identity(self._daemon.vault).fingerprint:
            raise UsageError("this card is of this installation itself")
        row = self._daemon.catalogue.users.add(
            spec.name or card.name, card.fingerprint, card.text.encode("ascii")
        )
        self._daemon.catalogue.events.add("info", "user_added", f"{row.name} can be shared with")
        user = self._user(row)
        return schema.UserAdded(**{name: getattr(user, name) for name in schema.User.model_fields})

    def user_remove(self, name: str) -> schema.UserRemoved:
        """Take somebody out of every share, and forget the card. Raises NotFound."""
        catalogue = self._daemon.catalogue
        row = catalogue.users.named(name)
        shares = catalogue.shares.of_member(row.id)
        pending = [self._pending(self._folder_of(share_id)) for share_id in shares]
        for share_id in shares:
            self._dismiss(share_id, row)
        catalogue.users.remove(row.id)
        catalogue.events.add("info", "user_removed", f"{name} is shared with no more")
        statement = NOT_RECALLED + f"From the next versions on, {name} can read nothing." if shares else ""
        return schema.UserRemoved(
            name=name, shares=shares, statement=statement, pending=max(pending, default="")
        )

    # -- helpers -----------------------------------------------------------------------------

    def _folder_of(self, share_id: str) -> LiveFolder:
        live = self._daemon.folders.by_row(self._daemon.catalogue.shares.get(share_id).folder_id)
        if live is None:
            raise UsageError("the folder of this share is not in the configuration any more")
        return live

    def _users(self, names: Sequence[str]) -> list[UserRow]:
        return [self._daemon.catalogue.users.named(name) for name in dict.fromkeys(names)]

    def _epoch_begun(self, live: LiveFolder) -> None:
        self._daemon.sharing.moved_on(live)
        self._daemon.uploader.wake()
        self._daemon.publishing.wake()

    def _pending(self, live: LiveFolder) -> str:
        row = self._daemon.catalogue.folders.by_id(live.row)
        if row.held:
            return f"{live.name} is held: {row.reason}"
        if row.paused or self._daemon.pauses.until(None) is not None:
            return f"{live.name} is paused, and nothing is posted; usyncctl resume goes on"
        return ""

    def _note(self, live: LiveFolder, code: str, told: str) -> None:
        self._daemon.catalogue.events.add("info", code, f"{live.name}: {told}", live.row)

    def _share(self, row: ShareRow) -> schema.Share:
        state = "active"
        if row.revoked_at is not None:
            state = "revoked"
        elif row.expires_at is not None and row.expires_at < self._daemon.clock.now():
            state = "expired"
        private = row.access == "private"
        return schema.Share(
            share_id=row.id,
            folder=self._name_of(row.folder_id) or "",
            access=row.access,
            state=state,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            members=len(self._daemon.catalogue.shares.members(row.id)) if private else None,
        )

    def _share_string(self, row: ShareRow, drawn: str | None) -> schema.ShareString:
        string = access_string(self._daemon.vault, row, self._folder_of(row.id).signing.fingerprint)
        return schema.ShareString(string=string, passphrase=drawn, **_fields(self._share(row)))

    def _taken(self, share_id: str, epoch: int | None, reaches: str) -> schema.ShareTaken:
        share = self._share(self._daemon.catalogue.shares.get(share_id))
        return schema.ShareTaken(
            statement=NOT_RECALLED + reaches,
            new_epoch=epoch is not None,
            pending=self._pending(self._folder_of(share_id)),
            **_fields(share),
        )

    def _user(self, row: UserRow) -> schema.User:
        return schema.User(
            name=row.name,
            fingerprint=row.fingerprint.hex(),
            words=spoken(row.fingerprint),
            added_at=row.added_at,
            shares=len(self._daemon.catalogue.shares.of_member(row.id)),
        )


def _fields(share: schema.Share) -> dict[str, Any]:
    return {name: getattr(share, name) for name in schema.Share.model_fields}


def _check_order(order: schema.ShareOrder) -> None:
    if order.to and order.access != "private":
        raise UsageError(f"a {order.access} share is for nobody in particular; --access private is")
    if order.passphrase is not None and order.access != "protected":
        raise UsageError(f"a {order.access} share has no passphrase; --access protected has")
    if order.access == "private" and not order.to:
        raise UsageError("a private share is for somebody: name one or more with --to")
